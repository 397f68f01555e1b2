//! Words of transcripts: values, clients and lengths of time.

use super::CLIENTS;

/// A value as it was written in the transcript.
pub(super) fn plain(text: &str) -> String {
    text.replace(".0\"", "").replace('"', "")
}

pub(super) fn client(name: &str) -> Option<u8> {
    name.strip_prefix('c')?.parse().ok().filter(|&client| client < CLIENTS)
}

/// A length of time such as `1.3s`, `250ms` or `1y`, in microseconds.
pub(super) fn micros(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let unit = match &text[digits.len()..] {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "y" => 31_536_000_000_000,
        other => return Err(format!("\"{other}\" is not a unit of time; use us, ms, s or y")),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let number = |text: &str| if text.is_empty() { Ok(0) } else { text.parse::<u64>() };
    let whole = number(whole).map_err(|error| format!("{text}: {error}"))?;
    let part_value = number(part).map_err(|error| format!("{text}: {error}"))?;
    Ok(whole * unit + part_value * unit / 10_u64.pow(part.len() as u32))
}
