//! Looks host names up, on a few threads of its own.
//!
//! The system's `getaddrinfo` blocks, for ten seconds and more where a name server is silent, and cannot be called off.
//! On the runtime's own threads such look-ups would pile up, one more for each attempt to reach a peer. Here each name
//! is looked up once at a time, and a caller that asks for it meanwhile waits for the same answer. The number of
//! threads is bounded. What a name last stood for is kept, for when its name server fails.

use core::cell::RefCell;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::ToSocketAddrs;
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use tokio::sync::{Notify, oneshot};
use tokio::task::spawn_local;
use tokio::time::timeout;

/// Threads that look up at a time: as many silent names hold up no other.
const THREADS_MAX: usize = 16;
/// A thread without work ends after so long.
const THREAD_IDLE: Duration = Duration::from_secs(10);
/// The C library's look-up is content with this.
const STACK_BYTES: usize = 256 << 10;
/// Addresses of one name that are tried; a name has few.
const ADDRESSES_MAX: usize = 16;
/// Names that are remembered; there are as many as peers.
const NAMES_MAX: usize = 1_024;

type Found = io::Result<Vec<SocketAddr>>;

/// See the module. Lives on one thread.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    names: RefCell<BTreeMap<String, Rc<Name>>>,
    pool: Arc<Pool>,
}

/// One name that was asked for.
#[derive(Debug, Default)]
struct Name {
    state: RefCell<NameState>,
    answered: Notify,
}

#[derive(Debug, Default)]
struct NameState {
    asking: bool,
    /// How the last look-up ended.
    last: Option<Result<(), (io::ErrorKind, String)>>,
    /// What the last one that succeeded found.
    known: Vec<SocketAddr>,
}

impl Resolver {
    /// The socket addresses of `HOST:PORT`. Waits for the name server as long as it takes, but no longer than
    /// `limit` where an earlier answer is known. Where the name server fails, the earlier answer is given.
    ///
    /// # Errors
    /// What the system says of a name that has no address, where none was ever known.
    pub(super) async fn look_up(&self, host_and_port: &str, limit: Duration) -> Found {
        if let Ok(exact) = host_and_port.parse() {
            return Ok(vec![exact]);
        }
        let name = self.name(host_and_port);
        let answered = name.answered.notified();
        tokio::pin!(answered);
        answered.as_mut().enable();
        self.ask(&name, host_and_port);
        if name.state.borrow().known.is_empty() {
            answered.await;
        } else {
            // An answer or not: what is known now is the best there is.
            let _ = timeout(limit, answered).await;
        }
        let state = name.state.borrow();
        match &state.last {
            Some(Err((kind, text))) if state.known.is_empty() => Err(io::Error::new(*kind, text.clone())),
            Some(_) | None => Ok(state.known.clone()),
        }
    }

    fn name(&self, text: &str) -> Rc<Name> {
        let mut names = self.names.borrow_mut();
        if names.len() >= NAMES_MAX && !names.contains_key(text) {
            names.retain(|_, name| name.state.borrow().asking);
        }
        Rc::clone(names.entry(text.to_owned()).or_default())
    }

    fn ask(&self, name: &Rc<Name>, text: &str) {
        if core::mem::replace(&mut name.state.borrow_mut().asking, true) {
            return;
        }
        let (answer, found) = oneshot::channel();
        let asked = Pool::ask(&self.pool, Job { name: text.to_owned(), answer });
        let name = Rc::clone(name);
        spawn_local(async move {
            let found = match asked {
                // Without a thread nothing is ever answered.
                Err(error) => Err(error),
                Ok(()) => found.await.unwrap_or_else(|_| Err(io::Error::other("the look-up was given up"))),
            };
            let mut state = name.state.borrow_mut();
            state.asking = false;
            state.last = Some(match found {
                Ok(addresses) => {
                    state.known = addresses;
                    Ok(())
                }
                Err(error) => Err((error.kind(), error.to_string())),
            });
            name.answered.notify_waiters();
        });
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.pool.lock().jobs.clear();
    }
}

