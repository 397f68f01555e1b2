//! A shared secret, and the strangers that it keeps out.

use super::tls::{assert_kept_out, assert_linked, start_trusting};
use super::*;
use crate::trust::{Said, Secret, Secrets, Trust};
use proptest::prelude::*;

const OLD: &str = "old-secret-of-this-cluster";
const NEW: &str = "new-secret-of-this-cluster";

fn secrets(text: &str) -> Secrets {
    Secrets::new(&Secret::parse(text).expect("secrets"))
}

/// A secret that all of these tests know.
pub(super) fn known() -> Secrets {
    secrets(OLD)
}

fn trust(text: &str) -> Trust {
    Trust { secrets: Some(secrets(text)), ..Trust::default() }
}

#[test]
fn who_knows_the_secret_is_linked() {
    run(async {
        let [a, b] = [fresh_address(), fresh_address()];
        let (left, right) = (start_trusting(&a, trust(OLD)).await, start_trusting(&b, trust(OLD)).await);
        assert_linked(&left, &b, &right, 1).await;
        assert_linked(&right, &a, &left, 2).await;
        assert_eq!((left.counters().dials_failed, left.counters().links_untrusted), (0, 0));
    });
}

#[test]
fn who_knows_another_secret_or_none_is_kept_out() {
    run(async {
        let [a, b, c] = [fresh_address(), fresh_address(), fresh_address()];
        let member = start_trusting(&a, trust(OLD)).await;
        let (other, none) = (start_trusting(&b, trust(NEW)).await, start_at(&c).await);
        assert_kept_out(&other, &a, &member, LinkCause::Untrusted).await;
        assert_kept_out(&none, &a, &member, LinkCause::Untrusted).await;
        assert_eq!(member.counters().links_untrusted, 2);
        let mut incoming = Vec::new();
        assert!(timeout(Duration::from_millis(50), member.receive(&mut incoming)).await.is_err(), "{incoming:?}");
    });
}

#[test]
fn no_state_goes_to_who_does_not_know_the_secret() {
    run(async {
        let [a, b, c] = [fresh_address(), fresh_address(), fresh_address()];
        let member = start_trusting(&a, trust(OLD)).await;
        let (other, none) = (start_trusting(&b, trust(NEW)).await, start_at(&c).await);
        for (address, stranger) in [(&b, &other), (&c, &none)] {
            member.send(address, opening());
            assert_eq!(strays(stranger, 1).await, []);
            assert_eq!((stranger.counters().frames_in, stranger.counters().bytes_in), (0, 0));
        }
        assert!(member.outages().iter().all(|(_, cause)| *cause == LinkCause::Untrusted), "{:?}", member.outages());
    });
}

#[test]
fn two_secrets_for_a_while() {
    run(async {
        let steps = [OLD, &format!("{OLD},{NEW}"), &format!("{NEW},{OLD}"), NEW];
        for (one, other) in steps.iter().zip(&steps[1..]) {
            let [a, b] = [fresh_address(), fresh_address()];
            let (left, right) = (start_trusting(&a, trust(one)).await, start_trusting(&b, trust(other)).await);
            assert_linked(&left, &b, &right, 1).await;
            assert_linked(&right, &a, &left, 2).await;
        }
        // The same at one transport that runs, whose links stand all the while.
        let [a, b, c] = [fresh_address(), fresh_address(), fresh_address()];
        let (own, other) = (secrets(OLD), secrets(OLD));
        let with = |secrets: &Secrets| Trust { secrets: Some(secrets.clone()), ..Trust::default() };
        let (left, right) = (start_trusting(&a, with(&own)).await, start_trusting(&b, with(&other)).await);
        assert_linked(&left, &b, &right, 1).await;
        for step in &steps[1..] {
            for each in [&own, &other] {
                each.replace(&Secret::parse(step).expect("secrets"));
                left.send(&b, taken(2));
                assert_eq!(messages(&right, 1).await, [taken(2)]);
            }
        }
        assert_eq!(left.counters().dials, 1);
        let late = start_trusting(&c, trust(OLD)).await;
        assert_kept_out(&late, &a, &left, LinkCause::Untrusted).await;
    });
}

