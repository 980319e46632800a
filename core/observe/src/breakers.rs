//! `cluster.<name>.circuit_breakers.<priority>.`: which limits are reached.
//!
//! Written by the control thread alone, which looks once a second: the way of a request pays nothing for it.

use crate::{Block, Gauge, Kind, Row, Shown};

/// One priority's limits: 1 where nothing is left of it.
#[derive(Debug, Default)]
pub struct PriorityLevels {
    /// `max_connections`
    pub cx_open: Gauge,
    /// `max_requests`
    pub rq_open: Gauge,
    /// `max_pending_requests`
    pub rq_pending_open: Gauge,
    /// `max_retries`, or the retry budget
    pub rq_retry_open: Gauge,
}

/// Those of a cluster.
#[derive(Debug, Default)]
pub struct BreakerStats {
    /// `DEFAULT`
    pub default: PriorityLevels,
    /// `HIGH`; zeros where no request has it.
    pub high: PriorityLevels,
}

impl Block for BreakerStats {
    fn table() -> &'static [Row<Self>] {
        macro_rules! row {
            ($priority:ident, $level:ident) => {
                Row {
                    name: concat!("circuit_breakers.", stringify!($priority), ".", stringify!($level)),
                    kind: Kind::Gauge,
                    value: |block: &BreakerStats| block.$priority.$level.value(),
                    shown: Shown::Always,
                }
            };
        }
        static TABLE: [Row<BreakerStats>; 8] = [
            row!(default, cx_open),
            row!(default, rq_open),
            row!(default, rq_pending_open),
            row!(default, rq_retry_open),
            row!(high, cx_open),
            row!(high, rq_open),
            row!(high, rq_pending_open),
            row!(high, rq_retry_open),
        ];
        &TABLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(BreakerStats::table().is_sorted_by_key(|row| row.name));
    }
}
