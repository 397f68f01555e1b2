//! What TLS, a secret and traces cost one replica: `trust PATH-TO-HENCE [ROUNDS]`, all in one run, in turns.
//!
//! Each variant is a replica that runs alone. It is asked over 32 connections that are kept open. Every request carries the token
//! of the answer before it. Told are requests a second, and the CPU time that the replica takes for each. On a machine
//! that does other work as well, the second is the one to compare. Handshakes are compared with hyper and rustls alone.
//! At the end three linked replicas are idle, with TLS and a secret and without.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::convert::Infallible;
use std::error::Error;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener as StdListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};

const CONNECTIONS: usize = 32;
const LENGTH: Duration = Duration::from_secs(2);
const KEYS: u64 = 1_000;
const IDLE: Duration = Duration::from_secs(10);

/// What is measured under load: the variant, and of how many requests one is traced.
const VARIANTS: [(&str, u64); 5] = [("plain", 0), ("tls", 0), ("secret", 0), ("traced", 20), ("traced", 1)];

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Files of one authority and one certificate, gone with this.
struct Files(PathBuf);

impl Files {
    fn new() -> Outcome<Self> {
        let files = Self(std::env::temp_dir().join(format!("hence-bench-trust-{}", std::process::id())));
        fs::create_dir(&files.0)?;
        let (key, mut params) = (KeyPair::generate()?, CertificateParams::default());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::write(files.path("ca"), params.self_signed(&key)?.pem())?;
        let (issuer, own) = (Issuer::new(params, key), KeyPair::generate()?);
        let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&own, &issuer)?;
        fs::write(files.path("certificate"), certificate.pem())?;
        fs::write(files.path("key"), own.serialize_pem())?;
        Ok(files)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server under measurement. Dropping it ends it.
struct Server {
    child: Child,
    address: String,
    tls: bool,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn cpu(&self) -> Outcome<Duration> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            total += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(Duration::from_nanos(total))
    }

    fn resident(&self) -> Outcome<f64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in /proc")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1_024.0)
    }
}

