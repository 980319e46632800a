//! Strings by the static Huffman code (RFC 7541 §5.2 and appendix B).
//!
//! The code is canonical: shorter codes come first, and codes of one length in the order of their symbols. So the lengths say all;
//! codes and look-ups are made of them at compile time. It never allocates beyond what it is given to append to.

use crate::error::Rule;

/// Symbols: the 256 bytes and EOS, which never occurs in a string.
const SYMBOLS: usize = 257;
const EOS: usize = 256;
/// The longest code, bits.
const BITS_MAX: usize = 30;

/// Bits of each symbol's code (RFC 7541 appendix B).
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26, 30, // EOS
];

/// One length's part of the code: symbols `ORDER[first..first + count]` have the codes from `code` on.
#[derive(Clone, Copy)]
struct Run {
    /// The first code of this length, at the top of 32 bits.
    code: u32,
    /// Beyond the last code of this length, at the top of 32 bits; 0 is 2^32.
    end: u32,
    /// Where its symbols begin in [`ORDER`].
    first: u16,
}

/// Symbols in the order of their codes.
const ORDER: [u16; SYMBOLS] = order();
const CODE: [u32; SYMBOLS] = codes();
/// For who encodes.
static BITS: [u8; SYMBOLS] = LENGTHS;
static CODES: [u32; SYMBOLS] = CODE;
const RUNS: [Run; BITS_MAX + 1] = runs();
/// For the next 8 bits: the symbol and its bits, where that many suffice; else 0 bits.
static SHORT: [(u8, u8); 256] = short();

const fn order() -> [u16; SYMBOLS] {
    let mut order = [0; SYMBOLS];
    let (mut at, mut bits) = (0, 1);
    while bits <= BITS_MAX {
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == bits {
                order[at] = symbol as u16;
                at += 1;
            }
            symbol += 1;
        }
        bits += 1;
    }
    assert!(at == SYMBOLS, "every symbol has a length");
    order
}

const fn codes() -> [u32; SYMBOLS] {
    let mut codes = [0; SYMBOLS];
    let (mut code, mut bits, mut at) = (0u32, 0, 0);
    while at < SYMBOLS {
        let symbol = ORDER[at] as usize;
        code <<= LENGTHS[symbol] - bits;
        bits = LENGTHS[symbol];
        codes[symbol] = code;
        code += 1;
        at += 1;
    }
    assert!(code == 1 << BITS_MAX, "the code is complete");
    codes
}

const fn runs() -> [Run; BITS_MAX + 1] {
    let mut runs = [Run { code: 0, end: 0, first: 0 }; BITS_MAX + 1];
    let mut at = 0;
    while at < SYMBOLS {
        let symbol = ORDER[at] as usize;
        let bits = LENGTHS[symbol] as usize;
        let code = CODE[symbol] << (32 - bits);
        let run = &mut runs[bits];
        if run.end == run.code {
            *run = Run { code, end: code, first: at as u16 };
        }
        run.end = run.end.wrapping_add(1 << (32 - bits));
        at += 1;
    }
    runs
}

const fn short() -> [(u8, u8); 256] {
    let mut short = [(0, 0); 256];
    let mut symbol = 0;
    while symbol < EOS {
        let bits = LENGTHS[symbol] as usize;
        if bits <= 8 {
            let mut next = (CODE[symbol] as usize) << (8 - bits);
            let end = next + (1 << (8 - bits));
            while next < end {
                short[next] = (symbol as u8, bits as u8);
                next += 1;
            }
        }
        symbol += 1;
    }
    short
}

/// Bytes that `plain` has as a code.
#[inline]
pub(super) fn encoded_len(plain: &[u8]) -> usize {
    let bits: usize = plain.iter().map(|&byte| usize::from(BITS[usize::from(byte)])).sum();
    bits.div_ceil(8)
}

/// What [`encode`] wants beyond the code's own bytes: it writes whole words.
pub(super) const ROOM_MORE: usize = 2 * size_of::<u32>();

/// Writes the code of `plain`, its last byte filled with ones (RFC 7541 §5.2), and gives its length; `None`, and what was written says nothing,
/// where it has no room or is not shorter than the string.
#[inline]
pub(super) fn encode(plain: &[u8], code: &mut [u8]) -> Option<usize> {
    let (mut held, mut count, mut at) = (0u64, 0, 0);
    for &byte in plain {
        let bits = u32::from(BITS[usize::from(byte)]);
        held = held << bits | u64::from(CODES[usize::from(byte)]);
        count += bits;
        if count >= u32::BITS {
            count -= u32::BITS;
            *code.get_mut(at..)?.first_chunk_mut()? = ((held >> count) as u32).to_be_bytes();
            at += size_of::<u32>();
        }
    }
    let filled = held << 32 >> count | u64::from(u32::MAX) >> count;
    *code.get_mut(at..)?.first_chunk_mut()? = (filled as u32).to_be_bytes();
    let len = at + count.div_ceil(8) as usize;
    (len < plain.len()).then_some(len)
}

