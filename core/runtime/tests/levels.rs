//! Each level of io_uring, by denying what a newer kernel has: it starts, says what it lacks, and moves bytes.

mod support;

use ringway_runtime::{Core, Feature, FeatureSet, IoChoice, Options, Wake, run};
use support::*;

/// Runs on a ring without `denied`: the driver, what the report says of it, and a sample of what the other tests do.
#[track_caller]
fn check(denied: &str, driver: &str, features: &str, says: &str) {
    let options = Options {
        io: IoChoice::Auto,
        features_denied: denied.parse().expect("names of features"),
        ..Options::default()
    };
    let report = run(&options, Wake::new().expect("an eventfd"), |_, report| async { report }).expect("auto starts");
    assert_eq!((report.driver, report.features.as_str()), (driver, features), "without {denied}: {report}");
    let line = report.to_string();
    assert!(line.contains(says), "without {denied}: {line}");
    if driver == "ring" {
        each_driver_with(options, sample);
    }
}

/// Small and large, both ways; a receive dropped in the middle; an end.
async fn sample(core: Core) {
    let (client, server) = pair(&core).await;
    core.spawn("echo", async move {
        while let Ok(Some(chunk)) = server.recv().await {
            server.send(chunk);
        }
    });
    for size in [1, 5000, 700_000, 1] {
        let bytes = pattern(size);
        client.send(core.chunk(&bytes));
        assert!(recv_exact(&client, size).await == bytes, "{size} bytes come back as they were");
    }
    assert!(
        within(&core, std::time::Duration::from_millis(1), client.recv()).await.is_none(),
        "nothing more to receive"
    );
    client.send(core.chunk(b"after"));
    assert_eq!(recv_exact(&client, 5).await, b"after");
    client.shutdown_write();
    assert!(client.recv().await.expect("a clean end").is_none());
}

/// The rows presume a kernel that has all; an older one is a level of its own, which the other tests run on.
fn kernel_has_all() -> bool {
    let options = Options { io: IoChoice::Ring, ..Options::default() };
    let report = run(&options, Wake::new().expect("an eventfd"), |_, report| async { report });
    match report {
        Ok(report) if report.missing == FeatureSet::default() => true,
        other => {
            #[allow(clippy::print_stdout)]
            {
                println!("SKIP levels: this kernel has not all of them: {other:?}");
            }
            false
        }
    }
}

#[test]
fn rings() {
    if !kernel_has_all() {
        return;
    }
    check("", "ring", "ring_fd,single_issuer,defer_taskrun,no_sqarray,no_iowait", "the kernel allows it");
    check(
        "no_iowait",
        "ring",
        "ring_fd,single_issuer,defer_taskrun,no_sqarray",
        "the kernel allows it; without no_iowait (Linux 6.15)",
    );
    check("no_sqarray", "ring", "ring_fd,single_issuer,defer_taskrun,no_iowait", "without no_sqarray (Linux 6.6)");
    check("ring_fd", "ring", "single_issuer,defer_taskrun,no_sqarray,no_iowait", "without ring_fd (Linux 5.18)");
    check(
        "defer_taskrun",
        "ring",
        "ring_fd,coop_taskrun,single_issuer,no_sqarray,no_iowait",
        "without defer_taskrun (Linux 6.1)",
    );
    check(
        "single_issuer",
        "ring",
        "ring_fd,coop_taskrun,no_sqarray,no_iowait",
        "without single_issuer (Linux 6.0), defer_taskrun (Linux 6.1)",
    );
    // Linux 6.1, and 6.0.
    check("no_sqarray,no_iowait", "ring", "ring_fd,single_issuer,defer_taskrun", "without no_sqarray");
    check("defer_taskrun,no_sqarray,no_iowait", "ring", "ring_fd,coop_taskrun,single_issuer", "without defer_taskrun");
    check(
        "ring_fd,single_issuer,no_sqarray,no_iowait",
        "ring",
        "coop_taskrun",
        "without ring_fd (Linux 5.18), single_issuer (Linux 6.0), defer_taskrun",
    );
}

#[test]
fn what_a_ring_cannot_be_without() {
    if !kernel_has_all() {
        return;
    }
    for feature in Feature::ALL.iter().filter(|feature| feature.is_needed()) {
        let says = format!("no io_uring here: io_uring without {feature} (Linux {})", feature.since());
        check(feature.name(), "poll", "epoll_edge", &says);
    }
    check("coop_taskrun,defer_taskrun", "poll", "epoll_edge", "to do: Linux 6.0 or newer");
}
