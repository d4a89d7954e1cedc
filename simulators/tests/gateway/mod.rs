//! A gateway over TCP for tests: the scripted peer of the firmware's tests
//! behind a listener. It holds on to nothing but what it heard.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, unreachable_pub)]

#[path = "../../../firmware/app/tests/peer/mod.rs"]
pub mod peer;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use peer::{Heard, Peer};
use stencil_crypto::Psk;
use stencil_crypto::link::{Open, Resume, Resumption};
use stencil_protocol::command::Command;
use stencil_protocol::frame::{Decoder, Kind};
use stencil_protocol::id::{Boot, CommandId, DeviceId};
use stencil_protocol::link::Down;
use stencil_protocol::sample::OwnedSample;
use stencil_simulators::journal::Journals;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

type Key = (String, Boot, u64);

/// What the gateway heard, of all devices.
#[derive(Default)]
pub struct Notes {
    pub stored: BTreeMap<Key, OwnedSample>,
    /// Dropped, or of a boot that was reported.
    pub explained: BTreeSet<Key>,
    pub heard: Vec<(String, Heard)>,
    /// What sessions are resumed with.
    pub kept: BTreeMap<String, Resumption>,
    /// A command for the device, given when it has said something.
    pub commands: BTreeMap<String, (CommandId, String)>,
}

#[derive(Clone)]
pub struct Gateway {
    pub notes: Arc<Mutex<Notes>>,
    pub address: SocketAddr,
    serving: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Gateway {
    pub async fn start(psk_dir: &Path) -> Self {
        Self::start_at(psk_dir, "127.0.0.1:0".parse().unwrap(), Arc::default()).await
    }

    /// Starts again after [`Gateway::kill`], with what it had heard.
    pub async fn restart(&self, psk_dir: &Path) -> Self {
        Self::start_at(psk_dir, self.address, Arc::clone(&self.notes)).await
    }

    async fn start_at(psk_dir: &Path, at: SocketAddr, notes: Arc<Mutex<Notes>>) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let dir = psk_dir.to_owned();
        let held = Arc::clone(&notes);
        let serving = tokio::spawn(async move {
            let mut links = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                links.spawn(serve(stream, dir.clone(), Arc::clone(&held)));
            }
        });
        Self {
            notes,
            address,
            serving: Arc::new(Mutex::new(Some(serving))),
        }
    }

    /// All connections end at once; what was heard stays.
    pub async fn kill(&self) {
        let serving = self.serving.lock().unwrap().take().unwrap();
        serving.abort();
        assert!(serving.await.unwrap_err().is_cancelled());
    }

    pub fn command(&self, device: &str, id: u8, name: &str) {
        let command = (CommandId([id; 16]), name.to_owned());
        self.notes
            .lock()
            .unwrap()
            .commands
            .insert(device.to_owned(), command);
    }

    /// Waits until `holds` is true of the notes; fails after 30 seconds.
    pub async fn until(&self, what: &str, mut holds: impl FnMut(&Notes) -> bool) {
        let waiting = async {
            while !holds(&self.notes.lock().unwrap()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(30), waiting)
            .await
            .is_err()
        {
            panic!("the gateway waited in vain: {what}");
        }
    }

    /// Holds the notes against the journals: all numbers that were given are
    /// stored or explained, and no others are.
    pub fn reconcile(&self, journals: &Journals) {
        let notes = self.notes.lock().unwrap();
        let given: BTreeSet<Key> = journals
            .numbers()
            .map(|(device, given)| (device.to_string(), given.boot, given.seq.0))
            .collect();
        assert!(!given.is_empty());
        let known: BTreeSet<Key> = notes
            .stored
            .keys()
            .cloned()
            .chain(notes.explained.iter().cloned())
            .collect();
        let missing: Vec<_> = given.difference(&known).collect();
        assert!(missing.is_empty(), "missing without a reason: {missing:?}");
        let strange: Vec<_> = known.difference(&given).collect();
        assert!(strange.is_empty(), "not in the journals: {strange:?}");
    }
}

