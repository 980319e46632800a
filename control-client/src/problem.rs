//! What is wrong with a file, and where.
//!
//! A [`Report`] collects every problem on the way through a file and never stops at the first. It knows the field's
//! path, because whoever descends says so.
//!
//! Invariant: each [`Problem`] has a place inside the text that it names, or none where there is no text: what came in protobuf's
//! wire form has paths alone.

use std::fmt::{self, Write as _};

/// A place in a text: 1-based, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Place {
    pub(crate) const START: Place = Place { line: 1, column: 1 };
    /// Of what has no lines.
    pub(crate) const NONE: Place = Place { line: 0, column: 0 };
}

/// A place and the field that stands there.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) path: String,
    pub(crate) place: Place,
}

/// One thing that a file says and must not, or must say and does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The name of the file, as the caller gave it.
    pub file: String,
    /// 1-based; 0 in what has no lines.
    pub line: usize,
    /// 1-based, in characters; 0 in what has no lines.
    pub column: usize,
    /// The field, in Envoy's spelling: `static_resources.clusters[0].name`. Empty where the text itself is at fault.
    pub path: String,
    /// What was broken, for people.
    pub rule: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: ", self.file)?,
            line => write!(f, "{}:{line}:{}: ", self.file, self.column)?,
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.rule)
    }
}

impl std::error::Error for Problem {}

/// The most problems that one file reports. A file with more is no configuration; 1,000 of them take about 200 KiB.
const PROBLEMS_MAX: usize = 1_000;

/// Collects problems, and the path to the field that is being looked at.
#[derive(Debug, Default)]
pub(crate) struct Report {
    file: String,
    path: String,
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
    /// What is read was accepted once: files that had to be there then may be gone.
    pub(crate) is_again: bool,
}

impl Report {
    pub(crate) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), ..Self::default() }
    }

    /// The same for what was accepted once.
    pub(crate) fn again(file: &str) -> Self {
        Self { is_again: true, ..Self::new(file) }
    }

    /// Goes one field deeper; [`Report::leave`] takes the answer back.
    pub(crate) fn enter_field(&mut self, name: &str) -> usize {
        let size = self.path.len();
        if size > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        size
    }

    /// Goes into an item of a list.
    pub(crate) fn enter_item(&mut self, index: usize) -> usize {
        let size = self.path.len();
        let _ = write!(self.path, "[{index}]");
        size
    }

    /// Goes into the value that a map has under `key`.
    pub(crate) fn enter_key(&mut self, key: &str) -> usize {
        let size = self.path.len();
        let _ = write!(self.path, "[{key:?}]");
        size
    }

    /// Goes back to where an `enter_` was called.
    pub(crate) fn leave(&mut self, size: usize) {
        self.path.truncate(size);
    }

    /// Notes a problem with a field of the message that is being looked at.
    pub(crate) fn problem_in(&mut self, name: &str, place: Place, rule: impl Into<String>) {
        let size = self.enter_field(name);
        self.problem(place, rule);
        self.leave(size);
    }

    /// Notes a problem with the field that is being looked at.
    pub(crate) fn problem(&mut self, place: Place, rule: impl Into<String>) {
        if self.problems.len() < PROBLEMS_MAX {
            let problem = self.make(place, rule.into());
            self.problems.push(problem);
        }
    }

    /// Where the message that is being looked at stands.
    pub(crate) fn here(&self, place: Place) -> Origin {
        Origin { path: self.path.clone(), place }
    }

    /// Where the field of a message that is being looked at stands.
    pub(crate) fn origin(&mut self, name: &str, place: Place) -> Origin {
        let size = self.enter_field(name);
        let origin = Origin { path: self.path.clone(), place };
        self.leave(size);
        origin
    }

    /// Notes a problem with a field that was looked at before.
    pub(crate) fn problem_at(&mut self, origin: &Origin, rule: impl Into<String>) {
        let path = std::mem::replace(&mut self.path, origin.path.clone());
        self.problem(origin.place, rule);
        self.path = path;
    }

    /// Notes something that is accepted, because the caller asked for that, but has no effect.
    pub(crate) fn warning(&mut self, place: Place, rule: impl Into<String>) {
        if self.warnings.len() < PROBLEMS_MAX {
            let warning = self.make(place, rule.into());
            self.warnings.push(warning);
        }
    }

    fn make(&self, place: Place, rule: String) -> Problem {
        let (line, column) = (place.line as usize, place.column as usize);
        Problem { file: self.file.clone(), line, column, path: self.path.clone(), rule }
    }

    /// All problems by place, or the warnings where there is none.
    pub(crate) fn finish(mut self) -> Result<Vec<Problem>, Vec<Problem>> {
        let order = |problem: &Problem| (problem.line, problem.column);
        self.problems.sort_by_key(order);
        self.warnings.sort_by_key(order);
        if self.problems.is_empty() { Ok(self.warnings) } else { Err(self.problems) }
    }
}
