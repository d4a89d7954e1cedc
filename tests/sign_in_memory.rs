//! Guessing at passwords costs the hub time, and no more memory than checking a few at a time takes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::net::SocketAddr;

use support::{Hub, LIMIT};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

/// Wrong passwords, from so many addresses that none of them has to wait.
const GUESSES: u16 = 300;
/// Those of one address.
const OF_ADDRESS: u16 = 5;
/// Guesses that are under way at one time.
const TOGETHER: usize = 16;
/// Passwords that are checked at a time, by default, and what each takes.
const HASHES_KIB: u64 = 2 * 19 * 1_024;
/// What else may come on top: buffers, threads, what the allocator keeps.
const MORE_KIB: u64 = 50 * 1_024;

/// The most memory that a process has had, in KiB.
fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.split_whitespace().next());
    peak.and_then(|peak| peak.parse().ok()).expect("VmHWM")
}

/// Tries to sign in as somebody; the status.
async fn guess(hub: SocketAddr, n: u16) -> u16 {
    let [high, low] = (n / OF_ADDRESS + 1).to_be_bytes();
    let socket = TcpSocket::new_v4().unwrap();
    socket
        .bind(SocketAddr::from(([127, 1, high, low], 0)))
        .unwrap();
    let mut stream = socket.connect(hub).await.unwrap();
    // An account that there is, and others.
    let name = if n.is_multiple_of(20) {
        "admin".to_owned()
    } else {
        format!("user-{n}")
    };
    let form = format!("tenant=acme&name={name}&password=wrong-{n}-wrong");
    let request = format!(
        "POST /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    status.unwrap_or_else(|| panic!("no status: {answer}"))
}

#[test]
fn three_hundred_wrong_passwords_take_no_more_memory_than_a_few() {
    let hub = Hub::start(&[]);
    let address = SocketAddr::from(([127, 0, 0, 1], hub.port("http")));
    let before = peak_kib(hub.pid());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let guessing = async {
        let mut under_way = JoinSet::new();
        for n in 0..GUESSES {
            if under_way.len() >= TOGETHER {
                let status = under_way.join_next().await.unwrap();
                assert_eq!(status.unwrap(), 401, "each is checked");
            }
            under_way.spawn(guess(address, n));
        }
        for status in under_way.join_all().await {
            assert_eq!(status, 401, "each is checked");
        }
    };
    let ended = runtime.block_on(async { tokio::time::timeout(4 * LIMIT, guessing).await });
    ended.expect("all are answered");
    let grown = peak_kib(hub.pid()) - before;
    assert!(
        grown <= HASHES_KIB + MORE_KIB,
        "{grown} KiB more than {before} KiB before"
    );
    // It is there for others.
    assert_eq!(hub.get("/api/v1/me").status, 200);
    assert!(grown >= 19 * 1_024, "no password was checked: {grown} KiB");
}
