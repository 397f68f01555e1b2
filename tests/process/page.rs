//! The page of a replica in a headless Chromium: members and links, keys, a token that a cut makes wait, and the
//! buttons of `hence up`.
//!
//! With `HENCE_PICTURES`, a folder, the pictures of the documents are written there.

use crate::client::{Terminal, folder};
use crate::cluster::{Cluster, HENCE};
use crate::network::{self, Cut};
use hence_tests::browser::Browser;
use hence_tests::client;
use hence_tests::replicas::Replicas;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(15);

/// A cut is on the page after this.
const CUT_SHOWN: Duration = Duration::from_secs(2);

const BOTH_LINKS: &str = "document.getElementById('summary').textContent.endsWith('2 of 2 links')";

const LIVE: &str = "document.getElementById('live').textContent === 'live'";
/// How often a page of keys was asked for.
const LISTS: &str = "performance.getEntriesByType('resource').filter((one) => one.name.includes('limit=')).length";

fn until_within(browser: &Browser, what: &str, expression: &str, limit: Duration) -> Duration {
    let start = Instant::now();
    while browser.ask(expression) != true {
        let page = browser.text("document.body.innerText");
        assert!(start.elapsed() < limit, "waited for {what}: {page}");
        std::thread::sleep(Duration::from_millis(50));
    }
    start.elapsed()
}

fn until(browser: &Browser, what: &str, expression: &str) {
    until_within(browser, what, expression, LIMIT);
}

fn says(browser: &Browser, id: &str, text: &str) {
    until(browser, text, &format!("document.getElementById('{id}').innerText.includes({text:?})"));
}

fn picture(browser: &Browser, name: &str) {
    let folder = std::env::var_os("HENCE_PICTURES");
    let folder = folder.map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    std::fs::write(folder.join(format!("{name}.png")), browser.picture()).expect("a picture");
}

/// Presses a button, and waits for the line that it adds to the log.
fn press(browser: &Browser, button: &str, line: &str) {
    browser
        .ask(&format!("document.getElementById('log').replaceChildren(), document.getElementById('{button}').click()"));
    says(browser, "log", line);
}

/// What the console complained of beside these statuses, and what was asked of other servers.
fn complaints(browser: &Browser, address: &str, statuses: &[u16]) -> Vec<String> {
    let expected = |one: &String| {
        let is_status = |status: &u16| one.contains(&format!("responded with a status of {status}"));
        one.contains(&format!("asks for http://{address}/")) || statuses.iter().any(is_status)
    };
    browser.complaints().into_iter().filter(|one| !expected(one)).collect()
}

