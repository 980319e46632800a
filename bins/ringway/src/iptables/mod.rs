//! `ringway iptables`: the rules that send a host's connections through the proxy, loaded, removed or printed.
//!
//! The rules are a function of the options (`plan`, `routing`), the host is asked and told in `host`. Both families are tried before
//! either is changed; each table changes at one instant. Opens no socket, and has nothing to do with a running proxy.

mod host;
mod options;
mod plan;
mod routing;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use host::Problem;
use options::{Action, Options};
pub(crate) use options::{Run, command, read};
use plan::{Family, Rules};
use routing::Routing;

/// What is to become of one family.
#[derive(Debug)]
struct Change {
    family: Family,
    script: String,
    commands: routing::Commands,
}

/// Does what was asked; exit code 1 and a line that says why where it cannot.
pub(crate) fn iptables(run: &Run) -> ExitCode {
    if run.dry_run {
        let _ = io::stdout().write_all(dry_run(run).as_bytes());
        return ExitCode::SUCCESS;
    }
    match change(run) {
        Ok(said) => {
            let _ = io::stdout().write_all(said.as_bytes());
            ExitCode::SUCCESS
        }
        Err(problem) => {
            let _ = writeln!(io::stderr(), "ringway iptables: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Changes the host; what was done, for people.
fn change(run: &Run) -> Result<String, Problem> {
    let (options, mut said) = (&run.options, String::new());
    let mut families = vec![Family::V4];
    match (options.ipv6, host::has_ipv6()) {
        (true, true) => families.push(Family::V6),
        (true, false) => said.push_str("IPv6 left out: no interface of this host has it\n"),
        (false, _) => said.push_str("IPv6 left as it is (--no-ipv6)\n"),
    }
    let changes = families.into_iter().map(|family| planned(run, family)).collect::<Result<Vec<_>, _>>()?;
    let scripts = || changes.iter().filter(|change| !change.script.is_empty());
    for change in scripts() {
        host::restore(options.backend, change.family, &change.script, true)?;
    }
    changes.iter().flat_map(|change| &change.commands.before).try_for_each(|line| host::ip(line))?;
    for change in scripts() {
        host::restore(options.backend, change.family, &change.script, false)?;
    }
    changes.iter().flat_map(|change| &change.commands.after).try_for_each(|line| host::ip(line))?;
    let done = match run.action {
        Action::Load => "loaded",
        Action::Clean if scripts().next().is_none() => "nothing of ours was there",
        Action::Clean => "removed",
    };
    let families = if changes.len() == 1 { "IPv4" } else { "IPv4 and IPv6" };
    let _ = writeln!(said, "rules for {families}: {done}");
    Ok(said)
}

/// What is to be done from where the host is.
fn planned(run: &Run, family: Family) -> Result<Change, Problem> {
    let options = &run.options;
    let present = plan::Present::read(&host::save(options.backend, family)?);
    let (rules, wanted) = wanted(run.action, options, family);
    let mut answers = [String::new(), String::new(), String::new()];
    for (answer, question) in answers.iter_mut().zip(routing::questions(options, family)) {
        match host::ask(&question) {
            Ok(said) => *answer = said,
            // A host that never had TPROXY or IPv6 need not have `ip`.
            Err(_) if wanted == Routing::default() => {}
            Err(problem) => return Err(problem),
        }
    }
    let there = routing::Present::read(options, family, answers.each_ref().map(String::as_str));
    let commands = there.commands(wanted, options, family);
    Ok(Change { family, script: rules.script(&present), commands })
}

fn wanted(action: Action, options: &Options, family: Family) -> (Rules, Routing) {
    match action {
        Action::Load => (plan::plan(options, family), routing::plan(options, family)),
        Action::Clean => (Rules::default(), Routing::default()),
    }
}

/// A shell script that does it on a host with nothing of ours, or, for `--clean`, with what these options leave.
fn dry_run(run: &Run) -> String {
    let options = &run.options;
    let mut text = String::from("#!/bin/sh\nset -e\n");
    let mut line = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    let families = if options.ipv6 { &[Family::V4, Family::V6][..] } else { &[Family::V4] };
    for &family in families {
        let (loaded, routed) = wanted(Action::Load, options, family);
        let (rules, wanted) = wanted(run.action, options, family);
        let (present, there) = match run.action {
            Action::Load => (plan::Present::default(), routing::Present::default()),
            Action::Clean => (plan::Present::of(&loaded), routing::Present::of(routed)),
        };
        let commands = there.commands(wanted, options, family);
        commands.before.iter().for_each(|command| line(command));
        line(&format!("{} <<'RULES'", host::restore_words(options.backend, family).join(" ")));
        rules.script(&present).lines().for_each(&mut line);
        line("RULES");
        commands.after.iter().for_each(|command| line(command));
    }
    text
}
