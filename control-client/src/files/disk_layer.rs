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

/// Reads the layer that stands at `below` the directory that `link` leads to. Where there is no such directory, it says nothing, as in Envoy.
///
/// # Errors
/// What is wrong with it, as a text: one of its limits, a file that cannot be read or is no YAML.
pub(super) fn read(link: &Path, below: &Path) -> Result<LayerValues, String> {
    for attempt in 1.. {
        let Ok(root) = link.canonicalize() else { break };
        let directory = root.join(below);
        if !directory.is_dir() {
            break;
        }
        let mut walk = Walk { values: BTreeMap::new(), entry_count: 0 };
        match walk.directory(&directory, "", 1) {
            // It was replaced meanwhile, and perhaps removed: files that went away are none of either version.
            _ if attempt < READS_MAX && link.canonicalize().ok() != Some(root) => {}
            Ok(()) => return Ok(LayerValues::of_files(&walk.values)),
            Err(why) => return Err(why),
        }
    }
    Ok(LayerValues::default())
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
    if matches!(text.trim_start(), "" | "null" | "Null" | "NULL" | "~") {
        return Ok((text, Json::Null));
    }
    let mut report = Report::new(&path.display().to_string());
    match document::parse(&text, &mut report) {
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
        runtime.put(0, read(&home.join("current"), Path::new("e"))?.into());
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
                "none=null",
                "quoted=\"9\"",
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
        fs::remove_dir_all(home).expect("removed");
    }

    #[test]
    fn a_directory_that_is_not_there_says_nothing() {
        let home = home("none");
        fs::remove_dir_all(home.join("v1/e")).expect("removed");
        assert_eq!(read_in(&home).expect("nothing").key_count(), 0);
        fs::remove_file(home.join("current")).expect("removed");
        assert_eq!(read_in(&home).expect("nothing").key_count(), 0);
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
