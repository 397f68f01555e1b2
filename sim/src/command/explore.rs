//! `explore`: the page of a run that can be forked, and the same verbs as a JSON API, on loopback only.

use super::cases::{read, setting_of};
use super::cli::Explore;
use super::{Done, End, Lines, Problem, output, provenance};
use crate::campaign::run::{NamedSubject, Setting};
use crate::explore::{Change, Refused, Session, Until};
use crate::generate;
use crate::mutants::Mutant;
use crate::observe::{About, Diff, Idle, page};
use hence_loopback::{Answer, Asked};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// What is served.
struct Service {
    session: Session,
    about: About,
}

pub(crate) fn explore(asked: &Explore, subjects: &[NamedSubject]) -> Done {
    let lines = Lines::asked(asked.json);
    if let [one, other] = asked.diff.as_slice() {
        let (page, diff) = diff([one, other], subjects, lines)?;
        if asked.json {
            return Ok(if output::is_lost() { End::Nothing } else { End::Clean });
        }
        return serve(asked.port, lines, move |asked| match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", "") => Answer { status: 200, kind: "text/html; charset=utf-8", body: page.clone() },
            ("GET", "api/diff") => as_json(200, &diff),
            ("GET", _) => error(404, "the page is at / and the rows are at api/diff"),
            _ => error(405, "two runs are only looked at"),
        });
    }
    let (session, about) = begin(asked, subjects)?;
    let mut service = Service { session, about };
    serve(asked.port, lines, move |asked| service.answer(asked))
}

fn serve(port: u16, lines: Lines, answer: impl FnMut(&Asked) -> Answer + 'static) -> Done {
    let begun = |url: &str| {
        say!("{url}");
        say!("  Ctrl-C ends it");
        lines.add(|| address(url));
        _ = std::io::stdout().flush();
    };
    let served = hence_loopback::serve(port, begun, answer);
    served.map_err(|error| Problem::from(format!("127.0.0.1:{port}: {error}")))?;
    Ok(End::Clean)
}

/// Where it is served, for programs: all of the address, and the parts of it that a client sets by themselves.
fn address(url: &str) -> Value {
    let (authority, path) = url.trim_start_matches("http://").split_once('/').unwrap_or((url, ""));
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, ""));
    json!({ "kind": "address", "url": url, "host": host, "port": port.parse::<u16>().ok(),
        "token": path.trim_end_matches('/'), "version": provenance::VERSION, "commit": provenance::COMMIT })
}

/// Two cases side by side: the page, and the same for programs.
fn diff(paths: [&PathBuf; 2], subjects: &[NamedSubject], lines: Lines) -> Result<(String, Value), Problem> {
    let story = |path: &Path| {
        let case = read(path, subjects)?;
        let setting = Setting { thorough: true, ..setting_of(&case, subjects)? };
        let session = Session::new(case.plan, case.choices, setting, Idle::Changing);
        Ok::<_, Problem>(session.here().story.clone())
    };
    let (one, other) = (story(paths[0])?, story(paths[1])?);
    let names = paths.map(|path| path.display().to_string());
    let diff = Diff::of(&one, &other);
    say!("{}", diff.sentence());
    lines.add(|| diff.json());
    Ok((diff.page([&names[0], &names[1]], provenance::FULL), diff.json()))
}

