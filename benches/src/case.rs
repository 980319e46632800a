//! A bench's body, written once: criterion times it, and callgrind counts its instructions.
//!
//! A suite is a list of [`Case`]s. Asked with `--cases` its program says their names; with `--once NAME` it makes one of them and runs it a fixed
//! number of rounds within [`counted_rounds`], at whose name callgrind begins and ends to count (`--toggle-collect`): what stands
//! outside of it is set-up, and not in the count. `cargo xtask bench-compare` asks so. Invariant: a case does the same work each
//! time that it is made, so that two counts can be compared; what it draws by chance comes from [`Chance`].

use std::io::{self, Write};

/// How often a case runs to be counted, where it says nothing else: a pick that is dear one time in a hundred has its share.
const COUNTED_ROUNDS: u32 = 1_000;
/// Rounds before those that count, at most: what a first round allocates, and what is only written down once, is not in the count.
const WARM_UP_ROUNDS: u32 = 100;

/// What is done in a round, for figures by second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// So many things.
    Elements(u64),
    /// So many bytes.
    Bytes(u64),
}

/// One round.
pub type Body = Box<dyn FnMut()>;

/// What is measured.
pub struct Case {
    /// Cases of one group stand together in a suite.
    pub group: &'static str,
    /// Within the group.
    pub name: String,
    work: Box<dyn Fn() -> Option<Work>>,
    counted_rounds: u32,
    /// Too long to be run without optimisation, and not to be sampled often.
    pub is_dear: bool,
    make: Box<dyn Fn() -> Body>,
}

impl Case {
    /// A case whose set-up is `make`: nothing of it is made before it is run.
    pub fn new<B: FnMut() + 'static>(
        group: &'static str,
        name: impl Into<String>,
        make: impl Fn() -> B + 'static,
    ) -> Case {
        let make = move || -> Body { Box::new(make()) };
        let work = Box::new(|| None);
        Case { group, name: name.into(), work, counted_rounds: COUNTED_ROUNDS, is_dear: false, make: Box::new(make) }
    }

    /// The same, which does so much in a round.
    #[must_use]
    pub fn doing(self, work: Work) -> Case {
        self.doing_as_found(move || work)
    }

    /// The same, where it takes a look at what has to be read first.
    #[must_use]
    pub fn doing_as_found(self, work: impl Fn() -> Work + 'static) -> Case {
        Case { work: Box::new(move || Some(work())), ..self }
    }

    /// The same, counted over so many rounds, at least one: for what is long and always the same.
    #[must_use]
    pub fn counted_over(self, rounds: u32) -> Case {
        assert!(rounds > 0, "something is counted");
        Case { counted_rounds: rounds, ..self }
    }

    /// The same, which takes too long to be run without optimisation: tests leave it out.
    #[must_use]
    pub fn dear(self) -> Case {
        Case { is_dear: true, ..self }
    }

    /// Group and name.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.group, self.name)
    }

    /// What a round does, where it says so.
    pub fn work(&self) -> Option<Work> {
        (self.work)()
    }

    /// Makes it.
    pub fn body(&self) -> Body {
        (self.make)()
    }
}

/// What a suite's program is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To be timed, by criterion, which reads the arguments itself: `--bench`, which `cargo bench` adds.
    Timed,
    /// Each case that is not dear, made and run once: by `cargo test`.
    Each,
    /// The cases' names, a line each, and over how many rounds each is counted.
    Cases,
    /// To be counted: the case of this name.
    Once(String),
}

impl Asked {
    /// Reads the program's arguments, without its name.
    pub fn of(arguments: impl IntoIterator<Item = String>) -> Asked {
        let (bench, words): (Vec<String>, Vec<String>) = arguments.into_iter().partition(|word| word == "--bench");
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["--cases"] => Asked::Cases,
            ["--once", name] => Asked::Once((*name).to_owned()),
            _ if bench.is_empty() => Asked::Each,
            _ => Asked::Timed,
        }
    }
}

