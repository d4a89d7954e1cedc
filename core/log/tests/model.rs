//! The log against a model: whatever is appended, committed, trimmed and reopened, the log holds
//! what a list would hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use stencil_log::{Error, Log, Options, Position};

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<Vec<u8>>),
    Commit,
    Reopen,
    TrimAt(prop::sample::Index),
    ReadFrom(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let record = prop::collection::vec(any::<u8>(), 0..200);
    prop_oneof![
        6 => prop::collection::vec(record, 0..8).prop_map(Step::Append),
        2 => Just(Step::Commit),
        1 => Just(Step::Reopen),
        1 => any::<prop::sample::Index>().prop_map(Step::TrimAt),
        2 => any::<prop::sample::Index>().prop_map(Step::ReadFrom),
    ]
}

/// Start, end, payload.
type Model = Vec<(u64, u64, Vec<u8>)>;

fn options(dir: &std::path::Path) -> Options {
    Options {
        segment_bytes: 700,
        max_record_bytes: 300,
        ..Options::new(dir)
    }
}

fn read(log: &Log, from: Position) -> Model {
    let mut reader = log.reader(from).unwrap();
    std::iter::from_fn(|| reader.next().unwrap())
        .map(|record| (record.start.0, record.end.0, record.payload.to_vec()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_log_is_a_list(steps in prop::collection::vec(step(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut log = Log::open(options(dir.path())).unwrap();
        let mut model = Model::new();
        let mut trimmed = 0;
        for step in steps {
            match step {
                Step::Append(records) => {
                    let slices: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
                    let mut at = log.end().0;
                    let end = log.append(&slices).unwrap().0;
                    for record in records {
                        let next = at + 12 + record.len() as u64;
                        model.push((at, next, record));
                        at = next;
                    }
                    prop_assert_eq!(at, end);
                    prop_assert_eq!(log.end(), Position(end));
                }
                Step::Commit => runtime.block_on(log.wait(log.end())).unwrap(),
                Step::Reopen => {
                    drop(log);
                    log = Log::open(options(dir.path())).unwrap();
                    prop_assert_eq!(log.recovery().torn_bytes, 0);
                }
                Step::TrimAt(index) if !model.is_empty() => {
                    runtime.block_on(log.wait(log.end())).unwrap();
                    let before = index.get(&model).1;
                    log.trim(Position(before)).unwrap();
                    trimmed = trimmed.max(before);
                    prop_assert!(log.oldest() <= Position(trimmed));
                    // No more than the segment that the position lies in is kept below.
                    prop_assert!(trimmed - log.oldest().0 <= 700);
                    let oldest = log.oldest().0;
                    model.retain(|(start, ..)| *start >= oldest);
                    if oldest > 0 {
                        let gone = log.reader(Position(oldest - 1)).unwrap_err();
                        let told = matches!(gone, Error::Trimmed { oldest: o } if o.0 == oldest);
                        prop_assert!(told);
                    }
                }
                Step::ReadFrom(index) if !model.is_empty() => {
                    runtime.block_on(log.wait(log.end())).unwrap();
                    let at = index.index(model.len());
                    prop_assert_eq!(&read(&log, Position(model[at].0))[..], &model[at..]);
                }
                Step::TrimAt(_) | Step::ReadFrom(_) => {}
            }
        }
        drop(log);
        let log = Log::open(options(dir.path())).unwrap();
        prop_assert_eq!(read(&log, log.oldest()), model);
    }
}
