//! What a command line says in vain: an option that the target or the other options leave nothing to do. It is refused, for who says it
//! expects something of it.

use clap::ArgMatches;
use clap::parser::ValueSource;

use crate::target::{Protocol, Target};

/// Looks for one, where the target's protocol is that of `--http1` and `--http2` already.
///
/// # Errors
/// The option, and why it means nothing.
pub(crate) fn check(matches: &ArgMatches, target: &Target) -> Result<(), String> {
    use Protocol::{Grpc, Http1, Http2, HttpByAlpn, Tcp};
    const RAW: &str = "a raw connection has bytes, and no requests of HTTP";
    const TLS: &str = "the target is not asked by TLS: https://, grpcs:// and tls:// are";
    let given = |id: &str| {
        matches.try_contains_id(id).unwrap_or(false) && matches.value_source(id) == Some(ValueSource::CommandLine)
    };
    let protocol = target.protocol;
    let is_raw = protocol == Tcp;
    for (id, shown, is_used, why) in [
        ("http1", "--http1", matches!(protocol, Http1 | HttpByAlpn), "the target's scheme says what is spoken"),
        ("http2", "--http2", matches!(protocol, Http2 | Grpc), "the target's scheme says what is spoken"),
        ("path", "--path", !is_raw, RAW),
        ("method", "--method", !is_raw, RAW),
        ("header", "--header", !is_raw, RAW),
        ("expect-status", "--expect-status", !is_raw, RAW),
        ("tcp-reply", "--tcp-reply", is_raw, "it is of raw connections: tcp:// and tls://"),
        ("messages", "--messages", protocol == Grpc, "it is of calls of gRPC: grpc:// and grpcs://"),
        (
            "streams",
            "--streams",
            matches!(protocol, Http2 | HttpByAlpn | Grpc),
            "a connection of HTTP/1, or a raw one, has one request at a time: -c says how many connections",
        ),
        ("insecure", "--insecure", target.tls, TLS),
        ("ca", "--ca", target.tls, TLS),
        ("sni", "--sni", target.tls, TLS),
        ("arrivals", "--arrivals", !knows(matches, "rate") || given("rate"), "it is of the open loop: --rate"),
    ] {
        if given(id) && !is_used {
            return Err(format!("{shown} means nothing here: {why}"));
        }
    }
    Ok(())
}

/// Whether the subcommand has such an option: `sweep` has rates of its own.
fn knows(matches: &ArgMatches, id: &str) -> bool {
    matches.try_contains_id(id).is_ok()
}

#[cfg(test)]
mod tests {
    use crate::command;

    #[track_caller]
    fn check(line: &str, refused: Option<&str>) {
        let words = std::iter::once("ringway-load").chain(line.split(' '));
        let read = command::command().try_get_matches_from(words).map_err(|error| error.to_string());
        let plan = read.and_then(|mut matches| {
            let (_, mut matches) = matches.remove_subcommand().expect("one is required");
            command::plan(&mut matches).map(|_| ())
        });
        match (plan, refused) {
            (Ok(()), None) => {}
            (Err(why), Some(flag)) if why.contains(flag) => {}
            (plan, _) => panic!("{line}: {plan:?}, not {refused:?}"),
        }
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (options, schemes) in [
            ("--messages 2", &["grpc"][..]),
            ("-s 5", &["h2c", "grpc", "https"]),
            ("--tcp-reply none", &["tcp", "tls"]),
            ("--http1", &["http", "https"]),
            ("--http2", &["http", "h2c", "grpc", "https"]),
            ("-H a:b", &["http", "h2c", "grpc", "https"]),
            ("-X PUT", &["http", "h2c", "grpc", "https"]),
            ("--path /a", &["http", "h2c", "grpc", "https"]),
            ("--expect-status 200", &["http", "h2c", "grpc", "https"]),
            ("--sni a", &["https", "tls"]),
        ] {
            for scheme in ["http", "h2c", "grpc", "https", "tcp", "tls"] {
                let trust = if ["https", "tls"].contains(&scheme) { " -k" } else { "" };
                let is_used = schemes.contains(&scheme);
                let line = format!("run {scheme}://127.0.0.1:1 {options}{trust}");
                check(&line, (!is_used).then_some("means nothing here: "));
            }
        }
        for (line, refused) in [
            ("run https://127.0.0.1:1 --http1 -k -s 2", Some("--streams")),
            ("run 127.0.0.1:1 --http2 -s 2", None),
            ("run 127.0.0.1:1 -k", Some("--insecure")),
            ("run 127.0.0.1:1 --ca Cargo.toml", Some("--ca")),
            ("run https://127.0.0.1:1 --ca Cargo.toml -k", Some("--insecure")),
            ("run 127.0.0.1:1 --arrivals poisson", Some("--arrivals")),
            ("run 127.0.0.1:1 --arrivals poisson --rate 5", None),
            ("sweep 127.0.0.1:1 --arrivals poisson", None),
            ("sweep 127.0.0.1:1 --arrivals poisson --concurrencies 1,2", Some("--arrivals")),
            ("run 127.0.0.1:1 --ramp 20s -d 2s", Some("--ramp")),
            ("run 127.0.0.1:1 --ramp 2s -d 2s", None),
            ("run 127.0.0.1:1 --ramp 20s -n 5", None),
            ("run 127.0.0.1:1 --timeout 0", Some("--timeout")),
            ("run 127.0.0.1:1 --connect-timeout 0ms", Some("--connect-timeout")),
        ] {
            check(line, refused);
        }
    }
}
