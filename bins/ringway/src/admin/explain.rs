//! `/explain`: which way a request would take through the configuration in force, and who is held back. Ringway's own.
//!
//! The engine says which way ([`ringway_engine::explain`]); here the question is read from the query, and the answer written as text or JSON. It is
//! made on this thread from the view in force; the control thread is asked only who waits.

mod held_back;
mod question;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use ringway_engine::{ClusterStep, End, Explanation, Question, explain as explained};
use serde_json::{Value, json};

use self::held_back::HeldBack;
use super::Context;
use super::http::{Request, Response};
use crate::state::View;

/// Endpoints of a cluster that the text shows; JSON has all.
const ENDPOINTS_SHOWN: usize = 20;
/// Lines about who is held back that the text shows; JSON has all.
const HELD_BACK_SHOWN: usize = 20;

/// `/explain`.
pub(super) fn explain(context: &Context, request: &Request) -> Response {
    let question = match question::read(&request.query) {
        Ok(question) => question,
        Err(why) => return Response::text(400, format!("{why}\n")),
    };
    let view = context.state.view();
    let Some(dynamic) = super::process::dynamic(context) else { return super::process::busy() };
    let explanation = match explained(&view.snapshot.clone().unwrap_or_default(), &view.listeners, &question) {
        Ok(explanation) => explanation,
        Err(why) => return Response::text(400, format!("{why}\n")),
    };
    let held_back = held_back::of(&dynamic, view.rejection.as_ref(), &explanation);
    match request.parameter("format") {
        Some("json") => Response::json(&as_json(&view, &question, &explanation, &held_back)),
        _ => Response::text(200, as_text(&view, &question, &explanation, &held_back)),
    }
}

fn generation(view: &View) -> u64 {
    view.snapshot.as_ref().map_or(0, |snapshot| snapshot.generation)
}

fn as_text(view: &View, question: &Question, explanation: &Explanation, held_back: &[HeldBack]) -> String {
    let Question { method, authority, path, .. } = question;
    let mut out = format!("{method} {authority}{path}, in generation {}\n", generation(view));
    let mut line = |indent: &str, noun: &str, name: &str, notes: &[String]| {
        let name = if name.is_empty() { String::new() } else { format!(" {name:?}") };
        let colon = if notes.is_empty() { "" } else { ": " };
        let _ = writeln!(out, "{indent}{noun}{name}{colon}{}", notes.join("; "));
    };
    for step in &explanation.steps {
        line("  ", step.noun, &step.name, &step.notes);
    }
    for cluster in &explanation.clusters {
        let weight = cluster.weight.map(|(weight, total)| format!("weight {weight} of {total}"));
        let notes: Vec<String> = weight.into_iter().chain(cluster.notes.iter().cloned()).collect();
        line("  ", "cluster", &cluster.name, &notes);
        for endpoint in cluster.endpoints.iter().take(ENDPOINTS_SHOWN) {
            let mut notes = vec![
                endpoint.health.name().to_owned(),
                format!("weight {}", endpoint.weight),
                format!("priority {}", endpoint.priority),
            ];
            notes.extend((!endpoint.locality.is_empty()).then(|| format!("locality {}", endpoint.locality)));
            notes.push(match endpoint.percent {
                0 => "not picked".into(),
                100 => "may be picked".into(),
                percent => format!("may be picked by {percent} of 100 requests"),
            });
            line("    ", &format!("endpoint {}", endpoint.address), "", &[notes.join(", ")]);
        }
        let more = cluster.endpoints.len().saturating_sub(ENDPOINTS_SHOWN);
        if more > 0 {
            line("    ", &format!("and {more} more endpoints"), "", &[]);
        }
        if explanation.end == End::ByCluster {
            line("    ", &format!("=> {}", end_text(&cluster.end)), "", &[]);
        }
    }
    let _ = writeln!(out, "=> {}", end_text(&explanation.end));
    if !held_back.is_empty() {
        out.push_str("held back:\n");
    }
    for held in held_back.iter().take(HELD_BACK_SHOWN) {
        let mark = if held.is_on_way { " (on the way of this request)" } else { "" };
        let _ = writeln!(out, "  {}{mark}: {}", held.who, held.why);
    }
    let more = held_back.len().saturating_sub(HELD_BACK_SHOWN);
    if more > 0 {
        let _ = writeln!(out, "  and {more} more");
    }
    out
}

fn end_text(end: &End) -> String {
    match end {
        End::Forwarded => "forwarded".into(),
        End::ByCluster => "as its cluster says".into(),
        End::Answered { status, flag, why } => {
            let flag = flag.map_or_else(String::new, |flag| format!(" {}", flag.short()));
            format!("answered {status}{flag}: {why}")
        }
        End::Closed { why } => format!("the connection is closed: {why}"),
    }
}

fn as_json(view: &View, question: &Question, explanation: &Explanation, held_back: &[HeldBack]) -> Value {
    let steps =
        explanation.steps.iter().map(|step| json!({ "step": step.noun, "name": step.name, "notes": step.notes }));
    let held = held_back.iter().map(|held| json!({ "who": held.who, "why": held.why, "on_the_way": held.is_on_way }));
    json!({
        "generation": generation(view),
        "method": question.method,
        "authority": question.authority,
        "path": question.path,
        "steps": steps.collect::<Vec<_>>(),
        "clusters": explanation.clusters.iter().map(cluster_json).collect::<Vec<_>>(),
        "end": end_json(&explanation.end),
        "held_back": held.collect::<Vec<_>>(),
    })
}

fn cluster_json(cluster: &ClusterStep) -> Value {
    let endpoints = cluster.endpoints.iter().map(|endpoint| {
        json!({
            "address": endpoint.address.to_string(),
            "health_status": endpoint.health.name(),
            "weight": endpoint.weight,
            "priority": endpoint.priority,
            "locality": endpoint.locality,
            "percent": endpoint.percent,
        })
    });
    json!({
        "name": cluster.name,
        "weight": cluster.weight.map(|(weight, _)| weight),
        "total_weight": cluster.weight.map(|(_, total)| total),
        "notes": cluster.notes,
        "endpoints": endpoints.collect::<Vec<_>>(),
        "end": end_json(&cluster.end),
    })
}

fn end_json(end: &End) -> Value {
    match end {
        End::Forwarded => json!({ "kind": "forwarded" }),
        End::ByCluster => json!({ "kind": "by_cluster" }),
        End::Answered { status, flag, why } => {
            json!({ "kind": "answered", "status": status, "flag": flag.map(|flag| flag.short()), "why": why })
        }
        End::Closed { why } => json!({ "kind": "closed", "why": why }),
    }
}
