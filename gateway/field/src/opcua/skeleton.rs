//! A first mapping of what is in a server.

use std::{collections::HashSet, fmt::Write as _};

use super::browse::{Browsed, MAX_VARIABLES};
use crate::mapping::{Connection, Protocol, Secured, Security, Server, User};

/// A mapping that reads what was found, with what each gives in a comment; what can't be sent is
/// commented out. It is one that [`mapping::parse`](crate::mapping::parse) takes, if something was
/// found that can be sent.
#[must_use]
pub fn skeleton(connection: &Connection, found: &Browsed) -> String {
    let mut out = String::from("version: 1\nconnections:\n  line:\n    opcua:\n");
    if let Protocol::OpcUa(server) = &connection.protocol {
        write_server(&mut out, server);
    }
    out.push_str("devices:\n  server:\n    connection: line\n    every: 10s\n    points:\n");
    let mut names = HashSet::new();
    for variable in &found.variables {
        let mark = if variable.is_good { "" } else { "# " };
        let name = point_name(&variable.path, &mut names);
        let gives: String = variable.gives.chars().map(shown).take(80).collect();
        let _ = writeln!(
            out,
            "      {mark}{}: {{ node: {} }} # {gives}",
            quoted(&name),
            quoted(&variable.node),
        );
    }
    if found.is_cut {
        let _ = writeln!(
            out,
            "      # There are more: {MAX_VARIABLES} variables are listed at most."
        );
    }
    out
}

fn write_server(out: &mut String, server: &Server) {
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(out, "      {key}: {}", quoted(value));
    };
    line("url", &server.url);
    match &server.security {
        Security::None => line("security", "none"),
        Security::Secured(Secured {
            policy,
            server_certificate,
            certificate,
            key,
        }) => {
            let named = crate::mapping::Policy::ALL
                .iter()
                .find(|(_, it)| it == policy);
            line("security", named.map_or("", |(name, _)| name));
            line("server-certificate", &server_certificate.to_string_lossy());
            line("certificate", &certificate.to_string_lossy());
            line("key", &key.to_string_lossy());
        }
    }
    match &server.user {
        User::Anonymous => {}
        User::Password { name, file } => {
            line("user", name);
            line("password-file", &file.to_string_lossy());
        }
        User::Certificate { certificate, key } => {
            line("user-certificate", &certificate.to_string_lossy());
            line("user-key", &key.to_string_lossy());
        }
    }
}

/// The last names on the way, as many as fit, and once.
pub(crate) fn point_name(path: &[String], taken: &mut HashSet<String>) -> String {
    const MOST: usize = 48;
    let clean = |part: &String| -> String {
        let kept = part.chars().filter(|it| !it.is_control() && *it != '/');
        kept.collect()
    };
    let mut name = String::new();
    for part in path.iter().rev().map(clean).filter(|part| !part.is_empty()) {
        let longer = if name.is_empty() {
            part
        } else {
            format!("{part}/{name}")
        };
        if longer.len() > MOST {
            if name.is_empty() {
                name = longer.chars().take(MOST / 4).collect();
            }
            break;
        }
        name = longer;
    }
    if name.is_empty() {
        name.push_str("value");
    }
    // Under these the gateway tells of faults.
    if name == "field.status" || name.ends_with(".fault") {
        name.push_str(".value");
    }
    let mut number = 1;
    let mut unique = name.clone();
    while !taken.insert(unique.clone()) {
        number += 1;
        unique = format!("{name}-{number}");
    }
    unique
}

/// A text in double quotes, as YAML and JSON write it.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            character if character.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            character => out.push(character),
        }
    }
    out.push('"');
    out
}

fn shown(character: char) -> char {
    if character.is_control() {
        '\u{fffd}'
    } else {
        character
    }
}

#[cfg(test)]
mod tests {
    use super::{super::browse::Variable, *};
    use crate::mapping;

    #[test]
    fn a_skeleton_is_a_mapping() {
        let variable = |path: &[&str], node: &str, gives: &str, is_good| Variable {
            path: path.iter().map(|it| (*it).to_owned()).collect(),
            node: node.to_owned(),
            gives: gives.to_owned(),
            is_good,
        };
        let found = Browsed {
            variables: vec![
                variable(&["Line1", "Temp"], "ns=2;s=Line1.\"Temp\"", "21.5", true),
                variable(&["Line1", "Temp"], "ns=2;i=7", "21.5\n# evil: {}", true),
                variable(&["x".repeat(90).as_str()], "ns=2;i=8", "a structure", false),
                variable(&["field.status"], "ns=2;i=9", "true", true),
            ],
            is_cut: true,
        };
        let address = mapping::opcua_address("opc.tcp://[::1]:4840/a").unwrap();
        let server = Server {
            url: "opc.tcp://[::1]:4840/a".into(),
            address,
            security: Security::Secured(Secured {
                policy: mapping::Policy::Aes256Sha256RsaPss,
                server_certificate: "/a/b.pem".into(),
                certificate: "/a/c \".pem".into(),
                key: "/a/c.key".into(),
            }),
            user: User::Password {
                name: "ann".into(),
                file: "/a/password".into(),
            },
            files_in: None,
        };
        let connection = Connection::new("line", Protocol::OpcUa(server));
        let text = skeleton(&connection, &found);
        let parsed = mapping::parse(&text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        assert_eq!(parsed.connections[0].protocol, connection.protocol);
        let points = &parsed.devices().next().unwrap().points;
        let names: Vec<&str> = points.iter().map(|point| &*point.name).collect();
        assert_eq!(
            names,
            ["Line1/Temp", "Line1/Temp-2", "field.status.value"],
            "{text}"
        );
        assert!(text.contains("# a structure"), "{text}");
        assert!(text.contains("There are more"), "{text}");
    }
}
