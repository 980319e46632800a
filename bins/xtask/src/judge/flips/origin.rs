//! The origin: says in `x-seen` by which route, cluster and endpoint it was asked, as it sees them from its own end of the connection.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use super::resources::version_of;
use crate::lab::interrupted::uninterrupted;
use crate::lab::origin::Origin;

/// A head of a judge's request has a tenth of that.
const HEAD_SIZE_MAX: usize = 16 << 10;
/// What stands before the route's version.
const ROUTE: &[u8] = b"\r\nx-route: ";

/// Listens at every address of this host.
pub(super) fn start() -> Result<Origin, String> {
    Origin::start("0.0.0.0", serve)
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    let number = |version: Option<u64>| version.map_or_else(|| "-".to_owned(), |version| version.to_string());
    let endpoint = number(version_of(stream.local_addr()?.ip()));
    let cluster = number(version_of(stream.peer_addr()?.ip()));
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    loop {
        // Requests have no bodies, and a proxy sends the next one only after the answer.
        while !head.ends_with(b"\r\n\r\n") {
            let size = uninterrupted(|| stream.read(&mut piece))?;
            if size == 0 || head.len() > HEAD_SIZE_MAX {
                return Ok(());
            }
            head.extend_from_slice(&piece[..size]);
        }
        let route = route(&head).unwrap_or("-");
        let answer = format!("HTTP/1.1 200 OK\r\nx-seen: {route} {cluster} {endpoint}\r\ncontent-length: 2\r\n\r\nok");
        stream.write_all(answer.as_bytes())?;
        head.clear();
    }
}

/// What the route added to this request.
fn route(head: &[u8]) -> Option<&str> {
    let at = head.windows(ROUTE.len()).position(|window| window.eq_ignore_ascii_case(ROUTE))?;
    let rest = &head[at + ROUTE.len()..];
    let end = rest.iter().position(|byte| *byte == b'\r')?;
    std::str::from_utf8(&rest[..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_names_itself_in_the_head() {
        assert_eq!(route(b"GET /s HTTP/1.1\r\nHost: a\r\nX-Route: 17\r\n\r\n"), Some("17"));
        assert_eq!(route(b"GET /s HTTP/1.1\r\nhost: a\r\n\r\n"), None);
    }
}