/// What the page shows of a whole cluster, of a cut, and of a heal.
pub(crate) fn shows() {
    let mut cluster = Cluster::running("page", 3);
    let url = format!("http://{}/ui", cluster.address(1));
    let browser = Browser::start(1280, 900, false);
    browser.visit(&url);
    until(&browser, "both links", BOTH_LINKS);
    assert_eq!(browser.ask("document.querySelectorAll('#members .good').length"), 2);
    press(&browser, "put", "PUT greeting: 201, token of");
    press(&browser, "get", "GET greeting: 200");
    assert!(browser.text("document.getElementById('shown').textContent").contains("\"value\":\"hello\""));

    // Keys that another replica takes come by themselves, numbers to the digit. No page of a list is asked for.
    until(&browser, "a watch", LIVE);
    let asked = browser.ask(LISTS);
    for number in 0..30 {
        cluster.put(0, &format!("user%2F{number:02}"), &format!("[{number}, 1.50]"), None, 201);
    }
    says(&browser, "count", "20 keys, and more");
    cluster.put(0, "greeting", "\"changed\"", None, 200);
    says(&browser, "keys", "changed");
    client::delete(&cluster.address(2), "greeting", None);
    until(&browser, "a delete", "!document.getElementById('keys').innerText.includes('greeting')");
    assert_eq!(browser.ask(LISTS), asked, "the page asks for lists");
    press(&browser, "put", "PUT greeting: ");
    says(&browser, "keys", "[3,1.50]");
    browser.ask("document.getElementById('more').click()");
    says(&browser, "count", "31 keys");
    browser.ask("(document.getElementById('prefix').value = 'user/2', document.getElementById('prefix').oninput())");
    says(&browser, "count", "10 keys");
    browser.ask("[...document.querySelectorAll('#keys button')].find((one) => one.innerText === 'user/25').click()");
    says(&browser, "log", "GET user/25: 200");
    assert_eq!(browser.text("document.getElementById('value').value"), "[25,1.50]");
    browser.ask("(document.getElementById('prefix').value = '', document.getElementById('prefix').oninput())");
    says(&browser, "count", "20 keys, and more");
    assert_eq!(complaints(&browser, &cluster.address(1), &[]), Vec::<String>::new());
    picture(&browser, "ui-1280-light");
    for (name, width, dark) in [("ui-1280-dark", 1280, true), ("ui-390-light", 390, false), ("ui-390-dark", 390, true)]
    {
        let other = Browser::start(width, 900, dark);
        other.visit(&url);
        until(&other, "both links", BOTH_LINKS);
        says(&other, "count", "20 keys, and more");
        let fits = format!("document.documentElement.scrollWidth <= {width}");
        assert_eq!(other.ask(&fits), true, "{name} fits");
        assert_eq!(other.ask("matchMedia('(prefers-color-scheme: dark)').matches"), dark, "{name}");
        assert_eq!(complaints(&other, &cluster.address(1), &[]), Vec::<String>::new());
        picture(&other, name);
        cut(&cluster, &other, &format!("{name}-cut"));
    }

    cut(&cluster, &browser, "ui-1280-cut");
    breaks(&mut cluster, &browser);
}

/// A cut is on the page at once. What it makes wait is served after the heal, with nothing pressed.
fn cut(cluster: &Cluster, browser: &Browser, name: &str) {
    network::cut(&cluster.ip(1), Cut::Silent);
    let no_link = "document.querySelectorAll('#members .bad').length == 2";
    let shown = until_within(browser, "no link", no_link, CUT_SHOWN);
    println!("note: {name}: the cut is on the page after {shown:?}");
    let (value, key) = (format!("\"{name}\""), format!("waits-{name}"));
    let token = cluster.put(0, &key, &value, None, 201).token();
    browser.ask(&format!(
        "document.getElementById('key').value = '{key}', document.getElementById('token').value = '{token}'"
    ));
    press(browser, "get", &format!("GET {key}: 503"));
    picture(browser, name);
    network::heal(&cluster.ip(1));
    says(browser, "log", &format!("GET {key}: 200"));
    assert!(browser.text("document.getElementById('shown').textContent").contains(name));
    until(browser, "both links", BOTH_LINKS);
    assert_eq!(complaints(browser, &cluster.address(1), &[503]), Vec::<String>::new());
    client::delete(&cluster.address(0), &key, None);
}

/// A replica that stands still, one that dies and comes back, and more keys than a page is told.
fn breaks(cluster: &mut Cluster, browser: &Browser) {
    browser.ask("(document.getElementById('prefix').value = 'user/', document.getElementById('prefix').oninput())");
    until(browser, "a watch of the prefix", LIVE);
    cluster.signal(1, "STOP");
    let silent = "document.getElementById('summary').textContent === 'the replica does not answer'";
    until_within(browser, "a replica that stands still", silent, CUT_SHOWN);
    cluster.signal(1, "CONT");
    until(browser, "both links", BOTH_LINKS);
    cluster.kill(1);
    until_within(browser, "the end of the watch", &format!("!({LIVE})"), CUT_SHOWN);
    cluster.put(0, "user%2Fmeanwhile", "1", None, 201);
    client::delete(&cluster.address(0), "user%2F00", None);
    cluster.start(1);
    until(browser, "a watch again", LIVE);
    says(browser, "count", "20 keys, and more");
    browser.ask("document.getElementById('more').click()");
    says(browser, "keys", "user/meanwhile");
    assert_eq!(browser.ask("document.getElementById('keys').innerText.includes('user/00')"), false);

    let lines: String = (0..2_000).map(|key| format!("{{\"key\":\"user/many/{key}\",\"value\":{key}}}\n")).collect();
    let at = Terminal { folder: folder("page_files"), endpoints: cluster.address(0) };
    assert_eq!(at.run_with(&["import"], &lines).0, 0);
    says(browser, "live", "not live: more than 2000 keys");
    cluster.put(0, "user%2F%21", "\"read again\"", None, 201);
    says(browser, "keys", "read again");
}

