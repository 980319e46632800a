//! What surrounds a measurement, so that a reader can judge it and repeat it: when, by which program and command, on which host.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::host;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    began: SystemTime,
    command: String,
    host: Value,
}

/// Headers whose values are nobody's but the user's.
const SECRET: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

impl Setting {
    /// As it is before anything is measured.
    pub(crate) fn now() -> Setting {
        Setting { began: SystemTime::now(), command: command(), host: host::describe() }
    }

    /// As members of a document.
    pub(crate) fn document(&self) -> Value {
        let began = self.began.duration_since(UNIX_EPOCH).unwrap_or_default();
        json!({
            "ringway_load": env!("CARGO_PKG_VERSION"),
            "began_unix_s": began.as_secs_f64(),
            "command": self.command,
            "host": self.host,
        })
    }
}

/// The command line, as others can say it: without where this program is, and without secrets.
pub(crate) fn command() -> String {
    quoted(std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()))
}

fn quoted(words: impl Iterator<Item = String>) -> String {
    let quoted = words.map(|word| {
        let word = without_secret(&word);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./:=,@%+-".contains(c);
        if !word.is_empty() && word.chars().all(is_plain) { word } else { format!("'{}'", word.replace('\'', "'\\''")) }
    });
    std::iter::once("ringway-load".to_owned()).chain(quoted).collect::<Vec<_>>().join(" ")
}

/// A header `NAME: VALUE`, or a word that ends in one: without its value, where that is secret.
pub(crate) fn without_secret(word: &str) -> String {
    let Some((name, _)) = word.split_once(':') else { return word.to_owned() };
    let lower = name.trim_end().to_ascii_lowercase();
    let is_secret = SECRET.iter().any(|secret| lower.ends_with(secret));
    if is_secret { format!("{name}: (not shown)") } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        for (word, shown) in [
            ("Authorization: Bearer abc", "Authorization: (not shown)"),
            ("-HCookie:a=b", "-HCookie: (not shown)"),
            ("--header=proxy-authorization : x", "--header=proxy-authorization : (not shown)"),
            ("accept: a/b", "accept: a/b"),
            ("http://host/", "http://host/"),
        ] {
            assert_eq!(without_secret(word), shown);
        }
        let words = ["run", "http://host/", "-H", "cookie: a=b"].map(str::to_owned);
        assert_eq!(quoted(words.into_iter()), "ringway-load run http://host/ -H 'cookie: (not shown)'");
    }
}
