//! The connection's task: opens streams for the queued calls, sends their requests, hands out what comes back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context as TaskContext, Waker};

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::response::{ResponseHead, reset_status};
use super::{CallError, Command, NewCall, Options, Queue, connection_lost};
use crate::channel::{Outgoing, Shared};
use crate::deadlines::Deadlines;
use crate::driver::Role;
use crate::frame::{self, ErrorCode};
use crate::grpc::{self, Assembler};
use crate::hpack::{Encoder, Indexing};
use crate::ready::{COMMANDS, Ready};
use crate::wire::{Event, Fault, Limits, Payload, Sent, Side, Target, Wire};
use crate::{Code, Encoded, Metadata, Status};

const OUT_OF_NUMBERS: &str = "no stream numbers are left";
const MAX_HEADER_LIST: u32 = 16 * 1024 * 1024;

/// What the client keeps of a stream.
pub(super) struct Call {
    kind: Kind,
    payload: Option<Payload>,
    /// Our side has ended.
    ended: bool,
    got_headers: bool,
    assembler: Assembler,
}

enum Kind {
    Unary {
        reply: oneshot::Sender<Result<Bytes, CallError>>,
        message: Option<Bytes>,
    },
    Stream(Arc<Shared>),
}

/// The client's role on a connection.
pub(super) struct Caller {
    wire: Wire<Call>,
    ready: Arc<Ready>,
    options: Options,
    queue: Arc<Queue>,
    /// Calls that wait for a stream.
    waiting: VecDeque<Command>,
    deadlines: Deadlines,
    /// No new stream: the server goes away, or nobody holds a handle.
    draining: bool,
}

impl Caller {
    pub(super) fn new(options: Options, queue: Arc<Queue>, ready: Arc<Ready>) -> Caller {
        let limits = Limits {
            stream_window: options.initial_stream_window,
            connection_window: options.initial_connection_window,
            max_frame: frame::DEFAULT_MAX_FRAME as u32,
            max_header_list: MAX_HEADER_LIST,
            max_streams: 0,
        };
        Caller {
            wire: Wire::new(Side::Client, limits),
            ready,
            options,
            queue,
            waiting: VecDeque::new(),
            deadlines: Deadlines::default(),
            draining: false,
        }
    }

    fn take_commands(&mut self) {
        self.queue.connection.rearm();
        let mut state = self.queue.state.lock();
        let commands = std::mem::take(&mut state.commands);
        let abandoned = state.abandoned;
        if abandoned && state.closed.is_none() {
            state.closed = Some(connection_lost("no handle is left"));
        }
        drop(state);
        self.waiting.extend(commands);
        self.start_waiting();
        self.draining |= abandoned && self.waiting.is_empty();
    }

    fn start_waiting(&mut self) {
        while self.wire.streams.len() < self.wire.peer_max_streams as usize && !self.draining {
            let Some(command) = self.waiting.pop_front() else { break };
            match command {
                Command::Unary { call, message, reply } => {
                    if !reply.is_closed() {
                        let kind = Kind::Unary { reply, message: None };
                        self.start(call, kind, Some(Payload::message(message)));
                    }
                }
                Command::Stream { call, shared } => self.start(call, Kind::Stream(shared), None),
            }
        }
    }

    fn start(&mut self, new: NewCall, kind: Kind, payload: Option<Payload>) {
        let call = Call {
            kind,
            payload,
            ended: false,
            got_headers: false,
            assembler: Assembler::default(),
        };
        let slot = match self.wire.open_own(call) {
            Ok(slot) => slot,
            Err(call) => {
                call.end(Err(connection_lost(OUT_OF_NUMBERS)), true);
                return self.close_queue(OUT_OF_NUMBERS);
            }
        };
        let waker = self.wire.streams.waker(slot, &self.ready);
        let Some(stream) = self.wire.streams.get(slot) else { return };
        let id = stream.id;
        match &mut stream.call.kind {
            Kind::Stream(shared) => shared.attach(waker),
            Kind::Unary { reply, .. } => {
                // Asks to be woken when the caller loses interest; that it has not yet is known.
                let waker = Waker::from(waker);
                let _ = reply.poll_closed(&mut TaskContext::from_waker(&waker));
            }
        }
        let options = &self.options;
        self.wire
            .headers(id, false, |encoder, out| request_fields(encoder, out, options, &new));
        if let Some(timeout) = new.timeout
            && let Some(at) = Instant::now().checked_add(timeout)
        {
            let streams = &self.wire.streams;
            self.deadlines.add(at, slot, id, |id| streams.find(id).is_some());
        }
        self.send(slot);
    }

