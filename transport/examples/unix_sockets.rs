//! A transport of one's own: replicas on one machine that talk over Unix sockets. It is tried against the laws of transports.

use async_trait::async_trait;
use hence_core::{Address, ClusterTag, Formats, Message, Micros};
use hence_transport::codec::{FrameReader, FrameWriter, OpMemo};
use hence_transport::laws::{self, Character, Laboratory};
use hence_transport::{Incoming, Transport};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// What may wait for one peer, and what may wait to be received.
const BYTES_MAX: usize = 1 << 20;

struct UnixTransport {
    own: Address,
    /// Each address is the name of a socket in here.
    directory: PathBuf,
    peers: RefCell<HashMap<Address, Peer>>,
    memo: RefCell<OpMemo>,
    arrivals: Rc<Arrivals>,
    /// The listener. Dropping a `JoinSet` ends its tasks, and their sockets close.
    _tasks: JoinSet<()>,
}

/// A connection to a peer and what waits for it.
struct Peer {
    queue: Rc<(RefCell<FrameWriter>, Notify)>,
    task: JoinSet<()>,
}

/// What peers sent and the replica has not received yet.
#[derive(Default)]
struct Arrivals {
    queue: RefCell<(Vec<Incoming>, usize)>,
    filled: Notify,
    taken: Notify,
}

/// All processes are of one build, so each link speaks its newest format.
const FORMATS: Formats = Formats::RELEASED;

fn cluster() -> ClusterTag {
    ClusterTag::of("hence")
}

impl UnixTransport {
    fn bind(directory: &Path, own: Address) -> std::io::Result<Self> {
        let socket = directory.join(own.as_str());
        let _ = std::fs::remove_file(&socket); // a former life left it behind
        let listener = UnixListener::bind(socket)?;
        let arrivals = Rc::new(Arrivals::default());
        let mut tasks = JoinSet::new();
        tasks.spawn_local(listen(listener, Rc::clone(&arrivals)));
        let directory = directory.to_owned();
        let (peers, memo) = (RefCell::default(), RefCell::default());
        Ok(Self { own, directory, peers, memo, arrivals, _tasks: tasks })
    }

    fn connect(&self, to: &Address) -> Peer {
        let queue = Rc::new((
            RefCell::new(FrameWriter::new(cluster(), self.own.clone()).speaking(FORMATS.highest)),
            Notify::new(),
        ));
        let (socket, arrivals) = (self.directory.join(to.as_str()), Rc::clone(&self.arrivals));
        let mut task = JoinSet::new();
        task.spawn_local(write(socket, to.clone(), Rc::clone(&queue), arrivals));
        Peer { queue, task }
    }
}

#[async_trait(?Send)]
impl Transport for UnixTransport {
    fn send(&self, to: &Address, message: Message) {
        let mut peers = self.peers.borrow_mut();
        let over = |peer: &mut Peer| peer.task.try_join_next().is_some();
        if message.is_opening() || peers.get_mut(to).is_some_and(over) {
            peers.remove(to); // its queue goes with it, and its connection
        }
        let peer = peers.entry(to.clone()).or_insert_with(|| self.connect(to));
        let (queue, filled) = &*peer.queue;
        if queue.borrow().bytes() < BYTES_MAX {
            // A message that fits no frame is lost like one that finds the queue full.
            let _ = queue.borrow_mut().push(&message, &mut self.memo.borrow_mut());
        }
        filled.notify_one();
    }

    async fn receive(&self, into: &mut Vec<Incoming>) {
        // The only wait comes before anything is taken, so giving it up loses nothing.
        while self.arrivals.queue.borrow().0.is_empty() {
            self.arrivals.filled.notified().await;
        }
        let (mut arrived, _) = self.arrivals.queue.take();
        into.append(&mut arrived);
        self.arrivals.taken.notify_waiters();
    }
}

impl Arrivals {
    fn put(&self, incoming: Incoming, bytes: usize) {
        let mut queue = self.queue.borrow_mut();
        queue.0.push(incoming);
        queue.1 += bytes;
        self.filled.notify_one();
    }

