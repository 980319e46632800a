//! The fields of one head as a configuration changes them: which of the received are left out, and which are added.
//!
//! It never touches the head: what comes out is a [`HeadEdit`]'s `removed` and `lines`. Levels are applied one after the
//! other, each on what the ones before made: a level removes, then evaluates all its values against what is left, then
//! overwrites, then adds (Envoy, `HeaderParser::evaluateHeaders`).
//!
//! Invariant: everything lies in buffers that are kept from one head to the next, so that a warm core allocates nothing.
//!
//! [`HeadEdit`]: ringway_protocols::http1::HeadEdit

use std::ops::Range;

use ringway_model::format::Operator;
use ringway_model::{AppendAction, HeaderMutation};
use ringway_observe::format::{Value, Values, write};
use ringway_protocols::http1::{is_field, put_field};

/// What is known while a head is changed.
pub(crate) trait Facts {
    /// The value of the first field of this name (in lower case) that the head came with.
    fn received(&self, name: &str) -> Option<&[u8]>;

    /// What an operator says. `fields` is the head as it stands: what of it is asked for is asked of [`Fields::first`].
    fn value<'v>(&'v self, operator: &Operator, fields: &'v Fields) -> Value<'v>;
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    /// Names of received fields that are left out, each ended by a line feed.
    removed: Vec<u8>,
    added: Vec<Added>,
    /// What the level at hand adds, and whether in the place of others.
    wanted: Vec<(Added, bool)>,
    text: Vec<u8>,
    /// A value while it is evaluated against the rest.
    value: Vec<u8>,
    lines: Vec<u8>,
}

/// A field that is added: where its name and its value lie in the text.
#[derive(Clone, Debug)]
struct Added {
    name: Range<usize>,
    value: Range<usize>,
}

struct Asked<'v, F> {
    facts: &'v F,
    fields: &'v Fields,
}

impl<F: Facts> Values for Asked<'_, F> {
    fn value(&self, operator: &Operator) -> Value<'_> {
        self.facts.value(operator, self.fields)
    }
}

impl Fields {
    /// Forgets the last head.
    pub(crate) fn clear(&mut self) {
        self.removed.clear();
        self.added.clear();
        self.text.clear();
        self.lines.clear();
    }

    /// The value of the first field of this name (in lower case) as the head stands.
    pub(crate) fn first<'v>(&'v self, facts: &'v impl Facts, name: &str) -> Option<&'v [u8]> {
        let received = if self.is_removed(name) { None } else { facts.received(name) };
        received.or_else(|| {
            let added = self.added.iter().find(|added| self.text[added.name.clone()] == *name.as_bytes())?;
            Some(&self.text[added.value.clone()])
        })
    }

    /// The values of this name (in lower case) that are added.
    pub(crate) fn added<'v>(&'v self, name: &'v str) -> impl Iterator<Item = &'v [u8]> {
        let added = self.added.iter().filter(move |added| self.text[added.name.clone()] == *name.as_bytes());
        added.map(|added| &self.text[added.value.clone()])
    }

    /// Adds a field, whatever there is. Name (in lower case) and value are clean.
    pub(crate) fn add(&mut self, name: &str, value: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(name.as_bytes());
        let middle = self.text.len();
        self.text.extend_from_slice(value);
        self.added.push(Added { name: start..middle, value: middle..self.text.len() });
    }

    /// Puts a field in the place of those of its name.
    pub(crate) fn set(&mut self, name: &str, value: &[u8]) {
        self.remove(name);
        self.add(name, value);
    }

    /// Leaves out the fields of this name.
    pub(crate) fn remove(&mut self, name: &str) {
        remove(&mut self.removed, &mut self.added, &self.text, name.as_bytes());
    }

    /// Whether the received fields of this name are left out.
    pub(crate) fn is_removed(&self, name: &str) -> bool {
        is_named(&self.removed, name.as_bytes())
    }

    /// Writes the fields of an answer of our own: with a type where it has a body, unless the configuration gave one, and
    /// without where it has none (Envoy, `prepareLocalReply`).
    pub(crate) fn end_local(&mut self, has_body: bool) {
        const NAME: &str = "content-type";
        let is_typed = self.added.iter().any(|added| self.text[added.name.clone()] == *NAME.as_bytes());
        match has_body {
            true if is_typed => {}
            true => self.add(NAME, b"text/plain"),
            false => self.remove(NAME),
        }
        self.write_lines();
    }

    /// Names of received fields that are left out, each ended by a line feed.
    pub(crate) fn removed(&self) -> &[u8] {
        &self.removed
    }

    /// Writes the added fields as lines.
    pub(crate) fn write_lines(&mut self) {
        self.lines.clear();
        for added in &self.added {
            put_field(&self.text[added.name.clone()], &self.text[added.value.clone()], &mut self.lines);
        }
    }

