//! `docs/tutorial.md`, word for word: its blocks, and the sentences that say what to do in which window.

use crate::client::folder;
use crate::cluster::HENCE;
use hence_tests::browser::Browser;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(15);
/// So long something must stay away that is not shown.
const ABSENT_FOR: Duration = Duration::from_millis(1_500);

/// A step of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// A block of code: its language, the paragraph before it, and its text.
    Block { language: String, before: String, text: String },
    /// An item of a numbered list.
    Item(String),
}

fn steps(page: &str) -> Vec<Step> {
    let (mut steps, mut before, mut block) = (Vec::new(), String::new(), None::<(String, String)>);
    for line in page.lines() {
        match (&mut block, line.strip_prefix("```")) {
            (None, Some(language)) => block = Some((language.to_owned(), String::new())),
            (Some((language, text)), Some(_)) => {
                let (language, text) = (std::mem::take(language), std::mem::take(text));
                steps.push(Step::Block { language, before: before.clone(), text });
                block = None;
            }
            (Some((_, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) if line.is_empty() => {}
            (None, None) => {
                let item = line.split_once(". ").filter(|(number, _)| number.parse::<u8>().is_ok());
                steps.extend(item.map(|(_, text)| Step::Item(text.to_owned())));
                before = line.to_owned();
            }
        }
    }
    steps
}

/// What stands in backticks or stars.
fn quoted(text: &str, mark: &str) -> String {
    text.split(mark).nth(1).unwrap_or_else(|| panic!("nothing in {mark}: {text}")).to_owned()
}

/// All that the page speaks of.
struct Place {
    folder: PathBuf,
    up: Option<(Child, ChildStdin, Receiver<String>)>,
    windows: BTreeMap<char, Browser>,
    counts: BTreeMap<&'static str, usize>,
}

impl Place {
    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn shell(&self, line: &str) -> Command {
        let path = Path::new(HENCE).parent().expect("a folder").display().to_string();
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec 2>&1; {line}")]).env_clear().env("PATH", format!("{path}:/usr/bin:/bin"));
        shell.current_dir(&self.folder);
        shell
    }

    /// The command that stays in the first terminal.
    fn start(&mut self, line: &str) {
        let mut shell = self.shell(&format!("exec {line}"));
        let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let input = child.stdin.take().expect("it is piped");
        self.up = Some((child, input, lines));
        self.hear("quit");
        let start = Instant::now();
        let status = || self.shell("hence status").output().expect("a shell").stdout;
        while String::from_utf8_lossy(&status()).matches("links 2/2").count() < 3 {
            assert!(start.elapsed() < LIMIT, "the replicas do not find each other");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn hear(&self, part: &str) {
        let (_, _, lines) = self.up.as_ref().expect("it runs");
        let start = Instant::now();
        while let Some(left) = LIMIT.checked_sub(start.elapsed()) {
            match lines.recv_timeout(left) {
                Ok(line) if line.contains(part) => return,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        panic!("the terminal does not say {part:?}");
    }

    fn console(&mut self, text: &str) {
        for part in text.split("$ ").filter(|part| !part.is_empty()) {
            let (line, expected) = part.split_once('\n').expect("a line");
            if line.starts_with("hence up") {
                self.start(line);
                continue;
            }
            let output = self.shell(line).stdin(Stdio::null()).output().expect("a shell");
            assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{line}");
            self.count("command");
        }
    }

    fn terminal(&mut self, text: &str) {
        let (typed, says) = text.split_once('\n').expect("two lines");
        let typed = typed.strip_prefix("> ").expect("what is typed");
        let (_, input, _) = self.up.as_mut().expect("it runs");
        writeln!(input, "{typed}").expect("it reads its terminal");
        self.hear(says.trim_end());
        self.count("order");
    }

    fn window(&self, name: char) -> &Browser {
        self.windows.get(&name).unwrap_or_else(|| panic!("window {name} is not open"))
    }

    fn shows(&self, name: char, text: &str) -> bool {
        self.window(name).ask(&format!("document.body.innerText.includes({text:?})")) == true
    }

    fn item(&mut self, item: &str) {
        if let Some(rest) = item.strip_prefix("In window ") {
            let name = rest.chars().next().expect("a name");
            let rest = rest[1..].strip_prefix(", ").expect("what to do");
            if rest.starts_with("open ") {
                let place = quoted(rest, "`");
                let (file, fragment) = place.split_once('#').expect("a fragment");
                let browser = Browser::start(640, 720, false);
                browser.open(&self.folder.join(file), &format!("#{fragment}"));
                self.windows.insert(name, browser);
            } else {
                if rest.starts_with("type ") {
                    self.window(name).ask(&format!("document.querySelector('input').value = {:?}", quoted(rest, "`")));
                } else {
                    assert!(rest.starts_with("press "), "{item}");
                }
                self.press(name, &quoted(rest, "**"));
            }
            return self.count("act");
        }
        let rest = item.strip_prefix("Window ").unwrap_or_else(|| panic!("what is this? {item}"));
        let (name, text) = (rest.chars().next().expect("a name"), quoted(rest, "`"));
        let wanted = !rest[1..].starts_with(" does not show ");
        assert!(wanted == rest[1..].starts_with(" shows "), "{item}");
        let start = Instant::now();
        while self.shows(name, &text) != wanted {
            let page = self.window(name).text("document.body.innerText");
            assert!(start.elapsed() < LIMIT, "{item}: {page}");
            std::thread::sleep(Duration::from_millis(50));
        }
        let since = Instant::now();
        while !wanted && since.elapsed() < ABSENT_FOR {
            assert!(!self.shows(name, &text), "{item}");
            std::thread::sleep(Duration::from_millis(100));
        }
        self.count("sight");
    }

    /// Presses a button that is shown.
    fn press(&self, name: char, button: &str) {
        let find = format!(
            "[...document.querySelectorAll('button')].find((one) => one.innerText === {button:?} && !one.hidden)"
        );
        let start = Instant::now();
        while self.window(name).ask(&format!("{find} === undefined")) == true {
            assert!(start.elapsed() < LIMIT, "window {name} has no button {button}");
            std::thread::sleep(Duration::from_millis(50));
        }
        self.window(name).ask(&format!("{find}.click()"));
    }

    fn picture(&self, name: char, what: &str) {
        let path = self.folder.join(format!("{what}-{name}.png"));
        std::fs::write(path, self.window(name).picture()).expect("a picture");
    }
}

/// Every step does what the page says, and none is passed over.
pub(crate) fn word_for_word() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tutorial.md")).expect("the page");
    let counts = BTreeMap::new();
    let mut at = Place { folder: folder("tutorial"), up: None, windows: BTreeMap::new(), counts };
    for step in steps(&text) {
        match step {
            Step::Item(item) => at.item(&item),
            Step::Block { language, before, text } => match language.as_str() {
                "console" => at.console(&text),
                "text" => at.terminal(&text),
                "html" => {
                    let file = at.folder.join(quoted(before.split("Save this as ").nth(1).expect("a name"), "`"));
                    std::fs::write(file, text).expect("a file of ours");
                    at.count("file");
                }
                other => panic!("a block of {other}"),
            },
        }
        if at.windows.len() == 2 && at.shows('A', "Version 2") {
            at.picture('A', "versions");
        }
    }
    for (what, least) in [("command", 6), ("order", 2), ("file", 1), ("act", 6), ("sight", 12)] {
        assert!(at.counts.get(what).is_some_and(|&count| count >= least), "{what}: {:?}", at.counts);
    }
    let complaints: Vec<String> = at.windows.values().flat_map(Browser::complaints).collect();
    let others: Vec<&String> = complaints.iter().filter(|one| !one.contains("asks for http://127.0.0.1:80")).collect();
    assert!(others.is_empty(), "{others:?}");
    let (mut child, mut input, _) = at.up.take().expect("it runs");
    writeln!(input, "quit").expect("it reads its terminal");
    assert!(child.wait().expect("it is our child").success());
}
