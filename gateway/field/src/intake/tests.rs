use stencil_protocol::sample::OwnedValue;

use super::*;
use crate::{mapping, port::Reading};

const YAML: &str = r#"
version: 1
connections: { c: { modbus-tcp: h } }
devices:
  d:
    connection: c
    points:
      t: { holding: 0, type: i16, scale: 0.1, unit: Cel, deadband: 0.5, max-silence: 1m, valid: [-40, 100] }
      n: { holding: 1, type: u16 }
      on: { coil: 0, deadband: 0 }
      p: { holding: 2, type: u16, deadband: 10% }
"#;
const SECOND: i64 = 1_000_000;

struct Test {
    intake: Intake,
    counts: Counts,
    now_us: i64,
}

impl Test {
    fn new() -> Self {
        let mut intake = Intake::default();
        let mut said = Vec::new();
        intake.replace(&mapping::parse(YAML).unwrap(), &[1], 0, &mut said);
        assert_eq!(said, []);
        Self {
            intake,
            counts: Counts::default(),
            now_us: 1_800_000_000 * SECOND,
        }
    }

    fn take(&mut self, event: impl FnOnce(DeviceId, i64) -> Event) -> Vec<String> {
        self.now_us += SECOND;
        let mut said = Vec::new();
        let device = DeviceId::parse("d").unwrap();
        let event = event(device, self.now_us);
        self.intake
            .take(1, event, self.now_us, &self.counts, &mut said);
        said.iter().map(brief).collect()
    }

    fn reading(&mut self, point: &str, value: impl Into<OwnedValueFrom>) -> Vec<String> {
        let value = value.into().0;
        self.take(|device, at_us| {
            Event::Reading(Reading {
                device,
                point: point.into(),
                value,
                at_us,
                quality: Quality::Good,
            })
        })
    }

    fn silent(&mut self, ms: u64) -> Vec<String> {
        self.take(|device, at_us| Event::Silent {
            device,
            fault: Fault::Timeout { ms },
            at_us,
        })
    }

    fn fault(&mut self, point: &str, fault: Fault) -> Vec<String> {
        self.take(|device, at_us| Event::Fault {
            device,
            point: point.into(),
            fault,
            at_us,
        })
    }
}

struct OwnedValueFrom(OwnedValue);

impl From<i64> for OwnedValueFrom {
    fn from(value: i64) -> Self {
        Self(OwnedValue::Integer(value))
    }
}

impl From<bool> for OwnedValueFrom {
    fn from(value: bool) -> Self {
        Self(OwnedValue::Bool(value))
    }
}

fn brief(said: &Said) -> String {
    match said {
        Said::Linked { line, .. } => format!("linked {line}"),
        Said::Gone { .. } => "gone".to_owned(),
        Said::Ticket(ticket) => format!("ticket {ticket}"),
        Said::Sample { sample, .. } => {
            let unit = sample.unit.as_deref().unwrap_or_default();
            format!("{}={:?}{unit}", sample.name, sample.value)
        }
    }
}

#[test]
fn a_device_is_linked_with_its_first_answer_and_gone_when_it_is_silent() {
    let mut test = Test::new();
    assert_eq!(
        test.reading("n", 7),
        [
            "linked modbus-tcp",
            "field.status=Text(\"ok\")",
            // It may have failed before the start, and nothing else would say that it is over.
            "n.fault=Text(\"ok\")",
            "n=Integer(7)"
        ]
    );
    assert_eq!(test.reading("n", 7), ["n=Integer(7)"]);
    assert_eq!(
        test.silent(500),
        ["field.status=Text(\"no answer within 500 ms\")", "gone"]
    );
    assert_eq!(test.silent(501), Vec::<String>::new(), "it is said once");
    assert_eq!(
        test.reading("n", 8),
        [
            "linked modbus-tcp",
            "field.status=Text(\"ok\")",
            "n=Integer(8)"
        ]
    );
    assert_eq!(test.counts.faults.get(), 1);
    assert_eq!(
        (test.counts.readings.get(), test.counts.samples.get()),
        (3, 3)
    );
}

