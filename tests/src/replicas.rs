//! What to ask replicas and what to wait for, wherever they run: as processes or in containers.

use crate::client::{self, NoResponse, Response};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Replicas 0, 1, 2, ... that can be asked over HTTP.
pub trait Replicas {
    /// Where a client reaches a replica: `IP:PORT`.
    fn address(&self, at: usize) -> String;

    /// Where to read what the replicas had to say.
    fn logs(&self) -> String;

    /// A replica's own address, as views list it.
    fn member(&self, at: usize) -> String {
        self.address(at)
    }

    /// The addresses of these replicas, as views list them.
    fn addresses(&self, ats: &[usize]) -> Vec<String> {
        ats.iter().map(|&at| self.member(at)).collect()
    }

    /// PUT at a replica; must be answered with `status`.
    fn put(&self, at: usize, key: &str, value: &str, token: Option<&str>, status: u16) -> Response {
        expect(client::put(&self.address(at), key, value, token), status, &format!("PUT {key} at {at}"))
    }

    /// GET at a replica.
    fn get(&self, at: usize, key: &str, token: Option<&str>) -> Response {
        client::get(&self.address(at), key, token)
    }

    /// GET at a replica; must be answered with `status`.
    fn get_expecting(&self, at: usize, key: &str, token: Option<&str>, status: u16) -> Response {
        expect(self.get(at, key, token), status, &format!("GET {key} at {at}"))
    }

    /// A replica that was cut off answers from its own past, and refuses a token that names what it missed.
    fn expect_stale_but_causal(&self, victim: usize, key: &str, old: &str, new: &str, when: &str) {
        let refusal = r#"{"error":"Causal dependencies not satisfied; try again later"}"#;
        for response in [
            self.get(victim, key, Some(new)),
            client::put(&self.address(victim), key, "\"newer\"", Some(new)),
            client::put(&self.address(victim), "another", "1", Some(new)),
        ] {
            assert_eq!((response.status, response.text()), (503, refusal), "{when}, metadata names the missed write");
        }
        let response = self.get(victim, key, Some(old));
        assert_eq!(response.status, 200, "{when}, old metadata: {}", response.text());
        assert_eq!(response.json()["value"], "old", "{when}, old metadata");
    }

    /// What `GET /view` lists.
    fn view(&self, at: usize) -> Vec<String> {
        self.try_view(at).unwrap_or_else(|error| panic!("view of {at}: {error}"))
    }

    /// What `GET /view` lists, if it is answered.
    fn try_view(&self, at: usize) -> Result<Vec<String>, String> {
        let timeout = Duration::from_secs(10);
        let response = client::try_request(&self.address(at), "GET", "/view", &[], None, timeout);
        let response = response.map_err(|error| format!("{error:?}"))?;
        let list = response.json()["view"].as_array().cloned().unwrap_or_default();
        Ok(list.iter().map(|value| value.as_str().expect("an address").to_owned()).collect())
    }

    /// What replicas must agree on and bad input must not change: vector, digest of the store, rows of the view.
    fn state(&self, at: usize) -> Value {
        self.try_state(at).unwrap_or_else(|error| panic!("state of {at}: {error:?}"))
    }

    /// The same, where perhaps no answer comes.
    fn try_state(&self, at: usize) -> Result<Value, NoResponse> {
        let timeout = Duration::from_secs(2);
        let response = client::try_request(&self.address(at), "GET", "/replica/state", &[], None, timeout)?;
        let state = response.json();
        let part = |name: &str| {
            let part = state.get(name).unwrap_or_else(|| panic!("no {name} in {state}"));
            (name.to_owned(), part.clone())
        };
        Ok(Value::Object(["vector", "digest", "view"].map(part).into_iter().collect()))
    }

