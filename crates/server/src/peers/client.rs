//! Single HTTP/1.1 requests to other members, over connections that are kept for the next one.
//!
//! Never retries a request that may have been received, never follows a redirect, never reads an answer without end.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use compat::url::Url;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;

use super::dial::Dialler;
use crate::http::Body;

/// The longest answer that is read: the keys of a lease can be many.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Connections kept for each member. More than a member's duties ever have at work at once.
const KEPT: usize = 8;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No connection, or it broke.
    #[error("{0}")]
    Connection(String),
    #[error("context deadline exceeded")]
    TimedOut,
    /// An answer that can't be what was asked for.
    #[error("{0}")]
    Answer(String),
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The body as text, for messages.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim_end().to_owned()
    }
}

/// A request without its address.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Call {
    pub fn get(path: impl Into<String>) -> Call {
        Call {
            method: Method::GET,
            path: path.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    pub fn post(path: impl Into<String>, content_type: &'static str, body: impl Into<Bytes>) -> Call {
        let mut call = Call::get(path);
        call.method = Method::POST;
        call.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        call.body = body.into();
        call
    }
}

/// Asks members.
pub struct Client {
    dialler: Arc<Dialler>,
    idle: Mutex<HashMap<String, Vec<SendRequest<Body>>>>,
}

impl Client {
    pub fn new(dialler: Arc<Dialler>) -> Client {
        Client {
            dialler,
            idle: Mutex::default(),
        }
    }

    /// Sends one request and reads its answer, all within `limit`.
    ///
    /// # Errors
    /// `CallError`; an answer with an unpleasant status is none.
    pub async fn call(&self, url: &Url, call: &Call, limit: Duration) -> Result<Answer, CallError> {
        tokio::time::timeout(limit, self.exchange(url, call))
            .await
            .unwrap_or(Err(CallError::TimedOut))
    }

    async fn exchange(&self, url: &Url, call: &Call) -> Result<Answer, CallError> {
        let key = url.to_string();
        while let Some(mut kept) = self.take(&key) {
            match kept.try_send_request(request(url, call)?).await {
                Ok(response) => return self.finish(&key, kept, response).await,
                // The member has closed the connection meanwhile, and never saw this request: another one.
                Err(mut error) => {
                    if error.take_message().is_none() {
                        return Err(broken(url, error.error()));
                    }
                }
            }
        }
        let stream = self.dialler.dial(url).await.map_err(|error| broken(url, &error))?;
        let (mut fresh, connection) = http1::Builder::new()
            .title_case_headers(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(url, &error))?;
        // Its failures reach whoever waits for an answer.
        tokio::spawn(async move { drop(connection.await) });
        let response = fresh.send_request(request(url, call)?).await.map_err(|error| broken(url, &error))?;
        self.finish(&key, fresh, response).await
    }

    fn take(&self, key: &str) -> Option<SendRequest<Body>> {
        let mut idle = self.idle.lock();
        let kept = idle.get_mut(key)?;
        while let Some(sender) = kept.pop() {
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    async fn finish(&self, key: &str, sender: SendRequest<Body>, response: http::Response<Incoming>) -> Result<Answer, CallError> {
        let (head, mut incoming) = response.into_parts();
        let mut body = BytesMut::new();
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx)).await {
            let frame = frame.map_err(|error| CallError::Connection(explain(&error)))?;
            if let Ok(data) = frame.into_data() {
                if body.len() + data.len() > MAX_ANSWER_BYTES {
                    return Err(CallError::Answer(format!("an answer of more than {MAX_ANSWER_BYTES} bytes")));
                }
                body.extend_from_slice(&data);
            }
        }
        let mut idle = self.idle.lock();
        let kept = idle.entry(key.to_owned()).or_default();
        kept.retain(|sender| !sender.is_closed());
        if kept.len() < KEPT {
            kept.push(sender);
        }
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.freeze(),
        })
    }
}

fn request(url: &Url, call: &Call) -> Result<Request<Body>, CallError> {
    let mut request = Request::new(Body::full(call.body.clone()));
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = call
        .path
        .parse()
        .map_err(|error| CallError::Answer(format!("{}: {error}", call.path)))?;
    *request.headers_mut() = call.headers.clone();
    let host = if url.is_unix() { "localhost" } else { url.host.as_str() };
    if let Ok(host) = HeaderValue::from_str(host) {
        request.headers_mut().insert(header::HOST, host);
    }
    Ok(request)
}

fn broken(url: &Url, error: &(dyn Error + 'static)) -> CallError {
    CallError::Connection(format!("{url}: {}", explain(error)))
}

/// The innermost reason, in Go's words.
fn explain(error: &(dyn Error + 'static)) -> String {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return crate::tls::reason(error);
        }
        cause = error.source();
    }
    error.to_string()
}