/// A name to look up and where the answer goes.
#[derive(Debug)]
struct Job {
    name: String,
    answer: oneshot::Sender<Found>,
}

#[derive(Debug, Default)]
struct Pool {
    state: Mutex<PoolState>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct PoolState {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().expect("no holder panics")
    }

    fn ask(pool: &Arc<Self>, job: Job) -> io::Result<()> {
        let mut state = pool.lock();
        state.jobs.push_back(job);
        if state.jobs.len() <= state.idle || state.threads >= THREADS_MAX {
            pool.filled.notify_one();
            return Ok(());
        }
        let own = Arc::clone(pool);
        let spawned = thread::Builder::new().name("look-up".into()).stack_size(STACK_BYTES).spawn(move || own.work());
        match spawned {
            Ok(_) => state.threads += 1,
            // Another thread does it when it is done with what it does.
            Err(_) if state.threads > 0 => {}
            Err(error) => {
                state.jobs.pop_back();
                return Err(error);
            }
        }
        Ok(())
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                // The caller may be gone.
                let _ = job.answer.send(find(&job.name));
                state = self.lock();
                continue;
            }
            state.idle += 1;
            let waited = self.filled.wait_timeout_while(state, THREAD_IDLE, |state| state.jobs.is_empty());
            let (woken, ended) = waited.expect("no holder panics");
            state = woken;
            state.idle -= 1;
            if ended.timed_out() && state.jobs.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

fn find(name: &str) -> Found {
    let mut found: Vec<SocketAddr> = Vec::new();
    for address in name.to_socket_addrs()? {
        if found.len() < ADDRESSES_MAX && !found.contains(&address) {
            found.push(address);
        }
    }
    if found.is_empty() { Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::LocalSet;

    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        LocalSet::new().block_on(&runtime, test)
    }

    #[test]
    fn names_and_addresses() {
        run(async {
            let resolver = Resolver::default();
            let second = Duration::from_secs(1);
            let exact = resolver.look_up("[::1]:7", second).await.expect("no look-up is needed");
            assert_eq!((exact, resolver.pool.lock().threads), (vec!["[::1]:7".parse().expect("an address")], 0));
            let found = resolver.look_up("localhost:7", second).await.expect("every machine has it");
            assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 7), "{found:?}");
            let error = resolver.look_up("no-such-name.invalid:7", second).await.expect_err("reserved for that");
            assert!(!error.to_string().is_empty());
            assert!(resolver.pool.lock().threads <= 2, "one after the other needs no more");
        });
    }

    #[test]
    fn threads_are_bounded_and_a_name_is_asked_for_once_at_a_time() {
        run(async {
            let resolver = Rc::new(Resolver::default());
            let ask = |number: usize| {
                let resolver = Rc::clone(&resolver);
                let name = format!("n{}.invalid:7", number % 40);
                spawn_local(async move { resolver.look_up(&name, Duration::from_secs(60)).await.is_err() })
            };
            let asked: Vec<_> = (0..300).map(ask).collect();
            let mut most = 0;
            for asked in asked {
                assert!(asked.await.expect("no panic"));
                most = most.max(resolver.pool.lock().threads);
            }
            assert!(most <= THREADS_MAX, "{most} threads");
            assert!(resolver.names.borrow().values().all(|name| !name.state.borrow().asking));
        });
    }

    #[test]
    fn what_was_known_is_used_while_the_name_server_fails() {
        run(async {
            let resolver = Resolver::default();
            let known: SocketAddr = "10.0.0.9:7".parse().expect("an address");
            resolver.name("gone.invalid:7").state.borrow_mut().known = vec![known];
            for _ in 0..2 {
                let found = resolver.look_up("gone.invalid:7", Duration::from_secs(5)).await;
                assert_eq!(found.expect("what was known"), [known]);
            }
        });
    }
}
