//! Rules to begin with, one of each kind.

use stencil_protocol::id::DeviceId;

/// A rule to begin with.
#[derive(Debug)]
pub(super) struct Template {
    /// Its name in an address.
    pub(super) name: &'static str,
    /// What it is called.
    pub(super) title: &'static str,
    /// When it is the right one.
    pub(super) about: &'static str,
    yaml: &'static str,
}

/// All of them; the first one is what a new rule begins with.
pub(super) const ALL: [Template; 5] = [
    Template {
        name: "threshold",
        title: "Threshold",
        about: "A value stays above or below a limit for a while.",
        yaml: "\
id: too-warm
version: 1
title: Too warm
# Which devices, and which of their values.
on: { telemetry: { devices: \"@DEVICES@\", name: @NAME@ } }
# True after 10 s above 30; no longer true from 28 on.
when: { above: 30.0, for: 10s, clear: 28.0 }
alarm: { severity: major, title: \"{{ event.device }} is at {{ event.value }}\" }
",
    },
    Template {
        name: "absence",
        title: "Absence",
        about: "A device says nothing for a while.",
        yaml: "\
id: silent
version: 1
title: Nothing heard
# Watched from a device's first sample on. Without a name any sample counts.
on: { telemetry: { devices: \"@DEVICES@\", name: @NAME@ } }
when: { absent: 5m }
alarm: { severity: minor, title: \"{{ event.device }} says nothing\" }
",
    },
    Template {
        name: "rate",
        title: "Rate of change",
        about: "A value rises or falls too fast.",
        yaml: "\
id: rises-fast
version: 1
title: Rises too fast
on: { telemetry: { devices: \"@DEVICES@\", name: @NAME@ } }
# The change per second, over the last minute.
when: { rate: { over: 1m, above: 0.5 }, for: 10s }
alarm: { severity: warning, title: \"{{ event.device }} changes too fast\" }
",
    },
    Template {
        name: "window",
        title: "Window",
        about: "A count, mean, minimum, maximum or 95th percentile over some time.",
        yaml: "\
id: mean-too-high
version: 1
title: Mean too high
on: { telemetry: { devices: \"@DEVICES@\", name: @NAME@ } }
# Of event time; samples may be late by as much as `lateness`.
when: { window: { of: mean, over: 10m, lateness: 30s, above: 25.0, clear: 24.0 } }
alarm: { severity: minor, title: \"The mean of {{ event.device }} is {{ event.value }}\" }
",
    },
    Template {
        name: "expression",
        title: "Expression",
        about: "Any condition over one sample, in CEL.",
        yaml: "\
id: odd-value
version: 1
title: Odd value
on: { telemetry: { devices: \"@DEVICES@\", name: @NAME@ } }
# event has device, name, value, unit and time_us.
when: { expr: \"event.value > 30.0 || event.value < -30.0\", for: 10s }
alarm: { severity: major, title: \"{{ event.device }} reports {{ event.value }}\" }
# What is done, one step after the other.
steps:
  - id: notice
    use: content.upsert
    with:
      collection: notices
      key: \"{{ event.device }}\"
      set: { title: \"{{ event.device }} reports {{ event.value }}\" }
",
    },
];

impl Template {
    /// The one of this name.
    pub(super) fn of(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|template| template.name == name)
    }

    /// Its text for these devices and this value.
    pub(super) fn text(&self, device: Option<&DeviceId>, name: Option<&str>) -> String {
        let devices = device.map_or("sensor-*", DeviceId::as_str);
        let name = name.map_or_else(|| "temperature".to_owned(), plain_or_quoted);
        self.yaml
            .replace("@DEVICES@", devices)
            .replace("@NAME@", &name)
    }
}

/// A name as YAML has it: as it is where nothing in it means something else.
fn plain_or_quoted(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&name);
    if plain {
        return name.to_owned();
    }
    // A JSON string is a YAML one.
    serde_json::Value::from(name).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use stencil_workflow::definition;

    #[test]
    fn every_template_is_a_definition_also_with_odd_names() {
        let device = DeviceId::parse("freezer-07").unwrap();
        for template in &ALL {
            for (device, name) in [
                (None, None),
                (Some(&device), Some("temperature")),
                (Some(&device), Some("co2 level: \"x\" #1")),
                (Some(&device), Some("no")),
                (Some(&device), Some("12")),
            ] {
                let text = template.text(device, name);
                let parsed = definition::parse(&text);
                assert!(parsed.is_ok(), "{}: {parsed:?}\n{text}", template.name);
            }
            assert_eq!(Template::of(template.name).unwrap().title, template.title);
        }
    }
}
