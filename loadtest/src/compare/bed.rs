//! What a comparison runs on: a folder, an origin, and proxies before it. All of it ends when it is dropped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use ringway_runtime::cpus;

use super::account::Memory;
use super::config::{CERTIFICATE, Origins, Wiring};
use super::held::Held;
use super::peer::Peer;
use super::scenario::Way;
use crate::serve::certificate;

/// Envoy takes half a second to start, on a busy host two; what has not started after this never will.
const START_MAX: Duration = Duration::from_secs(20);
/// How often it is looked whether something has come about.
pub(crate) const LOOK: Duration = Duration::from_millis(20);
/// Lines of a log that are shown of a proxy that ended.
const LOG_LINES: usize = 8;

/// CPUs of either part.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// Of the proxies: as many workers each.
    pub(crate) proxy: Vec<usize>,
    /// Of the generator and the origin, which share them.
    pub(crate) load: Vec<usize>,
}

impl Places {
    /// Cores of the generator, and of the origin: half of theirs each.
    pub(crate) fn cores(&self) -> usize {
        (self.load.len() / 2).max(1)
    }

    /// What is to be said of it where proxies and load have CPUs in common: nobody is kept from that, for on small hosts there is no other way to
    /// see several workers.
    pub(crate) fn note(&self) -> Option<String> {
        let shared: Vec<usize> = self.proxy.iter().copied().filter(|cpu| self.load.contains(cpu)).collect();
        (!shared.is_empty()).then(|| {
            format!(
                "the proxies share CPU {} with the generator and the origin: rates are what all of them come to together, and in latencies is what \
                 they wait for each other; CPU time a request is the proxy's alone",
                cpus::format(&shared)
            )
        })
    }
}

/// A folder for what is written; removed at the end unless it is to be kept.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    is_kept: bool,
}

impl Folder {
    /// The folder that is to be kept, or one of our own.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn make(kept: Option<&Path>) -> Result<Folder, String> {
        let own = || std::env::temp_dir().join(format!("ringway-compare-{}", std::process::id()));
        let path = kept.map_or_else(own, Path::to_path_buf);
        let fault = |error: std::io::Error| format!("{}: {error}", path.display());
        fs::create_dir_all(&path).map_err(fault)?;
        let path = path.canonicalize().map_err(fault)?;
        Ok(Folder { path, is_kept: kept.is_some() })
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let path = self.path.join(name);
        fs::write(&path, bytes).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// The certificate that proxies show.
    pub(crate) fn write_certificate(&self) -> Result<(), String> {
        let (certificate, key) = certificate::made()?;
        let both = [certificate.clone(), key.clone()].concat();
        for (name, bytes) in CERTIFICATE.iter().zip([certificate, key, both]) {
            self.write(name, &bytes)?;
        }
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept {
            let _left = fs::remove_dir_all(&self.path); // temporary files: the system removes them one day
        }
    }
}

/// Where requests end: two processes of `ringway-load serve`, or what the user has.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) addresses: Origins,
    /// None: it is the user's.
    held: Option<[Held; 2]>,
}

impl Origin {
    /// The user's.
    pub(crate) fn given(addresses: Origins) -> Origin {
        Origin { addresses, held: None }
    }

    /// Starts our own.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn start(places: &Places) -> Result<Origin, String> {
        let (small, at_small) = serve("1k", places)?;
        let (bulk, at_bulk) = serve("1m", places)?;
        Ok(Origin { addresses: Origins { small: at_small, bulk: at_bulk }, held: Some([small, bulk]) })
    }

    /// The processes that answer on this way; none of the user's.
    pub(crate) fn processes(&self, way: Way) -> Option<Vec<u32>> {
        self.held.as_ref().map(|held| held[usize::from(way.is_bulk())].processes())
    }
}

fn serve(size: &str, places: &Places) -> Result<(Held, SocketAddr), String> {
    let cores = places.cores().to_string();
    let words = [own()?.as_str(), "serve", "127.0.0.1:0", "--size", size, "-t", &cores].map(str::to_owned);
    let mut held = Held::start(&words, &places.load, Stdio::piped(), Stdio::inherit())?;
    let mut line = String::new();
    let output = held.output().expect("it was asked for");
    BufReader::new(output).read_line(&mut line).map_err(|error| format!("the origin: {error}"))?;
    let address = line.trim().strip_prefix("serving http://").and_then(|text| text.parse().ok());
    address.map(|address| (held, address)).ok_or_else(|| format!("the origin did not start: {line:?}"))
}

