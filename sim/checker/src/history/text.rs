//! Texts of others, short enough for people and plain enough for a terminal.

use std::borrow::Cow;

/// Characters that a key, a value or a name may have in a text for people.
const TEXT_MAX: usize = 60;

/// Characters of a line: what has more is no line any more.
const LINE_MAX: usize = 600;

/// A text as it is, or its beginning, its end and its length, on one line that a terminal only shows. Whole it stands in
/// files.
pub(crate) fn short(text: &str) -> Cow<'_, str> {
    if text.len() <= TEXT_MAX {
        return plain(text);
    }
    let count = text.chars().count();
    if count <= TEXT_MAX {
        return plain(text);
    }
    let from = |at: usize| text.char_indices().nth(at).map_or(text.len(), |(place, _)| place);
    format!("{}…{} ({count} characters)", plain(&text[..from(40)]), plain(&text[from(count - 10)..])).into()
}

/// A text whose characters that end a line, steer a terminal or turn the direction of writing are told by number.
fn plain(text: &str) -> Cow<'_, str> {
    let is_plain =
        |letter: char| !(letter.is_control() || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'));
    if text.chars().all(is_plain) {
        return text.into();
    }
    let told = |letter: char| if is_plain(letter) { letter.to_string() } else { letter.escape_default().to_string() };
    text.chars().map(told).collect::<String>().into()
}

/// A line that no screen has room for, without its middle.
pub(crate) fn cut(line: &str) -> String {
    let line = plain(line);
    let count = line.chars().count();
    if count <= LINE_MAX {
        return line.into_owned();
    }
    let start: String = line.chars().take(LINE_MAX / 2).collect();
    let end: String = line.chars().skip(count - LINE_MAX / 4).collect();
    format!("{start} ... {end}")
}
