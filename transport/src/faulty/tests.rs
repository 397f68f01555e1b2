//! What each verb does, on a clock that the test moves.

use super::*;
use crate::memory::{Hub, MemoryTransport};
use core::task::Waker;
use hence_core::{Body, Formats, Hello, Incarnation, VersionVector, Wall};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A clock that stands until the test moves it.
#[derive(Clone, Default)]
struct Clock(Rc<(Cell<u64>, RefCell<Vec<Waker>>)>);

impl Clock {
    fn forward(&self, length: u64) {
        self.0.0.set(self.0.0.get() + length);
        self.0.1.borrow_mut().drain(..).for_each(Waker::wake);
    }
}

impl Sleeper for Clock {
    fn now(&self) -> Time {
        Time(self.0.0.get())
    }

    fn sleep_until(&self, at: Time) -> Pin<Box<dyn Future<Output = ()>>> {
        let clock = self.clone();
        Box::pin(poll_fn(move |context| {
            if clock.now() >= at {
                return Poll::Ready(());
            }
            clock.0.1.borrow_mut().push(context.waker().clone());
            Poll::Pending
        }))
    }
}

/// Two replicas; only the first has faults.
struct World {
    clock: Clock,
    left: Faulty<MemoryTransport, Clock>,
    right: MemoryTransport,
    faults: Faults,
}

fn a() -> Address {
    Address::parse("10.0.0.1:1").expect("an address")
}

fn b() -> Address {
    Address::parse("10.0.0.2:1").expect("an address")
}

fn world() -> World {
    let (hub, clock, faults) = (Hub::new(1_000), Clock::default(), Faults::new(7));
    let left = Faulty::new(hub.join(&a()), clock.clone(), faults.clone());
    World { clock, left, right: hub.join(&b()), faults }
}

fn message(id: u64) -> Message {
    Message { from: Incarnation(1), number: 1, echo: 1, sequence: 0, body: Body::Taken { id, frame: 0 } }
}

fn opening() -> Message {
    let (sent, wall, formats) = (Time(0), Wall(0), Formats::RELEASED);
    let hello = Hello { sent, wall, vector: VersionVector::new().into(), view: [].into(), formats };
    Message { from: Incarnation(1), number: 2, echo: 0, sequence: 0, body: Body::Hello(Box::new(hello)) }
}