/// The run that a session begins with.
fn begin(asked: &Explore, subjects: &[NamedSubject]) -> Result<(Session, About), Problem> {
    let idle = if asked.idle { Idle::All } else { Idle::Changing };
    let about = |title: String, subject: &str, seed: u64, replay: String| About {
        title,
        subject: subject.to_owned(),
        seed,
        program: provenance::FULL.to_owned(),
        whole: format!("{replay} --idle"),
        replay,
        live: Some(0),
        ..About::default()
    };
    if let Some(path) = &asked.case {
        let case = read(path, subjects)?;
        let setting = setting_of(&case, subjects)?;
        let subject = case.mutant.clone().unwrap_or_else(|| "the sound replica".into());
        let replay = format!("hence-sim explore {}", provenance::quoted(&path.to_string_lossy()));
        let about = about(path.display().to_string(), &subject, case.plan.seed, replay);
        return Ok((Session::new(case.plan, case.choices, setting, idle), about));
    }
    let Some(seed) = asked.seed else { return Err("say a case, or --seed N".into()) };
    let mutant = asked
        .mutant
        .as_deref()
        .map(|name| Mutant::named(name).ok_or_else(|| Problem::from(format!("there is no mutant \"{name}\""))));
    let setting = Setting { mutant: mutant.transpose()?, ..Setting::default() };
    let plan = generate::plan(seed, asked.profile);
    let planted = asked.mutant.as_deref().map(|name| format!(" --mutant {name}")).unwrap_or_default();
    let replay = format!("hence-sim explore --seed {seed} --profile {}{planted}", asked.profile.name());
    let about = about(format!("seed {seed}"), asked.mutant.as_deref().unwrap_or("the sound replica"), seed, replay);
    Ok((Session::new(plan, BTreeMap::new(), setting, idle), about))
}

fn as_json(status: u16, value: &Value) -> Answer {
    Answer { status, kind: "application/json", body: value.to_string() }
}

fn error(status: u16, text: &str) -> Answer {
    as_json(status, &json!({ "error": text }))
}

