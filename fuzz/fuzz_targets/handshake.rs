//! What a process says that wants a link: nothing panics, and without the secret none opens.
//!
//! The first byte chooses how the rest is said: as the bytes of a connection, or as the headers of requests that are whole
//! otherwise. Each input meets a replica with a secret and one without, over a stream in memory.

#![no_main]

use hence_core::{Address, ClusterTag};
use hence_transport::trust::{Secret, Secrets, Trust, Visitor};
use hence_transport::{HyperSettings, HyperTransport};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::rc::Rc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;
use tokio::time::{Duration, timeout};

const HEAD: &str = "GET /replica/link HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: hence-replica\r\n";
const GREETING: &str = "process=0000000000000001; address=10.0.0.9:1";

struct Rig {
    runtime: Runtime,
    tasks: LocalSet,
    open: HyperTransport,
    closed: HyperTransport,
}

thread_local! {
    static RIG: Rig = {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let tasks = LocalSet::new();
        let settings = || HyperSettings::new(Address::parse("10.0.0.2:1").expect("an address"), ClusterTag::of("hence"));
        let secrets = Secret::parse("a-secret-that-is-not-guessed").expect("a secret");
        let trust = Trust { secrets: Some(Secrets::new(&secrets)), ..Trust::default() };
        let (open, closed) = tasks.block_on(&runtime, async {
            (HyperTransport::new(settings()), HyperTransport::with_trust(settings(), trust))
        });
        Rig { runtime, tasks, open, closed }
    };
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&how, rest)) = bytes.split_first() else { return };
    let said = match how % 3 {
        0 => rest.to_vec(),
        1 => headers(rest, ""),
        _ => headers(rest, &format!("version=4; cluster={:08x}; {GREETING}; ", ClusterTag::of("hence").0)),
    };
    RIG.with(|rig| {
        for transport in [&rig.open, &rig.closed] {
            let answer = rig.tasks.block_on(&rig.runtime, say(transport, &said));
            let opens = String::from_utf8_lossy(&answer).contains(" 101 ");
            assert!(!opens || std::ptr::eq(transport, &rig.open), "a link opened without the secret");
        }
    });
});

/// Two requests on one connection; lines are the greeting, the number and the proof of each.
fn headers(bytes: &[u8], greeting: &str) -> Vec<u8> {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let mut said = Vec::new();
    for _ in 0..2 {
        said.extend_from_slice(HEAD.as_bytes());
        for (name, before) in [("hence-replica", greeting), ("hence-challenge", ""), ("hence-proof", "")] {
            if let Some(line) = lines.next().filter(|line| !line.is_empty()) {
                said.extend_from_slice(format!("{name}: {before}").as_bytes());
                said.extend(line.iter().filter(|&&byte| byte != b'\r' && byte != 0));
                said.extend_from_slice(b"\r\n");
            }
        }
        said.extend_from_slice(b"\r\n");
    }
    said
}

/// Says this on a connection of its own, and ends it. Gives what was answered.
async fn say(transport: &HyperTransport, said: &[u8]) -> Vec<u8> {
    let (mut near, far) = duplex(64 << 10);
    let visitor = Rc::new(Visitor::default());
    let answers = service_fn(|request| {
        let answer = transport.accept_from(request, &visitor);
        async move { Ok::<_, Infallible>(answer) }
    });
    let serving = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(far), answers).with_upgrades();
    let asking = async {
        let mut answer = Vec::new();
        let _ = near.write_all(&said[..said.len().min(32 << 10)]).await;
        let _ = near.shutdown().await;
        // A link that opened goes on for a while.
        let _ = timeout(Duration::from_millis(20), near.read_to_end(&mut answer)).await;
        answer
    };
    tokio::select! {
        answer = asking => answer,
        (_, answer) = async { (serving.await, std::future::pending::<Vec<u8>>().await) } => answer,
    }
}
