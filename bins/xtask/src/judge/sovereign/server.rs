//! A process of sovereign, with its templates in a folder.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::command::signal_group;
use crate::lab::pace::wait_for;

/// Its own configuration, and the templates of four types.
const FILES: [(&str, &str); 5] = [
    ("sovereign.yaml", include_str!("sovereign.yaml")),
    ("clusters.yaml", include_str!("clusters.yaml")),
    ("endpoints.yaml", include_str!("endpoints.yaml")),
    ("listeners.yaml", include_str!("listeners.yaml")),
    ("routes.yaml", include_str!("routes.yaml")),
];
/// Where a source of REST is named.
const SOURCE: &str = "api_config_source: REST";
/// What that stands for. Envoy's own default for the answer is 1 s, too little for Python on a busy machine.
const POLLED: &str = "api_config_source: {api_type: REST, transport_api_version: V3, cluster_names: [sovereign], \
                      refresh_delay: 0.1s, request_timeout: 5s}";
/// It imports for a second or two, ten on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running server; ends when dropped.
#[derive(Debug)]
pub(super) struct Sovereign {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    child: Child,
}

impl Sovereign {
    /// Starts it and waits until it listens.
    pub(super) fn start(python: &Path, folder: &Path, state: &Value) -> Result<Sovereign, String> {
        let program = python.with_file_name("sovereign");
        let folder = folder.join("sovereign");
        std::fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
        for (name, text) in FILES {
            let text = text.replace("FOLDER", &folder.to_string_lossy()).replace(SOURCE, POLLED);
            std::fs::write(folder.join(name), text).map_err(|e| format!("cannot write {name}: {e}"))?;
        }
        write_state(&folder, state)?;
        let port = free_port()?;
        let child = spawn(&program, &folder, port)?;
        Ok(Sovereign { program, folder, port, child })
    }

    /// A text with its port and with sources that lead to it.
    pub(super) fn filled(&self, text: &str) -> String {
        text.replace("PORT", &self.port.to_string()).replace(SOURCE, POLLED)
    }

    /// From now on it says this, once it has looked.
    pub(super) fn say(&self, state: &Value) -> Result<(), String> {
        write_state(&self.folder, state)
    }

    /// Ends it at once.
    pub(super) fn kill(&mut self) -> Result<(), String> {
        end(&mut self.child).map_err(|e| format!("cannot end sovereign: {e}"))
    }

    /// Starts it again where it was.
    pub(super) fn restart(&mut self) -> Result<(), String> {
        self.child = spawn(&self.program, &self.folder, self.port)?;
        Ok(())
    }
}

impl Drop for Sovereign {
    fn drop(&mut self) {
        // It may have been ended already.
        let _ended = end(&mut self.child);
    }
}

/// It has a process that serves beside the one that was started.
fn end(child: &mut Child) -> io::Result<()> {
    signal_group("KILL", child.id());
    child.wait().map(|_| ())
}

/// The values of all templates, moved into place: it never reads half of them.
fn write_state(folder: &Path, state: &Value) -> Result<(), String> {
    let (next, file) = (folder.join("state.next"), folder.join("state.json"));
    std::fs::write(&next, state.to_string())
        .and_then(|()| std::fs::rename(&next, &file))
        .map_err(|e| format!("cannot write {}: {e}", file.display()))
}

/// It wants to be told its port: one that the kernel has just given.
fn free_port() -> Result<u16, String> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    port.map(|address| address.port()).map_err(|e| format!("no free port: {e}"))
}

fn spawn(program: &Path, folder: &Path, port: u16) -> Result<Child, String> {
    let log = folder.join("sovereign.log");
    let out = std::fs::File::create(&log).map_err(|e| format!("cannot write {}: {e}", log.display()))?;
    let err = out.try_clone().map_err(|e| format!("cannot write {}: {e}", log.display()))?;
    let mut command = Command::new(program);
    command.env("SOVEREIGN_CONFIG", format!("file://{}", folder.join("sovereign.yaml").display()));
    command.env("SOVEREIGN_HOST", "127.0.0.1").env("SOVEREIGN_PORT", port.to_string());
    // Several would read the values at different times, and say the old ones and the new ones by turns.
    command.env("SOVEREIGN_WORKERS", "1").process_group(0);
    command.current_dir(folder).stdin(Stdio::null()).stdout(out).stderr(err);
    let mut child = command.spawn().map_err(|e| format!("cannot start {}: {e}", program.display()))?;
    let listens = wait_for("sovereign's port", START_LIMIT, || {
        if child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return Some(false);
        }
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok().then_some(true)
    });
    match listens {
        Ok(true) => Ok(child),
        _ => {
            let _ended = end(&mut child);
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            Err(format!("sovereign does not listen: {}", said.lines().rev().take(5).collect::<Vec<_>>().join(" / ")))
        }
    }
}
