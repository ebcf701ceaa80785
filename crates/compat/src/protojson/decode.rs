//! The second layer of reading: one JSON value into the bytes of a message.
//!
//! Unknown fields and unknown enum names are passed over, duplicates and two members of a oneof are refused, `null` is "not there".
//! A loop with its own stack, not recursion: the nesting limit is Go's 10 000, which no thread's stack would hold.

use super::lex::{Kind as Tok, Lexer, Token};
use super::scalar;
use super::scan::Value;
use super::table::{Field, Kind, Message, MessageType, Tables, tables};
use super::wire::{self, Scalar};

/// What `protojson` says of a value that is not the JSON of the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A value of the wrong kind, a duplicate, a second member of a oneof.
    #[error("proto: (line {line}:{column}): {what}")]
    Value { line: usize, column: usize, what: String },
    /// Something else where an object or array belongs, or text that is no UTF-8.
    #[error("proto: syntax error (line {line}:{column}): {what}")]
    Syntax { line: usize, column: usize, what: String },
    /// The value ends where the second half of a surrogate pair belongs.
    #[error("proto: unexpected EOF")]
    UnexpectedEof,
}

/// The message's bytes, fields in the order of the JSON, zeros left out.
///
/// # Errors
/// As Go's protojson 1.36.11 with `DiscardUnknown`.
pub fn decode(message: MessageType, value: Value<'_>) -> Result<Vec<u8>, DecodeError> {
    let mut lexer = Lexer::new(value);
    let first = lexer.read()?;
    if first.kind != Tok::ObjectOpen {
        return Err(lexer.unexpected(&first));
    }
    Decoder {
        tables: tables(),
        lexer,
        open: vec![Open::new(message.0, 0)],
    }
    .run()
}

/// A message being read.
struct Open {
    message: u16,
    /// The number under which its parent has it.
    number: u32,
    /// Fields and oneofs that were there, by their index.
    fields: u64,
    oneofs: u64,
    /// The repeated field whose array is open.
    list: Option<usize>,
    out: Vec<u8>,
}

impl Open {
    fn new(message: u16, number: u32) -> Open {
        Open {
            message,
            number,
            fields: 0,
            oneofs: 0,
            list: None,
            out: Vec::new(),
        }
    }
}

struct Decoder<'a> {
    tables: &'static Tables,
    lexer: Lexer<'a>,
    open: Vec<Open>,
}

impl Decoder<'_> {
    fn run(mut self) -> Result<Vec<u8>, DecodeError> {
        loop {
            let top = self.open.last_mut().expect("left only when the last message is done");
            if let Some(index) = top.list {
                if self.lexer.peek() == b']' {
                    self.lexer.read()?;
                    top.list = None;
                } else {
                    let message = top.message;
                    self.enter(&self.tables.message(message).fields[index])?;
                }
                continue;
            }
            let token = self.lexer.read()?;
            match &token.kind {
                Tok::ObjectClose => {
                    let done = self.open.pop().expect("a message is open");
                    let Some(parent) = self.open.last_mut() else {
                        return Ok(done.out);
                    };
                    wire::put_bytes(&mut parent.out, done.number, &done.out);
                }
                Tok::Name(name) => self.member(name, &token)?,
                _ => return Err(self.lexer.unexpected(&token)),
            }
        }
    }

    fn top(&mut self) -> &mut Open {
        self.open.last_mut().expect("a message is open")
    }

    /// Begins a message as the value of a field.
    fn enter(&mut self, field: &Field) -> Result<(), DecodeError> {
        let token = self.lexer.read()?;
        if token.kind != Tok::ObjectOpen {
            return Err(self.lexer.unexpected(&token));
        }
        let Kind::Message(message) = field.kind else {
            unreachable!("only messages are entered")
        };
        self.open.push(Open::new(message, field.number));
        Ok(())
    }

    fn member(&mut self, name: &str, token: &Token<'_>) -> Result<(), DecodeError> {
        let tables = self.tables;
        let message: &'static Message = tables.message(self.top().message);
        let Some(index) = message.by_name(name) else {
            return self.lexer.skip_value();
        };
        let field = &message.fields[index];
        let raw = String::from_utf8_lossy(token.raw);
        if self.top().fields & 1 << index != 0 {
            return Err(self.lexer.error(token.position, format!("duplicate field {raw}")));
        }
        self.top().fields |= 1 << index;
        if self.lexer.peek() == b'n' {
            self.lexer.read()?;
            return Ok(());
        }
        if field.repeated {
            return self.list(field, index);
        }
        if let Some(oneof) = field.oneof {
            if self.top().oneofs & 1 << oneof != 0 {
                let oneof = &message.oneofs[usize::from(oneof)];
                return Err(self
                    .lexer
                    .error(token.position, format!("error parsing {raw}, oneof {oneof} is already set")));
            }
            self.top().oneofs |= 1 << oneof;
        }
        match field.kind {
            Kind::Message(_) => self.enter(field),
            _ => {
                let scalar = self.scalar(field)?;
                if field.presence || !scalar.is_zero() {
                    wire::put(&mut self.top().out, field.number, &scalar);
                }
                Ok(())
            }
        }
    }

    fn list(&mut self, field: &Field, index: usize) -> Result<(), DecodeError> {
        let token = self.lexer.read()?;
        if token.kind != Tok::ArrayOpen {
            return Err(self.lexer.unexpected(&token));
        }
        if let Kind::Message(_) = field.kind {
            self.top().list = Some(index);
            return Ok(());
        }
        // Numbers of a list travel packed, texts one by one.
        let packed = field.kind.wire_type() != 2;
        let mut numbers = Vec::new();
        while self.lexer.peek() != b']' {
            match self.scalar(field)? {
                Scalar::Unset => {}
                scalar if packed => wire::put_bare(&mut numbers, &scalar),
                scalar => wire::put(&mut self.top().out, field.number, &scalar),
            }
        }
        if !numbers.is_empty() {
            wire::put_bytes(&mut self.top().out, field.number, &numbers);
        }
        self.lexer.read().map(|_| ())
    }

    fn scalar(&mut self, field: &Field) -> Result<Scalar, DecodeError> {
        let token = self.lexer.read()?;
        scalar_of(self.tables, field, &token).ok_or_else(|| {
            let raw = String::from_utf8_lossy(token.raw);
            let what = format!("invalid value for {} field {}: {raw}", field.kind.name(), field.json_name);
            self.lexer.error(token.position, what)
        })
    }
}

