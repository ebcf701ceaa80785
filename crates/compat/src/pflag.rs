//! The `pflag` package under Go's cobra commands: long flags with two dashes, letters with one, flags and arguments mixed.
//!
//! Knows no flag itself: the caller says which exist and keeps the values. The messages are pflag's; cobra writes `Error: ` before
//! them.

use crate::strconv::quote;
use std::fmt;

/// What the parser needs to know of a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The long name, without dashes.
    pub name: String,
    /// The letter, if it has one.
    pub letter: Option<char>,
    /// What it means without a value; `None` if it needs one. `true` for booleans.
    pub alone: Option<String>,
}

/// The flags a command knows.
pub trait Flags {
    /// The flag of this long name.
    fn long(&self, name: &str) -> Option<Spec>;

    /// The flag of this letter.
    fn short(&self, letter: char) -> Option<Spec>;

    /// Sets a flag, by its long name.
    ///
    /// # Errors
    /// The reason, in the words after the colon of pflag's message.
    fn set(&mut self, name: &str, value: &str) -> Result<(), String>;
}

/// Why arguments were refused; the text is pflag's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// `-h` or `--help`, where the command has no such flag of its own.
    Help,
    /// A dash too many, or no name.
    Syntax(String),
    /// No such flag.
    Unknown(String),
    /// No flag of this letter, in this argument.
    UnknownLetter(char, String),
    /// The value is missing.
    NeedsValue(String),
    /// The value is missing after a letter, in this argument.
    LetterNeedsValue(char, String),
    /// A value that was refused: flag, value, reason.
    Value(Box<Spec>, String, String),
}

impl fmt::Display for ParseError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseError::Help => out.write_str("pflag: help requested"),
            ParseError::Syntax(argument) => write!(out, "bad flag syntax: {argument}"),
            ParseError::Unknown(name) => write!(out, "unknown flag: --{name}"),
            ParseError::UnknownLetter(letter, letters) => write!(out, "unknown shorthand flag: {letter:?} in -{letters}"),
            ParseError::NeedsValue(name) => write!(out, "flag needs an argument: --{name}"),
            ParseError::LetterNeedsValue(letter, letters) => write!(out, "flag needs an argument: {letter:?} in -{letters}"),
            ParseError::Value(spec, value, reason) => {
                let letter = spec.letter.map(|letter| format!("-{letter}, ")).unwrap_or_default();
                write!(
                    out,
                    "invalid argument {} for {} flag: {reason}",
                    quote(value),
                    quote(&format!("{letter}--{}", spec.name))
                )
            }
        }
    }
}

impl std::error::Error for ParseError {}

/// Sets the flags among the arguments, in their order, and returns the other arguments. After `--` all are others.
///
/// # Errors
/// The first argument that is wrong; the flags before it are set by then.
pub fn parse(arguments: &[String], flags: &mut dyn Flags) -> Result<Vec<String>, ParseError> {
    let mut rest = Vec::new();
    let mut coming = arguments.iter();
    while let Some(argument) = coming.next() {
        if argument == "--" {
            rest.extend(coming.cloned());
            break;
        }
        if let Some(body) = argument.strip_prefix("--") {
            long(body, argument, &mut coming, flags)?;
        } else if let Some(letters) = argument.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            short(letters, &mut coming, flags)?;
        } else {
            rest.push(argument.clone());
        }
    }
    Ok(rest)
}

fn set(flags: &mut dyn Flags, spec: Spec, value: &str) -> Result<(), ParseError> {
    flags
        .set(&spec.name, value)
        .map_err(|reason| ParseError::Value(Box::new(spec), value.to_owned(), reason))
}

