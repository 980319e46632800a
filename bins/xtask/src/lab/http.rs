//! A second, independent reader of HTTP/1 messages, for origins and clients of judges.
//!
//! Strict about framing, so that a proxy's mistake shows; blocking; never used in the product.

use std::io::{self, BufRead, Read, Write};

/// How the end of a body is known (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// By its status or method there is none.
    None,
    /// Content-Length.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
    /// The end of the connection.
    Close,
}

impl Framing {
    /// The word for it, without the length.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Framing::None => "none",
            Framing::Length(_) => "length",
            Framing::Chunked => "chunked",
            Framing::Close => "close",
        }
    }
}

/// Names and values in order, as they came.
pub(crate) type Fields = Vec<(String, String)>;

/// A message's start line and fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// The request line or status line.
    pub(crate) line: String,
    /// Names and values in order, as they came.
    pub(crate) fields: Fields,
}

/// Fields of one head. A judge sends at most 100.
const FIELDS_MAX: usize = 1_000;
/// One line of a head.
const LINE_SIZE_MAX: u64 = 1 << 20;
/// A body that is read into memory. Longer ones are read piece by piece by who wants them.
pub(crate) const BODY_SIZE_MAX: u64 = 64 << 20;

impl Head {
    /// Reads one head. `None` at the end of the connection before its first byte.
    pub(crate) fn read(from: &mut impl BufRead) -> io::Result<Option<Head>> {
        let Some(line) = read_line(from)? else { return Ok(None) };
        let mut fields = Vec::new();
        loop {
            let Some(text) = read_line(from)? else { return Err(bad("the end within a head")) };
            if text.is_empty() {
                return Ok(Some(Head { line, fields }));
            }
            let Some((name, value)) = text.split_once(':') else { return Err(bad(&format!("no colon in {text:?}"))) };
            fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
            if fields.len() > FIELDS_MAX {
                return Err(bad("too many fields"));
            }
        }
    }

    /// The values of a field, in order; the name without regard to case.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether a comma-separated field has this word.
    pub(crate) fn has_word(&self, name: &str, word: &str) -> bool {
        self.values(name).flat_map(|value| value.split(',')).any(|known| known.trim().eq_ignore_ascii_case(word))
    }

    /// The status code of a response; 0 if the line has none.
    pub(crate) fn status(&self) -> u16 {
        self.line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// Whether this end of a response's connection is the last: the peer said so, or speaks HTTP/1.0.
    pub(crate) fn closes(&self) -> bool {
        self.has_word("connection", "close") || self.line.starts_with("HTTP/1.0") || self.line.ends_with(" HTTP/1.0")
    }

    /// How the end of the body of a request with this head is known.
    pub(crate) fn request_framing(&self) -> io::Result<Framing> {
        Ok(self.framing()?.unwrap_or(Framing::None))
    }

    /// How the end of the body of the response to a request with this method is known.
    pub(crate) fn response_framing(&self, method: &str) -> io::Result<Framing> {
        let status = self.status();
        if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            return Ok(Framing::None);
        }
        Ok(self.framing()?.unwrap_or(Framing::Close))
    }

    fn framing(&self) -> io::Result<Option<Framing>> {
        let codings: Vec<&str> = self.values("transfer-encoding").collect();
        let lengths: Vec<&str> = self.values("content-length").collect();
        match (codings.as_slice(), lengths.as_slice()) {
            ([], []) => Ok(None),
            ([coding], []) if coding.eq_ignore_ascii_case("chunked") => Ok(Some(Framing::Chunked)),
            ([], [length]) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                length.parse().map(|size| Some(Framing::Length(size))).map_err(|_| bad("a length beyond all bounds"))
            }
            _ => Err(bad(&format!("no one framing: {codings:?} {lengths:?}"))),
        }
    }
}

/// Reads a whole body; its trailers, if any, follow it.
pub(crate) fn read_body(from: &mut impl BufRead, framing: Framing) -> io::Result<(Vec<u8>, Fields)> {
    let mut body = Vec::new();
    let trailers = read_body_into(from, framing, &mut body)?;
    Ok((body, trailers))
}

