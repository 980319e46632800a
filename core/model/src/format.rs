//! Format strings: texts with operators between `%`, as access logs and header operations have them (Envoy, "Substitution
//! formatting").
//!
//! A [`Format`] is read once, when a configuration is. It never looks at an exchange: `ringway-observe` writes one down.
//!
//! Invariant: a format that exists has operators of the list in `operator.rs` alone, and two texts are never neighbours.

mod operator;
mod time;

use std::fmt;

use operator::Read;
pub use operator::{Fact, GrpcForm, HeaderSource, Moment, Operator, PathSource, Unit};
pub use time::{TimeFormat, TimeText, put_number};

/// Envoy's text format where an access log gives none. It ends with a line end, as every text format of a file has to.
pub const DEFAULT_ACCESS_LOG_FORMAT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
     %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
     %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \
     \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

/// A format string, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Format {
    pieces: Vec<Piece>,
}

/// One piece of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it stands.
    Text(String),
    /// What an operator says, cut after so many bytes.
    Value(Operator, Option<usize>),
}

/// Why a text is no format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError {
    /// The character, counted from 1, with which what is wrong begins.
    pub column: usize,
    /// What is wrong.
    pub rule: String,
}

impl fmt::Display for FormatError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "column {}: {}", self.column, self.rule)
    }
}

impl std::error::Error for FormatError {}

/// What a format takes from the machine when it is read. It comes in as an argument, so that reading can be repeated.
#[derive(Clone, Copy)]
pub struct Surroundings<'s> {
    /// `%HOSTNAME%`.
    pub hostname: &'s str,
    /// `%ENVIRONMENT(X)%`.
    pub variable: &'s dyn Fn(&str) -> Option<String>,
}

impl Surroundings<'_> {
    /// A machine without a name and without an environment.
    pub const NONE: Surroundings<'static> = Surroundings { hostname: "", variable: &|_| None };
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Surroundings({:?})", self.hostname)
    }
}

impl Format {
    /// Reads a format string. `%%` is a percent sign.
    ///
    /// # Errors
    /// The first place where it is none.
    pub fn parse(text: &str, around: &Surroundings<'_>) -> Result<Format, FormatError> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            let Some(begin) = rest.find('%') else {
                plain.push_str(rest);
                break;
            };
            plain.push_str(&rest[..begin]);
            at += begin;
            if text[at..].starts_with("%%") {
                plain.push('%');
                at += 2;
                continue;
            }
            let wrong = |rule: String| FormatError { column: text[..at].chars().count() + 1, rule };
            let command = Command::read(&text[at..])
                .ok_or_else(|| wrong("no operator: %NAME%, %NAME(argument)% or %NAME(argument):length%".to_owned()))?;
            match operator::parse(command.name, command.argument, command.length, around).map_err(wrong)? {
                Read::Operator(operator) => {
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(Piece::Value(operator, command.length));
                }
                Read::Text(text) => plain.push_str(&text),
            }
            at += command.size;
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Format { pieces })
    }

    /// Its pieces, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }
}

/// One `%NAME(argument):length%`.
struct Command<'t> {
    name: &'t str,
    argument: &'t str,
    length: Option<usize>,
    /// All its bytes.
    size: usize,
}

impl<'t> Command<'t> {
    /// Reads the command that `text` begins with. An argument ends with the first bracket behind which a command can end.
    fn read(text: &'t str) -> Option<Self> {
        let body = &text[1..];
        let is_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        let name = &body[..body.bytes().take_while(|byte| is_name(*byte)).count()];
        if name.is_empty() {
            return None;
        }
        let behind = &body[name.len()..];
        let Some(inner) = behind.strip_prefix('(') else {
            let (length, size) = tail(behind)?;
            return Some(Self { name, argument: "", length, size: 1 + name.len() + size });
        };
        inner.match_indices(')').find_map(|(end, _)| {
            let argument = &inner[..end];
            let (length, size) = tail(&inner[end + 1..]).filter(|_| !argument.contains('\n'))?;
            Some(Self { name, argument, length, size: 1 + name.len() + 1 + end + 1 + size })
        })
    }
}

