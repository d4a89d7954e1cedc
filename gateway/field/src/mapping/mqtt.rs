//! What a mapping says of MQTT devices: who speaks for a device, on which topics, and where a value
//! is in a message. Where the gateway listens is no part of it: that is the gateway's own setting.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use stencil_protocol::id::DeviceId;
use stencil_yaml::{
    Content, Error, Fields, Node, Place as At, boolean, duration_us, nearest, shown, text,
};

use super::note;

/// The keys of a device, besides those of every device.
pub(super) const DEVICE: &[&str] = &["client", "topics", "silent-after", "retained"];
/// The keys of a point, besides those of every point.
pub(super) const POINT: &[&str] = &["topic", "pointer", "type", "time", "optional"];
/// The longest topic or filter, in bytes.
pub const MAX_TOPIC: usize = 256;
/// The most levels of a topic or filter.
const MAX_LEVELS: usize = 16;
/// The longest JSON pointer.
const MAX_POINTER: usize = 256;
/// The most filters in one list.
const MAX_FILTERS: usize = 16;
/// The most filters with wildcards in a mapping.
const MAX_PATTERNS: usize = 2_048;
/// After how long a device that says nothing is silent, if nothing is said.
const SILENT_AFTER: Duration = Duration::from_secs(3_600);

/// The gateway's own listener, as a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Broker {
    /// Filters of topics that its clients may use to no effect, such as those of a bridge about
    /// itself.
    pub ignore: Vec<Arc<str>>,
}

/// Who speaks for a device, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The user name of the client: the device's id, or that of a bridge that speaks for many.
    pub name: Arc<str>,
    /// Filters of the device's topics. No topic belongs to two devices.
    pub topics: Vec<Arc<str>>,
    /// After that long without a message the device is silent.
    pub silent_after: Duration,
    /// Whether messages that are marked as retained are taken as measured when they come.
    pub takes_retained: bool,
}

/// Where a value is in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The topic.
    pub topic: Arc<str>,
    /// Where it is in JSON (RFC 6901); none: the whole payload is the value, as text.
    pub pointer: Option<Arc<str>>,
    /// What it is.
    pub form: Form,
    /// Where the JSON tells the time of it; none: the time at which it came.
    pub time: Option<Arc<str>>,
    /// Whether messages without it are passed over.
    pub is_optional: bool,
}

/// What a value in a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// A number.
    #[default]
    Number,
    /// A whole number, exact in 64 bits with sign.
    Integer,
    /// True or false, also as on and off, online and offline, 1 and 0.
    Bool,
    /// A text.
    Text,
}

impl Form {
    const ALL: [(&str, Form); 4] = [
        ("number", Form::Number),
        ("integer", Form::Integer),
        ("bool", Form::Bool),
        ("text", Form::Text),
    ];

    /// Whether it gives a number.
    #[must_use]
    pub fn is_number(self) -> bool {
        matches!(self, Form::Number | Form::Integer)
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.topic)?;
        match &self.pointer {
            Some(pointer) => write!(f, " {pointer}"),
            None => Ok(()),
        }
    }
}

/// Reads a connection.
pub(super) fn broker(node: &Node, errors: &mut Vec<Error>) -> Option<Broker> {
    let fields = Fields::gathering(node, "an MQTT connection", &["ignore"], errors)?;
    let ignore = fields.get("ignore");
    Some(Broker {
        ignore: ignore.map_or_else(Vec::new, |node| filters(node, "ignore", errors)),
    })
}

