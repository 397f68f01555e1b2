//! The prose of the repository: documents without their code, and comments. Words and sentences are counted here.

use super::{files, is_rust_of_ours, report};
use std::collections::BTreeMap;

/// Words that stand for an actor without naming it. "whose" is no such word: things have parts, too.
const WHO: [&str; 11] = [
    "who",
    "whoever",
    "whom",
    "whomever",
    "nobody",
    "somebody",
    "anybody",
    "everybody",
    "someone",
    "everyone",
    "anyone",
];
/// One word in so many may be one of these.
const WORDS_PER_WHO: usize = 1_000;

/// A stretch of text whose sentences belong together: a paragraph, an item of a list, a cell of a table.
struct Paragraph {
    path: String,
    line: usize,
    text: String,
}

/// The comment of a line, if it has one.
fn comment(line: &str) -> Option<&str> {
    let trimmed = line.trim_start();
    let text = if let Some(text) = trimmed.strip_prefix("//") {
        text.strip_prefix(['/', '!']).unwrap_or(text)
    } else {
        let (code, text) = line.split_once(" // ")?;
        // Within a text of the program it is none.
        (code.matches('"').count() % 2 == 0).then_some(text)?
    };
    Some(text.strip_prefix(' ').unwrap_or(text))
}

/// Without spans of code, each of which becomes one word, and without what links lead to.
fn plain(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let mut plain: String = parts.map(|(at, part)| if at % 2 == 1 { "CODE" } else { part }).collect();
    while let Some((from, to)) = plain.find("](").and_then(|at| Some((at, at + plain[at..].find(')')?))) {
        plain.replace_range(from..=to, "]");
    }
    plain
}

/// Takes lines in, and gives paragraphs back.
struct Reader<'a> {
    path: &'a str,
    found: Vec<Paragraph>,
    is_code: bool,
    is_open: bool,
}

impl Reader<'_> {
    fn take(&mut self, line: usize, text: &str) {
        let trimmed = text.trim();
        if trimmed.starts_with("```") {
            self.is_code = !self.is_code;
            self.is_open = false;
            return;
        }
        if self.is_code || trimmed.is_empty() {
            self.is_open = false;
            return;
        }
        if trimmed.starts_with('|') {
            let cells = trimmed.split('|').filter(|cell| cell.contains(char::is_alphabetic));
            self.found.extend(cells.map(|cell| Paragraph { path: self.path.to_owned(), line, text: plain(cell) }));
            self.is_open = false;
            return;
        }
        let is_item = trimmed.starts_with(['-', '*', '#'])
            || trimmed.split_once(". ").is_some_and(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()));
        match self.found.last_mut() {
            Some(last) if self.is_open && !is_item => {
                last.text.push(' ');
                last.text.push_str(trimmed);
            }
            _ => self.found.push(Paragraph { path: self.path.to_owned(), line, text: trimmed.to_owned() }),
        }
        self.is_open = !trimmed.starts_with('#');
    }
}

fn paragraphs(path: &str, text: &str) -> Vec<Paragraph> {
    let mut reader = Reader { path, found: Vec::new(), is_code: false, is_open: false };
    for (number, line) in text.lines().enumerate() {
        if path.ends_with(".md") {
            reader.take(number + 1, line);
        } else {
            match comment(line) {
                Some(text) => reader.take(number + 1, text),
                None => (reader.is_open, reader.is_code) = (false, false),
            }
        }
    }
    for paragraph in &mut reader.found {
        paragraph.text = plain(&paragraph.text);
    }
    reader.found
}

/// All documents and all comments of ours.
fn prose() -> Vec<Paragraph> {
    let ours = files(&[".md", ".rs"]).into_iter().filter(|(path, _)| path.ends_with(".md") || is_rust_of_ours(path));
    ours.flat_map(|(path, text)| paragraphs(&path, &text)).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric() && !"-'’_".contains(letter)).filter(|word| !word.is_empty())
}

#[test]
fn actors_are_named() {
    let mut rooms: BTreeMap<String, (usize, Vec<String>)> = BTreeMap::new();
    for Paragraph { path, line, text } in prose() {
        let room = if path.ends_with(".md") { "the documents" } else { path.split('/').next().unwrap_or_default() };
        let (count, found) = rooms.entry(room.to_owned()).or_default();
        for word in words(&text) {
            *count += 1;
            let bare = word.trim_end_matches("'s").to_lowercase();
            if WHO.contains(&bare.as_str()) {
                found.push(format!("{path}:{line}: {word}"));
            }
        }
    }
    let mut complaints = Vec::new();
    for (room, (count, found)) in rooms {
        assert!(count > 50, "{room}: only {count} words are read");
        if found.len() * WORDS_PER_WHO > count {
            complaints.push(format!("{room}: {} of {count} words: {}", found.len(), found.join(", ")));
        }
    }
    report("comments and documents name the actor (replica, peer, client, operator)", &complaints);
}

const SENTENCE_WORDS_MAX: usize = 25;
const SENTENCE_WORDS_MEAN: f64 = 16.0;

/// The rooms, each of which is measured alone. All other prose is "the documents".
const ROOMS: [&str; 6] = ["docs/decisions/", "core/", "transport/", "server/", "sim/", "tests/"];

/// The words of each sentence. One ends where a word ends in a mark and the next begins with a capital letter.
fn sentences(text: &str) -> Vec<Vec<&str>> {
    let mut found = Vec::new();
    let mut open: Vec<&str> = Vec::new();
    let mut is_ended = false;
    for word in text.split_whitespace() {
        let begins =
            word.starts_with('[') || word.trim_start_matches(['"', '(', '*', '_']).starts_with(char::is_uppercase);
        if is_ended && begins {
            found.push(std::mem::take(&mut open));
        }
        is_ended = word.trim_end_matches(['"', ')', '*', '_']).ends_with(['.', '!', '?']);
        if word.contains(char::is_alphanumeric) {
            open.push(word);
        }
    }
    found.push(open);
    found.retain(|sentence| !sentence.is_empty());
    found
}

#[test]
fn sentences_are_short() {
    let read = sentences("One. Two (`x`.) Three v. 1.5 of \"it\"? **Four.** five");
    assert_eq!(read.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2, 5, 2]);
    let mut rooms: BTreeMap<&str, (usize, usize, Vec<String>)> = BTreeMap::new();
    for Paragraph { path, line, text } in prose() {
        let room = ROOMS.into_iter().find(|room| path.starts_with(room));
        let (words, count, long) = rooms.entry(room.unwrap_or("the documents")).or_default();
        for sentence in sentences(&text) {
            (*words, *count) = (*words + sentence.len(), *count + 1);
            if sentence.len() > SENTENCE_WORDS_MAX {
                long.push(format!("{path}:{line}: {} words: {}", sentence.len(), sentence.join(" ")));
            }
        }
    }
    let mut complaints = Vec::new();
    for (room, (words, count, mut long)) in rooms {
        let mean = words as f64 / count as f64;
        println!("{room}: {count} sentences of {mean:.1} words on average, {} too long", long.len());
        complaints.append(&mut long);
        if mean > SENTENCE_WORDS_MEAN {
            complaints.push(format!("{room}: {mean:.1} words on average"));
        }
    }
    report("a sentence has at most 25 words, and 16 on average", &complaints);
}
