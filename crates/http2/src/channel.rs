//! The messages of a streaming call, between a handler and its connection.
//!
//! Both directions of a call share one lock that is held for moments only. Back-pressure: what the handler has not read is not given
//! back to the peer's window; what the peer does not take fills the bounded queue that `send` waits for.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::Frame;
use parking_lot::Mutex;

use crate::body::BoxError;
use crate::ready::SlotWaker;
use crate::{Encoded, Status};

/// The peer is gone or has reset the call: nothing more can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the call has ended")]
pub struct SendError;

/// How the peer's messages end: properly, or with a status.
pub(crate) type End = Result<(), Status>;

#[derive(Default)]
struct State {
    incoming: VecDeque<Bytes>,
    incoming_bytes: usize,
    incoming_end: Option<End>,
    /// The connection withholds window until the handler has read on.
    withheld: bool,
    receiver: Option<Waker>,
    receiver_gone: bool,
    outgoing: VecDeque<Encoded>,
    outgoing_bytes: usize,
    senders: usize,
    waiting: Vec<Waker>,
    /// The connection takes nothing more.
    closed: bool,
}

/// One call's queues, as the connection sees them.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Set when the call has its stream.
    connection: OnceLock<Arc<SlotWaker>>,
    incoming_limit: usize,
    outgoing_limit: usize,
}

/// What the connection finds when it wants to send.
pub(crate) enum Outgoing {
    Message(Encoded),
    /// Nothing yet.
    Empty,
    /// Nothing ever again: all senders are gone.
    End,
}

impl Shared {
    /// Makes a call's queues; limits in bytes.
    pub(crate) fn new(incoming_limit: usize, outgoing_limit: usize) -> Arc<Shared> {
        Arc::new(Shared {
            state: Mutex::default(),
            connection: OnceLock::new(),
            incoming_limit,
            outgoing_limit,
        })
    }

    /// The call has got its stream: from here on the connection is told what happens at our end. It must look once by itself.
    pub(crate) fn attach(&self, connection: Arc<SlotWaker>) {
        let first = self.connection.set(connection);
        assert!(first.is_ok(), "a call with two streams");
    }

    fn notify(&self) {
        if let Some(connection) = self.connection.get() {
            connection.notify();
        }
    }

    pub(crate) fn receiver(self: &Arc<Shared>) -> MessageReceiver {
        MessageReceiver { shared: self.clone() }
    }

    pub(crate) fn sender(self: &Arc<Shared>) -> MessageSender {
        self.state.lock().senders += 1;
        MessageSender { shared: self.clone() }
    }

    /// Hands a message of the peer to the handler. False: the peer should get no more window until the handler has read.
    pub(crate) fn push(&self, message: Bytes) -> bool {
        let mut state = self.state.lock();
        if state.receiver_gone || state.incoming_end.is_some() {
            return true;
        }
        state.incoming_bytes += message.len();
        state.incoming.push_back(message);
        let waker = state.receiver.take();
        state.withheld = state.incoming_bytes > self.incoming_limit;
        let open = !state.withheld;
        drop(state);
        wake(waker);
        open
    }

    /// Whether the peer may have more window.
    pub(crate) fn accepts(&self) -> bool {
        let mut state = self.state.lock();
        state.withheld = state.incoming_bytes > self.incoming_limit && !state.receiver_gone;
        !state.withheld
    }

    /// The peer has sent all it had, or the call has failed.
    pub(crate) fn finish(&self, end: End) {
        let mut state = self.state.lock();
        state.incoming_end.get_or_insert(end);
        let waker = state.receiver.take();
        drop(state);
        wake(waker);
    }

