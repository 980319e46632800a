//! The proxy as a process: started, watched through its log, asked through its admin server, killed when dropped.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use ringway_runtime::seccomp::{Action, Rule, filter_this_thread};

use super::PATIENCE;
use super::client::{Client, Message};
use super::config::Config;
use super::wait_for;

const BINARY: &str = env!("CARGO_BIN_EXE_ringway");

/// A directory that is removed when dropped.
pub(crate) struct TempDir(pub(crate) PathBuf);

impl TempDir {
    /// A fresh one.
    pub(crate) fn new() -> TempDir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ringway-e2e-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a temporary directory");
        TempDir(path)
    }

    /// Puts a file there in one step, as a careful operator does.
    pub(crate) fn rename_over(&self, name: &str, text: &str) -> PathBuf {
        let (path, new) = (self.0.join(name), self.0.join(format!("{name}.new")));
        fs::write(&new, text).expect("a file");
        fs::rename(&new, &path).expect("a rename");
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs the binary to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).output().expect("the binary runs")
}

/// Whether the kernel grants a ring; found out once, by really starting the binary on one.
pub(crate) fn ring_works() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| {
        let dir = TempDir::new();
        let file = dir.rename_over("c.yaml", &Config::new().yaml());
        run(&["-c", &file.display().to_string(), "--mode", "init_only", "--io", "ring"]).status.success()
    })
}

/// A running proxy.
pub(crate) struct Proxy {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    /// Where its file is.
    pub(crate) dir: TempDir,
    /// Its admin server.
    pub(crate) admin: SocketAddr,
    /// Its listener `main`.
    pub(crate) address: SocketAddr,
}

impl Proxy {
    /// Starts a proxy with one worker and waits until it serves.
    #[track_caller]
    pub(crate) fn start(io: &str, config: &Config) -> Proxy {
        Proxy::start_with(io, config, &["--concurrency", "1"])
    }

    /// Starts a proxy with these options and waits until it serves.
    #[track_caller]
    pub(crate) fn start_with(io: &str, config: &Config, options: &[&str]) -> Proxy {
        Proxy::start_under(Command::new(BINARY), io, config, options, |mut command| command.spawn())
    }

    /// Starts a proxy from a text and waits until it serves.
    #[track_caller]
    pub(crate) fn start_yaml(io: &str, yaml: &str, options: &[&str]) -> Proxy {
        let mut proxy = Proxy::start_nameless(io, yaml, options);
        proxy.address = proxy.listener("main");
        proxy
    }

    /// The same without a listener `main`, and so without an address.
    #[track_caller]
    pub(crate) fn start_nameless(io: &str, yaml: &str, options: &[&str]) -> Proxy {
        let mut proxy = Proxy::spawn(Command::new(BINARY), io, yaml, options, |mut command| command.spawn());
        proxy.until_serving();
        proxy
    }

    /// Starts a proxy from a text, whose admin server is where no [`Client`] comes.
    #[track_caller]
    pub(crate) fn start_somewhere(io: &str, yaml: &str) -> Proxy {
        Proxy::spawn(Command::new(BINARY), io, yaml, &["--concurrency", "1"], |mut command| command.spawn())
    }

    /// Starts a proxy that may take long to serve, and waits for a line of its log. It has no addresses yet.
    #[track_caller]
    pub(crate) fn start_until(io: &str, config: &Config, options: &[&str], line: &str) -> Proxy {
        let mut proxy = Proxy::spawn(Command::new(BINARY), io, &config.yaml(), options, |mut command| command.spawn());
        proxy.line(line);
        proxy
    }

    /// Starts a proxy under a seccomp filter. Who starts it is not under it.
    #[track_caller]
    pub(crate) fn start_filtered(
        rules: &[Rule],
        otherwise: Action,
        io: &str,
        config: &Config,
        options: &[&str],
    ) -> Proxy {
        Proxy::start_under(Command::new(BINARY), io, config, options, |mut command| {
            thread::scope(|scope| {
                let filtered = scope.spawn(|| filter_this_thread(rules, otherwise).and_then(|()| command.spawn()));
                filtered.join().expect("no panic")
            })
        })
    }

