//! Answers as Go's `net/http` shapes them.

use std::borrow::Cow;

use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};

use super::Body;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
pub(super) const NO_SNIFF: (HeaderName, HeaderValue) = (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));

/// A body of a known type.
pub(crate) fn ok(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Plain text with 200, as it is.
pub(super) fn text(text: String) -> Response<Body> {
    ok("text/plain; charset=utf-8", Body::full(text))
}

/// Go's `http.Error`: the text and a newline.
pub(crate) fn error(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::full(format!("{text}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    response.headers_mut().insert(NO_SNIFF.0, NO_SNIFF.1);
    response
}

pub(crate) fn not_found() -> Response<Body> {
    error(StatusCode::NOT_FOUND, "404 page not found")
}

/// The refusal of a method other than GET.
pub(super) fn only_get(request: &Request<()>) -> Option<Response<Body>> {
    if request.method() == Method::GET {
        return None;
    }
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
    Some(response)
}

/// Text with its percent escapes read; as it is when they are broken or hide what is no UTF-8.
pub(super) fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'%' {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        let digit = |i: usize| bytes.get(i).and_then(|b| char::from(*b).to_digit(16));
        let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) else {
            return Cow::Borrowed(text);
        };
        out.push((high * 16 + low) as u8);
        at += 3;
    }
    String::from_utf8(out).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// The values of a name in the query; a name without a value has an empty one.
pub(super) fn query(request: &Request<()>, name: &str) -> Vec<String> {
    let mut values = Vec::new();
    for pair in request.uri().query().unwrap_or_default().split('&') {
        // Go drops pairs with a semicolon.
        if pair.is_empty() || pair.contains(';') {
            continue;
        }
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decoded(&key.replace('+', " ")) == name {
            values.push(decoded(&value.replace('+', " ")).into_owned());
        }
    }
    values
}
