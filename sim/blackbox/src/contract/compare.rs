//! Whether an answer is what the table expects, and if not, what is wrong in words.
//!
//! Bodies are compared as JSON: order of members and white space are free, numbers keep their digits. `{{name}}` in an
//! expectation is bound where it is new and compared where it is not. Metadata is bound anew each time, because no two
//! answers need to carry the same.

use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};

/// Names and the JSON text that they stand for.
pub(crate) type Names = BTreeMap<String, String>;

/// Compares a body.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn body(expected: &str, found: &[u8], names: &mut Names) -> Result<(), String> {
    if expected.is_empty() {
        return if found.is_empty() { Ok(()) } else { Err("the body is not empty".into()) };
    }
    let found: &RawValue = serde_json::from_slice(found).map_err(|error| format!("the body is no JSON: {error}"))?;
    let expected: &RawValue = parse(expected);
    value("the body", expected, found, names)
}

/// Compares a header that is there.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn header(name: &str, expected: &str, found: &str, names: &mut Names) -> Result<(), String> {
    let wrong = || format!("the header {name} is {found:?} instead of {expected:?}");
    let Some((before, rest)) = expected.split_once("{{") else {
        return if expected == found { Ok(()) } else { Err(wrong()) };
    };
    let (placeholder, after) = rest.split_once("}}").ok_or_else(wrong)?;
    let inner = found.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).ok_or_else(wrong)?;
    let raw = serde_json::to_string(inner).map_err(|error| error.to_string())?;
    bind(placeholder, name.eq_ignore_ascii_case("causal-metadata"), raw, names).map_err(|_| wrong())
}

/// Puts names into a text: a token that is no string takes the place of the quotes around its name, too.
pub(crate) fn fill(template: &str, names: &Names) -> String {
    let mut text = template.to_owned();
    for (name, raw) in names {
        let inner = raw.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(raw);
        text = text.replace(&format!("\"{{{{{name}}}}}\""), raw).replace(&format!("{{{{{name}}}}}"), inner);
    }
    text
}

/// Our own tables are JSON: a test reads them all.
fn parse(text: &str) -> &RawValue {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("the table expects {text:?}: {error}"))
}

fn value(at: &str, expected: &RawValue, found: &RawValue, names: &mut Names) -> Result<(), String> {
    let wrong = || Err(format!("{at} is {} instead of {}", found.get(), expected.get()));
    match expected.get().as_bytes().first() {
        Some(b'{') => members(at, expected, found, names),
        Some(b'[') => {
            let (Ok(mut all), Ok(mut these)) = (list(expected), list(found)) else { return wrong() };
            if at.ends_with("\"view\"") {
                // The order of members is free.
                let text = |raw: &&RawValue| fill(raw.get(), names);
                all.sort_by_key(text);
                these.sort_by_key(text);
            }
            if all.len() != these.len() {
                return wrong();
            }
            all.into_iter().zip(these).try_for_each(|(expected, found)| value(at, expected, found, names))
        }
        Some(b'"') => string(at, expected, found, names),
        _ if expected.get() == found.get() => Ok(()),
        _ => wrong(),
    }
}

fn list(raw: &RawValue) -> Result<Vec<&RawValue>, serde_json::Error> {
    serde_json::from_str(raw.get())
}

fn members(at: &str, expected: &RawValue, found: &RawValue, names: &mut Names) -> Result<(), String> {
    let expected: BTreeMap<String, &RawValue> = serde_json::from_str(expected.get()).unwrap_or_default();
    let Ok(found) = serde_json::from_str::<BTreeMap<String, &RawValue>>(found.get()) else {
        return Err(format!("{at} is {} instead of an object", found.get()));
    };
    let (all, these): (BTreeSet<_>, BTreeSet<_>) = (expected.keys().collect(), found.keys().collect());
    if let Some(name) = all.difference(&these).next() {
        return Err(format!("{at} lacks \"{name}\""));
    }
    if let Some(name) = these.difference(&all).next() {
        return Err(format!("{at} has \"{name}\", which does not belong there"));
    }
    for (name, expected) in &expected {
        value(&format!("\"{name}\""), expected, found[name], names)?;
    }
    Ok(())
}

