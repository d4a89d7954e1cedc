//! The points of a commit, by series: what belongs to a series is named once, not with each point.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use stencil_protocol::id::{DeviceId, TenantId};

use crate::{Point, SeriesPoint};

/// Points of one series, in order of arrival.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesPoints {
    /// The tenant.
    pub tenant: TenantId,
    /// The device.
    pub device: DeviceId,
    /// The sample's name: the series within the device.
    pub name: String,
    /// The newest unit given; `None` leaves the series' unit as it is.
    pub unit: Option<String>,
    /// The points.
    pub points: Vec<SeriesPoint>,
}

/// Points of any number of series. A series may be there more than once: what comes later in the
/// list arrived later. Clones share the points, so that to try a commit again costs nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Points {
    series: Arc<Vec<SeriesPoints>>,
}

/// By what points are known again, while somebody has them.
#[derive(Debug)]
pub(crate) struct Token(Weak<Vec<SeriesPoints>>);

impl Points {
    /// That of these points; clones have the same.
    pub(crate) fn token(&self) -> Token {
        Token(Arc::downgrade(&self.series))
    }

    /// Whether it is the token of these points.
    pub(crate) fn are(&self, token: &Token) -> bool {
        token.0.ptr_eq(&Arc::downgrade(&self.series))
    }

    /// The series.
    #[must_use]
    pub fn series(&self) -> &[SeriesPoints] {
        &self.series
    }

    /// How many points there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.series.iter().map(|series| series.points.len()).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.iter().all(|series| series.points.is_empty())
    }

    /// Adds a point that arrived last.
    pub fn push(&mut self, point: Point) {
        let series = Arc::make_mut(&mut self.series);
        let last = SeriesPoint {
            time_us: point.time_us,
            value: point.value,
        };
        let same = series.last_mut().filter(|it| {
            it.device == point.device && it.name == point.name && it.tenant == point.tenant
        });
        match same {
            Some(same) => {
                same.points.push(last);
                same.unit = point.unit.or_else(|| same.unit.take());
            }
            None => series.push(SeriesPoints {
                tenant: point.tenant,
                device: point.device,
                name: point.name,
                unit: point.unit,
                points: vec![last],
            }),
        }
    }

    /// The points one by one, series after series.
    pub fn iter(&self) -> impl Iterator<Item = Point> + '_ {
        self.series.iter().flat_map(|series| {
            series.points.iter().map(|point| Point {
                tenant: series.tenant.clone(),
                device: series.device.clone(),
                name: series.name.clone(),
                time_us: point.time_us,
                value: point.value.clone(),
                unit: series.unit.clone(),
            })
        })
    }
}

impl From<Vec<SeriesPoints>> for Points {
    fn from(series: Vec<SeriesPoints>) -> Self {
        Self {
            series: Arc::new(series),
        }
    }
}

impl FromIterator<Point> for Points {
    /// Puts together what belongs to one series.
    fn from_iter<I: IntoIterator<Item = Point>>(points: I) -> Self {
        let mut series: Vec<SeriesPoints> = Vec::new();
        let mut places: HashMap<(TenantId, DeviceId, String), usize> = HashMap::new();
        for point in points {
            let key = (point.tenant, point.device, point.name);
            let place = places.get(&key).copied().unwrap_or_else(|| {
                series.push(SeriesPoints {
                    tenant: key.0.clone(),
                    device: key.1.clone(),
                    name: key.2.clone(),
                    unit: None,
                    points: Vec::new(),
                });
                places.insert(key, series.len() - 1);
                series.len() - 1
            });
            if let Some(held) = series.get_mut(place) {
                held.unit = point.unit.or_else(|| held.unit.take());
                held.points.push(SeriesPoint {
                    time_us: point.time_us,
                    value: point.value,
                });
            }
        }
        Self::from(series)
    }
}

impl From<Vec<Point>> for Points {
    fn from(points: Vec<Point>) -> Self {
        points.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use stencil_protocol::sample::OwnedValue;

    use super::*;

    fn point(name: &str, time_us: i64, unit: Option<&str>) -> Point {
        Point {
            tenant: TenantId::parse("acme").unwrap(),
            device: DeviceId::parse("a").unwrap(),
            name: name.to_owned(),
            time_us,
            value: OwnedValue::Integer(time_us),
            unit: unit.map(str::to_owned),
        }
    }

    #[test]
    fn what_belongs_to_a_series_is_put_together_in_order_of_arrival() {
        let points: Points = [
            point("t", 3, None),
            point("h", 1, Some("%")),
            point("t", 1, Some("degC")),
            point("t", 2, None),
        ]
        .into_iter()
        .collect();
        assert_eq!((points.len(), points.series().len()), (4, 2));
        let t = &points.series()[0];
        let times: Vec<i64> = t.points.iter().map(|point| point.time_us).collect();
        assert_eq!((t.name.as_str(), times), ("t", vec![3, 1, 2]));
        // The newest unit given.
        assert_eq!(t.unit.as_deref(), Some("degC"));
    }

    #[test]
    fn what_is_added_later_stays_behind() {
        let mut points = Points::from(vec![point("t", 1, Some("degC")), point("h", 1, None)]);
        let before = points.clone();
        points.push(point("h", 2, None));
        points.push(point("t", 2, None));
        let names: Vec<_> = points.iter().map(|it| (it.name, it.time_us)).collect();
        let name = |name: &str, time_us| (name.to_owned(), time_us);
        assert_eq!(
            names,
            [name("t", 1), name("h", 1), name("h", 2), name("t", 2)]
        );
        assert_eq!((before.len(), points.len()), (2, 4));
    }
}
