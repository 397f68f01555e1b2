//! Answers to lists.

use super::{Answer, Form, Pieces, add_token, json, tag};
use crate::http::bad_request::LIST_PARAMETERS;
use hence_core::{ListAnswer, ListRequest, ListShape, Listed};
use http::header::LINK;
use http::{HeaderValue, StatusCode};
use std::fmt::Write as _;

/// A page.
pub(super) fn listed(page: ListAnswer, form: &Form) -> Answer {
    let ListAnswer { items, prefixes, count, next, token } = page;
    let asked = form.list.as_deref().expect("only a list is answered with a page");
    let token = form.mint.encode(token);
    let mut body = Pieces::new(96 * items.len() + token.len() + 64);
    body.text("{\"result\":\"listed\",\"items\":[");
    for (at, item) in items.iter().enumerate() {
        body.text(if at == 0 { "{\"key\":" } else { ",{\"key\":" });
        show(item, &mut body);
    }
    body.text("]");
    if !asked.delimiter.is_empty() && asked.shape != ListShape::Count {
        body.text(",\"prefixes\":[");
        for (at, prefix) in prefixes.iter().enumerate() {
            body.text(if at == 0 { "" } else { "," });
            body.string(prefix);
        }
        body.text("]");
    }
    if asked.shape == ListShape::Count {
        body.text(&format!(",\"count\":{count}"));
    }
    let next = next.map(|begins| self::next(asked, begins, &token));
    if let Some(next) = &next {
        body.text(",\"next\":");
        body.string(next);
    }
    body.text(",\"causal-metadata\":\"");
    body.text(&token);
    body.text("\"}");
    let mut answer = json(StatusCode::OK, body.finish());
    add_token(&mut answer, token);
    if let Some(next) = next {
        let link = HeaderValue::from_str(&format!("<{next}>; rel=\"next\"")).expect("what is encoded is ASCII");
        answer.headers_mut().insert(LINK, link);
    }
    answer
}

fn show(item: &Listed, body: &mut Pieces) {
    body.string(item.key.as_str());
    if let Some(value) = &item.value {
        body.text(",\"value\":");
        body.value(value);
    }
    tag(&item.dots, body);
    if item.dots.len() > 1 {
        body.text(&format!(",\"siblings\":{}", item.dots.len()));
    }
    body.text("}");
}

/// Where the next page of a list is, which begins there and whose client has this token.
pub(crate) fn next(list: &ListRequest, begins: String, token: &str) -> String {
    let list = list.after(begins);
    let mut target = String::from("/kvs");
    let limit = list.limit.to_string();
    let (keys_only, count_only) = (list.shape == ListShape::Keys, list.shape == ListShape::Count);
    let yes = |set: bool| if set { "true" } else { "" };
    let values = [
        list.prefix.as_str(),
        &list.start,
        list.end.as_deref().unwrap_or_default(),
        &limit,
        yes(list.reverse),
        &list.delimiter,
        yes(keys_only),
        yes(count_only),
        token,
    ];
    for (name, value) in LIST_PARAMETERS.iter().zip(values).filter(|(_, value)| !value.is_empty()) {
        target.push(if target.len() == "/kvs".len() { '?' } else { '&' });
        target.push_str(name);
        target.push('=');
        encode(value, &mut target);
    }
    target
}

fn encode(value: &str, target: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            target.push(char::from(byte));
        } else {
            write!(target, "%{byte:02X}").expect("memory takes all text");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{FORM, show as shown, token};
    use super::*;
    use hence_core::{Dot, Incarnation, Key, Reply, Value, VersionVector};

    fn item(key: &str, versions: u64, value: Option<&[u8]>) -> Listed {
        let dots = (1..=versions).map(|counter| Dot { incarnation: Incarnation(0xa), counter }).collect();
        Listed { key: Key::new(key).unwrap(), dots, value: value.map(Value::new) }
    }

    fn body(list: ListRequest, items: Vec<Listed>, prefixes: &[&str], next: Option<&str>) -> (Vec<String>, String) {
        let past = VersionVector::from_entries([(Incarnation(0xa), 3)]);
        let form = Form { list: Some(Box::new(list)), ..FORM };
        let prefixes: Vec<String> = prefixes.iter().map(|&prefix| prefix.into()).collect();
        let count = items.len() + prefixes.len();
        let items = if form.list.as_ref().is_some_and(|list| list.shape == ListShape::Count) { vec![] } else { items };
        let page = ListAnswer { items, prefixes, count, next: next.map(Into::into), token: past.clone() };
        let (status, headers, body) = shown(super::super::data(Reply::Listed(page), || past, &form));
        assert_eq!(status, 200);
        (headers, body)
    }

    #[test]
    fn pages() {
        let (t, all) = (token(), ListRequest::all(VersionVector::new()));
        let one = "\\\"000000000000000a-1\\\"";
        let (headers, empty) = body(all.clone(), vec![], &[], None);
        assert_eq!(headers, [format!("causal-metadata: {t}"), "content-type: application/json".into()]);
        assert_eq!(empty, format!("{{\"result\":\"listed\",\"items\":[],\"causal-metadata\":\"{t}\"}}"));
        let items = || vec![item("a\"", 1, Some(b"[1.0]")), item("b", 2, None)];
        let two = "\\\"000000000000000a-1+000000000000000a-2\\\"";
        let listed = format!(
            "{{\"result\":\"listed\",\"items\":[{{\"key\":\"a\\\"\",\"value\":[1.0],\"etag\":\"{one}\"}},\
             {{\"key\":\"b\",\"etag\":\"{two}\",\"siblings\":2}}]"
        );
        let end = format!(",\"causal-metadata\":\"{t}\"}}");
        assert_eq!(body(all.clone(), items(), &[], None).1, format!("{listed}{end}"));
        let delimited = ListRequest { delimiter: "/".into(), limit: 3, ..all.clone() };
        let target = format!("/kvs?start=c0&limit=3&delimiter=/&causal-metadata={t}");
        let (headers, shown) = body(delimited.clone(), items(), &["c/"], Some("c0"));
        assert_eq!(shown, format!("{listed},\"prefixes\":[\"c/\"],\"next\":\"{target}\"{end}"));
        assert!(headers.contains(&format!("link: <{target}>; rel=\"next\"")), "{headers:?}");
        assert_eq!(
            body(delimited, vec![], &[], None).1,
            format!("{{\"result\":\"listed\",\"items\":[],\"prefixes\":[]{end}")
        );
        let count = ListRequest { shape: ListShape::Count, ..all };
        let counted = format!("{{\"result\":\"listed\",\"items\":[],\"count\":2{end}");
        assert_eq!(body(count, items(), &[], None).1, counted);
    }
}
