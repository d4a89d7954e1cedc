//! Seals over what devices say ([`stencil_proof`]).
//!
//! ```text
//! spool, behind the disk → Gathered: a tree a device → interval or count → signed → saved → spooled
//! ```
//!
//! What is sealed is what is spooled, so a reading costs nothing but its hash when it comes in. A seal
//! stands in the spool behind what it is over, and goes to the hub by the same way. Until a seal is
//! there the spool keeps what it is to be over, acknowledged or not; after a kill that is read again, with
//! another secret for its salts: nobody has seen the one before.

mod gathered;
pub(crate) mod options;
mod saved;

use std::{path::PathBuf, sync::Arc, time::Duration};

use sha2::{Digest as _, Sha256};
use stencil_crypto::{rng, signature::SigningKey};
use stencil_log::Position;
use stencil_proof::{Chunk, Hash, Record, Seal, Sealed, Secret, tree};
use stencil_protocol::{
    batch::Batch,
    id::{DeviceId, GatewayId, TenantId},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

pub(crate) use saved::held;

use crate::{
    Error, clock,
    metrics::Metrics,
    options::Seal as Options,
    spool::{Entry, Kind, Spool, judged, open, read, stopped},
    uplink::Certificate,
};
use gathered::Gathered;
use saved::{Saved, State};

/// All that is needed.
pub(crate) struct Sealing {
    pub(crate) tenant: TenantId,
    pub(crate) gateway: GatewayId,
    pub(crate) folder: PathBuf,
    pub(crate) options: Options,
    pub(crate) spool: Spool,
    pub(crate) certificate: Arc<Certificate>,
    pub(crate) metrics: Arc<Metrics>,
}

/// Seals until `stop` holds true, or the spool fails.
pub(crate) async fn seal(sealing: Sealing, mut stop: watch::Receiver<bool>) -> Result<(), Error> {
    let saved = Saved::in_folder(&sealing.folder);
    let reading = saved.clone();
    let read = tokio::task::spawn_blocking(move || reading.read()).await;
    let before = match read.map_err(|_| Error::Ended("seal"))? {
        Ok(before) => before,
        Err(error) => {
            tracing::error!(%error, "how far readings are sealed cannot be read: a new chain of \
                seals begins");
            None
        }
    };
    let is_on = sealing.options.interval_s > 0;
    let mut chain = match before {
        Some(state) => Chain {
            sealing,
            saved,
            state,
        },
        None if !is_on => {
            sealing.spool.hold_for_seals(Position(u64::MAX));
            stopped(&mut stop).await;
            return Ok(());
        }
        None => Chain {
            state: State {
                on: false,
                position: 0,
                epoch: epoch(),
                number: 0,
                previous: [0; 32],
                last: Vec::new(),
            },
            sealing,
            saved,
        },
    };
    if !is_on {
        chain.end().await?;
        stopped(&mut stop).await;
        return Ok(());
    }
    chain.begin().await?;
    chain.follow(&mut stop).await
}

fn epoch() -> u64 {
    let mut bytes = [0; 8];
    rand_core::Rng::fill_bytes(&mut rng::Os, &mut bytes);
    u64::from_le_bytes(bytes)
}

/// What a seal's salts are made from.
fn secret() -> Secret {
    let mut bytes = [0; 32];
    rand_core::Rng::fill_bytes(&mut rng::Os, &mut bytes);
    Secret::new(bytes)
}

struct Chain {
    sealing: Sealing,
    saved: Saved,
    state: State,
}

impl Chain {
    /// What comes behind this is sealed.
    async fn begin(&mut self) -> Result<(), Error> {
        let spool = &self.sealing.spool;
        if !self.state.on {
            let end = spool.log().end();
            spool.hold_for_seals(end);
            (self.state.on, self.state.position) = (true, end.0);
            self.state.last.clear();
            self.save().await?;
        }
        self.sealing
            .spool
            .hold_for_seals(Position(self.state.position));
        let key = self.sealing.certificate.signing();
        self.tell_key(&key).await?;
        self.put_last().await?;
        tracing::info!(
            seconds = self.sealing.options.interval_s,
            "what devices say is sealed"
        );
        Ok(())
    }

    /// Spools the last seal again: it may have been saved, and not spooled. The hub knows it by its number.
    async fn put_last(&self) -> Result<(), Error> {
        match self.state.last.is_empty() {
            true => Ok(()),
            false => self.put(&self.state.last).await,
        }
    }

    /// Nothing is sealed any more.
    async fn end(&mut self) -> Result<(), Error> {
        if self.state.on {
            self.put_last().await?;
            let epoch = self.state.epoch;
            self.put(&Record::Ends { epoch }.encode()).await?;
            self.state.on = false;
            self.state.last.clear();
            self.save().await?;
        }
        self.sealing.spool.hold_for_seals(Position(u64::MAX));
        Ok(())
    }

    /// Says by which key it is signed from here on.
    async fn tell_key(&self, key: &SigningKey) -> Result<(), Error> {
        let record = Record::Begins {
            epoch: self.state.epoch,
            certificate: key.certificate().to_vec(),
        };
        self.put(&record.encode()).await
    }

    async fn follow(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), Error> {
        let interval = Duration::from_secs(self.sealing.options.interval_s);
        let mut told: Hash = digest(&self.sealing.certificate.signing());
        let mut gathered = Gathered::new(secret());
        let mut reader = open(&self.sealing.spool, Position(self.state.position))?;
        let mut due = None;
        loop {
            let (back, records) = tokio::task::spawn_blocking(move || {
                let records = read(&mut reader);
                (reader, records)
            })
            .await
            .map_err(|_| Error::Ended("seal"))?;
            reader = back;
            let records = records?;
            let is_waiting = records.is_empty();
            for record in records {
                let Some((device, batch)) = batch_of(&record.payload) else {
                    continue;
                };
                if !gathered.has_room(&device, &batch) {
                    self.seal(&mut gathered, record.start, &mut told).await?;
                    due = None;
                }
                gathered.take(&device, &batch);
                if gathered.readings() >= self.sealing.options.max_readings {
                    self.seal(&mut gathered, record.end, &mut told).await?;
                    due = None;
                }
            }
            if gathered.is_empty() {
                due = None;
            } else {
                let at = *due.get_or_insert_with(|| Instant::now() + interval);
                if at <= Instant::now() {
                    let position = reader.position();
                    self.seal(&mut gathered, position, &mut told).await?;
                    due = None;
                }
            }
            if is_waiting {
                tokio::select! {
                    more = reader.wait() => more?,
                    () = until(due) => {}
                    () = stopped(stop) => return Ok(()),
                }
            } else if *stop.borrow() {
                return Ok(());
            }
        }
    }

    /// Seals what is gathered, all of it spooled before `position`.
    async fn seal(
        &mut self,
        gathered: &mut Gathered,
        position: Position,
        told: &mut Hash,
    ) -> Result<(), Error> {
        let (secret, chunks) = gathered.close(secret());
        if chunks.is_empty() {
            return Ok(());
        }
        let key = self.sealing.certificate.signing();
        let certificate = digest(&key);
        if certificate != *told {
            self.tell_key(&key).await?;
            *told = certificate;
        }
        let leaves: Vec<Hash> = chunks.iter().map(Chunk::leaf).collect();
        let seal = Seal {
            tenant: self.sealing.tenant.clone(),
            gateway: self.sealing.gateway.clone(),
            epoch: self.state.epoch,
            number: self.state.number + 1,
            previous: self.state.previous,
            at_us: clock::set_now_us().unwrap_or(0),
            certificate,
            chunks: chunks.len() as u64,
            root: tree::root(&leaves),
        };
        let entry = seal.entry();
        let signed = tokio::task::spawn_blocking(move || key.sign(&entry)).await;
        let signed = signed.map_err(|_| Error::Ended("seal"))?;
        let signature = signed.map_err(|error| Error::Keys(error.to_string()))?;
        self.state.number = seal.number;
        self.state.previous = seal.hash();
        self.state.position = position.0;
        let sealed = Sealed {
            seal,
            signature,
            chunks,
            secret: Some(secret),
        };
        let record = Record::Sealed(Box::new(sealed)).encode();
        self.state.last.clone_from(&record);
        self.save().await?;
        stencil_crashpoint::reach("seal.saved");
        self.put(&record).await?;
        stencil_crashpoint::reach("seal.spooled");
        self.sealing.spool.hold_for_seals(position);
        self.sealing.metrics.seals.increment();
        Ok(())
    }

    /// Spools a record; it is on disk when this returns.
    async fn put(&self, record: &[u8]) -> Result<(), Error> {
        let entry = Entry {
            kind: Kind::Seal,
            device: crate::edge::named(&self.sealing.gateway),
            suite: None,
            payload: record,
        };
        let position = self.sealing.spool.put_bytes(&entry.to_bytes()).await?;
        self.sealing.spool.log().wait(position).await?;
        Ok(())
    }

    /// A disk that takes nothing now is waited for: a seal must not leave before it is known here.
    async fn save(&self) -> Result<(), Error> {
        let mut told = false;
        loop {
            let (saved, state) = (self.saved.clone(), self.state.clone());
            let written = tokio::task::spawn_blocking(move || saved.write(&state)).await;
            match written.map_err(|_| Error::Ended("seal"))? {
                Ok(()) => return Ok(()),
                Err(error) if !told => {
                    tracing::error!(%error, "seals wait: how far they are cannot be saved now");
                    told = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

fn digest(key: &SigningKey) -> Hash {
    Sha256::digest(key.certificate()).into()
}

async fn until(due: Option<Instant>) {
    match due {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// A device's batch, if the record is one.
fn batch_of(payload: &[u8]) -> Option<(DeviceId, Batch<'_>)> {
    let entry = Entry::parse(payload)?;
    let batch = match entry.kind {
        Kind::Batch => Batch::decode(entry.payload).ok(),
        Kind::Judged => judged(entry.payload),
        _ => None,
    };
    Some((entry.device, batch?))
}
