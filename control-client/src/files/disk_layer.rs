//! A `disk_layer` of the runtime: a directory of files behind a link. A file's path is a key, what it holds the value.
//!
//! Another version is another directory, and the link is moved onto it; files that are written in place do not count. The link is followed
//! once for a reading, so that all files are of one version. What Envoy does was observed on 1.40: a directory in a directory is a dot, hidden
//! files and links to files and directories count, lines that begin with # do not, other things than files are passed over.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use crate::document;
use crate::message::Json;
use crate::problem::Report;
use crate::reader;
use crate::runtime::LayerValues;

/// Directories within each other, the layer's own among them: Envoy's `MaxWalkDepth`. It bounds links that lead in circles, too.
const DEPTH_MAX: usize = 16;
/// Files and directories of a layer. Who needs as many keys has another source for them.
const ENTRIES_MAX: usize = 16_384;
/// Bytes of a file. A value is a number, a flag or a fraction; with [`ENTRIES_MAX`] of them a layer takes 64 MiB at most.
const VALUE_BYTES_MAX: usize = 4 << 10;
/// How often a directory is read again that went away while it was read.
const READS_MAX: usize = 8;

/// Reads the layer that stands at `below` the directory that `link` leads to. `None`: there is no such directory.
///
/// # Errors
/// What is wrong with it, as a text: one of its limits, a file that cannot be read or is no YAML, or no version of it stayed until it was read.
pub(super) fn read(link: &Path, below: &Path) -> Result<Option<LayerValues>, String> {
    read_between(link, below, || {})
}

/// The same; `is_read` is called when all files of a version were read and it is not known yet whether that is still the one.
fn read_between(link: &Path, below: &Path, mut is_read: impl FnMut()) -> Result<Option<LayerValues>, String> {
    for _ in 0..READS_MAX {
        let Ok(root) = link.canonicalize() else { return Ok(None) };
        let directory = root.join(below);
        if !directory.is_dir() {
            return Ok(None);
        }
        let mut walk = Walk { values: BTreeMap::new(), entry_count: 0 };
        let outcome = walk.directory(&directory, "", 1);
        is_read();
        // It was replaced meanwhile, and perhaps removed: files that went away are none of either version.
        if link.canonicalize().ok() == Some(root) {
            return outcome.map(|()| Some(LayerValues::of_files(&walk.values)));
        }
    }
    Err(format!("{}: another version {READS_MAX} times while it was read", link.join(below).display()))
}

struct Walk {
    values: BTreeMap<String, (String, Json)>,
    entry_count: usize,
}

impl Walk {
    fn directory(&mut self, directory: &Path, prefix: &str, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("{}: more than {DEPTH_MAX} directories within each other", directory.display()));
        }
        let cannot = |error: io::Error| format!("{} cannot be read: {error}", directory.display());
        for entry in fs::read_dir(directory).map_err(cannot)? {
            let entry = entry.map_err(cannot)?;
            self.entry_count += 1;
            if self.entry_count > ENTRIES_MAX {
                return Err(format!("{}: more than {ENTRIES_MAX} files and directories", directory.display()));
            }
            let path = entry.path();
            // What a link leads to; one that leads nowhere is none.
            let Ok(metadata) = path.metadata() else { continue };
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                return Err(format!("{}: its name is no UTF-8", path.display()));
            };
            let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            if metadata.is_dir() {
                self.directory(&path, &key, depth + 1)?;
            } else if metadata.is_file() {
                let value = value(&path)?;
                self.values.insert(key, value);
            }
        }
        Ok(())
    }
}

