//! Field sections of HTTP/2 on their way through: read, written as HTTP/1, given as fields again, and read.
//!
//! What must hold: the table that was filled in passing is what the decoder of HTTP/1 makes of the same bytes; what an origin of HTTP/1 would
//! get is clean; what is written for HTTP/2 is read as the same message. It allocates nothing once warm.

use super::onward::{digest, kind, mix};
use crate::audit::audit;
use crate::head::{Framing, HeadTable, Kind, Known, Method, Request, Response};
use crate::hpack::{Decoder, Encoder, Field, FieldList, ListLimits};
use crate::http1::{
    BodyDecoder, BodyPart, Decoded, HeadEdit, HeadScan, LAST_CHUNK, LAST_CHUNK_LINE, decode_request, decode_response,
    encode_request, encode_response, is_trailer_allowed, trailer_fields,
};
use crate::http2::message::{
    Asked, read_request, read_response, read_trailers, write_request, write_response, write_trailers,
};
use crate::limits::Limits;
use crate::out::Out;

const LIMITS: ListLimits = ListLimits { size_max: 64 * 1024, fields_max: 200 };
/// Content that is made up for the audit.
const CONTENT_BYTES_MAX: u64 = 64;

/// Reads lines of `name=value` as a field section; `!` in front of a name: never indexed. `spells`: each name is written out, else by its
/// index in the static table, where it has one.
pub fn list(text: &[u8], spells: bool, block: &mut Vec<u8>, fields: &mut FieldList) {
    let mut encoder = Encoder::new(0);
    block.clear();
    encoder.begin(block);
    for line in text.split(|&byte| byte == b'\n') {
        let Some(equals) = line.iter().position(|&byte| byte == b'=') else { continue };
        let (name, value) = (&line[..equals], &line[equals + 1..]);
        let (never_indexed, name) = name.strip_prefix(b"!").map_or((false, name), |name| (true, name));
        if spells {
            block.put(if never_indexed { &[0x10] } else { &[0x00] });
            put_string(name, block);
            put_string(value, block);
        } else {
            encoder.field(Field { name, value, never_indexed }, block);
        }
    }
    Decoder::new(0).decode(block, &LIMITS, fields).expect("a block of ours");
}

