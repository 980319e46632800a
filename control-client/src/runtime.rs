//! `layered_runtime`: values by key that stand in the place of what other fields give as default.
//!
//! A field with a `runtime_key` has its value from here when it is translated, so that a request asks nobody. What a layer says may come
//! later and change (`rtds_layer`, `disk_layer`): then what asked for it is translated again. What a value means was observed
//! on Envoy 1.40.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::message::Json;

/// All layers; a later one wins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Runtime {
    layers: Vec<Layer>,
}

/// One layer.
#[derive(Clone, Debug, PartialEq)]
struct Layer {
    name: String,
    /// Empty where it is the administrator's (there is no `/runtime_modify`), and where it has not come.
    values: Arc<LayerValues>,
}

/// What one layer says, by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LayerValues(BTreeMap<String, RuntimeValue>);

/// One value of one layer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RuntimeValue {
    Number(f64),
    Bool(bool),
    Text(String),
    /// What spells a `FractionalPercent`, or tries to.
    Fraction(Vec<(String, Json)>),
    /// What a file holds, and what that is; `None`: nothing but a text.
    Spelled(String, Option<Box<RuntimeValue>>),
}

/// A key whose value can be none: null, or a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidKey(pub(crate) String);

/// A numerator and what it is of.
pub(crate) type Parts = (u32, u32);

impl Runtime {
    /// Adds a layer on top.
    ///
    /// # Errors
    /// A value is none; the layer is not there.
    pub(crate) fn push(&mut self, name: &str, members: &[(String, Json)]) -> Result<(), InvalidKey> {
        let values = Arc::new(LayerValues::of(members)?);
        self.layers.push(Layer { name: name.to_owned(), values });
        Ok(())
    }

    /// Replaces what the layer at this position says, the lowest being 0.
    pub(crate) fn put(&mut self, at: usize, values: Arc<LayerValues>) {
        self.layers[at].values = values;
    }