/// Appends what `code` says.
///
/// # Errors
/// A string that has EOS, or whose end is no prefix of it, shorter than 8 bits (RFC 7541 §5.2).
#[inline]
pub(super) fn decode(code: &[u8], plain: &mut Vec<u8>) -> Result<(), Rule> {
    // No symbol is shorter than 5 bits.
    let mut end = plain.len();
    plain.resize(end + code.len() * 8 / 5 + 1, 0);
    let (mut held, mut count) = (0u64, 0u32); // the next bits, at the top
    let mut rest = code;
    loop {
        if count < BITS_MAX as u32 {
            if let Some((four, after)) = rest.split_first_chunk::<4>() {
                held |= u64::from(u32::from_be_bytes(*four)) << (32 - count);
                count += 32;
                rest = after;
            } else {
                while let Some((&byte, after)) = rest.split_first() {
                    held |= u64::from(byte) << (56 - count);
                    count += 8;
                    rest = after;
                }
            }
        }
        let (symbol, bits) = SHORT[(held >> 56) as usize];
        let (symbol, bits) = if bits > 0 { (symbol, u32::from(bits)) } else { long((held >> 32) as u32, count)? };
        if bits > count || bits == 0 {
            // What is left is no symbol: it must be ones, and no whole byte.
            let ones = u64::MAX.checked_shl(64 - count).unwrap_or(0);
            plain.truncate(end);
            return if count < 8 && held & ones == ones { Ok(()) } else { Err(Rule::HpackHuffman) };
        }
        plain[end] = symbol;
        end += 1;
        held <<= bits;
        count -= bits;
    }
}

/// The symbol of more than 8 bits that `window` begins with; 0 bits where only `count` bits are left, and they are no symbol.
#[cold]
fn long(window: u32, count: u32) -> Result<(u8, u32), Rule> {
    for (bits, run) in RUNS.iter().enumerate().skip(9) {
        let last = run.end.wrapping_sub(1);
        if run.code != run.end && window <= last {
            let symbol = ORDER[usize::from(run.first) + ((window - run.code) >> (32 - bits)) as usize];
            return match u8::try_from(symbol) {
                Ok(symbol) => Ok((symbol, bits as u32)),
                Err(_) if count < BITS_MAX as u32 => Ok((0, 0)),
                Err(_) => Err(Rule::HpackHuffman),
            };
        }
    }
    unreachable!("the code is complete")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coded(plain: &[u8]) -> Vec<u8> {
        let len = encoded_len(plain);
        let mut code = vec![0; len + ROOM_MORE];
        assert_eq!(encode(plain, &mut code), (len < plain.len()).then_some(len));
        assert!(len == 0 || encode(plain, &mut code[..len - 1]).is_none(), "it stays within its room");
        let mut code = vec![0; len + ROOM_MORE];
        _ = encode(plain, &mut code);
        code.truncate(len);
        code
    }

    fn decoded(code: &[u8]) -> Result<Vec<u8>, Rule> {
        let mut plain = vec![];
        decode(code, &mut plain).map(|()| plain)
    }

    /// RFC 7541 appendix C.4 and C.6.
    #[test]
    fn the_documents_own_strings() {
        for (plain, code) in [
            ("www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"),
            ("no-cache", "a8eb10649cbf"),
            ("custom-key", "25a849e95ba97d7f"),
            ("302", "6402"),
            ("Mon, 21 Oct 2013 20:13:21 GMT", "d07abe941054d444a8200595040b8166e082a62d1bff"),
            (
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
                "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
            ),
        ] {
            let hex: String = coded(plain.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, code, "{plain}");
            assert_eq!(decoded(&coded(plain.as_bytes())).as_deref(), Ok(plain.as_bytes()));
        }
    }

    #[test]
    fn every_byte_comes_back_from_every_place_in_a_byte() {
        for byte in 0..=255u8 {
            for before in 0..8 {
                let plain = [vec![b'0'; before], vec![byte], vec![b'a'; before]].concat();
                assert_eq!(decoded(&coded(&plain)).as_ref(), Ok(&plain));
            }
        }
        let all: Vec<u8> = (0..=255).rev().collect();
        assert_eq!(decoded(&coded(&all)).as_ref(), Ok(&all));
        assert_eq!(decoded(&[]), Ok(vec![]));
    }

    #[test]
    fn what_is_no_code_is_refused() {
        // '0' is 00000: zeros as filling, a whole byte of ones, ones that are EOS, and a code that is cut off.
        for code in [&[0b0000_0000][..], &[0b0000_0111, 0xff], &[0xff; 4], &[0xff], &[0xff, 0xc0], &[0xff; 5]] {
            assert_eq!(decoded(code), Err(Rule::HpackHuffman), "{code:02x?}");
        }
        assert_eq!(decoded(&[0b0000_0111]).as_deref(), Ok(&b"0"[..]));
    }
}