/// Reads what a device says of its client. `topics` is empty where nothing is said.
pub(super) fn client(
    fields: &Fields<'_>,
    id: Option<&DeviceId>,
    errors: &mut Vec<Error>,
) -> Option<Client> {
    let name = match fields.get("client") {
        Some(node) => note(errors, name(node)),
        None => id.map(|id| id.as_str().into()),
    };
    let topics = fields.get("topics");
    let topics = topics.map_or_else(Vec::new, |node| filters(node, "topics", errors));
    let silent_after = fields.get("silent-after").and_then(|node| {
        let us = duration_us(node, "silent-after", 1_000_000, 30 * 86_400_000_000);
        note(errors, us).map(|us| Duration::from_micros(us.unsigned_abs()))
    });
    let retained = fields.get("retained").and_then(|node| {
        let word = note(errors, text(node, "retained"))?;
        if word != "take" && word != "ignore" {
            errors.push(Error::new(
                node.at,
                format!("`retained` is {}", shown(word)),
                "write `take` if the device marks all that it sends as retained, or `ignore`",
            ));
        }
        Some(word == "take")
    });
    Some(Client {
        name: name?,
        topics,
        silent_after: silent_after.unwrap_or(SILENT_AFTER),
        takes_retained: retained.unwrap_or(false),
    })
}

fn name(node: &Node) -> Result<Arc<str>, Error> {
    let name = text(node, "client")?;
    match DeviceId::parse(name) {
        Ok(_) => Ok(name.into()),
        Err(error) => Err(Error::new(
            node.at,
            format!("`client` is {}", shown(name)),
            format!("write the name given to `stencil gateway add-client`: {error}"),
        )),
    }
}

/// Reads where a point is.
pub(super) fn message(fields: &Fields<'_>, errors: &mut Vec<Error>) -> Option<Message> {
    let topic = note(errors, fields.need("topic", "tele/plug-1/SENSOR"))
        .and_then(|node| note(errors, topic(node, "topic", false)));
    let mut pointer = |name: &str| {
        let node = fields.get(name)?;
        note(errors, pointer_of(node, name))
    };
    let (at, time) = (pointer("pointer"), pointer("time"));
    if let (None, Some(node)) = (fields.get("pointer"), fields.get("time")) {
        errors.push(Error::new(
            node.at,
            "`time` is of JSON, and this point is the whole payload as text",
            "write `pointer`, which says where the value is in the JSON; or leave `time` out",
        ));
    }
    let form = fields.get("type").and_then(|node| {
        let name = note(errors, text(node, "type"))?;
        let found = Form::ALL.into_iter().find(|(known, _)| *known == name);
        if found.is_none() {
            let names = Form::ALL.map(|(name, _)| name);
            let right = match nearest(name, &names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write number, integer, bool or text".to_owned(),
            };
            errors.push(Error::new(
                node.at,
                format!("`type` is {}", shown(name)),
                right,
            ));
        }
        found.map(|(_, form)| form)
    });
    let optional = fields.get("optional").and_then(|node| {
        let optional = boolean(node, "optional");
        note(errors, optional)
    });
    Some(Message {
        topic: topic?,
        pointer: at,
        form: form.unwrap_or_default(),
        time,
        is_optional: optional.unwrap_or(false),
    })
}

fn pointer_of(node: &Node, name: &str) -> Result<Arc<str>, Error> {
    let pointer = text(node, name)?;
    let is_escaped = pointer
        .split('~')
        .skip(1)
        .all(|rest| rest.starts_with(['0', '1']));
    let is_good = (pointer.is_empty() || pointer.starts_with('/'))
        && pointer.len() <= MAX_POINTER
        && is_escaped
        && !pointer.chars().any(char::is_control);
    if is_good {
        return Ok(pointer.into());
    }
    Err(Error::new(
        node.at,
        format!("`{name}` is {}", shown(pointer)),
        "write a JSON pointer, such as /ENERGY/Power or /0/value (~ is ~0 in it, and / is ~1)",
    ))
}

