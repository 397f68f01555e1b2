//! Watches in transcripts: `watch w1 A * as c1 pace=100ms`, `resume w1 B`, and `expect w1 x=3`.

use super::words::{client, micros, plain};
use super::{Interpreter, KEYS};
use crate::plan::WatchUse;
use crate::subject::Subject;

impl<S: Subject> Interpreter<S> {
    /// A client watches a key, or all keys.
    pub(super) fn watch(&mut self, name: &str, at: &str, range: &str, rest: &[&str]) -> Result<(), String> {
        let (id, replica) = (number(name)?, self.replica(at)? as u8);
        let key = KEYS.iter().position(|key| *key == range).map(|key| key as u8);
        if key.is_none() && range != "*" {
            return Err(format!("{range} is no key; * is all keys"));
        }
        let now = self.world()?.now();
        let mut watch =
            WatchUse { id, at: now, client: 0, replica, key, keys_only: false, pace: 0, breaks: Vec::new() };
        let mut rest = rest.iter();
        while let Some(&word) = rest.next() {
            match (word, word.split_once('=')) {
                ("as", _) => watch.client = rest.next().and_then(|name| client(name)).ok_or("as whom?")?,
                (_, Some(("pace", time))) => watch.pace = micros(time)?,
                _ => return Err(format!("{word} is not understood")),
            }
        }
        let world = self.world()?;
        world.add_watch(watch);
        world.run_until(now);
        Ok(())
    }

    /// It breaks off, and goes on there 50 ms later.
    pub(super) fn resume_watch(&mut self, name: &str, at: &str) -> Result<(), String> {
        let (id, replica) = (number(name)?, self.replica(at)?);
        self.world()?.move_watch(id, replica);
        Ok(())
    }

    /// With its last mark it holds this of a key.
    pub(super) fn expect_watch(&mut self, name: &str, rest: &[&str]) -> Result<(), String> {
        let [versions] = rest else { return Err("write KEY=VALUES or KEY=".into()) };
        let (key, wanted) = versions.split_once('=').ok_or("write KEY=VALUES or KEY=")?;
        let place = KEYS.iter().position(|known| *known == key).ok_or_else(|| format!("no key {key}"))?;
        let found = plain(&self.world()?.watch_holds(number(name)?, place as u8));
        (found == wanted).then_some(()).ok_or_else(|| format!("{name} holds {key}={found}"))
    }
}

fn number(name: &str) -> Result<u32, String> {
    name.strip_prefix('w').and_then(|digits| digits.parse().ok()).ok_or_else(|| format!("{name} is no watch"))
}
