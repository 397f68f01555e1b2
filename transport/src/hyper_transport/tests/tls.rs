//! TLS between transports, and the strangers that it keeps out. Each brings nothing in and keeps no member out.

use super::*;
use crate::trust::{Changeover, Pem, Tls, Trust};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// Signs certificates.
pub(super) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let (key, mut params) = (KeyPair::generate().expect("a key"), CertificateParams::default());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for these names, changed like that, and its key.
    fn issue_as(&self, names: &[&str], change: impl Fn(&mut CertificateParams)) -> (String, String) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let (key, mut params) = (KeyPair::generate().expect("a key"), CertificateParams::new(names).expect("names"));
        change(&mut params);
        (params.signed_by(&key, &self.issuer).expect("a certificate").pem(), key.serialize_pem())
    }

    /// What a replica has whose certificate names this.
    pub(super) fn tls_as(&self, names: &[&str], change: impl Fn(&mut CertificateParams)) -> Tls {
        let own = self.issue_as(names, change);
        Tls::new(pem(&own, &self.pem), None).expect("all in order")
    }

    /// Gives this a new certificate for these names.
    pub(super) fn renew(&self, tls: &Tls, names: &[&str]) {
        tls.replace(pem(&self.issue_as(names, |_| ()), &self.pem)).expect("all in order");
    }

    /// Its own certificate.
    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    pub(super) fn trust(&self, address: &Address) -> Trust {
        Trust { tls: Some(self.tls_as(&[host(address)], |_| ())), ..Trust::default() }
    }
}

fn pem<'a>((certificate, key): &'a (String, String), authorities: &'a str) -> Pem<'a> {
    Pem { certificate: certificate.as_bytes(), key: key.as_bytes(), authorities: authorities.as_bytes() }
}

pub(super) fn host(address: &Address) -> &str {
    address.as_str().rsplit_once(':').expect("a port").0
}

pub(super) fn with(tls: Tls) -> Trust {
    Trust { tls: Some(tls), ..Trust::default() }
}

pub(super) async fn start_trusting(address: &Address, trust: Trust) -> HyperTransport {
    let listener = TcpListener::bind(address.as_str()).await.expect("a free address");
    HyperTransport::trusting_with_listener(listener, HyperSettings::new(address.clone(), cluster()), trust)
}

/// What is sent arrives.
pub(super) async fn assert_linked(left: &HyperTransport, to: &Address, right: &HyperTransport, id: u64) {
    left.send(to, opening());
    left.send(to, taken(id));
    assert_eq!(messages(right, 2).await, [opening(), taken(id)]);
}

/// Nothing arrives, and the side that dials knows why.
pub(super) async fn assert_kept_out(left: &HyperTransport, to: &Address, right: &HyperTransport, cause: LinkCause) {
    let brought = |right: &HyperTransport| (right.counters().frames_in, right.counters().connections_in);
    let before = brought(right);
    left.send(to, opening());
    left.send(to, taken(1));
    assert_eq!(strays(right, 1).await, []);
    assert_eq!(left.outages(), [(to.clone(), cause)]);
    assert_eq!(brought(right), before);
}

struct TrustingLaboratory(Authority);

#[async_trait(?Send)]
impl Laboratory for TrustingLaboratory {
    type Transport = HyperTransport;

    fn address(&mut self) -> Address {
        fresh_address()
    }

    async fn start(&mut self, address: &Address) -> HyperTransport {
        let settings = HyperSettings::new(address.clone(), cluster());
        let settings = HyperSettings { queue_bytes_max: 1 << 20, receive_bytes_max: 1 << 20, ..settings };
        let listener = TcpListener::bind(address.as_str()).await.expect("a free address");
        let trust = Trust { secrets: Some(secrets::known()), ..self.0.trust(address) };
        HyperTransport::trusting_with_listener(listener, settings, trust)
    }

    async fn stop(&mut self, transport: HyperTransport) {
        drop(transport);
        sleep(Duration::from_millis(1)).await;
    }

    async fn sleep(&self, length: Micros) {
        sleep(Duration::from_micros(length.0)).await;
    }

    async fn throw(&mut self, at: &Address, bytes: &[u8]) -> bool {
        for head in ["", UPGRADE_REQUEST] {
            let mut stream = TcpStream::connect(at.as_str()).await.expect("it listens");
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = timeout(Duration::from_millis(100), stream.write_all(bytes)).await;
            sleep(Duration::from_millis(2)).await;
        }
        true
    }

