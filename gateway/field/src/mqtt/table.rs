//! Which client may use which topics, and whose points are on them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use stencil_mqtt::topic;

use super::{Offer, decode, decode::Payload};
use crate::{
    mapping::{Device, Link, Mapping, Protocol, Target},
    port::{Event, Quality, Reading},
};

/// The MQTT devices of a mapping, by their clients.
#[derive(Debug, Default)]
pub struct Table {
    clients: HashMap<Arc<str>, Client>,
}

#[derive(Debug, Default)]
struct Client {
    /// Topics without wildcards, with their device.
    exact: HashMap<Arc<str>, usize>,
    /// Filters with wildcards, or of nobody.
    patterns: Vec<(Arc<str>, Option<usize>)>,
    devices: Vec<Speaker>,
}

#[derive(Debug)]
struct Speaker {
    device: Arc<Device>,
    epoch: u64,
    takes_retained: bool,
    /// Its points by their topic.
    points: HashMap<Arc<str>, Vec<usize>>,
}

impl Table {
    /// The table of a mapping.
    #[must_use]
    pub fn new(mapping: &Mapping) -> Self {
        Self::with_epochs(mapping, &[])
    }

    /// With the start of each connection's source.
    pub(crate) fn with_epochs(mapping: &Mapping, epochs: &[u64]) -> Self {
        let mut table = Self::default();
        for (at, connection) in mapping.connections.iter().enumerate() {
            let Protocol::Mqtt(broker) = &connection.protocol else {
                continue;
            };
            let epoch = epochs.get(at).copied().unwrap_or(0);
            let mut names = BTreeSet::new();
            for device in &connection.devices {
                let Link::Mqtt(own) = &device.link else {
                    continue;
                };
                names.insert(Arc::clone(&own.name));
                let client = table.clients.entry(Arc::clone(&own.name)).or_default();
                let index = client.devices.len();
                client.devices.push(Speaker {
                    device: Arc::clone(device),
                    epoch,
                    takes_retained: own.takes_retained,
                    points: by_topic(device),
                });
                for filter in &own.topics {
                    if filter.contains(['+', '#']) {
                        client.patterns.push((Arc::clone(filter), Some(index)));
                    } else {
                        client.exact.insert(Arc::clone(filter), index);
                    }
                }
            }
            for name in names {
                if let Some(client) = table.clients.get_mut(&name) {
                    let ignored = broker
                        .ignore
                        .iter()
                        .map(|filter| (Arc::clone(filter), None));
                    client.patterns.extend(ignored);
                }
            }
        }
        table
    }

    /// Whether a client speaks for some device.
    #[must_use]
    pub fn knows(&self, client: &str) -> bool {
        self.clients.contains_key(client)
    }

    /// Whether there are MQTT devices.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Whether a client may publish on a topic.
    #[must_use]
    pub fn may_publish(&self, client: &str, topic: &str) -> bool {
        let client = self.clients.get(client);
        client.is_some_and(|client| client.whose(topic).is_some())
    }

    /// How many readings a message on this topic gives at most.
    #[must_use]
    pub fn weight(&self, client: &str, topic: &str) -> usize {
        let speaker = self.speaker(client, topic);
        let points = speaker.and_then(|speaker| speaker.points.get(topic));
        points.map_or(0, Vec::len)
    }

    fn speaker(&self, client: &str, topic: &str) -> Option<&Speaker> {
        let client = self.clients.get(client)?;
        client.devices.get(client.whose(topic)??)
    }

    /// What a message says, with the start of the source that it counts for; nothing if it is of
    /// nobody.
    pub(crate) fn events(&self, client: &str, offer: &Offer) -> Option<(u64, Vec<Event>)> {
        let speaker = self.speaker(client, &offer.topic)?;
        let device = &speaker.device;
        let mut events = vec![Event::Answers {
            device: device.id.clone(),
            at_us: offer.at_us,
        }];
        let Some((topic, points)) = speaker.points.get_key_value(offer.topic.as_str()) else {
            return Some((speaker.epoch, events));
        };
        let mut payload = Payload::new(topic, &offer.payload);
        for point in points.iter().filter_map(|index| device.points.get(*index)) {
            let Target::Mqtt(message) = &point.target else {
                continue;
            };
            let fault = |fault| Event::Fault {
                device: device.id.clone(),
                point: Arc::clone(&point.name),
                fault,
                at_us: offer.at_us,
            };
            // One that tells its own time is as good as any, whenever it was sent.
            if offer.is_retained && !speaker.takes_retained && message.time.is_none() {
                events.push(fault(crate::Fault::Retained {
                    topic: Arc::clone(topic),
                }));
                continue;
            }
            match decode(message, &mut payload, offer.at_us) {
                Ok(None) => {}
                Ok(Some((value, at_us))) => events.push(Event::Reading(Reading {
                    device: device.id.clone(),
                    point: Arc::clone(&point.name),
                    value,
                    at_us: at_us.unwrap_or(offer.at_us),
                    quality: Quality::Good,
                })),
                Err(wrong) => events.push(fault(wrong)),
            }
        }
        Some((speaker.epoch, events))
    }
}

