//! `hence ls`: the keys of a range.

use super::args::{LsArgs, RangeArgs, RequestArgs};
use super::show::Printer;
use super::{Ended, accepting, client, within};
use crate::cli::CommandFailure;
use hence_client::{Item, List, NextPage, Page, Session};
use serde::Serialize;
use serde_json::json;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// The largest page.
const PAGE: usize = 1_000;

impl RangeArgs {
    /// Limits a list to this range.
    pub(super) fn of<'a>(&self, mut list: List<'a>) -> List<'a> {
        if !self.prefix.is_empty() {
            list = list.prefix(&self.prefix);
        }
        if !self.start.is_empty() {
            list = list.start(&self.start);
        }
        if !self.end.is_empty() {
            list = list.end(&self.end);
        }
        list
    }
}

/// A page: the first one of a list, or the one that a page names.
pub(super) async fn page<'a>(
    session: &'a Session,
    request: &RequestArgs,
    next: Option<&NextPage>,
    first: impl Fn() -> List<'a>,
) -> Result<Page, CommandFailure> {
    let asked = accepting(session, request, async || {
        let list = next.map_or_else(&first, |next| session.list_from(next));
        match request.session.wait {
            Some(wait) => list.wait(Duration::from_secs(wait)).await,
            None => list.await,
        }
    });
    asked.await.map_err(CommandFailure::from)
}

/// `hence ls`.
pub(in crate::cli) fn ls(args: LsArgs) -> Ended {
    let client = client(&args.request.ask, false)?;
    let as_json = args.request.ask.json;
    within(
        &client,
        &args.request,
        async |session: &Arc<Session>| {
            if args.count { count(session, &args).await } else { list(session, &args).await }
        },
        |(mut out, last): (Printer, String), token| {
            if as_json {
                let token = json!(token);
                out.print(&format_args!("{last},\"causal-metadata\":{token}}}\n"))?;
            }
            out.finish()
        },
    )
}

fn first<'a>(session: &'a Session, args: &LsArgs, limit: usize) -> List<'a> {
    let mut list = args.range.of(session.list()).limit(limit);
    if args.reverse {
        list = list.reverse();
    }
    if let Some(delimiter) = &args.delimiter {
        list = list.delimiter(delimiter);
    }
    if args.values { list } else { list.keys_only() }
}

/// Prints page after page; gives what is to be printed before the token.
async fn list(session: &Session, args: &LsArgs) -> Result<(Printer, String), CommandFailure> {
    let as_json = args.request.ask.json;
    let (mut out, mut next, mut left) = (Printer::new(), None, args.limit.unwrap_or(usize::MAX));
    let mut lines = Lines { as_json, any: false };
    if as_json {
        out.print(&"{\"result\":\"listed\",\"items\":[")?;
    }
    // A prefix is a line as an item is: both count.
    while left > 0 && !out.is_left() {
        let limit = left.min(PAGE);
        let page = page(session, &args.request, next.as_ref(), || first(session, args, limit)).await?;
        let mut prefixes = page.prefixes.into_iter().peekable();
        for item in page.items {
            let is_before = |prefix: &String| (*prefix < item.key) != args.reverse;
            while let Some(prefix) = prefixes.next_if(is_before).filter(|_| left > 0) {
                lines.prefix(&mut out, &prefix)?;
                left -= 1;
            }
            if left > 0 {
                lines.item(&mut out, item)?;
                left -= 1;
            }
        }
        for prefix in prefixes.take(left) {
            lines.prefix(&mut out, &prefix)?;
            left -= 1;
        }
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    Ok((out, "]".into()))
}

/// Counts page after page.
async fn count(session: &Session, args: &LsArgs) -> Result<(Printer, String), CommandFailure> {
    let (mut out, mut next, mut count) = (Printer::new(), None, 0);
    loop {
        let first = || args.range.of(session.list()).limit(PAGE).count_only();
        let page = page(session, &args.request, next.as_ref(), first).await?;
        count += page.count.unwrap_or(0);
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    match args.request.ask.json {
        true => Ok((out, format!("{{\"result\":\"listed\",\"count\":{count}"))),
        false => {
            out.print(&format_args!("{count}\n"))?;
            Ok((out, String::new()))
        }
    }
}

/// A key as `--json` and `hence export` show it.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a serde_json::value::RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    siblings: Option<usize>,
}

impl Shown<'_> {
    fn text(&self) -> Result<String, CommandFailure> {
        serde_json::to_string(self).map_err(CommandFailure::running)
    }
}

/// An item as one JSON object.
///
/// # Errors
/// None that is known.
pub(super) fn as_json(item: &Item) -> Result<String, CommandFailure> {
    let siblings = Some(item.versions).filter(|&versions| versions > 1);
    let (key, etag) = (Some(&*item.key), Some(item.tag.as_str()));
    Shown { prefix: None, key, value: item.value.as_deref(), etag, siblings }.text()
}

/// The form of what is printed.
struct Lines {
    as_json: bool,
    /// Something was printed.
    any: bool,
}

impl Lines {
    fn item(&mut self, out: &mut Printer, item: Item) -> Ended {
        match (self.as_json, &item.value) {
            (true, _) => self.part(out, &as_json(&item)?),
            (false, Some(value)) => out.print(&format_args!("{}\t{value}\n", plain(&item.key))),
            (false, None) => out.print(&format_args!("{}\n", plain(&item.key))),
        }
    }

    fn prefix(&mut self, out: &mut Printer, prefix: &str) -> Ended {
        match self.as_json {
            true => {
                let shown = Shown { prefix: Some(prefix), key: None, value: None, etag: None, siblings: None };
                self.part(out, &shown.text()?)
            }
            false => out.print(&format_args!("{}\n", plain(prefix))),
        }
    }

    fn part(&mut self, out: &mut Printer, text: &str) -> Ended {
        let comma = if self.any { "," } else { "" };
        self.any = true;
        out.print(&format_args!("{comma}{text}"))
    }
}

/// A key on a line of its own. One with a control character, or that could be taken for a JSON string, is shown as one.
pub(super) fn plain(key: &str) -> Cow<'_, str> {
    match key.starts_with('"') || key.chars().any(char::is_control) {
        true => Cow::Owned(json!(key).to_string()),
        false => Cow::Borrowed(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_line() {
        for (key, line) in [("a b", "a b"), ("ä\"", "ä\""), ("a\nb", "\"a\\nb\""), ("\"a\"", "\"\\\"a\\\"\"")] {
            assert_eq!(plain(key), line);
        }
    }
}
