//! `/up`: what a page may order where several replicas run in one process. Elsewhere there is no such path.

use super::answer::{self, Answer};
use crate::settings::{Console, Order};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Method, StatusCode};

/// Shows the replicas, or hands an order on. What became of it is shown later.
pub(super) fn answer(console: &Console, parts: &Parts, body: &[u8]) -> Answer {
    if parts.method != Method::POST {
        return answer::json(StatusCode::OK, console.shown());
    }
    // A page of another origin cannot send this type without asking first.
    let is_json =
        parts.headers.get(CONTENT_TYPE).is_some_and(|media| media.as_bytes().starts_with(b"application/json"));
    match serde_json::from_slice::<Order>(body) {
        Ok(order) if is_json => {
            console.give(order);
            answer::json(StatusCode::ACCEPTED, Bytes::from_static(b"{\"result\":\"ordered\"}"))
        }
        Ok(_) => refused("the body must be sent as application/json"),
        Err(error) => refused(&format!("this is no order: {error}")),
    }
}

/// The page; its buttons are shown where orders are taken.
pub(super) fn page(text: &'static str, has_console: bool) -> Bytes {
    match has_console {
        true => Bytes::from(text.replacen("<div id=\"up\" hidden>", "<div id=\"up\">", 1)),
        false => Bytes::from_static(text.as_bytes()),
    }
}

fn refused(text: &str) -> Answer {
    answer::json(StatusCode::BAD_REQUEST, answer::error_body(text))
}