/// A string without Huffman's code (RFC 7541 §5.2).
fn put_string(text: &[u8], out: &mut Vec<u8>) {
    const SHORT_MAX: usize = 126;
    let mut rest = match text.len() {
        len @ 0..=SHORT_MAX => {
            out.push(len as u8);
            out.extend_from_slice(text);
            return;
        }
        len => len - SHORT_MAX - 1,
    };
    out.push(0x7f);
    while rest > 0x7f {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
    out.extend_from_slice(text);
}

/// The oracle of the whole: `table`, which came of a section of HTTP/2, says of `block` what the decoder of HTTP/1 says of it. What is of HTTP/2
/// alone is aside: the version, the end by the stream's, and a length behind which nothing comes.
#[track_caller]
pub fn assert_as_decoded(table: &HeadTable, block: &[u8], method: Method, limits: &Limits, again: &mut HeadTable) {
    let told = String::from_utf8_lossy(block);
    let scan = &mut HeadScan::default();
    match table.kind {
        Kind::Request => {
            let Ok(Decoded::Complete { head, consumed }) = decode_request(block, scan, again, limits) else {
                panic!("it is no head: {told}")
            };
            assert_eq!(consumed, block.len());
            assert_same_request(&table.request(block), &head);
        }
        Kind::Response => {
            let Ok(Decoded::Complete { head, consumed }) = decode_response(block, scan, again, limits, method) else {
                panic!("it is no head: {told}")
            };
            assert_eq!(consumed, block.len());
            assert_same_response(&table.response(block), &head);
        }
        Kind::Empty => panic!("nothing was read"),
    }
    assert_eq!(table.fields(), again.fields(), "{told}");
    assert_eq!(table.seen, again.seen, "{told}");
    assert_eq!((table.upgrade, table.content_length), (again.upgrade, again.content_length), "{told}");
    assert_eq!(table.te_trailers, again.te_trailers, "{told}");
    assert!(table.keep_alive);
}

#[track_caller]
fn assert_same_request(read: &Request<'_>, decoded: &Request<'_>) {
    assert_eq!((read.method(), read.method_str()), (decoded.method(), decoded.method_str()));
    assert_eq!((read.target(), read.path()), (decoded.target(), decoded.path()));
    assert_eq!((read.table.target, read.table.path), (decoded.table.target, decoded.table.path));
    assert_eq!(read.table.authority, decoded.table.authority);
    assert_eq!((read.expect_continue(), read.glitches()), (decoded.expect_continue(), decoded.glitches()));
    match read.framing() {
        Framing::UntilClose => assert_eq!(decoded.framing(), Framing::None),
        framing => assert_eq!(decoded.framing(), framing),
    }
}

#[track_caller]
fn assert_same_response(read: &Response<'_>, decoded: &Response<'_>) {
    assert_eq!((read.status(), read.reason()), (decoded.status(), decoded.reason()));
    assert_eq!(read.glitches(), decoded.glitches());
    assert_eq!(read.table.length_is_of_get, decoded.table.length_is_of_get);
    match read.framing() {
        // It ended at its head.
        Framing::None => assert!(matches!(decoded.framing(), Framing::None | Framing::UntilClose)),
        framing => assert_eq!(decoded.framing(), framing),
    }
}

/// What is used again from one input to the next.
#[derive(Debug)]
pub struct Sections {
    limits: Limits,
    table: HeadTable,
    other: HeadTable,
    fields: FieldList,
    block: Vec<u8>,
    onward: Vec<u8>,
    hpack: Vec<u8>,
    lower: Vec<u8>,
}

impl Default for Sections {
    fn default() -> Self {
        let limits = Limits::default();
        let table = || HeadTable::new(limits.headers_max);
        let [block, onward, hpack, lower] = [const { Vec::new() }; 4];
        Self { table: table(), other: table(), limits, fields: FieldList::new(), block, onward, hpack, lower }
    }
}

impl Sections {
    /// A request. The first byte says whether it ends, whether extended CONNECT is allowed, and how names are written. Gives the shape of
    /// what came of it.
    pub fn request(&mut self, input: &[u8]) -> u64 {
        let Some((&flags, input)) = input.split_first() else { return 0 };
        let (ends, extended, spells) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
        list(input, spells, &mut self.hpack, &mut self.fields);
        self.block.clear();
        let (table, limits) = (&mut self.table, &self.limits);
        if let Err(error) = read_request(&self.fields, ends, extended, limits, table, &mut self.block) {
            assert!(self.block.is_empty() && table.head_len() == 0);
            return mix(&[1, error.rule as u64, u64::from(spells)]);
        }
        assert_as_decoded(table, &self.block, Method::Get, limits, &mut self.other);
        // Onward by HTTP/1.
        let request = table.request(&self.block);
        let framing = match request.framing() {
            Framing::UntilClose => Framing::Chunked,
            framing => framing,
        };
        self.onward.clear();
        encode_request(&request, framing, &HeadEdit { upgrade: true, ..HeadEdit::default() }, &mut self.onward);
        let head_len = self.onward.len();
        let upgrade = request.upgrade();
        if upgrade.is_none() && content(framing, &mut self.onward) {
            assert_eq!(audit(&self.onward), Ok(1), "{:?}", String::from_utf8_lossy(&self.onward));
        }
        self.onward.truncate(head_len);
        // And by HTTP/2.
        self.hpack.clear();
        let mut encoder = Encoder::new(0);
        encoder.begin(&mut self.hpack);
        let secret = request.never_indexed();
        let put = &mut |field: Field<'_>| encoder.field(field, &mut self.hpack);
        write_request(&self.onward, b"https", true, secret, &mut self.lower, put);
        Decoder::new(0).decode(&self.hpack, &LIMITS, &mut self.fields).expect("a block of ours");
        self.onward.clear();
        let ends = request.framing() == Framing::None || request.framing() == Framing::Length(0);
        if let Err(error) = read_request(&self.fields, ends, true, limits, &mut self.other, &mut self.onward) {
            panic!("{error}: {:?}", String::from_utf8_lossy(self.fields.lines()));
        }
        let sent = self.other.request(&self.onward);
        assert_eq!((sent.method_str(), sent.path()), (request.method_str(), request.path()));
        assert_eq!((sent.authority(), sent.upgrade()), (request.authority(), upgrade));
        assert_eq!((sent.te_trailers(), sent.expect_continue()), (request.te_trailers(), request.expect_continue()));
        assert!(!sent.never_indexed() || secret);
        if upgrade.is_none() && request.method() != Method::Connect {
            assert_eq!(sent.framing(), request.framing());
        }
        assert_eq!(ordinary(sent.fields()), ordinary(request.fields()), "{:?}", String::from_utf8_lossy(&self.onward));
        let asks = u64::from(upgrade.is_some()) | u64::from(request.te_trailers()) << 1 | u64::from(secret) << 2;
        mix(&[2, asks, request.fields().count() as u64, kind(request.framing()), request.method() as u64])
    }

    /// A response. The first byte says whether it ends, what was asked, and how names are written.
    pub fn response(&mut self, input: &[u8]) -> u64 {
        let Some((&flags, input)) = input.split_first() else { return 0 };
        let (ends, spells) = (flags & 1 != 0, flags & 4 != 0);
        let asked = match flags >> 3 & 3 {
            0 => Asked { method: Method::Get, upgrade: None },
            1 => Asked { method: Method::Head, upgrade: None },
            2 => Asked { method: Method::Connect, upgrade: None },
            _ => Asked { method: Method::Get, upgrade: Some(b"websocket") },
        };
        list(input, spells, &mut self.hpack, &mut self.fields);
        self.block.clear();
        let (table, limits) = (&mut self.table, &self.limits);
        if let Err(error) = read_response(&self.fields, ends, asked, limits, table, &mut self.block) {
            assert!(self.block.is_empty() && table.head_len() == 0);
            return mix(&[1, error.rule as u64, u64::from(spells)]);
        }
        assert_as_decoded(table, &self.block, asked.method, limits, &mut self.other);
        let response = table.response(&self.block);
        let status = response.status();
        let framing = match response.framing() {
            Framing::UntilClose => Framing::Chunked,
            framing => framing,
        };
        let tunnel = status == 101 || asked.method == Method::Connect && (200..300).contains(&status);
        self.onward.clear();
        let edit = HeadEdit { upgrade: status == 101, ..HeadEdit::default() };
        encode_response(&response, framing, false, &edit, &mut self.onward);
        self.hpack.clear();
        let mut encoder = Encoder::new(0);
        encoder.begin(&mut self.hpack);
        let put = &mut |field: Field<'_>| encoder.field(field, &mut self.hpack);
        write_response(&self.onward, tunnel, response.never_indexed(), &mut self.lower, put);
        Decoder::new(0).decode(&self.hpack, &LIMITS, &mut self.fields).expect("a block of ours");
        self.onward.clear();
        let ends = ends && framing == Framing::None;
        if let Err(error) = read_response(&self.fields, ends, asked, limits, &mut self.other, &mut self.onward) {
            panic!("{error}: {:?}", String::from_utf8_lossy(self.fields.lines()));
        }
        let sent = self.other.response(&self.onward);
        assert_eq!((sent.status(), sent.upgrade()), (status, response.upgrade()));
        assert_eq!(sent.framing(), response.framing());
        assert_eq!(ordinary(sent.fields()), ordinary(response.fields()), "{:?}", String::from_utf8_lossy(&self.onward));
        mix(&[2, u64::from(status / 100), response.fields().count() as u64, kind(framing), u64::from(tunnel)])
    }

    /// A trailer section; the first byte says how names are written.
    pub fn trailers(&mut self, input: &[u8]) -> u64 {
        let Some((&flags, input)) = input.split_first() else { return 0 };
        list(input, flags & 4 != 0, &mut self.hpack, &mut self.fields);
        self.block.clear();
        if let Err(error) = read_trailers(&self.fields, &self.limits, &mut self.block) {
            assert!(self.block.is_empty());
            return mix(&[1, error.rule as u64]);
        }
        let read = trailer_fields(&self.block).map(|(name, value)| hash(name, value)).fold(0, u64::wrapping_add);
        assert_eq!(trailer_fields(&self.block).count(), self.fields.len());
        // HTTP/1 would take it as it is.
        self.onward.clear();
        self.onward.put(LAST_CHUNK_LINE);
        self.onward.put(&self.block);
        let mut decoder = BodyDecoder::new(Framing::Chunked);
        let mut at = 0;
        for _ in 0..3 {
            let step = decoder.decode(&self.onward[at..], &self.limits).expect("a section of ours");
            if let BodyPart::Trailers(range) = step.part {
                let told = trailer_fields(&self.onward[at..][range]).map(|(name, value)| hash(name, value));
                assert_eq!(told.fold(0, u64::wrapping_add), read);
            }
            at += step.consumed;
        }
        assert!(decoder.is_done() && at == self.onward.len());
        self.hpack.clear();
        let mut encoder = Encoder::new(0);
        encoder.begin(&mut self.hpack);
        let put = &mut |field: Field<'_>| encoder.field(field, &mut self.hpack);
        write_trailers(&self.block, std::iter::empty(), &mut self.lower, put);
        Decoder::new(0).decode(&self.hpack, &LIMITS, &mut self.fields).expect("a block of ours");
        let mut allowed = trailer_fields(&self.block).filter(|(name, _)| is_trailer_allowed(name));
        assert!(self.fields.iter().map(|field| (field.name, field.value)).eq(allowed.by_ref()));
        mix(&[2, self.fields.len() as u64])
    }
}

/// Appends content of this framing, where there is none too much of it.
fn content(framing: Framing, out: &mut Vec<u8>) -> bool {
    match framing {
        Framing::None => {}
        Framing::Length(length) if length <= CONTENT_BYTES_MAX => out.extend((0..length).map(|_| b'c')),
        Framing::Length(_) | Framing::UntilClose => return false,
        Framing::Chunked => out.put(LAST_CHUNK),
    }
    true
}

/// What goes on from hop to hop as it is.
fn ordinary<'f>(fields: impl Iterator<Item = crate::head::FieldRef<'f>>) -> u64 {
    digest(fields.filter(|field| !field.known.is_of_the_hop() && field.known != Known::Host))
}

fn hash(name: &[u8], value: &[u8]) -> u64 {
    let mut sum = [0u64; 2];
    for (sum, text) in sum.iter_mut().zip([name, value]) {
        *sum = text.iter().fold(7, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    }
    mix(&sum)
}
