//! EDN as it is defined, and Jepsen's conventions as they are used: a corpus of small files, each with its verdict.

use hence_checker::format::edn;
use hence_checker::format::{self, Format, Reading};
use hence_checker::history::{Action, History};
use hence_checker::{Level, Options, Report, Verdict, judge};
use std::path::PathBuf;

fn judged(text: &str, initial: Option<&str>) -> Result<(History, Report), String> {
    let reading = Reading { format: Some(Format::Edn), initial: initial.map(str::to_owned) };
    let history = format::read_as(text.as_bytes(), &reading).map_err(|error| error.to_string())?;
    let report = judge(&history, Options::default()).map_err(|error| error.to_string())?;
    Ok((history, report))
}

/// `fine`, `broken` with its levels, or `refused` with the complaint.
fn told(text: &str) -> String {
    match judged(text, None) {
        Err(complaint) => format!("refused {complaint}"),
        Ok((_, report)) => {
            let broken = Level::ALL.into_iter().filter(|&level| report.verdict(level) == Verdict::Broken);
            let broken: Vec<&str> = broken.map(Level::name).collect();
            if broken.is_empty() { "fine".into() } else { format!("broken {}", broken.join(" ")) }
        }
    }
}

fn corpus() -> Vec<(PathBuf, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("edn");
    let entries = std::fs::read_dir(folder).expect("the corpus is here").map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "edn")).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).expect("a text"))).collect()
}

#[test]
fn the_corpus_has_its_verdicts() {
    let (mut wrong, mut counts) = (Vec::new(), std::collections::BTreeMap::<&str, u32>::new());
    for (path, text) in corpus() {
        let expected = text.lines().next().and_then(|line| line.strip_prefix("; ")).expect("it says its verdict");
        let kind = ["fine", "broken", "refused"].into_iter().find(|kind| expected.starts_with(kind));
        *counts.entry(kind.expect("one of three")).or_default() += 1;
        let told = told(&text);
        if !(told == expected || expected.starts_with("refused line") && told.starts_with(expected)) {
            wrong.push(format!("{}: {told}, not {expected}", path.display()));
        }
    }
    println!("{counts:?}");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(counts.values().all(|&count| count >= 10), "{counts:?}");
}

/// What is read from the corpus is the same after it went through our own formats.
#[test]
fn the_corpus_survives_the_other_formats() {
    for (path, text) in corpus() {
        let Ok((history, report)) = judged(&text, None) else { continue };
        for format in [Format::Json, Format::Edn] {
            let mut written = Vec::new();
            format::write(&history, format, &mut written).expect("it has words for all");
            let again = format::read(&written[..], None).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            if history.truncated {
                continue;
            }
            let verdicts = judge(&again, Options::default()).expect("it fits together").verdicts;
            assert_eq!(verdicts, report.verdicts, "{} as {}", path.display(), format.name());
        }
    }
}

/// Spaces, commas, remarks and discards around every value change nothing.
#[test]
fn what_says_nothing_changes_nothing() {
    for (path, text) in corpus().into_iter().filter(|(_, text)| !text.starts_with("; refused") && !text.contains('"')) {
        if path.ends_with("cut-off.edn") {
            continue;
        }
        let before = told(&text);
        for noise in [" , ", "\t\r\n", " ; said [{ aside\n", " #_ {:process [1 #_2 \"]\"]} ", " #_#_ a #tag (b) "] {
            let body = text.split_once('\n').expect("a first line").1;
            // Remarks end with their line, so they are taken out before anything is put in.
            let bare: Vec<&str> = body.lines().map(|line| line.split(';').next().unwrap_or_default()).collect();
            let noisy = bare.join("\n").replace("} ", &format!("}}{noise}")).replace(" :f", &format!("{noise}:f"));
            assert_eq!(told(&noisy), before, "{}: {noisy}", path.display());
        }
    }
}

fn read_of(value: &str) -> Result<String, String> {
    let text = format!("{{:process 0 :type :ok :f :write :value [:k {value}]}}");
    let (history, _) = judged(&text, None)?;
    let put = history.operations().find(|operation| operation.action == Action::Put).expect("the write");
    Ok(put.value.expect("a put has a value"))
}

/// Equal values have equal texts, and values that Clojure tells apart have not.
#[test]
fn values_are_told_apart_as_clojure_does() {
    let classes: &[&[&str]] = &[
        &["1", "+1", "1N", "0x1", "01", "2r1", "2/2"],
        &["-1", "-1N", "-0x1"],
        &["0", "-0", "0N"],
        &["1.0", "1e0", "10e-1", "1.0e+0"],
        &["0.0", "-0.0"],
        &["1.0M"],
        &["1.00M"],
        &["1/2", "2/4"],
        &["##Inf"],
        &["\"1\"", "\"\\u0031\"", "\"\\61\""],
        &["\\1", "\\u0031", "\\o61"],
        &["\\newline"],
        &["\"\\n\"", "\"\n\""],
        &["\"\u{1f600}\"", "\"\\ud83d\\ude00\""],
        &[":a"],
        &["\":a\""],
        &[":n/a"],
        &["a"],
        &["\"a\""],
        &["\\a"],
        &["[1 2]", "(1 2)", "[1, 2]", "[1 #_3 2]"],
        &["[1 [2]]"],
        &["#{1 2}", "#{2 1}"],
        &["#{}"],
        &["{}"],
        &["[]", "()"],
        &["{:a 1 :b 2}", "{:b 2, :a 1}"],
        &["{\"a\" 1 \"b\" 2}"],
        &["#:n{:a 1}", "{:n/a 1}"],
        &["{:a 7}", "^b {:a 7}", "#^{:b 1} {:a 7}", "^b ^\"c\" {:a 7}", "{:a #_ ^c d 7}"],
        &["#inst \"2020-01-01\""],
        &["\"2020-01-01\""],
        &["true"],
        &["\"true\""],
        &["123456789012345678901234567890"],
    ];
    let mut seen = std::collections::BTreeMap::<String, &str>::new();
    for class in classes {
        let texts: Vec<String> =
            class.iter().map(|value| read_of(value).unwrap_or_else(|error| panic!("{value}: {error}"))).collect();
        assert!(texts.iter().all(|text| *text == texts[0]), "{class:?}: {texts:?}");
        serde_json::from_str::<serde_json::Value>(&texts[0]).unwrap_or_else(|error| panic!("{}: {error}", texts[0]));
        assert_eq!(seen.insert(texts[0].clone(), class[0]), None, "{} and another value", class[0]);
    }
}

