//! The protobuf wire format: tags, varints, lengths.

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn tag(out: &mut Vec<u8>, number: u32, wire_type: u8) {
    varint(out, u64::from(number) << 3 | u64::from(wire_type));
}

/// A value to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    /// Not there: an enum name that is not known.
    Unset,
    Varint(u64),
    Fixed32(u32),
    Fixed64(u64),
    Bytes(Vec<u8>),
}

impl Scalar {
    pub(super) fn is_zero(&self) -> bool {
        match self {
            Scalar::Unset => true,
            Scalar::Varint(v) | Scalar::Fixed64(v) => *v == 0,
            Scalar::Fixed32(v) => *v == 0,
            Scalar::Bytes(bytes) => bytes.is_empty(),
        }
    }
}

/// Appends a field; nothing when it is unset.
pub(super) fn put(out: &mut Vec<u8>, number: u32, scalar: &Scalar) {
    match scalar {
        Scalar::Unset => return,
        Scalar::Varint(_) => tag(out, number, 0),
        Scalar::Fixed64(_) => tag(out, number, 1),
        Scalar::Fixed32(_) => tag(out, number, 5),
        Scalar::Bytes(bytes) => return put_bytes(out, number, bytes),
    }
    put_bare(out, scalar);
}

/// Appends a number without its tag, as in a packed list.
pub(super) fn put_bare(out: &mut Vec<u8>, scalar: &Scalar) {
    match scalar {
        Scalar::Varint(v) => varint(out, *v),
        Scalar::Fixed64(v) => out.extend_from_slice(&v.to_le_bytes()),
        Scalar::Fixed32(v) => out.extend_from_slice(&v.to_le_bytes()),
        Scalar::Unset | Scalar::Bytes(_) => unreachable!("only numbers are packed"),
    }
}

pub(super) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    tag(out, number, 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A value as it lies on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

impl Item<'_> {
    pub(super) fn wire_type(self) -> u8 {
        match self {
            Item::Varint(_) => 0,
            Item::Fixed64(_) => 1,
            Item::Bytes(_) => 2,
            Item::Fixed32(_) => 5,
        }
    }
}

/// Takes values from the front of a message. Every method gives none when the bytes are no protobuf.
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for (i, byte) in self.0.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                self.0 = &self.0[i + 1..];
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    /// A value of a wire type.
    pub(super) fn item(&mut self, wire_type: u8) -> Option<Item<'a>> {
        Some(match wire_type {
            0 => Item::Varint(self.varint()?),
            1 => Item::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            5 => Item::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Item::Bytes(self.take(length)?)
            }
            _ => return None,
        })
    }

    /// The next field's number and value.
    pub(super) fn field(&mut self) -> Option<(u32, Item<'a>)> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|n| *n > 0)?;
        Some((number, self.item((tag & 7) as u8)?))
    }
}
