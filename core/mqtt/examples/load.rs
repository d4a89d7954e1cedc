//! How many durable QoS 1 messages a second the endpoint acknowledges, beside
//! a bare loop that only cuts packets and writes the same records.
//!
//! ```text
//! cargo run --release -p stencil-mqtt --example load -- [connections] [window] [seconds]
//! ```
//! Load generator, server and committer share the machine; only the ratio of
//! the two lines says something.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    missing_docs
)]

use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use stencil_mqtt::{Connect, Endpoint, Options, Policy, Publish, Refused, Sink, SinkError, Source};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

struct Everybody;

impl Policy for Everybody {
    type Principal = ();

    async fn authenticate(&self, _: &Connect<'_>) -> Result<(), Refused> {
        Ok(())
    }

    fn namespace<'a>(&self, (): &'a ()) -> &'a str {
        "load"
    }

    fn may_publish(&self, (): &(), _: &str) -> bool {
        true
    }

    fn may_subscribe(&self, (): &(), _: &str) -> bool {
        true
    }
}

/// Group commit: one fdatasync for all that came while the last one ran.
struct Log {
    state: Mutex<(Vec<u8>, u64)>,
    more: Condvar,
    committed: watch::Sender<u64>,
}

impl Log {
    fn open(path: &std::path::Path) -> Arc<Self> {
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

    fn append<'a>(&self, payloads: impl Iterator<Item = &'a [u8]>) -> u64 {
        let mut state = self.state.lock().unwrap();
        for payload in payloads {
            state.0.extend((payload.len() as u32).to_le_bytes());
            state.0.extend_from_slice(payload);
            state.1 += 1;
        }
        self.more.notify_one();
        state.1
    }
}

impl Sink<()> for Log {
    fn append(&self, _: &Source<()>, batch: &[Publish<'_>]) -> Result<u64, SinkError> {
        Ok(self.append(batch.iter().map(|publish| publish.payload)))
    }

    fn committed(&self) -> watch::Receiver<u64> {
        self.committed.subscribe()
    }
}

/// The bare peer: knows the one packet that the generator sends.
async fn bare(log: Arc<Log>, mut socket: TcpStream) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut committed = log.committed.subscribe();
    let mut filled = socket.read(&mut buffer).await?;
    let connect = 2 + usize::from(buffer[1]);
    socket.write_all(&[0x20, 2, 0, 0]).await?;
    buffer.copy_within(connect..filled, 0);
    filled -= connect;
    let size = packet(0).len();
    loop {
        let whole = filled / size * size;
        let mut acks = Vec::new();
        let packets = buffer[..whole].chunks(size);
        let position = log.append(packets.clone().map(|packet| &packet[size - 128..]));
        for packet in packets {
            acks.extend([0x40, 2, packet[9], packet[10]]);
        }
        if whole > 0 {
            let _ = committed.wait_for(|now| *now >= position).await;
            socket.write_all(&acks).await?;
        }
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
        match socket.read(&mut buffer[filled..]).await? {
            0 => return Ok(()),
            bytes => filled += bytes,
        }
    }
}

/// QoS 1 on `load`; the payload has 128 bytes.
fn packet(id: u16) -> Vec<u8> {
    // 2 + 4 bytes of topic, 2 of packet identifier, 128 of payload: 136.
    let mut packet = b"\x32\x88\x01\0\x04load".to_vec();
    packet.extend(id.to_be_bytes());
    packet.extend([b'x'; 128]);
    packet
}

async fn client(address: std::net::SocketAddr, window: u16, until: Instant) -> u64 {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let mut connect = b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04".to_vec();
    connect.extend(format!("{:04x}", socket.local_addr().unwrap().port()).bytes());
    socket.write_all(&connect).await.unwrap();
    let mut answer = [0; 4];
    socket.read_exact(&mut answer).await.unwrap();
    let burst: Vec<u8> = (1..=window).flat_map(packet).collect();
    let size = burst.len() / usize::from(window);
    socket.write_all(&burst).await.unwrap();
    let (mut acknowledged, mut partial) = (0, 0);
    let mut acks = vec![0; 64 * 1024];
    while Instant::now() < until {
        let bytes = partial + socket.read(&mut acks).await.unwrap();
        let whole = bytes / 4;
        partial = bytes % 4;
        acknowledged += whole as u64;
        // As many as were acknowledged, so that the window stays full.
        let mut left = whole;
        while left > 0 {
            let now = left.min(usize::from(window));
            socket.write_all(&burst[..now * size]).await.unwrap();
            left -= now;
        }
    }
    acknowledged
}

async fn measure(
    name: &str,
    address: std::net::SocketAddr,
    (connections, window, time): (usize, u16, Duration),
) -> f64 {
    let until = Instant::now() + time;
    let clients: Vec<_> = (0..connections)
        .map(|_| tokio::spawn(client(address, window, until)))
        .collect();
    let mut total = 0;
    for client in clients {
        total += client.await.unwrap();
    }
    let rate = total as f64 / time.as_secs_f64();
    println!("{name:10} {rate:12.0} messages/s");
    rate
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default: u64| arguments.next().map_or(default, |a| a.parse().unwrap());
    let shape = (
        next(4) as usize,
        next(256) as u16,
        Duration::from_secs(next(3)),
    );
    let path = std::env::temp_dir().join(format!("stencil-mqtt-load-{}", std::process::id()));
    let log = Log::open(&path);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint_address = listener.local_addr().unwrap();
    let (_stop, shutdown) = watch::channel(false);
    let options = Options {
        max_connecting: 20_000,
        max_connecting_per_address: 20_000,
        ..Options::default()
    };
    let endpoint = Endpoint::new(options, Arc::new(Everybody), Arc::clone(&log));
    tokio::spawn(async move { endpoint.serve(listener, None, shutdown).await });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bare_address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(bare(Arc::clone(&log), socket));
        }
    });
    let bare = measure("bare", bare_address, shape).await;
    let endpoint = measure("endpoint", endpoint_address, shape).await;
    println!("ratio      {:12.2}", endpoint / bare);
    std::fs::remove_file(path).unwrap();
}
