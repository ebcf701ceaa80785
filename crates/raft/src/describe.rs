//! Messages, entries and states as text: Go raft's forms, which its scripts print and its users know from logs.

use std::fmt::{self, Display, Formatter, Write};

use api::pb::raftpb::{
    ConfChange, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType, HardState, Message, Snapshot,
};
use prost::Message as _;

use crate::conf_change::{show_changes, to_v2};
use crate::message::kind_of;
use crate::{LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD, NONE, ReadState, Ready, SoftState};

/// `Term:1 Vote:2 Commit:3`.
pub fn hard_state(state: &HardState) -> String {
    let mut text = format!("Term:{}", state.term());
    if state.vote() != 0 {
        put(&mut text, format_args!(" Vote:{}", state.vote()));
    }
    put(&mut text, format_args!(" Commit:{}", state.commit()));
    text
}

/// `Lead:1 State:StateLeader`.
pub fn soft_state(state: &SoftState) -> String {
    format!("Lead:{} State:{}", state.lead, state.role)
}

/// `Voters:[1 2 3] VotersOutgoing:[] Learners:[] LearnersNext:[] AutoLeave:false`.
pub fn conf_state(state: &ConfState) -> String {
    format!(
        "Voters:{} VotersOutgoing:{} Learners:{} LearnersNext:{} AutoLeave:{}",
        List(&state.voters),
        List(&state.voters_outgoing),
        List(&state.learners),
        List(&state.learners_next),
        state.auto_leave()
    )
}

/// `Index:4 Term:1 ConfState:...`.
pub fn snapshot(snapshot: &Snapshot) -> String {
    let metadata = snapshot.metadata.clone().unwrap_or_default();
    let members = metadata.conf_state.clone().unwrap_or_default();
    format!(
        "Index:{} Term:{} ConfState:{}",
        metadata.index(),
        metadata.term(),
        conf_state(&members)
    )
}

fn is_empty(snapshot: &Snapshot) -> bool {
    snapshot.metadata.as_ref().is_none_or(|metadata| metadata.index() == 0)
}

/// What is to be done, one line an item.
pub fn ready(ready: &Ready) -> String {
    let mut text = String::new();
    if let Some(state) = &ready.soft_state {
        put(&mut text, format_args!("{}\n", soft_state(state)));
    }
    if let Some(state) = &ready.hard_state {
        put(&mut text, format_args!("HardState {}\n", hard_state(state)));
    }
    if !ready.read_states.is_empty() {
        put(&mut text, format_args!("ReadStates {}\n", List(&ready.read_states)));
    }
    if !ready.entries.is_empty() {
        put(&mut text, format_args!("Entries:\n{}", entries(&ready.entries)));
    }
    if let Some(newest) = ready.snapshot.as_ref().filter(|snapshot| !is_empty(snapshot)) {
        put(&mut text, format_args!("Snapshot {}\n", snapshot(newest)));
    }
    if !ready.committed_entries.is_empty() {
        put(&mut text, format_args!("CommittedEntries:\n{}", entries(&ready.committed_entries)));
    }
    if !ready.messages.is_empty() {
        text.push_str("Messages:\n");
        for one in &ready.messages {
            put(&mut text, format_args!("{}\n", message(one)));
        }
    }
    if text.is_empty() {
        return "<empty Ready>".to_owned();
    }
    format!("Ready MustSync={}:\n{text}", ready.must_sync)
}

/// `1->2 MsgApp Term:1 Log:1/11 Commit:11 Entries:[1/12 EntryNormal "x"]`.
pub fn message(message: &Message) -> String {
    let mut text = String::new();
    put_message(&mut text, "", message);
    text
}

fn put_message(text: &mut String, indent: &str, message: &Message) {
    let kind = match kind_of(message) {
        Some(kind) => kind.as_str_name().to_owned(),
        None => message.r#type.unwrap_or_default().to_string(),
    };
    put(
        text,
        format_args!(
            "{indent}{}->{} {kind} Term:{} Log:{}/{}",
            target(message.from()),
            target(message.to()),
            message.term(),
            message.log_term(),
            message.index()
        ),
    );
    if message.reject() {
        put(text, format_args!(" Rejected (Hint: {})", message.reject_hint()));
    }
    if message.commit() != 0 {
        put(text, format_args!(" Commit:{}", message.commit()));
    }
    if message.vote() != 0 {
        put(text, format_args!(" Vote:{}", message.vote()));
    }
    match message.entries.as_slice() {
        [] => {}
        [only] => put(text, format_args!(" Entries:[{}]", entry(only))),
        many => {
            text.push_str(" Entries:[");
            for one in many {
                put(text, format_args!("\n{indent}  {}", entry(one)));
            }
            put(text, format_args!("\n{indent}]"));
        }
    }
    if let Some(carried) = message.snapshot.as_ref().filter(|snapshot| !is_empty(snapshot)) {
        put(text, format_args!("\n{indent}  Snapshot: {}", snapshot(carried)));
    }
    if !message.responses.is_empty() {
        text.push_str(" Responses:[");
        for response in &message.responses {
            text.push('\n');
            put_message(text, &format!("{indent}  "), response);
        }
        put(text, format_args!("\n{indent}]"));
    }
}

