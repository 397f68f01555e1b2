//! Values of EDN, and what stands for them in a history.
//!
//! Two values that Clojure's `=` tells apart have different texts: `1` and `"1"`, `:a` and `"a"`, `1` and `1.0`.

use std::fmt::Write as _;

/// A value of EDN. Numbers are texts of one form each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Edn {
    Nil,
    Bool(bool),
    Number(String),
    Symbol(String),
    Char(String),
    Text(String),
    Keyword(String),
    /// A vector or a list, which are equal if their elements are.
    List(Vec<Edn>),
    Set(Vec<Edn>),
    Map(Vec<(Edn, Edn)>),
    Tagged(String, Box<Edn>),
}

impl Edn {
    /// A field of a map; nothing if it is missing or nil.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        self.entry(name).filter(|value| **value != Self::Nil)
    }

    /// A field of a map, which may be nil.
    pub(super) fn entry(&self, name: &str) -> Option<&Self> {
        let Self::Map(pairs) = self else { return None };
        let is_name = |key: &Self| matches!(key, Self::Keyword(keyword) if keyword == name);
        pairs.iter().find(|(key, _)| is_name(key)).map(|(_, value)| value)
    }

    pub(super) fn keyword(&self) -> Option<&str> {
        if let Self::Keyword(name) = self { Some(name) } else { None }
    }

    pub(super) fn list(&self) -> Option<&[Self]> {
        if let Self::List(list) = self { Some(list) } else { None }
    }

    /// The two elements of a list of two.
    pub(super) fn pair(&self) -> Option<(&Self, &Self)> {
        if let Some([one, other]) = self.list() { Some((one, other)) } else { None }
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The texts of a list of them.
    pub(super) fn texts(&self) -> Option<Vec<String>> {
        self.list()?.iter().map(|item| item.text().map(str::to_owned)).collect()
    }

    pub(super) fn number<T: std::str::FromStr>(&self) -> Option<T> {
        if let Self::Number(text) = self { text.parse().ok() } else { None }
    }

    pub(super) const fn is_collection(&self) -> bool {
        matches!(self, Self::List(_) | Self::Set(_) | Self::Map(_))
    }

    /// What it is, for complaints.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Symbol(_) => "a symbol",
            Self::Char(_) => "a character",
            Self::Text(_) => "a string",
            Self::Keyword(_) => "a keyword",
            Self::List(_) => "a list",
            Self::Set(_) => "a set",
            Self::Map(_) => "a map",
            Self::Tagged(..) => "a tagged value",
        }
    }

    /// As the name of a key or a process: a string that looks like nothing else stands for itself.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Text(text) if is_plain(text) => text.clone(),
            Self::Symbol(symbol) => format!("'{symbol}"),
            Self::Nil
            | Self::Bool(_)
            | Self::Number(_)
            | Self::Char(_)
            | Self::Text(_)
            | Self::Keyword(_)
            | Self::List(_)
            | Self::Set(_)
            | Self::Map(_)
            | Self::Tagged(..) => self.to_string(),
        }
    }

    /// As a JSON text. Numbers, booleans, strings and lists are themselves, a keyword is a string with its colon, and
    /// the rest are objects that name their kind.
    pub(super) fn json(&self) -> String {
        match self {
            Self::Nil => "null".into(),
            Self::Bool(is_true) => is_true.to_string(),
            Self::Number(text) if is_json_number(text) => text.clone(),
            Self::Text(text) if text.starts_with(':') => format!("{{\"string\":{}}}", quoted(text)),
            Self::Text(text) => quoted(text),
            Self::Keyword(name) => quoted(&format!(":{name}")),
            Self::Number(_) => format!("{{\"number\":{}}}", quoted(&self.to_string())),
            Self::Symbol(name) => format!("{{\"symbol\":{}}}", quoted(name)),
            Self::Char(text) => format!("{{\"char\":{}}}", quoted(text)),
            Self::List(list) => array(list),
            Self::Set(list) => format!("{{\"set\":{}}}", array(list)),
            Self::Map(pairs) => {
                let pairs: Vec<String> =
                    pairs.iter().map(|(key, at)| format!("[{},{}]", key.json(), at.json())).collect();
                format!("{{\"map\":[{}]}}", pairs.join(","))
            }
            Self::Tagged(tag, value) => format!("{{\"tag\":{},\"value\":{}}}", quoted(tag), value.json()),
        }
    }
}

/// As EDN again.
impl std::fmt::Display for Edn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = |f: &mut std::fmt::Formatter<'_>, open: &str, list: &[Self], close: char| {
            f.write_str(open)?;
            for (at, item) in list.iter().enumerate() {
                write!(f, "{}{item}", if at > 0 { " " } else { "" })?;
            }
            f.write_char(close)
        };
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Bool(is_true) => write!(f, "{is_true}"),
            Self::Number(text) | Self::Symbol(text) => f.write_str(text),
            Self::Char(text) => write!(f, "\\{text}"),
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Keyword(name) => write!(f, ":{name}"),
            Self::List(list) => all(f, "[", list, ']'),
            Self::Set(list) => all(f, "#{", list, '}'),
            Self::Map(pairs) => {
                let flat: Vec<Self> = pairs.iter().flat_map(|(key, value)| [key.clone(), value.clone()]).collect();
                all(f, "{", &flat, '}')
            }
            Self::Tagged(tag, value) => write!(f, "#{tag} {value}"),
        }
    }
}

fn array(list: &[Edn]) -> String {
    let items: Vec<String> = list.iter().map(Edn::json).collect();
    format!("[{}]", items.join(","))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A string that could be a symbol stands for itself as a name; every other is quoted.
fn is_plain(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*!?/".contains(&byte);
    let is_reserved = matches!(text, "nil" | "true" | "false");
    text.bytes().all(is_word) && text.bytes().next().is_some_and(|first| first.is_ascii_alphabetic()) && !is_reserved
}

/// Integers and floats have one text each; decimals, ratios and what is no number at all are not JSON's.
fn is_json_number(text: &str) -> bool {
    !text.contains(['/', '#', 'M'])
}
