//! From what a handler answers to frames: headers, messages as the windows allow, trailers.

use std::task::{Context as TaskContext, Poll, Waker};

use super::Server;
use super::call::{Kind, Upload};
use crate::channel::Outgoing;
use crate::frame::ErrorCode;
use crate::grpc;
use crate::hpack::{Encoder, Indexing};
use crate::wire::{Payload, Sent};
use crate::{Body, CallEvent, Code, Encoded, HttpHandler, Service, Status};

impl<S: Service, H: HttpHandler> Server<S, H> {
    /// Sends a unary call's answer, or a refusal.
    pub(super) fn answer(&mut self, slot: u32, answer: Result<Encoded, Status>) {
        let Some(stream) = self.wire.streams.get(slot) else { return };
        stream.call.kind = Kind::Answered;
        let answer = answer.and_then(|message| {
            grpc::check_sent(message.len(), self.config.max_send_message_bytes, "grpc: ")?;
            Ok(message)
        });
        match answer {
            Ok(message) => {
                if let Some(method) = stream.call.method {
                    self.service.observe(method, CallEvent::Sent { bytes: message.len() });
                }
                stream.call.payload = Some(Payload::message(message));
                stream.call.status = Some(Ok(()));
            }
            Err(status) => stream.call.status = Some(Err(status)),
        }
        self.respond(slot);
    }

    /// Answers with an HTTP status of its own: what grpc-go does with requests that are no calls.
    pub(super) fn refuse(&mut self, slot: u32, http_status: u16, status: Status) {
        let Some(stream) = self.wire.streams.get(slot) else { return };
        stream.call.headers_sent = true;
        let id = stream.id;
        let code = status.code;
        self.wire.headers(id, true, |encoder, out| {
            response_fields(encoder, out, http_status);
            status_fields(encoder, out, &Err(status));
        });
        self.finish(slot, code);
    }

    /// Sends what there is, as far as it goes.
    pub(super) fn respond(&mut self, slot: u32) {
        loop {
            let Some(stream) = self.wire.streams.get(slot) else { return };
            let id = stream.id;
            if let Some(mut payload) = stream.call.payload.take() {
                if !std::mem::replace(&mut stream.call.headers_sent, true) {
                    self.wire.headers(id, false, |encoder, out| response_fields(encoder, out, 200));
                }
                if self.wire.data(slot, &mut payload, false) == Sent::Blocked {
                    if let Some(stream) = self.wire.streams.get(slot) {
                        stream.call.payload = Some(payload);
                    }
                    return;
                }
                continue;
            }
            let more = match &stream.call.kind {
                Kind::Stream { .. } => self.next_message(slot),
                Kind::HttpBody { .. } => self.next_chunk(slot),
                _ => false,
            };
            if !more {
                return self.send_status(slot);
            }
        }
    }

    /// Takes the next message of a streaming handler; false if there is none.
    fn next_message(&mut self, slot: u32) -> bool {
        let Some(stream) = self.wire.streams.get(slot) else { return false };
        let Kind::Stream { shared, future, .. } = &mut stream.call.kind else {
            return false;
        };
        let Outgoing::Message(message) = shared.pop() else { return false };
        if let Err(status) = grpc::check_sent(message.len(), self.config.max_send_message_bytes, "") {
            *future = None;
            shared.close(Err(status.clone()));
            stream.call.status = Some(Err(status));
            return false;
        }
        if let Some(method) = stream.call.method {
            self.service.observe(method, CallEvent::Sent { bytes: message.len() });
        }
        stream.call.payload = Some(Payload::message(message));
        true
    }

    /// Ends a gRPC call whose messages are all sent, if its end is known.
    fn send_status(&mut self, slot: u32) {
        let Some(stream) = self.wire.streams.get(slot) else { return };
        let Some(status) = stream.call.status.take() else { return };
        let id = stream.id;
        let only = !std::mem::replace(&mut stream.call.headers_sent, true);
        let code = status.as_ref().map_or_else(|status| status.code, |()| Code::OK);
        self.wire.headers(id, true, |encoder, out| {
            if only {
                response_fields(encoder, out, 200);
            }
            status_fields(encoder, out, &status);
        });
        self.finish(slot, code);
    }

