//! Devices that take firmware.
//!
//! Each is a board with one NOR flash in memory ([`stencil_boot::model`]): retained memory, the boot
//! loader's journal and two slots for images. It runs what a board runs: the boot loader
//! ([`stencil_boot::start`]) chooses and verifies an image at each start, and the firmware application
//! ([`stencil_firmware::App::with_slots`]) measures, talks to its gateway over TCP, takes the image that
//! the gateway offers, and asks for the reset. What differs from a board is that the application is
//! compiled into the simulator: of an image only its first bytes matter. One that begins with
//! [`BAD`] hangs until the watchdog resets the device, so that it never talks to anybody.
//!
//! The power goes at seeded moments while an image is written or tried, in the middle of a byte: what is
//! not in flash then is gone, and nothing more is said over the link.
//!
//! What happened to a device is in its [`Life`], for who compares that with what the hub believes.

mod chip;
mod claims;
mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use stencil_boot::Identity;
use stencil_boot::state::Name;
use stencil_crypto::Psk;
use stencil_protocol::id::DeviceId;
use stencil_protocol::image::Digest;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Reconnect;

pub use claims::Claims;
use node::Node;

/// An application that begins with this never talks to its gateway: what a bad release does.
pub const BAD: &[u8] = b"BAD";

/// What holds for all devices.
#[derive(Clone, Debug)]
pub struct Options {
    /// What happens by chance follows from this, as far as it does not depend on time.
    pub seed: u64,
    /// How often each measures.
    pub sample_interval: Duration,
    /// Within this time after they are switched on devices start.
    pub spread: Duration,
    /// When a gateway cannot be reached.
    pub reconnect: Reconnect,
    /// How often the power goes at most while a device installs an image: how often it really
    /// does is left to chance, 0 included.
    pub power_cuts: usize,
}

/// A device as it leaves its factory.
#[derive(Clone, Debug)]
pub struct Born {
    /// Its name.
    pub device: DeviceId,
    /// The key that it shares with its gateway.
    pub psk: Psk,
    /// Where its gateway is, `host:port`; may change.
    pub gateway: watch::Receiver<String>,
    /// Whose images it starts, and how long a new one may take to talk to its gateway.
    pub identity: Identity,
    /// The image in its first slot, behind header and signature.
    pub package: Arc<[u8]>,
    /// What its application says of it.
    pub claims: Claims,
}

/// What happened to a device so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// What it runs; nothing while it is off or resets.
    pub runs: Option<Runs>,
    /// The headers' names of the packages that it has begun to write into its slot.
    pub begun: BTreeSet<Name>,
    /// How often each image was started on trial.
    pub trials: BTreeMap<Digest, u32>,
    /// How often the watchdog reset it.
    pub hangs: u32,
    /// How often its power went while it wrote an image into its slot.
    pub cut_downloads: u32,
    /// How often its power went while it verified or tried one.
    pub cut_trials: u32,
    /// Why it does not start any more.
    pub dead: Option<String>,
}

/// What a device runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runs {
    /// The image.
    pub digest: Digest,
    /// It has proved itself, and is started from now on.
    pub confirmed: bool,
}

/// Devices, each a task of its own; they end when this is dropped.
#[derive(Debug)]
pub struct Nodes {
    options: Options,
    nodes: BTreeMap<DeviceId, Handle>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Handle {
    power: watch::Sender<bool>,
    life: Arc<Mutex<Life>>,
}

impl Nodes {
    /// No devices yet.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            nodes: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Adds a device, which is off. One of the same name is replaced.
    pub fn add(&mut self, born: Born) {
        let (power, is_on) = watch::channel(false);
        let life = Arc::<Mutex<Life>>::default();
        let device = born.device.clone();
        let node = Node::new(&self.options, born, is_on, Arc::clone(&life));
        self.tasks.spawn(node.run());
        self.nodes.insert(device, Handle { power, life });
    }

    /// Switches a device on or off, whatever it is at.
    pub fn switch(&self, device: &DeviceId, on: bool) {
        if let Some(node) = self.nodes.get(device) {
            node.power.send_replace(on);
        }
    }

    /// What happened to a device.
    pub fn life(&self, device: &DeviceId) -> Option<Life> {
        self.nodes.get(device).map(|node| node.life().clone())
    }

    /// How many devices' lives are so.
    pub fn count(&self, is_so: impl Fn(&Life) -> bool) -> usize {
        let nodes = self.nodes.values();
        nodes.filter(|node| is_so(&node.life())).count()
    }

    /// Of all devices: how often the power went while they wrote an image, and while they verified
    /// or tried one.
    pub fn power_cuts(&self) -> (u64, u64) {
        let lives = self.nodes.values().map(Handle::life);
        lives.fold((0, 0), |(downloads, trials), life| {
            let add = |sum: u64, more: u32| sum.saturating_add(more.into());
            (
                add(downloads, life.cut_downloads),
                add(trials, life.cut_trials),
            )
        })
    }

    /// A device that does not start any more, and why.
    pub fn dead(&self) -> Option<(DeviceId, String)> {
        self.nodes.iter().find_map(|(device, node)| {
            let why = node.life().dead.clone()?;
            Some((device.clone(), why))
        })
    }
}

impl Life {
    /// It runs this image, and keeps it.
    pub fn keeps(&self, image: &Digest) -> bool {
        self.runs
            .is_some_and(|it| it.confirmed && it.digest == *image)
    }
}

impl Handle {
    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
