//! Which part of the load each priority takes, and of which of its endpoints.
//!
//! Envoy's arithmetic, in whole percents: a priority's health is the ratio of its healthy endpoints times the overprovisioning
//! factor, at most 100; load goes to the healthy by priority as far as their health reaches, what is left to the degraded in the same way,
//! and what rounding left to the first that can take any. Where all together cannot take 100, priorities with too few left take load
//! without regard to health: panic. (Envoy docs: "Priority levels", "Degraded endpoints", "Panic threshold".)

use crate::LoadBalancing;

/// What is known of one priority's endpoints.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Level {
    /// All of them.
    pub(super) total: u64,
    /// Those that count for nothing where health is a ratio: draining.
    pub(super) excluded: u64,
    pub(super) healthy: u64,
    pub(super) degraded: u64,
    /// The same as sums of weights.
    pub(super) total_weight: u64,
    pub(super) excluded_weight: u64,
    pub(super) healthy_weight: u64,
    pub(super) degraded_weight: u64,
}

/// Which endpoints of a priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// The healthy.
    Healthy,
    /// The degraded.
    Degraded,
    /// All, whatever their health: panic.
    All,
}

/// A part of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    /// Out of 100.
    pub(super) percent: u32,
    pub(super) priority: usize,
    pub(super) source: Source,
}

/// The parts, in the order in which a number from 1 to 100 is looked up in them; together 100.
pub(super) fn shares(config: &LoadBalancing, levels: &[Level]) -> Vec<Load> {
    let health = |healthy: fn(&Level) -> (u64, u64)| {
        let ratio = |level: &Level| {
            if level.total == level.excluded {
                return 0;
            }
            let (heads, weight) = healthy(level);
            let (part, whole) = match config.weighted_priority_health {
                true => (weight, level.total_weight - level.excluded_weight),
                false => (heads, level.total - level.excluded),
            };
            (u128::from(config.overprovisioning_factor) * u128::from(part) / u128::from(whole)).min(100) as u32
        };
        levels.iter().map(ratio).collect::<Vec<u32>>()
    };
    let healthy = health(|level| (level.healthy, level.healthy_weight));
    let degraded = health(|level| (level.degraded, level.degraded_weight));
    let available = healthy.iter().chain(&degraded).sum::<u32>().min(100);

    let mut left = 100;
    let mut healthy_load = distribute(&healthy, available, &mut left);
    let mut degraded_load = distribute(&degraded, available, &mut left);
    match (healthy.iter().position(|health| *health > 0), degraded.iter().position(|health| *health > 0)) {
        (Some(first), _) => healthy_load[first] += left,
        (None, Some(first)) => degraded_load[first] += left,
        (None, None) => {}
    }

    // With 100 in all a priority is never in panic, however few of its own are left.
    let panics = |level: &Level| {
        let count = level.total - level.excluded;
        let percent = |part: u64| if count == 0 { 0.0 } else { 100.0 * part as f64 / count as f64 };
        available < 100 && percent(level.healthy) + percent(level.degraded) < f64::from(config.panic_threshold)
    };
    let panic: Vec<bool> = levels.iter().map(panics).collect();
    let all: u64 = levels.iter().map(|level| level.total).sum();
    if panic.iter().all(|panic| *panic) && all > 0 {
        // Load by heads alone.
        healthy_load = levels.iter().map(|level| (100 * level.total / all) as u32).collect();
        let first = levels.iter().position(|level| level.total > 0).expect("there is an endpoint");
        healthy_load[first] += 100 - healthy_load.iter().sum::<u32>();
        degraded_load.fill(0);
    }

    let loads = [(healthy_load, Source::Healthy), (degraded_load, Source::Degraded)];
    let load = |(loads, source): (Vec<u32>, Source)| {
        let panic = &panic;
        let each = loads.into_iter().enumerate().map(move |(priority, percent)| {
            let source = if panic[priority] { Source::All } else { source };
            Load { percent, priority, source }
        });
        each.collect::<Vec<Load>>()
    };
    loads.into_iter().flat_map(load).filter(|load| load.percent > 0).collect()
}