/// A node as messages name it.
pub fn target(id: u64) -> String {
    match id {
        NONE => "None".to_owned(),
        LOCAL_APPEND_THREAD => "AppendThread".to_owned(),
        LOCAL_APPLY_THREAD => "ApplyThread".to_owned(),
        id => format!("{id:x}"),
    }
}

/// `1/12 EntryNormal "x"`, `1/4 EntryConfChange v2`.
pub fn entry(entry: &Entry) -> String {
    let number = entry.r#type.unwrap_or_default();
    let (kind, content) = match EntryType::try_from(number) {
        Ok(kind @ EntryType::EntryNormal) => (kind.as_str_name().to_owned(), Quoted(entry.data()).to_string()),
        Ok(kind @ EntryType::EntryConfChange) => {
            let change = ConfChange::decode(entry.data()).map(|change| show_changes(&to_v2(&change).changes));
            (kind.as_str_name().to_owned(), change.unwrap_or_else(|error| error.to_string()))
        }
        Ok(kind @ EntryType::EntryConfChangeV2) => {
            let change = ConfChangeV2::decode(entry.data()).map(|change| show_changes(&change.changes));
            (kind.as_str_name().to_owned(), change.unwrap_or_else(|error| error.to_string()))
        }
        Err(_) => (number.to_string(), String::new()),
    };
    let gap = if content.is_empty() { "" } else { " " };
    format!("{}/{} {kind}{gap}{content}", entry.term(), entry.index())
}

/// [`entry`], one a line.
pub fn entries(entries: &[Entry]) -> String {
    let mut text = String::new();
    for one in entries {
        put(&mut text, format_args!("{}\n", entry(one)));
    }
    text
}

fn put(text: &mut String, part: fmt::Arguments<'_>) {
    text.write_fmt(part).expect("a String takes all");
}

/// `[1 2 3]`.
struct List<'a, T>(&'a [T]);

impl<T: Display> Display for List<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (nth, item) in self.0.iter().enumerate() {
            let gap = if nth > 0 { " " } else { "" };
            write!(f, "{gap}{item}")?;
        }
        f.write_str("]")
    }
}

impl Display for ReadState {
    /// `{5 [1 2 3]}`.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{{{} {}}}", self.index, List(&self.request_ctx))
    }
}

/// Bytes in double quotes, as Go's `%q` writes them.
struct Quoted<'a>(&'a [u8]);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for chunk in self.0.utf8_chunks() {
            for letter in chunk.valid().chars() {
                match letter {
                    '"' => f.write_str("\\\"")?,
                    '\\' => f.write_str("\\\\")?,
                    '\x07' => f.write_str("\\a")?,
                    '\x08' => f.write_str("\\b")?,
                    '\x0c' => f.write_str("\\f")?,
                    '\n' => f.write_str("\\n")?,
                    '\r' => f.write_str("\\r")?,
                    '\t' => f.write_str("\\t")?,
                    '\x0b' => f.write_str("\\v")?,
                    control if control < ' ' || control == '\x7f' => write!(f, "\\x{:02x}", control as u32)?,
                    control if control.is_control() => write!(f, "\\u{:04x}", control as u32)?,
                    plain => f.write_char(plain)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        f.write_char('"')
    }
}

/// A change of the configuration, with what an absent field stands for.
pub fn conf_change(change: &ConfChangeV2) -> String {
    let transition = name_of(change.transition.unwrap_or_default(), ConfChangeTransition::as_str_name);
    let mut text = format!("transition:{transition}");
    for single in &change.changes {
        let kind = name_of(single.r#type.unwrap_or_default(), ConfChangeType::as_str_name);
        let _ = write!(text, " changes:{{type:{kind} node_id:{}}}", single.node_id.unwrap_or_default());
    }
    if let Some(context) = change.context.as_ref().filter(|context| !context.is_empty()) {
        let _ = write!(text, " context:{}", Quoted(context));
    }
    text
}

/// An enum's name, or its number if it has none.
fn name_of<E: TryFrom<i32>>(number: i32, name: impl Fn(&E) -> &'static str) -> String {
    E::try_from(number).map_or_else(|_| number.to_string(), |value| name(&value).to_owned())
}

/// A configuration in protobuf's text form, in one line: `voters:1 voters:2 learners:3`. Only what is set is written.
pub(crate) struct ProtoText<'a>(pub &'a ConfState);

impl Display for ProtoText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let lists = [
            ("voters", &self.0.voters),
            ("learners", &self.0.learners),
            ("voters_outgoing", &self.0.voters_outgoing),
            ("learners_next", &self.0.learners_next),
        ];
        let mut gap = "";
        for (name, id) in lists.into_iter().flat_map(|(name, ids)| ids.iter().map(move |id| (name, id))) {
            write!(f, "{gap}{name}:{id}")?;
            gap = " ";
        }
        match self.0.auto_leave {
            Some(leave) => write!(f, "{gap}auto_leave:{leave}"),
            None => Ok(()),
        }
    }
}