#[test]
fn what_is_no_edn_is_refused() {
    let bad = [
        "08",
        "1a",
        "1/0",
        "1/",
        "0x",
        "37r1",
        "1.5.2",
        "1e",
        ":",
        "::a",
        ":a/",
        "a/b/c",
        "'a",
        "@a",
        "^1 {}",
        "^a 1",
        "^{:a 1} :b",
        "[^a]",
        "^[a] {}",
        "`a",
        "#\"regex\"",
        "#(inc)",
        "##Nothing",
        "\"\\q\"",
        "\"\\u12\"",
        "\"\\ud83d\"",
        "\"\\477\"",
        "\\ab",
        "\\u00",
        "#{1 1}",
        "{:a 1 :a 2}",
        "{:a}",
        "[1)",
        "#_",
        "[#_]",
        "#tag",
        "#:n [1]",
        "##NaN",
        "\u{1}",
    ];
    for value in bad {
        let answer = read_of(value).expect_err(value);
        assert!(answer.starts_with("line 1: "), "{value}: {answer}");
    }
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    assert!(read_of(&deep).expect_err("deep").contains("nest too deeply"));
    let tags = format!("{} 1", "#a ".repeat(100));
    assert!(read_of(&tags).expect_err("deep").contains("nest too deeply"));
    let wide = format!("[{}]", "1 ".repeat(1_200_000));
    assert!(read_of(&wide).expect_err("wide").contains("more than 1048576 values"));
}

/// A file may be cut anywhere: what is whole is judged, and nothing is blamed on what is gone.
#[test]
fn a_cut_file_is_judged_as_far_as_it_goes() {
    let whole = corpus().into_iter().find(|(path, _)| path.ends_with("list-of-ops.edn")).expect("it is there").1;
    let end = whole.rfind(')').expect("it ends");
    for at in 0..end {
        if !whole.is_char_boundary(at) {
            continue;
        }
        match judged(&whole[..at], None) {
            Err(complaint) => {
                assert!(complaint.contains("no operation") || complaint.contains("empty"), "{at}: {complaint}")
            }
            Ok((history, report)) => {
                assert!(history.truncated && report.warnings.iter().any(|line| line.contains("is cut off")), "{at}");
                assert!(!report.is_broken(), "{at}: {}", &whole[..at]);
            }
        }
    }
    assert!(judged(&whole, None).expect("it is whole").1.is_broken());
}

/// What keys begin with can be said.
#[test]
fn the_value_before_the_first_write_is_told() {
    let text = "{:process 0 :type :ok :f :read :value [:x :empty]} {:process 1 :type :ok :f :write :value [:x 1]}";
    let empty = edn::initial(" :empty ").expect("a value");
    assert!(judged(text, None).expect("it is read").1.is_broken(), "nobody wrote it");
    assert!(!judged(text, Some(&empty)).expect("it is read").1.is_broken());
    let forgets = format!("{text} {{:process 1 :type :ok :f :read :value [:x :empty]}}");
    let report = judged(&forgets, Some(&empty)).expect("it is read").1;
    assert_eq!(report.weakest_broken(), Some(Level::ReadYourWrites));
    let written = format!("{text} {{:process 2 :type :ok :f :write :value [:y :empty]}}");
    assert!(judged(&written, Some(&empty)).expect_err("it is written").contains("which keys begin with"));
    let nil = format!("{text} {{:process 2 :type :ok :f :read :value [:y nil]}}");
    assert!(judged(&nil, Some(&empty)).expect_err("there is nil").contains("reads nil"));
    for bad in ["", "1 2", "[", ")", "08"] {
        assert!(edn::initial(bad).is_err(), "{bad:?}");
    }
}

/// What was left out or taken apart is said.
#[test]
fn what_is_less_than_it_seems_is_said() {
    for (file, says) in [
        ("compare-and-set", "1 compare-and-sets are judged as a read and a write"),
        ("second-invocation", "1 operations were given up by their process"),
        ("a-process-goes-on", "1 times a process went on after an operation of unknown outcome"),
        ("a-write-written-over", "1 writes were written over by their own transaction"),
        ("a-fractured-read", ""),
        ("begins-with-0", "0 is taken for what keys begin with: 2 reads return it"),
        ("the-nemesis-says-anything", ""),
        ("failures-of-any-kind", ""),
    ] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("edn").join(file).with_extension("edn");
        let text = std::fs::read_to_string(path).expect("it is in the corpus");
        let warnings = judged(&text, None).expect("it is judged").1.warnings;
        match says {
            "" => assert!(warnings.is_empty(), "{file}: {warnings:?}"),
            says => assert!(warnings.iter().any(|line| line.starts_with(says)), "{file}: {warnings:?}"),
        }
    }
}