/// A side that dials by hand.
struct ByHand {
    stream: TcpStream,
    nonce: [u8; 32],
    greeting: String,
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

impl ByHand {
    async fn connect(at: &Address) -> Self {
        let stream = TcpStream::connect(at.as_str()).await.expect("it listens");
        let (Formats { lowest, highest }, tag) = (Formats::RELEASED, cluster().0);
        let greeting = format!(
            "version={lowest}; cluster={tag:08x}; process=0000000000000001; address=10.0.0.9:1; highest={highest}"
        );
        Self { stream, nonce: [3; 32], greeting }
    }

    async fn ask(&mut self, proof: Option<&str>) -> String {
        let (nonce, greeting) = (digits(&self.nonce), &self.greeting);
        let head = UPGRADE_REQUEST.trim_end();
        let proof = proof.map(|proof| format!("hence-proof: {proof}\r\n")).unwrap_or_default();
        let request = format!("{head}\r\nhence-replica: {greeting}\r\nhence-challenge: {nonce}\r\n{proof}\r\n");
        self.stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = vec![0; 4_096];
        let count = self.stream.read(&mut answer).await.expect("an answer");
        String::from_utf8_lossy(&answer[..count]).into_owned()
    }

    /// The number that the other side drew.
    async fn challenge(&mut self) -> [u8; 32] {
        let answer = self.ask(None).await;
        assert!(answer.starts_with("HTTP/1.1 401") && !answer.contains("hence-replica:"), "{answer}");
        let text = header(&answer, "hence-challenge").expect("a number");
        core::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("digits"))
    }

    fn proof(&self, challenge: &[u8; 32], secrets: &Secrets) -> String {
        let said = Said { challenge, dialler: &self.nonce, asks: self.greeting.as_bytes(), answers: None };
        digits(&secrets.prove(&said)[0])
    }
}

#[test]
fn a_proof_is_good_for_one_connection_and_one_attempt() {
    run(async {
        let (a, secrets) = (fresh_address(), known());
        let member = start_trusting(&a, trust(OLD)).await;
        let mut first = ByHand::connect(&a).await;
        let challenge = first.challenge().await;
        let proof = first.proof(&challenge, &secrets);
        // The same words on another connection, with and without a number drawn for that.
        let mut replayed = ByHand::connect(&a).await;
        assert!(replayed.ask(Some(&proof)).await.starts_with("HTTP/1.1 403"));
        assert_ne!(replayed.challenge().await, challenge);
        assert!(replayed.ask(Some(&proof)).await.starts_with("HTTP/1.1 403"));
        assert!(first.ask(Some(&proof)).await.starts_with("HTTP/1.1 101"), "it was a good one");
        // A wrong attempt uses the number up.
        let mut second = ByHand::connect(&a).await;
        let challenge = second.challenge().await;
        assert!(second.ask(Some(&digits(&[0; 32]))).await.starts_with("HTTP/1.1 403"));
        let late = second.proof(&challenge, &secrets);
        assert!(second.ask(Some(&late)).await.starts_with("HTTP/1.1 403"));
        assert_eq!((member.counters().links_untrusted, member.counters().frames_in), (4, 0));
    });
}

