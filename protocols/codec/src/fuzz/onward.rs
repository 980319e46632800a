//! Messages on their way through: a head is decoded, written anew in one of the ways that the engine has, and read again.
//!
//! What must hold beside what the decoders promise: the encoder keeps to the size that it said; what is written is read as the same
//! message; nothing that was for one hop is in it; writing it again changes nothing more; no case of names changes what they are.
//! It allocates nothing once warm, so that a fuzzer may call it at full speed.

use crate::chars::list;
use crate::head::{FieldRef, Framing, HeadTable, Known, Method, Request};
use crate::http1::{
    BodyDecoder, BodyPart, Decoded, HeadEdit, HeadScan, decode_request, decode_response, encode_request,
    encode_response, encode_trailers, is_trailer_allowed, preserve_case, proper_case, request_head_size,
    response_head_size, trailer_fields,
};
use crate::limits::Limits;

/// Interim responses that are followed to the final one. What comes after is another input's affair.
const INTERIM_MAX: usize = 8;

/// What is used again from one input to the next.
#[derive(Debug)]
pub struct Onward {
    limits: Limits,
    received: HeadTable,
    sent: HeadTable,
    out: Vec<u8>,
    again: Vec<u8>,
    cased: Vec<u8>,
}

impl Default for Onward {
    fn default() -> Self {
        let limits = Limits::default();
        let table = || HeadTable::new(limits.headers_max);
        Self { received: table(), sent: table(), limits, out: Vec::new(), again: Vec::new(), cased: Vec::new() }
    }
}

impl Onward {
    /// A request on its way up, tunnels among them. Gives the shape of what came of it.
    pub fn request(&mut self, input: &[u8]) -> u64 {
        let Ok(Decoded::Complete { head, consumed }) =
            decode_request(input, &mut HeadScan::default(), &mut self.received, &self.limits)
        else {
            return 0;
        };
        if head.authority().is_empty() {
            return 1; // HTTP/1.0: who forwards it gives it a host, or refuses it
        }
        let framing = head.framing();
        let edit = HeadEdit { upgrade: true, ..HeadEdit::default() };
        self.out.clear();
        encode_request(&head, framing, &edit, &mut self.out);
        assert!(self.out.len() <= request_head_size(&head, &edit));
        let sent = read_request(&self.out, &mut self.sent, &self.limits);
        assert_eq!((sent.method_str(), sent.path()), (head.method_str(), head.path()));
        assert_eq!((sent.authority(), sent.framing()), (head.authority(), framing));
        assert_eq!((sent.upgrade(), sent.te_trailers()), (head.upgrade(), head.te_trailers()));
        let nominated = || head.fields_of(Known::Connection).flat_map(list);
        let fields = checked(sent.fields(), nominated);
        self.again.clear();
        encode_request(&sent, framing, &edit, &mut self.again);
        let again = read_request(&self.again, &mut self.received, &self.limits);
        assert_eq!(digest(again.fields()), fields, "{:?}", String::from_utf8_lossy(&self.again));
        self.spell(input, |cased, table, limits| {
            let sent = read_request(cased, table, limits);
            assert_eq!(digest(sent.fields()), fields, "{:?}", String::from_utf8_lossy(cased));
        });
        let Ok(Decoded::Complete { head, .. }) =
            decode_request(input, &mut HeadScan::default(), &mut self.received, &self.limits)
        else {
            panic!("another answer to the same bytes");
        };
        let asks = u64::from(head.upgrade().is_some()) | u64::from(head.te_trailers()) << 1;
        let ends = trailers(&input[consumed..], framing, &self.limits, &mut self.out, || {
            head.fields_of(Known::Connection).flat_map(list)
        });
        mix(&[asks, head.fields().count() as u64, kind(framing), ends, u64::from(head.method() == Method::Connect)])
    }