/// Reads a list of filters.
fn filters(node: &Node, name: &str, errors: &mut Vec<Error>) -> Vec<Arc<str>> {
    let Content::List(items) = &node.content else {
        errors.push(Error::new(
            node.at,
            format!("`{name}` is {}", node.kind()),
            "write a list, such as [\"tele/plug-1/#\"]",
        ));
        return Vec::new();
    };
    if items.is_empty() || items.len() > MAX_FILTERS {
        errors.push(Error::new(
            node.at,
            format!("`{name}` has {} entries", items.len()),
            format!("write 1 to {MAX_FILTERS}"),
        ));
        return Vec::new();
    }
    let read = items
        .iter()
        .filter_map(|item| note(errors, topic(item, name, true)));
    read.collect()
}

/// Reads a topic name, or a filter.
fn topic(node: &Node, name: &str, wild: bool) -> Result<Arc<str>, Error> {
    let topic = text(node, name)?;
    let wrong = |right: &str| {
        let what = format!("`{name}` has {}", shown(topic));
        Err(Error::new(node.at, what, right))
    };
    if topic.is_empty() || topic.len() > MAX_TOPIC || topic.split('/').count() > MAX_LEVELS {
        let right = format!("write 1 to {MAX_TOPIC} bytes in at most {MAX_LEVELS} levels");
        return wrong(&right);
    }
    if topic.chars().any(char::is_control) || topic.starts_with('$') {
        return wrong("write a topic without control characters that does not begin with $");
    }
    if !topic.contains(['+', '#']) {
        return Ok(topic.into());
    }
    if !wild {
        return wrong("write the whole topic of the point, without + and #");
    }
    let levels: Vec<&str> = topic.split('/').collect();
    let last = levels.len() - 1;
    let is_good = levels.iter().enumerate().all(|(at, level)| match *level {
        "+" => true,
        "#" => at == last,
        level => !level.contains(['+', '#']),
    });
    if !is_good {
        return wrong("+ and # fill a level, and # is the last one: tele/plug-1/#");
    }
    // Whoever has all topics could speak for every device that is added later.
    if matches!(levels.first(), Some(&("+" | "#"))) {
        return wrong("begin with a level that is no wildcard, such as tele/plug-1/#");
    }
    Ok(topic.into())
}

/// Whether there is a topic that both filters match.
fn meet(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('/'), other.split('/'));
    loop {
        match (one.next(), other.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (None, _) | (_, None) => return false,
            (Some(a), Some(b)) if a != b && a != "+" && b != "+" => return false,
            _ => {}
        }
    }
}

/// Whose topics are whose, to see that no topic is of two.
#[derive(Default)]
pub(super) struct Owners {
    exact: HashMap<Arc<str>, Owner>,
    patterns: Vec<(Arc<str>, Owner)>,
}

#[derive(Clone, PartialEq)]
struct Owner {
    /// A device, or none: nobody's, to be passed over.
    device: Option<DeviceId>,
}

impl Owners {
    /// Enters the topics of a connection's `ignore`.
    pub(super) fn ignore(&mut self, broker: &Broker) {
        for filter in &broker.ignore {
            self.enter(filter, Owner { device: None });
        }
    }

    /// Enters the topics of a device.
    pub(super) fn add(
        &mut self,
        at: At,
        device: &DeviceId,
        client: &Client,
        errors: &mut Vec<Error>,
    ) {
        let own = Owner {
            device: Some(device.clone()),
        };
        for filter in &client.topics {
            if let Some((theirs, whose)) = self.other(filter, &own) {
                let whose = match &whose.device {
                    Some(device) => format!("those of {}", shown(device.as_str())),
                    None => "`ignore`".to_owned(),
                };
                errors.push(Error::new(
                    at,
                    format!(
                        "the topics of {} meet {whose}: {} and {}",
                        shown(device.as_str()),
                        shown(filter),
                        shown(&theirs)
                    ),
                    "a topic is of one device: write `topics` that are not the other's",
                ));
                return;
            }
        }
        for filter in &client.topics {
            self.enter(filter, own.clone());
        }
        if self.patterns.len() > MAX_PATTERNS {
            errors.push(Error::new(
                at,
                format!("there are more than {MAX_PATTERNS} topics with wildcards"),
                "write fewer, or leave `topics` out where the topics of the points are enough",
            ));
            self.patterns.clear();
        }
    }

