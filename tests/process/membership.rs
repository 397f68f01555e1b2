//! Replicas that come, go, are removed, added, isolated or started in any order end in equal views and equal data.

use crate::cluster::Cluster;
use crate::network::{Cut, cut, heal};
use hence_tests::client;
use hence_tests::replicas::{Replicas, expect};
use hence_tests::starvation::timed;
use std::time::{Duration, Instant};

const SETTLE: Duration = Duration::from_secs(10);

fn view_request(cluster: &Cluster, at: usize, method: &str, subject: usize) -> client::Response {
    let body = format!("{{\"socket-address\":\"{}\"}}", cluster.address(subject));
    client::request(&cluster.address(at), method, "/view", &[], Some(&body))
}

/// Every replica takes both others for dead while they live; writes go on at each; the heal brings all together.
pub(crate) fn all_isolated() {
    for how in [Cut::Silent, Cut::Refused] {
        let cluster = Cluster::running(&format!("isolated_{how:?}"), 3);
        timed(&format!("{how:?}"), || {
            // Two replicas without links leave the third without any.
            [1, 2].into_iter().for_each(|at| cut(&cluster.ip(at), how));
            let mut tokens = Vec::new();
            for at in 0..3 {
                cluster.await_views(&[at], &[at], SETTLE);
                let answer = client::put(&cluster.address(at), "same", &at.to_string(), None);
                let answer = client::put(&cluster.address(at), &format!("own{at}"), "true", Some(&answer.token()));
                tokens.push(answer.token());
            }
            [1, 2].into_iter().for_each(|at| heal(&cluster.ip(at)));
            let time = cluster.await_settled(&[0, 1, 2], SETTLE);
            println!("note: {how:?}: equal views and data {time:?} after the heal");
            for (origin, token) in tokens.iter().enumerate() {
                for at in 0..3 {
                    cluster.get_expecting(at, &format!("own{origin}"), Some(token), 200);
                }
            }
            let winners: Vec<_> =
                (0..3).map(|at| cluster.get_expecting(at, "same", None, 200).json()["value"].clone()).collect();
            assert!(winners.windows(2).all(|pair| pair[0] == pair[1]), "{winners:?}");
            let siblings = client::request(&cluster.address(0), "GET", "/kvs/same?siblings=true", &[], None);
            assert_eq!(siblings.json()["siblings"].as_array().map(Vec::len), Some(3), "{siblings:?}");
        });
    }
}