    fn character(&self) -> Character {
        Character { underway_bytes_max: 64 << 20, ..Character::default() }
    }
}

#[test]
fn the_laws_hold_within_tls_and_with_a_secret() {
    let mut laboratory = TrustingLaboratory(Authority::new());
    assert_eq!(run(async { laws::check_all(&mut laboratory).await }), Ok(()));
}

/// A replica whose certificate is in order, and one with that; each dials the other.
fn both_ways_kept_out(good: &Authority, bad: impl Fn(&Address) -> Tls) {
    run(async {
        let [a, b] = [fresh_address(), fresh_address()];
        let left = start_trusting(&a, good.trust(&a)).await;
        let right = start_trusting(&b, with(bad(&b))).await;
        assert_kept_out(&left, &b, &right, LinkCause::Tls).await;
        right.send(&a, opening());
        assert_eq!(strays(&left, 1).await, []);
        let [(_, cause)] = *right.outages() else { panic!("{:?}", right.outages()) };
        assert!(matches!(cause, LinkCause::Tls | LinkCause::Untrusted | LinkCause::NotHence), "{cause:?}");
        assert_eq!(left.counters().frames_in, 0);
        // A member that is in order is served all the same.
        let c = fresh_address();
        let third = start_trusting(&c, good.trust(&c)).await;
        assert_linked(&third, &a, &left, 7).await;
    });
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let (good, other) = (Authority::new(), Authority::new());
    both_ways_kept_out(&good, |own| {
        let issued = other.issue_as(&[host(own)], |_| ());
        Tls::new(pem(&issued, &good.pem), None).expect("it reads well")
    });
}

#[test]
fn an_expired_certificate_is_refused() {
    let good = Authority::new();
    both_ways_kept_out(&good, |own| {
        good.tls_as(&[host(own)], |params| {
            (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
        })
    });
}

#[test]
fn a_certificate_that_is_not_valid_yet_is_refused() {
    let good = Authority::new();
    both_ways_kept_out(&good, |own| good.tls_as(&[host(own)], |params| params.not_before = date_time_ymd(2900, 1, 1)));
}

#[test]
fn a_certificate_that_names_another_address_is_refused() {
    let good = Authority::new();
    both_ways_kept_out(&good, |_| good.tls_as(&["127.9.9.9", "alice"], |_| ()));
}

#[test]
fn a_certificate_that_names_nothing_is_refused() {
    let good = Authority::new();
    both_ways_kept_out(&good, |_| good.tls_as(&[], |_| ()));
}

#[test]
fn a_self_signed_certificate_is_refused() {
    let good = Authority::new();
    both_ways_kept_out(&good, |own| {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![host(own).to_owned()]).expect("names");
        let issued = (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem());
        Tls::new(pem(&issued, &good.pem), None).expect("it reads well")
    });
}

#[test]
fn who_has_a_certificate_takes_no_other_members_address() {
    run(async {
        let (good, [a, b, c]) = (Authority::new(), [fresh_address(), fresh_address(), fresh_address()]);
        let left = start_trusting(&a, good.trust(&a)).await;
        // It says that it is b, and has the certificate of c.
        let thief = start_trusting(&b, good.trust(&c)).await;
        assert_kept_out(&thief, &a, &left, LinkCause::Untrusted).await;
        assert_eq!(left.counters().links_untrusted, 1);
    });
}

#[test]
fn one_name_may_stand_for_all_replicas() {
    run(async {
        let (good, [a, b, c]) = (Authority::new(), [fresh_address(), fresh_address(), fresh_address()]);
        let named = |name: &str| {
            let own = good.issue_as(&[name], |_| ());
            with(Tls::new(pem(&own, &good.pem), Some("replicas.shop.example")).expect("all in order"))
        };
        let left = start_trusting(&a, named("replicas.shop.example")).await;
        let right = start_trusting(&b, named("replicas.shop.example")).await;
        assert_linked(&left, &b, &right, 1).await;
        let stranger = start_trusting(&c, named("clients.shop.example")).await;
        assert_kept_out(&stranger, &b, &right, LinkCause::Untrusted).await;
    });
}

