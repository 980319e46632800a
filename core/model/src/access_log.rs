//! An access log: where its lines go, what stands in them, and which exchanges are worth one.
//!
//! Plain data. What an exchange was like, `ringway-observe` asks and writes down; files are opened and written elsewhere.

use std::fmt;

use crate::format::{Format, Operator, Piece};
use crate::{HeaderMatcher, ResponseFlags};

/// `envoy.config.accesslog.v3.AccessLog`.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLog {
    /// Where its lines go.
    pub sink: LogSink,
    /// What a line says.
    pub text: LogText,
    /// Which exchanges it tells of; `None`: all.
    pub filter: Option<LogFilter>,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LogSink {
    /// `envoy.extensions.access_loggers.file.v3.FileAccessLog.path`.
    File(String),
    /// `envoy.extensions.access_loggers.stream.v3.StdoutAccessLog`.
    Stdout,
    /// `envoy.extensions.access_loggers.stream.v3.StderrAccessLog`.
    Stderr,
}

impl fmt::Display for LogSink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            LogSink::File(path) => path,
            LogSink::Stdout => "stdout",
            LogSink::Stderr => "stderr",
        })
    }
}

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub enum LogText {
    /// `text_format_source`: as it stands; a line end is the format's own affair.
    Text {
        /// The format.
        format: Format,
        /// `omit_empty_values`: what is absent is nothing instead of `-`.
        omit_empty: bool,
    },
    /// `json_format`: one object and a line end.
    Json {
        /// The object.
        object: JsonNode,
        /// `omit_empty_values`: what is absent, and what is empty without it, is left out instead of `null`.
        omit_empty: bool,
    },
}

impl LogText {
    /// Whether an operator of this kind stands in it.
    pub fn asks_for(&self, kind: impl Fn(&Operator) -> bool) -> bool {
        let mut asks = false;
        self.each_operator(&mut |operator| asks |= kind(operator));
        asks
    }

    /// Gives each operator that stands in it.
    pub fn each_operator(&self, take: &mut dyn FnMut(&Operator)) {
        match self {
            LogText::Text { format, .. } => each_operator(format, take),
            LogText::Json { object, .. } => object.each_operator(take),
        }
    }
}

fn each_operator(format: &Format, take: &mut dyn FnMut(&Operator)) {
    for piece in format.pieces() {
        if let Piece::Value(operator, _) = piece {
            take(operator);
        }
    }
}

impl JsonNode {
    fn each_operator(&self, take: &mut dyn FnMut(&Operator)) {
        match self {
            JsonNode::Null | JsonNode::Literal(_) => {}
            JsonNode::Text(format) => each_operator(format, take),
            JsonNode::Object(members) => members.iter().for_each(|(_, node)| node.each_operator(take)),
            JsonNode::List(items) => items.iter().for_each(|node| node.each_operator(take)),
        }
    }
}

impl LogFilter {
    /// Gives it and each filter within it.
    pub fn each(&self, take: &mut dyn FnMut(&LogFilter)) {
        take(self);
        if let LogFilter::All(filters) | LogFilter::Any(filters) = self {
            filters.iter().for_each(|filter| filter.each(take));
        }
    }
}

/// A value of a JSON format.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonNode {
    /// `null`.
    Null,
    /// A number, `true` or `false`, as it is written.
    Literal(String),
    /// A text; one operator alone keeps its type.
    Text(Format),
    /// Sorted by name, as Envoy writes it.
    Object(Vec<(String, JsonNode)>),
    /// A list.
    List(Vec<JsonNode>),
}

/// `envoy.config.accesslog.v3.AccessLogFilter`.
#[derive(Clone, Debug, PartialEq)]
pub enum LogFilter {
    /// `status_code_filter`.
    Status(Comparison),
    /// `duration_filter`, in milliseconds.
    Duration(Comparison),
    /// `not_health_check_filter`: passes always, since the filter that answers health checks is refused.
    NotHealthCheck,
    /// `response_flag_filter` without flags: any will do.
    AnyFlag,
    /// `response_flag_filter`: one of these.
    Flags(ResponseFlags),
    /// `runtime_filter`.
    Sampled {
        /// `percent_sampled.numerator`.
        numerator: u32,
        /// `percent_sampled.denominator`: 100, 10,000 or 1,000,000.
        denominator: u32,
        /// `use_independent_randomness`: by chance, also where there is an x-request-id to decide by.
        independent: bool,
    },
    /// `header_filter`.
    Header(HeaderMatcher),
    /// `grpc_status_filter`.
    GrpcStatus {
        /// `statuses`, as numbers.
        statuses: Vec<u32>,
        /// `exclude`: all but these.
        exclude: bool,
    },
    /// `and_filter`.
    All(Vec<LogFilter>),
    /// `or_filter`.
    Any(Vec<LogFilter>),
}

/// `envoy.config.accesslog.v3.ComparisonFilter`; the value is its default, since there is no runtime to override it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// How.
    pub op: ComparisonOp,
    /// With what.
    pub value: u32,
}

/// `ComparisonFilter.op`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComparisonOp {
    /// `EQ`
    Equal,
    /// `GE`
    AtLeast,
    /// `LE`
    AtMost,
    /// `NE`
    Unequal,
}

impl Comparison {
    /// Whether `value` passes.
    pub fn passes(self, value: u64) -> bool {
        let other = u64::from(self.value);
        match self.op {
            ComparisonOp::Equal => value == other,
            ComparisonOp::AtLeast => value >= other,
            ComparisonOp::AtMost => value <= other,
            ComparisonOp::Unequal => value != other,
        }
    }
}
