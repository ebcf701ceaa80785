//! Changes as text: `v1 l2 r3 u4` in scripts, `ConfChangeAddNode(1)` in messages for people.

use std::fmt::Write;

use api::pb::raftpb::{ConfChangeSingle, ConfChangeType};

use super::single;

/// What is wrong with a list of changes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseChangesError {
    #[error("unknown token {0}")]
    Token(String),
    #[error("unknown input: {0}")]
    Letter(String),
    #[error("strconv.ParseUint: parsing \"{0}\": invalid syntax")]
    Number(String),
}

/// Reads `v1 l2 r3 u4`: voter, learner, remove, update.
///
/// # Errors
/// With the word that is not of that form.
pub fn parse_changes(text: &str) -> Result<Vec<ConfChangeSingle>, ParseChangesError> {
    text.split_whitespace()
        .map(|word| {
            let mut letters = word.chars();
            let (letter, number) = (letters.next(), letters.as_str());
            if number.is_empty() {
                return Err(ParseChangesError::Token(word.to_owned()));
            }
            let kind = match letter {
                Some('v') => ConfChangeType::ConfChangeAddNode,
                Some('l') => ConfChangeType::ConfChangeAddLearnerNode,
                Some('r') => ConfChangeType::ConfChangeRemoveNode,
                Some('u') => ConfChangeType::ConfChangeUpdateNode,
                _ => return Err(ParseChangesError::Letter(word.to_owned())),
            };
            let id = number.parse().map_err(|_| ParseChangesError::Number(number.to_owned()))?;
            Ok(single(kind, id))
        })
        .collect()
}

/// Writes what [`parse_changes`] reads.
pub fn show_changes(changes: &[ConfChangeSingle]) -> String {
    let mut text = String::new();
    for change in changes {
        let gap = if text.is_empty() { "" } else { " " };
        let letter = match ConfChangeType::try_from(change.r#type.unwrap_or_default()) {
            Ok(ConfChangeType::ConfChangeAddNode) => "v",
            Ok(ConfChangeType::ConfChangeAddLearnerNode) => "l",
            Ok(ConfChangeType::ConfChangeRemoveNode) => "r",
            Ok(ConfChangeType::ConfChangeUpdateNode) => "u",
            Err(_) => "unknown",
        };
        let _ = write!(text, "{gap}{letter}{}", change.node_id.unwrap_or_default());
    }
    text
}

/// `ConfChangeAddNode(1) ConfChangeRemoveNode(2)`.
pub fn describe_changes(changes: &[ConfChangeSingle]) -> String {
    let mut text = String::new();
    for change in changes {
        let gap = if text.is_empty() { "" } else { " " };
        let number = change.r#type.unwrap_or_default();
        let id = change.node_id.unwrap_or_default();
        let _ = match ConfChangeType::try_from(number) {
            Ok(kind) => write!(text, "{gap}{}({id})", kind.as_str_name()),
            Err(_) => write!(text, "{gap}{number}({id})"),
        };
    }
    text
}
