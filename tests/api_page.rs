//! `docs/api.md` is written from `server/src/http/openapi.json`, and is what would be written from it now.

use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;

const DOCUMENT: &str = include_str!("../server/src/http/openapi.json");

/// With this variable the test writes the page.
const WRITE: &str = "HENCE_WRITE_API_PAGE";

const HEAD: &str = "\
# The API, route by route

This page is written from [openapi.json](../server/src/http/openapi.json), which every replica serves as `GET /openapi.json`. A test compares the two. To write
it anew, run `HENCE_WRITE_API_PAGE=1 cargo test -p hence-tests --test tests api_page`.

[http.md](http.md) says what the routes mean, [guarantees.md](guarantees.md) what holds, and the [tutorial](tutorial.md) shows them at work. In all tables, what is
not marked as required may be left out. `HEAD` is answered as `GET` without its body. `OPTIONS` is answered with 204 and `Allow`.
";

/// What a reference leads to, or the value itself.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).expect("it leads somewhere"),
        None => value,
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// What a schema admits, in a few words.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(one) = schema.get("const") {
        return format!("`{one}`");
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ");
    }
    if schema["oneOf"].is_array() {
        return "one of several forms".into();
    }
    let bound = |name: &str| schema[name].as_u64();
    let range = |low: Option<u64>, high: Option<u64>, unit: &str| match (low, high) {
        (Some(low), Some(high)) => format!(", {low} to {high}{unit}"),
        (Some(low), None) => format!(", at least {low}{unit}"),
        (None, Some(high)) => format!(", at most {high}{unit}"),
        (None, None) => String::new(),
    };
    let name = match &schema["type"] {
        Value::String(name) if name == "array" => {
            let length = range(bound("minItems"), bound("maxItems"), "");
            return format!("list of {}{length}", kind(&schema["items"]));
        }
        Value::String(name) => name.clone(),
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => "any".into(),
    };
    let default = schema.get("default").map(|default| format!(", default `{default}`")).unwrap_or_default();
    let length = range(bound("minLength"), bound("maxLength"), " characters");
    format!("{name}{length}{}{default}", range(bound("minimum"), bound("maximum"), ""))
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// The fields of an object, one a row; fields of objects within stand behind a dot.
fn fields(prefix: &str, schema: &Value, page: &mut String) {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let name_of = format!("{prefix}{name}");
        let mark = if required.contains(&name.as_str()) { "yes" } else { "" };
        let inner = if field["type"] == "array" { &field["items"] } else { field };
        let shown = match inner["properties"].is_object() {
            true if field["type"] == "array" => "list of objects".into(),
            true => "object".into(),
            false => kind(field),
        };
        writeln!(page, "| `{name_of}` | {} | {mark} | {} |", cell(&shown), cell(text(field, "description")))
            .expect("memory");
        if inner["properties"].is_object() {
            fields(&format!("{name_of}{}", if field["type"] == "array" { "[]." } else { "." }), inner, page);
        }
    }
}

fn content(answer: &Value) -> String {
    let content = answer["content"].as_object().into_iter().flatten();
    let parts = content.map(|(media, body)| match body["schema"].get("$ref") {
        Some(_) => kind(&body["schema"]),
        None => format!("`{media}`"),
    });
    parts.collect::<Vec<_>>().join(", ")
}

fn operation(document: &Value, path: &str, method: &str, operation: &Value, page: &mut String) {
    let summary = text(operation, "summary");
    write!(page, "\n### {summary}\n\n`{} {path}`\n", method.to_uppercase()).expect("memory");
    let description = text(operation, "description");
    if !description.is_empty() {
        write!(page, "\n{description}\n").expect("memory");
    }
    let parameters: Vec<&Value> =
        operation["parameters"].as_array().into_iter().flatten().map(|one| resolved(document, one)).collect();
    if !parameters.is_empty() {
        page.push_str("\n| parameter | in | what it may be | required | what for |\n|---|---|---|---|---|\n");
    }
    for one in parameters {
        let mark = if one["required"] == true { "yes" } else { "" };
        let (name, place, what) = (text(one, "name"), text(one, "in"), text(one, "description"));
        writeln!(page, "| `{name}` | {place} | {} | {mark} | {} |", cell(&kind(&one["schema"])), cell(what))
            .expect("memory");
    }
    let body = resolved(document, &operation["requestBody"]);
    if body.is_object() {
        write!(page, "\nBody: {}\n", content(body)).expect("memory");
    }
    page.push_str("\n| status | what | body | headers |\n|---|---|---|---|\n");
    for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
        let answer = resolved(document, answer);
        let headers = answer["headers"].as_object().into_iter().flatten().map(|(name, _)| format!("`{name}`"));
        let headers = headers.collect::<Vec<_>>().join(", ");
        let what = cell(text(answer, "description"));
        writeln!(page, "| {status} | {what} | {} | {headers} |", content(answer)).expect("memory");
    }
}

fn schema(name: &str, schema: &Value, page: &mut String) {
    write!(page, "\n### {name}\n").expect("memory");
    let description = text(schema, "description");
    if !description.is_empty() {
        write!(page, "\n{description}\n").expect("memory");
    }
    let forms: Vec<&Value> = match schema["oneOf"].as_array() {
        Some(forms) => forms.iter().collect(),
        None => vec![schema],
    };
    for form in forms {
        if form["properties"].is_object() {
            page.push_str("\n| field | what it may be | required | what for |\n|---|---|---|---|\n");
            fields("", form, page);
        } else {
            write!(page, "\nJSON type: {}.\n", kind(form)).expect("memory");
        }
    }
}

/// The page.
fn written() -> String {
    let document: Value = serde_json::from_str(DOCUMENT).expect("it is JSON");
    let mut page = HEAD.to_owned();
    page.push_str("\n## Routes\n");
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in ["get", "post", "put", "delete"] {
            if item[method].is_object() {
                operation(&document, path, method, &item[method], &mut page);
            }
        }
    }
    page.push_str("\n## Headers of answers\n\n| header | what |\n|---|---|\n");
    for (name, header) in document["components"]["headers"].as_object().expect("headers") {
        writeln!(page, "| `{name}` | {} |", cell(text(header, "description"))).expect("memory");
    }
    page.push_str("\n## Bodies\n");
    for (name, one) in document["components"]["schemas"].as_object().expect("schemas") {
        schema(name, one, &mut page);
    }
    page
}

#[test]
fn the_page_is_what_the_document_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md");
    let written = written();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &written).expect("the repository is ours");
    }
    let page = std::fs::read_to_string(&path).expect("docs/api.md");
    let differs = page.lines().zip(written.lines()).position(|(one, other)| one != other);
    assert!(
        page == written,
        "docs/api.md differs from openapi.json at line {differs:?}; its head says how to write it anew"
    );
    let document: Value = serde_json::from_str(DOCUMENT).expect("it is JSON");
    for path in document["paths"].as_object().expect("paths").keys() {
        assert!(page.contains(&format!(" {path}`")), "{path} is missing");
    }
}