    /// Whether there is a layer of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.layers.iter().any(|layer| layer.name == name)
    }

    /// The names of the layers, the lowest first.
    pub fn layers(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().map(|layer| layer.name.as_str())
    }

    /// Each key with its value in each layer, as text; empty where the layer says nothing.
    pub fn entries(&self) -> BTreeMap<&str, Vec<String>> {
        let mut entries: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (position, layer) in self.layers.iter().enumerate() {
            for (key, value) in &layer.values.0 {
                let texts = entries.entry(key).or_insert_with(|| vec![String::new(); self.layers.len()]);
                texts[position] = value.shown();
            }
        }
        entries
    }

    /// How many keys have a value.
    pub fn key_count(&self) -> usize {
        self.entries().len()
    }

    /// What holds of a key: the value of the last layer that has one.
    pub(crate) fn value(&self, key: &str) -> Option<&RuntimeValue> {
        // What has no key asks nothing.
        let layers = self.layers.iter().rev().filter(|_| !key.is_empty());
        let value = layers.filter_map(|layer| layer.values.0.get(key)).next()?;
        match value {
            RuntimeValue::Spelled(_, meant) => meant.as_deref(),
            _ => Some(value),
        }
    }

    fn number(&self, key: &str) -> Option<f64> {
        match self.value(key)? {
            RuntimeValue::Number(number) => Some(*number),
            RuntimeValue::Text(text) => text.trim().parse().ok(),
            RuntimeValue::Bool(_) | RuntimeValue::Fraction(_) | RuntimeValue::Spelled(..) => None,
        }
    }

    /// For a `RuntimeDouble`.
    pub(crate) fn double(&self, key: &str) -> Option<f64> {
        self.number(key).filter(|number| number.is_finite())
    }

    /// For a `RuntimeUInt32`: a negative one counts as none, what is behind the point not at all.
    pub(crate) fn uint(&self, key: &str) -> Option<u32> {
        self.number(key).filter(|number| *number >= 0.0).map(|number| number.min(f64::from(u32::MAX)) as u32)
    }

    /// For a `RuntimeFeatureFlag`.
    pub(crate) fn boolean(&self, key: &str) -> Option<bool> {
        match self.value(key)? {
            RuntimeValue::Bool(value) => Some(*value),
            RuntimeValue::Text(text) if text.trim().eq_ignore_ascii_case("true") => Some(true),
            RuntimeValue::Text(text) if text.trim().eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// For a `RuntimeFractionalPercent`: a number is so many of 100.
    pub(crate) fn fraction(&self, key: &str) -> Option<Parts> {
        match self.value(key)? {
            RuntimeValue::Fraction(members) => fraction(members),
            RuntimeValue::Number(_) | RuntimeValue::Text(_) => self.uint(key).map(|numerator| (numerator, 100)),
            RuntimeValue::Bool(_) | RuntimeValue::Spelled(..) => None,
        }
    }
}

impl LayerValues {
    /// # Errors
    /// A value is none.
    pub(crate) fn of(members: &[(String, Json)]) -> Result<LayerValues, InvalidKey> {
        let mut values = BTreeMap::new();
        members.iter().try_for_each(|(key, value)| flatten(key, value, &mut values))?;
        Ok(LayerValues(values))
    }

    /// What files hold, by key: as it stands there, and as a value. One that is none has the key all the same, and gives nothing.
    pub(crate) fn of_files(files: &BTreeMap<String, (String, Json)>) -> LayerValues {
        let values = files.iter().map(|(key, (text, value))| {
            let mut own = BTreeMap::new();
            // An object that is no fraction is one key here, which says nothing.
            let meant = flatten(key, value, &mut own).ok().and_then(|()| own.remove(key)).map(Box::new);
            (key.clone(), RuntimeValue::Spelled(text.clone(), meant))
        });
        LayerValues(values.collect())
    }

    /// The keys that it has.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl RuntimeValue {
    fn shown(&self) -> String {
        match self {
            RuntimeValue::Number(number) => number.to_string(),
            RuntimeValue::Bool(value) => value.to_string(),
            RuntimeValue::Text(text) | RuntimeValue::Spelled(text, _) => text.clone(),
            RuntimeValue::Fraction(members) => {
                let members = members.iter().map(|(key, value)| match value {
                    Json::Number(number) => format!("{key}: {number}"),
                    Json::Text(text) => format!("{key}: {text}"),
                    _ => format!("{key}: ?"),
                });
                members.collect::<Vec<_>>().join(", ")
            }
        }
    }
}

/// An object is so many keys, joined by dots, unless it looks like a `FractionalPercent`.
fn flatten(key: &str, value: &Json, values: &mut BTreeMap<String, RuntimeValue>) -> Result<(), InvalidKey> {
    let value = match value {
        Json::Number(number) => RuntimeValue::Number(*number),
        Json::Bool(value) => RuntimeValue::Bool(*value),
        Json::Text(text) => RuntimeValue::Text(text.clone()),
        Json::Map(members) if members.iter().any(|(name, _)| name == "numerator" || name == "denominator") => {
            RuntimeValue::Fraction(members.clone())
        }
        Json::Map(members) => {
            return members.iter().try_for_each(|(name, value)| flatten(&format!("{key}.{name}"), value, values));
        }
        Json::Null | Json::List(_) => return Err(InvalidKey(key.to_owned())),
    };
    values.insert(key.to_owned(), value);
    Ok(())
}

/// `None`: it is no `FractionalPercent`, and says nothing. A numerator that is no number is 0.
fn fraction(members: &[(String, Json)]) -> Option<Parts> {
    let (mut numerator, mut denominator) = (0, 100);
    for (name, value) in members {
        match (name.as_str(), value) {
            ("numerator", Json::Number(number)) => numerator = number.clamp(0.0, f64::from(u32::MAX)) as u32,
            ("numerator", _) => {}
            ("denominator", Json::Text(text)) => {
                denominator = match text.as_str() {
                    "HUNDRED" => 100,
                    "TEN_THOUSAND" => 10_000,
                    "MILLION" => 1_000_000,
                    _ => return None,
                }
            }
            _ => return None,
        }
    }
    Some((numerator, denominator))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: f64) -> Json {
        Json::Number(value)
    }

    fn map(members: &[(&str, Json)]) -> Vec<(String, Json)> {
        members.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    fn text(text: &str) -> Json {
        Json::Text(text.to_owned())
    }

    /// Each row as Envoy 1.40 served a route with this value for its fraction.
    #[test]
    fn what_a_value_is_as_a_fraction() {
        let rows: [(Json, Option<Parts>); 14] = [
            (number(100.0), Some((100, 100))),
            (text("100"), Some((100, 100))),
            (number(100.5), Some((100, 100))),
            (number(300.0), Some((300, 100))),
            (text("5000000000"), Some((u32::MAX, 100))),
            (number(-1.0), None),
            (Json::Bool(true), None),
            (text("numerator: 100"), None),
            (Json::Map(map(&[("numerator", number(5.0))])), Some((5, 100))),
            (Json::Map(map(&[("numerator", number(5.0)), ("denominator", text("MILLION"))])), Some((5, 1_000_000))),
            (Json::Map(map(&[("numerator", number(5.0)), ("denominator", text("million"))])), None),
            (Json::Map(map(&[("numerator", number(5.0)), ("denominator", number(2.0))])), None),
            (Json::Map(map(&[("numerator", text("100"))])), Some((0, 100))),
            (Json::Map(map(&[("numerator", number(5.0)), ("foo", number(1.0))])), None),
        ];
        for (value, expect) in rows {
            let mut runtime = Runtime::default();
            runtime.push("one", &[("k".to_owned(), value.clone())]).expect("a value");
            assert_eq!(runtime.fraction("k"), expect, "{value:?}");
        }
    }

    #[test]
    fn the_last_layer_wins_and_objects_are_keys_with_dots() {
        let mut runtime = Runtime::default();
        let deep = Json::Map(map(&[("g", Json::Map(map(&[("h", number(7.0))])))]));
        let one =
            map(&[("a", number(5.0)), ("f", deep), ("b", number(0.5)), ("c", Json::Bool(true)), ("t", text("False"))]);
        runtime.push("one", &one).expect("values");
        runtime.push("two", &map(&[("a", number(6.0)), ("f.g.h", number(8.0))])).expect("values");
        runtime.push("admin", &[]).expect("nothing");
        assert_eq!((runtime.uint("a"), runtime.uint("f.g.h"), runtime.double("b")), (Some(6), Some(8), Some(0.5)));
        assert_eq!((runtime.boolean("c"), runtime.boolean("t"), runtime.boolean("a")), (Some(true), Some(false), None));
        assert_eq!((runtime.uint("none"), runtime.uint("")), (None, None));
        let entries = runtime.entries();
        assert_eq!(entries["a"], ["5", "6", ""]);
        assert_eq!(entries["b"], ["0.5", "", ""]);
        assert_eq!(runtime.layers().collect::<Vec<_>>(), ["one", "two", "admin"]);
        assert!(runtime.has("two") && !runtime.has("three"));
    }

    #[test]
    fn null_and_lists_are_no_values() {
        for value in [Json::Null, Json::List(vec![number(1.0)])] {
            let members = map(&[("a", Json::Map(map(&[("b", value)])))]);
            assert_eq!(Runtime::default().push("one", &members), Err(InvalidKey("a.b".to_owned())));
        }
    }
}
