//! Where the outcome goes: readers that leave, disks that are full.

mod support;

use std::fs::File;
use std::process::{Command, Stdio};

use support::{Origin, PROGRAM};

/// Guards against a panic where `head` has read enough: what goes on ends, and says nothing of it.
#[test]
fn a_reader_that_leaves_ends_it() {
    let origin = Origin::start(&[]);
    for (arguments, status) in [
        // A run has measured all when it says it.
        (&["run", &origin.url, "-q", "-c", "1", "-n", "5", "--timeout", "60s"][..], 0),
        (&["sweep", &origin.url, "-q", "-c", "1", "-d", "1h", "--concurrencies", "1,2"], 130),
    ] {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program is there");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(status), &b""[..]), "{arguments:?}");
    }
}

#[test]
fn a_full_disk_is_told_of() {
    let origin = Origin::start(&[]);
    for json in [&[][..], &["--json", "-"]] {
        let full = File::options().write(true).open("/dev/full").expect("Linux has it");
        let mut command = Command::new(PROGRAM);
        command.args(["run", &origin.url, "-q", "-c", "1", "-n", "5"]).args(json).stdin(Stdio::null());
        let output = command.stdout(full).stderr(Stdio::piped()).output().expect("the program is there");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.starts_with("ringway-load: standard output: "), "{said}");
    }
}