#[test]
fn a_device_that_never_answered_is_not_gone() {
    let mut test = Test::new();
    assert_eq!(
        test.silent(5),
        ["field.status=Text(\"no answer within 5 ms\")"]
    );
}

#[test]
fn changes_within_the_deadband_are_not_sent_until_the_silence_ends() {
    let mut test = Test::new();
    assert_eq!(test.reading("t", 215).last().unwrap(), "t=Number(21.5)Cel");
    assert_eq!(test.reading("t", 220), Vec::<String>::new());
    assert_eq!(test.reading("t", 210), Vec::<String>::new());
    assert_eq!(test.reading("t", 221), ["t=Number(22.1)Cel"]);
    assert_eq!(test.reading("t", 220), Vec::<String>::new());
    test.now_us += 59 * SECOND;
    assert_eq!(test.reading("t", 220), ["t=Number(22.0)Cel"]);
    // A clock that was set back by a day holds up nothing.
    test.now_us -= 86_400 * SECOND;
    assert_eq!(test.reading("t", 220), ["t=Number(22.0)Cel"]);
}

#[test]
fn percents_are_of_the_value_sent_last_and_truths_are_sent_when_they_change() {
    let mut test = Test::new();
    assert_eq!(test.reading("p", 100).last().unwrap(), "p=Integer(100)");
    assert_eq!(test.reading("p", 110), Vec::<String>::new());
    assert_eq!(test.reading("p", 111), ["p=Integer(111)"]);
    assert_eq!(test.reading("p", 0), ["p=Integer(0)"]);
    assert_eq!(test.reading("p", 0), Vec::<String>::new());
    assert_eq!(test.reading("p", 1), ["p=Integer(1)"]);
    assert_eq!(
        test.reading("on", true),
        ["on.fault=Text(\"ok\")", "on=Bool(true)"]
    );
    assert_eq!(test.reading("on", true), Vec::<String>::new());
    assert_eq!(test.reading("on", false), ["on=Bool(false)"]);
}

#[test]
fn a_value_that_is_not_valid_is_a_fault_that_is_said_once_and_ends() {
    let mut test = Test::new();
    test.reading("t", 215);
    assert_eq!(
        test.reading("t", 5_000),
        ["t.fault=Text(\"500 is outside of what is valid, -40 to 100\")"]
    );
    assert_eq!(test.reading("t", 6_000), Vec::<String>::new());
    assert_eq!(
        test.reading("t", 215),
        ["t.fault=Text(\"ok\")", "t=Number(21.5)Cel"],
        "the first good value is sent, whatever was sent before"
    );
    let refused = Fault::Exception { code: 2 };
    let says = "n.fault=Text(\"illegal data address (Modbus exception 2)\")";
    assert_eq!(test.fault("n", refused.clone()), [says]);
    assert_eq!(test.fault("n", refused), Vec::<String>::new());
    assert_eq!(
        test.reading("t", 300),
        ["t=Number(30.0)Cel"],
        "the others go on"
    );
    assert_eq!(test.counts.faults.get(), 2);
}

#[test]
fn what_is_uncertain_is_sent_and_marked() {
    let mut test = Test::new();
    test.reading("n", 1);
    let said = test.take(|device, at_us| {
        Event::Reading(Reading {
            device,
            point: "n".into(),
            value: OwnedValue::Integer(2),
            at_us,
            quality: Quality::Uncertain("sensor not calibrated".into()),
        })
    });
    assert_eq!(
        said,
        [
            "n.fault=Text(\"uncertain: sensor not calibrated\")",
            "n=Integer(2)"
        ]
    );
}

