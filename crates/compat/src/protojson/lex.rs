//! Tokens of one JSON value, as `protojson` sees them.
//!
//! Takes only what [`super::scan`] has found well-formed, so that what is left to refuse is text that is no UTF-8 and lone surrogates.

use std::borrow::Cow;

use super::DecodeError;
use super::scan::Value;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    Null,
    Bool(bool),
    Number,
    Text(Cow<'a, str>),
    /// The key of a member; its colon is behind.
    Name(Cow<'a, str>),
    ObjectOpen,
    ObjectClose,
    ArrayOpen,
    ArrayClose,
}

#[derive(Clone, Debug)]
pub(super) struct Token<'a> {
    pub kind: Kind<'a>,
    pub position: usize,
    pub raw: &'a [u8],
}

pub(super) struct Lexer<'a> {
    whole: &'a [u8],
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(value: Value<'a>) -> Lexer<'a> {
        Lexer { whole: value.0, at: 0 }
    }

    /// The first byte of the next token; commas are no tokens.
    pub(super) fn peek(&mut self) -> u8 {
        self.skip(true);
        self.byte()
    }

    pub(super) fn read(&mut self) -> Result<Token<'a>, DecodeError> {
        let first = self.peek();
        let start = self.at;
        let kind = match first {
            b'{' => self.single(Kind::ObjectOpen),
            b'}' => self.single(Kind::ObjectClose),
            b'[' => self.single(Kind::ArrayOpen),
            b']' => self.single(Kind::ArrayClose),
            b'n' => self.word(4, Kind::Null),
            b't' => self.word(4, Kind::Bool(true)),
            b'f' => self.word(5, Kind::Bool(false)),
            b'"' => {
                let text = self.text()?;
                let raw = &self.whole[start..self.at];
                self.skip(false);
                // In well-formed JSON, a string before a colon is a key, and no other is.
                let kind = if self.whole.get(self.at) == Some(&b':') {
                    self.at += 1;
                    Kind::Name(text)
                } else {
                    Kind::Text(text)
                };
                return Ok(Token {
                    kind,
                    position: start,
                    raw,
                });
            }
            _ => {
                let rest = &self.whole[start..];
                let end = rest
                    .iter()
                    .position(|b| matches!(b, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n'))
                    .unwrap_or(rest.len());
                self.at += end;
                Kind::Number
            }
        };
        Ok(Token {
            kind,
            position: start,
            raw: &self.whole[start..self.at],
        })
    }

    /// Passes over one value, whatever it is; its texts are checked all the same.
    pub(super) fn skip_value(&mut self) -> Result<(), DecodeError> {
        let mut open = 0usize;
        loop {
            match self.read()?.kind {
                Kind::ObjectOpen | Kind::ArrayOpen => open += 1,
                Kind::ObjectClose | Kind::ArrayClose => open -= 1,
                Kind::Name(_) => continue,
                _ => {}
            }
            if open == 0 {
                return Ok(());
            }
        }
    }

    /// `proto: (line L:C): ...`
    pub(super) fn error(&self, position: usize, what: String) -> DecodeError {
        let (line, column) = self.place(position);
        DecodeError::Value { line, column, what }
    }

    /// `proto: syntax error (line L:C): ...`
    pub(super) fn syntax_error(&self, position: usize, what: String) -> DecodeError {
        let (line, column) = self.place(position);
        DecodeError::Syntax { line, column, what }
    }

    pub(super) fn unexpected(&self, token: &Token<'_>) -> DecodeError {
        self.syntax_error(token.position, format!("unexpected token {}", String::from_utf8_lossy(token.raw)))
    }

    /// Line and column from 1; a column is a character, or a byte that is part of none.
    fn place(&self, position: usize) -> (usize, usize) {
        let before = &self.whole[..position];
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        let last = before.iter().rposition(|b| *b == b'\n').map_or(before, |i| &before[i + 1..]);
        let column: usize = last.utf8_chunks().map(|c| c.valid().chars().count() + c.invalid().len()).sum();
        (line, column + 1)
    }

    fn byte(&self) -> u8 {
        *self.whole.get(self.at).expect("a well-formed value has all its tokens")
    }

    fn skip(&mut self, commas: bool) {
        while let Some(byte) = self.whole.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                b',' if commas => self.at += 1,
                _ => return,
            }
        }
    }

    fn single(&mut self, kind: Kind<'a>) -> Kind<'a> {
        self.word(1, kind)
    }

    fn word(&mut self, length: usize, kind: Kind<'a>) -> Kind<'a> {
        self.at += length;
        kind
    }

    fn text(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        let start = self.at;
        let body = &self.whole[start + 1..];
        let plain = body
            .iter()
            .position(|b| matches!(b, b'"' | b'\\'))
            .expect("a well-formed string ends");
        let bad_text = || self.syntax_error(start, "invalid UTF-8 in string".to_owned());
        let head = std::str::from_utf8(&body[..plain]).map_err(|_| bad_text())?;
        if body[plain] == b'"' {
            self.at = start + 1 + plain + 1;
            return Ok(Cow::Borrowed(head));
        }
        let mut out = head.to_owned();
        let mut at = start + 1 + plain;
        loop {
            match self.whole[at] {
                b'"' => {
                    self.at = at + 1;
                    return Ok(Cow::Owned(out));
                }
                b'\\' => at = self.escape(start, at, &mut out)?,
                _ => {
                    let rest = &self.whole[at..];
                    let plain = rest
                        .iter()
                        .position(|b| matches!(b, b'"' | b'\\'))
                        .expect("a well-formed string ends");
                    out.push_str(std::str::from_utf8(&rest[..plain]).map_err(|_| bad_text())?);
                    at += plain;
                }
            }
        }
    }

    /// Reads the escape at `at` of the string that begins at `start`; gives where it ends.
    fn escape(&self, start: usize, at: usize, out: &mut String) -> Result<usize, DecodeError> {
        let plain = match self.whole[at + 1] {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(start, at, out),
            other => char::from(other),
        };
        out.push(plain);
        Ok(at + 2)
    }

    fn unicode(&self, start: usize, at: usize, out: &mut String) -> Result<usize, DecodeError> {
        let unit = hex4(&self.whole[at + 2..at + 6]).expect("a well-formed escape");
        if let Some(character) = char::from_u32(unit) {
            out.push(character);
            return Ok(at + 6);
        }
        // A surrogate: the other half must follow, six bytes as this one. What follows may be anything, even the end.
        let rest = &self.whole[at + 6..];
        let Some(second) = rest.get(..6) else {
            return Err(DecodeError::UnexpectedEof);
        };
        let low = second
            .starts_with(b"\\u")
            .then(|| hex4(&second[2..]))
            .flatten()
            .filter(|u| (0xdc00..0xe000).contains(u));
        match low {
            Some(low) if unit < 0xdc00 => {
                let code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                out.push(char::from_u32(code).expect("a pair of surrogates is a character"));
                Ok(at + 12)
            }
            _ => Err(self.syntax_error(start, format!("invalid escape code {} in string", super::quote(second)))),
        }
    }
}

fn hex4(digits: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok()?;
    if !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(text, 16).ok()
}
