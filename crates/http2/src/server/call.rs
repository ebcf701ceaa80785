//! From a request's frames to the handler: collects messages, starts handlers, polls them, ends them.

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use bytes::Bytes;

use super::request::Head;
use super::{Drain, Server};
use crate::channel::Shared;
use crate::frame::ErrorCode;
use crate::grpc::Assembler;
use crate::wire::{Fault, Payload, Target};
use crate::{Body, BoxFuture, CallEvent, Code, Context, Encoded, HttpHandler, Metadata, MethodId, Reply, Route, Service, Status};

/// What the server keeps of a stream.
pub(super) struct Call {
    pub kind: Kind,
    /// The routed method; `None` for what is not gRPC or leads nowhere.
    pub method: Option<MethodId>,
    /// When its headers came.
    pub started: std::time::Instant,
    pub headers_sent: bool,
    /// What is being sent.
    pub payload: Option<Payload>,
    /// The call's end, once it is known.
    pub status: Option<Result<(), Status>>,
}

/// How far a call is.
pub(super) enum Kind {
    /// A unary call that waits for its message.
    Collect { cx: Box<Context>, assembler: Assembler },
    /// A unary call whose handler is at work.
    Unary(BoxFuture<Result<Encoded, Status>>),
    Stream {
        shared: Arc<Shared>,
        /// `None` when the handler is done.
        future: Option<BoxFuture<Result<(), Status>>>,
        /// `None` when the peer's messages are of no more use.
        assembler: Option<Assembler>,
    },
    /// A request that is not gRPC.
    Http {
        upload: Option<Upload>,
        future: BoxFuture<http::Response<Body>>,
        is_head: bool,
    },
    /// The body of its response.
    HttpBody { upload: Option<Upload>, body: Body },
    /// The answer is known; what the peer still sends is dropped.
    Answered,
}

/// The body of a request on its way to its handler.
pub(super) struct Upload {
    pub shared: Arc<Shared>,
    /// What `content-length` promises and has not come yet.
    left: Option<u64>,
}

impl Call {
    fn new(kind: Kind, method: Option<MethodId>) -> Call {
        Call {
            kind,
            method,
            started: std::time::Instant::now(),
            headers_sent: false,
            payload: None,
            status: None,
        }
    }

    /// Ends what the handler still holds.
    pub(super) fn close(&self, end: Result<(), Status>) {
        match &self.kind {
            Kind::Stream { shared, .. } => shared.close(end),
            Kind::Http { upload: Some(upload), .. } | Kind::HttpBody { upload: Some(upload), .. } => upload.shared.close(end),
            _ => {}
        }
    }
}

impl<S: Service, H: HttpHandler> Server<S, H> {
    pub(super) fn on_headers(&mut self, id: u32, target: Target, end_stream: bool, block: &[u8]) -> Result<(), Fault> {
        self.head.clear();
        let list_limit = self.config.max_header_list_bytes as usize;
        let within = self
            .wire
            .decoder
            .decode(block, list_limit, &mut self.head)
            .map_err(|_| Fault::Connection(ErrorCode::COMPRESSION_ERROR, "bad header block"))?;
        match target {
            Target::Stale => self.wire.nuisance(1).and(Err(Fault::Stream(id, ErrorCode::STREAM_CLOSED))),
            Target::Dropped => Ok(()),
            Target::Open(_) if !end_stream || self.head.is_malformed_as_trailers() => Err(Fault::Stream(id, ErrorCode::PROTOCOL_ERROR)),
            Target::Open(slot) => self.on_remote_end(slot),
            Target::New if self.drain == Drain::Told => Err(Fault::Stream(id, ErrorCode::REFUSED_STREAM)),
            Target::New if self.wire.streams.len() >= self.wire.limits().max_streams as usize => {
                self.wire.nuisance(1).and(Err(Fault::Stream(id, ErrorCode::REFUSED_STREAM)))
            }
            Target::New if !within => Err(Fault::Stream(id, ErrorCode::FRAME_SIZE_ERROR)),
            Target::New if self.head.is_malformed() => Err(Fault::Stream(id, ErrorCode::PROTOCOL_ERROR)),
            Target::New if self.head.is_grpc => {
                self.start_grpc(id, end_stream);
                Ok(())
            }
            Target::New => self.start_http(id, end_stream),
        }
    }