fn free_address() -> Outcome<String> {
    Ok(StdListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// A collector that takes everything; says where.
fn collector() -> Outcome<String> {
    let listener = StdListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut bytes = [0; 64 << 10];
            let (mut said, mut read, mut length) = (Vec::new(), 0, usize::MAX);
            while read < length {
                let Ok(count @ 1..) = stream.read(&mut bytes) else { break };
                read += count;
                if length == usize::MAX {
                    said.extend_from_slice(&bytes[..count]);
                    length = whole_length(&said).unwrap_or(usize::MAX);
                }
            }
            _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    Ok(format!("http://{address}"))
}

/// The length of a request, once its head is there.
fn whole_length(said: &[u8]) -> Option<usize> {
    let head = said.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&said[..head]).ok()?;
    Some(head + text.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse::<usize>().ok()?)
}

/// The variants of a replica, and the bare server.
fn start(program: &Path, variant: &str, files: &Files) -> Outcome<Server> {
    let address = free_address()?;
    start_at(program, variant, files, address.clone(), &address)
}

fn start_at(program: &Path, variant: &str, files: &Files, address: String, view: &str) -> Outcome<Server> {
    let mut command = if variant == "bare" { Command::new(std::env::current_exe()?) } else { Command::new(program) };
    match variant {
        "bare" => _ = command.args(["--bare", &address]).args([files.path("certificate"), files.path("key")]),
        _ => _ = command.arg("serve").env("SOCKET_ADDRESS", &address).env("VIEW", view).env("HENCE_LOG", "error"),
    }
    let tls = matches!(variant, "bare" | "tls" | "both");
    if variant == "traced" {
        command.env("HENCE_OTLP_ENDPOINT", collector()?);
    }
    if tls {
        command.env("HENCE_TLS_CERT", files.path("certificate")).env("HENCE_TLS_KEY", files.path("key"));
        command.env("HENCE_PEER_CA", files.path("ca"));
    }
    if matches!(variant, "secret" | "both") {
        command.env("HENCE_SECRET", "a-secret-for-this-measurement");
    }
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let server = Server { child, address, tls };
    let begun = Instant::now();
    while std::net::TcpStream::connect(&server.address).is_err() {
        if begun.elapsed() > Duration::from_secs(10) {
            return Err(format!("{variant} does not listen").into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(300));
    Ok(server)
}

fn client(authority: &Path) -> Outcome<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority)?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let mut config = config.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

async fn connect(address: &str, tls: Option<&Arc<ClientConfig>>) -> Outcome<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    match tls {
        None => {
            let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            tokio::task::spawn(async move { _ = connection.await });
            Ok(sender)
        }
        Some(config) => {
            let stream = TlsConnector::from(config.clone()).connect(ServerName::try_from("127.0.0.1")?, stream).await?;
            let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            tokio::task::spawn(async move { _ = connection.await });
            Ok(sender)
        }
    }
}

/// Asks on one connection until the time is over; says how often. One of so many requests is traced.
async fn ask(
    mut sender: SendRequest<Full<Bytes>>,
    method: &'static str,
    name: u64,
    traced: u64,
) -> Result<u64, String> {
    let (begun, mut token, mut count) = (Instant::now(), String::new(), 0);
    while begun.elapsed() < LENGTH {
        let key = (name * 131 + count) % KEYS;
        let body = if method == "PUT" { format!("{{\"value\":\"{key:0100}\"}}") } else { String::new() };
        let mut request = Request::builder().method(method).uri(format!("/kvs/k{key}")).header("host", "h");
        if !token.is_empty() {
            request = request.header("causal-metadata", &token);
        }
        if traced > 0 && count % traced == 0 {
            request = request.header("traceparent", format!("00-{:032x}-{:016x}-01", name + 1, count + 1));
        }
        let request = request.body(Full::from(body)).map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        if answer.status().is_server_error() || answer.status() == 400 {
            return Err(format!("{method} is answered {}", answer.status()));
        }
        if let Some(given) = answer.headers().get("causal-metadata").and_then(|given| given.to_str().ok()) {
            given.clone_into(&mut token);
        }
        answer.into_body().collect().await.map_err(|error| error.to_string())?;
        count += 1;
    }
    Ok(count)
}

/// Requests a second, and microseconds of CPU for each.
async fn load(server: &Server, config: &Arc<ClientConfig>, method: &'static str, traced: u64) -> Outcome<(f64, f64)> {
    let mut senders = Vec::new();
    for _ in 0..CONNECTIONS {
        senders.push(connect(&server.address, server.tls.then_some(config)).await?);
    }
    let (before, begun, mut tasks) = (server.cpu()?, Instant::now(), JoinSet::new());
    for (name, sender) in (0..).zip(senders) {
        tasks.spawn(ask(sender, method, name, traced));
    }
    let mut count = 0;
    while let Some(ended) = tasks.join_next().await {
        count += ended??;
    }
    let (took, used) = (begun.elapsed().as_secs_f64(), server.cpu()?.saturating_sub(before));
    Ok((count as f64 / took, used.as_secs_f64() * 1e6 / count as f64))
}

/// Handshakes a second, four at a time, and microseconds of CPU for each.
async fn handshakes(server: &Server, config: &Arc<ClientConfig>) -> Outcome<(f64, f64)> {
    let (before, begun, mut tasks) = (server.cpu()?, Instant::now(), JoinSet::new());
    for _ in 0..4 {
        let (address, config) = (server.address.clone(), config.clone());
        tasks.spawn(async move {
            let (begun, mut count) = (Instant::now(), 0_u64);
            while begun.elapsed() < LENGTH && connect(&address, Some(&config)).await.is_ok() {
                count += 1;
            }
            count
        });
    }
    let mut count = 0;
    while let Some(ended) = tasks.join_next().await {
        count += ended?;
    }
    let (took, used) = (begun.elapsed().as_secs_f64(), server.cpu()?.saturating_sub(before));
    Ok((count as f64 / took, used.as_secs_f64() * 1e6 / count as f64))
}

/// hyper and rustls alone: every request gets an empty answer.
async fn bare(address: &str, certificate: &Path, key: &Path) -> Outcome<()> {
    let chain = vec![CertificateDer::from_pem_file(certificate)?];
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions()?.with_no_client_auth();
    let mut config = config.with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind(address).await?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(|_: Request<Incoming>| async {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
            });
            _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Three linked replicas without clients: CPU of all of them, and the memory of the largest.
fn idle(program: &Path, variant: &str, files: &Files) -> Outcome<()> {
    let addresses = [free_address()?, free_address()?, free_address()?];
    let view = addresses.join(",");
    let servers: Vec<Server> = addresses
        .iter()
        .map(|address| start_at(program, variant, files, address.clone(), &view))
        .collect::<Outcome<_>>()?;
    std::thread::sleep(Duration::from_secs(5));
    let cpu = || servers.iter().try_fold(Duration::ZERO, |sum, server| Ok::<_, Box<dyn Error>>(sum + server.cpu()?));
    let before = cpu()?;
    std::thread::sleep(IDLE);
    let percent = (cpu()? - before).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    let resident = servers.iter().map(Server::resident).collect::<Outcome<Vec<f64>>>()?;
    let most = resident.into_iter().fold(0.0, f64::max);
    hence_bench::say!("| | {variant} | three idle replicas: CPU of all, % of a core | {percent:.2} | |");
    hence_bench::say!("| | {variant} | three idle replicas: memory of the largest, MiB | {most:.1} | |");
    Ok(())
}

async fn measure(program: &Path, rounds: usize) -> Outcome<()> {
    let files = Files::new()?;
    let config = client(&files.path("ca"))?;
    hence_bench::say!("| round | variant | what | per second | CPU of the server, us each |\n|---|---|---|---|---|");
    for round in 1..=rounds {
        for (variant, traced) in VARIANTS {
            let server = start(program, variant, &files)?;
            let name = if traced > 0 { format!("1 of {traced} traced") } else { variant.to_owned() };
            for method in ["PUT", "GET"] {
                let (rate, cpu) = load(&server, &config, method, traced).await?;
                hence_bench::say!("| {round} | {name} | {method} | {rate:.0} | {cpu:.2} |");
            }
        }
        for variant in ["bare", "tls"] {
            let server = start(program, variant, &files)?;
            let (rate, cpu) = handshakes(&server, &config).await?;
            hence_bench::say!("| {round} | {variant} | handshakes | {rate:.0} | {cpu:.1} |");
        }
    }
    for variant in ["plain", "both"] {
        idle(program, variant, &files)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(Into::into).and_then(|runtime| match &*words {
        [bare, address, certificate, key] if bare == "--bare" => {
            runtime.block_on(self::bare(address, Path::new(certificate), Path::new(key)))
        }
        [program] => runtime.block_on(measure(&PathBuf::from(program), 3)),
        [program, rounds] => match rounds.parse() {
            Ok(rounds) => runtime.block_on(measure(&PathBuf::from(program), rounds)),
            Err(_) => Err("ROUNDS is a number".into()),
        },
        _ => Err("usage: trust PATH-TO-HENCE [ROUNDS]".into()),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            hence_bench::tell!("trust: {error}");
            ExitCode::FAILURE
        }
    }
}
