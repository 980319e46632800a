//! How many descriptors the process may have (getrlimit(2), RLIMIT_NOFILE).

use std::io;

/// Raises the soft limit to the hard one, which needs no privilege, and returns it.
///
/// Errors: those of getrlimit(2) and setrlimit(2).
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the calls read and write one rlimit, which is ours.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) < 0 {
            return Err(io::Error::last_os_error());
        }
        if limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max;
            if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) < 0 {
                return Err(io::Error::last_os_error());
            }
        }
    }
    Ok(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_limit_is_at_least_what_it_was() {
        let first = super::raise_descriptor_limit().expect("no privilege is needed");
        assert!(first > 0);
        assert_eq!(super::raise_descriptor_limit().expect("twice"), first);
    }
}
