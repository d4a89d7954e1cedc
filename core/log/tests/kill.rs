//! A process that appends is killed: what it was told to be on disk is there, in order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
};

use stencil_log::{Log, Options};

const DIR: &str = "STENCIL_LOG_CHILD_DIR";
const WRITERS: u64 = 4;

fn options(dir: &Path) -> Options {
    Options {
        segment_bytes: 20_000,
        max_record_bytes: 1_000,
        ..Options::new(dir)
    }
}

fn record(writer: u64, n: u64) -> Vec<u8> {
    let length = usize::try_from(n * 37 % 300).unwrap();
    [
        &writer.to_le_bytes()[..],
        &n.to_le_bytes(),
        &vec![u8::try_from(n % 251).unwrap(); length],
    ]
    .concat()
}

/// Not a test by itself: the process that the tests below kill.
#[test]
fn child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(async {
        let log = Log::open(options(Path::new(&dir))).unwrap();
        let first: u64 = std::env::var("STENCIL_LOG_CHILD_FIRST")
            .unwrap()
            .parse()
            .unwrap();
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let log = log.clone();
            writers.spawn(async move {
                for n in first.. {
                    let position = log.append(&[&record(writer, n)]).unwrap();
                    log.wait(position).await.unwrap();
                    // One write a line: a kill leaves no half of it behind.
                    let line = format!("committed {writer} {n}\n");
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                }
            });
        }
        writers.join_next().await;
    });
}

fn start(dir: &Path, first: u64, crash: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env("STENCIL_LOG_CHILD_FIRST", first.to_string())
        .env("STENCIL_CRASH", crash)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Reads what the child reports, kills it after `lines` of them (or lets it crash by itself),
/// and returns each writer's last committed number.
fn run_and_kill(mut child: Child, lines: usize, told: &mut [u64]) {
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let (mut line, mut count) = (String::new(), 0);
    while out.read_line(&mut line).unwrap() > 0 {
        if let Some(rest) = line.strip_prefix("committed ") {
            let (writer, n) = rest.trim().split_once(' ').unwrap();
            told[writer.parse::<usize>().unwrap()] = n.parse().unwrap();
            count += 1;
            if count == lines {
                child.kill().unwrap(); // SIGKILL; what is in the pipe is still read
            }
        }
        line.clear();
    }
    assert!(!child.wait().unwrap().success());
}

/// Each writer's records are there from 1 on, without a gap and in order, up to what it was told
/// at least. Returns how many there are.
fn check(dir: &Path, told: &[u64]) -> Vec<u64> {
    let log = Log::open(options(dir)).unwrap();
    assert!(log.recovery().damaged.is_empty() && log.recovery().lost.is_none());
    let mut reader = log.reader(log.oldest()).unwrap();
    let mut last = vec![0; told.len()];
    while let Some(read) = reader.next().unwrap() {
        let writer = u64::from_le_bytes(read.payload[..8].try_into().unwrap());
        let n = u64::from_le_bytes(read.payload[8..16].try_into().unwrap());
        assert_eq!(read.payload, record(writer, n));
        let last = &mut last[usize::try_from(writer).unwrap()];
        assert!(
            n == *last + 1 || n <= *last,
            "writer {writer}: {n} after {last}"
        );
        *last = n.max(*last);
    }
    for (writer, told) in told.iter().enumerate() {
        assert!(
            last[writer] >= *told,
            "writer {writer}: told {told}, there is {}",
            last[writer]
        );
    }
    last
}

#[test]
fn killed_at_any_time_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut told = vec![0; usize::try_from(WRITERS).unwrap()];
    for round in 0..8 {
        let first = told.iter().min().unwrap() + 1;
        run_and_kill(start(dir.path(), first, ""), 50 + round * 61, &mut told);
        check(dir.path(), &told);
    }
    assert!(told.iter().sum::<u64>() > 500);
}

#[test]
fn killed_between_write_and_sync() {
    let dir = tempfile::tempdir().unwrap();
    let mut told = vec![0; usize::try_from(WRITERS).unwrap()];
    for count in [1, 2, 5, 40] {
        let first = told.iter().min().unwrap() + 1;
        let crash = format!("log.after_write:{count}");
        run_and_kill(start(dir.path(), first, &crash), usize::MAX, &mut told);
        check(dir.path(), &told);
    }
    assert!(told.iter().sum::<u64>() > 40);
}

#[test]
fn the_directory_is_held_by_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = start(dir.path(), 1, "");
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    while !line.contains("committed") {
        line.clear();
        assert!(out.read_line(&mut line).unwrap() > 0);
    }
    let error = Log::open(options(dir.path())).unwrap_err().to_string();
    assert!(
        error.contains(&format!("open in process {}", child.id())),
        "{error}"
    );
    assert!(error.contains(&dir.path().display().to_string()), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    Log::open(options(dir.path())).unwrap();
}
