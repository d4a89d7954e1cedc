use std::time::Duration;

use super::*;

const GOOD: &str = r#"
version: 1
connections:
  hall: { modbus-tcp: "192.0.2.10:502", timeout: 500ms, retries: 2, max-backoff: 5m, pause: 20ms }
  office: { modbus-tcp: plc.example }
  six: { modbus-tcp: "[2001:db8::1]:1502" }
  meters:
    modbus-rtu: { path: /dev/ttyUSB0, baud: 9600, parity: none, stop-bits: 2 }
  plain: { modbus-rtu: /dev/ttyUSB1 }
devices:
  press-1:
    connection: hall
    unit: 7
    every: 5s
    max-gap: 0
    points:
      temperature: { holding: 100, type: f32, order: CDAB, unit: Cel, deadband: 0.2, max-silence: 10m, valid: [-40, 150] }
      speed: { input: 30, type: u16, scale: 0.1, offset: -5, every: 250ms, deadband: 2% }
      running: { coil: 3, deadband: 0 }
      alarm: { holding: 5, type: bool, bit: 15 }
      state: { holding: 5, type: bits, bits: [4, 7] }
      serial: { holding: 200, type: string, length: 12, order: badc }
      last: { holding: 65535, type: u16 }
  meter-1: { connection: meters, unit: 1, points: { energy: { input: 0, type: u64, unit: kW.h } } }
  plc: { connection: office, points: { on: { discrete: 65535 } } }
"#;

