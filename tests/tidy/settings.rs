//! `docs/settings.md` is generated from where the settings are declared: `core/src/config.rs` and the server's flags.
//!
//! A setting of the core without a default, or without what less and more of it do, fails here. So does a page that
//! is behind. `HENCE_RECORD=1` writes the page anew.

use super::root;
use std::fmt::Write as _;
use std::{env, fs};

const PAGE: &str = "docs/settings.md";

/// One field of a struct as its source shows it.
struct Field {
    name: String,
    kind: String,
    doc: String,
    /// The attribute `arg`, on one line.
    arg: String,
}

/// The fields of this struct.
fn fields(source: &str, name: &str) -> Vec<Field> {
    let body = source.split(&format!("struct {name} {{\n")).nth(1).expect("the struct");
    let (mut found, mut doc, mut arg) = (Vec::new(), String::new(), String::new());
    for line in body.lines().map(str::trim).take_while(|line| *line != "}") {
        if let Some(text) = line.strip_prefix("/// ") {
            doc = format!("{doc} {text}");
        } else if let Some((name, kind)) = line.split_once(": ").filter(|_| line.ends_with(',') && !line.contains('"'))
        {
            let name = name.trim_start_matches("pub(crate) ").trim_start_matches("pub ").to_owned();
            let kind = kind.trim_end_matches(',').to_owned();
            found.push(Field { name, kind, doc: std::mem::take(&mut doc), arg: std::mem::take(&mut arg) });
        } else {
            arg = format!("{arg} {line}");
        }
    }
    assert!(!found.is_empty(), "{name} has no fields");
    found
}

impl Field {
    /// What stands between these two in the attribute.
    fn between(&self, from: &str, to: char) -> Option<&str> {
        self.arg.split_once(from).and_then(|(_, rest)| rest.split(to).next())
    }

    fn unit(&self) -> &'static str {
        match self.kind.as_str() {
            "Micros" => "time",
            _ if self.name.contains("bytes") || self.arg.contains("\"BYTES\"") => "bytes",
            _ if self.arg.contains("\"NUMBER\"") || self.arg.is_empty() => "number",
            _ => "text",
        }
    }

    fn default(&self) -> String {
        let stated = self.between("default_value = \"", '"').map(str::to_owned);
        let stated = stated.or_else(|| self.arg.contains("DEFAULT_CLUSTER").then(|| "hence".to_owned()));
        let told = || Some(self.doc.split_once("[default: ")?.1.split(']').next()?.to_owned());
        stated.or_else(told).unwrap_or_else(|| "none".into())
    }

    /// What the parser takes, in words.
    fn range(&self) -> String {
        let parsed = ["time(", "bytes(", "number("].iter().find_map(|&parser| {
            let inside = self.between(&format!("value_parser = {parser}"), ')')?;
            let mut bounds = inside.split(", ").skip(1).map(value);
            let show = |value| show(parser, value);
            Some(match (bounds.next()?, bounds.next()?) {
                (least, u64::MAX) => format!("from {}", show(least)),
                (least, most) => format!("{} to {}", show(least), show(most)),
            })
        });
        parsed.unwrap_or_else(|| "".into())
    }
}

/// A bound as the source writes it: a number, a shift, or the greatest number.
fn value(text: &str) -> u64 {
    let number = |text: &str| text.trim().replace('_', "").parse::<u64>().expect("a number");
    match text.split_once("<<") {
        _ if text.trim() == "u64::MAX" => u64::MAX,
        Some((base, shift)) => number(base) << number(shift),
        None => number(text),
    }
}

