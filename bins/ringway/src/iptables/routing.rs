//! What `ip` must say for the rules to work: where marked packets are routed, and the source of the proxy's inbound side.
//!
//! Runs nothing: what is already there comes in as [`Present`], as `ip` printed it, and commands come out. Of the table of routes
//! only the one line that we write is ever removed.

use super::options::{Mode, Options};
use super::plan::Family;

/// What one family must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Routing {
    /// Packets with this mark are this host's, whatever their destination: mark and table.
    marked: Option<(u32, u32)>,
    /// Whether `lo` has [`Family::passthrough`].
    source: bool,
}

/// What there is of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Present {
    rules: usize,
    route: bool,
    source: bool,
}

/// Commands in the order in which they are run, each a line of words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Commands {
    /// Before the rules are loaded: nothing may be marked that has no route.
    pub(crate) before: Vec<String>,
    /// After they are loaded or removed.
    pub(crate) after: Vec<String>,
}

/// What these options ask for in one family.
pub(crate) fn plan(options: &Options, family: Family) -> Routing {
    let inbound = !options.inbound.is_nothing();
    let marked = inbound && options.mode == Mode::Tproxy;
    // 127.0.0.6 is everybody's who has a loopback interface.
    Routing { marked: marked.then_some((options.mark, options.route_table)), source: inbound && family == Family::V6 }
}

/// The questions that [`Present::read`] wants answered, in this order.
pub(crate) fn questions(options: &Options, family: Family) -> [String; 3] {
    let ip = ip(family);
    [
        format!("{ip} rule show"),
        format!("{ip} route show table {}", options.route_table),
        format!("{ip} address show dev lo"),
    ]
}

impl Present {
    /// What `ip` printed as answers to [`questions`]; an error (there is no such table) is an empty answer.
    pub(crate) fn read(options: &Options, family: Family, answers: [&str; 3]) -> Present {
        let has = |line: &str, words: &[&str]| {
            let line: Vec<&str> = line.split_whitespace().collect();
            line.windows(words.len()).any(|part| part == words)
        };
        let (mark, table) = (format!("{:#x}", options.mark), options.route_table.to_string());
        let rule = ["fwmark", &mark, "lookup", &table];
        let source = family.passthrough();
        Present {
            rules: answers[0].lines().filter(|line| has(line, &rule)).count(),
            route: answers[1].lines().any(|line| has(line, &["local", "default", "dev", "lo"])),
            source: family == Family::V6 && answers[2].lines().any(|line| has(line, &["inet6", source])),
        }
    }

    /// What this routing leaves.
    pub(crate) fn of(routing: Routing) -> Present {
        let marked = routing.marked.is_some();
        Present { rules: usize::from(marked), route: marked, source: routing.source }
    }

    /// The commands from here to there. Of several equal rules, which a run by hand may have left, none remains in the end.
    pub(crate) fn commands(self, wanted: Routing, options: &Options, family: Family) -> Commands {
        let ip = ip(family);
        let rule = format!("fwmark {:#x} lookup {}", options.mark, options.route_table);
        let route = format!("local default dev lo table {}", options.route_table);
        let source = format!("address {{}} {} dev lo", family.passthrough());
        let mut commands = Commands::default();
        match wanted.marked {
            Some(_) => {
                if !self.route {
                    commands.before.push(format!("{ip} route add {route}"));
                }
                if self.rules == 0 {
                    commands.before.push(format!("{ip} rule add {rule}"));
                }
            }
            None => {
                commands.after.extend((0..self.rules).map(|_| format!("{ip} rule del {rule}")));
                if self.route {
                    commands.after.push(format!("{ip} route del {route}"));
                }
            }
        }
        match (wanted.source, self.source) {
            // Without `nodad` it cannot be used for a moment, not even on `lo`.
            (true, false) => commands.before.push(format!("{ip} {} nodad", source.replace("{}", "add"))),
            (false, true) => commands.after.push(format!("{ip} {}", source.replace("{}", "del"))),
            _ => {}
        }
        commands
    }
}

fn ip(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip -4",
        Family::V6 => "ip -6",
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::tests::options;
    use super::*;

    const RULES: &str =
        "0:\tfrom all lookup local\n32765:\tfrom all fwmark 0x539 lookup 133\n32766:\tfrom all lookup main\n";
    const ROUTES: &str = "local default dev lo scope host \n";
    const LO: &str =
        "1: lo: <LOOPBACK,UP> mtu 65536 state UNKNOWN\n    inet6 ::6/128 scope global\n    inet6 ::1/128 scope host\n";

    /// What is run on a host where `ip` answers so.
    #[track_caller]
    fn check(line: &str, family: Family, answers: [&str; 3], before: &[&str], after: &[&str]) {
        let options = options(line);
        let commands = Present::read(&options, family, answers).commands(plan(&options, family), &options, family);
        assert_eq!(
            (commands.before, commands.after),
            (before.iter().map(|l| l.to_string()).collect(), after.iter().map(|l| l.to_string()).collect())
        );
    }

    #[test]
    fn what_is_missing_is_added() {
        let fresh = ["0:\tfrom all lookup local\n", "", "1: lo: <LOOPBACK,UP>\n    inet6 ::1/128 scope host\n"];
        let add = [
            "ip -6 route add local default dev lo table 133",
            "ip -6 rule add fwmark 0x539 lookup 133",
            "ip -6 address add ::6/128 dev lo nodad",
        ];
        check("--mode tproxy", Family::V6, fresh, &add, &[]);
        check(
            "--mode tproxy",
            Family::V4,
            fresh,
            &["ip -4 route add local default dev lo table 133", "ip -4 rule add fwmark 0x539 lookup 133"],
            &[],
        );
        check("", Family::V4, fresh, &[], &[]);
        check("", Family::V6, fresh, &["ip -6 address add ::6/128 dev lo nodad"], &[]);
        check("--mode tproxy --include-inbound-ports=", Family::V6, fresh, &[], &[]);
    }

    #[test]
    fn what_is_there_stays_and_what_is_not_wanted_goes() {
        check("--mode tproxy", Family::V6, [RULES, ROUTES, LO], &[], &[]);
        let gone = ["ip -4 rule del fwmark 0x539 lookup 133", "ip -4 route del local default dev lo table 133"];
        check("", Family::V4, [RULES, ROUTES, LO], &[], &gone);
    }

    #[test]
    fn rules_and_routes_of_others_are_not_ours() {
        let others = [
            "1:\tfrom all fwmark 0x5390 lookup 133\n2:\tfrom all fwmark 0x539 lookup 1330\n",
            "default via 10.0.0.1 dev eth0\n",
            LO,
        ];
        let present = Present::read(&options(""), Family::V4, others);
        assert_eq!(present, Present::default());
    }

    #[test]
    fn what_is_left_is_what_is_removed() {
        let options = options("--mode tproxy");
        let present = Present::of(plan(&options, Family::V6));
        let commands = present.commands(Routing::default(), &options, Family::V6);
        let expect = [
            "ip -6 rule del fwmark 0x539 lookup 133",
            "ip -6 route del local default dev lo table 133",
            "ip -6 address del ::6/128 dev lo",
        ];
        assert_eq!(commands.after, expect);
    }
}
