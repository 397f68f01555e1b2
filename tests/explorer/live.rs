//! The page that `explore` serves: it runs to what one looks for, forks, and shows its branches as a tree.

use super::{chosen, keep};
use hence_tests::browser::Browser;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/pictures");

/// A server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn serve() -> (Server, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hence-sim"));
    let command = command
        .args(["explore", "a-delete-that-is-left-out.json", "--port", "0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut process = command.current_dir(FOLDER).spawn().expect("it starts");
    let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let address = lines.find(|line| line.starts_with("http://")).expect("its address");
    (Server(process), address)
}

/// Waits until this is true in the page.
fn wait(browser: &Browser, what: &str) {
    let is_so = |_: &u32| {
        std::thread::sleep(Duration::from_millis(50));
        browser.ask(what) == true
    };
    assert!((0..400).find(is_so).is_some(), "not true within twenty seconds: {what}");
}

const READY: &str = "!!document.documentElement.dataset.ready && !!document.querySelector('#live-branches li')";

/// Makes a fork with a button, and waits for its page.
fn fork(browser: &Browser, button: &str, branch: u64) {
    browser.ask(&format!("(document.getElementById({button:?}).click(), 0)"));
    wait(browser, &format!("run.live === {branch} && {READY}"));
}

pub(crate) fn runs_and_forks() {
    let (_server, url) = serve();
    let browser = Browser::start(1280, 800, false);
    browser.visit(&url);
    wait(&browser, READY);
    let complaints = || -> Vec<String> {
        let own = format!("asks for {url}");
        browser.complaints().into_iter().filter(|line| !line.starts_with(&own)).collect()
    };
    assert_eq!(complaints(), Vec::<String>::new());
    let kind = || browser.text("events[look.chosen].k");
    let press = |id: &str| _ = browser.ask(&format!("(document.getElementById({id:?}).click(), 0)"));
    browser.ask("choose(0)");
    for (button, kinds) in [
        ("run-fault", &["strikes", "ends"][..]),
        ("run-write", &["applied"]),
        ("run-delivery", &["received"]),
        ("run-violation", &["violation"]),
    ] {
        let before = chosen(&browser);
        press(button);
        assert!(chosen(&browser) > before && kinds.contains(&kind().as_str()), "{button}: {}", kind());
    }
    // The push of the delete is lost: the same run up to there, and another one behind it.
    let push = browser.ask("events.find((event) => event.k === 'sent' && /push b1.2/.test(event.x)).at");
    let texts = |to: u64| browser.ask(&format!("events.slice(0, {to}).map((event) => event.t + event.say).join()"));
    let (push, before) = (push.as_u64().expect("a push"), texts(push.as_u64().expect("a push")));
    browser.ask(&format!("choose({push})"));
    fork(&browser, "fork-drop", 1);
    assert_eq!(chosen(&browser), push);
    assert_eq!(texts(push), before);
    assert_ne!(browser.ask("!!carriages[events[look.chosen].c].l"), false, "the message is lost");
    // Its links hold messages back: a fork of the fork, which stands below it.
    fork(&browser, "fork-hold", 2);
    let tree = browser.text("document.getElementById('live-branches').innerText");
    assert!(tree.contains("the message is lost") && tree.contains("hold back messages for 500 ms"), "{tree}");
    assert_eq!(browser.ask("document.querySelectorAll('#live-branches ul ul ul > li.here').length"), 1);
    browser.ask(
        "(document.getElementById('panel').scrollTop = document.getElementById('branches').offsetTop - 500, draw(), 0)",
    );
    keep("page-1280-explore", &browser.picture());
    // A change that cannot be made says why, and the page stays.
    browser.ask("choose(events.length - 1)");
    press("fork-crash");
    wait(
        &browser,
        "/nothing strikes after that|is healed/.test(document.getElementById('live-says').textContent) || run.live === 3",
    );
    // A request that is refused is told by the browser, too.
    let others: Vec<String> = complaints().into_iter().filter(|line| !line.contains("400")).collect();
    assert_eq!(others, Vec::<String>::new());
}
