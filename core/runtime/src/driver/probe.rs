//! Finding out what this kernel's io_uring really does: by making the ring we want, and by trying what we rely on.
//!
//! Asking for versions or opcodes would not do: seccomp profiles, sandboxes and backports all break it.

use std::io;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use io_uring::cqueue::{buffer_select, more};
use io_uring::squeue::Flags;
use io_uring::types::Fd;
use io_uring::{Builder, IoUring, opcode};

use super::kernel::BUFFER_GROUP;
use super::ring::RingDriver;
use crate::core::Options;
use crate::feature::{Feature, FeatureSet};
use crate::pool::Pools;
use crate::report::StartError;
use crate::sys;

type SetUp = fn(&mut Builder);

/// How a wish is put to io_uring_setup(2), newest first: a kernel that does not know one does not know those before it.
const WISHES: [(Feature, SetUp); 4] = [
    (Feature::NoSqarray, |builder| _ = builder.setup_no_sqarray()),
    (Feature::DeferTaskrun, |builder| _ = builder.setup_defer_taskrun().setup_taskrun_flag()),
    (Feature::SingleIssuer, |builder| _ = builder.setup_single_issuer()),
    (Feature::CoopTaskrun, |builder| _ = builder.setup_coop_taskrun().setup_taskrun_flag()),
];

/// Makes the fullest ring that this kernel gives us, and names what it has.
pub(super) fn build(options: &Options) -> Result<(IoUring, FeatureSet), StartError> {
    require(options, Feature::IoUring)?;
    let denied = options.features_denied;
    let mut wishes: FeatureSet =
        WISHES.iter().map(|(feature, _)| *feature).filter(|feature| !denied.contains(*feature)).collect();
    loop {
        // What asks for another, or stands in its place (io_uring_setup(2)).
        if !wishes.contains(Feature::SingleIssuer) {
            wishes.remove(Feature::DeferTaskrun);
        }
        if wishes.contains(Feature::DeferTaskrun) {
            wishes.remove(Feature::CoopTaskrun);
        } else if denied.contains(Feature::CoopTaskrun) {
            return Err(lacking(Feature::CoopTaskrun));
        } else {
            wishes.insert(Feature::CoopTaskrun);
        }
        let mut builder = IoUring::builder();
        builder.dontfork().setup_submit_all().setup_clamp().setup_cqsize(options.cq_entries);
        for (_, set_up) in WISHES.iter().filter(|(feature, _)| wishes.contains(*feature)) {
            set_up(&mut builder);
        }
        match builder.build(options.sq_entries) {
            Ok(ring) => return features(options, &ring, wishes).map(|features| (ring, features)),
            // This kernel does not know a flag.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                let newest = WISHES.iter().map(|(feature, _)| *feature).find(|feature| wishes.contains(*feature));
                match newest {
                    None | Some(Feature::CoopTaskrun) => return Err(lacking(Feature::CoopTaskrun)),
                    Some(feature) => wishes.remove(feature),
                }
            }
            Err(error) => return Err(StartError::new("io_uring_setup", error)),
        }
    }
}

/// What a ring that was made has: what it was asked for, and what the kernel says by itself.
fn features(options: &Options, ring: &IoUring, asked: FeatureSet) -> Result<FeatureSet, StartError> {
    let params = ring.params();
    let mut features = asked;
    for (feature, has) in [
        (Feature::Nodrop, params.is_feature_nodrop()),
        (Feature::ExtArg, params.is_feature_ext_arg()),
        (Feature::CqeSkip, params.is_feature_skip_cqe_on_success()),
        (Feature::NoIowait, params.is_feature_no_iowait()),
    ] {
        let has = has && !options.features_denied.contains(feature);
        if has {
            features.insert(feature);
        } else if feature.is_needed() {
            return Err(lacking(feature));
        }
    }
    Ok(features)
}

/// Fails for a needed feature that is denied.
pub(super) fn require(options: &Options, feature: Feature) -> Result<(), StartError> {
    debug_assert!(feature.is_needed());
    if options.features_denied.contains(feature) { Err(lacking(feature)) } else { Ok(()) }
}

fn lacking(feature: Feature) -> StartError {
    unsupported(&format!("io_uring without {feature} (Linux {})", feature.since()))
}

/// What of the wishes a ring lacks. COOP_TASKRUN is none where DEFER_TASKRUN stands in its place.
pub(super) fn missing(features: FeatureSet) -> FeatureSet {
    let wished = |feature: &Feature| !feature.is_needed() && *feature != Feature::CoopTaskrun;
    Feature::ALL.iter().copied().filter(wished).filter(|feature| !features.contains(*feature)).collect()
}