/// What a file holds: as it stands there, and what that is in YAML.
fn value(path: &Path) -> Result<(String, Json), String> {
    let cannot = |error: io::Error| format!("{} cannot be read: {error}", path.display());
    let mut text = String::new();
    let file = File::open(path).map_err(cannot)?;
    file.take(VALUE_BYTES_MAX as u64 + 1).read_to_string(&mut text).map_err(cannot)?;
    if text.len() > VALUE_BYTES_MAX {
        return Err(format!("{} has more than {VALUE_BYTES_MAX} bytes", path.display()));
    }
    let lines: Vec<&str> = text.split('\n').filter(|line| !line.starts_with('#')).collect();
    let text = lines.join("\n").trim_end().to_owned();
    let mut report = Report::new(&path.display().to_string());
    match document::parse_value(&text, &mut report) {
        Some(document) => Ok((text, reader::json(&document))),
        None => {
            let problems = report.finish().err().unwrap_or_default();
            Err(problems.first().map_or_else(|| format!("{}: no YAML", path.display()), ToString::to_string))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;
    use crate::runtime::Runtime;

    /// A directory with a link `current` to `v1`.
    fn home(name: &str) -> PathBuf {
        let home = std::env::temp_dir().join(format!("ringway-disk-layer-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&home);
        fs::create_dir_all(home.join("v1/e")).expect("a directory");
        symlink("v1", home.join("current")).expect("a link");
        home
    }

    fn write(home: &Path, file: &str, text: &str) {
        let path = home.join("v1/e").join(file);
        fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    fn read_in(home: &Path) -> Result<Runtime, String> {
        let mut runtime = Runtime::default();
        runtime.push("disk", &[]).expect("nothing");
        runtime.put(0, read(&home.join("current"), Path::new("e"))?.unwrap_or_default().into());
        Ok(runtime)
    }

    /// Each row as Envoy 1.40 showed it in `/runtime`, but for blanks at the end of a text.
    #[test]
    fn files_are_keys_and_what_they_hold_is_shown_as_it_stands_there() {
        let home = home("keys");
        for (file, text) in [
            ("w/c", "50\n"),
            ("w/d", "# a comment\n7"),
            ("flag", "true"),
            ("fraction", "{numerator: 5, denominator: MILLION}"),
            ("lines", "numerator: 6\ndenominator: HUNDRED\n"),
            ("half", "0.5"),
            ("empty", ""),
            ("text", "hello world \n"),
            ("quoted", "\"9\""),
            ("list", "[1,2]"),
            ("none", "null"),
            ("none.1", "Null"),
            ("none.2", "NULL\n"),
            ("none.3", "~"),
            ("none.4", "---\n"),
            ("none.5", "# a\n  # b\n"),
            ("no.null", "nULL"),
            ("seven", "  # in front of it\n7\n"),
            ("deep", "{a: {b: 1}}"),
            ("a.b", "1"),
            (".hidden/x", "3"),
        ] {
            write(&home, file, text);
        }
        symlink("w", home.join("v1/e/link")).expect("a link");
        symlink("nowhere", home.join("v1/e/gone")).expect("a link");
        let runtime = read_in(&home).expect("a layer");
        let shown: Vec<String> =
            runtime.entries().into_iter().map(|(key, values)| format!("{key}={}", values[0])).collect();
        assert_eq!(
            shown,
            [
                ".hidden.x=3",
                "a.b=1",
                "deep={a: {b: 1}}",
                "empty=",
                "flag=true",
                "fraction={numerator: 5, denominator: MILLION}",
                "half=0.5",
                "lines=numerator: 6\ndenominator: HUNDRED",
                "link.c=50",
                "link.d=7",
                "list=[1,2]",
                "no.null=nULL",
                "none=null",
                "none.1=Null",
                "none.2=NULL",
                "none.3=~",
                "none.4=---",
                "none.5=  # b",
                "quoted=\"9\"",
                "seven=  # in front of it\n7",
                "text=hello world",
                "w.c=50",
                "w.d=7",
            ]
        );
        assert_eq!((runtime.uint("w.c"), runtime.uint("w.d"), runtime.uint("text")), (Some(50), Some(7), None));
        assert_eq!((runtime.fraction("fraction"), runtime.fraction("lines")), (Some((5, 1_000_000)), Some((6, 100))));
        assert_eq!(
            (runtime.boolean("flag"), runtime.double("half"), runtime.uint("list")),
            (Some(true), Some(0.5), None)
        );
        assert_eq!((runtime.uint("seven"), runtime.uint("none.5"), runtime.boolean("none.1")), (Some(7), None, None));
        fs::remove_dir_all(home).expect("removed");
    }

    /// A version that is removed at once when another takes its place, as by the kubelet.
    #[test]
    fn a_link_that_moves_while_the_files_are_read_is_followed_to_its_last_version() {
        let home = home("moves");
        let link = home.join("current");
        let write = |version: usize| {
            let directory = home.join(format!("v{version}/e"));
            fs::create_dir_all(&directory).expect("a directory");
            for file in ["a", "b"] {
                fs::write(directory.join(file), version.to_string()).expect("a file");
            }
        };
        let swap = |from: usize| {
            write(from + 1);
            symlink(format!("v{}", from + 1), home.join("next")).expect("a link");
            fs::rename(home.join("next"), &link).expect("a move");
            fs::remove_dir_all(home.join(format!("v{from}"))).expect("removed");
        };
        write(1);
        let (mut version, mut last) = (1, 3);
        let mut move_on = |last: usize| {
            if version < last {
                swap(version);
                version += 1;
            }
        };
        let mut runtime = Runtime::default();
        runtime.push("disk", &[]).expect("nothing");
        let read = read_between(&link, Path::new("e"), || move_on(last)).expect("a layer");
        runtime.put(0, read.expect("it is there").into());
        assert_eq!((runtime.uint("a"), runtime.uint("b"), runtime.key_count()), (Some(3), Some(3), 2));
        // One that is never whole is none, and the layer before it stays.
        last = usize::MAX;
        let why = read_between(&link, Path::new("e"), || move_on(last)).expect_err("no version stays");
        assert!(why.ends_with("current/e: another version 8 times while it was read"), "{why}");
        fs::remove_dir_all(home).expect("removed");
    }

    /// What that means is left to who asks: see the [`Files`](crate::Files).
    #[test]
    fn a_directory_that_is_not_there_is_none() {
        let home = home("none");
        let read = || read(&home.join("current"), Path::new("e")).expect("nothing");
        fs::remove_dir_all(home.join("v1/e")).expect("removed");
        assert!(read().is_none());
        fs::remove_file(home.join("current")).expect("removed");
        assert!(read().is_none());
        fs::remove_dir_all(home).expect("removed");
    }

    #[test]
    fn limits_and_what_is_no_yaml() {
        let home = home("limits");
        let deep = |count: usize| "d/".repeat(count);
        write(&home, &format!("{}x", deep(DEPTH_MAX - 1)), "1");
        write(&home, "most", &"x".repeat(VALUE_BYTES_MAX));
        assert_eq!(read_in(&home).expect("within them").key_count(), 2);
        for (file, text, expect) in [
            (format!("{}x", deep(DEPTH_MAX)), "1".to_owned(), "more than 16 directories within each other".to_owned()),
            ("more".to_owned(), "x".repeat(VALUE_BYTES_MAX + 1), "v1/e/more has more than 4096 bytes".to_owned()),
            ("bad".to_owned(), "a: b: c: [".to_owned(), "v1/e/bad:1:".to_owned()),
        ] {
            write(&home, &file, &text);
            let why = read_in(&home).expect_err("wrong");
            assert!(why.contains(&expect), "{why}");
            let first = file.split('/').next().expect("a name");
            let path = home.join("v1/e").join(first);
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("removed");
        }
        // Links that lead in circles, many times over.
        for at in 0..3 {
            symlink(".", home.join(format!("v1/e/l{at}"))).expect("a link");
        }
        let why = read_in(&home).expect_err("without an end");
        assert!(why.contains("more than"), "{why}");
        fs::remove_dir_all(home.join("v1/e")).expect("removed");
        for at in 0..=ENTRIES_MAX {
            write(&home, &at.to_string(), "");
        }
        let why = read_in(&home).expect_err("too many");
        assert!(why.ends_with("v1/e: more than 16384 files and directories"), "{why}");
        fs::remove_dir_all(home).expect("removed");
    }
}
