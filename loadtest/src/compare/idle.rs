//! What idle connections take: some are made, have one request each, and stay; the slope of the memory between a few and many of them.

use std::io::{BufRead, BufReader};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};

use super::account::Memory;
use super::bed::{LOOK, Places, wait};
use super::measure::{Fault, Load, Target};
use super::scenario::Scenario;

/// The first part of the connections, from which the slope is drawn.
const FIRST_PART: u32 = 4;
/// They are asked at this rate: all of them are through within seconds, and none waits.
const RATE: &str = "2000";
/// Memory has settled when it was the same at so many looks.
const SAME_LOOKS: u32 = 25;
/// Looks, until whatever it is then is taken.
const LOOKS_MAX: u32 = 250;

/// Memory of a target with idle connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Idle {
    pub(crate) connections: u32,
    /// Before there were any.
    pub(crate) before: Memory,
    /// With all of them.
    pub(crate) after: Memory,
    /// Bytes that each of them took.
    pub(crate) each: f64,
}

/// Measures it with so many connections.
///
/// # Errors
/// It was interrupted, or some connection had no answer.
pub(crate) fn measure(
    scenario: &Scenario,
    target: &Target,
    connections: u32,
    places: &Places,
    interrupted: &AtomicBool,
) -> Result<Idle, Fault> {
    let before = settled(&target.processes, interrupted)?;
    let few = (connections / FIRST_PART).max(1);
    let many = (connections - few).max(1);
    let first = hold(scenario, target, few, places, interrupted)?;
    let at_few = settled(&target.processes, interrupted)?;
    let second = hold(scenario, target, many, places, interrupted)?;
    let after = settled(&target.processes, interrupted)?;
    drop((first, second));
    let grown = after.resident.saturating_sub(at_few.resident);
    Ok(Idle { connections, before, after, each: grown as f64 / f64::from(many) })
}

/// Makes so many connections, has a request answered on each, and keeps them until what it returns is dropped.
fn hold(
    scenario: &Scenario,
    target: &Target,
    connections: u32,
    places: &Places,
    interrupted: &AtomicBool,
) -> Result<Load, Fault> {
    let count = connections.to_string();
    let mut arguments = scenario.arguments(&target.address.to_string());
    let at = arguments.iter().position(|word| word == "-c").expect("every scenario says it");
    arguments[at + 1].clone_from(&count);
    // In the open loop each goes to the connection that was free for longest: to a new one, as long as there is one.
    let more = ["-n", &count, "--rate", RATE, "--hold", "1h", "--connect-timeout", "20s", "--timeout", "20s"];
    arguments.extend(more.map(str::to_owned));
    let mut load = Load::start(&arguments, places)?;
    let lines = BufReader::new(load.held().errors().expect("it was asked for"));
    let (told, seconds) = channel();
    std::thread::spawn(move || {
        for line in lines.lines().map_while(Result::ok) {
            let _heard = told.send(line); // who is not read cannot write, and would end
        }
    });
    let mut answered = 0;
    while answered < u64::from(connections) {
        match seconds.recv_timeout(LOOK) {
            Ok(line) => answered = answers(&line).map_err(|why| Fault::Failed(format!("at {answered}: {why}")))?,
            Err(RecvTimeoutError::Timeout) if interrupted.load(Ordering::Relaxed) => return Err(Fault::Interrupted),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Fault::Failed(format!("the generator ended at {answered} of {connections} connections")));
            }
        }
    }
    Ok(load)
}

/// How many were answered so far, of a line like `1 s  2000/s of 2000/s ... in all 2000 answered, 0 failed of 5000`.
fn answers(line: &str) -> Result<u64, String> {
    let (second, sums) = line.rsplit_once("  in all ").ok_or_else(|| line.to_owned())?;
    let words: Vec<&str> = sums.split_whitespace().collect();
    match words.as_slice() {
        [answered, "answered,", "0", "failed", ..] => answered.parse().map_err(|_| line.to_owned()),
        _ => Err(second.trim_start().to_owned()), // it names what failed
    }
}

/// The memory once it does not change any more.
fn settled(processes: &[u32], interrupted: &AtomicBool) -> Result<Memory, Fault> {
    let mut last = Memory::of(processes);
    let mut same = 0;
    for _ in 0..LOOKS_MAX {
        if interrupted.load(Ordering::Relaxed) {
            return Err(Fault::Interrupted);
        }
        wait();
        let now = Memory::of(processes);
        same = if now.resident == last.resident { same + 1 } else { 0 };
        last = now;
        if same == SAME_LOOKS {
            break;
        }
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_run_are_read() {
        let second = "   2 s  7/s of 2000/s  p50 90 us  p99 400 us  late p99 60 us";
        assert_eq!(answers(&format!("{second}  in all 2007 answered, 0 failed of 5000")), Ok(2007));
        let failed = answers(&format!("{second}  timeout 3  in all 2007 answered, 3 failed"));
        assert!(failed.is_err_and(|why| why.contains("timeout 3")));
        assert!(answers("ringway-load: no descriptors").is_err());
    }
}
