//! The points of a subscription, and how they are named to the server.

use std::{sync::Arc, time::Duration};

use opcua::{
    client::Session,
    types::{
        DataChangeFilter, DataChangeTrigger, DeadbandType, ExtensionObject,
        MonitoredItemCreateRequest, MonitoringMode, MonitoringParameters, ReadValueId, StatusCode,
        TimestampsToReturn,
    },
};
use tokio::time::Instant;

use crate::mapping::{Deadband, Device, Place, Point, Report};

/// How often the server sends what it has gathered: as often as the quickest point is sampled,
/// within these.
const LEAST_PUBLISHING: Duration = Duration::from_millis(100);
const MOST_PUBLISHING: Duration = Duration::from_secs(5);
/// How many points are named in one request.
pub(super) const CHUNK: usize = 250;

/// A point that is subscribed to. Its place in the list, and 1, is its handle.
pub(super) struct Item {
    pub(super) device: Arc<Device>,
    pub(super) index: usize,
    pub(super) place: Place,
    /// Whether the server takes it; none: it was not asked yet.
    pub(super) taken: Option<bool>,
    /// When something of it came last.
    pub(super) came: Instant,
}

impl Item {
    pub(super) fn point(&self) -> Option<&Point> {
        self.device.points.get(self.index)
    }
}

/// How often the server sends what it has gathered.
pub(super) fn publishing(items: &[Item]) -> Duration {
    let quickest = items
        .iter()
        .filter_map(|item| Some(item.point()?.every))
        .min();
    quickest
        .unwrap_or(MOST_PUBLISHING)
        .clamp(LEAST_PUBLISHING, MOST_PUBLISHING)
}

/// The points as the server is asked to watch them.
pub(super) fn requests<'a>(
    items: impl Iterator<Item = (usize, &'a Item)>,
) -> Vec<(usize, MonitoredItemCreateRequest)> {
    items
        .filter_map(|(handle, item)| {
            let point = item.point()?;
            let request = MonitoredItemCreateRequest {
                item_to_monitor: ReadValueId::from(item.place.node.clone()),
                monitoring_mode: MonitoringMode::Reporting,
                requested_parameters: MonitoringParameters {
                    client_handle: u32::try_from(handle + 1).ok()?,
                    sampling_interval: point.every.as_secs_f64() * 1_000.0,
                    filter: filter(point),
                    queue_size: item.place.queue,
                    discard_oldest: true,
                },
            };
            Some((handle, request))
        })
        .collect()
}

/// Which changes the server tells of. A part of the value that was sent last, as a percentage of the
/// mapping is, is something else than OPC UA's percentage: that is looked at here.
fn filter(point: &Point) -> ExtensionObject {
    let (trigger, least) = match point.report {
        // The same value at another time is another reading.
        Report::Always => (DataChangeTrigger::StatusValueTimestamp, 0.0),
        Report::Changes { deadband, .. } => {
            let least = match deadband {
                Deadband::Absolute(least) => least,
                Deadband::Percent(_) => 0.0,
            };
            (DataChangeTrigger::StatusValue, least)
        }
    };
    // It is in the mapping's unit, the server's is before `scale`.
    let factor = point.scale.map_or(1.0, |scale| scale.factor.abs());
    let raw = least / factor;
    let deadband_type = if raw > 0.0 && raw.is_finite() {
        DeadbandType::Absolute
    } else {
        DeadbandType::None
    };
    ExtensionObject::from_message(DataChangeFilter {
        trigger,
        deadband_type: deadband_type as u32,
        deadband_value: if deadband_type == DeadbandType::None {
            0.0
        } else {
            raw
        },
    })
}

/// Adds points to a subscription. Those whose filter the server does not do are added without it.
pub(super) async fn create(
    session: &Session,
    id: u32,
    requests: Vec<(usize, MonitoredItemCreateRequest)>,
) -> Result<Vec<(usize, StatusCode)>, StatusCode> {
    let mut results = Vec::with_capacity(requests.len());
    let mut wanted = requests;
    for has_filter in [true, false] {
        let mut without = Vec::new();
        for chunk in wanted.chunks(CHUNK) {
            let requests = chunk.iter().map(|(_, request)| request.clone()).collect();
            let created = session
                .create_monitored_items(id, TimestampsToReturn::Both, requests)
                .await
                .map_err(|error| error.status())?;
            for ((handle, request), created) in chunk.iter().zip(created) {
                let status = created.result.status_code;
                if has_filter && is_about_filter(status) {
                    let mut request = request.clone();
                    request.requested_parameters.filter = ExtensionObject::null();
                    without.push((*handle, request));
                } else {
                    results.push((*handle, status));
                }
            }
        }
        wanted = without;
    }
    Ok(results)
}

fn is_about_filter(status: StatusCode) -> bool {
    [
        StatusCode::BadFilterNotAllowed,
        StatusCode::BadMonitoredItemFilterInvalid,
        StatusCode::BadMonitoredItemFilterUnsupported,
        StatusCode::BadDeadbandFilterInvalid,
    ]
    .iter()
    .any(|about| about.sub_code() as u32 == status.sub_code() as u32)
}
