//! A seccomp filter for the calling thread and all that it starts from then on (seccomp(2)): how tests stand in for a
//! container's profile. The product itself installs none.
//!
//! A list of rules, asked in order, over the call's number and at most one of its arguments; no more than profiles need.

use std::io;

/// What a filter says of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It goes on.
    Allow,
    /// It fails with this error number.
    Errno(u16),
}

impl Action {
    fn code(self) -> u32 {
        match self {
            Action::Allow => libc::SECCOMP_RET_ALLOW,
            Action::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
        }
    }
}

/// A condition on the low half of one argument: `argument & mask == value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Masked {
    /// Which argument, from 0 to 5.
    pub argument: u8,
    /// The bits that are looked at.
    pub mask: u32,
    /// What they must be.
    pub value: u32,
}

/// What is said of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The call's number on this machine (`libc::SYS_*`).
    pub call: i64,
    /// Only when this holds.
    pub when: Option<Masked>,
    /// What is said.
    pub action: Action,
}

/// The kernel's limit of a program (BPF_MAXINSNS).
const INSTRUCTIONS_MAX: usize = 4096;

/// Offsets in `seccomp_data` (linux/seccomp.h); the low half of an argument comes first on little-endian machines.
const NUMBER_AT: u32 = 0;
const ARGUMENTS_AT: u32 = 16;

/// Installs a filter on this thread: the first rule that fits decides, else `otherwise`. It cannot be taken off again, and
/// privileges are not gained any more (PR_SET_NO_NEW_PRIVS).
///
/// # Errors
/// Those of prctl(2).
///
/// # Panics
/// More rules than a program holds.
pub fn filter_this_thread(rules: &[Rule], otherwise: Action) -> io::Result<()> {
    let mut program = program(rules, otherwise);
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the kernel copies the program, which outlives the call; both concern this thread only.
    let refused = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0
            || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) < 0
    };
    if refused { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn program(rules: &[Rule], otherwise: Action) -> Vec<libc::sock_filter> {
    let instruction = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = |at: u32| instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, at);
    let unless = |value: u32, skip: u8| instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, skip, value);
    let say = |action: Action| instruction(libc::BPF_RET | libc::BPF_K, 0, 0, action.code());
    let mut program = vec![load(NUMBER_AT)];
    for rule in rules {
        match rule.when {
            None => program.extend([unless(rule.call as u32, 1), say(rule.action)]),
            Some(Masked { argument, mask, value }) => {
                assert!(argument < 6, "a call has six arguments");
                program.extend([
                    unless(rule.call as u32, 5),
                    load(ARGUMENTS_AT + 8 * u32::from(argument)),
                    instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, mask),
                    unless(value, 1),
                    say(rule.action),
                    load(NUMBER_AT),
                ]);
            }
        }
    }
    program.push(say(otherwise));
    assert!(program.len() <= INSTRUCTIONS_MAX, "a program has at most {INSTRUCTIONS_MAX} instructions");
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// getpriority(2) has arguments, needs no privilege and nobody else calls it here.
    fn priority(which: i32) -> Option<i32> {
        // SAFETY: no memory is passed.
        let result = unsafe { libc::syscall(libc::SYS_getpriority, which, 0) };
        (result < 0).then(crate::sys::errno)
    }

    /// Runs under a filter on a thread of its own.
    fn check(rules: Vec<Rule>, expect: [Option<i32>; 2]) {
        let thread = std::thread::spawn(move || {
            filter_this_thread(&rules, Action::Allow).expect("no privilege is needed");
            assert_eq!([priority(0), priority(1)], expect, "{rules:?}");
        });
        thread.join().expect("the checks hold");
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rule = |when, action| Rule { call: libc::SYS_getpriority, when, action };
        let is_zero = Some(Masked { argument: 0, mask: 1, value: 0 });
        check(vec![], [None, None]);
        check(vec![rule(None, Action::Errno(1))], [Some(1), Some(1)]);
        check(vec![rule(None, Action::Allow), rule(None, Action::Errno(1))], [None, None]);
        check(vec![rule(is_zero, Action::Errno(38))], [Some(38), None]);
        check(vec![rule(is_zero, Action::Allow), rule(None, Action::Errno(2))], [None, Some(2)]);
    }
}