    /// Sends what there is, as far as it goes.
    fn send(&mut self, slot: u32) {
        loop {
            let Some(stream) = self.wire.streams.get(slot) else { return };
            if stream.call.ended {
                return;
            }
            let is_unary = matches!(stream.call.kind, Kind::Unary { .. });
            if let Some(mut payload) = stream.call.payload.take() {
                let sent = self.wire.data(slot, &mut payload, is_unary);
                let Some(stream) = self.wire.streams.get(slot) else { return };
                match sent {
                    Sent::Blocked => return stream.call.payload = Some(payload),
                    Sent::All => stream.call.ended = is_unary,
                }
                continue;
            }
            let Kind::Stream(shared) = &stream.call.kind else { return };
            match shared.pop() {
                Outgoing::Empty => return,
                Outgoing::Message(message) => {
                    if let Err(status) = grpc::check_sent(message.len(), self.options.max_send_message_bytes, "") {
                        return self.cancel(slot, status);
                    }
                    stream.call.payload = Some(Payload::message(message));
                }
                Outgoing::End => {
                    stream.call.ended = true;
                    self.wire.data(slot, &mut Payload::raw(Encoded::empty()), true);
                }
            }
        }
    }

    fn on_headers(&mut self, id: u32, target: Target, end_stream: bool, block: &[u8]) -> Result<(), Fault> {
        let mut head = ResponseHead::default();
        self.wire
            .decoder
            .decode(block, MAX_HEADER_LIST as usize, &mut head)
            .map_err(|_| Fault::Connection(ErrorCode::COMPRESSION_ERROR, "bad header block"))?;
        let Target::Open(slot) = target else { return Ok(()) };
        let Some(stream) = self.wire.streams.get(slot) else { return Ok(()) };
        if head.malformed || head.http_status.is_some() == stream.call.got_headers {
            return Err(Fault::Stream(id, ErrorCode::PROTOCOL_ERROR));
        }
        if end_stream {
            let status = if stream.call.assembler.is_between_messages() {
                head.status()
            } else {
                head.status().and(Err(Status::new(Code::INTERNAL, "unexpected EOF")))
            };
            self.finish(slot, status);
            return Ok(());
        }
        if stream.call.got_headers {
            return Err(Fault::Stream(id, ErrorCode::PROTOCOL_ERROR));
        }
        if head.http_status.is_some_and(|status| (100..200).contains(&status)) {
            return Ok(());
        }
        stream.call.got_headers = true;
        if let Some(status) = head.refusal() {
            self.cancel(slot, status);
        }
        Ok(())
    }

    fn on_data(&mut self, slot: u32, data: &[u8], end_stream: bool) {
        let limit = self.options.max_receive_message_bytes;
        let Some(stream) = self.wire.streams.get(slot) else { return };
        let mut open = true;
        let mut rest = data;
        loop {
            let received = match stream.call.assembler.next(&mut rest, limit) {
                Ok(Some(received)) => received,
                Ok(None) => break,
                Err(status) => return self.cancel(slot, status),
            };
            match &mut stream.call.kind {
                Kind::Unary { message, .. } => *message = Some(received),
                Kind::Stream(shared) => open = shared.push(received),
            }
        }
        if end_stream {
            return self.finish(
                slot,
                Err(Status::new(Code::INTERNAL, "server closed the stream without sending trailers")),
            );
        }
        if let Kind::Stream(shared) = &stream.call.kind {
            open = open && shared.accepts();
        }
        if open {
            self.wire.credit(slot);
        }
    }

    /// The server has ended the call.
    fn finish(&mut self, slot: u32, status: Result<(), Status>) {
        let Some(stream) = self.wire.streams.remove(slot) else { return };
        if !stream.call.ended {
            self.wire.reset(stream.id, ErrorCode::NO_ERROR);
        }
        stream.call.end(status, false);
        self.start_waiting();
    }

    /// We end the call.
    fn cancel(&mut self, slot: u32, status: Status) {
        let Some(stream) = self.wire.streams.remove(slot) else { return };
        self.wire.reset(stream.id, ErrorCode::CANCEL);
        stream.call.end(Err(status), false);
        self.start_waiting();
    }

    /// The call ends without a further frame.
    fn lose(&mut self, slot: u32, status: Status, unprocessed: bool) {
        if let Some(stream) = self.wire.streams.remove(slot) {
            stream.call.end(Err(status), unprocessed);
            self.start_waiting();
        }
    }

    fn run(&mut self, slot: u32) {
        let Some(stream) = self.wire.streams.get(slot) else { return };
        let readable = match &mut stream.call.kind {
            Kind::Unary { reply, .. } if reply.is_closed() => return self.cancel(slot, Status::canceled()),
            Kind::Unary { .. } => true,
            Kind::Stream(shared) if shared.receiver_gone() => return self.cancel(slot, Status::canceled()),
            Kind::Stream(shared) => shared.accepts(),
        };
        if readable {
            self.wire.credit(slot);
        }
        self.send(slot);
    }

