//! A site: a gateway with devices that take firmware.
//!
//! What a device does with an image is done by the boot loader's own logic ([`stencil_boot`]) over a
//! flash in memory: it checks the LMS signature, writes the slot that it does not run from, starts
//! the image on trial, and falls back from one whose application never talks ([`BAD`]). What the
//! gateway does is what a gateway has to do: it verifies all signatures of a manifest and the
//! payload's digest before it offers anything.
//!
//! A site speaks the hub's MQTT topics and knows no network: messages go in and come out.

mod device;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use stencil_boot::Config;
use stencil_protocol::id::{DeviceId, GatewayId};
use stencil_protocol::image::{Digest, Fetch, Part, Piece, Told, Wanted, What};
use stencil_protocol::report::{Link, LinkEvent};
use stencil_protocol::topic::Topic;
use stencil_update::envelope::{self, Envelope};
use stencil_update::header::{Header, MAX_IMAGE_BYTES};
use stencil_update::trust::Trust;

pub use device::BAD;
use device::{Device, Package};

/// After this a piece that was asked for is asked for again, in µs.
const ASK_AGAIN_US: i64 = 2_000_000;

/// What a site is made of.
#[derive(Debug)]
pub struct Options {
    /// The gateway.
    pub gateway: GatewayId,
    /// Its devices; all are off at first.
    pub devices: Vec<DeviceId>,
    /// Who signs their images.
    pub trust: Trust,
    /// The image that they leave the factory with: its manifest, and its payload.
    pub factory: (Vec<u8>, Vec<u8>),
}

