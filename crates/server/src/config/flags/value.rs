//! Values of flags: from text into the configuration, and back into text.
//!
//! The error texts are those of Go's `flag` package and of etcd's own flag types.

use super::{Bind, Flag};
use crate::config::feature_gates::GateError;
use crate::config::settings::Config;
use compat::duration::GoDuration;
use compat::strconv::{self, NumError, NumErrorKind};
use compat::url;
use std::collections::BTreeSet;

/// Why a value was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not a value of this type.
    #[error("parse error")]
    Parse,
    /// A number that does not fit.
    #[error("value out of range")]
    Range,
    /// Not one of the few texts.
    #[error("invalid value")]
    Choice,
    /// Not one of the few texts, in a list.
    #[error("invalid value {0:?}")]
    Choices(String),
    /// A number whose refusal shows Go's whole error.
    #[error(transparent)]
    Number(#[from] NumError),
    /// A refused URL.
    #[error(transparent)]
    Url(#[from] url::UrlError),
    /// Refused feature gates.
    #[error(transparent)]
    Gates(#[from] GateError),
}

/// Go's `flag` package shortens the errors of numbers to these two.
fn short(error: NumError) -> ValueError {
    match error.kind {
        NumErrorKind::Syntax => ValueError::Parse,
        NumErrorKind::Range => ValueError::Range,
    }
}

fn split(text: &str) -> impl Iterator<Item = String> {
    text.split(',').map(str::to_owned)
}

impl Flag {
    /// Sets the value from its text, as the command line and the variables do.
    ///
    /// # Errors
    /// `ValueError` with Go's text.
    pub fn set(&self, config: &mut Config, text: &str) -> Result<(), ValueError> {
        match self.bind {
            Bind::Bool(slot) => *slot(config) = strconv::parse_bool(text).map_err(short)?,
            Bind::Int(slot) | Bind::Int64(slot) => *slot(config) = strconv::parse_int(text, 0, 64).map_err(short)?,
            Bind::Uint(slot) | Bind::Uint64(slot) => *slot(config) = strconv::parse_uint(text, 0, 64).map_err(short)?,
            Bind::Uint32(slot) => {
                let number = strconv::parse_uint(text, 0, 32)?;
                *slot(config) = u32::try_from(number).map_err(|_| ValueError::Range)?;
            }
            Bind::Duration(slot) => *slot(config) = GoDuration::parse(text).map_err(|_| ValueError::Parse)?,
            Bind::Text(slot) => text.clone_into(slot(config)),
            Bind::Choice(choices, slot) => {
                if !choices.contains(&text) {
                    return Err(ValueError::Choice);
                }
                text.clone_into(slot(config));
            }
            Bind::Choices(choices, slot) => {
                if let Some(wrong) = text.split(',').find(|part| !choices.contains(part)) {
                    return Err(ValueError::Choices(wrong.to_owned()));
                }
                slot(config).extend(split(text));
                slot(config).sort();
            }
            // The empty text is accepted and changes nothing.
            Bind::Urls(slot) if text.is_empty() => drop(slot(config)),
            Bind::Urls(slot) => *slot(config) = url::parse_list(text)?,
            Bind::Origins(slot) => set_origins(slot(config), text)?,
            Bind::List(slot) => *slot(config) = split(text).collect(),
            Bind::Set(slot) => *slot(config) = split(text).collect(),
            Bind::Gates(slot) => slot(config).set(text)?,
            Bind::Ignored | Bind::Removed => {}
        }
        Ok(())
    }

    /// Sets the default.
    pub(in crate::config) fn reset(&self, config: &mut Config) {
        match self.bind {
            // Where the default is nothing, it is an empty list and not a list of one empty text.
            Bind::Urls(slot) if self.default.is_empty() => slot(config).clear(),
            Bind::List(slot) if self.default.is_empty() => slot(config).clear(),
            Bind::Choices(_, slot) => slot(config).clear(),
            Bind::Set(slot) if self.default.is_empty() => slot(config).clear(),
            _ => {
                let done = self.set(config, self.default);
                assert!(done.is_ok(), "the default of --{} is not a value: {done:?}", self.name);
            }
        }
    }

    /// The value as one would write it.
    pub fn text(&self, config: &mut Config) -> String {
        fn join<'a>(parts: impl Iterator<Item = &'a String>) -> String {
            parts.map(String::as_str).collect::<Vec<_>>().join(",")
        }
        match self.bind {
            Bind::Bool(slot) => slot(config).to_string(),
            Bind::Int(slot) | Bind::Int64(slot) => slot(config).to_string(),
            Bind::Uint(slot) | Bind::Uint64(slot) => slot(config).to_string(),
            Bind::Uint32(slot) => slot(config).to_string(),
            Bind::Duration(slot) => slot(config).to_string(),
            Bind::Text(slot) | Bind::Choice(_, slot) => slot(config).clone(),
            Bind::Choices(_, slot) | Bind::List(slot) => join(slot(config).iter()),
            Bind::Urls(slot) => slot(config).iter().map(url::Url::to_string).collect::<Vec<_>>().join(","),
            Bind::Origins(slot) | Bind::Set(slot) => join(slot(config).iter()),
            Bind::Gates(slot) => slot(config).to_string(),
            Bind::Ignored | Bind::Removed => String::new(),
        }
    }
}

/// `*` joins what is there already; anything else replaces it. Both are how etcd's flag type behaves.
fn set_origins(origins: &mut BTreeSet<String>, text: &str) -> Result<(), ValueError> {
    if origins.contains(text) || text == "*" {
        origins.insert(text.to_owned());
        return Ok(());
    }
    *origins = url::parse_list(text)?.iter().map(url::Url::to_string).collect();
    Ok(())
}
