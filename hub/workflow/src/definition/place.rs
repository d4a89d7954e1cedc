//! Where a rule is judged first: `place: { gateways: "site-*", otherwise: hub }`.

use serde_json::Value;
use stencil_edge::{Action as Local, Argument, Placed, Scalar, When};
use stencil_rules::{Pattern, Rule};
use stencil_yaml::{Error, Fields, Node, shown, text};

use super::action::Action;
use super::input::Input;
use super::step::Step;
use crate::effect;
use crate::template::Template;

/// Where a rule is judged, and its first step done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The gateways: an id, or a pattern over ids.
    pub gateways: Pattern,
    /// Who does the first step when no gateway could.
    pub otherwise: Otherwise,
}

/// Who does the first step of a placed workflow when no gateway could.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Otherwise {
    /// The hub, as soon as it knows.
    Hub,
    /// Nobody: the step fails.
    Nobody,
}

/// Reads `place`, and sees whether the workflow can be judged at a gateway.
pub(super) fn read(node: &Node, rule: &Rule, steps: &[Step]) -> Result<Placement, Error> {
    let fields = Fields::of(node, "`place`", &["gateways", "otherwise"])?;
    let gateways = fields.need("gateways", "\"site-*\"")?;
    let pattern = Pattern::parse(text(gateways, "gateways")?).map_err(|error| {
        Error::new(
            gateways.at,
            error.to_string(),
            "write a gateway's id, or a pattern such as \"site-*\"",
        )
    })?;
    let otherwise = match fields.get("otherwise") {
        None => Otherwise::Hub,
        Some(node) => match text(node, "otherwise")? {
            "hub" => Otherwise::Hub,
            "nobody" => Otherwise::Nobody,
            other => {
                return Err(Error::new(
                    node.at,
                    format!("`otherwise` is {}", shown(other)),
                    "write hub (it does the step as soon as it knows that no gateway could) or \
                     nobody (the step fails then)",
                ));
            }
        },
    };
    let local = local(steps).map_err(|(what, right)| Error::new(node.at, what, right))?;
    let placed = Placed {
        workflow: String::from("checked"),
        version: 1,
        devices: rule.devices.as_str().to_owned(),
        name: rule.name.clone(),
        when: When::of(&rule.condition),
        action: local,
    };
    let fits = stencil_edge::admit(&[placed], stencil_edge::Budget::default(), |_| 1);
    if let Some(Err(why)) = fits.into_iter().next() {
        return Err(Error::new(
            node.at,
            format!("no gateway can judge this rule: {why}"),
            "make it cheaper, or leave `place` out, so that the hub judges it",
        ));
    }
    Ok(Placement {
        gateways: pattern,
        otherwise,
    })
}

/// The form in which a workflow is given to gateways; none without a `place`.
pub(super) fn placed(
    id: &str,
    version: u32,
    rule: &Rule,
    steps: &[Step],
    place: Option<&Placement>,
) -> Option<Placed> {
    place?;
    Some(Placed {
        workflow: id.to_owned(),
        version,
        devices: rule.devices.as_str().to_owned(),
        name: rule.name.clone(),
        when: When::of(&rule.condition),
        action: local(steps).ok()?,
    })
}

/// The step that a gateway does: the first, if it needs nothing that only the hub has. Else what
/// is wrong, and what would be right.
fn local(steps: &[Step]) -> Result<Local, (String, &'static str)> {
    let right = "let the first step be a device.command; the steps after it are the hub's, which \
                 does them when it hears of it";
    let Some(step) = steps.first() else {
        let what = "a workflow with a `place` has no step for the gateway to do";
        return Err((what.to_owned(), right));
    };
    let Action::DeviceCommand {
        device,
        command,
        argument,
        expires_us,
    } = &step.action
    else {
        let what = format!(
            "the first step, {}, is a {}, which no gateway can do",
            shown(&step.id),
            step.action.uses()
        );
        return Err((what, right));
    };
    let templated = |field: &str, template: &Template| {
        let what = format!(
            "`{field}` of the first step is {}, which no gateway can work out",
            shown(template.source())
        );
        (
            what,
            "write a text without expressions; of them a gateway knows {{ event.device }} as \
                the `device` and {{ event.value }} as the `argument`",
        )
    };
    let device_id = match device.literal() {
        Some(literal) => Some(literal.to_owned()),
        None if is(device, "event.device") => None,
        None => return Err(templated("device", device)),
    };
    let name = command
        .literal()
        .ok_or_else(|| templated("command", command))?;
    let argument = match argument {
        None | Some(Input::Literal(Value::Null)) => Argument::None,
        Some(Input::Text(text)) => match text.literal() {
            Some(literal) => Argument::Value(Scalar::Text(literal.to_owned())),
            None if is(text, "event.value") => Argument::EventValue,
            None => return Err(templated("argument", text)),
        },
        Some(Input::Literal(value)) => match effect::argument(value.clone()) {
            Ok(Some(value)) => Argument::Value(Scalar::from(&value)),
            Ok(None) => Argument::None,
            Err(error) => return Err((error.what, "write a number, true, false or text")),
        },
        Some(Input::List(_) | Input::Map(_)) => {
            let what = "`argument` of the first step is no single value".to_owned();
            return Err((what, "write a number, true, false or text"));
        }
    };
    Ok(Local {
        step: step.id.clone(),
        device: device_id,
        command: name.to_owned(),
        argument,
        expires_us: *expires_us,
    })
}