/// This program.
pub(crate) fn own() -> Result<String, String> {
    let path = std::env::current_exe().map_err(|error| format!("where is ringway-load? {error}"))?;
    Ok(path.display().to_string())
}

/// Waits a moment before something is looked at again.
pub(crate) fn wait() {
    std::thread::park_timeout(LOOK);
}

/// A proxy that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) peer: Peer,
    pub(crate) wiring: Wiring,
    held: Held,
    log: PathBuf,
    /// Memory when it had started and had nothing to do yet.
    pub(crate) idle: Memory,
}

impl Running {
    /// Starts a proxy with listeners for these ways, as far as it can serve them, and waits until it listens.
    ///
    /// # Errors
    /// It does not start; with the end of its log.
    pub(crate) fn start(
        peer: &Peer,
        ways: &[Way],
        folder: &Folder,
        origins: Origins,
        places: &Places,
    ) -> Result<Running, String> {
        let ways: Vec<Way> = ways.iter().copied().filter(|way| peer.format.cannot(*way).is_none()).collect();
        let mut ports = free_ports(ways.len() + 1)?;
        let admin = ports.pop().expect("one more");
        let is_plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let name: String = peer.name.chars().map(is_plain).collect();
        let workers = places.proxy.len();
        let listeners = ways.into_iter().zip(ports).collect();
        let wiring = Wiring { name, folder: folder.path.clone(), listeners, admin, origins, workers };
        let file = peer.format.file(&wiring.name);
        folder.write(&file, peer.format.write(&wiring).as_bytes())?;
        let log = folder.path.join(format!("{}.log", wiring.name));
        let fault = |error: std::io::Error| format!("{}: {error}", log.display());
        let out = fs::File::create(&log).map_err(fault)?;
        let err = out.try_clone().map_err(fault)?;
        let words = peer.command(&folder.path.join(file), workers);
        let held = Held::start(&words, &places.proxy, out.into(), err.into())?;
        let mut running = Running { peer: peer.clone(), wiring, held, log, idle: Memory::default() };
        running.listens()?;
        running.idle = Memory::of(&running.processes());
        Ok(running)
    }

    fn listens(&mut self) -> Result<(), String> {
        let until = Instant::now() + START_MAX;
        for (way, _) in self.wiring.listeners.clone() {
            let address = self.wiring.address(way).expect("it is one of them");
            while TcpStream::connect_timeout(&address, START_MAX).is_err() {
                if let Some(why) = self.ended() {
                    return Err(format!("{} did not start: {why}", self.peer.name));
                }
                if Instant::now() > until {
                    let name = &self.peer.name;
                    return Err(format!("{name} did not listen at {address} ({}): {}", way.name(), self.log_tail()));
                }
                wait();
            }
        }
        // Another one may listen there, where the ports were taken meanwhile.
        match self.ended() {
            Some(why) => Err(format!("{} did not start: {why}", self.peer.name)),
            None => Ok(()),
        }
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let status = self.held.ended()?;
        Some(format!("it ended with status {status}: {}", self.log_tail()))
    }

    fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        if lines.is_empty() {
            return "it said nothing".to_owned();
        }
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    pub(crate) fn processes(&self) -> Vec<u32> {
        self.held.processes()
    }
}

/// Ports that nobody has now. They may be taken until a proxy has them: it says so then.
fn free_ports(count: usize) -> Result<Vec<u16>, String> {
    let fault = |error: std::io::Error| format!("no free port: {error}");
    let bound = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>().map_err(fault)?;
    bound.iter().map(|listener| listener.local_addr().map(|address| address.port()).map_err(fault)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_in_common_are_told_of() {
        let note = |proxy: &[usize], load: &[usize]| Places { proxy: proxy.to_vec(), load: load.to_vec() }.note();
        assert_eq!((note(&[0], &[1]), note(&[0, 1], &[2, 3])), (None, None));
        assert!(note(&[0, 1], &[0, 1]).unwrap().contains("share CPU 0-1 with"));
        assert!(note(&[0, 1], &[1, 2]).unwrap().contains("share CPU 1 with"));
    }

    #[test]
    fn ports_are_different_and_a_folder_of_our_own_goes_away() {
        let mut ports = free_ports(9).unwrap();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 9);
        let folder = Folder::make(None).unwrap();
        folder.write_certificate().unwrap();
        let path = folder.path.clone();
        assert!(path.join("both.pem").is_file());
        drop(folder);
        assert!(!path.exists());
    }
}