/// `:length%` or `%`, and its size.
fn tail(text: &str) -> Option<(Option<usize>, usize)> {
    if text.starts_with('%') {
        return Some((None, 1));
    }
    let digits = text.strip_prefix(':')?;
    let count = digits.bytes().take_while(u8::is_ascii_digit).count();
    let length = digits[..count].parse().ok()?;
    digits[count..].starts_with('%').then_some((Some(length), 1 + count + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(of: HeaderSource, name: &str, otherwise: &str) -> Operator {
        Operator::Header { of, name: name.into(), otherwise: otherwise.into() }
    }

    #[track_caller]
    fn check(text: &str, expect: &[Piece]) {
        let around = Surroundings { hostname: "box", variable: &|name| (name == "HOME").then(|| "/srv/me".to_owned()) };
        assert_eq!(Format::parse(text, &around).expect("a format").pieces(), expect, "{text}");
    }

    fn value(operator: Operator) -> Piece {
        Piece::Value(operator, None)
    }

    #[test]
    fn texts_and_operators() {
        let text = |text: &str| Piece::Text(text.into());
        let request = |name, otherwise| header(HeaderSource::Request, name, otherwise);
        check("", &[]);
        check("100%% of %%PROTOCOL%%", &[text("100% of %PROTOCOL%")]);
        check("%%%PROTOCOL%", &[text("%"), value(Operator::Fact(Fact::Protocol))]);
        check("a %REQ(A?:Path):10% b", &[text("a "), Piece::Value(request("a", ":path"), Some(10)), text(" b")]);
        check("%REQ(?B)%", &[value(request("", "b"))]);
        check("%RESP(x-y)%", &[value(header(HeaderSource::Response, "x-y", ""))]);
        check("on %HOSTNAME% in %ENVIRONMENT(HOME):3%!", &[text("on box in /sr!")]);
        check("%ENVIRONMENT(NOPE)%", &[text("-")]);
        check("%START_TIME(a)b%Y)%", &[value(Operator::StartTime(TimeFormat::parse("a)b%Y").expect("a time format")))]);
        check("%START_TIME%", &[value(Operator::StartTime(TimeFormat::default()))]);
        check("%PROTOCOL()%", &[value(Operator::Fact(Fact::Protocol))]);
        check(
            "%COMMON_DURATION(DS_RX_BEG:foo:us)%",
            &[value(Operator::Between(Moment::RequestBegan, Moment::Never, Unit::Microseconds))],
        );
        check("%PATH(NQ:ORIG)%", &[value(Operator::Path { query: false, of: PathSource::Original })]);
        check("%DYNAMIC_METADATA(a:b):3%", &[Piece::Value(Operator::Absent, Some(3))]);
    }

    /// Each is refused by Envoy 1.40, too, but for the last three.
    #[test]
    fn what_is_no_format_is_refused_with_its_column() {
        for (text, column) in [
            ("a%b", 2),
            ("%", 1),
            ("éé%REQ%", 3),
            ("%PROTOCOL% %REQ()%", 12),
            ("%REQ(A?B?C)%", 1),
            ("%REQ(A):%", 1),
            ("%REQ(a b)%", 1),
            ("%REQ(a)b)%", 1),
            ("%req(A)%", 1),
            ("%NOPE%", 1),
            ("%PROTOCOL():3%", 1),
            ("%PROTOCOL:3%", 1),
            ("%START_TIME(%n)%", 1),
            ("%START_TIME:3%", 1),
            ("%COMMON_DURATION%", 1),
            ("%COMMON_DURATION(DS_RX_BEG:DS_TX_END:s)%", 1),
            ("%UPSTREAM_REMOTE_ADDRESS(X)%", 1),
            ("%PATH(DYN)%", 1),
            ("%PATH(WQ:PATH_OR_ORIG)%", 1),
            ("%ENVIRONMENT%", 1),
            ("%LOCAL_REPLY_BODY:3%", 1),
            ("%GRPC_STATUS(X)%", 1),
            ("%DYNAMIC_METADATA()%", 1),
            ("%BYTES_SENT:4%", 1),
            ("%DURATION(x)%", 1),
            ("%START_TIME_LOCAL%", 1),
            ("%START_TIME(%Q)%", 1),
            ("%CEL(request.path)%", 1),
        ] {
            let error = Format::parse(text, &Surroundings::NONE).expect_err(text);
            assert_eq!(error.column, column, "{text}: {error}");
        }
    }

    #[test]
    fn the_default_format_of_access_logs_is_one() {
        let format = Format::parse(DEFAULT_ACCESS_LOG_FORMAT, &Surroundings::NONE).expect("Envoy's own");
        assert_eq!(format.pieces().len(), 31);
    }
}
