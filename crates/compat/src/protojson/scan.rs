//! The first layer of reading: cuts JSON values out of a byte stream and says what Go's `encoding/json` says of a broken one.
//!
//! Knows no message. A value is checked byte by byte as it arrives, so that a broken body is refused at once and a value that comes
//! in many pieces is looked at once.

use std::fmt;

/// Deepest nesting of arrays and objects.
const MAX_DEPTH: usize = 10_000;

/// What `encoding/json` says of bytes that are no JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// The stream ended within a value.
    #[error("unexpected EOF")]
    UnexpectedEof,
    #[error("invalid character {} {context}", Quoted(*byte))]
    Character { byte: u8, context: &'static str },
    #[error("exceeded max depth")]
    Depth,
    /// Not one of Go's: its gateway has no limit.
    #[error("JSON value larger than {limit} bytes")]
    TooLarge { limit: usize },
}

/// A byte as Go quotes it: taken as the character of that number, between single quotes.
struct Quoted(u8);

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b'\'' => f.write_str(r"'\''"),
            b'"' => f.write_str("'\"'"),
            b'\\' => f.write_str(r"'\\'"),
            0x07 => f.write_str(r"'\a'"),
            0x08 => f.write_str(r"'\b'"),
            0x0c => f.write_str(r"'\f'"),
            b'\n' => f.write_str(r"'\n'"),
            b'\r' => f.write_str(r"'\r'"),
            b'\t' => f.write_str(r"'\t'"),
            0x0b => f.write_str(r"'\v'"),
            b @ (0..0x20 | 0x7f) => write!(f, r"'\x{b:02x}'"),
            // Not printable: the control characters above ASCII, the hard space, the soft hyphen.
            b @ (0x80..=0xa0 | 0xad) => write!(f, r"'\u{b:04x}'"),
            b => write!(f, "'{}'", char::from(b)),
        }
    }
}

/// One well-formed JSON value, as it came, without the white space around it. Its strings may still be no UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a>(pub(super) &'a [u8]);

impl<'a> Value<'a> {
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

/// What [`Values::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    Value(Value<'a>),
    /// Push more bytes, or say that there are none.
    NeedMore,
    /// The stream ended between values.
    End,
}

/// JSON values out of a byte stream, one after the other.
#[derive(Debug)]
pub struct Values {
    buffer: Vec<u8>,
    /// Before it, all was handed out.
    from: usize,
    /// Before it, all was scanned.
    scanned: usize,
    scanner: Scanner,
    ended: bool,
    limit: usize,
    failed: Option<ScanError>,
}

