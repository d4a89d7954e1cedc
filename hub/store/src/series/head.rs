//! Heads: the points of each series that are not in chunks yet, in memory, and
//! which tail rows they come from.
//!
//! A head says the same as the tail rows of the database; it is only faster to
//! read. What a commit does to the heads is therefore applied after the commit's
//! transaction has succeeded, never before.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use stencil_protocol::id::TenantId;

use super::names::{Key, Known, Names};
use super::seal;
use super::tail::Group;
use crate::SeriesPoint;

/// The unsealed points of one series.
#[derive(Debug, Default)]
pub(crate) struct Head {
    /// Strictly by time.
    points: Vec<SeriesPoint>,
    /// The tail rows that hold them.
    tails: Vec<i64>,
}

/// All heads.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    names: Names,
    heads: HashMap<i64, Head>,
    /// For each tail row the series that still need it.
    open: BTreeMap<i64, BTreeSet<i64>>,
    points: usize,
    /// The number of the newest tail row.
    tail: i64,
    /// The highest number given to a series.
    newest_series: i64,
}

/// What a commit changes in the heads, worked out before and applied after its
/// transaction.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// Series that became known.
    pub(crate) known: Vec<(Key, Known)>,
    /// The commit's points.
    pub(crate) groups: Vec<Group>,
    /// Series that are sealed up to and including this commit.
    pub(crate) sealed: Vec<i64>,
    /// Series that are erased.
    pub(crate) erased: HashSet<i64>,
    /// The number of this commit's tail row.
    pub(crate) tail: i64,
    /// The highest number given to a series.
    pub(crate) newest_series: i64,
}

impl Heads {
    /// Empty heads that go on after the given tail row and series.
    pub(crate) fn new(tail: i64, newest_series: i64) -> Self {
        Self {
            tail,
            newest_series,
            ..Self::default()
        }
    }

    /// Takes a group of a stored tail row, in the order of the rows.
    pub(crate) fn restore(&mut self, tail: i64, group: Group) {
        self.add(tail, group);
    }

    /// Remembers what a series is called.
    pub(crate) fn learn(&mut self, key: Key, known: Known) {
        self.names.learn(key, known);
    }

    /// Which series there are; all of those that have unsealed points are known.
    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    pub(crate) fn tail(&self) -> i64 {
        self.tail
    }

    pub(crate) fn newest_series(&self) -> i64 {
        self.newest_series
    }

    /// How many points are unsealed.
    pub(crate) fn points(&self) -> usize {
        self.points
    }

    /// How many tail rows are needed.
    pub(crate) fn tails(&self) -> usize {
        self.open.len()
    }

    /// How many points of one series are unsealed.
    pub(crate) fn len_of(&self, series: i64) -> usize {
        self.heads.get(&series).map_or(0, |head| head.points.len())
    }

    /// The first `limit` unsealed points of a series with `from_us <= time < to_us`, and the number of
    /// the newest tail row that holds some of the series: when it is sealed through that, all of them
    /// are in chunks.
    pub(crate) fn range(
        &self,
        series: i64,
        from_us: i64,
        to_us: i64,
        limit: usize,
    ) -> (Vec<SeriesPoint>, i64) {
        let Some(head) = self.heads.get(&series) else {
            return (Vec::new(), 0);
        };
        let newest = head.tails.last().copied().unwrap_or(0);
        if from_us >= to_us {
            return (Vec::new(), newest);
        }
        let from = head.points.partition_point(|point| point.time_us < from_us);
        let found = head.points.iter().skip(from).take(limit);
        let found = found.take_while(|point| point.time_us < to_us);
        (found.cloned().collect(), newest)
    }

    pub(crate) fn contains(&self, series: i64, time_us: i64) -> bool {
        self.heads.get(&series).is_some_and(|head| {
            head.points
                .binary_search_by_key(&time_us, |point| point.time_us)
                .is_ok()
        })
    }

    /// All unsealed points of a series with those of `new` (strictly by time) put over them.
    pub(crate) fn with(&self, series: i64, new: Vec<SeriesPoint>) -> Vec<SeriesPoint> {
        match self.heads.get(&series) {
            Some(head) => seal::merge(head.points.clone(), new),
            None => new,
        }
    }