/// The buttons of `hence up`, and versions that do not know of each other.
pub(crate) fn orders() {
    let mut up = Command::new(HENCE);
    up.args(["up", "--port", "9200"]).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut up = up.spawn().expect("the binary was built");
    let mut said = BufReader::new(up.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
    assert!(said.any(|line| line.contains("quit")), "it says how to end it");
    let browser = Browser::start(1280, 900, false);
    browser.visit("http://127.0.0.1:9200/ui");
    until(&browser, "both links", BOTH_LINKS);
    let click = |id: &str, until_there: &str| {
        until(&browser, id, &format!("document.getElementById('{id}') !== null"));
        browser.ask(&format!("document.getElementById('{id}').click()"));
        until(&browser, until_there, &format!("document.getElementById('{until_there}') !== null"));
    };
    press(&browser, "put", "PUT greeting: 201");
    click("cut-b", "heal-b");
    until_within(&browser, "the cut", "document.querySelectorAll('#members .bad').length == 1", CUT_SHOWN);
    assert_eq!(client::put("127.0.0.1:9201", "greeting", "\"from b\"", None).status, 200);
    browser.ask("document.getElementById('value').value = '\"from a\"'");
    press(&browser, "put", "PUT greeting: 200");
    picture(&browser, "ui-1280-up");
    click("heal-b", "cut-b");
    until(&browser, "both links", BOTH_LINKS);
    let versions = "document.querySelectorAll('#versions .version').length";
    let start = Instant::now();
    while browser.ask(versions) != 2 {
        assert!(start.elapsed() < LIMIT, "no two versions");
        press(&browser, "get", "GET greeting: 200");
    }
    until(&browser, "two versions in the list", "document.querySelectorAll('#keys .bad').length == 1");
    picture(&browser, "ui-1280-versions");
    browser.ask("[...document.querySelectorAll('#versions .version')].find((one) => one.innerText.includes('from b')).querySelector('button').click()");
    says(&browser, "log", "PUT greeting: 200");
    press(&browser, "get", "GET greeting: 200");
    assert_eq!(browser.ask(versions), 0);
    assert!(browser.text("document.getElementById('shown').textContent").contains("from b"));

    click("kill-c", "restart-c");
    says(&browser, "orders", "dead");
    click("restart-c", "kill-c");
    until(&browser, "both links", BOTH_LINKS);
    let order = |body: &str, media: &str| {
        client::request("127.0.0.1:9200", "POST", "/up", &[("content-type", media)], Some(body)).status
    };
    assert_eq!(order("{\"order\":\"cut\",\"replica\":\"a\"}", "text/plain"), 400, "what any page may send");
    for wrong in ["", "[]", "{\"order\":\"quit\",\"replica\":\"a\"}", "{\"order\":\"cut\",\"replica\":\"ab\"}"] {
        assert_eq!(order(wrong, "application/json"), 400, "{wrong}");
    }
    assert_eq!(order("{\"order\":\"cut\",\"replica\":\"z\"}", "application/json"), 202, "the terminal says the rest");
    assert_eq!(complaints(&browser, "127.0.0.1:9200", &[]), Vec::<String>::new());
    writeln!(up.stdin.take().expect("it is piped"), "quit").expect("it reads its terminal");
    let heard: Vec<String> = said.collect();
    for line in
        ["b is cut off from the others", "b is connected again", "c is dead", "c started", "there is no replica z"]
    {
        assert!(heard.iter().any(|said| said.contains(line)), "{line}: {heard:?}");
    }
    assert!(up.wait().expect("it is our child").success());
}
