//! The CPUs that a thread may run on, and binding it to some of them (sched_setaffinity(2)).

use std::io;

use super::list::CPUS_MAX;

/// The CPUs that this thread may run on (sched_getaffinity(2)). Errors: those of the call.
pub fn affinity() -> io::Result<Vec<usize>> {
    // SAFETY: all-zero is a valid cpu_set_t, and the call writes at most its size.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) < 0 {
            return Err(io::Error::last_os_error());
        }
        set
    };
    // SAFETY: the index is below CPU_SETSIZE.
    Ok((0..CPUS_MAX).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect())
}

/// Binds this thread to one CPU (sched_setaffinity(2)). Errors: those of the call; EINVAL for one that is not ours.
pub fn pin_current_thread(cpu: usize) -> io::Result<()> {
    pin_current_thread_to(&[cpu])
}

/// Binds this thread to a set of CPUs. Errors: those of sched_setaffinity(2).
pub fn pin_current_thread_to(cpus: &[usize]) -> io::Result<()> {
    // SAFETY: all-zero is a valid cpu_set_t; the indices are checked; the call reads its size.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for &cpu in cpus {
            if cpu >= CPUS_MAX {
                return Err(io::Error::from_raw_os_error(libc::EINVAL));
            }
            libc::CPU_SET(cpu, &mut set);
        }
        if libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_bound_to_one_of_its_cpus() {
        let before = affinity().expect("the affinity of this thread");
        pin_current_thread(before[0]).expect("one of ours");
        assert_eq!(affinity().expect("the affinity"), before[..1]);
        pin_current_thread_to(&before).expect("as before");
    }
}
