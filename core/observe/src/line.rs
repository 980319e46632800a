//! The lines of one access log: its format as a run of steps, made once where the configuration is taken up.
//!
//! What stands still between two values (the names of a JSON object, its quotes and commas) is one text, escaped beforehand, and the
//! part of a time that changes once a second is kept. What is written is what [`write_text`] writes.
//!
//! Invariant: a line belongs to one core; its memory of times is not shared.

use std::cell::RefCell;

use ringway_model::format::{Format, Operator, Piece, TimeText};
use ringway_model::{JsonNode, LogText};

use crate::access_log::{quote, write_json_value, write_text};
use crate::format::{ABSENT, Value, Values, write_operator, write_value};

/// See the module.
#[derive(Debug)]
pub struct Line {
    steps: Steps,
}

#[derive(Debug)]
enum Steps {
    Text(Vec<Step>),
    /// What is left out depends on what an exchange says: there is nothing that stands still.
    OmitEmpty(LogText),
}

#[derive(Debug)]
enum Step {
    /// As it stands.
    Text(Box<[u8]>),
    /// What an operator says, cut after so many bytes; else this.
    Value(Operator, Option<usize>, &'static [u8]),
    /// One operator alone as a JSON value.
    Json(Operator, Option<usize>),
    /// Several pieces as a JSON string.
    Quoted(Vec<Step>),
    /// An operator that tells a time: a JSON value where nothing stands for an absent one.
    Time { operator: Operator, text: RefCell<TimeText>, absent: Option<&'static [u8]> },
}

impl Line {
    /// The lines of a log with this format.
    #[must_use]
    pub fn new(text: &LogText) -> Self {
        let mut steps = Draft::default();
        match text {
            LogText::Text { format, omit_empty } => steps.format(format, if *omit_empty { b"" } else { ABSENT }),
            LogText::Json { omit_empty: true, .. } => return Self { steps: Steps::OmitEmpty(text.clone()) },
            LogText::Json { object, omit_empty: false } => {
                steps.json(object);
                steps.text.push(b'\n');
            }
        }
        Self { steps: Steps::Text(steps.end()) }
    }

    /// Appends the exchange's line.
    pub fn write(&self, values: &impl Values, out: &mut Vec<u8>) {
        match &self.steps {
            Steps::Text(steps) => steps.iter().for_each(|step| step.write(values, out)),
            Steps::OmitEmpty(text) => write_text(text, values, out),
        }
    }
}

/// Steps while they are put together.
#[derive(Default)]
struct Draft {
    steps: Vec<Step>,
    /// What stands still since the last value.
    text: Vec<u8>,
}

impl Draft {
    fn step(&mut self, step: Step) {
        if !self.text.is_empty() {
            self.steps.push(Step::Text(std::mem::take(&mut self.text).into()));
        }
        self.steps.push(step);
    }

    fn end(mut self) -> Vec<Step> {
        if !self.text.is_empty() {
            self.steps.push(Step::Text(self.text.into()));
        }
        self.steps
    }

    fn format(&mut self, format: &Format, absent: &'static [u8]) {
        for piece in format.pieces() {
            match piece {
                Piece::Text(text) => self.text.extend_from_slice(text.as_bytes()),
                Piece::Value(operator, None) if is_time(operator) => self.time(operator, Some(absent)),
                Piece::Value(operator, length_max) => self.step(Step::Value(operator.clone(), *length_max, absent)),
            }
        }
    }

    fn time(&mut self, operator: &Operator, absent: Option<&'static [u8]>) {
        self.step(Step::Time { operator: operator.clone(), text: RefCell::default(), absent });
    }

    fn json(&mut self, node: &JsonNode) {
        match node {
            JsonNode::Null => self.text.extend_from_slice(b"null"),
            JsonNode::Literal(text) => self.text.extend_from_slice(text.as_bytes()),
            JsonNode::Text(format) => match format.pieces() {
                [Piece::Value(operator, None)] if is_time(operator) => self.time(operator, None),
                [Piece::Value(operator, length_max)] => self.step(Step::Json(operator.clone(), *length_max)),
                [] => self.text.extend_from_slice(b"\"\""),
                [Piece::Text(text)] => quote(&mut self.text, |out| out.extend_from_slice(text.as_bytes())),
                _ => {
                    let mut inner = Draft::default();
                    inner.format(format, ABSENT);
                    self.step(Step::Quoted(inner.end()));
                }
            },
            JsonNode::Object(members) => {
                self.text.push(b'{');
                for (at, (name, node)) in members.iter().enumerate() {
                    self.text.extend_from_slice(if at == 0 { b"" } else { b"," });
                    quote(&mut self.text, |out| out.extend_from_slice(name.as_bytes()));
                    self.text.push(b':');
                    self.json(node);
                }
                self.text.push(b'}');
            }
            JsonNode::List(items) => {
                self.text.push(b'[');
                for (at, node) in items.iter().enumerate() {
                    self.text.extend_from_slice(if at == 0 { b"" } else { b"," });
                    self.json(node);
                }
                self.text.push(b']');
            }
        }
    }
}

fn is_time(operator: &Operator) -> bool {
    matches!(operator, Operator::StartTime(_) | Operator::EmitTime(_))
}

impl Step {
    fn write(&self, values: &impl Values, out: &mut Vec<u8>) {
        match self {
            Step::Text(text) => out.extend_from_slice(text),
            Step::Value(operator, length_max, absent) => {
                if !write_operator(operator, *length_max, values, out) {
                    out.extend_from_slice(absent);
                }
            }
            Step::Json(operator, length_max) => {
                write_json_value(operator, *length_max, values.value(operator), out);
            }
            Step::Quoted(steps) => quote(out, |out| steps.iter().for_each(|step| step.write(values, out))),
            Step::Time { operator, text, absent } => {
                let value = values.value(operator);
                let time = match (value, operator) {
                    (Value::Time(nanos), Operator::StartTime(format) | Operator::EmitTime(format)) => (nanos, format),
                    _ => return write_otherwise(operator, value, *absent, out),
                };
                let write = |out: &mut Vec<u8>| time.1.write_again(time.0, &mut text.borrow_mut(), out);
                if absent.is_none() { quote(out, write) } else { write(out) }
            }
        }
    }
}

/// A value that is no time.
#[cold]
fn write_otherwise(operator: &Operator, value: Value<'_>, absent: Option<&[u8]>, out: &mut Vec<u8>) {
    match absent {
        None => write_json_value(operator, None, value, out),
        Some(absent) => {
            if !write_value(operator, value, out) {
                out.extend_from_slice(absent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ringway_model::format::Surroundings;

    use super::*;

    /// An exchange that knows what time it is, or does not.
    struct Clock(Option<u64>);

    impl Values for Clock {
        fn value(&self, operator: &Operator) -> Value<'_> {
            match operator {
                operator if is_time(operator) => self.0.map_or(Value::Absent, Value::Time),
                _ => Value::Text(b"\"v\""),
            }
        }
    }

    #[track_caller]
    fn check(text: &LogText, expect: [&str; 3]) {
        let line = Line::new(text);
        let second = 784_111_777_000_000_000;
        for _ in 0..2 {
            for (time, expect) in [Some(second + 12_345_678), Some(second), None].into_iter().zip(expect) {
                let (mut out, mut other) = (Vec::new(), Vec::new());
                line.write(&Clock(time), &mut out);
                write_text(text, &Clock(time), &mut other);
                assert_eq!(String::from_utf8_lossy(&out), expect);
                assert_eq!(String::from_utf8_lossy(&other), expect);
            }
        }
    }

    fn format(text: &str) -> Format {
        Format::parse(text, &Surroundings::NONE).expect("a format")
    }

    #[test]
    fn times_stand_where_the_format_has_them() {
        let format = format("a %START_TIME% %EMIT_TIME(%s %3f)%|%REQ(x)%\n");
        for omit_empty in [false, true] {
            let absent = if omit_empty { "a  |\"v\"\n" } else { "a - -|\"v\"\n" };
            check(
                &LogText::Text { format: format.clone(), omit_empty },
                [
                    "a 1994-11-06T08:49:37.012Z 784111777 012|\"v\"\n",
                    "a 1994-11-06T08:49:37.000Z 784111777 000|\"v\"\n",
                    absent,
                ],
            );
        }
    }

    #[test]
    fn times_in_json_are_texts() {
        let text = |text| JsonNode::Text(format(text));
        let members = vec![
            ("a\"".to_owned(), text("%START_TIME(\"%3f)%")),
            ("b".to_owned(), JsonNode::List(vec![text("t\"%START_TIME(%S)% %REQ(x):1%"), text("%REQ(x):2%")])),
            ("c".to_owned(), JsonNode::Object(vec![])),
        ];
        check(
            &LogText::Json { object: JsonNode::Object(members), omit_empty: false },
            [
                "{\"a\\\"\":\"\\\"012\",\"b\":[\"t\\\"37 \\\"\",\"\\\"v\"],\"c\":{}}\n",
                "{\"a\\\"\":\"\\\"000\",\"b\":[\"t\\\"37 \\\"\",\"\\\"v\"],\"c\":{}}\n",
                "{\"a\\\"\":null,\"b\":[\"t\\\"- \\\"\",\"\\\"v\"],\"c\":{}}\n",
            ],
        );
    }
}