impl Values {
    /// `limit`: the most bytes that one value may have.
    pub fn new(limit: usize) -> Values {
        Values {
            buffer: Vec::new(),
            from: 0,
            scanned: 0,
            scanner: Scanner::default(),
            ended: false,
            limit,
            failed: None,
        }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        assert!(!self.ended, "bytes after the end of a stream");
        if self.from > 0 {
            self.buffer.drain(..self.from);
            self.scanned -= self.from;
            self.from = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// No more bytes will come.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The next value. After an error, the same error.
    ///
    /// # Errors
    /// What `encoding/json` says.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Next<'_>, ScanError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        match self.find() {
            Ok(Found::Value { start, end }) => {
                self.from = end;
                self.scanned = end;
                self.scanner = Scanner::default();
                Ok(Next::Value(Value(&self.buffer[start..end])))
            }
            Ok(Found::NeedMore) => Ok(Next::NeedMore),
            Ok(Found::End) => Ok(Next::End),
            Err(error) => {
                self.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    fn find(&mut self) -> Result<Found, ScanError> {
        while self.scanned < self.buffer.len() {
            let byte = self.buffer[self.scanned];
            match self.scanner.step(byte)? {
                Step::Go => self.scanned += 1,
                // A number or word ends where something else begins.
                Step::EndedBefore => return Ok(self.found(self.scanned)),
                Step::Ended => return Ok(self.found(self.scanned + 1)),
            }
            if self.scanned - self.from > self.limit {
                return Err(ScanError::TooLarge { limit: self.limit });
            }
        }
        if !self.ended {
            return Ok(Found::NeedMore);
        }
        if self.scanner.complete_at_end() {
            return Ok(self.found(self.scanned));
        }
        if self.buffer[self.from..].iter().all(|b| is_space(*b)) {
            return Ok(Found::End);
        }
        Err(ScanError::UnexpectedEof)
    }

    fn found(&self, end: usize) -> Found {
        let lead = self.buffer[self.from..end].iter().take_while(|b| is_space(**b)).count();
        Found::Value {
            start: self.from + lead,
            end,
        }
    }
}

enum Found {
    Value { start: usize, end: usize },
    NeedMore,
    End,
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    /// Before the colon.
    Key,
    /// After the colon.
    Member,
    Array,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before a value.
    #[default]
    Value,
    /// After `[`: a value or `]`.
    FirstElement,
    /// After `{`: a key or `}`.
    FirstKey,
    /// After `,` in an object.
    Key,
    /// After a value, inside something.
    After,
    Text,
    Escape,
    /// Hexadecimal digits still to come.
    Unicode(u8),
    Minus,
    Zero,
    Digits,
    Dot,
    Fraction,
    E,
    ESign,
    Exponent,
    /// A word and how many of its letters were seen.
    Word(Word, u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    True,
    False,
    Null,
}

impl Word {
    fn letters(self) -> &'static [u8] {
        match self {
            Word::True => b"true",
            Word::False => b"false",
            Word::Null => b"null",
        }
    }

    fn context(self, seen: u8) -> &'static str {
        const TRUE: [&str; 3] = [
            "in literal true (expecting 'r')",
            "in literal true (expecting 'u')",
            "in literal true (expecting 'e')",
        ];
        const FALSE: [&str; 4] = [
            "in literal false (expecting 'a')",
            "in literal false (expecting 'l')",
            "in literal false (expecting 's')",
            "in literal false (expecting 'e')",
        ];
        const NULL: [&str; 3] = [
            "in literal null (expecting 'u')",
            "in literal null (expecting 'l')",
            "in literal null (expecting 'l')",
        ];
        let i = usize::from(seen) - 1;
        match self {
            Word::True => TRUE[i],
            Word::False => FALSE[i],
            Word::Null => NULL[i],
        }
    }
}

enum Step {
    Go,
    Ended,
    EndedBefore,
}

#[derive(Debug, Default)]
struct Scanner {
    state: State,
    stack: Vec<Inside>,
}

impl Scanner {
    fn wrong(byte: u8, context: &'static str) -> Result<Step, ScanError> {
        Err(ScanError::Character { byte, context })
    }

    fn to(&mut self, state: State) -> Result<Step, ScanError> {
        self.state = state;
        Ok(Step::Go)
    }

    /// Whether the end of the stream completes a number, word or string at the top.
    fn complete_at_end(&self) -> bool {
        self.stack.is_empty()
            && matches!(
                self.state,
                State::After | State::Zero | State::Digits | State::Fraction | State::Exponent
            )
    }

    fn step(&mut self, byte: u8) -> Result<Step, ScanError> {
        match self.state {
            State::Value if is_space(byte) => Ok(Step::Go),
            State::Value => self.begin(byte),
            State::FirstElement if is_space(byte) => Ok(Step::Go),
            State::FirstElement if byte == b']' => self.close(),
            State::FirstElement => self.begin(byte),
            State::FirstKey | State::Key if is_space(byte) => Ok(Step::Go),
            State::FirstKey if byte == b'}' => self.close(),
            State::FirstKey | State::Key if byte == b'"' => self.to(State::Text),
            State::FirstKey | State::Key => Self::wrong(byte, "looking for beginning of object key string"),
            State::After => self.after(byte),
            State::Text | State::Escape | State::Unicode(_) => self.text(byte),
            State::Word(word, seen) => self.word(word, seen, byte),
            _ => self.number(byte),
        }
    }

    fn begin(&mut self, byte: u8) -> Result<Step, ScanError> {
        match byte {
            b'{' => self.open(Inside::Key, State::FirstKey),
            b'[' => self.open(Inside::Array, State::FirstElement),
            b'"' => self.to(State::Text),
            b'-' => self.to(State::Minus),
            b'0' => self.to(State::Zero),
            b'1'..=b'9' => self.to(State::Digits),
            b't' => self.to(State::Word(Word::True, 1)),
            b'f' => self.to(State::Word(Word::False, 1)),
            b'n' => self.to(State::Word(Word::Null, 1)),
            _ => Self::wrong(byte, "looking for beginning of value"),
        }
    }

    fn open(&mut self, inside: Inside, state: State) -> Result<Step, ScanError> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(ScanError::Depth);
        }
        self.stack.push(inside);
        self.to(state)
    }