    /// Ends both directions: the call is over.
    pub(crate) fn close(&self, end: End) {
        let mut state = self.state.lock();
        state.closed = true;
        state.outgoing.clear();
        state.outgoing_bytes = 0;
        state.incoming_end.get_or_insert(end);
        let receiver = state.receiver.take();
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        wake(receiver);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// The next message for the peer.
    pub(crate) fn pop(&self) -> Outgoing {
        let mut state = self.state.lock();
        let Some(message) = state.outgoing.pop_front() else {
            return if state.senders == 0 { Outgoing::End } else { Outgoing::Empty };
        };
        state.outgoing_bytes -= message.len();
        if state.outgoing_bytes < self.outgoing_limit && !state.waiting.is_empty() {
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            waiting.into_iter().for_each(Waker::wake);
        }
        Outgoing::Message(message)
    }

    /// Whether nobody will read the peer's messages.
    pub(crate) fn receiver_gone(&self) -> bool {
        self.state.lock().receiver_gone
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Messages from the peer, whole and in order. Reading them gives the peer its flow control window back.
pub struct MessageReceiver {
    shared: Arc<Shared>,
}

impl MessageReceiver {
    /// The next message; `None` when the peer has finished sending.
    ///
    /// # Errors
    /// On a server code 1 when the call was given up, code 8 for a message above the limit; on a client the call's status.
    pub async fn message(&mut self) -> Result<Option<Bytes>, Status> {
        std::future::poll_fn(|cx| self.poll_message(cx)).await
    }

    /// As [`MessageReceiver::message`], to be polled.
    pub fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>> {
        let mut state = self.shared.state.lock();
        if let Some(message) = state.incoming.pop_front() {
            state.incoming_bytes -= message.len();
            if state.withheld && state.incoming_bytes <= self.shared.incoming_limit / 2 {
                state.withheld = false;
                drop(state);
                self.shared.notify();
            }
            return Poll::Ready(Ok(Some(message)));
        }
        match &state.incoming_end {
            Some(Ok(())) => Poll::Ready(Ok(None)),
            Some(Err(status)) => Poll::Ready(Err(status.clone())),
            None => {
                match &mut state.receiver {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for MessageReceiver {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.receiver_gone = true;
        state.incoming.clear();
        state.incoming_bytes = 0;
        let over = state.closed;
        drop(state);
        if !over {
            self.shared.notify();
        }
    }
}

/// A request's body is a receiver whose "messages" are the chunks.
impl http_body::Body for MessageReceiver {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.get_mut().poll_message(cx).map(|chunk| match chunk {
            Ok(chunk) => chunk.map(|chunk| Ok(Frame::data(chunk))),
            Err(status) => Some(Err(status.into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        let state = self.shared.state.lock();
        state.incoming.is_empty() && matches!(state.incoming_end, Some(Ok(())))
    }
}

/// Messages to the peer. Clones feed the same call; on a client, dropping the last one ends our side of it.
pub struct MessageSender {
    shared: Arc<Shared>,
}

impl MessageSender {
    /// Queues a message; waits while more than the configured bytes wait for the peer.
    ///
    /// # Errors
    /// When the call has ended.
    pub async fn send(&self, message: Encoded) -> Result<(), SendError> {
        self.ready().await?;
        self.send_now(message)
    }

    /// Queues a message without waiting, whatever waits already: for who keeps count himself.
    ///
    /// # Errors
    /// When the call has ended.
    pub fn send_now(&self, message: Encoded) -> Result<(), SendError> {
        let mut state = self.shared.state.lock();
        if state.closed {
            return Err(SendError);
        }
        state.outgoing_bytes += message.len();
        state.outgoing.push_back(message);
        drop(state);
        self.shared.notify();
        Ok(())
    }

    /// Bytes queued and not yet framed.
    pub fn queued_bytes(&self) -> usize {
        self.shared.state.lock().outgoing_bytes
    }

    /// Messages queued and not yet framed.
    pub fn queued_messages(&self) -> usize {
        self.shared.state.lock().outgoing.len()
    }

    /// Ends when there is room for another message.
    ///
    /// # Errors
    /// When the call has ended.
    pub async fn ready(&self) -> Result<(), SendError> {
        std::future::poll_fn(|cx| self.poll_ready(cx)).await
    }

    /// As [`MessageSender::ready`], to be polled.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let mut state = self.shared.state.lock();
        if state.closed {
            return Poll::Ready(Err(SendError));
        }
        if state.outgoing_bytes < self.shared.outgoing_limit {
            return Poll::Ready(Ok(()));
        }
        wait(&mut state.waiting, cx);
        Poll::Pending
    }

    pub fn is_closed(&self) -> bool {
        self.shared.state.lock().closed
    }

    /// Ends when the call has ended.
    pub async fn closed(&self) {
        std::future::poll_fn(|cx| {
            let mut state = self.shared.state.lock();
            if state.closed {
                return Poll::Ready(());
            }
            wait(&mut state.waiting, cx);
            Poll::Pending
        })
        .await;
    }
}

fn wait(waiting: &mut Vec<Waker>, cx: &Context<'_>) {
    if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
        waiting.push(cx.waker().clone());
    }
}

impl Clone for MessageSender {
    fn clone(&self) -> MessageSender {
        self.shared.sender()
    }
}

impl Drop for MessageSender {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.senders -= 1;
        let last = state.senders == 0 && !state.closed;
        drop(state);
        if last {
            self.shared.notify();
        }
    }
}
