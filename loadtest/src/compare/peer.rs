//! The proxies that are compared, and what each is started by.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::config::Format;
use super::held::Held;
use super::install::Shelf;

/// A proxy that can be started.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// As it is shown.
    pub(crate) name: String,
    pub(crate) format: Format,
    pub(crate) version: String,
    /// The program and its arguments; `{config}` and `{workers}` stand for what they say.
    pub(crate) words: Vec<String>,
    /// It is one of those that `--ours` names.
    pub(crate) is_ours: bool,
}

/// One that is wished for and not there, and why.
#[derive(Clone, Debug)]
pub(crate) struct Missing {
    pub(crate) name: String,
    pub(crate) why: String,
}

/// A proxy that can be looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Envoy,
    Haproxy,
    Nginx,
}

impl Kind {
    /// Reads `envoy,nginx`; `none`.
    ///
    /// # Errors
    /// A name that there is not.
    pub(crate) fn parse(text: &str) -> Result<Vec<Kind>, String> {
        let named = |word: &str| match word {
            "envoy" => Ok(Kind::Envoy),
            "haproxy" => Ok(Kind::Haproxy),
            "nginx" => Ok(Kind::Nginx),
            _ => Err(format!("no peer {word:?}; there are envoy, haproxy, nginx, and none of them")),
        };
        if text == "none" { Ok(Vec::new()) } else { text.split(',').map(named).collect() }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Envoy => "Envoy",
            Kind::Haproxy => "HAProxy",
            Kind::Nginx => "nginx",
        }
    }

    /// What its configuration is written in, what it is started by, and what it is asked for its version by.
    fn started_by(self) -> (Format, &'static [&'static str], &'static str) {
        match self {
            Kind::Envoy => {
                let arguments = &[
                    "-c",
                    "{config}",
                    "--concurrency",
                    "{workers}",
                    "--disable-hot-restart",
                    "--log-level",
                    "warning",
                ];
                (Format::V3, arguments, "--version")
            }
            Kind::Haproxy => (Format::Haproxy, &["-db", "-f", "{config}"], "-v"),
            Kind::Nginx => (Format::Nginx, &["-e", "stderr", "-c", "{config}"], "-v"),
        }
    }

    /// Looks for it on this host.
    ///
    /// # Errors
    /// It is not there.
    pub(crate) fn find(self, shelf: &Shelf) -> Result<Peer, Missing> {
        let missing = |why: &str| Missing { name: self.name().to_owned(), why: why.to_owned() };
        let program = shelf.program(self).ok_or_else(|| missing("not installed here; --install does it"))?;
        let (format, arguments, asking) = self.started_by();
        let version = version(&program, asking).ok_or_else(|| missing("it does not say its version"))?;
        let words = std::iter::once(program.display().to_string());
        let words = words.chain(arguments.iter().map(|word| (*word).to_owned())).collect();
        Ok(Peer { name: self.name().to_owned(), format, version, words, is_ours: false })
    }
}

/// One of `--ours`: `NAME=COMMAND`, or a command, which is called Ringway.
///
/// # Errors
/// Its program is not there.
pub(crate) fn ours(text: &str) -> Result<Peer, String> {
    // A command may have a `=` itself, behind its program, a placeholder or an option.
    let is_name = |name: &str| !name.is_empty() && !name.contains(['/', '{']) && !name.contains(" -");
    let (name, command) = match text.split_once('=') {
        Some((name, command)) if is_name(name) => (name, command),
        _ => ("Ringway", text),
    };
    let mut words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    let first = words.first().ok_or("--ours wants a command")?.clone();
    let program = if first.contains('/') {
        Some(PathBuf::from(&first))
    } else {
        beside_us(&first).or_else(|| Shelf::here().on_path(&first))
    };
    let program = program.filter(|path| path.is_file()).ok_or_else(|| {
        format!("{first} is not there: build it (cargo build --release), put it on PATH, or say `--ours none`")
    })?;
    words[0] = program.display().to_string();
    let version = version(&program, "--version").unwrap_or_else(|| "it does not say".to_owned());
    Ok(Peer { name: name.to_owned(), format: Format::V3, version, words, is_ours: true })
}