#[test]
fn a_member_speaks_for_the_address_that_it_proved() {
    run(async {
        let (a, secrets) = (fresh_address(), known());
        let member = start_trusting(&a, trust(OLD)).await;
        let mut refused = 0;
        for (address, is_taken) in [("10.0.0.9:1", true), ("10.0.0.8:1", false)] {
            let mut dialler = ByHand::connect(&a).await;
            let challenge = dialler.challenge().await;
            let proof = dialler.proof(&challenge, &secrets);
            assert!(dialler.ask(Some(&proof)).await.starts_with("HTTP/1.1 101"));
            let mut writer = FrameWriter::new(cluster(), Address::parse(address).expect("an address"));
            writer.push(&taken(7), &mut crate::codec::OpMemo::new()).expect("it is small");
            let mut frame = Vec::new();
            writer.take(&mut frame);
            dialler.stream.write_all(&frame).await.expect("written");
            let expected = if is_taken { vec![taken(7)] } else { Vec::new() };
            let arrived = if is_taken { messages(&member, 1).await } else { strays(&member, 1).await };
            assert_eq!(arrived, expected, "{address}");
            refused += u64::from(!is_taken);
            let counted: Vec<_> = member.counters().refused().filter(|(_, count)| *count > 0).collect();
            assert_eq!(counted, if refused > 0 { vec![("address", refused)] } else { Vec::new() });
            assert!(is_taken || is_closed(&mut dialler.stream).await, "its connection ends");
        }
    });
}

#[test]
fn a_changed_greeting_breaks_the_proof() {
    run(async {
        let (a, secrets) = (fresh_address(), known());
        let _member = start_trusting(&a, trust(OLD)).await;
        let lower = ("; highest=", "; once=");
        for (from, to) in [lower, ("version=", "version=0"), ("10.0.0.9", "10.0.0.8"), ("process=0", "process=1")] {
            let mut dialler = ByHand::connect(&a).await;
            let challenge = dialler.challenge().await;
            let proof = dialler.proof(&challenge, &secrets);
            assert!(dialler.greeting.contains(from), "{from}");
            dialler.greeting = dialler.greeting.replace(from, to);
            assert!(dialler.ask(Some(&proof)).await.starts_with("HTTP/1.1 403"), "{from} to {to}");
        }
    });
}

/// Passes one connection on, changes what comes back, and keeps what went there.
async fn relay(listener: TcpListener, to: Address, change: impl Fn(String) -> String) -> Vec<u8> {
    let (mut near, _) = listener.accept().await.expect("our transport");
    let mut far = TcpStream::connect(to.as_str()).await.expect("it listens");
    let (mut went, mut there, mut back) = (Vec::new(), [0; 4_096], [0; 4_096]);
    loop {
        tokio::select! {
            read = near.read(&mut there) => {
                let count = read.unwrap_or_default();
                went.extend_from_slice(&there[..count]);
                if count == 0 || far.write_all(&there[..count]).await.is_err() {
                    return went;
                }
            }
            read = far.read(&mut back) => {
                let count = read.unwrap_or_default();
                let changed = change(String::from_utf8_lossy(&back[..count]).into_owned());
                if count == 0 || near.write_all(changed.as_bytes()).await.is_err() {
                    return went;
                }
            }
        }
    }
}

#[test]
fn an_answer_that_was_changed_on_its_way_is_not_believed() {
    run(async {
        let lower = ("; highest=", "; once=");
        for (from, to) in
            [lower, ("version=", "version=0"), ("address=127", "address=126"), ("hence-proof", "hence-truth")]
        {
            let [a, b, between] = [fresh_address(), fresh_address(), fresh_address()];
            let (left, right) = (start_trusting(&a, trust(OLD)).await, start_trusting(&b, trust(OLD)).await);
            let listener = TcpListener::bind(between.as_str()).await.expect("a free address");
            let relayed = relay(listener, b.clone(), |text| text.replace(from, to));
            left.send(&between, opening());
            let went = timeout(Duration::from_secs(5), relayed).await.expect("it ends");
            assert!(went.starts_with(b"GET") && strays(&right, 1).await.is_empty());
            sleep(Duration::from_millis(50)).await;
            assert_eq!(left.outages(), [(between, LinkCause::Untrusted)]);
        }
    });
}