/// Whether a template is this one name and nothing else.
fn is(template: &Template, name: &str) -> bool {
    let source = template.source().trim();
    let inside = source
        .strip_prefix("{{")
        .and_then(|rest| rest.strip_suffix("}}"));
    inside.is_some_and(|inside| inside.trim() == name) && template.source() == source
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::parse;

    fn workflow(place: &str, when: &str, steps: &str) -> String {
        format!(
            "id: door\nversion: 3\non: {{ telemetry: {{ devices: 'freezer-*', name: door }} }}\n\
             when: {when}\nplace: {place}\nsteps: {steps}\n"
        )
    }

    const LOCK: &str = "[{ id: lock, use: device.command, with: { device: '{{ event.device }}', \
                        command: lock, argument: '{{event.value}}', expires: 30s } }]";

    fn wrong(yaml: &str) -> String {
        parse(yaml).unwrap_err().to_string()
    }

    #[test]
    fn a_gateway_is_given_the_rule_and_its_first_step() {
        let yaml = workflow("{ gateways: 'site-*' }", "{ above: 0.5 }", LOCK);
        let definition = parse(&yaml).unwrap();
        let place = definition.place.as_ref().unwrap();
        assert!(place.gateways.matches("site-7") && place.otherwise == Otherwise::Hub);
        let placed = definition.placed().unwrap();
        assert_eq!((placed.workflow.as_str(), placed.version), ("door", 3));
        assert_eq!(&placed.rule().unwrap(), definition.rule().unwrap());
        let action = &placed.action;
        assert_eq!(
            (action.step.as_str(), action.command.as_str()),
            ("lock", "lock")
        );
        assert_eq!(
            (&action.device, &action.argument),
            (&None, &Argument::EventValue)
        );
        assert_eq!(action.expires_us, 30_000_000);
        let json = serde_json::to_string(&placed).unwrap();
        assert_eq!(serde_json::from_str::<Placed>(&json).unwrap(), placed);
    }

    #[test]
    fn one_without_a_place_is_given_to_nobody() {
        let yaml = workflow("{ gateways: 'site-*' }", "{ above: 0.5 }", LOCK);
        let yaml = yaml.replace("place: { gateways: 'site-*' }\n", "");
        let definition = parse(&yaml).unwrap();
        assert!(definition.place.is_none() && definition.placed().is_none());
    }

    #[test]
    fn what_no_gateway_can_do_is_refused_with_what_would_be_right() {
        let here = "{ gateways: 'site-*' }";
        let mail =
            "[{ id: tell, use: webhook.post, with: { url: 'https://example.org', body: 1 } }]";
        let error = wrong(&workflow(here, "{ above: 0.5 }", mail));
        assert!(
            error.contains("webhook.post") && error.contains("device.command"),
            "{error}"
        );
        for (from, to) in [
            ("'{{ event.device }}'", "'lock-{{ event.device }}'"),
            ("command: lock", "command: '{{ event.name }}'"),
            ("'{{event.value}}'", "'{{ event.value + 2 }}'"),
        ] {
            let error = wrong(&workflow(here, "{ above: 0.5 }", &LOCK.replace(from, to)));
            assert!(error.contains("no gateway can work out"), "{error}");
        }
        let error = wrong(&workflow("{ gateways: 'a b' }", "{ above: 0.5 }", LOCK));
        assert!(error.contains("pattern"), "{error}");
        let place = "{ gateways: '*', otherwise: later }";
        let error = wrong(&workflow(place, "{ above: 0.5 }", LOCK));
        assert!(error.contains("hub") && error.contains("nobody"), "{error}");
    }
}
