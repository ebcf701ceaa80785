//! Numbers and base64, as `protojson` takes them.

/// A whole number out of a JSON number: `5`, `5.0`, `50e-1`, `0.5e1`. None when it is no whole number or has more than 20 digits.
fn whole(number: &[u8]) -> Option<String> {
    let (negative, rest) = match number.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let digits = |bytes: &[u8]| bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    let (integer, rest) = match rest.strip_prefix(b"0") {
        // A zero counts for nothing, and no digit follows it.
        Some(rest) => (&rest[..0], rest),
        None => rest.split_at(digits(rest)),
    };
    let (fraction, rest) = match rest.strip_prefix(b".") {
        Some(rest) => rest.split_at(digits(rest)),
        None => (&rest[..0], rest),
    };
    let fraction = &fraction[..fraction.iter().rposition(|b| *b != b'0').map_or(0, |i| i + 1)];
    if integer.is_empty() && fraction.is_empty() {
        return Some("0".to_owned());
    }
    let exponent: i32 = match rest.split_first() {
        Some((b'e' | b'E', [])) | None => 0,
        Some((_, text)) => std::str::from_utf8(text).ok()?.parse().ok()?,
    };
    let mut out = String::from(if negative { "-" } else { "" });
    let push = |bytes: &[u8], out: &mut String| out.extend(bytes.iter().map(|b| char::from(*b)));
    if let Ok(places) = usize::try_from(exponent) {
        if fraction.len() > places || integer.len().saturating_add(places) > 20 && exponent > 0 {
            return None;
        }
        push(integer, &mut out);
        push(fraction, &mut out);
        out.extend(std::iter::repeat_n('0', places - fraction.len()));
    } else {
        let cut = usize::try_from(exponent.unsigned_abs()).ok()?;
        let keep = integer.len().checked_sub(cut)?;
        if !fraction.is_empty() || integer[keep..].iter().any(|b| *b != b'0') {
            return None;
        }
        push(&integer[..keep], &mut out);
    }
    Some(out)
}

pub(super) fn signed(number: &[u8], bits: u32) -> Option<i64> {
    let value: i64 = whole(number)?.parse().ok()?;
    (bits == 64 || i32::try_from(value).is_ok()).then_some(value)
}

pub(super) fn unsigned(number: &[u8], bits: u32) -> Option<u64> {
    let value: u64 = whole(number)?.parse().ok()?;
    (bits == 64 || u32::try_from(value).is_ok()).then_some(value)
}

/// The JSON number that a text in quotes begins with. What follows it after a delimiter is not looked at: etcd 3.7.1's protojson
/// (1.36.11) reads `"5 apples"` as 5.
pub(super) fn leading_number(text: &str) -> Option<&[u8]> {
    if text.trim().len() != text.len() {
        return None;
    }
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    if bytes.get(at) == Some(&b'0') {
        at += 1;
    } else if digit(at) {
        while digit(at) {
            at += 1;
        }
    } else {
        return None;
    }
    if bytes.get(at) == Some(&b'.') && digit(at + 1) {
        at += 1;
        while digit(at) {
            at += 1;
        }
    }
    // An exponent needs a byte after its letter, but no digit: so it is in Go.
    if matches!(bytes.get(at), Some(b'e' | b'E')) && at + 1 < bytes.len() {
        at += 1;
        if matches!(bytes[at], b'+' | b'-') {
            at += 1;
            if at == bytes.len() {
                return None;
            }
        }
        while digit(at) {
            at += 1;
        }
    }
    let glued = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.' | b'_');
    (!bytes.get(at).is_some_and(glued)).then(|| &bytes[..at])
}

/// Base64 in any of the forms that Go takes: standard or URL alphabet, padded, or unpadded when the length shows it.
pub fn base64_decode(text: &str) -> Option<Vec<u8>> {
    let url = text.contains(['-', '_']);
    let padded = text.len().is_multiple_of(4);
    let mut symbols: Vec<u8> = text.bytes().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
    if padded {
        if !symbols.len().is_multiple_of(4) {
            return None;
        }
        for _ in 0..2 {
            if symbols.last() == Some(&b'=') {
                symbols.pop();
            }
        }
    }
    if symbols.len() % 4 == 1 {
        return None;
    }
    let mut out = Vec::with_capacity(symbols.len() / 4 * 3 + 2);
    for group in symbols.chunks(4) {
        let mut word = 0u32;
        for symbol in group {
            word = word << 6 | u32::from(sextet(*symbol, url)?);
        }
        let bytes = (word << (6 * (4 - group.len()))).to_be_bytes();
        out.extend_from_slice(&bytes[1..group.len()]);
    }
    Some(out)
}

fn sextet(symbol: u8, url: bool) -> Option<u8> {
    Some(match symbol {
        b'A'..=b'Z' => symbol - b'A',
        b'a'..=b'z' => symbol - b'a' + 26,
        b'0'..=b'9' => symbol - b'0' + 52,
        b'+' if !url => 62,
        b'/' if !url => 63,
        b'-' if url => 62,
        b'_' if url => 63,
        _ => return None,
    })
}

pub(super) fn base64_encode(bytes: &[u8], out: &mut Vec<u8>) {
    const SYMBOLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let symbol = |word: u32, place: u32| SYMBOLS[(word >> (18 - 6 * place) & 63) as usize];
    out.reserve(bytes.len().div_ceil(3) * 4);
    let mut groups = bytes.chunks_exact(3);
    for group in &mut groups {
        let word = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        out.extend_from_slice(&[symbol(word, 0), symbol(word, 1), symbol(word, 2), symbol(word, 3)]);
    }
    match groups.remainder() {
        [a] => {
            let word = u32::from_be_bytes([0, *a, 0, 0]);
            out.extend_from_slice(&[symbol(word, 0), symbol(word, 1), b'=', b'=']);
        }
        [a, b] => {
            let word = u32::from_be_bytes([0, *a, *b, 0]);
            out.extend_from_slice(&[symbol(word, 0), symbol(word, 1), symbol(word, 2), b'=']);
        }
        _ => {}
    }
}
