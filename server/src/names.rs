//! Members that a name server names: `VIEW=dns:NAME:PORT`.
//!
//! The SRV records of the name give host names that stay while their addresses change, such as those of a StatefulSet.
//! They are asked for again and again. A name that came once is a member, as one of VIEW is. Records that go take no
//! member out: only an operator does. So the answers of a name server that fails change nothing.

use domain::base::{Name, Rtype, iana::Rcode};
use domain::rdata::Srv;
use domain::resolv::StubResolver;
use hence_core::{Address, View};
use std::collections::BTreeSet;
use std::io;
use std::str::FromStr as _;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// Names are asked for so often.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// And so often before the first one came.
const ASK_FIRST_EVERY: Duration = Duration::from_millis(500);
/// The own name may come so many answers later than the first.
const OWN_NAME_WITHIN: u32 = 6;

/// The members that these services name before a replica starts. Waits until one names any, but no longer than `limit`:
/// a replica that knows of no other member would be ready at once. `pauses` waits for so long; false ends it all, and
/// nothing is returned.
pub(crate) fn at_start(
    services: &[Address],
    limit: Duration,
    pauses: impl Fn(Duration) -> bool,
) -> Option<Vec<Address>> {
    let begun = Instant::now();
    let mut complaints: Vec<String> = Vec::new();
    while !services.is_empty() {
        let answers: Vec<_> = services.iter().map(find).collect();
        let named: BTreeSet<Address> =
            answers.iter().filter_map(|found| found.as_ref().ok()).flatten().cloned().collect();
        if !named.is_empty() {
            info!(members = ?named.iter().map(Address::as_str).collect::<Vec<_>>(), "a name server names members");
            return Some(named.into_iter().collect());
        }
        for (service, found) in services.iter().zip(&answers) {
            let complaint = match found {
                Ok(_) => format!("the name server knows of no member at {service}; it is asked again"),
                Err(error) => unanswered(service, error),
            };
            if !complaints.contains(&complaint) {
                warn!("{complaint}");
                complaints.push(complaint);
            }
        }
        if begun.elapsed() >= limit {
            break;
        }
        if !pauses(ASK_FIRST_EVERY) {
            return None;
        }
    }
    Some(Vec::new())
}

fn unanswered(service: &Address, error: &io::Error) -> String {
    format!("the name server does not answer for {service}: {error}; it is asked again")
}

/// Names are asked for as long as this lives.
#[derive(Debug)]
pub(crate) struct Watch {
    _stop: mpsc::Sender<()>,
}

/// Asks for these from now on, on a thread of its own, and hands over names that are not `known`. Where there is nothing to ask
/// for, nothing runs.
///
/// # Errors
/// Where the system gives no thread.
pub(crate) fn watch(
    services: Vec<Address>,
    own: Address,
    known: Vec<Address>,
    hand_over: impl Fn(Vec<Address>) -> bool + Send + 'static,
) -> io::Result<Option<Watch>> {
    if services.is_empty() {
        return Ok(None);
    }
    let (stop, stopped) = mpsc::channel::<()>();
    let mut search =
        Search { own, known: known.into_iter().collect(), failing: BTreeSet::new(), answers: 0, own_came: false };
    thread::Builder::new().name("names".into()).spawn(move || {
        loop {
            let new: Vec<Address> = services.iter().flat_map(|service| search.ask(service)).collect();
            let taken = new.is_empty() || hand_over(new);
            if !taken || stopped.recv_timeout(ASK_EVERY) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    })?;
    Ok(Some(Watch { _stop: stop }))
}

/// What was found so far.
struct Search {
    own: Address,
    known: BTreeSet<Address>,
    /// Services for which the name server did not answer last.
    failing: BTreeSet<Address>,
    answers: u32,
    /// The own address was among the names of some answer.
    own_came: bool,
}

impl Search {
    /// The names that are new.
    fn ask(&mut self, service: &Address) -> Vec<Address> {
        let found = find(service);
        match &found {
            Err(error) if self.failing.insert(service.clone()) => warn!("{}", unanswered(service, error)),
            Ok(_) if self.failing.remove(service) => info!(%service, "the name server answers again"),
            Ok(_) | Err(_) => {}
        }
        let Ok(found) = found else { return Vec::new() };
        self.consider_own(service, &found);
        let mut new = Vec::new();
        for member in found {
            if self.known.len() < View::MEMBERS_MAX && self.known.insert(member.clone()) {
                info!(%service, %member, "a name server names a further member");
                new.push(member);
            }
        }
        new
    }

    /// A replica that is listed under another name, too, would be two members.
    fn consider_own(&mut self, service: &Address, found: &[Address]) {
        self.own_came |= found.contains(&self.own);
        self.answers += 1;
        if self.answers == OWN_NAME_WITHIN && !self.own_came {
            let own = &self.own;
            warn!(%service, address = %own, "SOCKET_ADDRESS is not among the names of this service; if another of them leads here, name that");
        }
    }
}

/// The names that the SRV records of this one give, with its port, in order. None at all is an answer, too.
fn find(service: &Address) -> io::Result<Vec<Address>> {
    let name = Name::<Vec<u8>>::from_str(service.host()).map_err(io::Error::other)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // It reads the system's configuration each time, which may have changed.
    let answer = runtime.block_on(async { StubResolver::new().query((name, Rtype::SRV)).await })?;
    match answer.header().rcode() {
        Rcode::NOERROR | Rcode::NXDOMAIN => {}
        refused => return Err(io::Error::other(format!("it answers {refused}"))),
    }
    let records = answer.answer().map_err(io::Error::other)?.limit_to::<Srv<_>>().filter_map(Result::ok);
    let named =
        records.filter_map(|record| Address::parse(&format!("{}:{}", record.data().target(), service.port())).ok());
    let named: BTreeSet<Address> = named.filter(|member| member.unusable().is_none()).collect();
    Ok(named.into_iter().collect())
}