    // ---- gRPC ----

    fn start_grpc(&mut self, id: u32, end_stream: bool) {
        let head = std::mem::take(&mut self.head);
        let (route, refusal) = match self.route(&head) {
            Ok(route) => (Some(route), None),
            Err(refusal) => (None, Some(refusal)),
        };
        let method = match route {
            Some(Route::Unary(method) | Route::Stream(method)) => Some(method),
            _ => None,
        };
        let slot = self.wire.open(id, Call::new(Kind::Answered, method));
        if let Some(stream) = self.wire.streams.get(slot) {
            stream.remote_closed = end_stream;
        }
        if let Some(method) = method {
            self.service.observe(method, CallEvent::Started);
        }
        if let Some((http_status, status)) = refusal {
            return self.refuse(slot, http_status, status);
        }
        let deadline = match head.timeout {
            Some(Ok(timeout)) => self.wire.now.checked_add(timeout),
            _ => None,
        };
        let cx = Context {
            connection: self.connection.clone(),
            metadata: head.metadata,
            deadline,
        };
        if let Some(at) = deadline {
            let streams = &self.wire.streams;
            self.deadlines.add(at, slot, id, |id| streams.find(id).is_some());
        }
        match route {
            Some(Route::Stream(method)) => self.start_stream(slot, method, cx, end_stream),
            Some(Route::Unary(_)) if end_stream => self.answer(slot, Err(Status::new(Code::INTERNAL, "unexpected EOF"))),
            _ => {
                if let Some(stream) = self.wire.streams.get(slot) {
                    stream.call.kind = Kind::Collect {
                        cx: Box::new(cx),
                        assembler: Assembler::default(),
                    };
                }
            }
        }
    }

    /// Where the request goes, or its refusal with the HTTP status that grpc-go gives it.
    fn route(&self, head: &Head) -> Result<Route, (u16, Status)> {
        if head.method.as_deref() != Some(b"POST") {
            let method = String::from_utf8_lossy(head.method.as_deref().unwrap_or_default()).into_owned();
            let text = format!("Received a HEADERS frame with :method {method:?} which should be POST");
            return Err((405, Status::new(Code::INTERNAL, text)));
        }
        if let Some(Err(text)) = &head.timeout {
            let text = format!("malformed grpc-timeout: {:?}", String::from_utf8_lossy(text));
            return Err((400, Status::new(Code::INTERNAL, text)));
        }
        let unimplemented = |text: String| (200, Status::new(Code::UNIMPLEMENTED, text));
        let path = String::from_utf8_lossy(head.path.as_deref().unwrap_or_default());
        let path = path.strip_prefix('/').unwrap_or(&path);
        let Some((service, method)) = path.rsplit_once('/') else {
            return Err(unimplemented(format!("malformed method name: {path:?}")));
        };
        let route = self.service.route(service, method);
        match route {
            Route::UnknownService => Err(unimplemented(format!("unknown service {service}"))),
            Route::UnknownMethod => Err(unimplemented(format!("unknown method {method} for service {service}"))),
            Route::Unary(_) | Route::Stream(_) => match &head.encoding {
                Some(encoding) => Err(unimplemented(format!(
                    "grpc: Decompressor is not installed for grpc-encoding {:?}",
                    String::from_utf8_lossy(encoding)
                ))),
                None => Ok(route),
            },
        }
    }

    fn start_stream(&mut self, slot: u32, method: MethodId, cx: Context, end_stream: bool) {
        let shared = self.shared(slot);
        let future = self.service.stream(method, cx, shared.receiver(), shared.sender());
        if end_stream {
            shared.finish(Ok(()));
        }
        if let Some(stream) = self.wire.streams.get(slot) {
            stream.call.kind = Kind::Stream {
                shared,
                future: Some(future),
                assembler: Some(Assembler::default()),
            };
        }
        self.run(slot);
    }

    fn shared(&mut self, slot: u32) -> Arc<Shared> {
        let shared = Shared::new(self.config.initial_stream_window as usize / 2, self.config.stream_queue_bytes);
        shared.attach(self.wire.streams.waker(slot, &self.ready));
        shared
    }

