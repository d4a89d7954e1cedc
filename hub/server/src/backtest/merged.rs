//! Many series as one stream in the order of event time, a page of each in memory.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use stencil_protocol::id::{DeviceId, TenantId};
use stencil_store::{Error, Series, SeriesPoint};
use tokio::time::Instant;

/// Points in memory, of all series together, about.
const BUFFERED: usize = 262_144;
/// Points of one series in memory.
const PAGE: std::ops::RangeInclusive<usize> = 16..=4_096;

/// One series.
#[derive(Debug)]
pub(super) struct Lane {
    /// The number of its device.
    device: usize,
    name: String,
    unit: Option<String>,
    page: std::vec::IntoIter<SeriesPoint>,
    /// The point that comes next, taken out of the page.
    next: Option<SeriesPoint>,
    /// From where the next page begins; `None` after the last.
    from_us: Option<i64>,
}

impl Lane {
    pub(super) fn new(device: usize, name: String, unit: Option<String>) -> Self {
        Self {
            device,
            name,
            unit,
            page: Vec::new().into_iter(),
            next: None,
            from_us: None,
        }
    }
}

/// The merged stream.
pub(super) struct Merged<'a> {
    series: &'a dyn Series,
    tenant: &'a TenantId,
    devices: &'a [DeviceId],
    to_us: i64,
    page: u32,
    lanes: Vec<Lane>,
    /// The next point of each lane that has one: its time and the lane, so that samples of one
    /// time come in a fixed order.
    heads: BinaryHeap<Reverse<(i64, usize)>>,
    until: Instant,
    out_of_time: bool,
}

/// A sample of the stream: its device's number, its name, unit, and what it is.
pub(super) type Sample<'a> = (usize, &'a str, Option<&'a str>, SeriesPoint);

impl<'a> Merged<'a> {
    /// Opens the stream: reads the first page of each series.
    pub(super) async fn open(
        series: &'a dyn Series,
        tenant: &'a TenantId,
        devices: &'a [DeviceId],
        lanes: Vec<Lane>,
        range: Range<i64>,
        until: Instant,
    ) -> Result<Self, Error> {
        let page = (BUFFERED / lanes.len().max(1)).clamp(*PAGE.start(), *PAGE.end());
        let mut merged = Self {
            series,
            tenant,
            devices,
            to_us: range.end,
            page: u32::try_from(page).unwrap_or(u32::MAX),
            heads: BinaryHeap::with_capacity(lanes.len()),
            lanes,
            until,
            out_of_time: false,
        };
        for lane in 0..merged.lanes.len() {
            merged.lanes[lane].from_us = Some(range.start);
            merged.refill(lane).await?;
        }
        Ok(merged)
    }

    /// Whether it took as long as it may.
    pub(super) fn is_out_of_time(&self) -> bool {
        self.out_of_time
    }

    /// The time of the next sample.
    pub(super) fn next_us(&self) -> Option<i64> {
        self.heads.peek().map(|Reverse((time_us, _))| *time_us)
    }

    /// The next sample; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Sample<'_>>, Error> {
        let Some(Reverse((_, lane))) = self.heads.pop() else {
            return Ok(None);
        };
        let Some(point) = self.lanes[lane].next.take() else {
            return Ok(None);
        };
        self.refill(lane).await?;
        let lane = &self.lanes[lane];
        let unit = lane.unit.as_deref();
        Ok(Some((lane.device, &lane.name, unit, point)))
    }

    /// Brings the next point of a lane forward, from the store when its page is used up.
    async fn refill(&mut self, at: usize) -> Result<(), Error> {
        let lane = &mut self.lanes[at];
        if lane.page.len() == 0
            && let Some(from_us) = lane.from_us
        {
            let device = &self.devices[lane.device];
            let points = self
                .series
                .range(
                    self.tenant,
                    device,
                    &lane.name,
                    from_us,
                    self.to_us,
                    self.page,
                )
                .await?;
            let more = points.len() >= self.page as usize;
            let last_us = points.last().map(|point| point.time_us);
            lane.from_us = last_us
                .filter(|_| more)
                .and_then(|last_us| last_us.checked_add(1));
            lane.page = points.into_iter();
            self.out_of_time |= Instant::now() >= self.until;
        }
        lane.next = lane.page.next();
        if let Some(point) = &lane.next {
            self.heads.push(Reverse((point.time_us, at)));
        }
        Ok(())
    }
}
