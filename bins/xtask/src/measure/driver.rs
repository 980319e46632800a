//! Measures of what the command line sets for the loop itself: driver, spin, pinning, workers.

use super::{Stand, Table, Variant, compare};
use crate::lab::proxy::Kind;

/// Ring beside poll.
pub(super) fn io(stand: &Stand) -> Result<Table, String> {
    compare(stand, &[Variant::of(Kind::Ring), Variant::of(Kind::Poll)], &[1, 64])
}

/// How long a worker looks for work before it sleeps.
pub(super) fn spin(stand: &Stand) -> Result<Table, String> {
    let variants: Vec<Variant> = [Kind::Ring, Kind::Poll]
        .into_iter()
        .flat_map(|kind| {
            ["0", "20", "50"]
                .map(|time| Variant::of(kind).with(&format!("{} --spin-us {time}", kind.name()), &["--spin-us", time]))
        })
        .collect();
    compare(stand, &variants, &[1])
}

/// Workers tied to their CPUs, or left to the scheduler.
pub(super) fn pin(stand: &Stand) -> Result<Table, String> {
    let variants = ["off", "on"]
        .map(|pin| Variant::of(Kind::Ring).workers(2).with(&format!("ring, 2 workers, --pin {pin}"), &["--pin", pin]));
    compare(stand, &variants, &[1, 64])
}

/// One worker beside two. Two share their CPUs with load and origin: on a small host this shows the cost, not the gain.
pub(super) fn concurrency(stand: &Stand) -> Result<Table, String> {
    let variants =
        [1, 2].map(|count| Variant::of(Kind::Ring).workers(count).with(&format!("ring, {count} workers"), &[]));
    compare(stand, &variants, &[1, 64])
}
