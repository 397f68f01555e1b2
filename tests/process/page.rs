//! The page of a replica in a headless Chromium: members and links, a key, and a token that a cut makes wait.

use crate::cluster::Cluster;
use crate::network::{self, Cut};
use hence_tests::browser::Browser;
use hence_tests::replicas::Replicas;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(15);

fn until(browser: &Browser, what: &str, expression: &str) {
    let start = Instant::now();
    while browser.ask(expression) != true {
        let page = browser.text("document.body.innerText");
        assert!(start.elapsed() < LIMIT, "waited for {what}: {page}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn picture(browser: &Browser, name: &str) {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("page-{name}.png"));
    std::fs::write(&path, browser.picture()).expect("a picture");
}

/// Presses a button, and waits for the line that it adds to the log.
fn press(browser: &Browser, button: &str, says: &str) {
    browser
        .ask(&format!("document.getElementById('log').replaceChildren(), document.getElementById('{button}').click()"));
    until(browser, says, &format!("document.getElementById('log').innerText.includes({says:?})"));
}

/// What the page shows of a whole cluster, of a cut, and of a heal.
pub(crate) fn shows() {
    let cluster = Cluster::running("page", 3);
    let url = format!("http://{}/ui", cluster.address(1));
    let browser = Browser::start(1280, 800, false);
    browser.visit(&url);
    until(&browser, "both links", "document.getElementById('summary').textContent.endsWith('2 of 2 links')");
    assert_eq!(browser.ask("document.querySelectorAll('#members .good').length"), 2);
    press(&browser, "put", "PUT greeting: 201, token of");
    press(&browser, "get", "GET greeting: 200");
    assert!(browser.text("document.getElementById('shown').textContent").contains("\"value\":\"hello\""));
    let others: Vec<String> = browser.complaints();
    let others: Vec<&String> = others.iter().filter(|one| !one.contains(&cluster.address(1))).collect();
    assert!(others.is_empty(), "{others:?}");
    picture(&browser, "1280-light");

    network::cut(&cluster.ip(1), Cut::Refused);
    until(&browser, "no link", "document.querySelectorAll('#members .bad').length == 2");
    picture(&browser, "1280-cut");
    let token = cluster.put(0, "greeting", "\"goodbye\"", None, 200).token();
    browser.ask(&format!("document.getElementById('token').value = '{token}'"));
    press(&browser, "get", "GET greeting: 503");
    network::heal(&cluster.ip(1));
    browser.ask("document.getElementById('wait').checked = true");
    press(&browser, "get", "GET greeting: 200");
    assert!(browser.text("document.getElementById('shown').textContent").contains("goodbye"));
    until(&browser, "both links", "document.getElementById('summary').textContent.endsWith('2 of 2 links')");

    let narrow = Browser::start(390, 800, true);
    narrow.visit(&url);
    until(&narrow, "both links", "document.getElementById('summary').textContent.endsWith('2 of 2 links')");
    assert_eq!(narrow.ask("document.documentElement.scrollWidth <= 390"), true, "it fits");
    picture(&narrow, "390-dark");
}
