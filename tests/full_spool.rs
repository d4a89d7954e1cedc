//! A gateway with ten million samples in its spool starts as one with none does: what it reads for
//! it doesn't grow with the spool.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use stencil_log::{Log, Options, Position};
use support::{Gateway, Hub};

/// Samples of a batch, and batches.
const SAMPLES: usize = 50;
const BATCHES: usize = 200_000;
/// What a start may read: itself, its files, the end of the spool.
const READ_BYTES: u64 = 24 << 20;

#[test]
fn a_start_with_ten_million_samples_reads_the_end_only() {
    let mut hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    hub.kill();
    gateway.start();
    let psk = gateway.add_device("freezer-1");
    let mut device = gateway.link("freezer-1", &psk);
    device.deliver(1, 1, SAMPLES);
    drop(device);
    gateway.kill();
    let bytes = fill(&gateway);
    assert!(bytes > 4 * READ_BYTES, "{bytes}");

    gateway.start();
    let read = gateway.bytes_read();
    assert!(read < READ_BYTES, "{read} bytes read for a start");
    assert!(gateway.metric("spool_waiting_bytes") >= bytes);
    let mut device = gateway.link("freezer-1", &psk);
    device.deliver(1, SAMPLES as u64 + 1, SAMPLES);
    gateway.is_sound();
}

/// Appends the batch that is in its spool again and again; returns how long the spool is then.
fn fill(gateway: &Gateway) -> u64 {
    let log = Log::open(Options {
        segment_bytes: 4 << 20,
        ..Options::new(gateway.spool())
    })
    .unwrap();
    let mut reader = log.reader(log.oldest()).unwrap();
    let mut batch = Vec::new();
    while let Some(record) = reader.next().unwrap() {
        if record.payload.len() > batch.len() {
            batch = record.payload.to_vec();
        }
    }
    drop(reader);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let many = vec![&batch[..]; 2_000];
    for _ in 0..BATCHES / many.len() {
        let end: Position = log.append(&many).unwrap();
        runtime.block_on(log.wait(end)).unwrap();
    }
    log.bytes()
}
