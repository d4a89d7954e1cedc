//! Sealing: where the points of a head go among the chunks of their series.
//!
//! Chunks of a series never overlap, so a reader takes them in order and looks at
//! one chunk to find one time. That costs the rewriting of chunks when points
//! come late; in the common case (points in order of time) nothing is rewritten
//! but a last chunk that was not full.

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

/// Puts `new` over `old` (both strictly by time).
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
        old.next_if(|old| old.time_us == point.time_us);
        merged.push(point);
    }
    merged.extend(old);
    merged
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
    fn the_new_point_of_one_time_stays() {
        let mut new = points([2]);
        new[0].value = OwnedValue::Bool(true);
        let merged = merge(points([1, 2, 3]), new.clone());
        assert_eq!(merged[1], new[0]);
        assert_eq!(merged.len(), 3);
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