    /// Responses on their way down: interim ones, then the final one and its trailers. The first byte chooses the method.
    pub fn response(&mut self, input: &[u8]) -> u64 {
        let Some((&first, mut input)) = input.split_first() else { return 0 };
        let method = match first {
            b'H' => Method::Head,
            b'C' => Method::Connect,
            _ => Method::Get,
        };
        let mut shape = 0;
        for _ in 0..=INTERIM_MAX {
            let Ok(Decoded::Complete { head, consumed }) =
                decode_response(input, &mut HeadScan::default(), &mut self.received, &self.limits, method)
            else {
                return shape;
            };
            let framing = match head.framing() {
                Framing::UntilClose => Framing::Chunked,
                framing => framing,
            };
            let close = !head.keep_alive() && !head.is_interim();
            let edit = HeadEdit { upgrade: head.status() == 101, ..HeadEdit::default() };
            self.out.clear();
            encode_response(&head, framing, close, &edit, &mut self.out);
            assert!(self.out.len() <= response_head_size(&head, &edit));
            let (status, length) = (head.status(), head.content_length());
            let upgrade = head.upgrade().filter(|_| edit.upgrade);
            let is_tunnel = status == 101 || method == Method::Connect && (200..300).contains(&status);
            let fields =
                match decode_response(&self.out, &mut HeadScan::default(), &mut self.sent, &self.limits, method) {
                    Ok(Decoded::Complete { head: sent, consumed }) => {
                        assert_eq!(consumed, self.out.len());
                        assert_eq!((sent.status(), sent.upgrade()), (status, upgrade));
                        // A tunnel has no framing of its own.
                        assert!(is_tunnel || sent.framing() == framing, "{:?} {framing:?}", sent.framing());
                        assert!(!matches!(framing, Framing::Length(_)) || sent.content_length() == length);
                        checked(sent.fields(), || head.fields_of(Known::Connection).flat_map(list))
                    }
                    other => panic!("{other:?} of {:?}", String::from_utf8_lossy(&self.out)),
                };
            let is_interim = head.is_interim();
            let nominated = || head.fields_of(Known::Connection).flat_map(list);
            let ends = if is_tunnel || is_interim {
                0
            } else {
                trailers(&input[consumed..], head.framing(), &self.limits, &mut self.again, nominated)
            };
            shape = mix(&[shape, u64::from(status / 100), head.fields().count() as u64, kind(framing), ends]);
            self.spell(input, |cased, table, limits| {
                let decoded = decode_response(cased, &mut HeadScan::default(), table, limits, method);
                let Ok(Decoded::Complete { head: sent, .. }) = decoded else { panic!("{decoded:?}") };
                assert_eq!(digest(sent.fields()), fields, "{:?}", String::from_utf8_lossy(cased));
            });
            if !is_interim || is_tunnel {
                return shape;
            }
            input = &input[consumed..];
        }
        shape
    }

    /// Writes `out` in other cases of names, of which `input` chooses one, and has it read.
    fn spell(&mut self, input: &[u8], check: impl Fn(&[u8], &mut HeadTable, &Limits)) {
        self.cased.clear();
        self.cased.extend_from_slice(&self.out);
        // Spelled as any line of what came has it; most are none of the names.
        let words = input.split(|byte| matches!(byte, b'\n' | b':'));
        match input.len() % 3 {
            0 => proper_case(&mut self.cased),
            1 => preserve_case(&mut self.cased, words, true),
            _ => preserve_case(&mut self.cased, words, false),
        }
        assert!(self.cased.eq_ignore_ascii_case(&self.out));
        check(&self.cased, &mut self.sent, &self.limits);
    }
}

#[track_caller]
fn read_request<'a>(bytes: &'a [u8], table: &'a mut HeadTable, limits: &Limits) -> Request<'a> {
    match decode_request(bytes, &mut HeadScan::default(), table, limits) {
        Ok(Decoded::Complete { head, consumed }) => {
            assert_eq!(consumed, bytes.len());
            head
        }
        other => panic!("{other:?} of {:?}", String::from_utf8_lossy(bytes)),
    }
}