/// The value of a token for a field; none when it is no such value.
fn scalar_of(tables: &Tables, field: &Field, token: &Token<'_>) -> Option<Scalar> {
    let int = |bits| digits(token).and_then(|n| scalar::signed(n, bits));
    let uint = |bits| digits(token).and_then(|n| scalar::unsigned(n, bits));
    let zigzag = |v: i64| (v << 1 ^ v >> 63) as u64;
    Some(match field.kind {
        Kind::Bool => match token.kind {
            Tok::Bool(value) => Scalar::Varint(u64::from(value)),
            _ => return None,
        },
        // Negative 32-bit numbers travel as ten bytes, as all of protobuf does it.
        Kind::Int32 => Scalar::Varint(int(32)? as u64),
        Kind::Int64 => Scalar::Varint(int(64)? as u64),
        Kind::Uint32 => Scalar::Varint(uint(32)?),
        Kind::Uint64 => Scalar::Varint(uint(64)?),
        Kind::Sint32 => Scalar::Varint(zigzag(int(32)?)),
        Kind::Sint64 => Scalar::Varint(zigzag(int(64)?)),
        Kind::Fixed32 => Scalar::Fixed32(uint(32)? as u32),
        Kind::Sfixed32 => Scalar::Fixed32(int(32)? as u32),
        Kind::Fixed64 => Scalar::Fixed64(uint(64)?),
        Kind::Sfixed64 => Scalar::Fixed64(int(64)? as u64),
        Kind::Enum(index) => match &token.kind {
            Tok::Text(name) => match tables.enumeration(index).number(name) {
                Some(value) => Scalar::Varint(i64::from(value) as u64),
                None => Scalar::Unset,
            },
            Tok::Number => Scalar::Varint(scalar::signed(token.raw, 32)? as u64),
            _ => return None,
        },
        Kind::String => match &token.kind {
            Tok::Text(text) => Scalar::Bytes(text.as_bytes().to_vec()),
            _ => return None,
        },
        Kind::Bytes => match &token.kind {
            Tok::Text(text) => Scalar::Bytes(scalar::base64_decode(text)?),
            _ => return None,
        },
        Kind::Message(_) => unreachable!("messages are entered"),
    })
}

/// The digits of a number, bare or in quotes.
fn digits<'t>(token: &'t Token<'_>) -> Option<&'t [u8]> {
    match &token.kind {
        Tok::Number => Some(token.raw),
        Tok::Text(text) => scalar::leading_number(text),
        _ => None,
    }
}
