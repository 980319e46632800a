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

use super::ring::{BUFFER_GROUP, RingDriver};
use crate::core::Options;
use crate::pool::Pools;
use crate::report::StartError;

/// Names of features, and how to ask for them.
type Level = (&'static [&'static str], fn(&mut Builder));

/// Sets of set-up flags, fullest first, and since when a kernel has them.
const LEVELS: [Level; 3] = [
    // 6.6
    (&["defer_taskrun", "no_sqarray"], |builder| {
        builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().setup_no_sqarray();
    }),
    // 6.1
    (&["defer_taskrun"], |builder| {
        builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
    }),
    // 6.0, the first with multishot receives
    (&["coop_taskrun"], |builder| {
        builder.setup_single_issuer().setup_coop_taskrun().setup_taskrun_flag();
    }),
];

/// Makes the fullest ring that this kernel gives us, and names what it has.
pub(super) fn build(options: &Options) -> Result<(IoUring, Vec<&'static str>), StartError> {
    for (names, set_up) in LEVELS {
        let mut builder = IoUring::builder();
        builder.dontfork().setup_submit_all().setup_clamp().setup_cqsize(options.cq_entries);
        set_up(&mut builder);
        match builder.build(options.sq_entries) {
            Ok(ring) => {
                let params = ring.params();
                if !params.is_feature_nodrop()
                    || !params.is_feature_ext_arg()
                    || !params.is_feature_skip_cqe_on_success()
                {
                    return Err(unsupported("io_uring without NODROP, EXT_ARG or CQE_SKIP"));
                }
                return Ok((ring, names.to_vec()));
            }
            // This kernel does not know a flag.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => continue,
            Err(error) => return Err(StartError::new("io_uring_setup", error)),
        }
    }
    Err(unsupported("io_uring_setup with SINGLE_ISSUER and any of DEFER_TASKRUN, COOP_TASKRUN"))
}

fn unsupported(tried: &str) -> StartError {
    StartError::new(tried, io::Error::from_raw_os_error(libc::EOPNOTSUPP))
}

/// More bytes than any socket buffer takes at once. They are zero pages that nobody writes, for as long as the test runs.
const OVERLONG: usize = 8 << 20;
/// A kernel that does what we rely on needs microseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tries the four things the driver relies on: a send that is taken whole says nothing, one that is not says in the same
/// `enter` how much was taken, a multishot receive fills provided buffers and stays armed, and a cancel ends it.
pub(super) fn test(driver: &RingDriver, pools: &Pools) -> Result<(), StartError> {
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
