//! Inputs per second of three replicas that take turns writing: `cargo run --release --example rate`.
use hence_core::*;
use std::collections::VecDeque;
use std::time::Instant;

fn main() {
    let addresses: Vec<_> =
        (1..=3).map(|n| Address::parse(&format!("127.0.0.{n}:8090")).expect("an address")).collect();
    let mut now = 1_000_000;
    let clock = |now: u64| Now { monotonic: Time(now), wall: Wall(now) };
    let mut replicas: Vec<_> = (0..3)
        .map(|n| {
            let identity = Identity { address: addresses[n].clone(), view: addresses.clone() };
            Replica::new(Sound, Config::default(), identity, Seed([n as u8; 32]), clock(now))
        })
        .collect();
    let mut wire: VecDeque<(Address, usize, Message)> = VecDeque::new();
    let keys: Vec<_> = (0..10_000).map(|n| Key::new(&format!("key{n:04}")).expect("a key")).collect();
    let value = Value::new(&[b'x'; 100]);
    let mut tokens = vec![VersionVector::new(); 3];
    let (mut inputs, mut id, mut messages) = (0_u64, 0, 0_u64);
    let start = Instant::now();
    let mut measured = start;
    for round in 0..std::env::args().nth(1).map_or(1_000_000_u64, |n| n.parse().expect("a number")) {
        if round == 20_000 {
            measured = Instant::now();
            inputs = 0;
        }
        now += 5;
        let at = (round % 3) as usize;
        id += 1;
        let data = DataRequest {
            key: keys[(round.wrapping_mul(0x9e37_79b9) >> 3) as usize % keys.len()].clone(),
            action: Action::Put(value.clone()),
            past: tokens[at].clone(),
            wait: Micros::ZERO,
            condition: Condition::default(),
        };
        let mut pending = vec![(at, Input::Request { id: RequestId(id), request: Request::Data(data) })];
        for n in 0..3 {
            if replicas[n].poll_timeout().is_some_and(|t| t.0 <= now) {
                pending.push((n, Input::Timeout));
            }
        }
        loop {
            for (n, input) in pending.drain(..) {
                inputs += 1;
                replicas[n].handle(clock(now), input);
                while let Some(output) = replicas[n].poll_output() {
                    match output {
                        Output::Send { to, message } => {
                            let to = addresses.iter().position(|a| *a == to).expect("known");
                            wire.push_back((addresses[n].clone(), to, message));
                        }
                        Output::Reply { reply: Reply::Written(written), .. } => tokens[n] = written.token,
                        Output::Reply { .. } | Output::Event(_) => {}
                    }
                }
            }
            let Some((from, to, message)) = wire.pop_front() else { break };
            messages += 1;
            pending.push((to, Input::Message { from, message }));
        }
    }
    let seconds = measured.elapsed().as_secs_f64();
    println!(
        "{:.2} M inputs/s, {:.0} ns each, {messages} messages, vector {:?}",
        inputs as f64 / seconds / 1e6,
        seconds * 1e9 / inputs as f64,
        replicas[0].vector()
    );
    println!("{:?}", replicas[0].status().log_ops);
}
