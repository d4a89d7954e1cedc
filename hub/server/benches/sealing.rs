//! What it costs the hub to keep what a device says for proofs: a batch of 20 samples through the pipeline,
//! behind a gateway that seals and behind one that does not.
//!
//! `read twice and copied` is the peer: the same, with the batch read a second time and copied whole three times,
//! as keeping it did at first.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stencil_edge::{Judged, Place};
use stencil_proof::Record;
use stencil_protocol::batch::{Batch, Header, MAX_BATCH_BYTES, Writer};
use stencil_protocol::id::{Boot, GatewayId, Seq, TenantId};
use stencil_protocol::sample::{Sample, Value};
use stencil_server::{PipelineOptions, Replay};

const SAMPLES: u64 = 20;
const RECEIVED_US: i64 = 1_700_000_000_000_000;

/// Batches of one device in a gateway's stream, each with the next numbers.
struct Stream {
    number: u64,
    bytes: Vec<u8>,
}

impl Stream {
    fn new() -> Self {
        Self {
            number: 0,
            bytes: vec![0; MAX_BATCH_BYTES],
        }
    }

    fn next(&mut self) -> Bytes {
        self.number += 1;
        let first = (self.number - 1) * SAMPLES + 1;
        let header = Header {
            boot: Boot(7),
            first: Seq(first),
            last_given: Seq(first + SAMPLES - 1),
            previous: None,
            dropped: Default::default(),
        };
        let mut writer = Writer::new(&mut self.bytes, &header).unwrap();
        for at in 0..SAMPLES {
            let time = i64::try_from(first + at).unwrap();
            let sample = Sample {
                name: ["temperature", "humidity"][usize::try_from(at % 2).unwrap()],
                value: Value::Number(-18.5 + time as f64 / 1e6),
                unit: Some("degC"),
                time_us: RECEIVED_US - 1_000_000_000 + time,
            };
            writer.push(&sample).unwrap();
        }
        let length = writer.finish().unwrap();
        let judged = Judged {
            place: Place {
                epoch: 1,
                number: self.number,
            },
            received_us: RECEIVED_US,
            batch: &self.bytes[..length],
        };
        judged.encode().into()
    }
}

fn replay(seals: bool) -> Replay {
    let tenant = TenantId::parse("acme").unwrap();
    let gateway = GatewayId::parse("gw-1").unwrap();
    let mut replay = Replay::new(tenant, gateway, PipelineOptions::default(), &[]).unwrap();
    if seals {
        let begins = Record::Begins {
            epoch: 1,
            certificate: vec![1; 4_000],
        };
        replay.publish("stencil/v1/g/gw-1/seals", &begins.encode(), RECEIVED_US);
    }
    replay
}

fn batches(criterion: &mut Criterion) {
    let topic = "stencil/v1/d/freezer-1/judged";
    let mut group = criterion.benchmark_group("a batch of 20 samples");
    group.throughput(Throughput::Elements(SAMPLES));
    for (name, seals, again) in [
        ("its gateway does not seal", false, false),
        ("its gateway seals", true, false),
        ("its gateway seals, read twice and copied", true, true),
    ] {
        let (mut replay, mut stream) = (replay(seals), Stream::new());
        // It is what it says it is.
        let kept = replay
            .logged(topic, &stream.next(), RECEIVED_US)
            .sealed
            .len();
        assert_eq!(kept, usize::from(seals), "{name}");
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || stream.next(),
                |payload| {
                    let found = replay.logged(topic, &payload, RECEIVED_US);
                    if again {
                        let judged = Judged::decode(&payload).unwrap();
                        let batch = Batch::decode(judged.batch).unwrap();
                        let times = batch.samples().filter_map(|(_, it)| Some(it.ok()?.time_us));
                        black_box(times.fold((i64::MAX, i64::MIN), |(from, to), time| {
                            (from.min(time), to.max(time))
                        }));
                        for _ in 0..3 {
                            black_box(judged.batch.to_vec());
                        }
                    }
                    (payload, found)
                },
                criterion::BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, batches);
criterion_main!(benches);
