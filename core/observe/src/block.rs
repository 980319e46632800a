//! A block: the numbers of one thing on one worker, side by side, with a table of their names.

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
}

/// A struct of [`Counter`](crate::Counter)s and [`Gauge`](crate::Gauge)s that knows their names.
pub trait Block: Default + 'static {
    /// Its numbers, sorted by name.
    fn table() -> &'static [Row<Self>];
}

/// Declares a block: each field is a statistic of the same name.
///
/// Aligned to a cache line, so that two workers' blocks of one thing never share one.
macro_rules! block {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $kind:ident,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        #[repr(align(64))]
        pub struct $name {
            $($(#[$doc])* pub $field: $crate::$kind,)*
        }

        impl $name {
            /// A block of zeros.
            pub fn new() -> std::sync::Arc<Self> {
                std::sync::Arc::default()
            }

            /// Shows each number: its name after the prefix, its kind and its value, sorted by name.
            pub fn rows(&self, visit: &mut dyn FnMut(&'static str, $crate::Kind, u64)) {
                for row in <Self as $crate::Block>::table() {
                    visit(row.name, row.kind, (row.value)(self));
                }
            }
        }

        impl $crate::Block for $name {
            fn table() -> &'static [$crate::Row<Self>] {
                static TABLE: std::sync::LazyLock<Vec<$crate::Row<$name>>> = std::sync::LazyLock::new(|| {
                    let mut rows = vec![$($crate::Row {
                        name: stringify!($field),
                        kind: $crate::Kind::$kind,
                        value: |block: &$name| block.$field.value(),
                    },)*];
                    rows.sort_by_key(|row| row.name);
                    rows
                });
                &TABLE
            }
        }
    };
}
pub(crate) use block;