    /// While the replica receives nothing, nothing more is read: the peer's own queue fills, and it loses.
    async fn room(&self) {
        loop {
            let taken = self.taken.notified();
            if self.queue.borrow().1 < BYTES_MAX {
                return;
            }
            taken.await;
        }
    }
}

async fn write(socket: PathBuf, to: Address, queue: Rc<(RefCell<FrameWriter>, Notify)>, arrivals: Rc<Arrivals>) {
    let Ok(mut stream) = UnixStream::connect(socket).await else { return };
    arrivals.put(Incoming::Connected { to }, 0);
    let (queue, filled) = &*queue;
    let mut bytes = Vec::new();
    loop {
        queue.borrow_mut().take(&mut bytes); // everything that waits goes out together
        if bytes.is_empty() {
            filled.notified().await;
        } else if stream.write_all(&bytes).await.is_err() {
            return; // the next message connects anew
        }
        bytes.clear();
    }
}

async fn listen(listener: UnixListener, arrivals: Rc<Arrivals>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn_local(read(stream, Rc::clone(&arrivals)));
        while connections.try_join_next().is_some() {}
    }
}

async fn read(mut stream: UnixStream, arrivals: Rc<Arrivals>) {
    let mut reader = FrameReader::new(cluster()).speaking(Formats::only(FORMATS.highest)).stated(FORMATS);
    while let Ok(count) = stream.read_buf(reader.buffer()).await {
        if count == 0 {
            return;
        }
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => {
                    for message in frame.messages {
                        arrivals.put(Incoming::Message { from: frame.from.clone(), message }, 0);
                    }
                    arrivals.queue.borrow_mut().1 += frame.bytes;
                    arrivals.room().await;
                }
                Ok(None) => break,
                Err(_) => return, // not ours, or damaged: nothing of it surfaces
            }
        }
    }
}

// Now the laws. A laboratory starts and stops transports of this kind; `throw` lets a stranger in.

struct UnixLaboratory {
    directory: PathBuf,
    addresses: u16,
}

#[async_trait(?Send)]
impl Laboratory for UnixLaboratory {
    type Transport = UnixTransport;

    fn address(&mut self) -> Address {
        self.addresses += 1;
        Address::parse(&format!("replica:{}", self.addresses)).expect("an address")
    }

    async fn start(&mut self, address: &Address) -> UnixTransport {
        UnixTransport::bind(&self.directory, address.clone()).expect("a socket of its own")
    }

    async fn stop(&mut self, transport: UnixTransport) {
        drop(transport);
        tokio::task::yield_now().await; // its tasks end when they are next run
    }

    async fn sleep(&self, length: Micros) {
        tokio::time::sleep(Duration::from_micros(length.0)).await;
    }

    async fn throw(&mut self, at: &Address, bytes: &[u8]) -> bool {
        let mut stream = UnixStream::connect(self.directory.join(at.as_str())).await.expect("it listens");
        let _ = stream.write_all(bytes).await;
        true
    }

    fn character(&self) -> Character {
        // Two queues of 1 MiB, a batch being written, a frame being read, and the kernel's buffers.
        Character { underway_bytes_max: 16 << 20, ..Character::default() }
    }
}

fn main() -> ExitCode {
    let directory = std::env::temp_dir().join(format!("hence-transport-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a folder for the sockets");
    let mut laboratory = UnixLaboratory { directory: directory.clone(), addresses: 0 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let verdict = tokio::task::LocalSet::new().block_on(&runtime, laws::check_all(&mut laboratory));
    std::fs::remove_dir_all(&directory).expect("the folder is there");
    match verdict {
        Ok(()) => {
            println!("the transport keeps the laws");
            ExitCode::SUCCESS
        }
        Err(broken) => {
            println!("the transport breaks a law: {broken:?}");
            ExitCode::FAILURE
        }
    }
}

/// `cargo test` runs the example, too.
#[test]
fn it_runs() {
    assert_eq!(main(), ExitCode::SUCCESS);
}
