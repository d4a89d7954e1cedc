//! A window of a series, gathered into columns of time: of each the first, the last, the lowest,
//! the highest and the mean value. So no peak is lost, however long the window, and what a page
//! gets stays small.

use std::collections::VecDeque;

use stencil_protocol::id::{DeviceId, TenantId};
use stencil_store::{Error, MAX_RANGE, Series, SeriesPoint};

/// The most columns.
pub(super) const MAX_COLUMNS: u32 = 1_000;
/// Points that are kept as they are: the newest ones.
pub(super) const NEWEST: usize = 200;
/// Reads of [`MAX_RANGE`] points that one gathering makes at most. What is left is read by going
/// on from where it stopped.
const READS: usize = 5;

/// What a window holds.
#[derive(Debug)]
pub(super) struct Envelope {
    from_us: i64,
    width_us: i64,
    /// Columns that have points, by time.
    pub(super) columns: Vec<Column>,
    /// Points so far, texts included.
    pub(super) points: u64,
    /// The newest of them.
    pub(super) newest: VecDeque<SeriesPoint>,
}

/// A column's numbers. Yes counts as 1, no as 0; texts have no place in it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    /// Its place in the window, from 0.
    pub(super) place: i64,
    pub(super) first_us: i64,
    pub(super) last_us: i64,
    pub(super) first: f64,
    pub(super) last: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) mean: f64,
    pub(super) count: u32,
}

/// Gathers `from_us <= time < to_us` from `resume_us` on; also says where to go on if there is more
/// than one gathering reads.
pub(super) async fn gather(
    series: &dyn Series,
    (tenant, device, name): (&TenantId, &DeviceId, &str),
    (from_us, to_us): (i64, i64),
    resume_us: i64,
    columns: u32,
) -> Result<(Envelope, Option<i64>), Error> {
    let mut envelope = Envelope::new(from_us, to_us, columns);
    let mut at = resume_us.max(from_us);
    for _ in 0..READS {
        let points = series
            .range(tenant, device, name, at, to_us, MAX_RANGE)
            .await?;
        let full = points.len() >= MAX_RANGE as usize;
        let last = points.last().map(|point| point.time_us);
        points.into_iter().for_each(|point| envelope.take(point));
        match last {
            Some(last) if full => at = last.saturating_add(1),
            _ => return Ok((envelope, None)),
        }
    }
    Ok((envelope, Some(at)))
}

impl Envelope {
    /// An empty one. `from_us < to_us`, and their difference fits.
    pub(super) fn new(from_us: i64, to_us: i64, columns: u32) -> Self {
        let columns = i64::from(columns.clamp(1, MAX_COLUMNS));
        let length = to_us.saturating_sub(from_us).max(1);
        Self {
            from_us,
            width_us: length.saturating_add(columns - 1) / columns,
            columns: Vec::new(),
            points: 0,
            newest: VecDeque::new(),
        }
    }

    /// Takes the next point; they come by time.
    pub(super) fn take(&mut self, point: SeriesPoint) {
        self.points = self.points.saturating_add(1);
        if let Some(value) = point.value.as_ref().as_f64() {
            self.number(point.time_us, value);
        }
        if self.newest.len() == NEWEST {
            self.newest.pop_front();
        }
        self.newest.push_back(point);
    }

    fn number(&mut self, at_us: i64, value: f64) {
        let place = at_us.saturating_sub(self.from_us) / self.width_us;
        match self.columns.last_mut() {
            Some(column) if column.place == place => column.take(at_us, value),
            _ => self.columns.push(Column {
                place,
                first_us: at_us,
                last_us: at_us,
                first: value,
                last: value,
                low: value,
                high: value,
                mean: value,
                count: 1,
            }),
        }
    }

    /// The numbers' extent; `None` without any.
    pub(super) fn extent(&self) -> Option<(f64, f64)> {
        let columns = || self.columns.iter();
        self.columns.first()?;
        Some((
            columns()
                .map(|column| column.low)
                .fold(f64::INFINITY, f64::min),
            columns()
                .map(|column| column.high)
                .fold(f64::NEG_INFINITY, f64::max),
        ))
    }

    /// The columns as a line that reaches each one's lowest and highest value.
    pub(super) fn line(&self) -> Vec<(i64, f64)> {
        let mut line = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let middle = column.first_us / 2 + column.last_us / 2;
            line.push((column.first_us, column.first));
            if column.count > 2 {
                let middle = middle.clamp(column.first_us, column.last_us);
                line.push((middle, column.low));
                line.push((middle, column.high));
            }
            if column.count > 1 {
                line.push((column.last_us, column.last));
            }
        }
        line
    }
}

impl Column {
    fn take(&mut self, at_us: i64, value: f64) {
        self.count = self.count.saturating_add(1);
        let part = 1.0 / f64::from(self.count);
        // Not by a sum: that of the largest numbers is not finite.
        self.mean = self.mean * (1.0 - part) + value * part;
        self.last_us = at_us;
        self.last = value;
        self.low = self.low.min(value);
        self.high = self.high.max(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stencil_protocol::sample::OwnedValue;

    fn point(time_us: i64, value: f64) -> SeriesPoint {
        SeriesPoint {
            time_us,
            value: OwnedValue::Number(value),
        }
    }

    #[test]
    fn no_peak_is_lost_and_the_window_stays_small() {
        let mut envelope = Envelope::new(0, 1_000_000, 100);
        for n in 0..1_000_000_i64 {
            let value = match n {
                543_210 => 1e6,
                543_211 => -1e6,
                _ => f64::from(u8::try_from(n % 7).unwrap()),
            };
            envelope.take(point(n, value));
        }
        assert_eq!(envelope.columns.len(), 100);
        assert_eq!(envelope.points, 1_000_000);
        assert_eq!(envelope.newest.len(), NEWEST);
        assert_eq!(envelope.extent(), Some((-1e6, 1e6)));
        let column = &envelope.columns[54];
        assert_eq!((column.low, column.high, column.count), (-1e6, 1e6, 10_000));
        let line = envelope.line();
        assert!(line.len() <= 400 && line.is_sorted_by_key(|(at, _)| *at));
        assert!(line.iter().any(|(_, value)| *value == 1e6));
        let calm = &envelope.columns[3];
        assert_eq!((calm.low, calm.high), (0.0, 6.0));
        assert!((calm.mean - 3.0).abs() < 0.01, "{calm:?}");
    }

    #[test]
    fn few_points_stay_as_they_are() {
        let mut envelope = Envelope::new(-50, 50, 10);
        for (at, value) in [(-50, 1.0), (0, f64::MAX), (1, f64::MIN), (49, 2.0)] {
            envelope.take(point(at, value));
        }
        let places: Vec<_> = envelope
            .columns
            .iter()
            .map(|c| (c.place, c.count))
            .collect();
        assert_eq!(places, [(0, 1), (5, 2), (9, 1)]);
        assert!(envelope.columns[1].mean.is_finite());
        assert_eq!(
            envelope.line(),
            [(-50, 1.0), (0, f64::MAX), (1, f64::MIN), (49, 2.0)]
        );
    }

    #[test]
    fn texts_are_counted_and_not_drawn() {
        let mut envelope = Envelope::new(0, 10, 10);
        envelope.take(SeriesPoint {
            time_us: 1,
            value: OwnedValue::Text("open".to_owned()),
        });
        assert_eq!((envelope.points, envelope.extent()), (1, None));
        assert_eq!(envelope.newest.len(), 1);
    }
}
