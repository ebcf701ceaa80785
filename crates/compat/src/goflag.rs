//! Go's `flag` package: how arguments are split into flags and values, and what is said about wrong ones.
//!
//! One dash or two; `-name=value` or `-name value`; a boolean flag takes no second argument. Parsing ends before the first argument
//! that is no flag, or after `--`. Knows no flag itself: the caller says which exist and keeps the values.

use crate::strconv::quote;
use std::fmt;

/// The flags a command knows.
pub trait Flags {
    /// Whether the flag may stand without a value; `None` if there is no such flag.
    fn is_bool(&self, name: &str) -> Option<bool>;

    /// Sets a flag.
    ///
    /// # Errors
    /// The reason, in the words after the colon of Go's message.
    fn set(&mut self, name: &str, value: &str) -> Result<(), String>;
}

/// Why arguments were refused; the text is Go's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// `-h` or `-help`: the caller prints its help.
    Help,
    /// A dash too many, or no name.
    Syntax(String),
    /// No such flag.
    Unknown(String),
    /// The value is missing.
    NeedsValue(String),
    /// A value that was refused: flag, value, reason.
    Value(String, String, String),
    /// The same for a boolean flag.
    BoolValue(String, String, String),
}

impl fmt::Display for ParseError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseError::Help => out.write_str("flag: help requested"),
            ParseError::Syntax(argument) => write!(out, "bad flag syntax: {argument}"),
            ParseError::Unknown(name) => write!(out, "flag provided but not defined: -{name}"),
            ParseError::NeedsValue(name) => write!(out, "flag needs an argument: -{name}"),
            ParseError::Value(name, value, reason) => write!(out, "invalid value {} for flag -{name}: {reason}", quote(value)),
            ParseError::BoolValue(name, value, reason) => write!(out, "invalid boolean value {} for -{name}: {reason}", quote(value)),
        }
    }
}

impl std::error::Error for ParseError {}

/// Sets the flags that the arguments give, in their order, and returns the arguments after them.
///
/// # Errors
/// The first argument that is wrong; the flags before it are set by then.
pub fn parse<'a>(mut arguments: &'a [String], flags: &mut dyn Flags) -> Result<&'a [String], ParseError> {
    while let Some((argument, after)) = arguments.split_first() {
        let Some(body) = argument.strip_prefix('-').filter(|body| !body.is_empty()) else {
            return Ok(arguments);
        };
        let body = body.strip_prefix('-').unwrap_or(body);
        if argument == "--" {
            return Ok(after);
        }
        arguments = after;
        if body.is_empty() || body.starts_with(['-', '=']) {
            return Err(ParseError::Syntax(argument.clone()));
        }
        // The name has at least one letter, so an equals sign ends it only after the first.
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (body, None),
        };
        match flags.is_bool(name) {
            None if name == "help" || name == "h" => return Err(ParseError::Help),
            None => return Err(ParseError::Unknown(name.to_owned())),
            Some(true) => {
                let value = value.unwrap_or("true");
                flags
                    .set(name, value)
                    .map_err(|reason| ParseError::BoolValue(name.to_owned(), value.to_owned(), reason))?;
            }
            Some(false) => {
                let value = match value {
                    Some(value) => value,
                    None => {
                        let (next, after) = arguments.split_first().ok_or_else(|| ParseError::NeedsValue(name.to_owned()))?;
                        arguments = after;
                        next
                    }
                };
                flags
                    .set(name, value)
                    .map_err(|reason| ParseError::Value(name.to_owned(), value.to_owned(), reason))?;
            }
        }
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Default)]
    struct Known(BTreeMap<String, String>);

    impl Flags for Known {
        fn is_bool(&self, name: &str) -> Option<bool> {
            match name {
                "b" => Some(true),
                "name" => Some(false),
                _ => None,
            }
        }

        fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
            if value == "wrong" {
                return Err("parse error".to_owned());
            }
            self.0.insert(name.to_owned(), value.to_owned());
            Ok(())
        }
    }

    fn run(arguments: &[&str]) -> Result<(Vec<String>, Vec<String>), String> {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let mut known = Known::default();
        let rest = parse(&arguments, &mut known).map_err(|e| e.to_string())?;
        Ok((known.0.iter().map(|(k, v)| format!("{k}={v}")).collect(), rest.to_vec()))
    }

    #[test]
    fn splits_as_go() {
        let got = |set: &[&str], rest: &[&str]| {
            Ok((
                set.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>(),
                rest.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>(),
            ))
        };
        assert_eq!(run(&["-name=a", "--b"]), got(&["b=true", "name=a"], &[]));
        assert_eq!(run(&["--name", "-b", "-b=false"]), got(&["b=false", "name=-b"], &[]));
        assert_eq!(run(&["--name=a=b", "rest", "--b"]), got(&["name=a=b"], &["rest", "--b"]));
        assert_eq!(run(&["--b", "--", "--name"]), got(&["b=true"], &["--name"]));
        assert_eq!(run(&["-"]), got(&[], &["-"]));
        assert_eq!(run(&["--name="]), got(&["name="], &[]));
    }

    #[test]
    fn refuses_as_go() {
        for (arguments, error) in [
            (&["--nosuch=1"][..], "flag provided but not defined: -nosuch"),
            (&["-name"], "flag needs an argument: -name"),
            (&["--name", "wrong"], "invalid value \"wrong\" for flag -name: parse error"),
            (&["--b=wrong"], "invalid boolean value \"wrong\" for -b: parse error"),
            (&["---b"], "bad flag syntax: ---b"),
            (&["--=b"], "bad flag syntax: --=b"),
            (&["-h"], "flag: help requested"),
        ] {
            assert_eq!(run(arguments).unwrap_err(), error);
        }
    }
}