fn show(parser: &str, value: u64) -> String {
    let units: &[(u64, &str)] = match parser {
        "time(" => &[(3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")],
        "bytes(" => &[(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")],
        _ => &[(1, "")],
    };
    let (size, unit) = units.iter().find(|(size, _)| value >= *size && value.is_multiple_of(*size)).unwrap_or(&(1, ""));
    format!("{} {unit}", value / size).trim().to_owned()
}

/// The default, what less of it does, and what more of it does, as the documentation of a setting of the core says.
fn effects(doc: &str) -> Option<(String, String, String)> {
    let (_, after) = doc.split_once("Default")?;
    let default = after.trim_start_matches([':', ' ']);
    let default = default.split(['.', ';']).next().map(str::to_owned).zip(Some(default)).map(|(first, all)| {
        // A point within a number ends nothing.
        let rest = &all[first.len()..];
        let digits = rest.strip_prefix('.').filter(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()));
        digits.map_or(first.clone(), |rest| format!("{first}.{}", rest.split(['.', ';']).next().unwrap_or_default()))
    })?;
    let begins = |word: &str| doc.find(&format!(". {word} ")).or_else(|| doc.find(&format!("; {word} ")));
    let (first, seconds, at) = match (begins("Less"), begins("More")) {
        (Some(less), more) if more.is_none_or(|more| less < more) => ("Less", [". More ", "; more ", ", more "], less),
        (_, Some(more)) => ("More", [". Less ", "; less ", ", less "], more),
        _ => return None,
    };
    let text = doc[at + 2..].strip_prefix(first)?.trim().trim_end_matches('.');
    let middle = seconds.iter().find_map(|second| text.split_once(second))?;
    let (less, more) = if first == "Less" { middle } else { (middle.1, middle.0) };
    let first_sentence = |text: &str| text.split(". ").next().unwrap_or_default().to_owned();
    Some((default, first_sentence(less), first_sentence(more)))
}

fn page() -> String {
    let read = |path: &str| fs::read_to_string(root().join(path)).expect("a source of ours");
    let (core, server) = (
        read("core/src/config.rs"),
        ["args", "browser_args", "trust_args"].map(|name| read(&format!("server/src/cli/{name}.rs"))).concat(),
    );
    let flags: Vec<Field> = ["ServeArgs", "BrowserArgs", "TrustArgs", "LogArgs", "LimitArgs", "TimingArgs"]
        .iter()
        .flat_map(|name| fields(&server, name))
        .filter(|field| field.arg.contains("env = "))
        .collect();
    let variable = |field: &Field| field.between("env = \"", '"').map_or_else(String::new, |name| format!("`{name}`"));
    let mut page = "# Settings\n\nThis page is generated from the declarations. Each variable is a flag, too: `HENCE_LATE_MAX` is `--late-max`.\n\n\
        ## Of the replica\n\nEach is a field of `hence_core::Config`. One without a variable is set by programs only.\n\n\
        | setting | variable | unit | default | range | if lower, it | if higher, it |\n|---|---|---|---|---|---|---|\n"
        .to_owned();
    let knobs = fields(&core, "Config");
    for knob in &knobs {
        let (default, less, more) = effects(&knob.doc)
            .unwrap_or_else(|| panic!("say of {} its default, less and more: {}", knob.name, knob.doc));
        let flag = flags.iter().find(|flag| flag.name == knob.name);
        let (name, unit) = (&knob.name, knob.unit());
        let (variable, range) = flag.map_or_else(Default::default, |flag| (variable(flag), flag.range()));
        writeln!(page, "| `{name}` | {variable} | {unit} | {default} | {range} | {less} | {more} |")
            .expect("a text grows");
    }
    page += "\n## Of the process\n\n| variable | unit | default | range | what |\n|---|---|---|---|---|\n";
    for flag in flags.iter().filter(|flag| knobs.iter().all(|knob| knob.name != flag.name)) {
        let what = flag.doc.split(" [default: ").next().unwrap_or_default().trim();
        writeln!(page, "| {} | {} | {} | {} | {what} |", variable(flag), flag.unit(), flag.default(), flag.range())
            .expect("a text grows");
    }
    page.lines().map(|line| line.split("  ").collect::<Vec<_>>().join(" ") + "\n").collect()
}

#[test]
fn every_setting_stands_in_the_table() {
    let page = page();
    if env::var_os("HENCE_RECORD").is_some() {
        fs::write(root().join(PAGE), &page).expect("the page can be written");
    }
    let stands = fs::read_to_string(root().join(PAGE)).unwrap_or_default();
    let behind: Vec<&str> = page.lines().filter(|line| !stands.contains(line)).collect();
    assert!(stands == page, "{PAGE} is behind; HENCE_RECORD=1 writes it anew: {behind:#?}");
}