/// Why there is no such site.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The image that devices leave the factory with is not right.
    #[error("the first image: {0}")]
    Manifest(#[from] envelope::Error),
    /// The payload is not the one that was signed.
    #[error("the first image: {0}")]
    Payload(#[from] stencil_update::Refusal),
}

/// A message for the hub.
pub type Message = (Topic, Vec<u8>);

/// A gateway with its devices.
pub struct Site {
    gateway: GatewayId,
    trust: Trust,
    devices: BTreeMap<DeviceId, Device>,
    wanted: HashMap<DeviceId, Digest>,
    images: HashMap<Digest, Held>,
    linked: BTreeSet<DeviceId>,
    /// The uplink is there, and what the hub was told before may not have arrived.
    is_fresh: bool,
}

/// What a gateway has of an image.
enum Held {
    Coming {
        manifest: Vec<u8>,
        payload: Vec<u8>,
        of: [Option<u32>; 2],
        asked_us: i64,
    },
    Whole(Arc<Package>),
    /// It is not offered to anybody.
    Refused(String),
}

impl Site {
    /// A site whose devices are off.
    ///
    /// # Errors
    /// [`Error`], if the first image is not what was signed.
    pub fn new(options: Options) -> Result<Self, Error> {
        let (manifest, payload) = &options.factory;
        let (header, factory) = package(manifest, payload, &options.trust)?;
        let config = Config {
            layout: device::layout(),
            vendor: header.vendor,
            class: header.class,
            key: *options.trust.lms(),
            max_trials: 3,
        };
        let devices = (1_u64..).zip(options.devices).map(|(noise, id)| {
            let device = Device::new(id.clone(), config, &factory.bytes, noise);
            (id, device)
        });
        Ok(Self {
            gateway: options.gateway,
            trust: options.trust,
            devices: devices.collect(),
            wanted: HashMap::new(),
            images: HashMap::new(),
            linked: BTreeSet::new(),
            is_fresh: false,
        })
    }

    /// The topics that it listens to.
    pub fn topics(&self) -> [Topic; 3] {
        let gateway = || self.gateway.clone();
        [
            Topic::GatewayCommand(gateway()),
            Topic::GatewayWanted(gateway()),
            Topic::GatewayPiece(gateway()),
        ]
    }

    /// Switches a device on or off.
    pub fn switch(&mut self, device: &DeviceId, on: bool) {
        if let Some(device) = self.devices.get_mut(device) {
            if on {
                device.on = true;
            } else {
                device.off();
            }
        }
    }

    /// The hub is reached (again): it is told anew what devices run.
    pub fn connected(&mut self) {
        self.is_fresh = true;
        for held in self.images.values_mut() {
            if let Held::Coming { asked_us, .. } = held {
                *asked_us = i64::MIN;
            }
        }
    }

    /// Takes a message of the hub.
    pub fn take(&mut self, topic: &Topic, payload: &[u8]) {
        match topic {
            Topic::GatewayWanted(_) => match Wanted::decode(payload) {
                Ok(Wanted(wanted)) => self.wanted = wanted.into_iter().collect(),
                Err(error) => tracing::error!(%error, "what is wanted cannot be read"),
            },
            Topic::GatewayPiece(_) => match Piece::decode(payload) {
                Ok(piece) => self.piece(piece),
                Err(error) => tracing::error!(%error, "a piece of an image cannot be read"),
            },
            // Its devices carry out no commands.
            _ => {}
        }
    }

    /// Lets each device do a part of what it has to do; gives what the hub is to be told.
    pub fn step(&mut self, now_us: i64) -> Vec<Message> {
        let mut out = Vec::new();
        let is_fresh = std::mem::take(&mut self.is_fresh);
        for (id, device) in &mut self.devices {
            if is_fresh && self.linked.contains(id) {
                out.push(link(&self.gateway, id, true, now_us));
                out.extend(device.says().and_then(|what| told(id, what, now_us)));
            }
            let wanted = self.wanted.get(id);
            let package = match wanted.and_then(|digest| self.images.get(digest)) {
                Some(Held::Whole(package)) => Some(package),
                _ => None,
            };
            if let (Some(digest), Some(Held::Refused(reason))) =
                (wanted, wanted.and_then(|digest| self.images.get(digest)))
            {
                let what = What::GaveUp {
                    digest: *digest,
                    reason: reason.clone(),
                };
                out.extend(told(id, what, now_us));
                self.wanted.remove(id);
                continue;
            }
            for what in device.step(package) {
                if matches!(what, What::Runs { .. }) && self.linked.insert(id.clone()) {
                    out.push(link(&self.gateway, id, true, now_us));
                }
                out.extend(told(id, what, now_us));
            }
            // It resets, or was switched off.
            if device.runs().is_none() && self.linked.remove(id) {
                out.push(link(&self.gateway, id, false, now_us));
            }
        }
        out.extend(self.fetch(now_us));
        out
    }

    /// Which devices run this image.
    pub fn running(&self, digest: &Digest) -> usize {
        let devices = self.devices.values();
        devices
            .filter(|device| device.runs() == Some(*digest))
            .count()
    }

    /// Which devices have ever installed this image.
    pub fn installed(&self, digest: &Digest) -> usize {
        let devices = self.devices.values();
        devices
            .filter(|device| device.installed.contains(digest))
            .count()
    }

    /// Asks for what is wanted and not there.
    fn fetch(&mut self, now_us: i64) -> Vec<Message> {
        for digest in self.wanted.values() {
            self.images.entry(*digest).or_insert_with(|| Held::Coming {
                manifest: Vec::new(),
                payload: Vec::new(),
                of: [None; 2],
                asked_us: i64::MIN,
            });
        }
        let mut out = Vec::new();
        for (digest, held) in &mut self.images {
            let Held::Coming {
                manifest,
                payload,
                of,
                asked_us,
            } = held
            else {
                continue;
            };
            if now_us.saturating_sub(*asked_us) < ASK_AGAIN_US {
                continue;
            }
            *asked_us = now_us;
            let is_all = |part: &[u8], of: Option<u32>| {
                of.is_some_and(|of| part.len() >= usize::try_from(of).unwrap_or(usize::MAX))
            };
            let (part, have) = match is_all(manifest, of[0]) {
                false => (Part::Manifest, manifest.len()),
                true => (Part::Payload, payload.len()),
            };
            let fetch = Fetch {
                digest: *digest,
                part,
                offset: u32::try_from(have).unwrap_or(u32::MAX),
            };
            out.push((Topic::GatewayFetch(self.gateway.clone()), fetch.encode()));
        }
        out
    }

    fn piece(&mut self, piece: Piece) {
        let Some(held) = self.images.get_mut(&piece.digest) else {
            return;
        };
        let Held::Coming {
            manifest,
            payload,
            of,
            asked_us,
        } = held
        else {
            return;
        };
        let (place, bytes, max) = match piece.part {
            Part::Manifest => (0, manifest, envelope::MAX_BYTES),
            Part::Payload => (1, payload, usize::try_from(MAX_IMAGE_BYTES).unwrap_or(0)),
            Part::Succession => return,
        };
        let Some(more) = piece.bytes else {
            *held = Held::Refused("the hub does not have the image".to_owned());
            return;
        };
        let is_next = usize::try_from(piece.offset).is_ok_and(|at| at == bytes.len());
        if is_next && bytes.len() + more.len() <= max {
            bytes.extend(more);
            of[place] = Some(piece.of);
            *asked_us = i64::MIN;
        }
        let whole = |bytes: &[u8], of: Option<u32>| {
            of.is_some_and(|of| usize::try_from(of).is_ok_and(|of| of == bytes.len()))
        };
        let Held::Coming {
            manifest,
            payload,
            of,
            ..
        } = held
        else {
            return;
        };
        if whole(manifest, of[0]) && whole(payload, of[1]) {
            *held = match package(manifest, payload, &self.trust) {
                Ok((_, package)) => Held::Whole(Arc::new(package)),
                Err(error) => Held::Refused(error.to_string()),
            };
        }
    }
}

/// What a device downloads, if all of it is right.
fn package(manifest: &[u8], payload: &[u8], trust: &Trust) -> Result<(Header, Package), Error> {
    let verified = Envelope::decode(manifest)?.verify(trust)?;
    verified.check_image(payload)?;
    let header = *verified.header();
    let prelude = verified
        .prelude()
        .map_err(stencil_update::Refusal::Header)?;
    let offer = header.encode().map_err(stencil_update::Refusal::Header)?;
    let package = Package {
        digest: header.digest,
        offer,
        bytes: [&prelude, payload].concat(),
    };
    Ok((header, package))
}

/// Vendor and class as devices say them.
fn class(header: &Header) -> String {
    let hex = |id: &[u8; 16]| {
        id.iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    format!("{}/{}", hex(&header.vendor.0), hex(&header.class.0))
}

fn told(device: &DeviceId, what: What, at_us: i64) -> Option<Message> {
    let told = Told {
        device: device.clone(),
        at_us,
        what,
    };
    // All texts are within their bounds.
    let bytes = told.encode().ok()?;
    Some((Topic::Image(device.clone()), bytes))
}

fn link(gateway: &GatewayId, device: &DeviceId, up: bool, at_us: i64) -> Message {
    let event = LinkEvent {
        device: device.clone(),
        gateway: gateway.clone(),
        at_us,
        event: match up {
            true => Link::Connected {
                suite: stencil_crypto::Suite::DEFAULT.id(),
            },
            false => Link::Disconnected,
        },
    };
    (Topic::Link(device.clone()), event.encode())
}
