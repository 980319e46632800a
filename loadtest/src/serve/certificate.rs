//! The origin's certificate: a file's, or one that it makes for itself.

use std::path::PathBuf;
use std::sync::Arc;

use clap::ArgMatches;
use ringway_tls::{Identity, Secret, ServerContext, ServerOptions};

/// Names and addresses that a certificate of our own is for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What all sessions of the origin share. It speaks HTTP/2 and HTTP/1.1 by ALPN, or raw bytes.
///
/// # Errors
/// A file that cannot be read or written, or what is wrong with what is in it.
pub(super) fn context(matches: &mut ArgMatches, is_tcp: bool) -> Result<Arc<ServerContext>, String> {
    let read = |path: PathBuf| std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()));
    let given = (matches.remove_one("cert"), matches.remove_one("key"));
    let (certificate_chain, key) = match given {
        (Some(certificate), Some(key)) => (read(certificate)?, read(key)?),
        _ => made()?,
    };
    if let Some(path) = matches.remove_one::<PathBuf>("cert-out") {
        std::fs::write(&path, &certificate_chain).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let alpn: &[&[u8]] = if is_tcp { &[] } else { &[b"h2", b"http/1.1"] };
    let options = ServerOptions {
        certificates: vec![Identity { certificate_chain, private_key: Secret::new(key) }],
        alpn: alpn.iter().map(|name| name.to_vec()).collect(),
        ..ServerOptions::default()
    };
    ServerContext::new(&options).map_err(|error| format!("TLS: {error}"))
}

/// A certificate that signs itself (P-256), and its key.
pub(crate) fn made() -> Result<(Vec<u8>, Vec<u8>), String> {
    let names = NAMES.map(str::to_owned).to_vec();
    let made = rcgen::generate_simple_self_signed(names).map_err(|error| format!("a certificate: {error}"))?;
    Ok((made.cert.pem().into_bytes(), made.signing_key.serialize_pem().into_bytes()))
}