    /// Waits until these replicas serve, list exactly each other, and have equal vectors, stores and views. Says how
    /// long it took.
    fn await_settled(&self, ats: &[usize], limit: Duration) -> Duration {
        let wanted = self.addresses(ats);
        let time = self.poll(limit, &format!("{ats:?} to settle"), || {
            let mut states = Vec::new();
            for &at in ats {
                let ready = client::try_request(&self.address(at), "GET", "/ready", &[], None, Duration::from_secs(2));
                let ready = ready.map_err(|error| format!("{at}: {error:?}"))?;
                if ready.status != 200 {
                    return Err(format!("{at} is not ready: {ready:?}"));
                }
                let view = self.view(at);
                if view != wanted {
                    return Err(format!("{at} lists {view:?}"));
                }
                states.push(self.try_state(at).map_err(|error| format!("{at}: {error:?}"))?);
            }
            if states.windows(2).all(|pair| pair[0] == pair[1]) {
                Ok(())
            } else {
                Err(format!("states differ: {states:#?}"))
            }
        });
        for &at in ats {
            assert_eq!(self.metric(at, "hence_divergences_total"), 0, "equal coverage with other data at {at}");
        }
        time
    }

    /// Waits until each of these replicas lists all of them and has a link to every other.
    fn await_settled_links(&self, ats: &[usize], limit: Duration) {
        self.await_views(ats, ats, limit);
        self.poll(limit, "links", || {
            let established = "hence_links{state=\"established\"}";
            let links: Vec<u64> = ats.iter().map(|&at| self.metric(at, established)).collect();
            if links.iter().all(|&count| count == ats.len() as u64 - 1) { Ok(()) } else { Err(format!("{links:?}")) }
        });
    }

    /// Waits until no replica keeps an operation for a peer.
    fn await_empty_logs(&self, ats: &[usize], limit: Duration) {
        self.poll(limit, "empty logs", || {
            let logs: Vec<u64> = ats.iter().map(|&at| self.metric(at, "hence_log_ops")).collect();
            if logs.iter().all(|&ops| ops == 0) { Ok(()) } else { Err(format!("{logs:?} operations")) }
        });
    }

    /// A number from `GET /metrics`, by the name and labels of its line.
    fn metric(&self, at: usize, name: &str) -> u64 {
        let response = client::request(&self.address(at), "GET", "/metrics", &[], None);
        let value = response.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no metric {name}"))
    }

    /// Asks again and again until the answer is `Ok`; panics at the limit with what it was last. Says how long it took.
    fn poll(&self, limit: Duration, what: &str, mut ask: impl FnMut() -> Result<(), String>) -> Duration {
        let start = Instant::now();
        loop {
            // The moment before the question counts: an answer that was on its way at the limit is in time.
            let asked = start.elapsed();
            match ask() {
                Ok(()) => return start.elapsed(),
                Err(_) if asked < limit => std::thread::sleep(Duration::from_millis(5)),
                Err(last) => panic!("waited {limit:?} for {what}: {last}\nlogs: {}", self.logs()),
            }
        }
    }

    /// Waits until a GET with this metadata is answered with this value at a replica. Says how long it took.
    fn await_value(&self, at: usize, key: &str, token: Option<&str>, value: &str, limit: Duration) -> Duration {
        let wanted: Value = serde_json::from_str(value).expect("tests write JSON");
        self.poll(limit, &format!("{key} to be {value} at {at}"), || {
            let response = client::try_get(&self.address(at), key, token).map_err(|error| format!("{error:?}"))?;
            let found = response.status == 200 && response.json()["value"] == wanted;
            if found { Ok(()) } else { Err(format!("{} {}", response.status, response.text())) }
        })
    }

    /// Waits until every one of `watchers` lists exactly `members`. Says how long it took.
    fn await_views(&self, watchers: &[usize], members: &[usize], limit: Duration) -> Duration {
        let wanted = self.addresses(members);
        self.poll(limit, &format!("views {members:?}"), || {
            for &at in watchers {
                let view = self.try_view(at)?;
                if view != wanted {
                    return Err(format!("{at} lists {view:?}"));
                }
            }
            Ok(())
        })
    }
}

/// Checks the status of a response.
pub fn expect(response: Response, status: u16, what: &str) -> Response {
    assert_eq!(response.status, status, "{what}: {}", String::from_utf8_lossy(&response.body));
    response
}
