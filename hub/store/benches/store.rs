//! What the pipeline's commit costs, what its points are of that, and what the
//! alternatives would cost.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr
)]

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stencil_protocol::id::{Boot, DeviceId, Seq, TenantId};
use stencil_protocol::ledger::BootLedger;
use stencil_protocol::sample::OwnedValue;
use stencil_store::sqlite::{self, Options};
use stencil_store::{Commit, Point, SealedBatch, Store, TwinUpdate};
use tokio::runtime::Runtime;

const START_US: i64 = 1_700_000_000_000_000;

/// Devices with two series each that give one sample of each a second.
struct Fleet {
    tenant: TenantId,
    devices: Vec<(DeviceId, BootLedger)>,
    position: u64,
    time_us: i64,
    noise: u64,
}

impl Fleet {
    fn new(devices: usize) -> Self {
        Self {
            tenant: TenantId::parse("acme").unwrap(),
            devices: (0..devices)
                .map(|n| {
                    (
                        DeviceId::parse(&format!("freezer-{n}")).unwrap(),
                        BootLedger::default(),
                    )
                })
                .collect(),
            position: 0,
            time_us: START_US,
            noise: 1,
        }
    }

    fn value(&mut self) -> OwnedValue {
        self.noise = self
            .noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let noise = f64::from(u32::try_from(self.noise >> 40).unwrap() % 100);
        OwnedValue::Number((-1_850.0 + noise) / 100.0)
    }

    /// The same behind a gateway that seals: a batch of each device is kept, too.
    fn sealed(&mut self, seconds: usize) -> Commit {
        let mut commit = self.commit(seconds, true);
        // As many bytes as that many samples of two names have.
        let body = bytes::Bytes::from(vec![0xa5; 40 + seconds * 2 * 16]);
        for (tenant, device, boot, ledger) in &commit.ledgers {
            let last = ledger.last_given;
            commit.proofs.batches.push(SealedBatch {
                tenant: tenant.clone(),
                device: device.clone(),
                boot: *boot,
                first: Seq(last.0 + 1 - (seconds as u64) * 2),
                last,
                from_us: self.time_us - 1_000_000,
                to_us: self.time_us,
                received_us: self.time_us,
                position: commit.position,
                body: body.clone(),
            });
        }
        commit
    }

    /// The next commit, with `seconds` of every device's samples.
    fn commit(&mut self, seconds: usize, points: bool) -> Commit {
        self.position += 1;
        let mut commit = Commit {
            position: self.position,
            ..Commit::default()
        };
        for index in 0..self.devices.len() {
            let device = self.devices[index].0.clone();
            for second in 0..seconds {
                let time_us = self.time_us + i64::try_from(second).unwrap() * 1_000_000;
                for name in ["temperature", "humidity"] {
                    let value = self.value();
                    let ledger = &mut self.devices[index].1;
                    ledger.store(Seq(ledger.last_given.0 + 1));
                    if second + 1 == seconds {
                        commit.twins.push(TwinUpdate {
                            tenant: self.tenant.clone(),
                            device: device.clone(),
                            gateway: None,
                            name: name.into(),
                            value: value.clone(),
                            unit: None,
                            time_us,
                            received_us: time_us,
                            link: None,
                        });
                    }
                    if points {
                        commit.points.push(Point {
                            tenant: self.tenant.clone(),
                            device: device.clone(),
                            name: name.into(),
                            time_us,
                            value,
                            unit: None,
                        });
                    }
                }
            }
            let ledger = self.devices[index].1.clone();
            commit
                .ledgers
                .push((self.tenant.clone(), device, Boot(1), ledger));
        }
        self.time_us += i64::try_from(seconds).unwrap() * 1_000_000;
        commit
    }
}

async fn open(folder: &tempfile::TempDir, options: Options) -> Store {
    sqlite::open_with(folder.path().join("hub.db"), options)
        .await
        .unwrap()
        .store()
}

fn commits(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("commit");
    group
        .measurement_time(Duration::from_secs(8))
        .sample_size(20);
    for (name, devices, seconds, points, sealed) in [
        ("1000 points of 50 devices", 50, 10, true, false),
        ("the same state without points", 50, 10, false, false),
        ("1000 points of 50 devices, sealed", 50, 10, true, true),
        ("100 points of 50 devices", 50, 1, true, false),
        ("100 points of 50 devices, sealed", 50, 1, true, true),
        ("2 points of 1 device", 1, 1, true, false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let store = runtime.block_on(open(&folder, Options::default()));
        let mut fleet = Fleet::new(devices);
        group.throughput(Throughput::Elements((devices * seconds * 2) as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let mut spent = Duration::ZERO;
                for _ in 0..times {
                    let commit = match sealed {
                        true => fleet.sealed(seconds),
                        false => fleet.commit(seconds, points),
                    };
                    let begin = Instant::now();
                    runtime.block_on(store.pipeline.commit(commit)).unwrap();
                    spent += begin.elapsed();
                }
                spent
            });
        });
    }
    group.finish();
}