/// What tells one ring from another: without what each has.
pub(super) fn shown(features: FeatureSet) -> FeatureSet {
    features.iter().filter(|feature| !feature.is_needed()).collect()
}

fn unsupported(tried: &str) -> StartError {
    StartError::new(tried, io::Error::from_raw_os_error(libc::EOPNOTSUPP))
}

/// Bytes of the socket buffer of an overlong send, and of that send: much more than the kernel makes of the former (it doubles it, socket(7)).
const SEND_BUFFER: i32 = 4 << 10;
const OVERLONG: usize = 128 << 10;
/// A kernel that does what we rely on needs microseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tries the four things the driver relies on: a send that is taken whole says nothing, one that is not says in the same
/// `enter` how much was taken, a multishot receive fills provided buffers and stays armed, and a cancel ends it.
pub(super) fn test(options: &Options, driver: &RingDriver, pools: &Pools) -> Result<(), StartError> {
    const SEND: u64 = 1;
    const RECV: u64 = 2;
    const CANCEL: u64 = 3;
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
    let pair = || UnixStream::pair().map_err(|error| StartError::new("a socket pair for the self-test", error));
    let step = |what: &str, wait: u32| -> Result<Vec<(u64, i32, u32)>, StartError> {
        driver
            .kernel_enter(wait, Some(PATIENCE))
            .map_err(|error| StartError::new(format!("io_uring_enter in the self-test ({what})"), error))?;
        let mut seen = Vec::new();
        driver.take_each(|data, result, flags| seen.push((data, result, flags)));
        Ok(seen)
    };
    let wrong =
        |what: &str, seen: &[(u64, i32, u32)]| unsupported(&format!("self-test of io_uring: {what}: got {seen:?}"));
    pools.chunks_publish();

    let (from, to) = pair()?;
    // A small buffer is soon full: megabytes that are read here would stay with the process.
    sys::set_option(from.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDBUF, SEND_BUFFER)
        .map_err(|error| StartError::new("the buffer of the self-test's socket", error))?;
    let output = vec![0u8; OVERLONG];
    // The kernel names the bytes only inside the `enter` of the step that follows (MSG_DONTWAIT), so they outlive that.
    let send = |bytes: &[u8]| {
        let entry = opcode::Send::new(Fd(from.as_raw_fd()), bytes.as_ptr(), bytes.len() as u32).flags(flags).build();
        driver.try_push(&entry.flags(Flags::SKIP_SUCCESS).user_data(SEND))
    };
    send(&output[..5]);
    let seen = step("send", 0)?;
    if !seen.is_empty() {
        return Err(wrong("a send that was taken posts nothing", &seen));
    }
    send(&output);
    let seen = step("overlong send", 0)?;
    if !matches!(seen[..], [(SEND, taken, _)] if taken == -libc::EAGAIN || (0..output.len() as i32).contains(&taken)) {
        return Err(wrong("an overlong send says at once what was taken", &seen));
    }

    require(options, Feature::MultishotRecv)?;
    require(options, Feature::MultishotAccept)?;
    let (mut writer, reader) = pair()?;
    io::Write::write_all(&mut writer, b"!").map_err(|error| StartError::new("the self-test's write", error))?;
    driver.try_push(&opcode::RecvMulti::new(Fd(reader.as_raw_fd()), BUFFER_GROUP).build().user_data(RECV));
    let seen = step("multishot receive", 1)?;
    for (_, result, flags) in &seen {
        if let Some(index) = buffer_select(*flags) {
            drop(pools.chunk_filled(index, (*result).max(0) as usize));
        }
    }
    if !matches!(seen[..], [(RECV, 1, flags)] if more(flags) && buffer_select(flags).is_some()) {
        return Err(wrong("a multishot receive brings bytes and stays armed", &seen));
    }
    let cancel = opcode::AsyncCancel::new(RECV).build().flags(Flags::SKIP_SUCCESS);
    driver.try_push(&cancel.user_data(CANCEL));
    let seen = step("cancel", 1)?;
    if !matches!(seen[..], [(RECV, result, flags)] if result == -libc::ECANCELED && !more(flags)) {
        return Err(wrong("a cancelled receive ends with ECANCELED", &seen));
    }
    let _ = (to.shutdown(Shutdown::Both), reader.shutdown(Shutdown::Both));
    Ok(())
}
