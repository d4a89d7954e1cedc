//! What a sample costs with 1, 100 and 10,000 rules, and by kind of condition.
//!
//! A fleet of 10,000 devices sends in a fixed shuffled order; every sample concerns exactly one
//! of the rules, however many there are: with one rule it is about all devices, with 100 each is
//! about 100 devices (a pattern with a star), with 10,000 each about one. So all sizes hold the
//! same number of devices and states, and only the number of rules differs. Nothing fires: what
//! is measured is finding the rules and judging. In each round all sizes are measured, in an
//! order that rotates; told is the median of rounds, each the median of slices of 1,000 samples.

mod fleet;

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use stencil_rules::{Bounds, Engine, Rule};

use fleet::{DEVICES, Fleet, KINDS, condition};

const SIZES: [usize; 3] = [1, 100, 10_000];
/// Samples of each measurement.
const SAMPLES: usize = 1_000_000;
/// Samples timed at a time: a fraction of a millisecond, so that the median of them is of what
/// runs undisturbed on a machine that does other things as well.
const SLICE: usize = 1_000;
/// Samples of each measurement by kind, of which some cost microseconds.
const SAMPLES_BY_KIND: usize = 200_000;
const HELP: &str = "\
What a sample costs with 1, 100 and 10,000 rules.

Usage: bench_rules [--output text|json] [--rounds N]

  --output text|json  How to print the result (default text)
  --rounds N          Rounds, 1 to 100, of which medians are told (default 9)
";

struct Options {
    json: bool,
    rounds: usize,
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print(HELP);
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            warn(&format!("{wrong}\n\n{HELP}"));
            return ExitCode::from(2);
        }
    };
    let fleet = Fleet::new();
    let by_rules = rounds(&options, "rules", &SIZES, |&rules| {
        measure(&fleet, rules, "threshold", SAMPLES)
    });
    let by_kind = rounds(&options, "kind", &KINDS, |kind| {
        measure(&fleet, 100, kind, SAMPLES_BY_KIND)
    });
    print(&if options.json {
        json(&options, &by_rules, &by_kind)
    } else {
        text(&by_rules, &by_kind)
    });
    ExitCode::SUCCESS
}

/// An engine that has seen each device, then the time of a sample, in ns.
fn measure(fleet: &Fleet, rules: usize, kind: &str, samples: usize) -> f64 {
    let mut engine = Engine::new(Bounds::default());
    for (key, devices) in fleet.patterns(rules).into_iter().enumerate() {
        let Ok(rule) = Rule::new(devices, Some("temperature"), condition(kind)) else {
            unreachable!("a rule by the rules");
        };
        assert!(engine.put(key, rule).is_ok(), "there is room");
    }
    let mut told = 0_u64;
    let mut feed = |engine: &mut Engine<usize>, from: usize, to: usize| {
        for at in from..to {
            engine.observe(&fleet.sample(at), |_, _, change| {
                black_box(change);
                told += 1;
            });
        }
    };
    // Until windows are full; the second sample of a device is as all others are.
    let warm = DEVICES * if kind.starts_with("window") { 70 } else { 2 };
    feed(&mut engine, 0, warm);
    engine.take_changed(|_, _, state| {
        black_box(state);
    });
    assert_eq!(engine.states(), DEVICES, "each device has one rule");
    let mut slices: Vec<f64> = Vec::with_capacity(samples / SLICE);
    for from in (warm..warm + samples).step_by(SLICE) {
        let began = Instant::now();
        feed(&mut engine, from, from + SLICE);
        slices.push(began.elapsed().as_secs_f64() * 1e9 / SLICE as f64);
    }
    assert_eq!(
        (told, engine.metrics().errors, engine.metrics().late),
        (0, 0, 0)
    );
    median(&mut slices)
}

/// Measures each case in each round, and returns the medians.
fn rounds<T: Copy + std::fmt::Display>(
    options: &Options,
    what: &str,
    cases: &[T],
    measure: impl Fn(&T) -> f64,
) -> Vec<(T, f64)> {
    let mut measured: Vec<Vec<f64>> = vec![Vec::new(); cases.len()];
    for round in 0..options.rounds {
        for turn in 0..cases.len() {
            let case = (round + turn) % cases.len();
            measured[case].push(measure(&cases[case]));
        }
        warn(&format!(
            "{what}: round {} of {}\n",
            round + 1,
            options.rounds
        ));
    }
    let medians = measured.iter_mut().map(|values| median(values));
    cases.iter().copied().zip(medians).collect()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

fn json(options: &Options, by_rules: &[(usize, f64)], by_kind: &[(&str, f64)]) -> String {
    let runs = by_rules
        .iter()
        .map(|(rules, ns)| format!("    {{ \"rules\": {rules}, \"ns_per_sample\": {ns:.1} }}"));
    let kinds = by_kind
        .iter()
        .map(|(kind, ns)| format!("    {{ \"kind\": \"{kind}\", \"ns_per_sample\": {ns:.1} }}"));
    format!(
        "{{\n  \"runs\": [\n{}\n  ],\n  \"ratio\": {:.2},\n  \"kinds\": [\n{}\n  ],\n  \
         \"kinds_rules\": 100,\n  \"devices\": {DEVICES},\n  \"rules_a_sample\": 1,\n  \
         \"samples\": {SAMPLES},\n  \"rounds\": {}\n}}\n",
        runs.collect::<Vec<_>>().join(",\n"),
        ratio(by_rules),
        kinds.collect::<Vec<_>>().join(",\n"),
        options.rounds
    )
}

fn text(by_rules: &[(usize, f64)], by_kind: &[(&str, f64)]) -> String {
    let mut out = format!("{DEVICES} devices, one rule judges each sample\n\n");
    out.push_str(&format!("{:>20} {:>14}\n", "rules", "ns a sample"));
    for (rules, ns) in by_rules {
        out.push_str(&format!("{rules:>20} {ns:>14.1}\n"));
    }
    out.push_str(&format!(
        "{:>20} {:>14.2}\n\n",
        "most : one",
        ratio(by_rules)
    ));
    out.push_str(&format!(
        "{:>20} {:>14}\n",
        "kind (100 rules)", "ns a sample"
    ));
    for (kind, ns) in by_kind {
        out.push_str(&format!("{kind:>20} {ns:>14.1}\n"));
    }
    out
}

/// What the most rules cost, in terms of what one costs.
fn ratio(by_rules: &[(usize, f64)]) -> f64 {
    match by_rules {
        [(_, one), .., (_, most)] => most / one,
        _ => f64::NAN,
    }
}

fn options(arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options {
        json: false,
        rounds: 9,
    };
    let mut arguments = arguments;
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{name} needs a value"));
        match name.as_str() {
            "--output" => {
                options.json = match value()?.as_str() {
                    "json" => true,
                    "text" => false,
                    other => return Err(format!("--output is {other}; write text or json")),
                }
            }
            "--rounds" => {
                let rounds = value()?;
                options.rounds = rounds
                    .parse()
                    .ok()
                    .filter(|rounds| (1..=100).contains(rounds))
                    .ok_or(format!("--rounds is {rounds}; write 1 to 100"))?;
            }
            "--help" | "-h" => return Ok(None),
            other => return Err(format!("{other} is not known")),
        }
    }
    Ok(Some(options))
}

#[expect(clippy::print_stdout, reason = "the result of the bench")]
fn print(text: &str) {
    print!("{text}");
}

#[expect(clippy::print_stderr, reason = "how far the bench is")]
fn warn(text: &str) {
    eprint!("{text}");
}
