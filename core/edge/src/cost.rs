//! What rules may cost a gateway.

use stencil_rules::{Aggregate, Condition, Pattern};

use crate::Placed;

/// What a gateway gives to rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// The most rules.
    pub max_rules: usize,
    /// The most memory for what they remember, in bytes.
    pub max_bytes: u64,
    /// The most work on one sample of a device, as a multiple of what one comparison is.
    pub max_work: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            max_rules: 64,
            max_bytes: 8 << 20,
            max_work: 400,
        }
    }
}

/// What a rule costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// The most that it remembers of a device, in bytes, with its saved form.
    pub device_bytes: u64,
    /// Its work on a sample, as a multiple of what one comparison is.
    pub work: u64,
}

impl Cost {
    /// What a condition costs, at most.
    pub fn of(condition: &Condition) -> Self {
        /// A state with its names, and its place in the look-ups.
        const STATE: u64 = 320;
        /// Panes that a window holds at most.
        const PANES: u64 = 42;
        let (more, work) = match condition {
            Condition::Threshold(_) | Condition::Absence(_) => (0, 1),
            Condition::Rate(_) => (22 * 32, 2),
            Condition::Window(window) => match window.of() {
                Aggregate::Count | Aggregate::Min | Aggregate::Max => (PANES * 140, 3),
                Aggregate::Mean => (PANES * 180, 6),
                Aggregate::P95 => (PANES * 3_000, 30),
            },
            Condition::Expression(it) if it.is_native() => (0, 3),
            Condition::Expression(it) => (0, 60 + it.source().len() as u64 / 4),
        };
        Self {
            device_bytes: STATE + more,
            work,
        }
    }
}

/// Which of these rules fit into the budget, in their order: for each nothing, or why it is
/// refused. `devices` says how many devices of the gateway match a pattern.
pub fn admit(
    placed: &[Placed],
    budget: Budget,
    devices: impl Fn(&Pattern) -> usize,
) -> Vec<Result<(), String>> {
    let (mut rules, mut bytes, mut work) = (0_usize, 0_u64, 0_u64);
    let mut one = |placed: &Placed| {
        let rule = placed.rule().map_err(|error| error.to_string())?;
        if rules >= budget.max_rules {
            return Err(format!(
                "the gateway judges {} rules, which is the limit; take one away from it",
                budget.max_rules
            ));
        }
        let cost = Cost::of(&rule.condition);
        let watched = devices(&rule.devices).max(1) as u64;
        let needs = cost.device_bytes.saturating_mul(watched);
        let left = budget.max_bytes.saturating_sub(bytes);
        if needs > left {
            return Err(format!(
                "it is too dear for the gateway: it would remember up to {} of each of {watched} \
                 devices, {} in all, and {} of {} are left; watch fewer devices, or ask for \
                 something that needs less (a mean instead of a p95, a threshold instead of a \
                 window)",
                size(cost.device_bytes),
                size(needs),
                size(left),
                size(budget.max_bytes)
            ));
        }
        let left = budget.max_work.saturating_sub(work);
        if cost.work > left {
            return Err(format!(
                "it is too dear for the gateway: it would cost {} times what a comparison does on \
                 each sample, and {left} of {} are left; compare fields with literals instead of \
                 calling functions, or take another rule away",
                cost.work, budget.max_work
            ));
        }
        (rules, bytes, work) = (rules + 1, bytes + needs, work + cost.work);
        Ok(())
    };
    placed.iter().map(&mut one).collect()
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{} KB", bytes / 1_000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placed::tests::placed;

    const P95: &str = r#"{"window":{"of":"p95","over_us":60000000,"lateness_us":0,
        "level":{"above":true,"limit":5.0},"hold_us":0}}"#;
    const WARM: &str = r#"{"threshold":{"level":{"above":true,"limit":5.0},"hold_us":0}}"#;

    #[test]
    fn what_is_too_dear_is_refused_with_the_reason_and_the_others_stay() {
        let rules = [placed("a", P95), placed("b", WARM), placed("c", P95)];
        let fit = admit(&rules, Budget::default(), |_| 40);
        assert_eq!((&fit[0], &fit[1]), (&Ok(()), &Ok(())));
        let why = fit[2].clone().unwrap_err();
        assert!(
            why.contains("each of 40 devices") && why.contains("p95"),
            "{why}"
        );
        let few = admit(&rules, Budget::default(), |_| 10);
        assert_eq!(few, [Ok(()), Ok(()), Ok(())]);
    }

    #[test]
    fn interpreted_expressions_are_dear() {
        let source = format!("{}true", "event.device.contains('freezer') && ".repeat(12));
        let expression = format!(r#"{{"expression":{{"source":"{source}","hold_us":0}}}}"#);
        let rules: Vec<Placed> = ["a", "b", "c"]
            .iter()
            .map(|id| placed(id, &expression))
            .collect();
        let fit = admit(&rules, Budget::default(), |_| 1);
        assert_eq!(fit.iter().filter(|fit| fit.is_ok()).count(), 2);
        assert!(fit[2].clone().unwrap_err().contains("comparison"));
    }

    #[test]
    fn there_are_only_so_many() {
        let budget = Budget {
            max_rules: 1,
            ..Budget::default()
        };
        let fit = admit(&[placed("a", WARM), placed("b", WARM)], budget, |_| 1);
        assert!(fit[1].clone().unwrap_err().contains("1 rules"));
    }

    /// The bound is one: what a window really saves is below it.
    #[test]
    fn a_state_is_no_larger_than_it_is_reckoned() {
        use stencil_protocol::id::{Boot, Seq};
        use stencil_protocol::sample::Value;
        use stencil_rules::{Bounds, Cause, Engine, Observation};

        let late = P95.replace("\"lateness_us\":0", "\"lateness_us\":60000000");
        let rule = placed("a", &late).rule().unwrap();
        let cost = Cost::of(&rule.condition);
        let mut engine = Engine::new(Bounds::default());
        engine.put("a", rule).unwrap();
        for seq in 0..200_000_u64 {
            let time_us = i64::try_from(seq).unwrap() * 800;
            let sample = Observation {
                device: "freezer-1",
                name: "t",
                time_us,
                received_us: time_us,
                value: Value::Number(1.0 + (seq % 1_000) as f64 * 3e-3),
                unit: None,
                cause: Cause::Numbered {
                    boot: Boot(1),
                    seq: Seq(seq),
                },
            };
            engine.observe(&sample, |_, _, _| {});
        }
        let mut bytes = 0;
        engine.take_changed(|_, _, state| bytes = state.len() as u64);
        assert!(bytes > 10_000, "the sketches are full: {bytes}");
        assert!(
            bytes * 2 < cost.device_bytes,
            "{bytes} of {}",
            cost.device_bytes
        );
    }
}
