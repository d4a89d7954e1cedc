//! Appending with one and eight writers that each wait for the disk, and reading.
#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stencil_log::{Log, Options, Position};

const RECORD: [u8; 128] = [7; 128];

fn append(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let mut group = c.benchmark_group("append and wait, 128 bytes");
    for (writers, batch) in [(1_u32, 1_usize), (8, 1), (8, 64)] {
        let dir = tempfile::tempdir_in(".").unwrap();
        let log = Log::open(Options::new(dir.path())).unwrap();
        let rounds = 50_u32;
        group.throughput(Throughput::Elements(
            u64::from(writers * rounds) * batch as u64,
        ));
        group.sample_size(10);
        group.bench_function(format!("{writers} writers, {batch} a call"), |b| {
            b.iter(|| {
                runtime.block_on(async {
                    let mut tasks = tokio::task::JoinSet::new();
                    for _ in 0..writers {
                        let log = log.clone();
                        tasks.spawn(async move {
                            let records = vec![&RECORD[..]; batch];
                            for _ in 0..rounds {
                                log.wait(log.append(&records).unwrap()).await.unwrap();
                            }
                        });
                    }
                    tasks.join_all().await;
                });
                log.trim(log.end()).unwrap();
            });
        });
    }
    group.finish();
}

fn read(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let dir = tempfile::tempdir_in(".").unwrap();
    let log = Log::open(Options::new(dir.path())).unwrap();
    let records = vec![&RECORD[..]; 1000];
    for _ in 0..200 {
        runtime
            .block_on(log.wait(log.append(&records).unwrap()))
            .unwrap();
    }
    let mut group = c.benchmark_group("read, 128 bytes");
    group.throughput(Throughput::Elements(200_000));
    group.sample_size(20);
    group.bench_function("from the start", |b| {
        b.iter(|| {
            let mut reader = log.reader(Position(0)).unwrap();
            let mut count = 0;
            while reader.next().unwrap().is_some() {
                count += 1;
            }
            assert_eq!(count, 200_000);
        });
    });
    group.finish();
}

criterion_group!(benches, append, read);
criterion_main!(benches);