impl Peer {
    /// Its command with what stands for something filled in.
    pub(crate) fn command(&self, config: &Path, workers: usize) -> Vec<String> {
        let config = config.display().to_string();
        let fill = |word: &String| word.replace("{config}", &config).replace("{workers}", &workers.to_string());
        self.words.iter().map(fill).collect()
    }

    /// Its command as others can say it: without where things are on this host.
    pub(crate) fn shown(&self) -> String {
        let program = Path::new(&self.words[0]).file_name().unwrap_or_default().to_string_lossy().into_owned();
        std::iter::once(program).chain(self.words[1..].iter().cloned()).collect::<Vec<_>>().join(" ")
    }
}

/// Where programs of ours are built, this one is, too.
fn beside_us(name: &str) -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.parent()?.join(name);
    path.is_file().then_some(path)
}

/// What a program says of its version: the first word with numbers with a dot between. It has a moment for it: who does not know the question may
/// do something else for ever.
fn version(program: &Path, argument: &str) -> Option<String> {
    let words = [program.display().to_string(), argument.to_owned()];
    let mut asked = Held::start(&words, &[], Stdio::piped(), Stdio::piped()).ok()?;
    let (told, said) = channel();
    let outputs: [Box<dyn Read + Send>; 2] = [Box::new(asked.output()?), Box::new(asked.errors()?)];
    for mut output in outputs {
        let told = told.clone();
        std::thread::spawn(move || {
            let mut text = String::new();
            let _end = output.read_to_string(&mut text); // what came before an error is looked at
            let _gone = told.send(text);
        });
    }
    drop(told);
    let until = Instant::now() + VERSION_MAX;
    while let Ok(text) = said.recv_timeout(until.saturating_duration_since(Instant::now())) {
        if let Some(version) = text.lines().find_map(version_in) {
            return Some(version);
        }
    }
    None
}

/// Programs say their version at once.
const VERSION_MAX: Duration = Duration::from_secs(5);

fn version_in(line: &str) -> Option<String> {
    let is_version = |word: &&str| {
        let mut parts = word.split(['.', '-', '+']);
        let [first, second] = [parts.next(), parts.next()];
        [first, second].iter().all(|part| part.is_some_and(|part| !part.is_empty() && part.parse::<u32>().is_ok()))
    };
    line.split([' ', '/']).find(is_version).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (line, version) in [
            ("nginx version: nginx/1.22.1", Some("1.22.1")),
            ("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/", Some("2.6.12-1+deb12u4")),
            ("envoy  version: 9e55809337/1.40.0/Clean/RELEASE/BoringSSL", Some("1.40.0")),
            ("ringway 0.1.0", Some("0.1.0")),
            ("", None),
            ("no version", None),
        ] {
            assert_eq!(version_in(line).as_deref(), version, "{line}");
        }
    }

    /// Those that have no number of workers in their files (see `config`) are given it here.
    #[test]
    fn all_have_a_worker_for_each_cpu() {
        let envoy = Kind::Envoy.started_by();
        let at = envoy.1.iter().position(|word| *word == "--concurrency").unwrap();
        assert_eq!((envoy.0, envoy.1[at + 1]), (Format::V3, "{workers}"));
        assert!(super::super::OURS.ends_with("--concurrency {workers}"));
    }

    #[test]
    fn peers_are_named_or_refused() {
        assert_eq!(Kind::parse("envoy,nginx"), Ok(vec![Kind::Envoy, Kind::Nginx]));
        assert_eq!(Kind::parse("none"), Ok(vec![]));
        assert!(Kind::parse("apache").unwrap_err().contains("no peer"));
    }

    #[test]
    fn ours_has_a_name_and_a_program_that_is_there() {
        let peer = ours("poll=/bin/sh -c {config} --n {workers}").unwrap();
        assert_eq!(peer.name, "poll");
        assert_eq!(peer.command(Path::new("/c"), 2), ["/bin/sh", "-c", "/c", "--n", "2"]);
        assert_eq!(peer.shown(), "sh -c {config} --n {workers}");
        assert_eq!(ours("/bin/sh --a=b").unwrap().name, "Ringway");
        assert!(ours("no-such-program-77 run").unwrap_err().contains("is not there"));
    }
}
