//! Transports of builds that speak different formats.

use super::*;
use hence_core::Refused;

async fn start_speaking(address: &Address, formats: Formats) -> HyperTransport {
    start(HyperSettings { formats, ..HyperSettings::new(address.clone(), cluster()) }).await
}

fn hello(formats: Formats) -> Message {
    let mut hello = opening();
    if let Body::Hello(said) = &mut hello.body {
        said.formats = formats;
    }
    hello
}

fn erasure() -> Message {
    let mut message = push(1, 0);
    if let Body::Push { op, .. } = &mut message.body {
        Arc::make_mut(op).effect = Effect::Erase { key: Key::new("key").expect("a key") };
    }
    message
}

const OLD: Formats = Formats::RELEASED;
const BOTH: Formats = Formats::WITH_TEST;
const NEW: Formats = Formats::only(Formats::TEST);

#[test]
fn the_highest_common_format_is_spoken_both_ways() {
    run(async {
        for (left_speaks, right_speaks) in [(OLD, BOTH), (BOTH, OLD), (BOTH, NEW), (NEW, BOTH), (BOTH, BOTH)] {
            let [a, b] = [fresh_address(), fresh_address()];
            let left = start_speaking(&a, left_speaks).await;
            let right = start_speaking(&b, right_speaks).await;
            // Written before the connection says what it carries, and heard with the formats of the greeting.
            left.send(&b, hello(left_speaks));
            left.send(&b, taken(1));
            assert_eq!(messages(&right, 2).await, [hello(left_speaks), taken(1)], "{left_speaks} to {right_speaks}");
            right.send(&a, hello(right_speaks));
            right.send(&a, taken(2));
            assert_eq!(messages(&left, 2).await, [hello(right_speaks), taken(2)], "{right_speaks} to {left_speaks}");
            // What the format has no word for is lost, counted, and ends nothing.
            left.send(&b, erasure());
            left.send(&b, taken(3));
            let understood = left_speaks.common(right_speaks) == Some(Formats::TEST);
            let last_arrival = if understood { vec![erasure(), taken(3)] } else { vec![taken(3)] };
            assert_eq!(messages(&right, last_arrival.len()).await, last_arrival);
            assert_eq!(left.counters().lost_format, u64::from(!understood));
        }
    });
}

/// What waits while a peer is dialled was written for the process before it.
#[test]
fn a_peer_that_comes_back_with_another_format_is_understood() {
    run(async {
        let [a, b] = [fresh_address(), fresh_address()];
        let left = start_speaking(&a, BOTH).await;
        for (turn, formats) in (0..).zip([NEW, OLD, BOTH, OLD]) {
            let right = start_speaking(&b, formats).await;
            left.send(&b, hello(BOTH));
            left.send(&b, taken(turn));
            assert_eq!(messages(&right, 2).await, [hello(BOTH), taken(turn)], "{formats}");
            drop(right);
            sleep(Duration::from_millis(150)).await;
        }
    });
}

#[test]
fn without_a_common_format_both_sides_are_told() {
    run(async {
        let [a, b] = [fresh_address(), fresh_address()];
        let (left, right) = (start_speaking(&a, OLD).await, start_speaking(&b, NEW).await);
        left.send(&b, hello(OLD));
        let mut incoming = Vec::new();
        while !incoming.iter().any(|incoming| matches!(incoming, Incoming::Refused { .. })) {
            left.receive(&mut incoming).await;
        }
        let why = Refused::Version(NEW);
        assert!(incoming.contains(&Incoming::Refused { by: b.clone(), why }), "{incoming:?}");
        assert_eq!(left.outages(), [(b, LinkCause::Version)]);
        assert_eq!((left.counters().formats_refused, right.counters().formats_refused), (1, 1));
        assert_eq!(strays(&right, 1).await, []);
    });
}
