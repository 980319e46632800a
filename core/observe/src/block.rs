//! A block: the numbers of one thing on one worker, side by side, with tables of their names.

use crate::{Codes, Distribution, Methods};

/// Whether a number only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// One number of a block: its name after the block's prefix, its kind, and how to read it.
#[derive(Debug)]
pub struct Row<B: 'static> {
    /// Envoy's name of the statistic, after the prefix.
    pub name: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// Reads it.
    pub value: fn(&B) -> u64,
    /// Where it is shown.
    pub shown: Shown<B>,
}

/// Where a number is shown.
#[derive(Debug)]
pub enum Shown<B: 'static> {
    /// Under the block's prefix.
    Always,
    /// There, too, once a block of the thing has it.
    Once(fn(&B) -> bool),
    /// Not there, but in a sum over all blocks.
    InSum,
}

/// One histogram of a block.
#[derive(Debug)]
pub struct HistogramRow<B: 'static> {
    /// Envoy's name of the statistic, after the prefix.
    pub name: &'static str,
    /// Adds what the block has of it.
    pub add: fn(&B, &mut Distribution),
    /// Whether it is shown before it has a value. Envoy makes the others when they are first written.
    pub is_always: bool,
}

/// Counts by status of a block: `upstream_rq_completed`, `upstream_rq_2xx` and `upstream_rq_200` and so on, as far as there were any.
#[derive(Debug)]
pub struct CodesRow<B: 'static> {
    /// What stands before `upstream_rq_`: nothing, or `external.`, `internal.` and `retry.`.
    pub prefix: &'static str,
    /// Shows the counts that together are this row.
    pub of: fn(&B, VisitCodes<'_>),
}

/// Is shown counts by status.
pub type VisitCodes<'v> = &'v mut dyn FnMut(&Codes);

/// A struct of [`Counter`](crate::Counter)s and [`Gauge`](crate::Gauge)s that knows their names.
pub trait Block: Default + 'static {
    /// Its numbers, sorted by name.
    fn table() -> &'static [Row<Self>];

    /// Its histograms, sorted by name.
    fn histograms() -> &'static [HistogramRow<Self>] {
        &[]
    }

    /// Its counts by status.
    fn codes() -> &'static [CodesRow<Self>] {
        &[]
    }

    /// The methods of gRPC that it counts apart, if it does.
    fn methods(&self) -> Option<&Methods> {
        None
    }
}

/// Declares a block: each field is a statistic of the same name, and each histogram, too. What it has beside them, it is read by
/// functions of the block's own: `rows`, histograms and counts by status.
///
/// Aligned to a cache line, so that two workers' blocks of one thing never share one.
macro_rules! block {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $kind:ident,)* }
     histograms { $($(#[$histogram_doc:meta])* $histogram:ident,)* }
     beside { $($(#[$beside_doc:meta])* $beside:ident: $beside_type:ty,)* $(=> numbers $numbers:ident)? $(=> histograms $more:ident, codes $codes:ident, methods $methods:ident)? }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        #[repr(align(64))]
        pub struct $name {
            $($(#[$doc])* pub $field: $crate::$kind,)*
            $($(#[$histogram_doc])* pub $histogram: $crate::Histogram,)*
            $($(#[$beside_doc])* pub $beside: $beside_type,)*
        }

        impl $name {
            /// A block of zeros.
            pub fn new() -> std::sync::Arc<Self> {
                std::sync::Arc::default()
            }
        }

        impl $crate::Block for $name {
            fn table() -> &'static [$crate::Row<Self>] {
                static TABLE: std::sync::LazyLock<Vec<$crate::Row<$name>>> = std::sync::LazyLock::new(|| {
                    let mut rows: Vec<$crate::Row<$name>> = vec![$($crate::Row {
                        name: stringify!($field),
                        kind: $crate::Kind::$kind,
                        value: |block: &$name| block.$field.value(),
                        shown: $crate::Shown::Always,
                    },)*];
                    $(rows.extend($numbers());)?
                    rows.sort_by_key(|row| row.name);
                    rows
                });
                &TABLE
            }

            fn histograms() -> &'static [$crate::HistogramRow<Self>] {
                static TABLE: std::sync::LazyLock<Vec<$crate::HistogramRow<$name>>> = std::sync::LazyLock::new(|| {
                    let mut rows: Vec<$crate::HistogramRow<$name>> = vec![$($crate::HistogramRow {
                        name: stringify!($histogram),
                        add: |block: &$name, to: &mut $crate::Distribution| to.add(&block.$histogram),
                        is_always: true,
                    },)*];
                    $(rows.extend($more());)?
                    rows.sort_by_key(|row| row.name);
                    rows
                });
                &TABLE
            }

            $(fn codes() -> &'static [$crate::CodesRow<Self>] {
                $codes()
            }

            fn methods(&self) -> Option<&$crate::Methods> {
                self.$methods.methods()
            })?
        }
    };
}
pub(crate) use block;