    fn on_goaway(&mut self, last: u32, code: ErrorCode, debug: &[u8]) {
        let why = if debug.is_empty() {
            String::from("the server goes away")
        } else {
            format!("the server goes away: {} (code {})", String::from_utf8_lossy(debug), code.0)
        };
        self.close_queue(&why);
        for slot in self.wire.streams.occupied() {
            if self.wire.streams.get(slot).is_some_and(|stream| stream.id > last) {
                self.lose(slot, connection_lost(&why), true);
            }
        }
    }

    /// No further call: those that wait are told.
    fn close_queue(&mut self, why: &str) {
        self.draining = true;
        let mut state = self.queue.state.lock();
        state.closed.get_or_insert_with(|| connection_lost(why));
        let commands = std::mem::take(&mut state.commands);
        drop(state);
        for command in self.waiting.drain(..).chain(commands) {
            match command {
                Command::Unary { reply, .. } => drop(reply.send(Err(CallError::unprocessed(connection_lost(why))))),
                Command::Stream { shared, .. } => shared.close(Err(connection_lost(why))),
            }
        }
    }
}

impl Call {
    fn end(self, status: Result<(), Status>, unprocessed: bool) {
        match self.kind {
            Kind::Unary { reply, message } => {
                let no_message = || {
                    Status::new(
                        Code::INTERNAL,
                        "cardinality violation: received no response message from non-server-streaming RPC",
                    )
                };
                let answer = status.and_then(|()| message.ok_or_else(no_message));
                // A caller that is gone does not want it.
                let _ = reply.send(answer.map_err(|status| CallError { status, unprocessed }));
            }
            Kind::Stream(shared) => shared.close(status),
        }
    }
}

impl Role for Caller {
    type Call = Call;

    fn wire(&mut self) -> &mut Wire<Call> {
        &mut self.wire
    }

    fn event(&mut self, event: Event<'_>) -> Result<(), Fault> {
        match event {
            Event::Headers {
                id,
                target,
                end_stream,
                block,
            } => self.on_headers(id, target, end_stream, &block)?,
            Event::Data { slot, data, end_stream } => self.on_data(slot, data, end_stream),
            Event::Reset { slot, code } => self.lose(slot, reset_status(code), code == ErrorCode::REFUSED_STREAM),
            Event::GoAway { last, code, debug } => self.on_goaway(last, code, debug),
            Event::Settings => self.start_waiting(),
            Event::Ping | Event::PingAck(_) | Event::Nothing => {}
        }
        Ok(())
    }

    fn stream_fault(&mut self, id: u32, _code: ErrorCode) {
        if let Some(slot) = self.wire.streams.find(id) {
            self.lose(slot, Status::new(Code::INTERNAL, "the server breaks the protocol"), false);
        }
    }

    fn woken(&mut self, slot: u32) {
        match slot {
            COMMANDS => self.take_commands(),
            slot => self.run(slot),
        }
    }

    fn pump(&mut self, slot: u32) {
        self.send(slot);
    }

    fn next_time(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    fn on_time(&mut self, now: Instant) {
        while let Some((slot, id)) = self.deadlines.pop(now) {
            if self.wire.streams.get(slot).is_some_and(|stream| stream.id == id) {
                self.cancel(slot, Status::deadline_exceeded());
            }
        }
    }

    fn shutdown(&mut self) {
        self.close_queue("shut down");
    }

    fn is_done(&mut self) -> bool {
        self.draining && self.wire.streams.len() == 0
    }

    fn end(&mut self, why: &str) {
        let why = if why.is_empty() { "closed" } else { why };
        self.close_queue(why);
        for slot in self.wire.streams.occupied() {
            self.lose(slot, connection_lost(why), false);
        }
    }
}

fn request_fields(encoder: &mut Encoder, out: &mut Vec<u8>, options: &Options, call: &NewCall) {
    use Indexing::{Index, Plain};
    encoder.field(out, b":method", b"POST", Index);
    encoder.field(out, b":scheme", options.scheme.as_bytes(), Index);
    encoder.field(out, b":path", call.path.as_bytes(), Index);
    encoder.field(out, b":authority", options.authority.as_bytes(), Index);
    encoder.field(out, b"content-type", b"application/grpc", Index);
    encoder.field(out, b"user-agent", options.user_agent.as_bytes(), Index);
    encoder.field(out, b"te", b"trailers", Index);
    if let Some(timeout) = call.timeout {
        encoder.field(out, b"grpc-timeout", grpc::format_timeout(timeout).as_bytes(), Plain);
    }
    metadata_fields(encoder, out, &call.metadata);
}

fn metadata_fields(encoder: &mut Encoder, out: &mut Vec<u8>, metadata: &Metadata) {
    for (name, value) in metadata.iter() {
        encoder.field(out, name, value, Indexing::Index);
    }
}