#[test]
fn plain_on_a_port_of_tls_and_tls_on_a_plain_port() {
    run(async {
        let (good, [a, b]) = (Authority::new(), [fresh_address(), fresh_address()]);
        let (tls, plain) = (start_trusting(&a, good.trust(&a)).await, start_at(&b).await);
        assert_kept_out(&plain, &a, &tls, LinkCause::NotHence).await;
        assert_kept_out(&tls, &b, &plain, LinkCause::Tls).await;
    });
}

/// A client within TLS that has no certificate.
async fn client(
    at: &Address,
    authority: &Authority,
    alpn: &[&str],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).expect("it is ours")).expect("it is ours");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(at.as_str()).await.expect("it listens");
    let name = ServerName::try_from(host(at).to_owned()).expect("an address");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// A peer within TLS with a certificate for this address.
async fn peer(at: &Address, authority: &Authority, own: &Address) -> tokio_rustls::client::TlsStream<TcpStream> {
    let (connector, name) = authority.tls_as(&[host(own)], |_| ()).connector(at).expect("it can be named");
    let stream = TcpStream::connect(at.as_str()).await.expect("it listens");
    connector.connect(name, stream).await.expect("one authority signed both")
}

async fn ask_as(stream: &mut tokio_rustls::client::TlsStream<TcpStream>, greeting: &str) -> String {
    let request = format!("{}\r\nhence-replica: {greeting}\r\n\r\n", UPGRADE_REQUEST.trim_end());
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = [0; 2_048];
    let count = stream.read(&mut answer).await.expect("an answer");
    String::from_utf8_lossy(&answer[..count]).into_owned()
}

#[test]
fn who_has_a_certificate_has_no_home_beside_another_members_address() {
    run(async {
        let (good, [a, b, c]) = (Authority::new(), [fresh_address(), fresh_address(), fresh_address()]);
        let left = start_trusting(&a, good.trust(&a)).await;
        let (format, tag, aside) = (Formats::RELEASED.highest, cluster().0, Address::nowhere(1));
        let says = |address: &Address, home: &Address| {
            format!("version={format}; cluster={tag:08x}; process=1; address={address}; home={home}; answers=here")
        };
        // It has the certificate of c.
        for (address, home, status) in
            [(&b, &c, 403), (&c, &b, 101), (&aside, &b, 403), (&Address::nowhere(2), &c, 403), (&aside, &c, 101)]
        {
            let answer = ask_as(&mut peer(&a, &good, &c).await, &says(address, home)).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{address}, {home}: {answer}");
        }
        let mut signs = Vec::new();
        let _ = timeout(Duration::from_millis(50), left.receive(&mut signs)).await;
        let named = |incoming: &Incoming| matches!(incoming, Incoming::Sign { from } if *from == b);
        assert!(!signs.iter().any(named), "{signs:?}");
    });
}

#[test]
fn a_client_without_a_certificate_is_no_peer() {
    run(async {
        let (good, a) = (Authority::new(), fresh_address());
        let left = start_trusting(&a, good.trust(&a)).await;
        let mut stream = client(&a, &good, &["http/1.1"]).await.expect("clients need no certificate");
        stream.write_all(UPGRADE_REQUEST.as_bytes()).await.expect("written");
        let mut answer = [0; 2_048];
        let count = stream.read(&mut answer).await.expect("an answer");
        let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("hence-lacks: certificate"), "{answer}");
        assert!(!answer.contains("hence-replica:"), "a stranger is told nothing: {answer}");
        assert_eq!(left.counters().links_untrusted, 1);
    });
}