/// `DELETE /view` and `PUT /view` of each member at each replica, itself included.
pub(crate) fn operator() {
    let cluster = Cluster::running("operator", 3);
    let key = cluster.put(0, "k", "1", None, 201).token();
    cluster.await_settled(&[0, 1, 2], SETTLE);
    let pairs = [(0, 2), (1, 0), (2, 2), (0, 1)];
    for (at, subject) in pairs {
        let stay: Vec<usize> = (0..3).filter(|&other| other != subject).collect();
        let answer = expect(view_request(&cluster, at, "DELETE", subject), 200, "DELETE /view");
        assert_eq!(answer.text(), r#"{"result":"deleted"}"#);
        cluster.await_views(&[0, 1, 2], &stay, SETTLE);
        let again = expect(view_request(&cluster, stay[0], "DELETE", subject), 404, "DELETE /view again");
        assert_eq!(again.text(), r#"{"error":"View has no such replica"}"#);
        let refused = expect(cluster.get(subject, "k", None), 503, "GET at a removed replica");
        assert_eq!(refused.text(), r#"{"error":"Replica is not ready"}"#);
        let written = client::put(&cluster.address(stay[0]), "meanwhile", &subject.to_string(), Some(&key)).token();
        std::thread::sleep(Duration::from_millis(700)); // a removal holds though the replica lives
        cluster.await_views(&[0, 1, 2], &stay, Duration::from_millis(50));
        let answer = expect(view_request(&cluster, stay[1], "PUT", subject), 201, "PUT /view");
        assert_eq!(answer.text(), r#"{"result":"added"}"#);
        let time = cluster.await_settled(&[0, 1, 2], SETTLE);
        println!("note: {subject} removed at {at} and added at {}: equal after {time:?}", stay[1]);
        let again = expect(view_request(&cluster, at, "PUT", subject), 200, "PUT /view again");
        assert_eq!(again.text(), r#"{"result":"already present"}"#);
        cluster.get_expecting(subject, "meanwhile", Some(&written), 200);
    }
    removed_keeps_nothing(&cluster);
}

/// A write at a replica that is removed a moment later is not lost with it.
fn removed_keeps_nothing(cluster: &Cluster) {
    let answer = client::put(&cluster.address(2), "last", "\"words\"", None);
    expect(view_request(cluster, 0, "DELETE", 2), 200, "DELETE /view");
    (0..2).for_each(|at| _ = cluster.await_value(at, "last", Some(&answer.token()), "\"words\"", SETTLE));
    expect(view_request(cluster, 1, "PUT", 2), 201, "PUT /view");
    cluster.await_settled(&[0, 1, 2], SETTLE);
}

/// SIGTERM and kill -9, each followed by a start under the same address with empty memory.
pub(crate) fn restarts() {
    let mut cluster = Cluster::running("restarts", 3);
    for (round, pause_millis) in [0, 100, 6_000].into_iter().enumerate() {
        let victim = round % 3;
        let (left, right) = ((victim + 1) % 3, (victim + 2) % 3);
        let token = client::put(&cluster.address(victim), &format!("last{round}"), "\"words\"", None).token();
        let ended = cluster.terminate(victim);
        assert_eq!(ended.code(), Some(0), "SIGTERM ends with 0");
        // What it had acknowledged is with the others although it went at once.
        cluster.await_value(left, &format!("last{round}"), Some(&token), "\"words\"", Duration::from_secs(1));
        restart(&mut cluster, victim, pause_millis, &format!("after TERM, {pause_millis} ms down"));

        let token = client::put(&cluster.address(left), "beside", &round.to_string(), Some(&token)).token();
        cluster.kill(victim);
        restart(&mut cluster, victim, pause_millis, &format!("after KILL, {pause_millis} ms down"));
        cluster.get_expecting(victim, "beside", Some(&token), 200);
        cluster.get_expecting(right, "beside", Some(&token), 200);
    }
}

fn restart(cluster: &mut Cluster, victim: usize, pause_millis: u64, what: &str) {
    std::thread::sleep(Duration::from_millis(pause_millis));
    cluster.start(victim);
    let time = cluster.await_settled(&[0, 1, 2], Duration::from_secs(5));
    println!("note: {what}: equal {time:?} after the restart");
}

/// A replica of which no member was told joins by listing itself and the members that it knows.
pub(crate) fn fourth() {
    let mut cluster = Cluster::running("fourth", 3);
    let token = cluster.put(1, "k", "1", None, 201).token();
    let views = [cluster.addresses(&[0, 1, 2, 3]).join(","), cluster.addresses(&[3, 1]).join(",")];
    for view in views {
        cluster.start_with_view(3, &view);
        let time = cluster.await_settled(&[0, 1, 2, 3], SETTLE);
        println!("note: a fourth with VIEW {view}: equal after {time:?}");
        cluster.get_expecting(3, "k", Some(&token), 200);
        let own = client::put(&cluster.address(3), "own", "4", Some(&token)).token();
        (0..3).for_each(|at| _ = cluster.await_value(at, "own", Some(&own), "4", Duration::from_secs(1)));
        cluster.kill(3);
        cluster.await_views(&[0, 1, 2], &[0, 1, 2], SETTLE);
    }
}

/// Six clusters side by side, each with its own order and delays of start; a replica that is alone takes writes.
pub(crate) fn any_order() {
    // For each replica, how many milliseconds after the beginning it starts.
    let plans: [[u64; 3]; 6] =
        [[0, 0, 0], [3_000, 0, 1_500], [0, 3_000, 3_000], [1_000, 900, 0], [0, 950, 2_900], [2_000, 2_100, 0]];
    std::thread::scope(|scope| {
        let run = |(number, delays): (usize, [u64; 3])| move || start_order(number as u16, delays);
        let runs: Vec<_> = plans.into_iter().enumerate().map(|plan| scope.spawn(run(plan))).collect();
        runs.into_iter().for_each(|run| run.join().expect("each order ends well"));
    });
}

fn start_order(number: u16, delays: [u64; 3]) {
    let mut cluster = Cluster::new(&format!("order{number}"), 3).port(8_100 + number);
    let mut order: Vec<usize> = (0..3).collect();
    order.sort_by_key(|&at| delays[at]);
    let start = Instant::now();
    let mut written = Vec::new();
    for &at in &order {
        std::thread::sleep(Duration::from_millis(delays[at]).saturating_sub(start.elapsed()));
        // A replica that serves by now takes a write, so that there is something to bring together.
        for &other in order.iter().take_while(|&&other| other != at) {
            let key = format!("k{at}{other}");
            let path = format!("/kvs/{key}");
            let (body, timeout) = (Some("{\"value\":1}"), Duration::from_secs(2));
            match client::try_request(&cluster.address(other), "PUT", &path, &[], body, timeout) {
                Ok(answer) if answer.status == 201 => written.push((key, answer.token())),
                Ok(answer) => assert_eq!(answer.status, 503, "{answer:?}"),
                Err(error) => assert!(matches!(error, client::NoResponse::Refused(_)), "{error:?}"),
            }
        }
        cluster.start(at);
    }
    cluster.await_settled(&[0, 1, 2], SETTLE);
    println!("note: starts at {delays:?} ms: equal after {:?}, {} early writes", start.elapsed(), written.len());
    for (key, token) in written {
        (0..3).for_each(|at| _ = cluster.get_expecting(at, &key, Some(&token), 200));
    }
}