impl Client {
    /// Whose a topic is: nobody's, if it may be used to no effect.
    fn whose(&self, topic: &str) -> Option<Option<usize>> {
        if let Some(index) = self.exact.get(topic) {
            return Some(Some(*index));
        }
        let pattern = self
            .patterns
            .iter()
            .find(|(filter, _)| topic::matches(filter, topic));
        pattern.map(|(_, index)| *index)
    }
}

fn by_topic(device: &Device) -> HashMap<Arc<str>, Vec<usize>> {
    let mut points: HashMap<Arc<str>, Vec<usize>> = HashMap::new();
    for (index, point) in device.points.iter().enumerate() {
        if let Target::Mqtt(message) = &point.target {
            points
                .entry(Arc::clone(&message.topic))
                .or_default()
                .push(index);
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use stencil_protocol::sample::OwnedValue;

    use super::*;
    use crate::mapping::parse;

    const YAML: &str = r#"
version: 1
connections:
  lan: { mqtt: { ignore: ["bridge/#"] } }
devices:
  plug-1:
    connection: lan
    topics: ["tele/plug-1/#"]
    points:
      power: { topic: tele/plug-1/SENSOR, pointer: /P }
      total: { topic: tele/plug-1/SENSOR, pointer: /T, time: /at }
  door:
    connection: lan
    client: z2m
    retained: take
    points:
      open: { topic: z/door, type: bool }
  lamp:
    connection: lan
    client: z2m
    points:
      on: { topic: z/lamp, type: bool }
"#;

    fn offer(topic: &str, payload: &str, is_retained: bool) -> Offer {
        Offer {
            topic: topic.to_owned(),
            payload: payload.into(),
            is_retained,
            at_us: 1_800_000_000_000_000,
        }
    }

    #[test]
    fn a_client_has_the_topics_of_its_devices_and_no_other() {
        let table = Table::new(&parse(YAML).unwrap());
        for (client, topic, may) in [
            ("plug-1", "tele/plug-1/SENSOR", true),
            ("plug-1", "tele/plug-1/LWT", true),
            ("plug-1", "tele/plug-2/SENSOR", false),
            ("plug-1", "z/door", false),
            ("z2m", "z/door", true),
            ("z2m", "z/lamp", true),
            ("z2m", "z/other", false),
            ("z2m", "tele/plug-1/SENSOR", false),
            ("z2m", "bridge/state", true),
            ("door", "z/door", false),
            ("nobody", "bridge/state", false),
        ] {
            assert_eq!(table.may_publish(client, topic), may, "{client} {topic}");
        }
        assert!(table.knows("z2m") && !table.knows("door"));
        assert_eq!(table.weight("plug-1", "tele/plug-1/SENSOR"), 2);
        assert_eq!(table.weight("plug-1", "tele/plug-1/LWT"), 0);
    }

    #[test]
    fn a_message_says_what_its_points_have() {
        let table = Table::new(&parse(YAML).unwrap());
        let said = |client: &str, offer: &Offer| {
            let (_, events) = table.events(client, offer).unwrap();
            let mut said = Vec::new();
            for event in events {
                said.push(match event {
                    Event::Reading(reading) => match reading.value {
                        OwnedValue::Number(value) => {
                            format!("{} {value} {}", reading.point, reading.at_us)
                        }
                        value => format!("{} {value:?}", reading.point),
                    },
                    Event::Fault { point, fault, .. } => format!("{point}: {fault}"),
                    Event::Answers { device, .. } => format!("{device} answers"),
                    Event::Silent { .. } => "silent".to_owned(),
                });
            }
            said.join("; ")
        };
        let sensor = |payload, retained| offer("tele/plug-1/SENSOR", payload, retained);
        assert_eq!(
            said("plug-1", &sensor(r#"{"P":7,"T":8,"at":1760000000}"#, false)),
            "plug-1 answers; power 7 1800000000000000; total 8 1760000000000000"
        );
        // A retained message counts where it tells its time, or the mapping takes them.
        let retained = said("plug-1", &sensor(r#"{"P":7,"T":8,"at":1760000000}"#, true));
        assert!(
            retained.contains("power: tele/plug-1/SENSOR is marked as retained"),
            "{retained}"
        );
        assert!(retained.contains("total 8 1760000000000000"), "{retained}");
        assert_eq!(
            said("z2m", &offer("z/door", "on", true)),
            "door answers; open Bool(true)"
        );
        // One point that fails loses no other.
        let half = said(
            "plug-1",
            &sensor(r#"{"P":"x","T":8,"at":1760000000}"#, false),
        );
        assert!(
            half.contains("power: ") && half.contains("total 8 "),
            "{half}"
        );
        assert_eq!(
            said("plug-1", &offer("tele/plug-1/LWT", "Offline", true)),
            "plug-1 answers"
        );
        assert!(
            table
                .events("z2m", &offer("bridge/state", "x", false))
                .is_none()
        );
        assert!(table.events("z2m", &sensor("{}", false)).is_none());
    }
}