#[test]
fn only_http_1_1_is_spoken_within_tls() {
    run(async {
        let (good, a) = (Authority::new(), fresh_address());
        let _left = start_trusting(&a, good.trust(&a)).await;
        assert!(client(&a, &good, &["h2"]).await.is_err());
        let both = client(&a, &good, &["h2", "http/1.1"]).await.expect("one of them will do");
        assert_eq!(both.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert!(client(&a, &good, &[]).await.is_ok());
    });
}

/// The beginning of a handshake, as a client sends it.
async fn hello() -> Vec<u8> {
    let (good, listener) = (Authority::new(), TcpListener::bind("127.0.0.1:0").await.expect("a port"));
    let at = Address::parse(&listener.local_addr().expect("it listens").to_string()).expect("an address");
    let (accepted, _) = tokio::join!(listener.accept(), timeout(Duration::from_millis(100), client(&at, &good, &[])));
    let mut bytes = vec![0; 4_096];
    let count = accepted.expect("our client").0.read(&mut bytes).await.expect("its hello");
    bytes.truncate(count);
    bytes
}

#[test]
fn handshakes_that_are_cut_changed_or_old_end_only_themselves() {
    run(async {
        let (good, [a, b], hello) = (Authority::new(), [fresh_address(), fresh_address()], hello().await);
        let left = start_trusting(&a, good.trust(&a)).await;
        let mut attempts: Vec<Vec<u8>> = (0..hello.len()).step_by(40).map(|end| hello[..end].to_vec()).collect();
        // Whole, then noise; a record of a length that never comes; SSL 3; an alert; data at once.
        attempts.push([&hello[..], &[7; 5_000]].concat());
        attempts.push(vec![22, 3, 1, 255, 255, 1]);
        attempts.push(vec![22, 3, 0, 0, 5, 1, 0, 0, 1, 0]);
        attempts.push(vec![21, 3, 3, 0, 2, 2, 40]);
        attempts.push(vec![23, 3, 3, 0, 2, 1, 1]);
        for at in (0..hello.len()).step_by(7) {
            let mut changed = hello.clone();
            changed[at] ^= 0xff;
            attempts.push(changed);
        }
        for attempt in attempts {
            let mut stream = TcpStream::connect(a.as_str()).await.expect("it listens");
            let _ = stream.write_all(&attempt).await;
        }
        let right = start_trusting(&b, good.trust(&b)).await;
        assert_linked(&right, &a, &left, 1).await;
    });
}

#[test]
fn a_slow_handshake_is_ended() {
    run(async {
        let (good, a, hello) = (Authority::new(), fresh_address(), hello().await);
        let _left = start_trusting(&a, good.trust(&a)).await;
        let mut stream = TcpStream::connect(a.as_str()).await.expect("it listens");
        let begun = std::time::Instant::now();
        for byte in hello.iter().cycle() {
            if stream.write_all(&[*byte]).await.is_err() || begun.elapsed() > Duration::from_secs(10) {
                break;
            }
            sleep(Duration::from_millis(30)).await;
        }
        assert!(is_closed(&mut stream).await && begun.elapsed() < Duration::from_secs(10));
    });
}

#[test]
fn hundreds_of_half_handshakes_keep_no_peer_out() {
    run(async {
        let (good, [a, b], hello) = (Authority::new(), [fresh_address(), fresh_address()], hello().await);
        let left = start_trusting(&a, good.trust(&a)).await;
        let mut strangers = Vec::new();
        for _ in 0..1_000 {
            let Ok(connected) = timeout(Duration::from_millis(200), TcpStream::connect(a.as_str())).await else {
                break;
            };
            let mut stream = connected.expect("it listens");
            let _ = stream.write_all(&hello[..hello.len() / 2]).await;
            strangers.push(stream);
        }
        // What the system keeps waiting besides is not ours to say.
        assert!(strangers.len() >= 300, "{}", strangers.len());
        let right = start_trusting(&b, good.trust(&b)).await;
        let mut found = Vec::new();
        for _ in 0..50 {
            right.send(&a, taken(1));
            found = strays(&left, 1).await;
            if !found.is_empty() {
                break;
            }
        }
        // What waited meanwhile comes with it.
        assert_eq!(found.first(), Some(&taken(1)));
    });
}

#[test]
fn a_rotation_drops_no_link() {
    run(async {
        let (old, new, [a, b]) = (Authority::new(), Authority::new(), [fresh_address(), fresh_address()]);
        let both = [&*old.pem, &*new.pem].concat();
        let [trust_a, trust_b] = [&a, &b].map(|address| old.trust(address));
        let tls = [trust_a.tls.clone(), trust_b.tls.clone()].map(|tls| tls.expect("it has one"));
        let (left, right) = (start_trusting(&a, trust_a).await, start_trusting(&b, trust_b).await);
        assert_linked(&left, &b, &right, 1).await;
        // Both authorities are taken, then the new certificates are shown, then the old authority goes.
        for (step, (authority, authorities)) in (2..).zip([(&old, &both), (&new, &both), (&new, &new.pem)]) {
            for (tls, address) in tls.iter().zip([&a, &b]) {
                let own = authority.issue_as(&[host(address)], |_| ());
                tls.replace(pem(&own, authorities)).expect("all in order");
                left.send(&b, taken(step));
                assert_eq!(messages(&right, 1).await, [taken(step)]);
            }
            assert_eq!(left.counters().dials, 1, "the link stands");
        }
        // What comes anew is asked for what is asked now.
        let c = fresh_address();
        let late = start_trusting(&c, old.trust(&c)).await;
        assert_kept_out(&late, &a, &left, LinkCause::Tls).await;
        assert_linked(&left, &b, &right, 9).await;
        let own = new.issue_as(&[host(&a)], |_| ());
        let other_key = (own.0.clone(), new.issue_as(&[host(&a)], |_| ()).1);
        for wrong in
            [pem(&other_key, &new.pem), pem(&own, ""), pem(&own, "x"), pem(&(String::new(), own.1.clone()), &new.pem)]
        {
            assert!(tls[0].replace(wrong).is_err());
        }
        assert_linked(&left, &b, &right, 10).await;
    });
}

/// A certificate that ends on this day of 2030.
fn ending(day: u8) -> impl Fn(&mut CertificateParams) {
    move |params| params.not_after = date_time_ymd(2030, 1, day)
}

#[test]
fn it_is_known_when_a_certificate_ends() {
    const NEW_YEAR: u64 = 1_893_456_000;
    const DAY: u64 = 24 * 3_600;
    let good = Authority::new();
    let tls = good.tls_as(&["a"], ending(3));
    assert_eq!(tls.ends(), Some(NEW_YEAR + 2 * DAY));
    // What comes in its place ends at another time; what is of no use changes nothing.
    tls.replace(pem(&good.issue_as(&["a"], ending(5)), &good.pem)).expect("all in order");
    assert!(tls.replace(pem(&good.issue_as(&["a"], ending(7)), "")).is_err());
    assert_eq!(tls.ends(), Some(NEW_YEAR + 4 * DAY));
    // One between it and its authority may end first, or last.
    for (between, first, ends) in [(2, 9, 1), (9, 2, 1)] {
        let (key, mut params) = (KeyPair::generate().expect("a key"), CertificateParams::default());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "between");
        ending(between)(&mut params);
        let signed = params.signed_by(&key, &good.issuer).expect("a certificate").pem();
        let between = Authority { pem: signed, issuer: Issuer::new(params, key) };
        let (own, key) = between.issue_as(&["a"], ending(first));
        let chain = (own + &between.pem, key);
        let tls = Tls::new(pem(&chain, &good.pem), None).expect("all in order");
        assert_eq!(tls.ends(), Some(NEW_YEAR + ends * DAY));
    }
    // One that has ended, one that no authority signed.
    assert_eq!(good.tls_as(&["a"], |params| params.not_after = date_time_ymd(2001, 1, 1)).ends(), Some(978_307_200));
    let issued = Authority::new().issue_as(&["a"], ending(3));
    let tls = Tls::new(pem(&issued, &good.pem), None).expect("it reads well");
    assert_eq!(tls.ends(), Some(NEW_YEAR + 2 * DAY));
}

#[test]
fn a_running_cluster_changes_over_step_by_step() {
    run(async {
        let good = Authority::new();
        let known = |address: &Address, changeover| Trust {
            changeover,
            secrets: Some(secrets::known()),
            ..good.trust(address)
        };
        let steps = [None, Some(Changeover::Accept), Some(Changeover::Use), Some(Changeover::Done)];
        for (one, other) in steps.iter().zip(&steps[1..]) {
            let [a, b] = [fresh_address(), fresh_address()];
            let trust = |address: &Address, step: &Option<Changeover>| {
                step.map_or_else(Trust::default, |step| known(address, step))
            };
            let left = start_trusting(&a, trust(&a, one)).await;
            let right = start_trusting(&b, trust(&b, other)).await;
            assert_linked(&left, &b, &right, 1).await;
            assert_linked(&right, &a, &left, 2).await;
        }
        let [a, b] = [fresh_address(), fresh_address()];
        let (plain, done) = (start_at(&a).await, start_trusting(&b, known(&b, Changeover::Done)).await);
        assert_kept_out(&plain, &b, &done, LinkCause::NotHence).await;
    });
}
