//! `ringway explain`: asks a running proxy's admin server which way a request would take ([`crate::admin`], `/explain`), and prints what it says.
//!
//! It decides nothing: each option is a parameter of the query, and the server says what is wrong with one.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};

/// How long the server may take for each piece of its answer; the control thread has 5 s of it.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer: 50,000 endpoints as JSON take some 10 MB.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// What is asked, and whom.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Explain {
    /// `--admin`: `HOST:PORT`, or the path of a unix socket.
    admin: String,
    /// The parameters of `/explain`.
    query: Vec<(&'static str, String)>,
}

/// Options that are parameters of the same name, dashes for underscores.
const OPTIONS: &[(&str, &str, &str)] = &[
    ("listener", "NAME", "The listener that the connection comes to. Default: by the address, or the port, of the URL"),
    ("destination", "IP:PORT", "The address that the client connects to. Default: that of the URL, or the listener's"),
    ("original-destination", "IP:PORT", "Where the client wanted to go before it was redirected (original_dst)"),
    ("source", "IP[:PORT]", "The client. Default: one on this host"),
    ("direct-source", "IP[:PORT]", "The peer of the connection, where a proxy before us speaks for the client"),
    ("sni", "NAME", "The server name of the ClientHello. Default: the host of an https URL"),
    ("alpn", "LIST", "The protocols of the ClientHello. Default: h2,http/1.1"),
    ("peer-uri", "URI", "A URI in the client's certificate (SPIFFE); may be repeated"),
    ("peer-dns", "NAME", "A DNS name in the client's certificate; may be repeated"),
    ("peer-subject", "DN", "The subject of the client's certificate"),
];

/// The subcommand.
pub(crate) fn command() -> Command {
    let options = OPTIONS.iter().map(|(name, value, help)| {
        let is_list = matches!(*name, "peer-uri" | "peer-dns");
        let action = if is_list { ArgAction::Append } else { ArgAction::Set };
        Arg::new(*name).long(*name).value_name(*value).help(*help).action(action)
    });
    Command::new("explain")
        .about("Say which way a request would take through a running proxy: listener, chain, route, cluster, endpoints")
        .arg(
            Arg::new("admin")
                .long("admin")
                .value_name("ADDR")
                .required(true)
                .help("The proxy's admin server: HOST:PORT or a path"),
        )
        .arg(
            Arg::new("request")
                .value_name("METHOD> <URL")
                .num_args(1..=2)
                .required(true)
                .help("GET http://host/path; the method may be left out"),
        )
        .arg(
            Arg::new("header")
                .short('H')
                .long("header")
                .value_name("NAME: VALUE")
                .action(ArgAction::Append)
                .help("A field of the request; may be repeated"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON"))
        .args(options)
}

/// Reads the subcommand's arguments.
pub(crate) fn read(matches: &ArgMatches) -> Explain {
    let all = |name: &str| matches.get_many::<String>(name).into_iter().flatten().cloned();
    let mut request: Vec<String> = all("request").collect();
    let mut query = vec![("url", request.pop().unwrap_or_default())];
    query.extend(request.pop().map(|method| ("method", method)));
    query.extend(all("header").map(|header| ("header", header)));
    for (name, ..) in OPTIONS {
        query.extend(all(name).map(|value| (parameter(name), value)));
    }
    query.extend(matches.get_flag("json").then(|| ("format", "json".into())));
    Explain { admin: matches.get_one::<String>("admin").cloned().unwrap_or_default(), query }
}

fn parameter(option: &'static str) -> &'static str {
    match option {
        "original-destination" => "original_destination",
        "direct-source" => "direct_source",
        "peer-uri" => "peer_uri",
        "peer-dns" => "peer_dns",
        "peer-subject" => "peer_subject",
        same => same,
    }
}

/// Asks, and prints the answer: on stdout what is explained, on stderr, with exit code 1, why nothing is.
pub(crate) fn explain(asked: &Explain) -> ExitCode {
    match ask(asked) {
        Ok((200, body)) => {
            let _ = io::stdout().write_all(&body);
            ExitCode::SUCCESS
        }
        Ok((status, body)) => {
            let _ = write!(io::stderr(), "{}: {status}: {}", asked.admin, String::from_utf8_lossy(&body));
            ExitCode::FAILURE
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "{}: {error}", asked.admin);
            ExitCode::FAILURE
        }
    }
}

/// The status and the body of the answer.
fn ask(asked: &Explain) -> io::Result<(u16, Vec<u8>)> {
    // HTTP/1.0: the answer ends with its connection.
    let request = format!("GET {} HTTP/1.0\r\n\r\n", target(&asked.query));
    let mut answer = Vec::new();
    if asked.admin.starts_with(['/', '@']) {
        let stream = UnixStream::connect(&asked.admin)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        exchange(stream, &request, &mut answer)?;
    } else {
        let unknown = || io::Error::other("no address: HOST:PORT, or the path of a unix socket");
        let address = asked.admin.to_socket_addrs()?.next().ok_or_else(unknown)?;
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        exchange(stream, &request, &mut answer)?;
    }
    let no_answer = || io::Error::other("what came is no answer of an admin server");
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or_else(no_answer)?;
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| no_answer())?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(no_answer)?;
    Ok((status, answer.split_off(end + 4)))
}

fn exchange(mut stream: impl Read + Write, request: &str, answer: &mut Vec<u8>) -> io::Result<()> {
    stream.write_all(request.as_bytes())?;
    stream.take(ANSWER_BYTES_MAX).read_to_end(answer).map(|_| ())
}

/// The target, with everything escaped that may mean something in a query.
fn target(query: &[(&'static str, String)]) -> String {
    let mut target = String::from("/explain");
    for (at, (name, value)) in query.iter().enumerate() {
        let _ = write!(target, "{}{name}=", if at == 0 { '?' } else { '&' });
        for byte in value.bytes() {
            match byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte) {
                true => target.push(char::from(byte)),
                false => _ = write!(target, "%{byte:02X}"),
            }
        }
    }
    target
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_parameters() {
        let line = [
            "explain",
            "--admin",
            "127.0.0.1:1",
            "PUT",
            "http://a/b?c=d&e",
            "-H",
            "x: 1 2",
            "-H",
            "y: ü",
            "--peer-uri",
            "spiffe://a",
            "--json",
        ];
        let asked = read(&command().try_get_matches_from(line).expect("a command line"));
        assert_eq!(asked.admin, "127.0.0.1:1");
        assert_eq!(
            target(&asked.query),
            "/explain?url=http://a/b%3Fc%3Dd%26e&method=PUT&header=x:%201%202&header=y:%20%C3%BC&peer_uri=spiffe://a&format=json"
        );
        let short = read(&command().try_get_matches_from(["explain", "--admin", "a:1", "http://a"]).expect("one"));
        assert_eq!(target(&short.query), "/explain?url=http://a");
        for wrong in
            [&["explain", "http://a"][..], &["explain", "--admin", "a:1"], &["explain", "--admin", "a", "x", "y", "z"]]
        {
            assert!(command().try_get_matches_from(wrong).is_err(), "{wrong:?}");
        }
    }
}
