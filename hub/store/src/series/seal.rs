//! Sealing: where the points of a head go among the chunks of their series.
//!
//! Chunks of a series never overlap, so a reader takes them in order and looks at
//! one chunk to find one time. That costs the rewriting of chunks when points
//! come late; in the common case (points in order of time) nothing is rewritten
//! but a last chunk that was not full.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use stencil_protocol::sample::OwnedValue;

use crate::SeriesPoint;

/// A stored chunk, without its points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from_us: i64,
    pub(crate) to_us: i64,
    pub(crate) points: usize,
}

/// What to do to seal a head.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    /// Stored chunks to read and remove, by `from_us`, each with the points that
    /// go into it.
    pub(crate) merge: Vec<(i64, Vec<SeriesPoint>)>,
    /// Points that become chunks of their own.
    pub(crate) fresh: Vec<Vec<SeriesPoint>>,
}

/// Plans where `points` (strictly by time) go. `spans` are the stored chunks that
/// begin within the points' times, and the one that begins before, by time.
pub(crate) fn plan(points: Vec<SeriesPoint>, spans: &[Span], chunk_points: usize) -> Plan {
    let mut plan = Plan::default();
    let mut points = points.into_iter().peekable();
    let mut take = |until: Option<i64>| {
        let mut taken = Vec::new();
        while let Some(point) = points.next_if(|p| until.is_none_or(|until| p.time_us < until)) {
            taken.push(point);
        }
        taken
    };
    let before = take(spans.first().map(|span| span.from_us));
    if !before.is_empty() {
        plan.fresh.push(before);
    }
    for (index, span) in spans.iter().enumerate() {
        let group = take(spans.get(index + 1).map(|next| next.from_us));
        let inside = group.partition_point(|point| point.time_us <= span.to_us);
        let small = span.points + group.len() <= full(chunk_points);
        if group.is_empty() {
            continue;
        }
        if small || inside == group.len() {
            plan.merge.push((span.from_us, group));
        } else {
            let mut inside_points = group;
            let after = inside_points.split_off(inside);
            if !inside_points.is_empty() {
                plan.merge.push((span.from_us, inside_points));
            }
            plan.fresh.push(after);
        }
    }
    plan
}

/// Puts points (by time) strictly by time: of those that want one microsecond the one that is least by
/// value has it, and the others go on to the next, where they meet who wants that.
///
/// Each microsecond prefers by a fixed order, and each point the earliest that it gets: so where a point
/// comes to lie follows from which points there are, and not from the order in which they came, nor
/// from which of them were put together before. A crash, a replay and a back-fill change nothing.
/// Nothing is behind the last microsecond that there is: of those that would go there, the least stays.
pub(crate) fn place(points: Vec<SeriesPoint>) -> Vec<SeriesPoint> {
    if points.is_sorted_by(|a: &SeriesPoint, b| a.time_us < b.time_us) {
        return points;
    }
    let mut placed = Vec::with_capacity(points.len());
    let mut points = points.into_iter().peekable();
    // Those that want the present microsecond; mostly one.
    let mut want: BinaryHeap<LeastFirst> = BinaryHeap::new();
    let mut time_us = i64::MIN;
    loop {
        if want.is_empty() {
            match points.peek() {
                Some(next) => time_us = next.time_us,
                None => return placed,
            }
        }
        while let Some(point) = points.next_if(|point| point.time_us == time_us) {
            want.push(LeastFirst(point.value));
        }
        if let Some(LeastFirst(value)) = want.pop() {
            placed.push(SeriesPoint { time_us, value });
        }
        match time_us.checked_add(1) {
            Some(next) => time_us = next,
            None => return placed,
        }
    }
}

/// A value in a heap from which the least is taken first.
struct LeastFirst(OwnedValue);

impl Ord for LeastFirst {
    fn cmp(&self, other: &Self) -> Ordering {
        order(&other.0, &self.0)
    }
}

