//! A replica inside a program of one's own: it starts, takes a write over HTTP, and ends.

use hence_core::Address;
use hence_server::{Server, Settings};
use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let address = Address::parse(&format!("127.0.0.1:{port}"))?;
    let server = Server::start(Settings::at(address))?;
    let (mut status, mut body) = put(&server, "/kvs/greeting", r#"{"value":"hello"}"#)?;
    // It listens at once, and takes writes when it knows that it is alone.
    while status.contains("503") {
        thread::sleep(Duration::from_millis(50));
        (status, body) = put(&server, "/kvs/greeting", r#"{"value":"hello"}"#)?;
    }
    println!("{status}\n{body}");
    assert!(status.contains("201"), "a replica that is alone takes writes: {status}");
    server.shutdown();
    Ok(())
}

/// A client in five lines; yours is a library.
fn put(server: &Server, path: &str, body: &str) -> Result<(String, String), Box<dyn Error>> {
    let mut stream = TcpStream::connect(server.local_address())?;
    let length = body.len();
    write!(
        stream,
        "PUT {path} HTTP/1.1\r\nHost: replica\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
}

/// `cargo test` runs the example, too.
#[test]
fn it_runs() {
    main().expect("it runs");
}