async fn serve(mut stream: TcpStream, psk_dir: std::path::PathBuf, notes: Arc<Mutex<Notes>>) {
    let mut buffer = vec![0; 8_192];
    let mut early = Vec::new();
    let mut decoder = Decoder::new();
    // The first frame says who it is, and so which key to use.
    let device = 'found: loop {
        let Ok(read @ 1..) = stream.read(&mut buffer).await else {
            return;
        };
        early.extend_from_slice(&buffer[..read]);
        for byte in &buffer[..read] {
            let identity = match decoder.push(*byte) {
                Some(Ok((Kind::Open, payload))) => {
                    Open::parse(payload).unwrap().identity().to_vec()
                }
                Some(Ok((Kind::Resume, payload))) => {
                    Resume::parse(payload).unwrap().identity().to_vec()
                }
                _ => continue,
            };
            break 'found String::from_utf8(identity).unwrap();
        }
    };
    let device = DeviceId::parse(&device).unwrap();
    let psk = Psk::load(psk_dir.join(format!("{device}.psk"))).unwrap();
    let mut peer = Peer::new(psk, u64::from(stream.peer_addr().unwrap().port()));
    peer.kept = notes.lock().unwrap().kept.get(device.as_str()).cloned();
    let mut bytes = early;
    loop {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        peer.now_us = i64::try_from(now.as_micros()).unwrap();
        peer.feed(&bytes);
        let heard: Vec<Heard> = peer.heard.drain(..).collect();
        let command = {
            let mut notes = notes.lock().unwrap();
            for heard in heard {
                notes.note(&device, heard);
            }
            if let Some(kept) = peer.kept.clone() {
                notes.kept.insert(device.to_string(), kept);
            }
            peer.is_up()
                .then(|| notes.commands.get(device.as_str()).cloned())
                .flatten()
        };
        // Offered with every message: the device has to see that it knows it.
        if let Some((id, name)) = command {
            let expires_us = peer.now_us + 60_000_000;
            let device = device.clone();
            peer.send(&Down::Command(Command {
                id,
                device,
                name: &name,
                argument: None,
                expires_us,
            }));
        }
        if stream.write_all(&peer.take_out()).await.is_err() {
            return;
        }
        // Also when nothing comes: fragments of an answer may have to go again.
        let read = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut buffer));
        bytes = match read.await {
            Ok(Ok(read @ 1..)) => buffer[..read].to_vec(),
            Ok(_) => return,
            Err(_) => Vec::new(),
        };
    }
}

impl Notes {
    fn note(&mut self, device: &DeviceId, heard: Heard) {
        let device = device.to_string();
        if let Heard::Batch { header, samples } = &heard {
            for (seq, sample) in samples {
                let key = (device.clone(), header.boot, seq.0);
                let kept = self.stored.entry(key).or_insert_with(|| sample.clone());
                assert_eq!(kept, sample, "a repetition differs");
            }
            let mut explain = |boot, range: std::ops::RangeInclusive<u64>| {
                self.explained
                    .extend(range.map(|seq| (device.clone(), boot, seq)));
            };
            for dropped in &header.dropped {
                explain(header.boot, dropped.first.0..=dropped.last().0);
            }
            if let Some(previous) = header.previous {
                explain(previous.boot, previous.acked.0 + 1..=previous.last.0);
            }
        }
        self.heard.push((device, heard));
    }

    /// The newest value of a series.
    pub fn latest(&self, device: &str, name: &str) -> Option<&OwnedSample> {
        let from = (device.to_owned(), Boot(0), 0);
        self.stored
            .range(from..)
            .take_while(|((other, ..), _)| other == device)
            .filter(|(_, sample)| sample.name == name)
            .map(|(_, sample)| sample)
            .last()
    }
}

/// Makes the keys of devices.
pub fn enrol<'a>(psk_dir: &Path, devices: impl IntoIterator<Item = &'a DeviceId>) {
    std::fs::create_dir_all(psk_dir).unwrap();
    for device in devices {
        let psk = Psk::generate(&mut stencil_crypto::rng::Os);
        psk.save(psk_dir.join(format!("{device}.psk"))).unwrap();
    }
}