impl PartialOrd for LeastFirst {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for LeastFirst {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for LeastFirst {}

/// An order of values that has nothing to say but to be one.
fn order(a: &OwnedValue, b: &OwnedValue) -> Ordering {
    let kind = |value: &OwnedValue| match value {
        OwnedValue::Bool(_) => 0,
        OwnedValue::Integer(_) => 1,
        OwnedValue::Number(_) => 2,
        OwnedValue::Text(_) => 3,
    };
    match (a, b) {
        (OwnedValue::Bool(a), OwnedValue::Bool(b)) => a.cmp(b),
        (OwnedValue::Integer(a), OwnedValue::Integer(b)) => a.cmp(b),
        (OwnedValue::Number(a), OwnedValue::Number(b)) => a.total_cmp(b),
        (OwnedValue::Text(a), OwnedValue::Text(b)) => a.cmp(b),
        _ => kind(a).cmp(&kind(b)),
    }
}

/// Puts `new` among `old` (both strictly by time), each as [`place`] has it.
pub(crate) fn merge(mut old: Vec<SeriesPoint>, new: Vec<SeriesPoint>) -> Vec<SeriesPoint> {
    // The usual case: all of it is newer.
    let Some((last, first)) = old.last().zip(new.first()) else {
        return if old.is_empty() { new } else { old };
    };
    if last.time_us < first.time_us {
        old.extend(new);
        return old;
    }
    let mut merged = Vec::with_capacity(old.len() + new.len());
    let mut old = old.into_iter().peekable();
    for point in new {
        while let Some(before) = old.next_if(|old| old.time_us < point.time_us) {
            merged.push(before);
        }
        merged.push(point);
    }
    merged.extend(old);
    place(merged)
}

/// Cuts points into chunks of about equal size.
pub(crate) fn cut(
    points: &[SeriesPoint],
    chunk_points: usize,
) -> impl Iterator<Item = &[SeriesPoint]> {
    let pieces = if points.len() <= full(chunk_points) {
        1
    } else {
        points.len().div_ceil(chunk_points)
    };
    points.chunks(points.len().div_ceil(pieces).max(1))
}

/// A chunk may outgrow its size by a quarter before it is cut: otherwise a full
/// chunk would be cut in two for one late point.
fn full(chunk_points: usize) -> usize {
    chunk_points + chunk_points / 4
}

#[cfg(test)]
mod tests {
    use stencil_protocol::sample::OwnedValue;

    use super::*;

    fn points(times: impl IntoIterator<Item = i64>) -> Vec<SeriesPoint> {
        times
            .into_iter()
            .map(|time_us| SeriesPoint {
                time_us,
                value: OwnedValue::Integer(time_us),
            })
            .collect()
    }

    fn span(from_us: i64, to_us: i64, points: usize) -> Span {
        Span {
            from_us,
            to_us,
            points,
        }
    }

    #[test]
    fn points_in_order_rewrite_no_full_chunk() {
        let plan = plan(points(100..108), &[span(0, 99, 8)], 8);
        assert_eq!(
            plan,
            Plan {
                merge: Vec::new(),
                fresh: vec![points(100..108)]
            }
        );
    }

    #[test]
    fn a_last_chunk_that_is_not_full_is_filled() {
        let plan = plan(points(100..104), &[span(0, 99, 3)], 8);
        assert_eq!(
            plan,
            Plan {
                merge: vec![(0, points(100..104))],
                fresh: Vec::new()
            }
        );
    }

    #[test]
    fn late_points_go_where_they_belong() {
        let spans = [span(10, 19, 8), span(30, 39, 8)];
        let plan = plan(points([1, 12, 25, 35, 50]), &spans, 8);
        assert_eq!(plan.merge, [(10, points([12, 25])), (30, points([35, 50]))]);
        assert_eq!(plan.fresh, [points([1])]);
    }

    #[test]
    fn what_lies_between_full_chunks_becomes_a_chunk() {
        let spans = [span(10, 19, 10), span(30, 39, 10)];
        let plan = plan(points([12, 25, 50]), &spans, 8);
        assert_eq!(plan.merge, [(10, points([12]))]);
        assert_eq!(plan.fresh, [points([25]), points([50])]);
    }

    #[test]
    fn two_points_of_one_time_are_both_kept_however_they_come() {
        let number = |time_us, value| SeriesPoint {
            time_us,
            value: OwnedValue::Integer(value),
        };
        let all = [
            number(1, 7),
            number(1, 5),
            number(2, 6),
            number(1, 5),
            number(4, 0),
        ];
        let expected = [
            number(1, 5),
            number(2, 5),
            number(3, 6),
            number(4, 0),
            number(5, 7),
        ];
        // Each order in which they may come, one by one and in two parts that are put together.
        let mut orders = vec![Vec::new()];
        for _ in &all {
            orders = orders
                .into_iter()
                .flat_map(|order: Vec<usize>| {
                    let left = (0..all.len()).filter(|at| !order.contains(at));
                    let more = left.map(|at| [order.clone(), vec![at]].concat());
                    more.collect::<Vec<_>>()
                })
                .collect();
        }
        assert_eq!(orders.len(), 120);
        let add = |held, at: &usize| merge(held, vec![all[*at].clone()]);
        for order in orders {
            for cut in 0..=order.len() {
                let (first, second) = order.split_at(cut);
                let first = first.iter().fold(Vec::new(), add);
                let second = second.iter().fold(Vec::new(), add);
                assert_eq!(merge(first, second), expected, "{order:?} {cut}");
            }
        }
    }

    #[test]
    fn pieces_are_of_about_equal_size() {
        let sizes = |n: i64| cut(&points(0..n), 8).map(<[_]>::len).collect::<Vec<_>>();
        assert_eq!(sizes(10), [10]);
        assert_eq!(sizes(11), [6, 5]);
        assert_eq!(sizes(17), [6, 6, 5]);
        assert_eq!(sizes(0), [0; 0]);
    }
}