    pub(super) fn on_data(&mut self, slot: u32, data: &[u8], end_stream: bool) -> Result<(), Fault> {
        let limit = self.config.max_receive_message_bytes;
        let Some(stream) = self.wire.streams.get(slot) else { return Ok(()) };
        let id = stream.id;
        let mut open = true;
        let mut rest = data;
        match &mut stream.call.kind {
            Kind::Collect { assembler, .. } => match assembler.next(&mut rest, limit) {
                Ok(Some(message)) => self.start_unary(slot, message),
                Ok(None) => {}
                Err(status) => self.answer(slot, Err(status)),
            },
            Kind::Stream { shared, assembler, .. } => {
                while let Some(messages) = assembler {
                    match messages.next(&mut rest, limit) {
                        Ok(None) => break,
                        Ok(Some(message)) => {
                            let bytes = message.len();
                            open = shared.push(message);
                            if let Some(method) = stream.call.method {
                                self.service.observe(method, CallEvent::Received { bytes });
                            }
                        }
                        Err(status) => {
                            shared.finish(Err(status));
                            *assembler = None;
                        }
                    }
                }
                open = open && shared.accepts();
            }
            Kind::Http { upload: Some(upload), .. } | Kind::HttpBody { upload: Some(upload), .. } => {
                if let Some(left) = &mut upload.left {
                    match left.checked_sub(data.len() as u64) {
                        Some(rest) if rest == 0 || !end_stream => *left = rest,
                        _ => return Err(Fault::Stream(id, ErrorCode::PROTOCOL_ERROR)),
                    }
                }
                if !data.is_empty() {
                    open = upload.shared.push(Bytes::copy_from_slice(data));
                }
            }
            _ => {}
        }
        if open {
            self.wire.credit(slot);
        }
        if end_stream { self.on_remote_end(slot) } else { Ok(()) }
    }

    /// The peer has sent all it had.
    fn on_remote_end(&mut self, slot: u32) -> Result<(), Fault> {
        let Some(stream) = self.wire.streams.get(slot) else { return Ok(()) };
        let truncated = || Status::new(Code::INTERNAL, "unexpected EOF");
        match &stream.call.kind {
            Kind::Collect { .. } => self.answer(slot, Err(truncated())),
            Kind::Stream {
                shared,
                assembler: Some(assembler),
                ..
            } => shared.finish(if assembler.is_between_messages() {
                Ok(())
            } else {
                Err(truncated())
            }),
            Kind::Http { upload: Some(upload), .. } | Kind::HttpBody { upload: Some(upload), .. } => {
                if upload.left.is_some_and(|left| left > 0) {
                    return Err(Fault::Stream(stream.id, ErrorCode::PROTOCOL_ERROR));
                }
                upload.shared.finish(Ok(()));
            }
            _ => {}
        }
        Ok(())
    }

    fn start_unary(&mut self, slot: u32, message: Bytes) {
        let Some(stream) = self.wire.streams.get(slot) else { return };
        let (Kind::Collect { cx, .. }, Some(method)) = (std::mem::replace(&mut stream.call.kind, Kind::Answered), stream.call.method)
        else {
            return;
        };
        self.service.observe(method, CallEvent::Received { bytes: message.len() });
        match self.service.unary(method, *cx, message) {
            Reply::Ready(answer) => self.answer(slot, answer),
            Reply::Later(future) => {
                stream.call.kind = Kind::Unary(future);
                self.run(slot);
            }
        }
    }

    // ---- anything else ----

    fn start_http(&mut self, id: u32, end_stream: bool) -> Result<(), Fault> {
        let head = std::mem::take(&mut self.head);
        let left = head.content_length;
        if end_stream && left.is_some_and(|left| left > 0) {
            return Err(Fault::Stream(id, ErrorCode::PROTOCOL_ERROR));
        }
        let Some(request) = http_request(head) else {
            return Err(Fault::Stream(id, ErrorCode::PROTOCOL_ERROR));
        };
        let slot = self.wire.open(id, Call::new(Kind::Answered, None));
        if let Some(stream) = self.wire.streams.get(slot) {
            stream.remote_closed = end_stream;
        }
        let upload = (!end_stream).then(|| Upload {
            shared: self.shared(slot),
            left,
        });
        let body = upload
            .as_ref()
            .map_or_else(Body::empty, |upload| Body::stream(upload.shared.receiver()));
        let is_head = request.method() == http::Method::HEAD;
        let future = self.http.call(&self.connection, request.map(|()| body));
        if let Some(stream) = self.wire.streams.get(slot) {
            stream.call.kind = Kind::Http { upload, future, is_head };
        }
        self.run(slot);
        Ok(())
    }

