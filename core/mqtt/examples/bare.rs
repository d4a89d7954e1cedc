//! The ceiling: the least that a server can do which takes QoS 1 publishes and acknowledges them
//! when they are on disk. It cuts packets, writes what they hold, one `fdatasync` for all that came
//! in the meantime, and answers. It checks nothing: it is a measure, not a server.
//!
//! ```text
//! cargo run --release -p stencil-mqtt --example bare -- FILE
//! ```
//! prints the address on which it listens, and serves until it is killed.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    missing_docs
)]

use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Group commit: one fdatasync for all that came while the last one ran.
struct Log {
    state: Mutex<(Vec<u8>, u64)>,
    more: Condvar,
    committed: watch::Sender<u64>,
}

impl Log {
    fn open(path: &str) -> Arc<Self> {
        let mut file = File::create(path).unwrap();
        let log = Arc::new(Self {
            state: Mutex::new((Vec::new(), 0)),
            more: Condvar::new(),
            committed: watch::Sender::new(0),
        });
        let committer = Arc::clone(&log);
        std::thread::spawn(move || {
            let mut buffer = Vec::new();
            loop {
                let position = {
                    let state = committer.state.lock().unwrap();
                    let mut state = committer
                        .more
                        .wait_while(state, |state| state.0.is_empty())
                        .unwrap();
                    std::mem::swap(&mut state.0, &mut buffer);
                    state.1
                };
                file.write_all(&buffer).unwrap();
                file.sync_data().unwrap();
                buffer.clear();
                committer.committed.send_replace(position);
            }
        });
        log
    }

    fn append(&self, packets: &[u8]) -> u64 {
        let mut state = self.state.lock().unwrap();
        state.0.extend_from_slice(packets);
        state.1 += packets.len() as u64;
        self.more.notify_one();
        state.1
    }
}

/// The whole packets at the front: where they end, and where each body starts.
fn cut(bytes: &[u8], bodies: &mut Vec<(usize, usize)>) -> usize {
    let mut at = 0;
    while let [_, rest @ ..] = &bytes[at..] {
        let Some(length) = rest.iter().take(4).position(|byte| byte & 0x80 == 0) else {
            break;
        };
        let remaining = rest[..=length]
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
        let body = at + 2 + length;
        if bytes.len() < body + remaining {
            break;
        }
        bodies.push((at, body));
        at = body + remaining;
    }
    at
}

async fn serve(log: Arc<Log>, mut socket: TcpStream) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let mut buffer = vec![0; 64 * 1024];
    let mut committed = log.committed.subscribe();
    let (mut filled, mut bodies, mut answers) = (0, Vec::new(), Vec::new());
    loop {
        match socket.read(&mut buffer[filled..]).await? {
            0 => return Ok(()),
            bytes => filled += bytes,
        }
        bodies.clear();
        answers.clear();
        let whole = cut(&buffer[..filled], &mut bodies);
        for (packet, body) in &bodies {
            match buffer[*packet] >> 4 {
                1 => answers.extend([0x20, 2, 0, 0]),
                3 => {
                    let topic = u16::from_be_bytes([buffer[*body], buffer[body + 1]]);
                    let id = body + 2 + usize::from(topic);
                    answers.extend([0x40, 2, buffer[id], buffer[id + 1]]);
                }
                _ => return Ok(()),
            }
        }
        if whole > 0 {
            let position = log.append(&buffer[..whole]);
            let _ = committed.wait_for(|now| *now >= position).await;
            socket.write_all(&answers).await?;
        }
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
    }
}

#[tokio::main]
async fn main() {
    let log = Log::open(&std::env::args().nth(1).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    while let Ok((socket, _)) = listener.accept().await {
        let log = Arc::clone(&log);
        tokio::spawn(serve(log, socket));
    }
}
