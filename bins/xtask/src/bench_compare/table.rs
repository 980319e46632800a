//! Counts side by side, the dearest change first.

use std::fmt;

/// One case. A side that does not have it has no count.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// With its group.
    pub(crate) name: String,
    /// Instructions a round.
    pub(crate) before: Option<f64>,
    /// The same of the checkout.
    pub(crate) after: Option<f64>,
}

impl Row {
    /// In percent; `None` where a side does not have it.
    pub(crate) fn change(&self) -> Option<f64> {
        Some((self.after? / self.before? - 1.0) * 100.0)
    }
}

/// A Markdown table.
#[derive(Debug)]
pub(super) struct Table(Vec<Row>);

impl Table {
    /// Dearer cases first, then those that only one side has; by name where that is all the same.
    pub(super) fn new(mut rows: Vec<Row>) -> Table {
        rows.sort_by(|one, other| {
            let (change, to) = (one.change(), other.change());
            let by_change =
                to.is_some().cmp(&change.is_some()).then(to.unwrap_or(0.0).total_cmp(&change.unwrap_or(0.0)));
            by_change.then_with(|| one.name.cmp(&other.name))
        });
        Table(rows)
    }

    /// Errors: the cases that cost more than `percent` more than before.
    pub(super) fn judge(&self, percent: f64) -> Result<(), String> {
        let dearer: Vec<&str> = self
            .0
            .iter()
            .filter(|row| row.change().is_some_and(|change| change > percent))
            .map(|row| row.name.as_str())
            .collect();
        match dearer.len() {
            0 => Ok(()),
            count => Err(format!("{count} cases cost more than {percent} % more: {}", dearer.join("; "))),
        }
    }
}

/// A count for people: whole, in threes.
fn count(instructions: Option<f64>) -> String {
    let Some(instructions) = instructions else { return "–".to_owned() };
    let digits = format!("{instructions:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| case | instructions before | after | change |\n|---|--:|--:|--:|")?;
        for row in &self.0 {
            let change = match (row.before, row.after, row.change()) {
                (.., Some(change)) => format!("{change:+.2} %"),
                (None, ..) => "new".to_owned(),
                _ => "gone".to_owned(),
            };
            writeln!(f, "| {} | {} | {} | {change} |", row.name, count(row.before), count(row.after))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let row = |name: &str, before, after| Row { name: name.into(), before, after };
        Table::new(vec![
            row("same", Some(1_000.0), Some(1_000.0)),
            row("cheaper", Some(1_234_567.8), Some(617_283.9)),
            row("new", None, Some(12.0)),
            row("also the same", Some(7.0), Some(7.0)),
            row("gone", Some(999.0), None),
            row("dearer", Some(200.0), Some(203.0)),
        ])
    }

    #[test]
    fn the_dearest_change_comes_first_and_what_cannot_be_compared_last() {
        let expect = "\
| case | instructions before | after | change |
|---|--:|--:|--:|
| dearer | 200 | 203 | +1.50 % |
| also the same | 7 | 7 | +0.00 % |
| same | 1,000 | 1,000 | +0.00 % |
| cheaper | 1,234,568 | 617,284 | -50.00 % |
| gone | 999 | – | gone |
| new | – | 12 | new |
";
        assert_eq!(table().to_string(), expect);
    }

    #[test]
    fn what_became_dearer_than_allowed_is_named() {
        assert_eq!(table().judge(1.6), Ok(()));
        assert_eq!(table().judge(1.4), Err("1 cases cost more than 1.4 % more: dearer".to_owned()));
    }
}
