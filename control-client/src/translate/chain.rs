//! `envoy.config.listener.v3.FilterChain`, its match, and what the chains of one listener must not be together.

use std::sync::Arc;
use std::time::Duration;

use ringway_model::{
    ChainId, ChainIndex, ChainProblem, Cidr, FilterChain, FilterChainMatch, HANDSHAKE_TIMEOUT, ServerNames, SourceType,
};

use super::{Context, cidr, network_filter, transport};
use crate::compatibility::refuse_unsupported;
use crate::message::{Message, Value};

const MATCH: &str = "filter_chain_match";

/// `filter_chains`; `None` for one that has a problem.
pub(super) fn chains(context: &mut Context<'_>, message: &Message) -> Vec<Option<Arc<FilterChain>>> {
    context.each(message, "filter_chains", |context, message| {
        // Read whatever becomes of the rest, so that all problems are said.
        let matching = match message.get(MATCH) {
            Some(_) => context.inside(message, MATCH, matching),
            None => Some(FilterChainMatch::default()),
        };
        let chain = chain(context, message);
        Some(Arc::new(FilterChain { matches: matching?, ..chain? }))
    })
}

/// `default_filter_chain`. Its match plays no part, in Envoy, too.
pub(super) fn default_chain(context: &mut Context<'_>, message: &Message) -> Option<Arc<FilterChain>> {
    context.inside(message, MATCH, matching);
    chain(context, message).map(Arc::new)
}

/// The index of a listener's chains; each pair of them that some connection could not tell apart is a problem of the later one.
pub(super) fn index(context: &mut Context<'_>, message: &Message, chains: &[Arc<FilterChain>]) -> Option<ChainIndex> {
    let problems = match ChainIndex::new(chains.iter().map(|chain| &chain.matches)) {
        Ok(index) => return Some(index),
        Err(problems) => problems,
    };
    let listed: Vec<&Message> = message.messages("filter_chains").collect();
    context.field("filter_chains", |context| {
        for problem in problems {
            let (at, rule) = match problem {
                // Envoy: "multiple filter chains with overlapping matching rules are defined".
                ChainProblem::Conflict { first, second } if first == second => {
                    (second, "one of its entries stands there twice".to_owned())
                }
                ChainProblem::Conflict { first, second } => {
                    (second, format!("overlaps with the match of filter_chains[{first}]: a connection may have both"))
                }
                ChainProblem::TooLarge { chain } => {
                    (chain, "has more combinations of its lists than are supported for a listener: 262144".to_owned())
                }
            };
            let size = context.report.enter_item(at);
            context.problem(listed[at], MATCH, rule);
            context.report.leave(size);
        }
    });
    None
}

/// All but its match.
fn chain(context: &mut Context<'_>, message: &Message) -> Option<FilterChain> {
    refuse_unsupported(message, context.report);
    let transport = transport::downstream(context, message);
    let (before, filter) = network_filter::filters(context, message)?;
    let handshake = message.duration("transport_socket_connect_timeout");
    Some(FilterChain {
        id: ChainId(0),
        name: message.text("name").to_owned(),
        matches: FilterChainMatch::default(),
        transport: transport?,
        // Nothing waits without end: docs/LIMITS.md.
        handshake_timeout: handshake.filter(|timeout| *timeout > Duration::ZERO).unwrap_or(HANDSHAKE_TIMEOUT),
        before,
        filter,
    })
}

/// `FilterChainMatch`.
fn matching(context: &mut Context<'_>, message: &Message) -> Option<FilterChainMatch> {
    refuse_unsupported(message, context.report);
    let mut ranges = |name| -> Option<Vec<Cidr>> { context.each(message, name, cidr).into_iter().collect() };
    let prefix_ranges = ranges("prefix_ranges");
    let direct_source_prefix_ranges = ranges("direct_source_prefix_ranges");
    let source_prefix_ranges = ranges("source_prefix_ranges");
    let server_names = server_names(context, message);
    Some(FilterChainMatch {
        destination_port: message.uint("destination_port").and_then(|port| u16::try_from(port).ok()),
        prefix_ranges: prefix_ranges?,
        server_names: server_names?,
        transport_protocol: message.text("transport_protocol").to_owned(),
        application_protocols: message.texts("application_protocols").map(str::to_owned).collect(),
        direct_source_prefix_ranges: direct_source_prefix_ranges?,
        source_type: match message.number("source_type") {
            1 => SourceType::SameIpOrLoopback,
            2 => SourceType::External,
            _ => SourceType::Any,
        },
        source_prefix_ranges: source_prefix_ranges?,
        source_ports: numbers(message, "source_ports").collect(),
    })
}

fn server_names(context: &mut Context<'_>, message: &Message) -> Option<Vec<ServerNames>> {
    context.field("server_names", |context| {
        let read = message.texts("server_names").enumerate().map(|(at, text)| {
            let names = ServerNames::parse(text);
            if names.is_none() {
                let size = context.report.enter_item(at);
                // Envoy's words.
                let rule = "partial wildcards are not supported in \"server_names\"";
                context.report.problem(message.items("server_names")[at].place, rule);
                context.report.leave(size);
            }
            names
        });
        let read: Vec<Option<ServerNames>> = read.collect();
        read.into_iter().collect()
    })
}

/// The ports of a list, whose range the schema bounds.
fn numbers<'m>(message: &'m Message, name: &str) -> impl Iterator<Item = u16> + use<'m> {
    message.items(name).iter().filter_map(|item| match &item.value {
        Value::Uint(number) => u16::try_from(*number).ok(),
        other => unreachable!("a list of numbers holds no {other:?}"),
    })
}
