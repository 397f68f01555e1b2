//! Numbers of EDN, each with one text: equal numbers have equal texts, and numbers of different kinds have not.

/// The text of a number; nothing if it is none, or an integer in another base that is too large.
pub(super) fn parse(word: &str) -> Option<String> {
    let (is_negative, digits) = match word.as_bytes().first()? {
        b'-' => (true, &word[1..]),
        b'+' => (false, &word[1..]),
        _ => (false, word),
    };
    let signed = |text: String| if is_negative && text != "0" { format!("-{text}") } else { text };
    if let Some((over, under)) = digits.split_once('/') {
        return ratio(over, under).map(signed);
    }
    if let Some(decimal) = digits.strip_suffix('M') {
        return is_float(decimal).then(|| signed(format!("{decimal}M")));
    }
    if let Some(integer) = integer(digits.strip_suffix('N').unwrap_or(digits)) {
        return Some(signed(integer));
    }
    let number =
        if is_float(digits) && digits.contains(['.', 'e', 'E']) { digits.parse::<f64>().ok()? } else { return None };
    let number = if is_negative && number != 0.0 { -number } else { number };
    number.is_finite().then(|| format!("{number:?}"))
}

/// The decimal digits of an integer.
fn integer(digits: &str) -> Option<String> {
    let is_decimal = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_decimal(digits) && (digits == "0" || !digits.starts_with('0')) {
        return Some(digits.to_owned());
    }
    let (radix, rest) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', ..] => (8, &digits[1..]),
        _ => {
            let (radix, rest) = digits.split_once(['r', 'R'])?;
            (radix.parse().ok().filter(|radix| is_decimal_radix(*radix))?, rest)
        }
    };
    let is_whole = !rest.is_empty() && rest.chars().all(|digit| digit.is_digit(radix));
    is_whole.then(|| u128::from_str_radix(rest, radix).ok().map(|number| number.to_string()))?
}

const fn is_decimal_radix(radix: u32) -> bool {
    radix >= 2 && radix <= 36
}

/// Digits, and a fraction or an exponent or both.
fn is_float(text: &str) -> bool {
    let (number, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(number, rest)| (number, Some(rest)));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let exponent = exponent.map(|exponent| exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
    !whole.is_empty()
        && all_digits(whole)
        && all_digits(fraction)
        && exponent.is_none_or(|exponent| !exponent.is_empty() && all_digits(exponent))
}

/// In its lowest terms.
fn ratio(over: &str, under: &str) -> Option<String> {
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u128>().ok())?;
    let (over, under) = (number(over)?, number(under).filter(|&under| under > 0)?);
    let (mut a, mut b) = (over, under);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    Some(if under == a { (over / a).to_string() } else { format!("{}/{}", over / a, under / a) })
}