#[test]
fn what_opened_a_link_once_opens_no_other() {
    run(async {
        let [a, b, between] = [fresh_address(), fresh_address(), fresh_address()];
        let (left, right) = (start_trusting(&a, trust(OLD)).await, start_trusting(&b, trust(OLD)).await);
        let listener = TcpListener::bind(between.as_str()).await.expect("a free address");
        let relayed = spawn_local_relay(listener, b.clone());
        left.send(&between, opening());
        left.send(&between, taken(1));
        assert_eq!(messages(&right, 2).await, [opening(), taken(1)]);
        drop(left);
        let before = right.counters().frames_in;
        let went = relayed.await.expect("it ended");
        let mut replay = TcpStream::connect(b.as_str()).await.expect("it listens");
        let _ = replay.write_all(&went).await;
        assert_eq!(strays(&right, 1).await, []);
        assert_eq!(right.counters().frames_in, before);
    });
}

fn spawn_local_relay(listener: TcpListener, to: Address) -> tokio::task::JoinHandle<Vec<u8>> {
    tokio::task::spawn_local(relay(listener, to, |text| text))
}

#[test]
fn an_impostor_that_sends_a_proof_back_is_not_believed() {
    run(async {
        let [a, b] = [fresh_address(), fresh_address()];
        let left = start_trusting(&a, trust(OLD)).await;
        let impostor = TcpListener::bind(b.as_str()).await.expect("a free address");
        left.send(&b, opening());
        let (mut stream, _) = impostor.accept().await.expect("our transport");
        let mut bytes = vec![0; 4_096];
        let count = stream.read(&mut bytes).await.expect("a request");
        let request = String::from_utf8_lossy(&bytes[..count]).into_owned();
        let nonce = header(&request, "hence-challenge").expect("a number");
        let asks = format!("HTTP/1.1 401 No\r\nhence-challenge: {nonce}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(asks.as_bytes()).await.expect("written");
        let count = stream.read(&mut bytes).await.expect("a request");
        let request = String::from_utf8_lossy(&bytes[..count]).into_owned();
        let (proof, greeting) = (header(&request, "hence-proof"), header(&request, "hence-replica"));
        let answer = format!(
            "HTTP/1.1 101 Yes\r\nconnection: upgrade\r\nupgrade: hence-replica\r\nhence-replica: {}\r\nhence-proof: {}\r\n\r\n",
            greeting.expect("it introduces itself"),
            proof.expect("it proves itself")
        );
        stream.write_all(answer.as_bytes()).await.expect("written");
        assert!(is_closed(&mut stream).await, "no frame comes");
        sleep(Duration::from_millis(50)).await;
        assert_eq!(left.outages(), [(b, LinkCause::Untrusted)]);
    });
}

#[test]
fn without_a_secret_no_header_is_added() {
    run(async {
        let [a, b] = [fresh_address(), fresh_address()];
        let left = start_at(&a).await;
        let listener = TcpListener::bind(b.as_str()).await.expect("a free address");
        left.send(&b, opening());
        let (mut stream, _) = listener.accept().await.expect("our transport");
        let mut bytes = vec![0; 4_096];
        let count = stream.read(&mut bytes).await.expect("a request");
        let request = String::from_utf8_lossy(&bytes[..count]).into_owned();
        let mut names: Vec<&str> = request.lines().filter_map(|line| Some(line.split_once(": ")?.0)).collect();
        names.sort_unstable();
        assert_eq!(names, ["connection", "hence-replica", "host", "upgrade"]);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever a stranger says, it opens nothing and the next member is linked.
    #[test]
    fn no_words_replace_the_secret(proof in "[0-9a-f,]{0,140}|[ -~]{0,80}", greeting in "[a-z0-9=;: .]{0,80}", whole in any::<bool>()) {
        run(async {
            let a = fresh_address();
            let member = start_trusting(&a, trust(OLD)).await;
            let mut stranger = ByHand::connect(&a).await;
            stranger.challenge().await;
            if !whole {
                stranger.greeting = greeting;
            }
            let answer = stranger.ask(Some(&proof)).await;
            assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
            assert_eq!(member.counters().connections_in, 0);
        });
    }
}
