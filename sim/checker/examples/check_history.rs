//! Judges what two clients of some store saw: `cargo run -p hence-checker --example check_history`.

use hence_checker::recorder::{Error, Part, Recorder, Response};
use hence_checker::{Level, Options, judge};

fn main() -> Result<(), Error> {
    let mut recorder = Recorder::new();

    // Ann writes a question, and Bob answers it. He carries the token that he got with the question.
    let question = recorder.on_invoke_put("ann", "question", "Where?", None);
    recorder.on_return(question, Response::created().token("t1"))?;
    let read = recorder.on_invoke_get("bob", "question", None);
    recorder.on_return(read, Response::found(["Where?"]).token("t1"))?;
    let answer = recorder.on_invoke_put("bob", "answer", "Here.", Some("t1"));
    recorder.on_return(answer, Response::created().token("t2"))?;

    // Eve asks for both at once. She sees the answer, and not the question that it answers.
    let read = recorder.on_invoke_batch("eve", &[Part::Get("answer"), Part::Get("question")], None);
    let results = [Response::found(["Here."]), Response::absent()];
    recorder.on_return(read, Response::batch(results).token("t3"))?;

    let history = recorder.history()?;
    let report = judge(&history, Options::default())?;
    println!("causal consistency: {:?}", report.verdict(Level::Causal));
    if let Some(found) = report.counterexample(&history, Options::default()) {
        println!("{}", found.told(false));
    }
    Ok(())
}
