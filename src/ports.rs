//! Ports for parts that are started again where they were.

use std::hash::BuildHasher as _;

/// Ports to try, in an order of chance. They lie below those that systems give to outgoing
/// connections, so that no such connection holds the port of a part that is being restarted.
pub(crate) fn lasting() -> impl Iterator<Item = u16> {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 10_000;
    let chance = std::hash::RandomState::new().hash_one(FIRST) % u64::from(COUNT);
    let start = u16::try_from(chance).unwrap_or(0);
    (0..COUNT).map(move |step| FIRST + (start + step) % COUNT)
}
