//! Where the outcome goes: readers that leave, disks that are full, files that cannot be there.

mod support;

use std::fs::File;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use support::{Origin, PROGRAM, command};

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
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        command.args(arguments).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
        let output = command.output().expect("the program is there");
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

/// Guards against measuring for an hour what there is no place for: no load has come when it is told.
#[test]
fn a_file_that_cannot_be_there_is_told_of_before_anything_is_measured() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback address");
    listener.set_nonblocking(true).expect("it is ours");
    let address = listener.local_addr().expect("it is bound").to_string();
    for arguments in [
        &["run", &address, "-n", "1", "--json"][..],
        &["run", &address, "-n", "1", "--csv"],
        &["run", &address, "-n", "1", "--hdr"],
        &["sweep", &address, "-d", "100ms", "--concurrencies", "1", "--json"],
        &["compare", "--peers", "none", "--ours", "none", "--quick", "--scenarios", "h1-1", "--json"],
    ] {
        let output = command(&[arguments, &["/nonexistent/file"]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {said}");
        // One line that says why: none of what is told while it is measured.
        assert!(said.lines().count() == 1 && said.contains("No such file"), "{arguments:?} {said}");
        assert!(output.stdout.is_empty() && listener.accept().is_err(), "{arguments:?}");
    }
}