/// Does what is asked, but for timing.
///
/// # Errors
/// There is no case of that name, or nobody reads the output.
pub fn answer(asked: &Asked, cases: &[Case], out: &mut impl Write) -> io::Result<()> {
    match asked {
        Asked::Timed => unreachable!("criterion does that"),
        Asked::Each => {
            let quick: Vec<&Case> = cases.iter().filter(|case| !case.is_dear).collect();
            quick.iter().for_each(|case| case.body()());
            let dear = cases.len() - quick.len();
            writeln!(out, "{} cases ran, {dear} dear ones are left to cargo bench", quick.len())
        }
        Asked::Cases => {
            cases.iter().try_for_each(|case| writeln!(out, "{}\t{}", case.counted_rounds, case.full_name()))
        }
        Asked::Once(name) => {
            let case = cases.iter().find(|case| case.full_name() == *name);
            let case = case
                .ok_or_else(|| io::Error::other(format!("no case is called {name:?}; --cases says which there are")))?;
            let mut body = case.body();
            (0..case.counted_rounds.min(WARM_UP_ROUNDS)).for_each(|_| body());
            counted_rounds(&mut *body, case.counted_rounds);
            Ok(())
        }
    }
}

/// What callgrind counts. Its name is known to `bins/xtask/src/bench_compare/callgrind.rs`.
#[inline(never)]
pub fn counted_rounds(body: &mut dyn FnMut(), rounds: u32) {
    for _ in 0..rounds {
        body();
    }
}

/// Numbers that look like chance and are the same each time: a step of an LCG (Knuth), of which the upper bits are better.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Always the same ones.
    #[expect(clippy::new_without_default, reason = "the same chance is nothing that one expects of a default")]
    pub fn new() -> Chance {
        Chance(1)
    }

    /// The next.
    #[inline]
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn what_is_asked_is_read_of_arguments() {
        for (words, expect) in [
            ("", Asked::Each),
            ("--show-output", Asked::Each),
            ("--bench", Asked::Timed),
            ("--bench --test", Asked::Timed),
            ("--bench route", Asked::Timed),
            ("--once --bench", Asked::Timed),
            ("--cases --bench", Asked::Cases),
            ("--once route/prefix --bench", Asked::Once("route/prefix".into())),
        ] {
            assert_eq!(Asked::of(words.split_whitespace().map(str::to_owned)), expect, "{words:?}");
        }
    }

    /// Two cases, and what was made and run of them.
    fn cases() -> (Vec<Case>, [Rc<Cell<u32>>; 2]) {
        let [made, run] = [(); 2].map(|()| Rc::new(Cell::new(0)));
        let add = |to: &Rc<Cell<u32>>| to.set(to.get() + 1);
        let (made_by, run_by) = (made.clone(), run.clone());
        let one = Case::new("group", "one", move || {
            add(&made_by);
            let run = run_by.clone();
            move || add(&run)
        });
        let other = Case::new("group", "other", || || panic!("not this one"));
        (vec![other.dear(), one.counted_over(7)], [made, run])
    }

    #[test]
    fn names_are_told_and_nothing_is_made_for_that() {
        let (cases, [made, _]) = cases();
        let mut out = Vec::new();
        answer(&Asked::Cases, &cases, &mut out).expect("written");
        assert_eq!(String::from_utf8(out).expect("text"), "1000\tgroup/other\n7\tgroup/one\n");
        assert_eq!(made.get(), 0);
    }

    #[test]
    fn tests_run_each_case_once_but_for_the_dear_ones() {
        let (cases, [made, run]) = cases();
        let mut out = Vec::new();
        answer(&Asked::Each, &cases, &mut out).expect("written");
        assert_eq!((made.get(), run.get()), (1, 1));
        assert_eq!(String::from_utf8(out).expect("text"), "1 cases ran, 1 dear ones are left to cargo bench\n");
    }

    #[test]
    fn one_case_is_made_and_run_as_often_as_it_says_after_a_warm_up() {
        let (cases, [made, run]) = cases();
        answer(&Asked::Once("group/one".into()), &cases, &mut Vec::new()).expect("there is one");
        assert_eq!((made.get(), run.get()), (1, 7 + 7));
        let error = answer(&Asked::Once("group/on".into()), &cases, &mut Vec::new()).expect_err("there is none");
        assert!(error.to_string().contains("\"group/on\""), "{error}");
    }
}
