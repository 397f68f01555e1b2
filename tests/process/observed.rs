//! What operators look at. Every metric that a dashboard, an alert or a page names is there. Lag shows which member is
//! behind. Requests of a trace are spans in the log.

use crate::cluster::Cluster;
use crate::network::{self, Cut};
use hence_tests::client;
use hence_tests::replicas::Replicas;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

const SETTLE: Duration = Duration::from_secs(15);

fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))).expect("a file of ours")
}

fn scrape(cluster: &Cluster, at: usize) -> String {
    client::request(&cluster.address(at), "GET", "/metrics", &[], None).text().to_owned()
}

/// Each name that begins as a metric does, with what stands between braces behind it.
fn named(text: &str) -> Vec<(&str, &str)> {
    let is_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let begins = text
        .match_indices("hence_")
        .filter(|(at, _)| !text[..*at].ends_with(|before: char| before.is_alphanumeric() || before == '_'));
    let one = |(at, _): (usize, &str)| {
        let rest = &text[at..];
        let name = &rest[..rest.find(|letter| !is_name(letter)).unwrap_or(rest.len())];
        let labels = rest[name.len()..]
            .strip_prefix('{')
            .and_then(|labels| labels.split_once('}'))
            .map_or("", |(labels, _)| labels);
        (name, labels)
    };
    begins.map(one).collect()
}

/// The names and labels of what is exposed: for each family its kind, and each `label="value"` of its samples.
fn exposed(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut families: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in page.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let suffixes: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            families.extend(suffixes.iter().map(|suffix| (format!("{name}{suffix}"), BTreeSet::new())));
        } else if let Some((name, rest)) = line.split_once('{') {
            let labels = rest.rsplit_once('}').map_or("", |(labels, _)| labels);
            let of = families.get_mut(name).unwrap_or_else(|| panic!("{name} has no family"));
            of.extend(labels.split("\",").map(|pair| format!("{}\"", pair.trim_end_matches('"'))));
        }
    }
    families
}

