//! Times that run out.

use super::{Class, Front, any};
use crate::judge::differential::case::Case;
use crate::lab::chance::Chance;

pub(super) const CLASS: Class =
    Class { name: "timeouts", fronts: &[Front { name: "timeouts", ..Front::PLAIN }], cases, ..Class::PLAIN };

fn cases(chance: &mut Chance, count: usize) -> Vec<Case> {
    (0..count)
        .map(|_| {
            let path = *chance.pick(&["/timeout/silent", "/timeout/quick", "/timeout/x"]);
            match chance.below(2) {
                0 => {
                    let text = format!("POST {path} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody");
                    Case::of(chance, "", "POST", &text).split(chance)
                }
                _ => any::get(chance, path),
            }
        })
        .collect()
}
