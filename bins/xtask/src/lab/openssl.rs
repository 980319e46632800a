//! Certificates for judges, by the command `openssl`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::command;

/// One command takes 10 ms, that of an RSA key a second.
const OPENSSL_LIMIT: Duration = Duration::from_secs(20);

/// Options that make a new key on P-256.
pub(crate) const NEW_EC_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256";

/// Runs one command in this folder; its words are apart by blanks.
///
/// # Errors
/// What it said when it failed.
pub(crate) fn openssl(folder: &Path, line: &str) -> Result<(), String> {
    let mut openssl = Command::new("openssl");
    openssl.args(line.split(' ')).current_dir(folder);
    let outcome = command::run(openssl, OPENSSL_LIMIT, command::Echo::Nothing)?;
    if outcome.success { Ok(()) } else { Err(format!("openssl {line}: {}", outcome.lines.join(" | "))) }
}

/// A new authority, `ca.pem` and `ca.key`, and in `names` what [`openssl`] gives to a certificate of `server.test` by `-extfile names`.
pub(crate) fn authority(folder: &Path) -> Result<(), String> {
    let names = "subjectAltName=DNS:server.test\nextendedKeyUsage=serverAuth\n";
    std::fs::write(folder.join("names"), names).map_err(|e| format!("cannot write: {e}"))?;
    openssl(folder, &format!("req -x509 {NEW_EC_KEY} -nodes -days 365 -keyout ca.key -out ca.pem -subj /CN=judge"))
}
