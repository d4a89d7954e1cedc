//! Which series a commit seals.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::Options;
use crate::series::head::Heads;
use crate::series::names::{Key, Known, Owner};
use crate::series::tail::Group;

/// The series to seal: those that hold old tail rows or are full, each with those of its device
/// that are nearly as full, so that they can keep their times in common; as many as a commit may
/// seal. And without that limit what is beyond twice a bound: then the commit takes long, which
/// holds the pipeline back.
///
/// `groups` are the commit's points, `new` the names that became known by them.
pub(super) fn due(
    heads: &Heads,
    groups: &[Group],
    new: &[(Key, Known)],
    options: &Options,
) -> Vec<i64> {
    let (tails, points) = (options.max_tail_rows, options.max_unsealed_points);
    let max = options.max_seals_per_commit;
    let mut due = Due {
        heads,
        new,
        added: groups
            .iter()
            .map(|group| (group.series, group.points.len()))
            .collect(),
        chosen: HashSet::new(),
        order: Vec::new(),
    };
    if heads.tails() > 2 * tails || heads.points() > 2 * points {
        for series in heads.overdue(2 * tails, 2 * points, usize::MAX) {
            due.choose(series);
        }
    }
    for series in heads.overdue(tails, points, max) {
        due.choose_with_company(series, max);
    }
    for group in groups {
        let points = due.points_of(group.series);
        if points >= 2 * options.chunk_points {
            due.choose(group.series);
        } else if points >= options.chunk_points {
            due.choose_with_company(group.series, max);
        }
    }
    due.order
}

struct Due<'a> {
    heads: &'a Heads,
    new: &'a [(Key, Known)],
    /// Points of the commit by series.
    added: HashMap<i64, usize>,
    chosen: HashSet<i64>,
    order: Vec<i64>,
}

impl Due<'_> {
    fn points_of(&self, series: i64) -> usize {
        self.heads.len_of(series) + self.added.get(&series).copied().unwrap_or(0)
    }

    fn choose(&mut self, series: i64) {
        if self.chosen.insert(series) {
            self.order.push(series);
        }
    }

    /// Chooses a series and its company, if they are within `max`; else a later commit may. A
    /// company that alone is more than that is divided.
    fn choose_with_company(&mut self, series: i64, max: usize) {
        if self.chosen.contains(&series) || self.order.len() >= max {
            return;
        }
        let room = max - self.order.len();
        let mut company = self.company(series);
        if 1 + company.len() > room && !self.order.is_empty() {
            return;
        }
        company.truncate(room - 1);
        self.choose(series);
        for one in company {
            self.choose(one);
        }
    }

    /// The other series of the device that are at least three quarters as full. One that is less
    /// so would get a chunk that is soon written again.
    fn company(&self, series: i64) -> Vec<i64> {
        let Some(owner) = self.owner(series) else {
            return Vec::new();
        };
        let of_new = self.new.iter().filter(|(key, _)| key.owner() == owner);
        let known: BTreeSet<i64> = self
            .heads
            .names()
            .of(&owner)
            .chain(of_new.map(|(_, known)| known.series))
            .collect();
        let points = self.points_of(series);
        let others = known.into_iter().filter(|one| {
            *one != series && !self.chosen.contains(one) && 4 * self.points_of(*one) >= 3 * points
        });
        others.collect()
    }

    fn owner(&self, series: i64) -> Option<Owner> {
        let known = self.heads.names().owner(series);
        known.map(|owner| (*owner).clone()).or_else(|| {
            let new = self.new.iter().find(|(_, known)| known.series == series);
            new.map(|(key, _)| key.owner())
        })
    }
}

#[cfg(test)]
mod tests {
    use stencil_protocol::id::{DeviceId, TenantId};
    use stencil_protocol::sample::OwnedValue;

    use super::*;
    use crate::SeriesPoint;
    use crate::series::head::Change;

    fn named(series: i64, device: &str) -> (Key, Known) {
        let key = Key {
            tenant: TenantId::parse("acme").unwrap(),
            device: DeviceId::parse(device).unwrap(),
            name: format!("s{series}"),
        };
        (key, Known { series, unit: None })
    }

    fn group(series: i64, points: i64) -> Group {
        let points = (0..points)
            .map(|time_us| SeriesPoint {
                time_us,
                value: OwnedValue::Bool(true),
            })
            .collect();
        Group { series, points }
    }

    /// Two devices `a` and `b` with series 1 to 3 and 4 to 6, of so many points each.
    fn heads(points: [i64; 6]) -> Heads {
        let mut heads = Heads::new(0, 0);
        let known = (1..).zip(["a", "a", "a", "b", "b", "b"]);
        heads.apply(Change {
            known: known
                .map(|(series, device)| named(series, device))
                .collect(),
            groups: (1..)
                .zip(points)
                .map(|(series, n)| group(series, n))
                .collect(),
            tail: 1,
            newest_series: 6,
            ..Change::default()
        });
        heads
    }

    fn options(max: usize) -> Options {
        Options {
            chunk_points: 100,
            max_seals_per_commit: max,
            ..Options::default()
        }
    }

    #[test]
    fn a_full_series_takes_those_of_its_device_along_that_are_nearly_full() {
        let heads = heads([99, 80, 60, 99, 99, 99]);
        // Number 1 becomes full; the other device waits until one of its own does.
        assert_eq!(due(&heads, &[group(1, 1)], &[], &options(8)), [1, 2]);
        assert_eq!(
            due(&heads, &[group(1, 1), group(5, 1)], &[], &options(8)),
            [1, 2, 5, 4, 6]
        );
        // No room for the second device: it is whole in a later commit.
        assert_eq!(
            due(&heads, &[group(1, 1), group(5, 1)], &[], &options(4)),
            [1, 2]
        );
        // A device that is larger than the bound is divided.
        assert_eq!(due(&heads, &[group(5, 1)], &[], &options(2)), [5, 4]);
        assert_eq!(due(&heads, &[group(1, 0)], &[], &options(8)), [0_i64; 0]);
    }

    #[test]
    fn series_that_are_new_belong_together_too() {
        let heads = heads([0; 6]);
        let new = [named(7, "c"), named(8, "c"), named(9, "a")];
        let groups = [group(7, 100), group(8, 99), group(9, 99)];
        assert_eq!(due(&heads, &groups, &new, &options(8)), [7, 8]);
    }

    #[test]
    fn what_is_twice_full_does_not_wait() {
        let heads = heads([150, 150, 150, 150, 150, 150]);
        let groups = [group(1, 1), group(4, 50), group(5, 50), group(6, 50)];
        assert_eq!(due(&heads, &groups, &[], &options(1)), [1, 4, 5, 6]);
    }
}
