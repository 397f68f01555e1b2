//! Certificates that begin or end while transports run, clocks that differ, and versions of TLS.

use super::tls::{Authority, assert_kept_out, assert_linked, host, start_trusting, with};
use super::*;
use rcgen::{CertificateParams, date_time_ymd};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use std::time::SystemTime;
use tokio_rustls::TlsConnector;

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later").as_secs()
}

/// A certificate is good from this second on.
fn from(second: u64) -> impl Fn(&mut CertificateParams) {
    move |params| params.not_before = date_time_ymd(1970, 1, 1) + Duration::from_secs(second)
}

/// A certificate is good until this second.
fn until(second: u64) -> impl Fn(&mut CertificateParams) {
    move |params| params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(second)
}

/// The clock of who made the certificate was ahead, or that of a replica is behind: time mends it, and nobody restarts.
#[test]
fn a_certificate_whose_time_comes_is_taken() {
    run(async {
        let (good, [a, b]) = (Authority::new(), [fresh_address(), fresh_address()]);
        let left = start_trusting(&a, good.trust(&a)).await;
        let right = start_trusting(&b, with(good.tls_as(&[host(&b)], from(now() + 3)))).await;
        assert_kept_out(&left, &b, &right, LinkCause::Tls).await;
        let (begun, mut found) = (std::time::Instant::now(), Vec::new());
        while found.is_empty() && begun.elapsed() < Duration::from_secs(10) {
            left.send(&b, taken(2));
            found = strays(&right, 1).await;
        }
        assert!(!found.is_empty(), "{:?}", left.outages());
        assert_linked(&right, &a, &left, 3).await;
        assert_eq!(left.outages(), []);
    });
}

#[test]
fn a_link_outlives_its_certificate_and_no_other_opens() {
    run(async {
        let (good, [a, b, c]) = (Authority::new(), [fresh_address(), fresh_address(), fresh_address()]);
        let ends = now() + 2;
        let tls = good.tls_as(&[host(&b)], until(ends));
        assert_eq!((tls.ends(), tls.flaw(&b)), (Some(ends), None));
        let left = start_trusting(&a, good.trust(&a)).await;
        let right = start_trusting(&b, with(tls.clone())).await;
        assert_linked(&left, &b, &right, 1).await;
        while now() <= ends {
            sleep(Duration::from_millis(100)).await;
        }
        assert!(tls.flaw(&b).is_some_and(|why| why.contains("expired")), "{:?}", tls.flaw(&b));
        left.send(&b, taken(2));
        assert_eq!(messages(&right, 1).await, [taken(2)]);
        assert_eq!(left.counters().dials, 1, "the link stands");
        let third = start_trusting(&c, good.trust(&c)).await;
        assert_kept_out(&third, &b, &right, LinkCause::Tls).await;
        // A new one mends it.
        good.renew(&tls, &[host(&b)]);
        let d = fresh_address();
        let fourth = start_trusting(&d, good.trust(&d)).await;
        assert_linked(&fourth, &b, &right, 3).await;
    });
}

/// The version that a client gets which speaks these.
async fn negotiated(
    at: &Address,
    authority: &Authority,
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<Option<ProtocolVersion>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("it is ours")).expect("it is ours");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).expect("versions");
    let connector = TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()));
    let stream = TcpStream::connect(at.as_str()).await.expect("it listens");
    let name = ServerName::try_from(host(at).to_owned()).expect("an address");
    Ok(connector.connect(name, stream).await?.get_ref().1.protocol_version())
}

#[test]
fn tls_1_3_is_spoken_and_1_2_where_a_client_has_no_other() {
    run(async {
        let (good, a) = (Authority::new(), fresh_address());
        let _left = start_trusting(&a, good.trust(&a)).await;
        let versions: [(&[_], _); 3] = [
            (&[&TLS12, &TLS13], ProtocolVersion::TLSv1_3),
            (&[&TLS13], ProtocolVersion::TLSv1_3),
            (&[&TLS12], ProtocolVersion::TLSv1_2),
        ];
        for (spoken, version) in versions {
            assert_eq!(negotiated(&a, &good, spoken).await.expect("it is taken"), Some(version));
        }
    });
}

#[test]
fn earlier_versions_of_tls_are_refused() {
    run(async {
        let (good, a) = (Authority::new(), fresh_address());
        let _left = start_trusting(&a, good.trust(&a)).await;
        for version in 0..=2 {
            // A hello of that version: no session, one suite, no compression, no extensions.
            let mut hello = vec![3, version];
            hello.extend([7; 32]);
            hello.extend([0, 0, 2, 0xc0, 0x2f, 1, 0]);
            let length = u8::try_from(hello.len()).expect("it is short");
            let said = [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &hello].concat();
            let mut stream = TcpStream::connect(a.as_str()).await.expect("it listens");
            stream.write_all(&said).await.expect("written");
            let mut answer = Vec::new();
            let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await.expect("it ends");
            // A fatal alert, and nothing else.
            assert!(matches!(answer[..], [21, 3, _, 0, 2, 2, _]), "version 3.{version}: {answer:?}");
        }
    });
}

#[test]
fn what_a_client_waits_for_is_not_gathered() {
    run(async {
        let [a, b] = [fresh_address(), fresh_address()];
        let (left, right) = (start_at(&a).await, start_at(&b).await);
        let mut fastest = Duration::MAX;
        for _ in 0..100 {
            let crowd: Vec<Message> = (0..8).map(taken).collect();
            crowd.iter().for_each(|message| left.send(&b, message.clone()));
            assert_eq!(messages(&right, 8).await, crowd);
            let start = std::time::Instant::now();
            let probe = Message { body: Body::Probe { address: b.clone() }, ..taken(8) };
            left.send(&b, probe.clone());
            assert_eq!(messages(&right, 1).await, [probe]);
            fastest = fastest.min(start.elapsed());
        }
        // What is gathered waits for a whole millisecond at least.
        assert!(fastest < Duration::from_micros(900), "{fastest:?}");
    });
}
