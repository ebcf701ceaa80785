//! Streaming calls of the gateway: JSON values of the body become messages, messages become lines of the answer.

use std::sync::Arc;

use api::Status;
use bytes::Bytes;
use compat::protojson::{self, Escape, Method, Next};
use http::Response;
use http::header::{self, HeaderValue};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::body::BodyError;
use super::gateway::{self, http_status};
use super::{Body, BoxFuture, Call, Http};

/// Messages that wait between the gateway and a handler, each way.
const QUEUE: usize = 16;

/// What the client sends.
pub(super) enum Input {
    /// JSON values, as long as the body goes on.
    Many(Body),
    /// One message, already read.
    One(Bytes),
}

/// Answers once there is something to answer with: the first message, or the end of the call.
pub(super) async fn run(http: &Arc<Http>, call: Call, types: Method, input: Input, limit: usize) -> Response<Body> {
    let (to_handler, requests) = mpsc::channel(QUEUE);
    let (answers, from_handler) = mpsc::channel(QUEUE);
    let (broken, fault) = oneshot::channel();
    let deadline = gateway::deadline(&call);
    let mut running = Running {
        call: Some(http.rpc.stream(call, requests, answers)),
        answers: from_handler,
        ended: None,
        fault: Some(fault),
        deadline,
    };
    match input {
        Input::Many(body) => {
            tokio::spawn(feed(body, types, limit, to_handler, broken));
        }
        Input::One(message) => {
            // The queue is empty: there is room. With the sender gone, the handler sees the end of the client's side.
            let _ = to_handler.try_send(message);
            drop((to_handler, broken));
        }
    }
    let first = running.next().await;
    let (lines, body) = Body::channel(1);
    let mut response = Response::new(body);
    let line = match first {
        Event::End(Ok(())) => return response,
        Event::End(Err(status)) => {
            *response.status_mut() = http_status(status.code);
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Line::Last(error_line(&status))
        }
        Event::Message(message) => {
            gateway::succeed(&mut response);
            line(types, &message)
        }
    };
    tokio::spawn(forward(running, types, line, lines));
    response
}

/// A line, and whether the answer ends with it.
enum Line {
    More(Vec<u8>),
    Last(Vec<u8>),
}

fn error_line(status: &Status) -> Vec<u8> {
    let mut out = b"{\"error\":".to_vec();
    gateway::status_json(status, Escape::Html, &mut out);
    out.extend_from_slice(b"}\n");
    out
}

fn line(types: Method, message: &[u8]) -> Line {
    let mut out = Vec::with_capacity(message.len() * 2 + 16);
    out.extend_from_slice(b"{\"result\":");
    match protojson::encode(types.answer, message, Escape::Html, &mut out) {
        Ok(()) => {
            out.extend_from_slice(b"}\n");
            Line::More(out)
        }
        Err(error) => Line::Last(error_line(&Status::new(api::Code::Internal, error.to_string()))),
    }
}

/// Sends line after line. Ends with the call, or when the client is gone; then the call is dropped, which cancels it.
async fn forward(mut running: Running, types: Method, first: Line, lines: mpsc::Sender<Result<Bytes, BodyError>>) {
    let mut next = first;
    loop {
        let (text, last) = match next {
            Line::More(text) => (text, false),
            Line::Last(text) => (text, true),
        };
        if lines.send(Ok(text.into())).await.is_err() || last {
            return;
        }
        let event = tokio::select! {
            event = running.next() => event,
            () = lines.closed() => return,
        };
        next = match event {
            Event::Message(message) => line(types, &message),
            Event::End(Ok(())) => return,
            Event::End(Err(status)) => Line::Last(error_line(&status)),
        };
    }
}

/// Reads JSON values and hands them on. A value that can't be read ends the client's side of the call without a word: so it is in Go.
/// One that is too large ends the call.
async fn feed(mut body: Body, types: Method, limit: usize, to: mpsc::Sender<Bytes>, broken: oneshot::Sender<Status>) {
    let mut values = gateway::values(limit);
    let mut ended = false;
    loop {
        match values.next() {
            Ok(Next::Value(value)) => match gateway::message(value, types.request, limit) {
                Ok(message) => {
                    if to.send(message).await.is_err() {
                        return;
                    }
                }
                Err(status) => {
                    if status.code == api::Code::ResourceExhausted {
                        let _ = broken.send(status);
                    }
                    return;
                }
            },
            Ok(Next::NeedMore) if !ended => {
                let chunk = tokio::select! {
                    chunk = body.chunk() => chunk,
                    () = to.closed() => return,
                };
                match chunk {
                    Some(Ok(chunk)) => values.push(&chunk),
                    Some(Err(_)) | None => {
                        ended = true;
                        values.end();
                    }
                }
            }
            Ok(Next::NeedMore | Next::End) => return,
            Err(error) => {
                let status = gateway::scan_status(&error, limit);
                if status.code == api::Code::ResourceExhausted {
                    let _ = broken.send(status);
                }
                return;
            }
        }
    }
}

enum Event {
    Message(Bytes),
    End(Result<(), Status>),
}

/// A call and what comes out of it.
struct Running {
    call: Option<BoxFuture<Result<(), Status>>>,
    answers: mpsc::Receiver<Bytes>,
    ended: Option<Result<(), Status>>,
    fault: Option<oneshot::Receiver<Status>>,
    deadline: Option<Instant>,
}

impl Running {
    /// The next message, or the end after the last of them.
    async fn next(&mut self) -> Event {
        loop {
            let Some(call) = &mut self.call else {
                // Nothing is sent after the end, so what is there is all there is.
                if let Ok(message) = self.answers.try_recv() {
                    return Event::Message(message);
                }
                return Event::End(self.ended.take().unwrap_or(Ok(())));
            };
            let fault = async {
                match &mut self.fault {
                    Some(fault) => fault.await.ok(),
                    None => std::future::pending().await,
                }
            };
            let over = async {
                match self.deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(message) = self.answers.recv() => return Event::Message(message),
                end = call => {
                    self.call = None;
                    self.ended = Some(end);
                }
                fault = fault => {
                    self.fault = None;
                    if let Some(status) = fault {
                        self.call = None;
                        self.ended = Some(Err(status));
                    }
                }
                () = over => {
                    self.call = None;
                    self.ended = Some(Err(gateway::out_of_time()));
                }
            }
        }
    }
}