    fn enter(&mut self, filter: &Arc<str>, owner: Owner) {
        if filter.contains(['+', '#']) {
            self.patterns.push((Arc::clone(filter), owner));
        } else {
            self.exact.insert(Arc::clone(filter), owner);
        }
    }

    /// A filter of somebody else that meets this one.
    fn other(&self, filter: &Arc<str>, own: &Owner) -> Option<(Arc<str>, &Owner)> {
        let is_pattern = filter.contains(['+', '#']);
        let exact: Box<dyn Iterator<Item = (&Arc<str>, &Owner)>> = if is_pattern {
            Box::new(self.exact.iter())
        } else {
            Box::new(self.exact.get_key_value(filter).into_iter())
        };
        let patterns = self.patterns.iter().map(|(filter, owner)| (filter, owner));
        exact
            .chain(patterns)
            .find(|(theirs, owner)| *owner != own && meet(theirs, filter))
            .map(|(theirs, owner)| (Arc::clone(theirs), owner))
    }
}

/// The topics of a device: those that are written, else those of its points. Says which points lie
/// outside of them.
pub(super) fn settle<'a>(
    client: &mut Client,
    points: impl Iterator<Item = &'a Message>,
) -> Vec<Arc<str>> {
    let of_points: HashSet<Arc<str>> = points.map(|point| Arc::clone(&point.topic)).collect();
    if client.topics.is_empty() {
        client.topics = of_points.into_iter().collect();
        client.topics.sort();
        return Vec::new();
    }
    let outside = |topic: &Arc<str>| {
        let covers = |filter: &Arc<str>| stencil_mqtt::topic::matches(filter, topic);
        !client.topics.iter().any(covers)
    };
    let mut outside: Vec<_> = of_points.into_iter().filter(outside).collect();
    outside.sort();
    outside
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Link, Protocol, Target, parse};

    fn yaml(connection: &str, devices: &str) -> String {
        format!("version: 1\nconnections:\n  lan: {{ mqtt: {connection} }}\ndevices:\n{devices}")
    }

    const PLUG: &str = "  plug-1:\n    connection: lan\n    topics: [\"tele/plug-1/#\"]\n    \
                        silent-after: 10m\n    points:\n      power: { topic: tele/plug-1/SENSOR, \
                        pointer: /ENERGY/Power, time: /Time, unit: W, deadband: 1 }\n";

    #[test]
    fn a_device_with_its_topics_is_read() {
        let more = "  meter:\n    connection: lan\n    client: bridge\n    retained: take\n    \
                    points:\n      a: { topic: m/a, type: integer }\n      b: { topic: m/b, type: \
                    bool, optional: true }\n";
        let mapping = parse(&yaml(
            "{ ignore: [\"bridge/#\"] }",
            &format!("{PLUG}{more}"),
        ));
        let mapping = mapping.unwrap_or_else(|errors| panic!("{errors}"));
        let connection = &mapping.connections[0];
        assert!(matches!(&connection.protocol, Protocol::Mqtt(broker)
            if *broker.ignore == ["bridge/#".into()]));
        let Link::Mqtt(client) = &connection.devices[0].link else {
            panic!();
        };
        assert_eq!((&*client.name, client.takes_retained), ("plug-1", false));
        assert_eq!(client.silent_after, Duration::from_secs(600));
        let Target::Mqtt(message) = &connection.devices[0].points[0].target else {
            panic!();
        };
        assert_eq!(message.to_string(), "tele/plug-1/SENSOR /ENERGY/Power");
        assert_eq!(message.time.as_deref(), Some("/Time"));
        let Link::Mqtt(client) = &connection.devices[1].link else {
            panic!();
        };
        assert_eq!((&*client.name, client.takes_retained), ("bridge", true));
        assert_eq!(client.topics, ["m/a".into(), "m/b".into()]);
        assert_eq!(client.silent_after, SILENT_AFTER);
    }

    #[test]
    fn what_is_wrong_is_told_with_what_would_be_right() {
        let device = |more: &str, point: &str| {
            format!("  d:\n    connection: lan\n{more}    points:\n      p: {point}\n")
        };
        let topics = |list: &str| format!("    topics: {list}\n");
        for (devices, says) in [
            (device("", "{ pointer: /a }"), "`topic`"),
            (device("", "{ topic: a/+ }"), "the whole topic"),
            (device("", "{ topic: $SYS/a }"), "begin with $"),
            (device("", "{ topic: a, pointer: b }"), "a JSON pointer"),
            (device("", "{ topic: a, pointer: /b~2 }"), "a JSON pointer"),
            (device("", "{ topic: a, time: /t }"), "`time` is of JSON"),
            (device("", "{ topic: a, type: f32 }"), "number, integer"),
            (
                device("", "{ topic: a, type: text, unit: Cel }"),
                "of numbers",
            ),
            (device("", "{ topic: a, every: 1s }"), "`every`"),
            (device("    every: 1s\n", "{ topic: a }"), "`every`"),
            (device("    unit: 1\n", "{ topic: a }"), "`unit`"),
            (device(&topics("a"), "{ topic: a }"), "write a list"),
            (device(&topics("[]"), "{ topic: a }"), "write 1 to"),
            (device(&topics("[\"#\"]"), "{ topic: a }"), "no wildcard"),
            (
                device(&topics("[\"+/a\"]"), "{ topic: b/a }"),
                "no wildcard",
            ),
            (
                device(&topics("[\"a/#/b\"]"), "{ topic: a }"),
                "# is the last",
            ),
            (
                device(&topics("[\"a/b+\"]"), "{ topic: a }"),
                "fill a level",
            ),
            (
                device(&topics("[\"a/#\"]"), "{ topic: b/c }"),
                "is not in `topics`",
            ),
            (device("    client: a b\n", "{ topic: a }"), "add-client"),
            (device("    retained: yes\n", "{ topic: a }"), "`retained`"),
        ] {
            let errors = parse(&yaml("{}", &devices)).unwrap_err().to_string();
            assert!(errors.contains(says), "{says}: {devices}: {errors}");
        }
        let errors = parse(&yaml("{ port: 1883 }", PLUG))
            .unwrap_err()
            .to_string();
        assert!(errors.contains("port"), "{errors}");
    }

    #[test]
    fn no_topic_is_of_two_devices() {
        let device = |id: &str, topics: &str, topic: &str| {
            format!(
                "  {id}:\n    connection: lan\n{topics}    points:\n      p: {{ topic: {topic} }}\n"
            )
        };
        for (first, second, meets) in [
            (("", "a/b"), ("", "a/b"), true),
            (("    topics: [\"a/#\"]\n", "a/b"), ("", "a/c"), true),
            (
                ("    topics: [\"a/+/x\"]\n", "a/b/x"),
                ("    topics: [\"a/c/#\"]\n", "a/c/x"),
                true,
            ),
            (("    topics: [\"a/#\"]\n", "a/b"), ("", "a"), true),
            (("    topics: [\"a/+\"]\n", "a/b"), ("", "a/b/c"), false),
            (("", "a/b"), ("", "a/c"), false),
        ] {
            let devices = device("one", first.0, first.1) + &device("two", second.0, second.1);
            let parsed = parse(&yaml("{}", &devices));
            assert_eq!(parsed.is_err(), meets, "{devices}");
            if let Err(errors) = parsed {
                assert!(
                    errors.to_string().contains("a topic is of one device"),
                    "{errors}"
                );
            }
        }
        let errors = parse(&yaml("{ ignore: [\"tele/+/SENSOR\"] }", PLUG)).unwrap_err();
        assert!(errors.to_string().contains("`ignore`"), "{errors}");
    }
}