/// Of what is `left` to each priority by its health, as far as that reaches.
fn distribute(health: &[u32], available: u32, left: &mut u32) -> Vec<u32> {
    let share = |health: &u32| {
        let load = (*left).min((health * 100).checked_div(available).unwrap_or(0));
        *left -= load;
        load
    };
    health.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each level as healthy/degraded/draining/all; the load as `P0 percent`, `d` for degraded, `!` for panic.
    #[track_caller]
    fn check(levels: &str, config: &LoadBalancing, expect: &str) {
        let level = |text: &str| {
            let counts: Vec<u64> = text.split('/').map(|count| count.parse().expect("a count")).collect();
            let &[healthy, degraded, excluded, total] = &counts[..] else { panic!("{text}") };
            Level { total, excluded, healthy, degraded, ..Level::default() }
        };
        let levels: Vec<Level> = levels.split(' ').map(level).collect();
        let shares = shares(config, &levels);
        let text = |load: &Load| {
            let source = match load.source {
                Source::Healthy => "",
                Source::Degraded => "d",
                Source::All => "!",
            };
            format!("P{}{source} {}", load.priority, load.percent)
        };
        assert_eq!(shares.iter().map(text).collect::<Vec<_>>().join(", "), expect);
        assert!(shares.is_empty() || shares.iter().map(|load| load.percent).sum::<u32>() == 100);
    }

    /// The tables of Envoy's docs ("Priority levels", "Panic threshold", "Degraded endpoints").
    #[test]
    fn load_spills_over_as_envoys_docs_say() {
        let plain = LoadBalancing::default();
        for (levels, expect) in [
            ("100/0/0/100 0/0/0/0", "P0 100"),
            ("72/0/0/100 72/0/0/100", "P0 100"),
            ("71/0/0/100 71/0/0/100", "P0 99, P1 1"),
            ("50/0/0/100 100/0/0/100", "P0 70, P1 30"),
            ("25/0/0/100 100/0/0/100", "P0 35, P1 65"),
            ("0/0/0/100 100/0/0/100", "P1 100"),
            // 35 + 35: normalised, and each has 25 % < 50 %.
            ("25/0/0/100 25/0/0/100", "P0! 50, P1! 50"),
            ("100/0/0/100 100/0/0/100 100/0/0/100", "P0 100"),
            ("25/0/0/100 25/0/0/100 100/0/0/100", "P0 35, P1 35, P2 30"),
            ("25/0/0/100 25/0/0/100 20/0/0/100", "P0! 34, P1! 33, P2! 33"),
            ("72/0/0/100 0/0/0/0", "P0 100"),
            ("5/0/0/100 65/0/0/100", "P0! 8, P1 92"),
            ("0/80/0/100 0/0/0/0", "P0d 100"),
            ("20/80/0/100 0/0/0/0", "P0 28, P0d 72"),
            ("0/0/0/2 0/0/0/1", "P0! 67, P1! 33"),
            ("0/0/0/0 0/0/0/0", ""),
            // Draining ones do not count: 1 healthy of 2, 70, and half of them is no panic.
            ("1/0/2/4", "P0 100"),
            ("1/1/1/5", "P0 50, P0d 50"),
        ] {
            let (levels, expect) = (levels, expect);
            let found = std::panic::catch_unwind(|| check(levels, &plain, expect));
            assert!(found.is_ok(), "{levels}");
        }
    }

    #[test]
    fn the_threshold_and_the_factor_move_panic_and_spilling() {
        let none = LoadBalancing { panic_threshold: 0, ..LoadBalancing::default() };
        check("0/0/0/3", &none, "");
        check("1/0/0/10", &none, "P0 100");
        check("1/0/0/10 0/0/0/10", &none, "P0 100");
        check("25/0/0/100 25/0/0/100 20/0/0/100", &none, "P0 37, P1 35, P2 28");
        let always = LoadBalancing { panic_threshold: 100, ..LoadBalancing::default() };
        check("6/0/0/10", &always, "P0! 100");
        check("9/0/0/10", &always, "P0 100");
        let tight = LoadBalancing { overprovisioning_factor: 100, ..LoadBalancing::default() };
        check("9/0/0/10 10/0/0/10", &tight, "P0 90, P1 10");
    }

    #[test]
    fn health_may_be_that_of_weights() {
        let config = LoadBalancing { weighted_priority_health: true, ..LoadBalancing::default() };
        let level = Level { total: 2, healthy: 1, total_weight: 10, healthy_weight: 1, ..Level::default() };
        let other = Level { total: 1, healthy: 1, total_weight: 1, healthy_weight: 1, ..Level::default() };
        let percents = |config: &LoadBalancing| {
            shares(config, &[level, other]).iter().map(|load| load.percent).collect::<Vec<_>>()
        };
        assert_eq!(percents(&config), [14, 86]);
        assert_eq!(percents(&LoadBalancing::default()), [70, 30]);
    }
}
