//! A client of hence.
//!
//! A [`Client`] knows the endpoints of a cluster. A [`Session`] is one line of causally related requests. It joins every
//! token that an answer brings. It sends all of them with the next request, to any replica. So what a session saw it
//! never misses again.
//!
//! ```
//! # use hence_client::{Client, Error};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
//! # let address = hence_core::Address::parse(&format!("127.0.0.1:{port}"))?;
//! # let replica = hence_server::Server::start(hence_server::Settings::at(address))?;
//! # let endpoints = [replica.local_address().to_string()];
//! let session = Client::new(endpoints)?.session();
//! session.put("greeting", "hello").await?;
//! let entry = session.get("greeting").await?.expect("this session wrote it");
//! assert_eq!(entry.read::<String>()?, "hello");
//!
//! // What was read is replaced, or nothing is.
//! session.put("greeting", "goodbye").if_match(&entry.tag).await?;
//! let stale = session.put("greeting", "too late").if_match(&entry.tag).await;
//! assert!(matches!(stale, Err(Error::PreconditionFailed { .. })));
//! # Ok(()) }
//! ```
//!
//! # Retries
//!
//! | what happened | a read | a write |
//! |---|---|---|
//! | no connection was made | next endpoint | next endpoint |
//! | 503 of a replica: it did nothing | next endpoint | next endpoint |
//! | the answer is lost, late or of another program | next endpoint | [`Error::OutcomeUnknown`] |
//! | anything else, 202 included | it is the answer | it is the answer |
//!
//! Every attempt sends the same token. A write that is sent twice can replace what other clients wrote in between, so
//! a client has to ask for that: [`ClientBuilder::retry_unknown_outcomes`]. A future of a write that is dropped before
//! it is ready leaves an unknown outcome, too.

mod answer;
mod call;
mod client;
mod endpoint;
mod error;
mod events;
mod past;
mod retry;
mod session;
mod status;
mod tls;
mod wire;

pub use answer::{Deleted, Entry, Spread, Tag, Written};
pub use client::{Client, ClientBuilder};
pub use error::{Attempt, Error, Lost};
pub use serde_json::value::RawValue;
pub use session::{
    BATCH_MAX, BATCH_VALUE_BYTES_MAX, Batch, BatchDone, Change, Concern, Cut, Delete, Event, Get, Item, List, NextPage,
    NoConcern, Operation, Outcome, OutcomeKind, Page, Put, Session, Watch, Watching,
};
pub use status::{Readiness, Status};
