//! The outline of a mapping: that it is one, which connections and devices it names, and what hangs on
//! what. What the protocols say of these only their readers know, who are at the gateway.

use stencil_protocol::desired::{Flaw, MAX_FLAWS, MAX_SECTION_BYTES, Section};
use stencil_protocol::id::DeviceId;
use stencil_yaml::{
    Content, Error, Fields, Key, Limits, Node, integer, listed, nearest, shown, text,
};

/// The most connections.
const MAX_CONNECTIONS: usize = 64;
/// The most devices.
const MAX_DEVICES: usize = 1_024;

const LIMITS: Limits = Limits {
    what: "the mapping",
    max_bytes: MAX_SECTION_BYTES,
    max_depth: 12,
    max_nodes: 400_000,
};

/// What is wrong with it, at most [`MAX_FLAWS`].
pub(crate) fn check(yaml: &str) -> Vec<Flaw> {
    let mut errors = match stencil_yaml::read(yaml, &LIMITS) {
        Ok(root) => outline(&root),
        Err(error) => vec![error],
    };
    errors.sort_by_key(|error| (error.at.line, error.at.column));
    let errors = errors.into_iter().take(MAX_FLAWS);
    errors
        .map(|error| {
            let what = format!("{}; {}", error.what, error.right);
            let section = Some(Section::Mapping);
            Flaw::new(section, error.at.line, error.at.column, what)
        })
        .collect()
}

fn outline(root: &Node) -> Vec<Error> {
    let mut errors = Vec::new();
    let known = ["version", "connections", "devices"];
    let Some(fields) = Fields::gathering(root, "a mapping", &known, &mut errors) else {
        return errors;
    };
    let version = fields.need("version", "1");
    errors.extend(
        version
            .and_then(|node| integer(node, "version", 1, 1))
            .err(),
    );
    let example = "{ hall: { modbus-tcp: \"192.0.2.10:502\" } }";
    let connections = fields.need("connections", example);
    let connections = connections.and_then(|it| entries(it, "connections", MAX_CONNECTIONS));
    let example = "{ press-1: { connection: hall, unit: 1, points: … } }";
    let devices = fields.need("devices", example);
    let devices = devices.and_then(|it| entries(it, "devices", MAX_DEVICES));
    let names: Option<Vec<&str>> = match &connections {
        Ok(connections) => Some(
            connections
                .iter()
                .map(|(key, _)| key.name.as_str())
                .collect(),
        ),
        Err(_) => None,
    };
    for (key, node) in connections.as_ref().map_or(&[][..], |it| *it) {
        if !matches!(node.content, Content::Map(_)) {
            let what = format!("connection {} is {}", shown(&key.name), node.kind());
            errors.push(Error::new(
                node.at,
                what,
                format!(
                    "write {example}",
                    example = "{ modbus-tcp: \"192.0.2.10:502\" }"
                ),
            ));
        }
    }
    for (key, node) in devices.as_ref().map_or(&[][..], |it| *it) {
        errors.extend(device(key, node, names.as_deref()));
    }
    errors.extend(connections.err());
    errors.extend(devices.err());
    errors
}

/// The first that is wrong with a device.
fn device(key: &Key, node: &Node, connections: Option<&[&str]>) -> Option<Error> {
    if let Err(error) = DeviceId::parse(&key.name) {
        let what = format!("{} is no id of a device", shown(&key.name));
        return Some(Error::new(key.at, what, error.to_string()));
    }
    let Content::Map(fields) = &node.content else {
        let what = format!("device {} is {}", shown(&key.name), node.kind());
        return Some(Error::new(
            node.at,
            what,
            "write `{ connection: …, points: … }`",
        ));
    };
    let field = |name: &str| fields.iter().find(|(key, _)| key.name == name);
    let missing = |name: &str, example: &str| {
        Error::new(
            key.at,
            format!("device {} has no `{name}`", shown(&key.name)),
            format!("add one, for example `{name}: {example}`"),
        )
    };
    let Some((_, named)) = field("connection") else {
        return Some(missing("connection", "hall"));
    };
    let name = match text(named, "connection") {
        Ok(name) => name,
        Err(error) => return Some(error),
    };
    if let Some(names) = connections.filter(|names| !names.contains(&name)) {
        let right = match nearest(name, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", listed(names)),
        };
        let what = format!("there is no connection {}", shown(name));
        return Some(Error::new(named.at, what, right));
    }
    let Some((_, points)) = field("points") else {
        return Some(missing("points", "{ temperature: { … } }"));
    };
    match &points.content {
        Content::Map(points) if !points.is_empty() => None,
        _ => {
            let what = format!("`points` is {}", points.kind());
            Some(Error::new(
                points.at,
                what,
                "write a map of at least one point",
            ))
        }
    }
}

/// The entries of a map whose keys are names that the author chooses.
fn entries<'a>(node: &'a Node, name: &str, most: usize) -> Result<&'a [(Key, Node)], Error> {
    let Content::Map(entries) = &node.content else {
        return Err(Error::new(
            node.at,
            format!("`{name}` is {}", node.kind()),
            "write a map: each entry begins with its name",
        ));
    };
    if entries.is_empty() || entries.len() > most {
        return Err(Error::new(
            node.at,
            format!("there are {} {name}", entries.len()),
            format!("write 1 to {most}"),
        ));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(yaml: &str) -> Vec<(u64, String)> {
        let flaws = check(yaml);
        assert!(flaws.iter().all(|it| it.section == Some(Section::Mapping)));
        flaws.into_iter().map(|it| (it.line, it.what)).collect()
    }

    #[test]
    fn a_mapping_passes_whatever_its_protocols_are() {
        let good = "version: 1\nconnections: { hall: { of-tomorrow: x } }\ndevices:\n  press-1: { \
                    connection: hall, points: { t: { where: 1 } } }\n";
        assert_eq!(wrong(good), []);
    }

    #[test]
    fn nonsense_is_told_with_its_line_and_what_would_be_right() {
        for (yaml, line, words) in [
            ("a: 1\n", 1, "`a` is not a key of a mapping"),
            ("version: 1\ndevices: []\n", 2, "`devices` is"),
            (
                "version: 2\nconnections: { a: { x: 1 } }\ndevices: { d: { connection: a, points: { t: {} } } }\n",
                1,
                "version",
            ),
            (
                "version: 1\nconnections: { hall: { x: 1 } }\ndevices:\n  d: { connection: hal, points: { t: {} } }\n",
                4,
                "did you mean `hall`?",
            ),
            (
                "version: 1\nconnections: { hall: { x: 1 } }\ndevices:\n  d: { connection: hall }\n",
                4,
                "has no `points`",
            ),
            (
                "version: 1\nconnections: { hall: 7 }\ndevices:\n  d: { connection: hall, points: { t: {} } }\n",
                2,
                "connection `hall` is",
            ),
            (
                "version: 1\nconnections: { hall: { x: 1 } }\ndevices:\n  a/b: { connection: hall, points: { t: {} } }\n",
                4,
                "no id of a device",
            ),
        ] {
            let found = wrong(yaml);
            let is_told = |(at, what): &(u64, String)| *at == line && what.contains(words);
            assert!(found.iter().any(is_told), "{yaml}: {found:?}");
        }
        let many: String = (0..100).map(|n| format!("x{n}: 1\n")).collect();
        assert_eq!(wrong(&many).len(), MAX_FLAWS);
    }
}
