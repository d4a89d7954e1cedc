//! The samples of one pane of a window, summed up.

use std::collections::vec_deque;

use minicbor::{Decode, Encode};

use super::sketch::Sketch;
use super::sum::Sum;
use crate::{Aggregate, Finite};

/// One pane: what is needed of its samples, which are at least one.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(super) struct Pane {
    /// Its number.
    #[n(0)]
    pub(super) at: i64,
    #[n(1)]
    count: u64,
    /// Of `min` and `p95`.
    #[n(2)]
    least: Option<Finite>,
    /// Of `max` and `p95`.
    #[n(3)]
    greatest: Option<Finite>,
    /// Of `mean`.
    #[n(4)]
    sum: Sum,
    /// Of `p95`.
    #[n(5)]
    sketch: Option<Box<Sketch>>,
}

impl Pane {
    pub(super) fn new(at: i64) -> Self {
        Self {
            at,
            count: 0,
            least: None,
            greatest: None,
            sum: Sum::default(),
            sketch: None,
        }
    }

    /// Takes a sample; `value` is missing for a text, which only counts.
    pub(super) fn add(&mut self, of: Aggregate, value: Option<Finite>) {
        self.count = self.count.saturating_add(1);
        let Some(value) = value else {
            return;
        };
        if matches!(of, Aggregate::Min | Aggregate::P95) {
            self.least = Some(self.least.map_or(value, |least| least.min(value)));
        }
        if matches!(of, Aggregate::Max | Aggregate::P95) {
            self.greatest = Some(self.greatest.map_or(value, |greatest| greatest.max(value)));
        }
        match of {
            Aggregate::Mean => self.sum.add(value),
            Aggregate::P95 => self.sketch.get_or_insert_default().add(value),
            Aggregate::Count | Aggregate::Min | Aggregate::Max => {}
        }
    }

    /// What the samples of all these panes come to; `None` without any.
    pub(super) fn aggregate(panes: vec_deque::Iter<'_, Self>, of: Aggregate) -> Option<Finite> {
        let count = panes
            .clone()
            .fold(0_u64, |count, pane| count.saturating_add(pane.count));
        let least = || panes.clone().filter_map(|pane| pane.least).min();
        let greatest = || panes.clone().filter_map(|pane| pane.greatest).max();
        match of {
            Aggregate::Count => Finite::new(count as f64),
            Aggregate::Min => least(),
            Aggregate::Max => greatest(),
            Aggregate::Mean => {
                let mut sum = Sum::default();
                for pane in panes {
                    sum.merge(&pane.sum);
                }
                sum.mean(count.max(1))
            }
            Aggregate::P95 => {
                let sketches = panes.clone().filter_map(|pane| pane.sketch.as_deref());
                // By nearest rank: the least number that 95 % are not above.
                let ranked = Sketch::ranked(sketches, count - count / 20)?;
                // A bucket may reach beyond what was seen.
                let ranked = Finite::new(ranked)?;
                Some(ranked.clamp(least()?, greatest()?))
            }
        }
    }
}
