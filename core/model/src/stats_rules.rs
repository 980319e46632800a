//! Which statistics are shown, and the bounds that histograms are counted up to.

use crate::{RegexCaches, TextMatcher};

/// `envoy.config.metrics.v3.StatsConfig`, as far as it is acted upon.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatsRules {
    /// `stats_matcher`.
    pub shown: StatsShown,
    /// `histogram_bucket_settings`, the first of those that match counts.
    pub buckets: Vec<BucketRule>,
}

/// `envoy.config.metrics.v3.StatsMatcher`. Envoy does not make what is not shown; Ringway counts it and keeps it to itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum StatsShown {
    /// No matcher, or `reject_all: false`.
    #[default]
    All,
    /// `reject_all: true`.
    None,
    /// `inclusion_list`: what one of these matches.
    Only(Vec<TextMatcher>),
    /// `exclusion_list`: what none of these matches.
    AllBut(Vec<TextMatcher>),
}

/// `envoy.config.metrics.v3.HistogramBucketSettings`.
#[derive(Clone, Debug, PartialEq)]
pub struct BucketRule {
    /// `match`: the histograms' whole names.
    pub matcher: TextMatcher,
    /// `buckets`, growing.
    pub bounds: Vec<f64>,
}

impl StatsRules {
    /// Whether the statistic of this whole name is shown.
    pub fn shows(&self, name: &str, caches: &mut RegexCaches) -> bool {
        let mut any =
            |matchers: &[TextMatcher]| matchers.iter().any(|matcher| matcher.matches(name.as_bytes(), caches));
        match &self.shown {
            StatsShown::All => true,
            StatsShown::None => false,
            StatsShown::Only(matchers) => any(matchers),
            StatsShown::AllBut(matchers) => !any(matchers),
        }
    }

    /// The bounds of the histogram of this whole name; `None`: the usual ones.
    pub fn bounds(&self, name: &str, caches: &mut RegexCaches) -> Option<&[f64]> {
        let rule = self.buckets.iter().find(|rule| rule.matcher.matches(name.as_bytes(), caches))?;
        Some(&rule.bounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TextPattern;

    fn prefix(text: &str) -> TextMatcher {
        TextMatcher { pattern: TextPattern::Prefix(text.into()), ignore_case: false }
    }

    #[test]
    fn lists_say_what_is_shown() {
        let lists = |of: fn(Vec<TextMatcher>) -> StatsShown| of(vec![prefix("cluster.a."), prefix("server.")]);
        for (shown, expect) in [
            (StatsShown::All, [true, true, true]),
            (StatsShown::None, [false, false, false]),
            (lists(StatsShown::Only), [true, false, true]),
            (lists(StatsShown::AllBut), [false, true, false]),
            (StatsShown::Only(vec![]), [false, false, false]),
        ] {
            let rules = StatsRules { shown, buckets: vec![] };
            let mut caches = RegexCaches::default();
            let found = ["cluster.a.x", "cluster.b.x", "server.live"].map(|name| rules.shows(name, &mut caches));
            assert_eq!(found, expect, "{rules:?}");
        }
    }

    #[test]
    fn the_first_rule_that_matches_gives_the_bounds() {
        let rule = |text: &str, bound: f64| BucketRule { matcher: prefix(text), bounds: vec![bound] };
        let rules = StatsRules { shown: StatsShown::All, buckets: vec![rule("http.a", 1.0), rule("http.", 2.0)] };
        let mut caches = RegexCaches::default();
        let found = ["http.ab", "http.b", "cluster."].map(|name| rules.bounds(name, &mut caches).map(<[f64]>::to_vec));
        assert_eq!(found, [Some(vec![1.0]), Some(vec![2.0]), None]);
    }
}
