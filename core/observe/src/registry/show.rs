//! Numbers under their whole names, in order.

use std::borrow::Cow;
use std::fmt::{self, Write};

use super::entry::Entry;
use crate::grpc::{GrpcStats, TIME};
use crate::{Block, CodesRow, Distribution, Kind};

/// Shows a number under its whole name.
pub type Visit<'v> = &'v mut dyn FnMut(&str, Kind, u64) -> fmt::Result;

/// Shows a histogram under its whole name.
pub type VisitHistogram<'v> = &'v mut dyn FnMut(&str, &Distribution) -> fmt::Result;

/// The numbers of one entry, on their way to be sorted.
#[derive(Default)]
pub(super) struct Rows(Vec<(Cow<'static, str>, Kind, u64)>, Vec<(u16, u64)>, String);

impl Rows {
    /// Adds one number more.
    pub(super) fn push(&mut self, name: String, kind: Kind, value: u64) {
        self.0.push((name.into(), kind, value));
    }

    pub(super) fn add<B: Block>(&mut self, entry: &Entry<B>) {
        let table = B::table().iter().enumerate().filter(|(at, _)| entry.shows(*at));
        self.0.extend(table.map(|(at, row)| (row.name.into(), row.kind, entry.value(at))));
        for (at, CodesRow { prefix, .. }) in B::codes().iter().enumerate() {
            entry.codes(at, &mut self.1);
            let mut push = |name: String, value| self.0.push((name.into(), Kind::Counter, value));
            for (code, count) in &self.1 {
                push(format!("{prefix}upstream_rq_{code}"), *count);
            }
            for (class, count) in classes(&self.1) {
                push(format!("{prefix}upstream_rq_{class}xx"), count);
            }
            let completed = self.1.iter().map(|sum| sum.1).sum();
            if completed > 0 {
                push(format!("{prefix}upstream_rq_completed"), completed);
            }
        }
        for (method, numbers) in entry.methods() {
            let shown = GrpcStats::ROWS.iter().enumerate();
            let shown = shown.filter_map(|(at, (row, of))| Some((row, numbers.value(at, *of)?)));
            self.0.extend(shown.map(|(row, value)| (format!("grpc.{method}.{row}").into(), Kind::Counter, value)));
        }
    }

    /// Shows what was added, in order, and forgets it.
    pub(super) fn show(&mut self, scope: &str, entry: &str, visit: Visit<'_>) -> fmt::Result {
        let Rows(rows, _, name) = self;
        rows.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        name.clear();
        write!(name, "{scope}.{entry}{}", if entry.is_empty() { "" } else { "." })?;
        let stem = name.len();
        for (row, kind, value) in rows.drain(..) {
            name.truncate(stem);
            name.push_str(&row);
            visit(name, kind, value)?;
        }
        Ok(())
    }
}

/// The counts of each class that has any.
pub(crate) fn classes(codes: &[(u16, u64)]) -> impl Iterator<Item = (u16, u64)> {
    (1..6).filter_map(|class| {
        let count = codes.iter().filter(|sum| sum.0 / 100 == class).map(|sum| sum.1).sum();
        (count > 0).then_some((class, count))
    })
}

pub(super) fn visit_histograms<'e, B: Block>(
    scope: &str,
    entries: impl IntoIterator<Item = &'e Entry<B>>,
    distribution: &mut Distribution,
    visit: VisitHistogram<'_>,
) -> fmt::Result {
    let mut name = String::new();
    for entry in entries {
        let methods = entry.methods();
        let times = methods.iter().map(|(method, of)| (Cow::from(format!("grpc.{method}.{TIME}")), Err(of)));
        let mut rows: Vec<_> = B::histograms().iter().map(|row| (row.name.into(), Ok(row))).chain(times).collect();
        if !methods.is_empty() {
            rows.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        }
        for (end, row) in rows {
            distribution.clear();
            match row {
                Ok(row) => entry.blocks.iter().for_each(|block| (row.add)(block, distribution)),
                Err(method) => method.add_times(distribution),
            }
            if row.is_ok_and(|row| row.is_always) || distribution.total() > 0 {
                name.clear();
                let dot = if scope.is_empty() { "" } else { "." };
                write!(name, "{scope}{dot}{}.{end}", entry.name)?;
                visit(&name, distribution)?;
            }
        }
    }
    Ok(())
}
