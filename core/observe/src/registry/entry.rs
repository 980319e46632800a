//! One name's numbers: summed over its blocks, less what they were at the last reset.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::methods::{MethodCounts, MethodOf, Methods};
use crate::{Block, CodesRow, Kind, Row, Shown};

/// One name and its blocks, one per worker and sometimes more.
#[derive(Debug)]
pub(crate) struct Entry<B> {
    pub(crate) name: Arc<str>,
    pub(crate) blocks: Arc<[Arc<B>]>,
    pub(super) base: Option<Arc<Base>>,
}

/// What counters were when they were reset last, by block.
#[derive(Debug)]
pub(super) struct Base(Vec<BlockBase>);

#[derive(Debug, Default)]
struct BlockBase {
    /// In the order of the block's table.
    counters: Vec<u64>,
    /// In the order of the block's counts by status.
    codes: Vec<Vec<(u16, u64)>>,
    /// By method, in the order of its rows.
    methods: MethodCounts,
}

impl Base {
    /// Of these blocks alone, without what their counts by status and method were; `None` where one of them is younger.
    pub(super) fn counters_of(&self, blocks: Range<usize>) -> Option<Base> {
        let blocks = self.0.get(blocks)?.iter();
        let of = |base: &BlockBase| BlockBase { counters: base.counters.clone(), ..BlockBase::default() };
        Some(Base(blocks.map(of).collect()))
    }
}

impl<B: Block> Entry<B> {
    /// The number of this row of one block.
    pub(crate) fn value_of(&self, block: usize, row: usize) -> u64 {
        let Row { kind, value, .. } = &B::table()[row];
        let value = value(&self.blocks[block]);
        match (kind, self.base_of(block)) {
            (Kind::Counter, Some(base)) => value.saturating_sub(base.counters[row]),
            _ => value,
        }
    }

    /// Whether this row of the table is shown under the entry's name.
    pub(crate) fn shows(&self, row: usize) -> bool {
        match &B::table()[row].shown {
            Shown::Always => true,
            Shown::Once(has) => self.blocks.iter().any(|block| has(block)),
            Shown::InSum => false,
        }
    }

    /// The number of this row of the table, of all blocks together.
    pub(crate) fn value(&self, row: usize) -> u64 {
        (0..self.blocks.len()).fold(0u64, |sum, block| sum.wrapping_add(self.value_of(block, row)))
    }

    /// The counts by status of this row, of all blocks together, sorted; those of zero left out.
    pub(crate) fn codes(&self, row: usize, sums: &mut Vec<(u16, u64)>) {
        sums.clear();
        let CodesRow { of, .. } = &B::codes()[row];
        self.blocks.iter().for_each(|block| of(block, &mut |codes| codes.add_to(sums)));
        for base in self.base.iter().flat_map(|base| &base.0) {
            for (code, before) in &base.codes[row] {
                if let Ok(at) = sums.binary_search_by_key(code, |sum| sum.0) {
                    sums[at].1 = sums[at].1.saturating_sub(*before);
                }
            }
        }
        sums.retain(|sum| sum.1 > 0);
    }

    /// The methods of gRPC that are counted apart, by their whole names.
    pub(crate) fn methods(&self) -> BTreeMap<String, MethodOf<'_>> {
        let tables = self.blocks.iter().enumerate().filter_map(|(at, block)| {
            let methods = block.methods()?;
            Some((methods, self.base_of(at).map(|base| &base.methods)))
        });
        MethodOf::all(tables)
    }

    /// What is taken off this block's counters.
    fn base_of(&self, block: usize) -> Option<&BlockBase> {
        self.base.as_ref()?.0.get(block)
    }

    pub(super) fn base(&self) -> Base {
        let of = |block: &Arc<B>| BlockBase {
            counters: B::table().iter().map(|row| (row.value)(block)).collect(),
            codes: B::codes()
                .iter()
                .map(|row| {
                    let mut sums = Vec::new();
                    (row.of)(block, &mut |codes| codes.add_to(&mut sums));
                    sums
                })
                .collect(),
            methods: block.methods().map(Methods::counts).unwrap_or_default(),
        };
        Base(self.blocks.iter().map(of).collect())
    }
}