    // ---- running ----

    /// Polls what a call waits for, and sends what comes of it.
    pub(super) fn run(&mut self, slot: u32) {
        let waker = self
            .wire
            .streams
            .get(slot)
            .is_some()
            .then(|| self.wire.streams.waker(slot, &self.ready));
        let Some(waker) = waker.map(Waker::from) else { return };
        let cx = &mut TaskContext::from_waker(&waker);
        let Some(stream) = self.wire.streams.get(slot) else { return };
        let mut readable = true;
        match &mut stream.call.kind {
            Kind::Unary(future) => {
                if let Poll::Ready(answer) = future.as_mut().poll(cx) {
                    stream.call.kind = Kind::Answered;
                    return self.answer(slot, answer);
                }
            }
            Kind::Stream { shared, future, .. } => {
                if let Some(running) = future
                    && let Poll::Ready(status) = running.as_mut().poll(cx)
                {
                    *future = None;
                    stream.call.status.get_or_insert(status);
                }
                readable = shared.accepts();
            }
            Kind::Http { upload, future, is_head } => {
                readable = upload.as_ref().is_none_or(|upload| upload.shared.accepts());
                if let Poll::Ready(response) = future.as_mut().poll(cx) {
                    let (upload, is_head) = (upload.take(), *is_head);
                    self.start_http_response(slot, response, upload, is_head);
                }
            }
            Kind::HttpBody { upload, .. } => readable = upload.as_ref().is_none_or(|upload| upload.shared.accepts()),
            Kind::Collect { .. } | Kind::Answered => {}
        }
        if readable {
            self.wire.credit(slot);
        }
        self.respond(slot);
    }

    pub(super) fn on_deadline(&mut self, slot: u32, id: u32) {
        let Some(stream) = self.wire.streams.get(slot) else { return };
        if stream.id != id || stream.call.status.is_some() {
            return;
        }
        let status = Status::deadline_exceeded();
        match &mut stream.call.kind {
            Kind::Stream { shared, future, .. } => {
                *future = None;
                shared.close(Err(status.clone()));
                stream.call.payload = None;
                stream.call.status = Some(Err(status));
                self.respond(slot);
            }
            Kind::Collect { .. } | Kind::Unary(_) => {
                stream.call.kind = Kind::Answered;
                self.answer(slot, Err(status));
            }
            _ => {}
        }
    }

    /// Drops a call that the peer, or the connection's end, has taken away.
    pub(super) fn give_up(&mut self, slot: u32, status: Status) {
        let Some(stream) = self.wire.streams.remove(slot) else { return };
        let code = match &stream.call.status {
            Some(Ok(())) => Code::OK,
            Some(Err(status)) => status.code,
            None => status.code,
        };
        stream.call.close(Err(status));
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
}

/// The request as the `http` crate has it, without a body; `None` if it has no such form.
fn http_request(head: Head) -> Option<http::Request<()>> {
    let host = head.authority.or_else(|| {
        let host = head.protocol_fields.get("host");
        host.map(Bytes::copy_from_slice)
    });
    let mut uri = http::Uri::builder();
    if let (Some(scheme), Some(authority)) = (head.scheme, host)
        && head.path.as_deref() != Some(b"*")
    {
        uri = uri.scheme(scheme.as_ref()).authority(authority.as_ref());
    }
    let uri = uri.path_and_query(head.path?.as_ref()).build().ok()?;
    let mut request = http::Request::new(());
    *request.method_mut() = http::Method::from_bytes(&head.method?).ok()?;
    *request.uri_mut() = uri;
    *request.version_mut() = http::Version::HTTP_2;
    copy_fields(&head.metadata, request.headers_mut())?;
    copy_fields(&head.protocol_fields, request.headers_mut())?;
    Some(request)
}

fn copy_fields(from: &Metadata, to: &mut http::HeaderMap) -> Option<()> {
    for (name, value) in from.iter() {
        let name = http::HeaderName::from_bytes(name).ok()?;
        to.append(name, http::HeaderValue::from_maybe_shared(value.clone()).ok()?);
    }
    Some(())
}
