//! From a rule that fired or cleared to the alarm that it raises or ends.

use sha2::{Digest, Sha256};
use stencil_protocol::id::{DeviceId, TenantId};
use stencil_protocol::sample::OwnedValue;
use stencil_rules::{Cause, Clearing, Condition, Firing, Level, Limit};
use stencil_store::{AlarmId, Raised};

use crate::definition::Definition;
use crate::event::{self, part};
use crate::template::Scope;

/// The alarm that a firing raises; `None` where the workflow raises none. The same firing gives
/// the same id, so that it is raised once, however often it is found.
///
/// `since` is the log position at which the rule began to be what it is: a rule that was out of
/// force in between raises an alarm of its own, also for a cause that it has seen before. `sample`
/// as in [`event::event`]. An alarm whose title cannot be rendered says what the workflow is
/// called: it is not lost for a template.
pub fn raised(
    tenant: &TenantId,
    definition: &Definition,
    since: u64,
    device: &DeviceId,
    sample: Option<(&OwnedValue, Option<&str>)>,
    firing: &Firing,
) -> Option<Raised> {
    let alarm = definition.alarm.as_ref()?;
    let named = || definition.title.as_ref().unwrap_or(&definition.id).clone();
    let event = event::event(tenant, definition, device, sample, firing);
    let value = match &event.value {
        Some(OwnedValue::Number(number)) => Some(*number),
        // As good as it can be shown; the series has it exactly.
        #[expect(clippy::cast_precision_loss, reason = "shown beside a title")]
        Some(OwnedValue::Integer(integer)) => Some(*integer as f64),
        _ => None,
    };
    // Texts and numbers only: this cannot fail.
    let event = serde_json::to_value(&event).unwrap_or_default();
    let title = match alarm.title(&Scope::new(&event, [])) {
        Ok(Some(title)) if !title.trim().is_empty() => title,
        Ok(_) => named(),
        Err(error) => {
            tracing::warn!(%tenant, workflow = definition.id, version = definition.version, %device,
                %error, "the title of an alarm cannot be rendered");
            named()
        }
    };
    Some(Raised {
        id: alarm_id(tenant, definition, since, device, firing.cause),
        tenant: tenant.clone(),
        workflow: definition.id.clone(),
        version: definition.version,
        device: device.clone(),
        severity: alarm.severity,
        title: title.replace(char::is_control, " "),
        at_us: firing.at_us,
        value,
    })
}

/// The id of the alarm that a cause raises: the first half of SHA-256 over tenant, workflow,
/// version, the place in the log from which on the rule is as it is, device and cause.
fn alarm_id(
    tenant: &TenantId,
    definition: &Definition,
    since: u64,
    device: &DeviceId,
    cause: Cause,
) -> AlarmId {
    let mut hash = Sha256::new();
    part(&mut hash, b"stencil alarm 1");
    part(&mut hash, &since.to_be_bytes());
    part(
        &mut hash,
        &event::run_id(tenant, definition, device, cause).0,
    );
    let mut id = [0; 16];
    id.iter_mut()
        .zip(hash.finalize())
        .for_each(|(to, from)| *to = from);
    AlarmId(id)
}