    /// Up to `limit` series of a tenant of which an unsealed point is older than `before_us`.
    pub(crate) fn older(&self, tenant: &TenantId, before_us: i64, limit: usize) -> Vec<i64> {
        let is_older = |series: &i64| {
            let head = self.heads.get(series);
            head.and_then(|head| head.points.first())
                .is_some_and(|point| point.time_us < before_us)
        };
        let of_tenant = self.names.of_tenant(tenant);
        of_tenant.filter(is_older).take(limit).collect()
    }

    /// Series that hold the oldest tail rows: those older than `keep_tails` rows
    /// and, while more than `keep_points` points are unsealed, the next older
    /// ones. At most `limit` of them.
    pub(crate) fn overdue(&self, keep_tails: usize, keep_points: usize, limit: usize) -> Vec<i64> {
        let mut over_tails = self.open.len().saturating_sub(keep_tails);
        let mut over_points = self.points.saturating_sub(keep_points);
        let mut found = BTreeSet::new();
        for series_of_tail in self.open.values() {
            if over_tails == 0 && over_points == 0 {
                break;
            }
            for series in series_of_tail {
                if found.len() >= limit {
                    return found.into_iter().collect();
                }
                if found.insert(*series) {
                    over_points = over_points.saturating_sub(self.len_of(*series));
                }
            }
            over_tails = over_tails.saturating_sub(1);
        }
        found.into_iter().collect()
    }

    /// The tail rows that nobody needs once these series are sealed, as ranges
    /// (both ends included) in which there is no row that is still needed.
    pub(crate) fn freed_by(&self, sealed: &[i64]) -> Vec<(i64, i64)> {
        let mut left: BTreeMap<i64, usize> = BTreeMap::new();
        for series in sealed {
            for tail in self.heads.get(series).map_or(&[][..], |head| &head.tails) {
                let open = self.open.get(tail).map_or(0, BTreeSet::len);
                let left = left.entry(*tail).or_insert(open);
                *left = left.saturating_sub(1);
            }
        }
        let (Some((first, _)), Some((last, _))) = (left.first_key_value(), left.last_key_value())
        else {
            return Vec::new();
        };
        let mut ranges: Vec<(i64, i64)> = Vec::new();
        let mut joined = false;
        for tail in self.open.range(*first..=*last).map(|(tail, _)| *tail) {
            let freed = left.get(&tail) == Some(&0);
            match ranges.last_mut() {
                Some(range) if freed && joined => range.1 = tail,
                _ if freed => ranges.push((tail, tail)),
                _ => {}
            }
            joined = freed;
        }
        ranges
    }

    /// Applies what a successful commit changed.
    pub(crate) fn apply(&mut self, change: Change) {
        self.tail = change.tail;
        self.newest_series = change.newest_series;
        for (key, known) in change.known {
            self.names.learn(key, known);
        }
        let sealed: HashSet<i64> = change.sealed.into_iter().collect();
        for series in sealed.union(&change.erased) {
            self.seal(*series);
        }
        if !change.erased.is_empty() {
            let erased = &change.erased;
            self.names.keep(|series| !erased.contains(&series));
        }
        for group in change.groups {
            if !sealed.contains(&group.series) {
                self.add(change.tail, group);
            }
        }
    }

    /// Forgets names of series without unsealed points while there are more than
    /// `max`; they are asked for again when needed.
    pub(crate) fn forget_idle(&mut self, max: usize) {
        if self.names.len() > max {
            let heads = &self.heads;
            self.names.keep(|series| heads.contains_key(&series));
        }
    }

    fn add(&mut self, tail: i64, group: Group) {
        if group.points.is_empty() {
            return;
        }
        let head = self.heads.entry(group.series).or_default();
        let before = head.points.len();
        head.points = seal::merge(std::mem::take(&mut head.points), group.points);
        self.points += head.points.len() - before;
        head.tails.push(tail);
        self.open.entry(tail).or_default().insert(group.series);
    }

    fn seal(&mut self, series: i64) {
        let Some(head) = self.heads.remove(&series) else {
            return;
        };
        self.points -= head.points.len();
        for tail in head.tails {
            if let Some(open) = self.open.get_mut(&tail) {
                open.remove(&series);
                if open.is_empty() {
                    self.open.remove(&tail);
                }
            }
        }
    }
}
