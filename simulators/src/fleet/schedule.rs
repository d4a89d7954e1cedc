//! When doors are left open and when devices break: follows from the seed.

use std::time::Duration;

use super::options::{Doors, FaultKind, Faults, seconds};
use crate::random::Random;

/// Something that happens at a time after the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Incident {
    pub(crate) at: Duration,
    pub(crate) what: What,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum What {
    /// The door of this freezer (from 0) is left open.
    Door { freezer: usize },
    /// This fault of this device of the list of those that may have one.
    Fault { kind: FaultKind, device: usize },
}

/// All door incidents, without end.
pub(crate) fn doors(
    options: &Doors,
    freezers: usize,
    seed: u64,
) -> impl Iterator<Item = Incident> + use<> {
    let mut random = Random::new(seed, "doors");
    let first = usize::try_from(options.first_freezer)
        .unwrap_or(1)
        .saturating_sub(1);
    times(
        options.first_s,
        options.every_s,
        Random::new(seed, "door times"),
    )
    .enumerate()
    .map_while(move |(nth, at)| {
        let freezer = if nth == 0 {
            Some(first).filter(|_| freezers > 0)
        } else {
            random.index(freezers)
        };
        Some(Incident {
            at,
            what: What::Door { freezer: freezer? },
        })
    })
}

/// All faults, without end.
pub(crate) fn faults(
    options: &Faults,
    devices: usize,
    seed: u64,
) -> impl Iterator<Item = Incident> + use<> {
    let mut random = Random::new(seed, "faults");
    let kinds = options.kinds.clone();
    times(
        options.first_s,
        options.every_s,
        Random::new(seed, "fault times"),
    )
    .map_while(move |at| {
        let kind = *kinds.get(random.index(kinds.len())?)?;
        Some(Incident {
            at,
            what: What::Fault {
                kind,
                device: random.index(devices)?,
            },
        })
    })
}

/// `first`, then again after half to one and a half times `every`.
fn times(first_s: f64, every_s: f64, mut random: Random) -> impl Iterator<Item = Duration> {
    let mut next = (first_s >= 0.0).then(|| seconds(first_s));
    std::iter::from_fn(move || {
        let at = next?;
        let pause = seconds(every_s * random.between(0.5, 1.5));
        next = (!pause.is_zero()).then(|| at + pause);
        Some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_door_is_the_one_that_was_asked_for() {
        let options = Doors {
            first_s: 2.5,
            first_freezer: 7,
            ..Doors::default()
        };
        let first = doors(&options, 20, 9).next().unwrap();
        assert_eq!(first.at, Duration::from_millis(2_500));
        assert_eq!(first.what, What::Door { freezer: 6 });
    }

    #[test]
    fn the_seed_decides_the_rest() {
        let plan = |seed| {
            faults(&Faults::default(), 50, seed)
                .take(20)
                .collect::<Vec<_>>()
        };
        assert_eq!(plan(1), plan(1));
        assert_ne!(plan(1), plan(2));
        assert!(plan(1).is_sorted_by_key(|incident| incident.at));
    }

    #[test]
    fn can_be_switched_off() {
        let never = Doors {
            first_s: -1.0,
            ..Doors::default()
        };
        assert_eq!(doors(&never, 20, 1).count(), 0);
        let once = Doors {
            every_s: 0.0,
            ..Doors::default()
        };
        assert_eq!(doors(&once, 20, 1).count(), 1);
        assert_eq!(doors(&Doors::default(), 0, 1).count(), 0);
        let nothing = Faults {
            kinds: vec![],
            ..Faults::default()
        };
        assert_eq!(faults(&nothing, 20, 1).count(), 0);
        assert_eq!(faults(&Faults::default(), 0, 1).count(), 0);
    }
}
