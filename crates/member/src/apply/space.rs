//! What happens when the database is full: the request is executed, its answer says "no space", and this member raises the alarm.
//!
//! The quota is local and never stops an entry; only the alarm, at its place in the log, changes what passes. As in Go, the client that
//! ran into it is answered once the alarm is raised, so that it finds the alarm when it looks.

use std::time::Duration;

use api::pb::etcdserverpb::RequestHeader;
use api::{Error, Status};
use prost::Message;

use super::{Answer, ApplyOutcome, Outcome, Parts, Response};
use crate::propose::{Body, wrap};
use crate::quota;
use crate::replicate::{EntryKind, Proposal, ProposalId};

#[derive(Debug, Default)]
pub(super) struct Space {
    asked: Option<Asked>,
}

/// An alarm on its way.
#[derive(Debug)]
struct Asked {
    id: u64,
    again_at: Duration,
    held: Vec<Answer>,
}

impl Space {
    /// Looks at the result of a request; `None` if its answer is held back.
    pub fn after(&mut self, outcome: Outcome, parts: &Parts, now: Duration, done: &mut ApplyOutcome) -> Option<Result<Response, Status>> {
        if outcome.fits || outcome.result.is_err() {
            return Some(outcome.result);
        }
        let full = Err(Error::NoSpace.into());
        if parts.alarms.no_space() {
            return Some(full);
        }
        let asked = self.asked.get_or_insert_with(|| ask(parts, now, done));
        if parts.ids.is_own(outcome.waiter) {
            asked.held.push(Answer {
                id: outcome.waiter,
                result: full,
            });
        }
        None
    }

    /// The answers held back for the alarm with this id.
    pub fn release(&mut self, id: u64) -> Option<Vec<Answer>> {
        let asked = self.asked.take_if(|asked| asked.id == id)?;
        Some(asked.held)
    }

    /// Asks again when the alarm did not come through: refused by an overloaded member, or lost with a leader.
    pub fn retry(&mut self, parts: &Parts, now: Duration, done: &mut ApplyOutcome) {
        let Some(asked) = &mut self.asked else { return };
        if parts.alarms.no_space() {
            done.answers.append(&mut asked.held);
            self.asked = None;
        } else if now >= asked.again_at {
            let held = std::mem::take(&mut asked.held);
            let again = ask(parts, now, done);
            self.asked = Some(Asked { held, ..again });
        }
    }
}

fn ask(parts: &Parts, now: Duration, done: &mut ApplyOutcome) -> Asked {
    let id = parts.ids.next();
    let request = quota::no_space(parts.cluster.local_id());
    let header = RequestHeader {
        id,
        ..RequestHeader::default()
    };
    done.proposals.push(Proposal {
        id: ProposalId(id),
        kind: EntryKind::Normal,
        data: wrap(&header, Body::Alarm, &request.encode_to_vec()),
    });
    Asked {
        id,
        again_at: now + parts.retry,
        held: Vec::new(),
    }
}