#[test]
fn what_nobody_asked_for_is_passed_over() {
    let mut test = Test::new();
    test.reading("n", 1);
    assert_eq!(test.reading("unknown", 1), Vec::<String>::new());
    let mut said = Vec::new();
    let event = |device: &str| Event::Silent {
        device: DeviceId::parse(device).unwrap(),
        fault: Fault::Closed,
        at_us: 0,
    };
    test.intake
        .take(1, event("other"), test.now_us, &test.counts, &mut said);
    test.intake
        .take(2, event("d"), test.now_us, &test.counts, &mut said);
    assert_eq!(said, [], "not of this start of the source");
}

#[test]
fn another_mapping_keeps_what_is_the_same_and_tells_of_what_is_gone() {
    let mut test = Test::new();
    test.reading("t", 215);
    let mut said = Vec::new();
    test.intake
        .replace(&mapping::parse(YAML).unwrap(), &[1], 0, &mut said);
    assert_eq!(said, []);
    assert_eq!(
        test.reading("t", 215),
        Vec::<String>::new(),
        "it is known what was sent"
    );

    let other = mapping::parse(&YAML.replace("  d:", "  e:")).unwrap();
    test.intake.replace(&other, &[2], 5, &mut said);
    let device = DeviceId::parse("d").unwrap();
    assert_eq!(said, [Said::Gone { device, at_us: 5 }]);
    assert_eq!(
        test.reading("t", 215),
        Vec::<String>::new(),
        "d is no device any more"
    );
}

#[test]
fn texts_of_faults_are_cut_and_hold_nothing_that_a_terminal_obeys() {
    let long = shortened(format!("{}\u{1b}[2J", "é".repeat(200)));
    assert!(long.len() <= MAX_SAID && long.ends_with('…'), "{long}");
    assert_eq!(shortened("a\u{1b}b".to_owned()), "ab");
}

#[test]
fn values_of_one_second_are_all_kept_and_a_repeated_one_is_one() {
    let mut test = Test::new();
    test.reading("n", 0);
    let at_us = test.now_us - 60 * SECOND;
    let mut said = |value: i64, at_us: i64| {
        let mut said = Vec::new();
        let event = Event::Reading(Reading {
            device: DeviceId::parse("d").unwrap(),
            point: "n".into(),
            value: OwnedValue::Integer(value),
            at_us,
            quality: Quality::Good,
        });
        test.intake
            .take(1, event, test.now_us, &test.counts, &mut said);
        let times = said.iter().map(|said| match said {
            Said::Sample { sample, .. } => sample.time_us,
            other => panic!("{other:?}"),
        });
        times.collect::<Vec<_>>()
    };
    assert_eq!(said(1, at_us), [at_us]);
    assert_eq!(said(2, at_us), [at_us + 1]);
    assert!(said(2, at_us).is_empty(), "the same message again");
    assert_eq!(said(3, at_us), [at_us + 2]);
    assert_eq!(said(4, at_us + SECOND), [at_us + SECOND]);
}

#[test]
fn a_device_answers_now_however_old_its_reading_is() {
    let mut test = Test::new();
    let old = |test: &mut Test, value: i64| {
        let mut said = Vec::new();
        let event = Event::Reading(Reading {
            device: DeviceId::parse("d").unwrap(),
            point: "n".into(),
            value: OwnedValue::Integer(value),
            at_us: 5 * SECOND,
            quality: Quality::Good,
        });
        test.now_us += SECOND;
        test.intake
            .take(1, event, test.now_us, &test.counts, &mut said);
        said
    };
    let said = old(&mut test, 1);
    let now_us = test.now_us;
    assert!(
        matches!(said[0], Said::Linked { at_us, .. } if at_us == now_us),
        "{said:?}"
    );
    let time_of = |said: &Said| match said {
        Said::Sample { sample, .. } => (sample.name.clone(), sample.time_us),
        other => panic!("{other:?}"),
    };
    assert_eq!(time_of(&said[1]), ("field.status".to_owned(), now_us));
    assert_eq!(time_of(&said[2]), ("n.fault".to_owned(), 5 * SECOND));
    assert_eq!(time_of(&said[3]), ("n".to_owned(), 5 * SECOND));
}