    /// Starts a proxy with one worker under a resource limit: the shell's `ulimit` with these words.
    #[track_caller]
    pub(crate) fn start_limited(limit: &str, io: &str, config: &Config) -> Proxy {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\""), BINARY]);
        Proxy::start_under(shell, io, config, &["--concurrency", "1"], |mut command| command.spawn())
    }

    #[track_caller]
    fn start_under(
        command: Command,
        io: &str,
        config: &Config,
        options: &[&str],
        spawn: impl FnOnce(Command) -> io::Result<Child>,
    ) -> Proxy {
        let mut proxy = Proxy::spawn(command, io, &config.yaml(), options, spawn);
        proxy.until_serving();
        proxy.address = proxy.listener("main");
        proxy
    }

    #[track_caller]
    fn until_serving(&mut self) {
        self.line("[info] serving");
        let admin = fs::read_to_string(self.dir.0.join("admin")).expect("--admin-address-path is written");
        self.admin = admin.parse().expect("an address");
    }

    /// Where a listener is.
    #[track_caller]
    pub(crate) fn listener(&self, name: &str) -> SocketAddr {
        let listeners = self.admin("GET", "/listeners").text();
        let found = listeners.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("::"));
        found.unwrap_or_else(|| panic!("no listener {name:?}: {listeners}")).parse().expect("an address")
    }

    fn spawn(
        mut command: Command,
        io: &str,
        yaml: &str,
        options: &[&str],
        spawn: impl FnOnce(Command) -> io::Result<Child>,
    ) -> Proxy {
        let dir = TempDir::new();
        let file = dir.rename_over("config.yaml", yaml);
        command
            .arg("-c")
            .arg(&file)
            .args(["--io", io, "-l", "debug", "--admin-address-path"])
            .arg(dir.0.join("admin"))
            .args(options)
            .stderr(Stdio::piped());
        let mut child = spawn(command).expect("the binary starts");
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Proxy { child, lines, seen: vec![], dir, admin: nowhere, address: nowhere }
    }

    /// Waits for a line of the log that contains `text`; lines before it are gone.
    #[track_caller]
    pub(crate) fn line(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(_) => panic!("no line with {text:?} in the log:\n{}", self.seen.join("\n")),
            }
        }
    }

    /// Checks that a line of the log so far contains `text`.
    #[track_caller]
    pub(crate) fn said(&self, text: &str) {
        assert!(self.seen.iter().any(|line| line.contains(text)), "{text:?} is not in\n{}", self.seen.join("\n"));
    }

    /// How many lines of the log so far contain `text`.
    pub(crate) fn lines_with(&self, text: &str) -> usize {
        self.seen.iter().filter(|line| line.contains(text)).count()
    }

    /// Lines of a log that is written to this file, in the order of their text, once there are as many as are wanted.
    #[track_caller]
    pub(crate) fn log_lines(path: &Path, wanted: usize) -> Vec<String> {
        let lines = wait_for("lines of the access log", || {
            let text = fs::read_to_string(path).unwrap_or_default();
            (text.lines().count() >= wanted).then_some(text)
        });
        let mut lines: Vec<String> = lines.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// A new connection to the listener.
    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// One GET on a connection of its own.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Message {
        self.client().get(path)
    }

    /// Asks the admin server.
    #[track_caller]
    pub(crate) fn admin(&self, method: &str, path: &str) -> Message {
        Client::connect(self.admin).ask(method, path)
    }

    /// A statistic; 0 where it does not exist (yet).
    #[track_caller]
    pub(crate) fn stat(&self, name: &str) -> u64 {
        let stats = self.admin("GET", "/stats").text();
        let value = stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.map_or(0, |value| value.parse().expect("a number"))
    }

    /// Waits until a statistic is as wanted.
    #[track_caller]
    pub(crate) fn wait_stat(&self, name: &str, wanted: impl Fn(u64) -> bool) {
        wait_for(name, || wanted(self.stat(name)).then_some(()));
    }

    /// Replaces the configuration by a rename.
    pub(crate) fn replace(&self, yaml: &str) {
        self.dir.rename_over("config.yaml", yaml);
    }

    /// Whether it listens at a port of IPv4. Somebody else may have been given the port since it was let go.
    pub(crate) fn listens_at(&self, port: u16) -> bool {
        const LISTEN: &str = "0A";
        let process = format!("/proc/{}", self.child.id());
        let table = std::fs::read_to_string(format!("{process}/net/tcp")).expect("a running process");
        let inodes: Vec<String> = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|row| row.len() > 9 && row[1].ends_with(&format!(":{port:04X}")) && row[3] == LISTEN)
            .map(|row| format!("socket:[{}]", row[9]))
            .collect();
        let open = std::fs::read_dir(format!("{process}/fd")).expect("a running process").flatten();
        let mut links = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        links.any(|link| inodes.iter().any(|inode| link.to_str() == Some(inode)))
    }

    /// Sends a signal: `TERM`, `HUP`, ...
    pub(crate) fn signal(&self, name: &str) {
        // The shell's own `kill`: a bare machine may have no other.
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status();
        assert!(sent.expect("a shell").success(), "kill -{name}");
    }

    /// Waits for the process's end.
    #[track_caller]
    pub(crate) fn end(&mut self) -> ExitStatus {
        wait_for("the process's end", || self.child.try_wait().expect("our child"))
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().expect("our child").is_none()
    }

    /// The file that it was started with.
    pub(crate) fn file(&self) -> PathBuf {
        Path::new(&self.dir.0).join("config.yaml")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            self.seen.extend(self.lines.try_iter());
            let _ = writeln!(std::io::stderr(), "the proxy's log:\n{}", self.seen.join("\n"));
        }
    }
}
