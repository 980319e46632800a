//! `envoy.config.metrics.v3.StatsConfig`.

use ringway_model::{BucketRule, StatsRules, StatsShown, TextMatcher};

use super::{Context, matcher};
use crate::compatibility::refuse_unsupported;
use crate::message::{Item, Message, Value};

/// Bounds of one histogram: as many as bins it has at most.
const BOUNDS_MAX: usize = 820;

pub(super) fn rules(context: &mut Context<'_>, message: &Message) -> Option<StatsRules> {
    refuse_unsupported(message, context.report);
    let shown = context.inside(message, "stats_matcher", shown).unwrap_or_default();
    let buckets = context.each(message, "histogram_bucket_settings", buckets);
    Some(StatsRules { shown, buckets: buckets.into_iter().flatten().collect() })
}

fn shown(context: &mut Context<'_>, message: &Message) -> Option<StatsShown> {
    refuse_unsupported(message, context.report);
    if let Some(rejects) = message.boolean("reject_all") {
        return Some(if rejects { StatsShown::None } else { StatsShown::All });
    }
    let mut list = |name, of: fn(Vec<TextMatcher>) -> StatsShown| {
        context.inside(message, name, |context, list| {
            refuse_unsupported(list, context.report);
            Some(of(context.each(list, "patterns", matcher::text).into_iter().flatten().collect()))
        })
    };
    list("inclusion_list", StatsShown::Only).or_else(|| list("exclusion_list", StatsShown::AllBut))
}

fn buckets(context: &mut Context<'_>, message: &Message) -> Option<BucketRule> {
    refuse_unsupported(message, context.report);
    let mut bounds: Vec<f64> = message
        .items("buckets")
        .iter()
        .map(|Item { value, .. }| match value {
            Value::Double(bound) => *bound,
            other => unreachable!("a list of doubles holds no {other:?}"),
        })
        .collect();
    bounds.sort_by(f64::total_cmp);
    if bounds.len() > BOUNDS_MAX {
        context.problem(message, "buckets", format!("more than {BOUNDS_MAX} bounds"));
    }
    if bounds.is_empty() {
        // Only `bins` could stand for them.
        context.problem(message, "buckets", "no bounds");
    }
    let matcher = context.inside(message, "match", matcher::text)?;
    Some(BucketRule { matcher, bounds })
}