/// What is there without waiting; 0 stands for a hello.
fn arrived(transport: &impl Transport) -> Vec<u64> {
    let mut into = Vec::new();
    {
        let mut receive = transport.receive(&mut into);
        let _ = receive.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    let number = |incoming| match incoming {
        Incoming::Message { message: Message { body: Body::Taken { id, .. }, .. }, .. } => Some(id),
        Incoming::Message { .. } => Some(0),
        Incoming::Connected { .. }
        | Incoming::Progress { .. }
        | Incoming::Sign { .. }
        | Incoming::Refused { .. }
        | Incoming::Aside { .. } => None,
    };
    into.into_iter().filter_map(number).collect()
}

impl World {
    fn out(&self, ids: impl IntoIterator<Item = u64>) -> Vec<u64> {
        ids.into_iter().for_each(|id| self.left.send(&b(), message(id)));
        self.outgoing()
    }

    /// What comes out of the left one by now.
    fn outgoing(&self) -> Vec<u64> {
        assert_eq!(arrived(&self.left), Vec::<u64>::new());
        arrived(&self.right)
    }

    fn arrives(&self, ids: impl IntoIterator<Item = u64>) -> Vec<u64> {
        ids.into_iter().for_each(|id| self.right.send(&a(), message(id)));
        arrived(&self.left)
    }
}

#[test]
fn without_faults_everything_passes() {
    let world = world();
    assert_eq!((world.out([1, 2]), world.arrives([3, 4])), (vec![1, 2], vec![3, 4]));
    assert_eq!(world.faults.counts(), FaultCounts::default());
}

#[test]
fn a_cut_may_be_one_way_and_of_one_peer() {
    let world = world();
    world.faults.cut(&b(), Direction::Out);
    assert_eq!((world.out([1]), world.arrives([2])), (vec![], vec![2]));
    world.faults.heal(&b(), Direction::Out);
    world.faults.cut(Target::Everybody, Direction::In);
    assert_eq!((world.out([3]), world.arrives([4])), (vec![3], vec![]));
    world.faults.cut(&b(), Direction::Both);
    world.faults.heal(Target::Everybody, Direction::Both);
    assert_eq!((world.out([5]), world.arrives([6])), (vec![5], vec![6]));
    world.faults.cut(&a(), Direction::Both);
    assert_eq!((world.out([7]), world.arrives([8])), (vec![7], vec![8]));
    assert_eq!(world.faults.counts().cut, 2);
}

/// No peer learns of a connection across a cut.
#[test]
fn a_cut_hides_that_somebody_accepted() {
    let world = world();
    world.faults.cut(&b(), Direction::Both);
    world.left.inner().send(&b(), opening());
    let mut into = Vec::new();
    assert!(world.left.receive(&mut into).as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(into, vec![]);
    world.faults.calm();
    world.left.send(&b(), opening());
    assert!(world.left.receive(&mut into).as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    assert_eq!(into, vec![Incoming::Connected { to: b() }]);
}

#[test]
fn what_was_held_comes_in_order_when_released() {
    let world = world();
    world.faults.hold(&b(), Direction::Both);
    assert_eq!((world.out([1, 2]), world.arrives([3, 4])), (vec![], vec![]));
    assert_eq!(world.faults.kept(), 4);
    world.faults.release(&b(), Direction::Out);
    // Not overtaken by what is said after the release.
    assert_eq!(world.out([5]), vec![1, 2, 5]);
    assert_eq!(world.arrives([6]), Vec::<u64>::new());
    world.faults.release(Target::Everybody, Direction::Both);
    assert_eq!(world.arrives([7]), vec![3, 4, 6]);
    assert_eq!(arrived(&world.left), vec![7]);
    assert_eq!((world.faults.kept(), world.faults.counts().held), (0, 5));
}

/// A hello of a new link drops what is queued on the way out, and cannot touch what is on the wire.
#[test]
fn an_opening_message_drops_what_is_kept_on_the_way_out() {
    let world = world();
    world.faults.hold(&b(), Direction::Both);
    assert_eq!((world.out([1]), world.arrives([2])), (vec![], vec![]));
    world.left.send(&b(), opening());
    world.faults.calm();
    assert_eq!(arrived(&world.left), vec![2]);
    assert_eq!((arrived(&world.right), world.faults.counts().superseded), (vec![0], 1));
}

#[test]
fn a_delay_is_kept_to_the_microsecond_and_order_stays() {
    let world = world();
    let weather = Weather { delay: Micros(100), jitter: Micros(50), ..Weather::default() };
    world.faults.set_weather(&b(), Direction::Both, weather);
    assert_eq!((world.out(1..=20), world.arrives(21..=40)), (vec![], vec![]));
    world.clock.forward(99);
    assert_eq!((world.outgoing(), arrived(&world.left)), (vec![], vec![]));
    let mut came = (Vec::new(), Vec::new());
    for _ in 99..150 {
        world.clock.forward(1);
        came.1.extend(arrived(&world.left));
        came.0.extend(arrived(&world.right));
    }
    assert_eq!(came, ((1..=20).collect(), (21..=40).collect()));
}

#[test]
fn chances_strike_about_as_often_as_they_say() {
    let world = world();
    let weather = |weather| world.faults.set_weather(Target::Everybody, Direction::Out, weather);
    weather(Weather { drop: Chance::per_mille(300), ..Weather::default() });
    let kept = world.out(0..1_000).len();
    assert!((650..750).contains(&kept), "{kept}");
    assert_eq!(world.faults.counts().dropped, 1_000 - kept as u64);
    weather(Weather { drop: Chance::ALWAYS, ..Weather::default() });
    assert_eq!(world.out([1]), Vec::<u64>::new());
    weather(Weather { duplicate: Chance::per_mille(300), ..Weather::default() });
    let mut twice = world.out(0..500);
    assert_eq!(world.faults.counts().duplicated, twice.len() as u64 - 500);
    assert!((600..700).contains(&twice.len()), "{}", twice.len());
    twice.dedup();
    assert_eq!(twice, (0..500).collect::<Vec<_>>());
    weather(Weather { reorder: Chance::per_mille(300), reorder_by: Micros(10), ..Weather::default() });
    let mut late = Vec::new();
    for id in 0..500 {
        late.extend(world.out([id]));
        world.clock.forward(1);
    }
    world.clock.forward(20);
    late.extend(world.outgoing());
    let swaps = late.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert!(swaps > 50, "{swaps}");
    late.sort_unstable();
    assert_eq!(late, (0..500).collect::<Vec<_>>());
}

/// The same seed takes the same chances.
#[test]
fn chances_come_from_the_seed() {
    let run = |seed| {
        let hub = Hub::new(1_000);
        let faults = Faults::new(seed);
        let left = Faulty::new(hub.join(&a()), Clock::default(), faults.clone());
        let right = hub.join(&b());
        faults.set_weather(&b(), Direction::Out, Weather { drop: Chance::per_mille(500), ..Weather::default() });
        (0..100).for_each(|id| left.send(&b(), message(id)));
        arrived(&right)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn what_is_kept_is_bounded() {
    let world = world();
    world.faults.hold(Target::Everybody, Direction::Out);
    (0..KEPT_MAX as u64 + 10).for_each(|id| world.left.send(&b(), message(id)));
    assert_eq!((world.faults.kept(), world.faults.counts().overflowed), (KEPT_MAX, 10));
}

/// Another thread may steer, and a receiver that already waits learns of it.
#[test]
fn a_waiting_receiver_is_woken_from_another_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let hub = Hub::new(10);
    let faults = Faults::new(1);
    let left = Faulty::new(hub.join(&a()), TokioSleeper::default(), faults.clone());
    let right = hub.join(&b());
    faults.hold(&b(), Direction::In);
    right.send(&a(), message(5));
    let mut into = Vec::new();
    assert!(left.receive(&mut into).as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let steering = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        faults.release(Target::Everybody, Direction::Both);
    });
    let limit = std::time::Duration::from_secs(10);
    runtime.block_on(async { tokio::time::timeout(limit, left.receive(&mut into)).await }).expect("woken");
    assert_eq!(into, vec![Incoming::Message { from: b(), message: message(5) }]);
    steering.join().expect("no panic");
}