    /// Our side is ended: forgets the stream, and tells a peer that still sends that nobody listens.
    fn finish(&mut self, slot: u32, code: Code) {
        let Some(stream) = self.wire.streams.remove(slot) else { return };
        if !stream.remote_closed {
            self.wire.reset(stream.id, ErrorCode::NO_ERROR);
        }
        stream.call.close(Err(Status::canceled()));
        if let Some(method) = stream.call.method {
            self.service.observe(
                method,
                CallEvent::Handled {
                    code: code.0,
                    took: stream.call.started.elapsed(),
                },
            );
        }
    }

    // ---- anything but gRPC ----

    pub(super) fn start_http_response(&mut self, slot: u32, response: http::Response<Body>, upload: Option<Upload>, is_head: bool) {
        let Some(stream) = self.wire.streams.get(slot) else { return };
        let id = stream.id;
        let (parts, body) = response.into_parts();
        let ends = is_head || body.is_end();
        let length = http_body::Body::size_hint(&body).exact();
        stream.call.headers_sent = true;
        stream.call.kind = Kind::HttpBody { upload, body };
        self.wire.headers(id, ends, |encoder, out| {
            encoder.field(out, b":status", parts.status.as_str().as_bytes(), Indexing::Index);
            for (name, value) in &parts.headers {
                if !is_connection_field(name) {
                    encoder.field(out, name.as_str().as_bytes(), value.as_bytes(), Indexing::Plain);
                }
            }
            if let Some(length) = length
                && !parts.headers.contains_key(http::header::CONTENT_LENGTH)
                && !is_head
            {
                encoder.field(out, b"content-length", length.to_string().as_bytes(), Indexing::Plain);
            }
        });
        if ends {
            self.finish(slot, Code::OK);
        }
    }

    /// Takes the next chunk of a response's body; false if there is none yet, or no stream any more.
    fn next_chunk(&mut self, slot: u32) -> bool {
        let waker = Waker::from(self.wire.streams.waker(slot, &self.ready));
        let Some(stream) = self.wire.streams.get(slot) else { return false };
        let id = stream.id;
        let Kind::HttpBody { body, .. } = &mut stream.call.kind else {
            return false;
        };
        match body.poll_chunk(&mut TaskContext::from_waker(&waker)) {
            Poll::Pending => return false,
            Poll::Ready(Some(Ok(chunk))) => {
                stream.call.payload = Some(Payload::raw(Encoded::from(chunk)));
                return true;
            }
            Poll::Ready(Some(Err(_))) => {
                self.wire.reset(id, ErrorCode::INTERNAL_ERROR);
                self.give_up(slot, Status::canceled());
            }
            Poll::Ready(None) => {
                self.wire.data(slot, &mut Payload::raw(Encoded::empty()), true);
                self.finish(slot, Code::OK);
            }
        }
        false
    }
}

fn response_fields(encoder: &mut Encoder, out: &mut Vec<u8>, http_status: u16) {
    if http_status == 200 {
        encoder.field(out, b":status", b"200", Indexing::Index);
    } else {
        encoder.field(out, b":status", http_status.to_string().as_bytes(), Indexing::Plain);
    }
    encoder.field(out, b"content-type", b"application/grpc", Indexing::Index);
}

fn status_fields(encoder: &mut Encoder, out: &mut Vec<u8>, status: &Result<(), Status>) {
    match status {
        Ok(()) => encoder.field(out, b"grpc-status", b"0", Indexing::Index),
        Err(status) => {
            encoder.field(out, b"grpc-status", status.code.0.to_string().as_bytes(), Indexing::Index);
            encoder.field(out, b"grpc-message", &grpc::encode_message(&status.message), Indexing::Plain);
        }
    }
}

/// Fields about an HTTP/1.1 connection, which HTTP/2 forbids.
fn is_connection_field(name: &http::HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade"
    )
}