/// Dashboards, alerts and pages name metrics that there are, with labels that they have.
pub(crate) fn named_metrics() {
    let cluster = Cluster::new("named_metrics", 3).setting("HENCE_MEMORY_MAX", "256MiB").run();
    let token = cluster.put(0, "x", "1", None, 201).token();
    cluster.await_value(1, "x", Some(&token), "1", SETTLE);
    let page = scrape(&cluster, 0);
    let families = exposed(&page);
    // Labels of the scraper, and answers that were not given here.
    let foreign = ["job", "instance", "status", "route", "method", "peer"];
    let (mut complaints, mut count) = (Vec::new(), 0);
    let pages =
        ["operations", "upgrades", "trust", "log", "observability", "kubernetes"].map(|page| format!("docs/{page}.md"));
    for path in ["deploy/grafana/hence.json".into(), "deploy/prometheus/alerts.yaml".into()].into_iter().chain(pages) {
        let text = read(&path).replace("\\\"", "\"");
        for (name, labels) in named(&text) {
            let modules = ["hence_server", "hence_transport", "hence_core"];
            if modules.contains(&name) {
                continue;
            }
            count += 1;
            // A page may name several by what they begin with.
            if path.starts_with("docs/") && families.keys().any(|family| family.starts_with(name)) {
                continue;
            }
            let Some(known) = families.get(name).or_else(|| families.get(&format!("{name}_count"))) else {
                complaints.push(format!("{path}: {name} is no metric"));
                continue;
            };
            for pair in labels.split(',').filter(|pair| pair.contains('=')) {
                let label = pair.split(['=', '!']).next().unwrap_or_default().trim();
                let has_label = known.iter().any(|own| own.starts_with(&format!("{label}=")));
                let is_exact = pair.contains("=\"") && !pair.contains("!=") && !pair.contains('$');
                let pair = pair.trim_end_matches('"').to_owned() + "\"";
                if !foreign.contains(&label) && (!has_label || is_exact && !known.contains(&pair)) {
                    complaints.push(format!("{path}: {name} has no {pair}"));
                }
            }
        }
    }
    assert!(complaints.is_empty() && count > 60, "{count} names\n{}", complaints.join("\n"));
    // Prometheus itself has nothing to say of the page but of names that the former version had.
    if let Ok(mut promtool) =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()
    {
        promtool.stdin.take().expect("it is piped").write_all(page.as_bytes()).expect("promtool reads");
        let output = promtool.wait_with_output().expect("promtool ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        println!("note: promtool: {} {said}", output.status);
        assert!(!said.contains("error while linting"), "{said}");
    }
}

/// A member that is cut off lags, in operations and in time. One that is not does not.
pub(crate) fn lag() {
    let cluster = Cluster::running("lag", 3);
    let number = |of: usize, what: &str| -> f64 {
        let begins = format!("hence_peer_lag_{what}{{peer=\"{}\"}} ", cluster.address(of));
        let page = scrape(&cluster, 0);
        let line =
            page.lines().find_map(|line| line.strip_prefix(&begins)).unwrap_or_else(|| panic!("{begins}: {page}"));
        line.parse().expect("a number")
    };
    network::cut(&cluster.ip(2), Cut::Silent);
    for value in ["1", "2", "3"] {
        cluster.put(0, "x", value, None, if value == "1" { 201 } else { 200 });
    }
    std::thread::sleep(Duration::from_millis(2_500));
    let (ops, seconds) = (number(2, "ops"), number(2, "seconds"));
    assert!(ops >= 3.0 && (2.0..4.0).contains(&seconds), "{ops} {seconds}");
    assert_eq!((number(1, "ops"), number(1, "seconds")), (0.0, 0.0));
    network::heal(&cluster.ip(2));
    cluster.poll(SETTLE, "no lag", || match (number(2, "ops"), number(2, "seconds")) {
        (0.0, 0.0) => Ok(()),
        lag => Err(format!("{lag:?}")),
    });
    // The write that was followed arrived at one member at once, and at the other after the cut.
    let page = scrape(&cluster, 0);
    let bucket = |le: &str| {
        let begins = format!("hence_visibility_seconds_bucket{{le=\"{le}\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&begins)).expect("a bucket").parse::<u64>().expect("a count")
    };
    assert!(bucket("0.1") >= 1 && bucket("30") > bucket("1"), "{page}");
}

/// A request of a trace is a span in the log, if that is asked for. Others are not.
pub(crate) fn traces() {
    let mut cluster = Cluster::new("traces", 1)
        .setting("HENCE_LOG", "info,hence_server::traces=debug")
        .setting("HENCE_LOG_FORMAT", "json");
    cluster.start(0);
    let at = cluster.address(0);
    // A replica that has just started answers 503 until it knows that it is alone.
    cluster.poll(SETTLE, "an answer", || match client::try_get(&at, "x", None) {
        Ok(answer) if answer.status == 404 => Ok(()),
        answer => Err(format!("{answer:?}")),
    });
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for (parent, flags) in [("00f067aa0ba902b7", "01"), ("00f067aa0ba902b8", "00")] {
        let header = format!("00-{trace}-{parent}-{flags}");
        client::request(&at, "PUT", "/kvs/x", &[("Traceparent", &header)], Some(r#"{"value":1}"#));
    }
    client::request(&at, "PUT", "/kvs/x", &[("Traceparent", "nonsense")], Some(r#"{"value":1}"#));
    cluster.poll(SETTLE, "a span", || {
        let log = cluster.log(0);
        let spans: Vec<serde_json::Value> = log
            .lines()
            .filter(|line| line.contains("trace_id"))
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let [span] = &spans[..] else { return Err(log) };
        let fields = if span["fields"].is_object() { &span["fields"] } else { span };
        assert_eq!((&fields["trace_id"], &fields["parent_id"]), (&trace.into(), &"00f067aa0ba902b7".into()), "{span}");
        assert_eq!(
            (&fields["route"], &fields["method"], &fields["status"]),
            (&"/kvs/{key}".into(), &"PUT".into(), &201.into())
        );
        assert!(fields["span_id"].as_str().is_some_and(|id| id.len() == 16) && fields["micros"].is_u64(), "{span}");
        Ok(())
    });
}
