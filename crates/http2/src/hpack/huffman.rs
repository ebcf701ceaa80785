//! The static Huffman code of RFC 7541 appendix B.
//!
//! The code is canonical (codes of a length are consecutive, in symbol order), so the lengths alone define it. Decoding looks ten
//! bits up at once, which covers all of ASCII but a few signs; longer codes are found by comparing with the first code of each
//! length.

use super::HpackError;

/// Length of each symbol's code, in bits; the last is EOS.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

const EOS: u16 = 256;
const LONGEST: usize = 30;
const FAST_BITS: usize = 10;

struct Tables {
    /// Symbols by code.
    symbols: [u16; 257],
    /// By length: where its symbols start in `symbols`, its first code, and the first 32-bit window above all codes of the length.
    offset: [u16; LONGEST + 1],
    first: [u32; LONGEST + 1],
    limit: [u64; LONGEST + 1],
    /// By the next ten bits: symbol and length of a short code (length 0: a longer one).
    fast: [(u8, u8); 1 << FAST_BITS],
    /// Each symbol's code.
    codes: [u32; 257],
}

static TABLES: Tables = build();

const fn build() -> Tables {
    let mut t = Tables {
        symbols: [0; 257],
        offset: [0; LONGEST + 1],
        first: [0; LONGEST + 1],
        limit: [0; LONGEST + 1],
        fast: [(0, 0); 1 << FAST_BITS],
        codes: [0; 257],
    };
    let mut code: u32 = 0;
    let mut placed = 0;
    let mut len = 1;
    while len <= LONGEST {
        code <<= 1;
        t.offset[len] = placed as u16;
        t.first[len] = code;
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == len {
                t.symbols[placed] = symbol as u16;
                t.codes[symbol] = code;
                if len <= FAST_BITS {
                    let shift = FAST_BITS - len;
                    let mut low = 0;
                    while low < 1 << shift {
                        t.fast[((code as usize) << shift) + low] = (symbol as u8, len as u8);
                        low += 1;
                    }
                }
                placed += 1;
                code += 1;
            }
            symbol += 1;
        }
        t.limit[len] = (code as u64) << (32 - len);
        len += 1;
    }
    t
}

/// Appends the decoded text of `coded` to `out`.
///
/// # Errors
/// On EOS inside the text, and on padding that is longer than 7 bits or not all ones.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), HpackError> {
    out.reserve(coded.len() * 8 / 5 + 1);
    let mut rest = coded;
    // The next `bits` bits of the text, left-aligned; ones below them, as padding has.
    let mut window: u64 = u64::MAX;
    let mut bits: u32 = 0;
    loop {
        while bits <= 56 {
            let Some((&byte, tail)) = rest.split_first() else { break };
            rest = tail;
            let hole = 56 - bits;
            window &= !(0xff << hole);
            window |= u64::from(byte) << hole;
            bits += 8;
        }
        if bits == 0 {
            return Ok(());
        }
        let (symbol, len) = next(window);
        if u32::from(len) > bits {
            return if bits < 8 && window == u64::MAX {
                Ok(())
            } else {
                Err(HpackError::Huffman)
            };
        }
        if symbol == EOS {
            return Err(HpackError::Huffman);
        }
        out.push(symbol as u8);
        window = (window << len) | ((1 << len) - 1);
        bits -= u32::from(len);
    }
}

/// The symbol that the window starts with, and its length.
fn next(window: u64) -> (u16, u8) {
    let (symbol, len) = TABLES.fast[(window >> (64 - FAST_BITS)) as usize];
    if len != 0 {
        return (u16::from(symbol), len);
    }
    let high = window >> 32;
    for len in FAST_BITS + 1..LONGEST {
        if high < TABLES.limit[len] {
            return at(high, len);
        }
    }
    at(high, LONGEST)
}

fn at(high: u64, len: usize) -> (u16, u8) {
    let index = (high >> (32 - len)) as u32 - TABLES.first[len];
    (TABLES.symbols[usize::from(TABLES.offset[len]) + index as usize], len as u8)
}

/// Length of `text` when coded, in bytes.
pub(super) fn coded_len(text: &[u8]) -> usize {
    text.iter()
        .map(|&byte| usize::from(LENGTHS[usize::from(byte)]))
        .sum::<usize>()
        .div_ceil(8)
}

/// Appends the code of `text`.
pub(super) fn encode(text: &[u8], out: &mut Vec<u8>) {
    let mut window: u64 = 0;
    let mut bits = 0;
    for &byte in text {
        let len = u32::from(LENGTHS[usize::from(byte)]);
        window = (window << len) | u64::from(TABLES.codes[usize::from(byte)]);
        bits += len;
        while bits >= 8 {
            bits -= 8;
            out.push((window >> bits) as u8);
        }
    }
    if bits > 0 {
        out.push(((window << (8 - bits)) as u8) | (0xff >> bits));
    }
}