/// Reads a whole body into `body` and gives its trailers. What came before an error is in `body`, too.
pub(crate) fn read_body_into(from: &mut impl BufRead, framing: Framing, body: &mut Vec<u8>) -> io::Result<Fields> {
    match framing {
        Framing::None => {}
        Framing::Length(size) => read_piece(from, size, body)?,
        Framing::Close => {
            from.take(BODY_SIZE_MAX).read_to_end(body)?;
        }
        Framing::Chunked => loop {
            let line = read_line(from)?
                .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the end within a body"))?;
            let digits = line.split(';').next().unwrap_or_default();
            let size = u64::from_str_radix(digits, 16).map_err(|_| bad(&format!("chunk size {line:?}")))?;
            if size == 0 {
                return read_trailers(from);
            }
            read_piece(from, size, body)?;
            match read_line(from)?.as_deref() {
                Some("") => {}
                Some(_) => return Err(bad("no line end after a chunk")),
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the end within a body")),
            }
        },
    }
    Ok(Vec::new())
}

fn read_piece(from: &mut impl BufRead, size: u64, body: &mut Vec<u8>) -> io::Result<()> {
    if size > BODY_SIZE_MAX - (body.len() as u64).min(BODY_SIZE_MAX) {
        return Err(bad("a body too long to keep"));
    }
    if from.take(size).read_to_end(body)? as u64 == size {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the end within a body"))
    }
}

fn read_trailers(from: &mut impl BufRead) -> io::Result<Fields> {
    let mut trailers = Vec::new();
    loop {
        let text =
            read_line(from)?.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the end within trailers"))?;
        if text.is_empty() {
            return Ok(trailers);
        }
        let (name, value) = text.split_once(':').ok_or_else(|| bad("no colon in a trailer"))?;
        trailers.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        if trailers.len() > FIELDS_MAX {
            return Err(bad("too many trailers"));
        }
    }
}

/// Writes one chunk of a chunked body.
pub(crate) fn write_chunk(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    assert!(!bytes.is_empty(), "an empty chunk ends the body");
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    to.write_all(&chunk)
}

/// One line without its CRLF. `None` at the end of the connection before its first byte.
fn read_line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    from.take(LINE_SIZE_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if !line.ends_with(b"\r\n") {
        let kind = if line.ends_with(b"\n") { io::ErrorKind::InvalidData } else { io::ErrorKind::UnexpectedEof };
        return Err(io::Error::new(kind, format!("a line without CRLF: {:?}", String::from_utf8_lossy(&line))));
    }
    line.truncate(line.len() - 2);
    if line.contains(&b'\r') || line.contains(&0) {
        return Err(bad("a bare CR or a NUL"));
    }
    // Field values may hold any byte from 0x80 (RFC 9110 §5.5): each is kept as the character of its number.
    Ok(Some(line.into_iter().map(char::from).collect()))
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wire: &str, method: &str, expect: Result<(Framing, &str), &str>) {
        let mut from = wire.as_bytes();
        let got = Head::read(&mut from).and_then(|head| {
            let framing = head.expect("a head").response_framing(method)?;
            let (body, _) = read_body(&mut from, framing)?;
            Ok((framing, String::from_utf8(body).expect("text")))
        });
        match (got, expect) {
            (Ok((framing, body)), Ok(expect)) => assert_eq!((framing, body.as_str()), expect),
            (Err(why), Err(expect)) => assert!(why.to_string().contains(expect), "{why}"),
            (got, expect) => panic!("{got:?} instead of {expect:?}"),
        }
    }

    #[test]
    fn framings_are_told_apart() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", "GET", Ok((Framing::Length(3), "abc")));
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "HEAD", Ok((Framing::None, "")));
        check("HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", "GET", Ok((Framing::None, "")));
        check("HTTP/1.1 200 OK\r\n\r\nabc", "GET", Ok((Framing::Close, "abc")));
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;x\r\nab\r\n1\r\nc\r\n0\r\nt: 1\r\n\r\n";
        check(chunked, "GET", Ok((Framing::Chunked, "abc")));
    }

    #[test]
    fn broken_messages_are_errors() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", "GET", Err("the end within a body"));
        check("HTTP/1.1 200 OK\nContent-Length: 3\r\n\r\n", "GET", Err("without CRLF"));
        let both = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(both, "GET", Err("no one framing"));
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", "GET", Err("no line end"));
        check("HTTP/1.1 200 OK\r\nx", "GET", Err("without CRLF"));
    }
}