fn string(at: &str, expected: &RawValue, found: &RawValue, names: &mut Names) -> Result<(), String> {
    let wrong = || format!("{at} is {} instead of {}", found.get(), expected.get());
    let inner = expected.get().trim_matches('"');
    if let Some(name) = inner.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")) {
        let is_token = at == "\"causal-metadata\"";
        if found.get() == "null" || !is_token && !found.get().starts_with('"') {
            return Err(format!(
                "{at} is {}, and must be {}",
                found.get(),
                if is_token { "something" } else { "a text" }
            ));
        }
        return bind(name, is_token, found.get().to_owned(), names).map_err(|_| wrong());
    }
    let text = |raw: &RawValue| serde_json::from_str::<String>(raw.get());
    match (text(expected), text(found)) {
        (Ok(expected), Ok(found)) if expected == found => Ok(()),
        _ => Err(wrong()),
    }
}

/// Binds a name, or compares it with what it stands for.
fn bind(name: &str, is_token: bool, raw: String, names: &mut Names) -> Result<(), ()> {
    if name == "*" {
        return if raw == "\"\"" { Err(()) } else { Ok(()) };
    }
    if is_token {
        names.insert(name.to_owned(), raw);
        return Ok(());
    }
    let known = names.entry(name.to_owned()).or_insert_with(|| raw.clone());
    if *known == raw { Ok(()) } else { Err(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: &str, found: &str) -> Result<(), String> {
        body(expected, found.as_bytes(), &mut Names::new())
    }

    #[test]
    fn what_is_equal_is_equal_however_it_is_written() {
        let fine = [
            (r#"{"a":1,"b":"x"}"#, r#" {"b" : "\u0078", "a":1} "#),
            (r#"{"error":"{{*}}"}"#, r#"{"error":"anything"}"#),
            (r#"{"causal-metadata":"{{m1}}"}"#, r#"{"causal-metadata":{"x":[1]}}"#),
            (r#"{"view":["b","a"]}"#, r#"{"view":["a","b"]}"#),
            (r#"{"value":[{"b":1,"a":[],"b":null},1.0,"\u00e4\/"]}"#, r#"{"value":[{"a":[],"b":null},1.0,"ä/"]}"#),
            ("", ""),
        ];
        for (expected, found) in fine {
            assert_eq!(check(expected, found), Ok(()), "{found}");
        }
    }

    #[test]
    fn what_differs_is_said() {
        let wrong = [
            (r#"{"value":1.10}"#, r#"{"value":1.1}"#, "\"value\" is 1.1 instead of 1.10"),
            (r#"{"a":1}"#, r#"{"a":1,"b":2}"#, "has \"b\", which does not belong there"),
            (r#"{"a":1,"b":2}"#, r#"{"a":1}"#, "the body lacks \"b\""),
            (r#"{"error":"{{*}}"}"#, r#"{"error":""}"#, "\"error\" is \"\""),
            (r#"{"causal-metadata":"{{m1}}"}"#, r#"{"causal-metadata":null}"#, "must be something"),
            (r#"{"a":"x"}"#, "<html>", "the body is no JSON"),
            (r#"{"a":"x"}"#, "[]", "instead of an object"),
            ("", "{}", "not empty"),
            (r#"{"view":["a"]}"#, r#"{"view":["a","b"]}"#, "\"view\" is"),
        ];
        for (expected, found, part) in wrong {
            let error = check(expected, found).expect_err(found);
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn names_are_bound_and_filled_in() {
        let mut names = Names::new();
        let token = r#"{"causal-metadata":{"x":1}}"#;
        assert_eq!(body(r#"{"causal-metadata":"{{m1}}"}"#, token.as_bytes(), &mut names), Ok(()));
        assert_eq!(fill(r#"{"causal-metadata":"{{m1}}"}"#, &names), token);
        assert_eq!(header("etag", "\"{{e1}}\"", "\"a-1\"", &mut names), Ok(()));
        assert!(header("etag", "\"{{e1}}\"", "\"a-2\"", &mut names).is_err());
        assert_eq!(fill("{{e1}}", &names), "a-1");
    }
}
