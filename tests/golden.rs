//! Golden transcripts: the scenarios that broke earlier wordings of the protocol, as text.
//!
//! `HENCE_RECORD=1 cargo test -p hence-tests golden` writes them again. The `=>` and `expect` lines in them are
//! never written: what must not happen cannot slip in that way.

use hence_sim::campaign::run::Setting;
use hence_sim::campaign::transcript;
use hence_sim::mutants::Mutant;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn files() -> Vec<(String, String)> {
    let mut files: Vec<_> = std::fs::read_dir(folder())
        .expect("tests/golden is there")
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "txt"))
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(entry.path()).expect("a transcript is text"))
        })
        .collect();
    files.sort();
    files
}

#[test]
fn transcripts_are_as_recorded() {
    let record = std::env::var_os("HENCE_RECORD").is_some();
    let files = files();
    assert!(files.len() >= 25, "{} transcripts", files.len());
    let mut wrong = Vec::new();
    for (name, text) in files {
        assert!(text.starts_with("# "), "{name} begins with the sentence that says what must not happen");
        assert!(text.contains("=>") || text.contains("expect"), "{name} asserts nothing");
        match transcript::run(&text, Setting::default()) {
            Err(error) => wrong.push(format!("{name}: {error}")),
            Ok(now) if now == text => {}
            Ok(now) if record => std::fs::write(folder().join(&name), now).expect("a transcript can be written"),
            Ok(now) => {
                let mut pairs = now.lines().zip(text.lines()).enumerate();
                let (line, pair) = pairs.find(|(_, (now, then))| now != then).unwrap_or_default();
                wrong.push(format!("{name} line {}: now \"{}\", recorded \"{}\"", line + 1, pair.0, pair.1));
            }
        }
    }
    assert!(wrong.is_empty(), "record again only if this is meant:\n{}", wrong.join("\n"));
}

/// A transcript that could not fail would prove nothing: each rule named here breaks the one beside it.
#[test]
fn transcripts_convict_the_shortcut_that_they_are_about() {
    let pairs = [
        ("01", Mutant::AnswerWithoutDeletes),
        ("01", Mutant::DeletesWithAbsentOnly),
        ("02", Mutant::ServeUncovered),
        ("03", Mutant::DependWithoutDeletes),
        ("03", Mutant::DeletesInTokensOnly),
        ("04", Mutant::HearingCovers),
        ("05", Mutant::DropRetiredEntries),
        ("06", Mutant::DependWithoutReplaced),
        ("07", Mutant::AskNobody),
        ("07", Mutant::AskOnlyLinked),
        ("08", Mutant::JoinWaits),
        ("09", Mutant::AskOverOpenLinks),
        ("09", Mutant::AnyLink),
        ("10", Mutant::AskOnlyOne),
        ("10", Mutant::DropLostEntries),
        ("11", Mutant::GoalOutlivesSource),
        ("12", Mutant::KeepOldLife),
        ("13", Mutant::NobodyStaysUnwanted),
        ("14", Mutant::RemovedGoesSilent),
        ("15", Mutant::StampByWall),
        ("16", Mutant::InstallWithoutClock),
        ("17", Mutant::InstallWithAsked),
        ("19", Mutant::ApplyWithoutCauses),
        ("20", Mutant::AcceptLate),
        ("21", Mutant::SurviveAlways),
        ("32", Mutant::WatchWithoutDeletes),
        ("32", Mutant::MergeUntold),
        ("33", Mutant::MarkWithinCut),
        ("33", Mutant::MarkBeforeSynced),
        ("34", Mutant::ForgetWatchFloor),
        ("28", Mutant::AcceptLate),
        ("27", Mutant::AcceptLate),
        ("22", Mutant::NobodyStaysUnwanted),
        ("23", Mutant::RoundGoesOn),
        ("24", Mutant::RemovalForgotten),
        ("29", Mutant::CountRemoved),
        ("30", Mutant::CountUnlinked),
        ("30", Mutant::ConcernOfListed),
        ("31", Mutant::CountEarlierLives),
        ("35", Mutant::CountRemoved),
    ];
    let files = files();
    let mut blind = Vec::new();
    for (number, mutant) in pairs {
        let (name, text) = files.iter().find(|(name, _)| name.starts_with(number)).expect("the scenario is there");
        let setting = Setting { mutant: Some(mutant), ..Setting::default() };
        let end = std::panic::catch_unwind(|| transcript::run(text, setting));
        if matches!(end, Ok(Ok(_))) {
            blind.push(format!("{name} passes with {}", mutant.name()));
        }
    }
    assert!(blind.is_empty(), "{blind:#?}");
}
