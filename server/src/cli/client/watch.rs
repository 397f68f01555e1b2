//! `hence watch`: what is there of some keys, and what changes.

use super::args::WatchArgs;
use super::interrupt::interrupted;
use super::ls::plain;
use super::show::Printer;
use super::{Ended, client, within};
use crate::cli::CommandFailure;
use hence_client::{Change, Cut, Item, RawValue, Session};
use serde::Serialize;
use std::sync::Arc;

/// A cut as one line of JSON.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    reset: Option<&'static str>,
    changes: Vec<ShownChange<'a>>,
    synced: bool,
    /// For `--since`.
    id: Option<&'a str>,
}

#[derive(Serialize)]
struct ShownChange<'a> {
    op: &'static str,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    siblings: Option<usize>,
}

/// `hence watch`.
pub(in crate::cli) fn watch(args: WatchArgs) -> Ended {
    let client = client(&args.request.ask, false)?;
    within(
        &client,
        &args.request,
        async |session: &Arc<Session>| {
            let mut out = Printer::new();
            let code = interrupted()?;
            tokio::select! {
                followed = follow(session, &args, &mut out) => followed?,
                // The one way to end it: what the session saw is kept.
                Ok(_) = code => {}
            }
            Ok(out)
        },
        |out: Printer, _| out.finish(),
    )
}

async fn follow(session: &Session, args: &WatchArgs, out: &mut Printer) -> Ended {
    let mut watch = session.watch().prefix(&args.prefix);
    if let Some(key) = &args.key {
        watch = watch.key(key);
    }
    if args.keys_only {
        watch = watch.keys_only();
    }
    if let Some(id) = &args.since {
        watch = watch.since(id);
    }
    let mut watching = watch.begin();
    loop {
        let cut = watching.next().await.map_err(CommandFailure::from)?;
        match args.request.ask.json {
            true => print_json(&cut, watching.id(), out)?,
            false => print_lines(&cut, out)?,
        }
        out.flush()?;
        if out.is_left() || args.once && cut.synced {
            return Ok(());
        }
    }
}

fn print_lines(cut: &Cut, out: &mut Printer) -> Ended {
    match cut.reset {
        None => {}
        Some(false) => out.print(&"reset\n")?,
        Some(true) => out.print(&"reset\twrites are lost\n")?,
    }
    for change in &cut.changes {
        match change {
            Change::Put(Item { key, value: Some(value), .. }) => {
                out.print(&format_args!("put\t{}\t{}\n", plain(key), in_one_line(value)))?;
            }
            Change::Put(Item { key, value: None, .. }) => out.print(&format_args!("put\t{}\n", plain(key)))?,
            Change::Delete(key) => out.print(&format_args!("delete\t{}\n", plain(key)))?,
        }
    }
    if cut.synced { out.print(&"synced\n") } else { Ok(()) }
}

/// JSON has line breaks between tokens only.
fn in_one_line(value: &RawValue) -> String {
    value.get().replace(['\n', '\r'], " ")
}

fn print_json(cut: &Cut, id: Option<&str>, out: &mut Printer) -> Ended {
    let changes = cut.changes.iter().map(|change| match change {
        Change::Put(item) => ShownChange {
            op: "put",
            key: &item.key,
            value: item.value.as_deref(),
            etag: Some(item.tag.to_string()),
            siblings: Some(item.versions).filter(|&versions| versions > 1),
        },
        Change::Delete(key) => ShownChange { op: "delete", key, value: None, etag: None, siblings: None },
    });
    let reset = cut.reset.map(|lost| if lost { "lost" } else { "forgotten" });
    let shown = Shown { reset, changes: changes.collect(), synced: cut.synced, id };
    let line = serde_json::to_string(&shown).map_err(CommandFailure::running)?;
    // A value with line breaks would make two lines of it.
    out.print(&format_args!("{}\n", line.replace(['\n', '\r'], " ")))
}
