//! What becomes of one connection: drawn from its seed, by both ends alike.

use crate::lab::chance::Chance;
use crate::lab::counted::Counted;

/// How bytes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Traffic {
    /// As much as there is, both ways at once.
    Bulk,
    /// Small messages by turns.
    Messages,
}

/// Who.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Origin,
}

impl Side {
    pub(super) fn other(self) -> Side {
        match self {
            Side::Client => Side::Origin,
            Side::Origin => Side::Client,
        }
    }
}

/// What one side sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Direction {
    pub(super) bytes: Counted,
    pub(super) size: u64,
    /// The last so many bytes are sent when the other direction's end has come.
    pub(super) behind_end: u64,
    /// The largest piece that is written at once, and what a read may take.
    pub(super) piece_max: usize,
    pub(super) read_max: usize,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Each side's end comes behind all that it sent.
    Whole,
    /// This side breaks off when it has sent all of its own, and the other has nothing more to say.
    Quiet(Side),
    /// This side breaks off when it has sent all of its own, while the other goes on.
    Busy(Side),
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) up: Direction,
    pub(super) down: Direction,
    pub(super) end: End,
    /// Of small messages.
    pub(super) turns: u32,
}

/// A message of those that go by turns: less than makes the proxy receive in bulk, 16 KiB.
pub(super) const MESSAGE_MAX: usize = 8 << 10;
const TURNS_MAX: usize = 1_500;
/// Sizes of bulk, in bytes: each as likely as the others.
const SIZES: [usize; 7] = [1, 5_000, 60_000, 300_000, 1 << 20, 4 << 20, 16 << 20];
/// Pieces of that, likewise; of less than a MiB they are tiny now and then.
const PIECES: [usize; 4] = [5_000, 70_000, 300_000, 1 << 20];

impl Plan {
    /// Of the connection of this seed.
    pub(super) fn new(seed: u64, traffic: Traffic) -> Plan {
        let mut chance = Chance::new(seed);
        let turns = 1 + chance.below(TURNS_MAX) as u32;
        let end = match chance.below(8) {
            0 => End::Quiet(side(&mut chance)),
            1 => End::Busy(side(&mut chance)),
            _ => End::Whole,
        };
        let [mut up, mut down] = [(); 2].map(|()| match traffic {
            Traffic::Bulk => bulk(&mut chance),
            Traffic::Messages => messages(&mut chance, turns),
        });
        match end {
            // One of the two waits for the other's end, or none does.
            End::Whole if traffic == Traffic::Bulk => {
                let waits = chance.below(3);
                for (direction, waits) in [(&mut up, waits == 1), (&mut down, waits == 2)] {
                    direction.behind_end = if waits { direction.size / 2 } else { 0 };
                }
            }
            End::Quiet(by) if traffic == Traffic::Bulk => {
                // The byte that it leaves unread makes its close a reset.
                let quiet = if by == Side::Client { &mut down } else { &mut up };
                quiet.size = 1;
            }
            _ => {}
        }
        Plan { seed, up, down, end, turns }
    }

    /// What this side sends.
    pub(super) fn of(&self, side: Side) -> &Direction {
        match side {
            Side::Client => &self.up,
            Side::Origin => &self.down,
        }
    }

    /// The sizes of the messages of one turn: there, and back.
    pub(super) fn messages(&self) -> impl Iterator<Item = [usize; 2]> {
        let mut chances = [self.up.bytes.0, self.down.bytes.0].map(Chance::new);
        (0..self.turns).map(move |_| chances.each_mut().map(message))
    }
}

fn side(chance: &mut Chance) -> Side {
    *chance.pick(&[Side::Client, Side::Origin])
}

fn bulk(chance: &mut Chance) -> Direction {
    let bytes = Counted(chance.number());
    let size_max = *chance.pick(&SIZES);
    let size = 1 + chance.below(size_max) as u64;
    let piece_max = if size < 1 << 20 && chance.once_in(2) { 200 } else { *chance.pick(&PIECES) };
    Direction { bytes, size, behind_end: 0, piece_max, read_max: *chance.pick(&PIECES) }
}

fn messages(chance: &mut Chance, turns: u32) -> Direction {
    let bytes = Counted(chance.number());
    let mut sizes = Chance::new(bytes.0);
    let size = (0..turns).map(|_| message(&mut sizes) as u64).sum();
    Direction { bytes, size, behind_end: 0, piece_max: MESSAGE_MAX, read_max: MESSAGE_MAX }
}

fn message(chance: &mut Chance) -> usize {
    1 + chance.below(MESSAGE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_drawn_alike_and_of_all_kinds() {
        for traffic in [Traffic::Bulk, Traffic::Messages] {
            let plans: Vec<Plan> = (0..300).map(|seed| Plan::new(seed, traffic)).collect();
            for (plan, seed) in plans.iter().zip(0..) {
                assert_eq!(*plan, Plan::new(seed, traffic));
                assert!(plan.up.behind_end == 0 || plan.down.behind_end == 0, "both would wait for ever");
                assert!(plan.up.size > 0 && plan.down.size > 0);
                if traffic == Traffic::Messages {
                    assert_eq!(plan.messages().map(|[up, _]| up as u64).sum::<u64>(), plan.up.size);
                }
            }
            for side in [Side::Client, Side::Origin] {
                for end in [End::Whole, End::Quiet(side), End::Busy(side)] {
                    assert!(plans.iter().any(|plan| plan.end == end), "{end:?}");
                }
            }
        }
    }
}
