//! An answer that opens no link.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

/// JSON with this error.
pub(super) fn refusal(status: StatusCode, error: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{{\"error\":\"{error}\"}}")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