    /// An array, object or string is done: its last byte is the one at hand.
    fn close(&mut self) -> Result<Step, ScanError> {
        self.stack.pop();
        self.state = State::After;
        Ok(if self.stack.is_empty() { Step::Ended } else { Step::Go })
    }

    /// A number, word or string was done before this byte.
    fn after(&mut self, byte: u8) -> Result<Step, ScanError> {
        self.state = State::After;
        let Some(inside) = self.stack.last_mut() else {
            return Ok(Step::EndedBefore);
        };
        if is_space(byte) {
            return Ok(Step::Go);
        }
        match (*inside, byte) {
            (Inside::Key, b':') => {
                *inside = Inside::Member;
                self.to(State::Value)
            }
            (Inside::Member, b',') => {
                *inside = Inside::Key;
                self.to(State::Key)
            }
            (Inside::Array, b',') => self.to(State::Value),
            (Inside::Member, b'}') | (Inside::Array, b']') => self.close(),
            (Inside::Key, _) => Self::wrong(byte, "after object key"),
            (Inside::Member, _) => Self::wrong(byte, "after object key:value pair"),
            (Inside::Array, _) => Self::wrong(byte, "after array element"),
        }
    }

    fn text(&mut self, byte: u8) -> Result<Step, ScanError> {
        match self.state {
            State::Text => match byte {
                b'"' => self.to(State::After),
                b'\\' => self.to(State::Escape),
                0..0x20 => Self::wrong(byte, "in string literal"),
                _ => Ok(Step::Go),
            },
            State::Escape => match byte {
                b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => self.to(State::Text),
                b'u' => self.to(State::Unicode(4)),
                _ => Self::wrong(byte, "in string escape code"),
            },
            State::Unicode(left) if byte.is_ascii_hexdigit() => self.to(if left == 1 { State::Text } else { State::Unicode(left - 1) }),
            _ => Self::wrong(byte, "in \\u hexadecimal character escape"),
        }
    }

    fn word(&mut self, word: Word, seen: u8, byte: u8) -> Result<Step, ScanError> {
        if word.letters()[usize::from(seen)] != byte {
            return Self::wrong(byte, word.context(seen));
        }
        let seen = seen + 1;
        self.to(if usize::from(seen) == word.letters().len() {
            State::After
        } else {
            State::Word(word, seen)
        })
    }

    fn number(&mut self, byte: u8) -> Result<Step, ScanError> {
        match (self.state, byte) {
            (State::Minus, b'0') => self.to(State::Zero),
            (State::Minus, b'1'..=b'9') => self.to(State::Digits),
            (State::Minus, _) => Self::wrong(byte, "in numeric literal"),
            (State::Digits, b'0'..=b'9') => Ok(Step::Go),
            (State::Zero | State::Digits, b'.') => self.to(State::Dot),
            (State::Dot | State::Fraction, b'0'..=b'9') => self.to(State::Fraction),
            (State::Dot, _) => Self::wrong(byte, "after decimal point in numeric literal"),
            (State::Zero | State::Digits | State::Fraction, b'e' | b'E') => self.to(State::E),
            (State::E, b'+' | b'-') => self.to(State::ESign),
            (State::E | State::ESign | State::Exponent, b'0'..=b'9') => self.to(State::Exponent),
            (State::E | State::ESign, _) => Self::wrong(byte, "in exponent of numeric literal"),
            _ => self.after(byte),
        }
    }
}
