//! Token budgets: how much of something a peer may do at once, and how much a second in the long run.
//!
//! They read no clock: `now` is the caller's milliseconds. Invariant: in any time `t`, no more than `burst + per_second * t` is spent.

/// A budget's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// What may be spent at once.
    pub burst: u32,
    /// What comes back each second.
    pub per_second: u32,
}

/// What is left of a budget, in thousandths: what a second gives comes back by the millisecond, and nothing is rounded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    left: u64,
    /// Up to when what came back is in `left`, ms.
    filled: u64,
}

/// Thousandths of one.
const ONE: u64 = 1_000;

impl Budget {
    pub(super) fn new(rate: Rate, now: u64) -> Self {
        Self { left: u64::from(rate.burst) * ONE, filled: now }
    }

    /// Takes one; whether there was one.
    pub(super) fn spend(&mut self, rate: Rate, now: u64) -> bool {
        let back = now.saturating_sub(self.filled).saturating_mul(u64::from(rate.per_second));
        self.left = self.left.saturating_add(back).min(u64::from(rate.burst) * ONE);
        self.filled = self.filled.max(now);
        let has = self.left >= ONE;
        self.left -= if has { ONE } else { 0 };
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_spent_than_burst_and_rate_give() {
        let rate = Rate { burst: 10, per_second: 33 };
        for step in [1, 3, 7, 29, 100, 1_000] {
            let mut budget = Budget::new(rate, 5);
            let mut spent = 0;
            for now in (5..).step_by(step).take(2_000) {
                while budget.spend(rate, now) {
                    spent += 1;
                }
                let most = 10 + (now - 5) * 33 / 1_000;
                assert!(spent <= most, "{spent} at {now}");
                // No token is lost while there is room for it.
                assert!(step > 100 || spent + 1 >= most, "{spent} of {most} at {now}");
            }
        }
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let rate = Rate { burst: 1, per_second: 1_000 };
        let mut budget = Budget::new(rate, 100);
        assert!(
            budget.spend(rate, 100) && !budget.spend(rate, 50) && !budget.spend(rate, 100) && budget.spend(rate, 101)
        );
    }
}