    /// What [`Fields::write_lines`] wrote.
    pub(crate) fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// Applies one level.
    pub(crate) fn apply(&mut self, mutation: &HeaderMutation, facts: &impl Facts) {
        mutation.remove.iter().for_each(|name| self.remove(name));
        // Each value is evaluated before any is added: a level does not see what it adds itself.
        let mut value = std::mem::take(&mut self.value);
        let before = self.added.len();
        debug_assert!(self.wanted.is_empty(), "each level uses up what it wants");
        for addition in &mutation.add {
            value.clear();
            write(&addition.value, &Asked { facts, fields: self }, b"", &mut value);
            if value.is_empty() && !addition.keep_empty {
                continue;
            }
            let exists = || self.first(facts, &addition.name).is_some();
            let (goes_in, overwrites) = match addition.action {
                AppendAction::AppendIfExistsOrAdd => (true, false),
                AppendAction::AddIfAbsent => (!exists(), false),
                AppendAction::OverwriteIfExistsOrAdd => (true, true),
                AppendAction::OverwriteIfExists => (exists(), true),
            };
            // What a peer had a say in may hold what no field can.
            if goes_in && is_field(addition.name.as_bytes(), &value) {
                self.add(&addition.name, &value);
                let added = self.added.pop().expect("added just now");
                self.wanted.push((added, overwrites));
            }
        }
        debug_assert_eq!(before, self.added.len(), "nothing was added yet");
        self.value = value;
        let mut wanted = std::mem::take(&mut self.wanted);
        for (added, _) in wanted.extract_if(.., |(_, overwrites)| *overwrites) {
            // Of two that overwrite one name, the later one stays.
            remove(&mut self.removed, &mut self.added, &self.text, &self.text[added.name.clone()]);
            self.added.push(added);
        }
        self.added.extend(wanted.drain(..).map(|(added, _)| added));
        self.wanted = wanted;
    }
}

fn is_named(names: &[u8], name: &[u8]) -> bool {
    !names.is_empty() && names.split(|&byte| byte == b'\n').any(|other| other == name)
}

fn remove(removed: &mut Vec<u8>, added: &mut Vec<Added>, text: &[u8], name: &[u8]) {
    if !is_named(removed, name) {
        removed.extend_from_slice(name);
        removed.push(b'\n');
    }
    added.retain(|added| text[added.name.clone()] != *name);
}

#[cfg(test)]
mod tests {
    use ringway_model::HeaderAddition;
    use ringway_model::format::{Format, Surroundings};

    use super::*;

    /// A head of constants; `%REQ(X)%` asks it.
    struct Head(&'static [(&'static str, &'static str)]);

    impl Facts for Head {
        fn received(&self, name: &str) -> Option<&[u8]> {
            self.0.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_bytes())
        }

        fn value<'v>(&'v self, operator: &Operator, fields: &'v Fields) -> Value<'v> {
            let Operator::Header { name, .. } = operator else { return Value::Absent };
            fields.first(self, name).map_or(Value::Absent, Value::Text)
        }
    }

    const HEAD: Head = Head(&[("x-a", "1"), ("x-b", "2")]);

    fn add(name: &str, value: &str, action: AppendAction) -> HeaderAddition {
        let value = Format::parse(value, &Surroundings::NONE).expect("a format");
        HeaderAddition { name: name.into(), value, action, keep_empty: name == "x-keep" }
    }

    #[track_caller]
    fn check(levels: &[HeaderMutation], removed: &str, lines: &str) {
        let mut fields = Fields::default();
        for _ in 0..2 {
            fields.clear();
            levels.iter().for_each(|level| fields.apply(level, &HEAD));
            fields.write_lines();
            assert_eq!(String::from_utf8_lossy(fields.removed()).replace('\n', " "), removed);
            assert_eq!(String::from_utf8_lossy(fields.lines()).replace("\r\n", ", "), lines);
        }
    }

    fn level(remove: &[&str], add: Vec<HeaderAddition>) -> HeaderMutation {
        HeaderMutation { remove: remove.iter().map(|name| (*name).to_owned()).collect(), add }
    }

    #[test]
    fn the_four_ways_of_adding() {
        use AppendAction::{AddIfAbsent, AppendIfExistsOrAdd, OverwriteIfExists, OverwriteIfExistsOrAdd};
        let both = |action| vec![level(&[], vec![add("x-a", "new", action), add("x-new", "new", action)])];
        check(&both(AppendIfExistsOrAdd), "", "x-a: new, x-new: new, ");
        check(&both(AddIfAbsent), "", "x-new: new, ");
        check(&both(OverwriteIfExistsOrAdd), "x-a x-new ", "x-a: new, x-new: new, ");
        check(&both(OverwriteIfExists), "x-a ", "x-a: new, ");
    }

    #[test]
    fn a_level_removes_first_and_does_not_see_what_it_adds() {
        use AppendAction::{AddIfAbsent, AppendIfExistsOrAdd};
        let one = level(
            &["x-a"],
            vec![
                add("x-a", "3", AddIfAbsent),
                add("x-c", "%REQ(x-a)%", AppendIfExistsOrAdd),
                add("x-d", "%REQ(x-b)%!", AppendIfExistsOrAdd),
            ],
        );
        check(std::slice::from_ref(&one), "x-a ", "x-a: 3, x-d: 2!, ");
        // The next level does.
        let two = level(&[], vec![add("x-c", "%REQ(x-a)%", AppendIfExistsOrAdd)]);
        check(&[one, two], "x-a ", "x-a: 3, x-d: 2!, x-c: 3, ");
    }

    #[test]
    fn an_empty_value_is_left_out_unless_it_is_to_be_kept() {
        use AppendAction::AppendIfExistsOrAdd;
        let adds = vec![add("x-none", "%REQ(x-z)%", AppendIfExistsOrAdd), add("x-keep", "", AppendIfExistsOrAdd)];
        check(&[level(&[], adds)], "", "x-keep: , ");
    }

    #[test]
    fn of_two_that_overwrite_the_later_stays() {
        use AppendAction::{AppendIfExistsOrAdd, OverwriteIfExistsOrAdd};
        let adds = vec![
            add("x-a", "added", AppendIfExistsOrAdd),
            add("x-a", "one", OverwriteIfExistsOrAdd),
            add("x-a", "two", OverwriteIfExistsOrAdd),
        ];
        check(&[level(&[], adds)], "x-a ", "x-a: two, x-a: added, ");
    }
}
