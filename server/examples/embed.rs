//! A replica inside a program of one's own, and a client of it: it starts, takes a write, and ends.

use hence_client::Client;
use hence_core::Address;
use hence_server::{Server, Settings};
use std::error::Error;
use std::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let replica = Server::start(Settings::at(Address::parse(&format!("127.0.0.1:{port}"))?))?;
    // A replica listens at once, and takes writes when it knows that it is alone. The client waits for that.
    let session = Client::new([replica.local_address().to_string()])?.session();
    session.put("greeting", "hello").await?;
    let entry = session.get("greeting").await?.ok_or("it was written")?;
    println!("{} {}", entry.value, entry.tag);
    assert_eq!(entry.read::<String>()?, "hello");
    replica.shutdown();
    Ok(())
}

/// `cargo test` runs the example, too.
#[test]
fn it_runs() {
    main().expect("it runs");
}