/// The same points as a row each, by statements of 128 rows, in the same kind of
/// transaction, without any other state.
fn rows(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut connection = runtime.block_on(async {
        use sqlx::Connection as _;
        let url = format!(
            "sqlite://{}?mode=rwc",
            folder.path().join("rows.db").display()
        );
        let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
        for statement in [
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = FULL",
            "CREATE TABLE points (series BIGINT, time_us BIGINT, value DOUBLE, \
             PRIMARY KEY (series, time_us)) WITHOUT ROWID",
        ] {
            sqlx::query(statement)
                .execute(&mut connection)
                .await
                .unwrap();
        }
        connection
    });
    let places: Vec<String> = (0..125)
        .map(|n| format!("(${}, ${}, ${})", n * 3 + 1, n * 3 + 2, n * 3 + 3))
        .collect();
    let text: std::sync::Arc<str> = format!(
        "INSERT INTO points (series, time_us, value) VALUES {}",
        places.join(", ")
    )
    .into();
    let mut time_us = START_US;
    let mut group = criterion.benchmark_group("alternative");
    group
        .measurement_time(Duration::from_secs(8))
        .sample_size(20);
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("1000 points as rows, no state", |bencher| {
        bencher.iter(|| {
            time_us += 10_000_000;
            runtime.block_on(async {
                sqlx::query("BEGIN IMMEDIATE")
                    .execute(&mut connection)
                    .await
                    .unwrap();
                for part in 0..8_i64 {
                    let mut query = sqlx::query(sqlx::AssertSqlSafe(text.clone()));
                    for n in (part * 125)..(part * 125 + 125) {
                        query = query
                            .bind(n % 100)
                            .bind(time_us + n / 100)
                            .bind(-18.5 + n as f64);
                    }
                    query.execute(&mut connection).await.unwrap();
                }
                sqlx::query("COMMIT")
                    .execute(&mut connection)
                    .await
                    .unwrap();
            });
        });
    });
    group.finish();
}

fn reads(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = runtime.block_on(open(&folder, Options::default()));
    let mut fleet = Fleet::new(50);
    // 25,000 points a series, of which at most 2 × 2,048 are unsealed.
    let mut spent: Vec<Duration> = (0..2_500)
        .map(|_| {
            let commit = fleet.commit(10, true);
            let begin = Instant::now();
            runtime.block_on(store.pipeline.commit(commit)).unwrap();
            begin.elapsed()
        })
        .collect();
    spent.sort_unstable();
    let (half, most) = (spent[spent.len() / 2], spent[spent.len() * 99 / 100]);
    eprintln!(
        "commits: median {half:?}, p99 {most:?}, worst {:?}",
        spent[spent.len() - 1]
    );
    let bytes = |table: &str| {
        runtime.block_on(async {
            use sqlx::Connection as _;
            let url = format!("sqlite://{}", folder.path().join("hub.db").display());
            let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
            let text = format!("SELECT COALESCE(SUM(LENGTH(body)), 0) FROM {table}");
            let bytes: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(text))
                .fetch_one(&mut connection)
                .await
                .unwrap();
            let sealed: i64 = sqlx::query_scalar("SELECT SUM(points) FROM series_chunks")
                .fetch_one(&mut connection)
                .await
                .unwrap();
            (bytes, sealed)
        })
    };
    let (chunks, sealed) = bytes("series_chunks");
    let chunks = chunks + bytes("series_stamps").0;
    let (tail, _) = bytes("series_tail");
    let unsealed = 2_500 * 1_000 - sealed;
    eprintln!(
        "{sealed} sealed points in {chunks} bytes; {unsealed} unsealed points in {tail} bytes"
    );

    let (tenant, device) = (fleet.tenant.clone(), fleet.devices[7].0.clone());
    let mut group = criterion.benchmark_group("read");
    group.sample_size(20);
    group.bench_function("range of 2000 sealed points", |bencher| {
        bencher.iter(|| {
            let from = START_US + 3_000 * 1_000_000;
            let range = store.series.range(
                &tenant,
                &device,
                "temperature",
                from,
                from + 2_000 * 1_000_000,
                10_000,
            );
            assert_eq!(runtime.block_on(range).unwrap().len(), 2_000);
        });
    });
    group.bench_function(
        format!("open, heads of {unsealed} points rebuilt"),
        |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    let store = open(&folder, Options::default()).await;
                    let names = store
                        .series
                        .contains(&tenant, &device, "temperature", 0)
                        .await;
                    assert!(!names.unwrap());
                });
            });
        },
    );
    group.finish();
}

criterion_group!(benches, commits, rows, reads);
criterion_main!(benches);