fn long<'a>(body: &str, argument: &str, coming: &mut impl Iterator<Item = &'a String>, flags: &mut dyn Flags) -> Result<(), ParseError> {
    if body.starts_with(['-', '=']) {
        return Err(ParseError::Syntax(argument.to_owned()));
    }
    let (name, value) = match body.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (body, None),
    };
    let Some(spec) = flags.long(name) else {
        return Err(if name == "help" {
            ParseError::Help
        } else {
            ParseError::Unknown(name.to_owned())
        });
    };
    let value = match value.or_else(|| spec.alone.clone()) {
        Some(value) => value,
        None => coming.next().cloned().ok_or_else(|| ParseError::NeedsValue(name.to_owned()))?,
    };
    set(flags, spec, &value)
}

/// One dash and letters: each a flag, the last of which may have its value right behind it, after `=`, or as the next argument.
fn short<'a>(letters: &str, coming: &mut impl Iterator<Item = &'a String>, flags: &mut dyn Flags) -> Result<(), ParseError> {
    let mut left = letters;
    while let Some(letter) = left.chars().next() {
        let after = &left[letter.len_utf8()..];
        let Some(spec) = flags.short(letter) else {
            return Err(if letter == 'h' {
                ParseError::Help
            } else {
                ParseError::UnknownLetter(letter, left.to_owned())
            });
        };
        if let Some(value) = after.strip_prefix('=') {
            return set(flags, spec, value);
        }
        if let Some(value) = spec.alone.clone() {
            set(flags, spec, &value)?;
            left = after;
            continue;
        }
        let value = match after {
            "" => coming
                .next()
                .cloned()
                .ok_or_else(|| ParseError::LetterNeedsValue(letter, left.to_owned()))?,
            value => value.to_owned(),
        };
        return set(flags, spec, &value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Known(Vec<String>);

    impl Flags for Known {
        fn long(&self, name: &str) -> Option<Spec> {
            let spec = |letter, alone: Option<&str>| {
                Some(Spec {
                    name: name.to_owned(),
                    letter,
                    alone: alone.map(str::to_owned),
                })
            };
            match name {
                "write-out" => spec(Some('w'), None),
                "hex" => spec(None, Some("true")),
                "verbose" => spec(Some('v'), Some("true")),
                _ => None,
            }
        }

        fn short(&self, letter: char) -> Option<Spec> {
            ["write-out", "verbose"]
                .iter()
                .filter_map(|name| self.long(name))
                .find(|spec| spec.letter == Some(letter))
        }

        fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
            if value == "wrong" {
                return Err("parse error".to_owned());
            }
            self.0.push(format!("{name}={value}"));
            Ok(())
        }
    }

    fn run(arguments: &[&str]) -> Result<String, String> {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let mut known = Known::default();
        let rest = parse(&arguments, &mut known).map_err(|error| error.to_string())?;
        Ok(format!("{} | {}", known.0.join(" "), rest.join(" ")))
    }

    #[test]
    fn splits_as_pflag() {
        for (arguments, want) in [
            (&["a", "--hex", "b", "--write-out=json"][..], "hex=true write-out=json | a b"),
            (&["--write-out", "--hex"], "write-out=--hex | "),
            (&["-vw", "json"], "verbose=true write-out=json | "),
            (&["-wjson", "-v=false", "-"], "write-out=json verbose=false | -"),
            (&["-w=json", "--", "--hex"], "write-out=json | --hex"),
        ] {
            assert_eq!(run(arguments).as_deref(), Ok(want));
        }
    }

    #[test]
    fn refuses_as_pflag() {
        for (arguments, want) in [
            (&["--nosuch=1"][..], "unknown flag: --nosuch"),
            (&["-vx"], "unknown shorthand flag: 'x' in -x"),
            (&["--write-out"], "flag needs an argument: --write-out"),
            (&["-w"], "flag needs an argument: 'w' in -w"),
            (
                &["--write-out=wrong"],
                "invalid argument \"wrong\" for \"-w, --write-out\" flag: parse error",
            ),
            (&["--hex=wrong"], "invalid argument \"wrong\" for \"--hex\" flag: parse error"),
            (&["---hex"], "bad flag syntax: ---hex"),
            (&["--help"], "pflag: help requested"),
        ] {
            assert_eq!(run(arguments).unwrap_err(), want);
        }
    }
}