fn errors(yaml: &str) -> Vec<String> {
    match parse(yaml) {
        Ok(mapping) => panic!("it was understood: {mapping:?}"),
        Err(errors) => errors.0.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn what_is_written_is_what_is_read() {
    let mapping = parse(GOOD).unwrap_or_else(|errors| panic!("{errors}"));
    let [hall, office, six, meters, plain] = &mapping.connections[..] else {
        panic!("{mapping:?}")
    };
    assert_eq!(&*hall.protocol.place(), "192.0.2.10:502");
    assert_eq!(
        (hall.timeout, hall.retries),
        (Duration::from_millis(500), 2)
    );
    assert_eq!(
        (hall.max_backoff, hall.pause),
        (Duration::from_secs(300), Duration::from_millis(20))
    );
    assert_eq!(&*office.protocol.place(), "plc.example:502");
    assert_eq!(office.timeout, Duration::from_secs(1));
    assert_eq!(&*six.protocol.place(), "[2001:db8::1]:1502");
    assert!(matches!(&meters.protocol, Protocol::ModbusRtu(line)
        if line.baud == 9600 && line.parity == crate::serial::Parity::None && line.two_stop_bits));
    assert!(matches!(&plain.protocol, Protocol::ModbusRtu(line)
        if line.baud == 19_200 && line.parity == crate::serial::Parity::Even && !line.two_stop_bits));

    let press = &hall.devices[0];
    assert_eq!(press.id.as_str(), "press-1");
    assert_eq!(
        press.link,
        Link::Modbus(Unit {
            max_gap: 0,
            ..Unit::new(7)
        })
    );
    let formats: Vec<Format> = press
        .points
        .iter()
        .map(|point| {
            let Target::Modbus(address) = point.target else {
                panic!("{point:?}");
            };
            address.format
        })
        .collect();
    assert_eq!(
        formats,
        [
            Format::F32,
            Format::U16,
            Format::Bool,
            Format::Bit(15),
            Format::Bits { from: 4, count: 4 },
            Format::Text(12),
            Format::U16,
        ]
    );
    let [temperature, speed, ..] = &press.points[..] else {
        panic!()
    };
    assert_eq!(temperature.every, Duration::from_secs(5));
    assert_eq!(temperature.unit.as_deref(), Some("Cel"));
    assert_eq!(temperature.valid, Some((-40.0, 150.0)));
    assert_eq!(
        temperature.report,
        Report::Changes {
            deadband: Deadband::Absolute(0.2),
            max_silence: Duration::from_secs(600)
        }
    );
    assert_eq!(speed.every, Duration::from_millis(250));
    assert!(
        matches!(speed.report, Report::Changes { deadband: Deadband::Percent(two), .. } if two == 2.0)
    );
    // The device that the address is of.
    assert_eq!(office.devices[0].link, Link::Modbus(Unit::new(255)));
}

#[test]
fn all_that_is_wrong_is_told_with_its_line() {
    let told = errors(
        r#"version: 2
connections:
  hall: { modbus-tcp: "plc:99999" }
  both: { modbus-tcp: plc, modbus-rtu: /dev/ttyS0 }
  none: { timeout: 1s }
  slow: { modbus-tcp: plc, timeout: 5m, retires: 1 }
  line: { modbus-rtu: { path: ttyS0, parity: evn, baud: 9600.5 } }
devices:
  "press 1": { connection: slow, unit: 1, points: { a: { coil: 1 } } }
  press-2: { connection: slwo, points: {} }
  press-3: { connection: slow, unit: 1, points: {} }
"#,
    );
    let expected = [
        ("line 1,", "`version` is 2; write 1"),
        ("line 3,", "host:port"),
        ("line 4,", "more than one protocol"),
        ("line 5,", "no protocol"),
        ("line 6,", "between 10ms and 1m"),
        ("line 6,", "did you mean `retries`?"),
        ("line 7,", "whole path"),
        ("line 7,", "did you mean `even`?"),
        ("line 7,", "whole number from 300"),
        ("line 9,", "is no id of a device"),
        ("line 10,", "did you mean `slow`?"),
        ("line 11,", "there are 0 points"),
    ];
    for (line, says) in expected {
        assert!(
            told.iter()
                .any(|error| error.starts_with(line) && error.contains(says)),
            "{line} {says}: {told:#?}"
        );
    }
}

/// One point in a device that is right otherwise.
fn point(point: &str) -> Result<Mapping, Errors> {
    parse(&format!(
        "version: 1\nconnections: {{ c: {{ modbus-tcp: h }} }}\ndevices:\n  d:\n    \
         connection: c\n    points:\n      p: {point}\n"
    ))
}

#[test]
fn a_point_that_is_wrong_is_told_what_would_be_right() {
    for (yaml, says) in [
        (
            "{ holding: 40001, type: u16, count: 2 }",
            "`count` is not a key of a point",
        ),
        (
            "{ holding: 65536, type: u16 }",
            "called 1 or 40001 in many manuals, is 0",
        ),
        ("{ holding: -1, type: u16 }", "0 to 65535"),
        ("{ holding: 1.5, type: u16 }", "`holding` is a number"),
        ("{ holding: 65535, type: u32 }", "beyond the last"),
        ("{ type: u16 }", "says not where it is"),
        ("{ holding: 1, coil: 1, type: u16 }", "more than one place"),
        ("{ holding: 1 }", "has no `type`"),
        ("{ holding: 1, type: float }", "write `f32`"),
        ("{ holding: 1, type: uint16 }", "write `u16`"),
        ("{ holding: 1, type: f31 }", "did you mean `f32`?"),
        (
            "{ holding: 1, type: f32, order: abdc }",
            "A is the most significant",
        ),
        (
            "{ holding: 1, type: u16, order: cdab }",
            "words that this point does not have",
        ),
        ("{ coil: 1, type: u16 }", "a coil is one bit"),
        ("{ coil: 1, bit: 3 }", "`bit` is of registers"),
        ("{ holding: 1, type: bool, bit: 16 }", "from 0 to 15"),
        ("{ holding: 1, type: bits }", "has no `bits`"),
        (
            "{ holding: 1, type: bits, bits: [7, 4] }",
            "the lower first",
        ),
        ("{ holding: 1, type: string }", "has no `length`"),
        ("{ holding: 1, type: string, length: 251 }", "from 1 to 250"),
        ("{ holding: 1, type: u16, unit: °C }", "write `Cel`"),
        ("{ holding: 1, type: u16, unit: \"m^3\" }", "write `m3`"),
        ("{ holding: 1, type: u16, unit: 5 }", "put it in quotes"),
        ("{ coil: 1, unit: Cel }", "`unit` is of numbers"),
        ("{ coil: 1, scale: 2 }", "`scale` is of numbers"),
        ("{ holding: 1, type: u16, scale: 0 }", "`scale` is 0"),
        (
            "{ holding: 1, type: u16, valid: [5, 1] }",
            "the lower first",
        ),
        ("{ holding: 1, type: u16, valid: 5 }", "two numbers"),
        (
            "{ holding: 1, type: u16, every: 10 }",
            "write a whole number with its unit",
        ),
        (
            "{ holding: 1, type: u16, every: 10ms }",
            "between 100ms and 1d",
        ),
        ("{ holding: 1, type: u16, deadband: -1 }", "negative"),
        (
            "{ holding: 1, type: u16, deadband: 101% }",
            "a part such as 2%",
        ),
        (
            "{ holding: 1, type: u16, max-silence: 5m }",
            "of points with a `deadband`",
        ),
        ("[]", "a point is a list"),
    ] {
        let told = match point(yaml) {
            Ok(mapping) => panic!("{yaml} was understood: {mapping:?}"),
            Err(errors) => errors.to_string(),
        };
        assert!(
            told.starts_with("line 7, ") && told.contains(says),
            "{yaml}: {told}"
        );
    }
    point("{ holding: 65534, type: u32 }").unwrap();
}

#[test]
fn names_under_which_faults_are_told_are_taken() {
    let with = |name: &str| {
        parse(&format!(
            "version: 1\nconnections: {{ c: {{ modbus-tcp: h }} }}\ndevices:\n  d:\n    \
             connection: c\n    points:\n      {name}: {{ coil: 1 }}\n"
        ))
    };
    let turned = "\"a\\u202Eb\"";
    for name in ["field.status", "a.fault", "\"\"", turned, &"n".repeat(57)] {
        let told = with(name).unwrap_err().to_string();
        assert!(told.starts_with("line 7, "), "{told}");
    }
    with(&"n".repeat(56)).unwrap();
}

#[test]
fn a_unit_is_a_number_of_the_line() {
    let on = |connection: &str, unit: &str| {
        parse(&format!(
            "version: 1\nconnections: {{ c: {{ {connection} }} }}\ndevices:\n  d:\n    \
             connection: c\n{unit}    points: {{ p: {{ coil: 1 }} }}\n"
        ))
    };
    let (tcp, rtu) = ("modbus-tcp: h", "modbus-rtu: /dev/ttyS0");
    for (connection, unit) in [
        (rtu, "    unit: 0\n"),
        (rtu, "    unit: 248\n"),
        (rtu, ""),
        (tcp, "    unit: 256\n"),
    ] {
        let told = on(connection, unit).unwrap_err().to_string();
        assert!(told.contains("unit"), "{told}");
    }
    for (connection, unit) in [
        (rtu, "    unit: 247\n"),
        (tcp, "    unit: 0\n"),
        (tcp, "    unit: 255\n"),
    ] {
        on(connection, unit).unwrap();
    }
}

#[test]
fn a_line_is_opened_once() {
    let told = errors(
        "version: 1\nconnections:\n  a: { modbus-rtu: /dev/ttyS0 }\n  \
         b: { modbus-rtu: { path: /dev/ttyS0, baud: 9600 } }\ndevices:\n  \
         d: { connection: a, unit: 1, points: { p: { coil: 1 } } }\n",
    );
    assert!(
        told[0].starts_with("line 4,") && told[0].contains("same line as `a`"),
        "{told:?}"
    );
}

#[test]
fn sizes_are_bounded() {
    let many: String = (0..=MAX_CONNECTIONS)
        .map(|n| format!("  c{n}: {{ modbus-tcp: h{n} }}\n"))
        .collect();
    let told = errors(&format!(
        "version: 1\nconnections:\n{many}devices:\n  d: {{ connection: c0, points: {{ p: {{ coil: 1 }} }} }}\n"
    ));
    assert!(told[0].contains("write 1 to 64"), "{told:?}");
    assert!(errors(&"a".repeat(MAX_BYTES + 1))[0].contains("at most 1048576"));
    // Each wrong line is told, up to a bound.
    let wrong: String = (0..300)
        .map(|n| format!("      p{n}: {{ coil: x }}\n"))
        .collect();
    let told = parse(&format!(
        "version: 1\nconnections: {{ c: {{ modbus-tcp: h }} }}\ndevices:\n  d:\n    \
         connection: c\n    points:\n{wrong}"
    ))
    .unwrap_err()
    .to_string();
    assert_eq!(told.lines().count(), MAX_ERRORS + 1);
    assert!(told.ends_with("and 250 more"), "{told}");
}

#[test]
fn scales_give_the_nearest_number() {
    let scale = |factor, offset| Scale { factor, offset };
    assert_eq!(scale(0.1, 0.0).apply(217.0), 21.7);
    assert_eq!(scale(0.001, 0.0).apply(1_234.0), 1.234);
    assert_eq!(scale(0.3, 0.0).apply(10.0), 3.0);
    assert_eq!(scale(-0.01, 0.0).apply(150.0), -1.5);
    assert_eq!(scale(0.1, -40.0).apply(617.0), 21.7);
    assert_eq!(scale(0.1, 0.25).apply(10.0), 1.25);
    assert_eq!(scale(2.0, -40.0).apply(50.0), 60.0);
}

#[test]
fn the_example_of_the_guide_is_a_mapping_and_its_mistakes_are_told_as_it_says() {
    let guide = include_str!("../../../../docs/guides/field.md");
    let example = guide.split("```yaml\n").nth(1).unwrap();
    let example = example.split("```").next().unwrap();
    let mapping = parse(example).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((mapping.devices().count(), mapping.points()), (2, 7));
    let wrong = example
        .replace("type: f32, order", "type: float, order")
        .replace("unit: \"{rpm}\"", "unit: °C");
    for told in errors(&wrong) {
        assert!(guide.contains(&told), "the guide does not say {told}");
    }
}

mod any_bytes {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn are_refused_or_read(yaml in "(version|connections|devices|points|: |\\{|\\}|\\[|\n|  |1|a|-|,|\"){0,60}") {
            let _ = super::parse(&yaml);
        }
    }
}

/// What follows from a first mistake is not told beside it.
#[test]
fn a_broken_connection_is_told_once() {
    let mapping = "version: 1\nconnections:\n  server:\n    opcua: { url: 'opc.tcp://192.0.2.10', \
                   security: none, user: reader }\n  hall: { modbus-tcp: '192.0.2.11' }\ndevices:\n  \
                   press-1: { connection: server, points: { t: { node: 'ns=2;s=T' } } }\n  press-2: { \
                   connection: hall, points: { t: { holding: 1, type: i16 } } }\n  press-3: { \
                   connection: hal, points: { t: { holding: 1, type: i16 } } }\n";
    let errors = parse(mapping).unwrap_err().0;
    let lines: Vec<u64> = errors.iter().map(|error| error.at.line).collect();
    // The server's user has no password-file; and one device names what was never written.
    assert_eq!(lines, [4, 9], "{errors:?}");
    assert!(errors[0].what.contains("password-file"), "{}", errors[0]);
    assert!(errors[1].right.contains("`hall`"), "{}", errors[1]);
}

#[test]
fn a_number_that_is_too_large_is_called_so() {
    let mapping = "version: 1\nconnections: { hall: { modbus-tcp: '192.0.2.11' } }\ndevices:\n  press-1: \
                   { connection: hall, points: { t: { holding: 1, type: i16, offset: 1e999 } } }\n";
    let errors = parse(mapping).unwrap_err().to_string();
    assert!(
        errors.contains("line 4,") && errors.contains("a number is larger than one can be"),
        "{errors}"
    );
}

#[test]
fn what_else_is_wrong_with_a_device_is_told_though_its_connection_is_unknown() {
    let device = "  d: { connection: hal, points: { t: { holding: 70000, type: i16 } } }\n";
    let modbus = format!(
        "version: 1\nconnections: {{ hall: {{ modbus-tcp: h }}, line: {{ modbus-rtu: /dev/ttyS0 }} \
         }}\ndevices:\n{device}"
    );
    let told = errors(&modbus);
    assert!(told[0].contains("there is no connection `hal`"), "{told:?}");
    assert!(told[1].contains("70000"), "{told:?}");
    // By which protocol it is to be read is not known.
    let mixed = modbus.replace("modbus-rtu: /dev/ttyS0", "i2c: /dev/i2c-1");
    assert_eq!(errors(&mixed).len(), 1, "{:?}", errors(&mixed));
}
