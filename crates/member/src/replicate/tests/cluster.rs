//! Several replicators that hear each other: agreement, reads and handing over, without a log, a network or a clock.

use super::*;

struct Machines {
    list: Vec<Replicator>,
    /// What each one applied.
    applied: Vec<Vec<Bytes>>,
    reads: Vec<Vec<(RaftIndex, u64)>>,
    refused: Vec<Vec<u64>>,
    /// Members whose messages are lost, in and out.
    cut: Vec<bool>,
    /// Members whose log acknowledges nothing.
    stalled: Vec<bool>,
    stopped: Vec<Option<String>>,
}

impl Machines {
    fn new(count: u64) -> Machines {
        let start_of = |id| Start {
            member: MemberId(id),
            conf_state: raftpb::ConfState {
                voters: (1..=count).collect(),
                ..raftpb::ConfState::default()
            },
            ids: Arc::new(RequestIds::new(MemberId(id), 0)),
            seed: id,
            ..start(Vec::new(), 0, 0)
        };
        let list: Vec<_> = (1..=count)
            .map(|id| Replicator::new(start_of(id), Arc::default()).unwrap())
            .collect();
        let count = list.len();
        Machines {
            list,
            applied: vec![Vec::new(); count],
            reads: vec![Vec::new(); count],
            refused: vec![Vec::new(); count],
            cut: vec![false; count],
            stalled: vec![false; count],
            stopped: vec![None; count],
        }
    }

    /// Gives an input to one and carries out what follows, everywhere.
    fn step(&mut self, at: usize, input: Input) {
        let mut inputs = VecDeque::from([(at, input)]);
        while let Some((at, input)) = inputs.pop_front() {
            for effect in step(&mut self.list[at], input) {
                self.carry_out(at, effect, &mut inputs);
            }
        }
    }

    fn carry_out(&mut self, at: usize, effect: Effect, inputs: &mut VecDeque<(usize, Input)>) {
        match effect {
            Effect::Append(batch) if batch.must_sync && !self.stalled[at] => inputs.push_back((at, Input::LogSynced(batch.ack))),
            Effect::Apply(entries) => {
                let last = entries.last().unwrap().index;
                self.applied[at].extend(entries.into_iter().map(|entry| entry.data).filter(|data| !data.is_empty()));
                inputs.push_back((at, Input::Applied(last, Vec::new())));
            }
            Effect::Send(messages) => {
                for message in messages {
                    let to = message.to.unwrap() as usize - 1;
                    if !self.cut[at] && !self.cut[to] {
                        inputs.push_back((to, Input::FromPeer(Box::new(message))));
                    }
                }
            }
            Effect::ReadAt(index, contexts) => self.reads[at].extend(contexts.into_iter().map(|context| (index, context.0))),
            Effect::Refuse(id, _) => self.refused[at].push(id.0),
            Effect::Stop(reason) => self.stopped[at] = Some(reason),
            _ => {}
        }
    }

    fn tick(&mut self) {
        for at in 0..self.list.len() {
            self.step(at, Input::Tick);
        }
    }

    /// Ticks until the members that are not cut off have one leader; gives it.
    fn elect(&mut self) -> usize {
        for _ in 0..200 {
            self.tick();
            let leaders: Vec<u64> = (0..self.list.len())
                .filter(|at| !self.cut[*at])
                .map(|at| self.list[at].progress.leader())
                .collect();
            if leaders[0] != 0 && !self.cut[leaders[0] as usize - 1] && leaders.iter().all(|leader| *leader == leaders[0]) {
                return leaders[0] as usize - 1;
            }
        }
        panic!("no leader after 200 ticks");
    }
}

#[test]
fn proposals_of_every_member_are_applied_everywhere_in_one_order() {
    let mut machines = Machines::new(3);
    machines.elect();
    for at in 0..3 {
        machines.step(at, propose(at as u64 * 10..at as u64 * 10 + 3));
    }
    machines.tick();
    machines.tick();
    assert_eq!(machines.applied[0].len(), 9);
    assert_eq!(machines.applied[0], machines.applied[1]);
    assert_eq!(machines.applied[0], machines.applied[2]);
}

#[test]
fn a_follower_reads_what_was_committed_before_it_asked() {
    let mut machines = Machines::new(3);
    let leader = machines.elect();
    let follower = (leader + 1) % 3;
    machines.step(leader, propose(0..5));
    let committed = machines.list[leader].progress.committed();
    machines.step(follower, Input::Read(ReadContext(7)));
    assert_eq!(machines.reads[follower], [(committed, 7)]);
    assert!(!machines.list[leader].progress.reads_are_local(), "not alone");
}

#[test]
fn a_deposed_leader_answers_no_read_and_its_proposals_move() {
    let mut machines = Machines::new(3);
    let old = machines.elect();
    machines.cut[old] = true;
    machines.step(old, Input::Read(ReadContext(1)));
    machines.step(old, propose(100..101));
    let new = machines.elect();
    assert_ne!(old, new);
    machines.step(new, propose(0..1));
    assert!(machines.reads[old].is_empty() && machines.applied[old].is_empty());
    machines.cut[old] = false;
    for _ in 0..30 {
        machines.tick();
    }
    let committed = machines.list[new].progress.committed();
    assert_eq!(machines.reads[old], [(committed, 1)], "asked again, of the new leader");
    assert_eq!(machines.applied[old], machines.applied[new]);
    assert!(
        !machines.applied[old].contains(&Bytes::from("p100")),
        "what the old leader alone had is gone"
    );
}

#[test]
fn proposals_and_reads_wait_while_there_is_no_leader() {
    let mut machines = Machines::new(3);
    machines.step(1, propose(5..6));
    machines.step(1, Input::Read(ReadContext(9)));
    assert!(machines.applied[1].is_empty());
    machines.elect();
    for _ in 0..10 {
        machines.tick();
    }
    assert_eq!(machines.applied[0], [Bytes::from("p5")]);
    assert_eq!(machines.reads[1].len(), 1);
    assert!(machines.refused[1].is_empty());
}

#[test]
fn leadership_is_handed_over_on_request() {
    let mut machines = Machines::new(3);
    let old = machines.elect();
    let new = (old + 2) % 3;
    machines.step(old, Input::TransferLeader(MemberId(new as u64 + 1)));
    assert_eq!(machines.list[old].progress.leader(), new as u64 + 1);
    machines.step(old, propose(1..2));
    machines.tick();
    assert_eq!(machines.applied[old], [Bytes::from("p1")]);
}

#[test]
fn a_leader_whose_log_stalls_gives_leadership_away() {
    let mut machines = Machines::new(3);
    let old = machines.elect();
    machines.stalled[old] = true;
    machines.step(old, propose(1..2));
    for _ in 0..25 {
        machines.tick();
    }
    assert_ne!(machines.list[old].progress.leader(), old as u64 + 1);
    let others: Vec<_> = (0..3).filter(|at| *at != old).collect();
    for at in others {
        assert_eq!(machines.applied[at], [Bytes::from("p1")], "two of three have it");
    }
}

#[test]
fn a_member_that_lost_its_log_stops_with_advice() {
    let mut machines = Machines::new(3);
    let leader = machines.elect();
    machines.step(leader, propose(0..5));
    machines.tick();
    let lost = (leader + 1) % 3;
    machines.list[lost] = Machines::new(3).list.remove(lost);
    machines.tick();
    let reason = machines.stopped[lost].as_ref().unwrap();
    assert!(reason.contains("etcdctl member remove"), "{reason}");
    assert!(machines.stopped.iter().filter(|stopped| stopped.is_some()).count() == 1);
}