/// The digest of fields that go on. None is for the hop that they came by, or nominated there.
#[track_caller]
fn checked<'f, N: Iterator<Item = &'f [u8]>>(
    fields: impl Iterator<Item = FieldRef<'f>> + Clone,
    nominated: impl Fn() -> N,
) -> u64 {
    for field in fields.clone() {
        let is = |name: &[u8]| field.name.eq_ignore_ascii_case(name);
        assert!(!is(b"keep-alive") && !is(b"proxy-connection") && !is(b"http2-settings"), "{field:?}");
        // `close` is a word of Connection and reserved as a name (RFC 9112 §12.1): nobody means a field by it.
        let is_ours = is(b"te") || is(b"upgrade") || is(b"connection") || is(b"trailer") || is(b"close");
        assert!(is_ours || !nominated().any(is), "{field:?} was nominated");
    }
    digest(fields)
}

/// Reads a body to its end and writes its trailers anew; what came of it.
fn trailers<'f, N: Iterator<Item = &'f [u8]> + Clone>(
    bytes: &[u8],
    framing: Framing,
    limits: &Limits,
    out: &mut Vec<u8>,
    nominated: impl Fn() -> N,
) -> u64 {
    let mut decoder = BodyDecoder::new(framing);
    let mut at = 0;
    let mut found = 1;
    // Each call makes progress, asks for more, or ends.
    for _ in 0..=2 * bytes.len() + 2 {
        let Ok(step) = decoder.decode(&bytes[at..], limits) else { return 2 };
        let start = at;
        at += step.consumed;
        match step.part {
            BodyPart::NeedMore => return 3,
            BodyPart::End => return found,
            BodyPart::Data(range) => assert!(!range.is_empty()),
            BodyPart::Trailers(range) => {
                let section = &bytes[start..][range];
                out.clear();
                encode_trailers(section, nominated(), out);
                assert!(out.len() <= section.len() + 3);
                let mut again = BodyDecoder::new(Framing::Chunked);
                let mut sent = 0;
                let mut read = 0;
                for _ in 0..3 {
                    let step = again.decode(&out[read..], limits).expect("our own trailers");
                    if let BodyPart::Trailers(range) = step.part {
                        for (name, _) in trailer_fields(&out[read..][range]) {
                            assert!(is_trailer_allowed(name));
                            assert!(!nominated().any(|option| option.eq_ignore_ascii_case(name)));
                            sent += 1;
                        }
                    }
                    read += step.consumed;
                }
                assert!(again.is_done() && read == out.len(), "{:?}", String::from_utf8_lossy(out));
                assert!(sent <= trailer_fields(section).count());
                found = 4 + sent as u64;
            }
        }
    }
    panic!("the decoder goes round in circles");
}

/// A number for a set of fields, whatever their order and the case of their names. Options of Connection lines are one list.
pub(super) fn digest<'f>(fields: impl Iterator<Item = FieldRef<'f>>) -> u64 {
    fields.fold(0, |sum: u64, field| {
        if field.name.eq_ignore_ascii_case(b"connection") {
            return list(field.value).fold(sum, |sum, option| sum.wrapping_add(hash(option, true)));
        }
        sum.wrapping_add(hash(field.name, true).rotate_left(7).wrapping_mul(hash(field.value, false) | 1))
    })
}

/// FNV-1a.
fn hash(bytes: &[u8], is_name: bool) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        let byte = if is_name { byte.to_ascii_lowercase() } else { *byte };
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

pub(super) fn kind(framing: Framing) -> u64 {
    match framing {
        Framing::None => 0,
        Framing::Length(length) => 2 + u64::from(u64::BITS - length.leading_zeros()),
        Framing::Chunked => 1,
        Framing::UntilClose => 99,
    }
}

pub(super) fn mix(words: &[u64]) -> u64 {
    words
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, word| (hash ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(23))
}
