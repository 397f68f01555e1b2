//! Rolling restarts between two images whose builds speak different formats, under load that is judged.
//!
//! The image under test speaks what is released. The other one also speaks the format that stands in for the next one. A
//! DELETE with the header `hence-test-format: erase` stands in for what that format adds.

use crate::cluster::Cluster;
use crate::engine::image_of_formats;
use crate::load::Load;
use hence_tests::client::{self, Response};
use hence_tests::replicas::Replicas;
use std::time::{Duration, Instant};

const ALL: [usize; 3] = [0, 1, 2];
const SETTLE: Duration = Duration::from_secs(15);

fn erase(cluster: &Cluster, at: usize, key: &str) -> Response {
    let headers = [("hence-test-format", "erase")];
    client::request(&cluster.address(at), "DELETE", &format!("/kvs/{key}"), &headers, None)
}

/// One replica after the other is stopped and run from another image, or with another setting of it.
fn roll_to(cluster: &mut Cluster, other: Option<&(String, String)>, between: impl Fn(&Cluster, usize)) {
    for at in ALL {
        let (time, code) = cluster.stop(at);
        assert!(code == "0", "docker stop: {time:?}, code {code}");
        cluster.runs(at, other.cloned());
        let start = Instant::now();
        cluster.start(at);
        cluster.await_ready(at, &ALL, SETTLE);
        cluster.await_settled_links(&ALL, SETTLE);
        let build = other.map_or("the image under test", |(_, setting)| setting);
        note!("replica {at} runs {build}: ready after {:?}", start.elapsed());
        between(cluster, at);
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// There, on to a build that has given the released format up, and all the way back: nothing is lost.
pub(crate) fn roll() {
    let image = image_of_formats().expect("it was looked for");
    let speaking = |formats: &str| (image.clone(), format!("HENCE_TEST_FORMATS={formats}"));
    let mut cluster = Cluster::running("formats");
    cluster.put(0, "kept", "1", None, 201);
    let load = Load::start(&cluster, &ALL);
    let is_refused = |cluster: &Cluster, at: usize| {
        let answer = erase(cluster, at, "kept");
        let refusal = (503, r#"{"error":"Cluster is being upgraded"}"#);
        assert_eq!((answer.status, answer.text()), refusal, "at {at}");
    };
    roll_to(&mut cluster, Some(&speaking("4-6")), |cluster, at| {
        if at < 2 {
            is_refused(cluster, at);
        }
    });
    assert_eq!(ALL.map(|at| cluster.metric(at, "hence_upgraded")), [1; 3]);
    let token = cluster.put(0, "gone", "1", None, 201).token();
    cluster.await_value(1, "gone", Some(&token), "1", SETTLE);
    assert_eq!(erase(&cluster, 1, "gone").status, 200, "what is new is taken once all speak it");
    roll_to(&mut cluster, Some(&speaking("6")), |_, _| {});
    roll_to(&mut cluster, Some(&speaking("4-6")), |_, _| {});
    roll_to(&mut cluster, None, |cluster, at| {
        if at < 2 {
            is_refused(cluster, 2);
        }
    });
    for at in ALL {
        assert_eq!(cluster.metric(at, "hence_peer_formats_refused_total"), 0, "at {at}");
        assert_eq!((cluster.get(at, "kept", None).status, cluster.get(at, "gone", None).status), (200, 404), "at {at}");
    }
    load.judge(&cluster, &ALL, 0..=0);
}
