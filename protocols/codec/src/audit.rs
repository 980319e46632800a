//! A second opinion on HTTP/1 bytes: what would reach an origin, read by the strictest reader there could be.
//!
//! For tests, here and in the engine; never on a request's path. It shares no code with the decoder on purpose: what both take
//! has one meaning, and a mistake would have to be made twice.

/// Judges whole messages, one after the other, as an origin would receive them from us.
///
/// # Errors
/// What is unclean: anything that a lenient reader could take differently, and anything incomplete.
pub fn audit(mut bytes: &[u8]) -> Result<usize, String> {
    let mut messages = 0;
    while !bytes.is_empty() {
        let rest = request(bytes).map_err(|why| format!("message {messages}: {why}"))?;
        bytes = rest;
        messages += 1;
    }
    Ok(messages)
}

/// Takes one request off the front.
fn request(bytes: &[u8]) -> Result<&[u8], String> {
    let (head, rest) = cut(bytes, b"\r\n\r\n").ok_or("incomplete head")?;
    let text = head.iter().map(|&b| char::from(b)).collect::<String>();
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap_or_default().split(' ').collect::<Vec<_>>();
    let [method, target, "HTTP/1.1"] = line[..] else { return Err(format!("request line {line:?}")) };
    if !is_token(method) {
        return Err(format!("method {method:?}"));
    }
    if target.is_empty() || !target.chars().all(|c| c.is_ascii_graphic() && c != '#') {
        return Err(format!("target {target:?}"));
    }
    let fields = fields(lines)?;
    let values = |wanted: &str| {
        fields.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.as_str()).collect::<Vec<_>>()
    };
    let hosts = values("host");
    if hosts.len() != 1 || hosts[0].contains([' ', '\t', ',', '@', '/']) {
        return Err(format!("Host {hosts:?}"));
    }
    for name in ["keep-alive", "proxy-connection", "upgrade", "http2-settings"] {
        if !values(name).is_empty() {
            return Err(format!("{name} is for one hop"));
        }
    }
    match (&values("content-length")[..], &values("transfer-encoding")[..]) {
        ([], []) => Ok(rest),
        ([], ["chunked"]) => chunks(rest),
        ([length], []) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
            let length = length.parse::<usize>().map_err(|_| format!("Content-Length {length}"))?;
            rest.get(length..).ok_or_else(|| "incomplete content".to_owned())
        }
        (lengths, codings) => Err(format!("Content-Length {lengths:?} Transfer-Encoding {codings:?}")),
    }
}

/// Takes one chunked body off the front; extensions are never sent by us.
fn chunks(mut bytes: &[u8]) -> Result<&[u8], String> {
    loop {
        let (line, rest) = cut(bytes, b"\r\n").ok_or("incomplete chunk line")?;
        let size = std::str::from_utf8(line).ok().filter(|line| line.bytes().all(|b| b.is_ascii_hexdigit()));
        let size = size.and_then(|line| usize::from_str_radix(line, 16).ok()).ok_or(format!("chunk line {line:?}"))?;
        if size == 0 {
            if let Some(rest) = rest.strip_prefix(b"\r\n") {
                return Ok(rest);
            }
            let (section, rest) = cut(rest, b"\r\n\r\n").ok_or("incomplete trailers")?;
            let text = section.iter().map(|&b| char::from(b)).collect::<String>();
            for (name, _) in fields(text.split("\r\n"))? {
                if ["host", "content-length", "transfer-encoding", "authorization", "connection"].contains(&&*name) {
                    return Err(format!("trailer {name}"));
                }
            }
            return Ok(rest);
        }
        if rest.get(size..size + 2) != Some(b"\r\n") {
            return Err("chunk data without its end".to_owned());
        }
        bytes = &rest[size + 2..];
    }
}

/// Names in lower case and values.
fn fields<'l>(lines: impl Iterator<Item = &'l str>) -> Result<Vec<(String, String)>, String> {
    lines
        .map(|line| {
            let (name, value) = line.split_once(':').ok_or(format!("no colon in {line:?}"))?;
            if !is_token(name) {
                return Err(format!("field name {name:?}"));
            }
            if value.chars().any(|c| (c < ' ' && c != '\t') || c == '\x7f') {
                return Err(format!("field value {value:?}"));
            }
            Ok((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()))
        })
        .collect()
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
}

/// What comes before and after the first `separator`.
fn cut<'b>(bytes: &'b [u8], separator: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let at = bytes.windows(separator.len()).position(|window| window == separator)?;
    Some((&bytes[..at], &bytes[at + separator.len()..]))
}

#[cfg(test)]
mod tests {
    use super::audit;

    #[test]
    fn the_judge_takes_clean_messages_and_refuses_unclean_ones() {
        for (clean, messages) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET / HTTP/1.1\r\nHost: a\r\n\r\n", 2),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: y\r\n\r\n", 1),
        ] {
            assert_eq!(audit(clean.as_bytes()), Ok(messages), "{clean:?}");
        }
        for unclean in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n X: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\nhi",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nh",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;a\r\nhi\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: b\r\n\r\n",
        ] {
            assert!(audit(unclean.as_bytes()).is_err(), "{unclean:?}");
        }
    }
}
