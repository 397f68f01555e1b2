//! What clients and operators make up does not grow a replica, and what it hands out it takes back.

use crate::cluster::Cluster;
use hence_tests::client;
use hence_tests::replicas::{Replicas, expect};
use std::time::Duration;

const SETTLE: Duration = Duration::from_secs(10);

/// A member is dead and another restarts again and again: each life adds to tokens as long as no member retires it.
pub(crate) fn tokens() {
    let mut cluster = Cluster::new("short_tokens", 3).setting("HENCE_TOKEN_BYTES_MAX", "256").run();
    let mut token = cluster.put(0, "k", "\"first\"", None, 201).token();
    cluster.await_settled(&[0, 1, 2], SETTLE);
    cluster.kill(2);
    let mut longest = 0;
    let mut last = "\"first\"".to_owned();
    for start in 0..30 {
        cluster.await_value(1, "k", Some(&token), &last, SETTLE);
        last = start.to_string();
        token = cluster.put(1, "k", &last, Some(&token), 200).token();
        longest = longest.max(token.len());
        token = cluster.get_expecting(1, "k", Some(&token), 200).token();
        cluster.await_value(0, "k", Some(&token), &last, SETTLE);
        token = cluster.get_expecting(0, "k", Some(&token), 200).token();
        longest = longest.max(token.len());
        cluster.kill(1);
        cluster.start(1);
    }
    println!("note: tokens had at most {longest} bytes");
    assert!(longest <= 256, "{longest}");
    cluster.await_value(1, "k", Some(&token), &last, SETTLE);
}

fn view(cluster: &Cluster, method: &str, address: &str) -> client::Response {
    let body = format!("{{\"socket-address\":\"{address}\"}}");
    client::request(&cluster.address(0), method, "/view", &[], Some(&body))
}

fn made_up(n: usize) -> String {
    format!("127.9.{}.{}:8090", n / 250, n % 250 + 1)
}

fn dials(cluster: &Cluster, at: usize) -> u64 {
    let page = client::request(&cluster.address(at), "GET", "/metrics", &[], None);
    let line = page.text().lines().find(|line| line.starts_with("hence_peer_dials_total")).map(str::to_owned);
    let line = line.unwrap_or_else(|| panic!("no count of dials in {}", page.text()));
    line.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a count")
}

/// An operator adds and removes a thousand addresses, then more than there is room for.
pub(crate) fn views() {
    let cluster = Cluster::running("bounded_view", 2);
    for n in 0..1_000 {
        expect(view(&cluster, "PUT", &made_up(n)), 201, "PUT /view");
        expect(view(&cluster, "DELETE", &made_up(n)), 200, "DELETE /view");
    }
    cluster.await_settled(&[0, 1], SETTLE);
    std::thread::sleep(Duration::from_secs(1));
    let before = dials(&cluster, 0) + dials(&cluster, 1);
    std::thread::sleep(Duration::from_secs(4));
    let made = dials(&cluster, 0) + dials(&cluster, 1) - before;
    // The latest eight are looked for every two seconds, for a minute.
    assert!(made <= 2 * 8 * 3, "{made} dials in four seconds");
    let mut added = 0;
    let refused = loop {
        let answer = view(&cluster, "PUT", &made_up(2_000 + added));
        if answer.status != 201 {
            break answer;
        }
        added += 1;
        assert!(added < 2_000, "the view has no bound");
    };
    println!("note: {added} addresses were taken in");
    let expected = (503, r#"{"error":"Write limit reached; try again later"}"#);
    assert_eq!((refused.status, refused.text()), expected);
    expect(view(&cluster, "PUT", &made_up(2_000)), 200, "an address that is wanted already");
    expect(view(&cluster, "DELETE", &made_up(2_000)), 200, "DELETE /view at the bound");
    expect(view(&cluster, "PUT", &made_up(9_999)), 201, "PUT /view below the bound");
    let token = cluster.put(0, "k", "1", None, 201).token();
    std::thread::sleep(Duration::from_secs(1));
    cluster.get_expecting(1, "k", Some(&token), 200);
    (0..added + 1).for_each(|n| _ = view(&cluster, "DELETE", &made_up(2_000 + n)));
    view(&cluster, "DELETE", &made_up(9_999));
    cluster.await_views(&[0, 1], &[0, 1], SETTLE);
}