impl Service {
    fn answer(&mut self, asked: &Asked) -> Answer {
        match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", "") => self.page(&asked.query),
            ("GET", "api/state") => as_json(200, &self.state()),
            ("GET", "api/branches") => as_json(200, &self.branches()),
            ("GET", "api/story") => {
                let body = crate::observe::json_lines(&self.session.here().story);
                Answer { status: 200, kind: "application/jsonl", body }
            }
            ("POST", path) => match path.strip_prefix("api/") {
                Some(verb) => self.act(verb, &asked.body),
                None => error(404, "no such path"),
            },
            ("GET", _) => error(404, "no such path"),
            _ => error(405, "GET looks, and POST to a verb of the API does something"),
        }
    }

    fn page(&mut self, query: &str) -> Answer {
        let branch = query.strip_prefix("branch=").and_then(|number| number.parse().ok());
        if let Some(branch) = branch
            && let Err(Refused(text)) = self.session.go(branch, 0)
        {
            return error(404, &text);
        }
        let here = self.session.here();
        let (branch, _) = self.session.place();
        let forked =
            here.parent.map(|(parent, event)| format!("A fork of branch {parent} at event {event}: {}.", here.change));
        let about = About { about: forked.unwrap_or_default(), live: Some(branch), ..self.about.clone() };
        Answer { status: 200, kind: "text/html; charset=utf-8", body: page(&here.story, &about) }
    }

    /// A verb, with what it needs as JSON. A verb that is refused changes nothing.
    fn act(&mut self, verb: &str, body: &[u8]) -> Answer {
        let asked: Value = match serde_json::from_slice(if body.is_empty() { b"{}" } else { body }) {
            Ok(asked) => asked,
            Err(problem) => return error(400, &format!("the body is no JSON: {problem}")),
        };
        let done = match verb {
            "step" => self.step(&asked),
            "run" => self.run(&asked),
            "go" => self.go(&asked),
            "fork" => self.fork(asked),
            "save" => return self.save(&asked),
            _ => return error(404, "the verbs are step, run, go, fork and save"),
        };
        match done {
            Ok(()) => as_json(200, &self.state()),
            Err(Refused(text)) => error(400, &text),
        }
    }

    fn step(&mut self, asked: &Value) -> Result<(), Refused> {
        let by = match asked.get("by") {
            None => 1,
            Some(by) => by.as_i64().ok_or_else(|| Refused("by: a whole number, negative for back".into()))?,
        };
        self.session.step(by);
        Ok(())
    }

    fn run(&mut self, asked: &Value) -> Result<(), Refused> {
        let name = asked.get("to").and_then(Value::as_str).unwrap_or_default();
        let until = Until::ALL.into_iter().find(|until| until.name() == name);
        let names = || Refused("to: event, write, delivery, fault or violation".into());
        self.session.run_to(until.ok_or_else(names)?);
        Ok(())
    }

    fn go(&mut self, asked: &Value) -> Result<(), Refused> {
        let number = |name: &str, else_it_is: usize| match asked.get(name) {
            None => Ok(else_it_is),
            Some(value) => {
                let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
                number.ok_or_else(|| Refused(format!("{name}: a number from 0")))
            }
        };
        let (branch, event) = self.session.place();
        self.session.go(number("branch", branch)?, number("event", event)?)
    }

    /// Forks where it stands, or at the branch and the event that are given.
    fn fork(&mut self, mut asked: Value) -> Result<(), Refused> {
        let mut take = |name: &str| asked.as_object_mut().and_then(|asked| asked.remove(name));
        let mut place = serde_json::Map::new();
        for name in ["branch", "event"] {
            place.extend(take(name).map(|value| (name.to_owned(), value)));
        }
        let change: Change = serde_json::from_value(asked).map_err(|error| Refused(error.to_string()))?;
        let (branch, event) = self.session.place();
        let forked = self.go(&Value::Object(place)).and_then(|()| self.session.fork(&change).map(drop));
        if forked.is_err() {
            self.session.go(branch, event)?;
        }
        forked
    }

    fn save(&self, asked: &Value) -> Answer {
        let Some(name) = asked.get("file").and_then(Value::as_str).filter(|name| is_plain(name)) else {
            return error(400, "file: a name without a folder that ends in .json");
        };
        let case = match self.session.case() {
            Ok(case) => case,
            Err(Refused(text)) => return error(409, &text),
        };
        let path = PathBuf::from(name);
        let written = std::fs::File::create_new(&path).and_then(|mut file| file.write_all(case.write().as_bytes()));
        match written {
            Ok(()) => as_json(200, &json!({ "file": name, "fingerprint": case.fingerprint })),
            Err(problem) => error(409, &format!("{name}: {problem}")),
        }
    }

    fn state(&self) -> Value {
        let session = &self.session;
        let (branch, event) = session.place();
        let story = &session.here().story;
        let moment = story.moments.get(event);
        let violation = story.violation.as_ref().map(|violation| violation.fingerprint());
        json!({ "branch": branch, "event": event, "events": story.moments.len(), "violation": violation,
            "at": moment.map(|moment| moment.at), "kind": moment.map(|moment| moment.kind),
            "lane": moment.map(|moment| moment.lane.to_string()), "text": moment.map(|moment| moment.text.clone()),
            "states": states(story, event) })
    }

    fn branches(&self) -> Value {
        let session = &self.session;
        let each = session.branches().iter().enumerate().map(|(number, branch)| {
            let violation = branch.story.violation.as_ref().map(|violation| violation.fingerprint());
            json!({ "branch": number, "parent": branch.parent.map(|(parent, _)| parent),
                "event": branch.parent.map(|(_, event)| event), "change": branch.change,
                "events": branch.story.moments.len(), "violation": violation })
        });
        each.collect()
    }
}

/// Every lane's state after an event, by lane and field.
pub(super) fn states(story: &crate::observe::Story, event: usize) -> Value {
    let mut states: BTreeMap<String, BTreeMap<&str, &str>> = BTreeMap::new();
    for moment in story.moments.iter().take(event + 1) {
        if matches!(moment.kind, "died" | "started") {
            states.remove(&moment.lane.to_string());
        }
        for (name, value) in &moment.changes {
            let state = states.entry(moment.lane.to_string()).or_default();
            if value.is_empty() {
                state.remove(name.as_str())
            } else {
                state.insert(name, value)
            };
        }
    }
    json!(states)
}

/// A file beside where the command was called, and no other place.
fn is_plain(name: &str) -> bool {
    let path = Path::new(name);
    path.file_name().is_some_and(|file| file == name) && path.extension().is_some_and(|it| it == "json")
}
