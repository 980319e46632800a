//! Field blocks, one after another on one connection.

use crate::error::Rule;
use crate::hpack::{Decoder, Encoder, Field, FieldList, ListLimits};

/// A reader under test, and a writer and a reader of our own behind it. Keeps what it uses again.
#[derive(Default)]
pub struct Blocks {
    list: FieldList,
    back: FieldList,
    block: Vec<u8>,
}

const TABLE_BYTES: usize = 200;
const LIMITS: ListLimits = ListLimits { size_max: 1500, fields_max: 30 };

impl Blocks {
    /// `input` is blocks, each behind a byte that says its length. Gives how many fields were read, and what stopped it.
    ///
    /// What must hold: a list stays within its limits, a table within its size, and what was read comes back from our own bytes.
    pub fn play(&mut self, input: &[u8]) -> (usize, Option<Rule>) {
        let (mut decoder, mut encoder, mut again) =
            (Decoder::new(TABLE_BYTES), Encoder::new(TABLE_BYTES), Decoder::new(Encoder::TABLE_BYTES));
        let (mut rest, mut fields) = (input, 0);
        while let Some((&len, after)) = rest.split_first() {
            let (block, after) = after.split_at(usize::from(len).min(after.len()));
            rest = after;
            if let Err(error) = decoder.decode(block, &LIMITS, &mut self.list) {
                return (fields, Some(error.rule));
            }
            fields += self.list.len();
            // An entry costs 32 bytes beside its own, a line 4.
            let size = self.list.lines().len() + (32 - 4) * self.list.len();
            assert!(self.list.len() <= LIMITS.fields_max && size <= LIMITS.size_max);
            assert!(self.list.is_too_large() || self.list.size() == size);
            assert!(decoder.memory() <= 4 * TABLE_BYTES, "{}", decoder.memory());
            if len == 0 {
                encoder.shrink();
            }
            self.block.clear();
            encoder.begin(&mut self.block);
            self.list.iter().for_each(|field: Field<'_>| encoder.field(field, &mut self.block));
            let read = again.decode(&self.block, &LIMITS, &mut self.back);
            assert!(read.is_ok(), "what we write can be read: {read:?}");
            assert!(self.list.iter().map(pair).eq(self.back.iter().map(pair)), "and says the same");
        }
        (fields, None)
    }
}

fn pair(field: Field<'_>) -> (&[u8], &[u8]) {
    (field.name, field.value)
}
