//! `/logging`: what of the process's own log is written. There is one logger where Envoy has many.

use std::fmt::Write;

use super::Context;
use super::http::{Request, Response};
use crate::log::{Level, Log};

/// The one logger's name.
const NAME: &str = "ringway";
const USAGE: &str = "usage: /logging?level=<level> (change all levels)\nusage: /logging?ringway=<level> (the same)\n\
                     usage: /logging?paths=ringway:<level> (the same)\nusage: /logging (show the level)\n\
                     levels: trace debug info warning error critical off\n";

/// `/logging`, with Envoy's parameters and words.
pub(crate) fn logging(context: &Context, request: &Request) -> Response {
    match wanted(&request.query) {
        Ok(level) => {
            if let Some(level) = level {
                context.log.set_level(level);
            }
            Response::text(200, loggers(context.log))
        }
        Err(fault) => Response::text(400, format!("error: {fault}\n\n{USAGE}")),
    }
}

fn loggers(log: Log) -> String {
    let mut text = String::from("active loggers:\n");
    writeln!(text, "  {NAME}: {}", log.level().text()).expect("a string takes all");
    text
}

/// The level that is asked for, if one is.
fn wanted(parameters: &[(String, String)]) -> Result<Option<Level>, &'static str> {
    let (name, level) = match parameters {
        [] => return Ok(None),
        [(name, list)] if name == "paths" => list.split_once(':').ok_or("empty logger name or empty logger level")?,
        [(name, level)] => (name.as_str(), level.as_str()),
        _ => return Err("invalid number of parameters"),
    };
    if name != NAME && name != "level" {
        return Err("unknown logger name");
    }
    Level::parse(level).map(Some).ok_or("unknown logger level")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_parameter_says_a_level() {
        let check = |parameters: &[(&str, &str)], expect: Result<Option<Level>, &str>| {
            let owned: Vec<(String, String)> =
                parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(wanted(&owned), expect, "{parameters:?}");
        };
        check(&[], Ok(None));
        check(&[("level", "debug")], Ok(Some(Level::Debug)));
        check(&[("ringway", "off")], Ok(Some(Level::Off)));
        check(&[("paths", "ringway:warn")], Ok(Some(Level::Warning)));
        check(&[("level", "loud")], Err("unknown logger level"));
        check(&[("admin", "debug")], Err("unknown logger name"));
        check(&[("paths", "debug")], Err("empty logger name or empty logger level"));
        check(&[("level", "info"), ("ringway", "debug")], Err("invalid number of parameters"));
    }
}