/// Why an alarm ends whose rule no longer holds, in words.
pub fn why_cleared(definition: &Definition, clearing: &Clearing) -> String {
    let Some(rule) = definition.rule() else {
        return "its cause is gone".to_owned();
    };
    let name = rule.name.as_deref().unwrap_or("the value");
    let compared = |what: &str, level: Level| match clearing.value {
        Some(value) => {
            let (side, bound) = match level.limit() {
                Limit::Above(limit) => ("above", level.clear().unwrap_or(limit)),
                Limit::Below(limit) => ("below", level.clear().unwrap_or(limit)),
            };
            format!("{what} is {value}, which is not {side} {bound}")
        }
        None => format!("{what} is no longer {}", level.limit()),
    };
    match &rule.condition {
        Condition::Threshold(threshold) => compared(name, threshold.level()),
        Condition::Rate(rate) => {
            compared(&format!("the change of {name} per second"), rate.level())
        }
        Condition::Window(window) => compared(
            &format!("the {} of {name}", window.of().name()),
            window.level(),
        ),
        Condition::Absence(_) => "a reading came".to_owned(),
        Condition::Expression(_) => match clearing.value {
            Some(value) => format!("{name} is {value}: the expression is no longer true"),
            None => "the expression is no longer true".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use stencil_protocol::id::{Boot, Seq};
    use stencil_rules::Finite;

    use super::*;
    use crate::definition::parse;

    fn definition(title: &str, when: &str) -> Definition {
        parse(&format!(
            "id: warm\nversion: 2\ntitle: Freezer too warm\n\
             on: {{ telemetry: {{ devices: \"*\", name: temperature }} }}\n\
             when: {when}\nalarm: {{ severity: major{title} }}\n"
        ))
        .unwrap()
    }

    fn firing(seq: u64) -> Firing {
        Firing {
            since_us: 1,
            at_us: 2,
            value: Finite::new(-3.5),
            cause: Cause::Numbered {
                boot: Boot(1),
                seq: Seq(seq),
            },
        }
    }

    fn alarm(definition: &Definition, since: u64, seq: u64) -> Raised {
        let (tenant, device) = (
            TenantId::parse("acme").unwrap(),
            DeviceId::parse("freezer-1").unwrap(),
        );
        let value = OwnedValue::Number(-3.5);
        let sample = Some((&value, Some("degC")));
        raised(&tenant, definition, since, &device, sample, &firing(seq)).unwrap()
    }

    #[test]
    fn the_title_is_the_template_or_what_the_workflow_is_called() {
        let above = "{ above: -12.0 }";
        let full = definition(
            ", title: \"{{ event.device }}: {{ event.value }} {{ event.unit }}\"",
            above,
        );
        let raised = alarm(&full, 0, 1);
        assert_eq!(raised.title, "freezer-1: -3.5 degC");
        assert_eq!(
            (raised.value, raised.at_us, raised.version),
            (Some(-3.5), 2, 2)
        );
        assert_eq!(
            alarm(&definition("", above), 0, 1).title,
            "Freezer too warm"
        );
        // A name of a step that there is not is refused when it is read; this one fails later.
        let failing = definition(", title: \"{{ event.value / event.device }}\"", above);
        assert_eq!(alarm(&failing, 0, 1).title, "Freezer too warm");
    }

    #[test]
    fn the_same_cause_is_the_same_alarm_and_no_other_is() {
        let of = definition("", "{ above: -12.0 }");
        assert_eq!(alarm(&of, 7, 1).id, alarm(&of, 7, 1).id);
        assert_ne!(alarm(&of, 7, 1).id, alarm(&of, 7, 2).id);
        assert_ne!(alarm(&of, 7, 1).id, alarm(&of, 8, 1).id);
    }

    #[test]
    fn it_says_why_it_ended() {
        for (when, value, says) in [
            (
                "{ above: -12.0 }",
                Some(-15.0),
                "temperature is -15, which is not above -12",
            ),
            (
                "{ below: 3.0, clear: 4.5 }",
                Some(5.0),
                "temperature is 5, which is not below 4.5",
            ),
            (
                "{ rate: { over: 1m, above: 0.5 } }",
                Some(0.25),
                "the change of temperature per second is 0.25, which is not above 0.5",
            ),
            (
                "{ window: { of: mean, over: 10m, above: 5.0 } }",
                Some(4.0),
                "the mean of temperature is 4, which is not above 5",
            ),
            (
                "{ window: { of: mean, over: 10m, above: 5.0 } }",
                None,
                "the mean of temperature is no longer above 5",
            ),
            ("{ absent: 1m }", Some(4.0), "a reading came"),
            (
                "{ expr: \"event.value > 30.0\" }",
                Some(4.0),
                "temperature is 4: the expression is no longer true",
            ),
        ] {
            let clearing = Clearing {
                since_us: 1,
                at_us: 2,
                value: value.and_then(Finite::new),
                cause: firing(1).cause,
            };
            assert_eq!(why_cleared(&definition("", when), &clearing), says);
        }
    }
}
