//! The proof of a reading.

use stencil_proof::document::Document;
use stencil_proof::{Reading, Record};
use stencil_protocol::batch::Batch;
use stencil_protocol::id::{Boot, DeviceId, Seq, TenantId};
use stencil_protocol::sample::OwnedSample;
use stencil_store::{Error, SealedBatch, StoredSeal};

use super::Proofs;

/// Which reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Which {
    /// By its number.
    Numbered {
        /// The boot.
        boot: Boot,
        /// The number.
        seq: Seq,
    },
    /// By its name and time.
    Timed {
        /// What was measured.
        name: String,
        /// When.
        time_us: i64,
    },
}

/// How far a proof has to lead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Until {
    /// To the gateway's signature; and to a chain, if it is anchored.
    #[default]
    Sealed,
    /// To a chain.
    Anchored,
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotProven {
    /// There is nothing to prove.
    #[error("{0}")]
    NotFound(String),
    /// There is none yet.
    #[error("{0}")]
    NotYet(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] Error),
}

impl Proofs {
    /// The proof of a reading of a device.
    pub(crate) async fn document(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        which: &Which,
        until: Until,
    ) -> Result<Document, NotProven> {
        let Some(reading) = self.reading(tenant, device, which).await? else {
            return Err(NotProven::NotFound(not_kept(device, which)));
        };
        let found = self
            .store
            .seal_of(tenant, device, reading.boot, reading.seq)
            .await?;
        let Some((stored, place)) = found else {
            return Err(NotProven::NotYet(format!(
                "number {} of boot {} of {device} is not sealed yet, or its seal is not verified: see \
                 /api/v1/seals",
                reading.seq, reading.boot
            )));
        };
        let mut document = self.sealed(tenant, &reading, &stored, place).await?;
        document.anchor = self.anchor_of(tenant, &stored).await?;
        if until == Until::Anchored && document.anchor.is_none() {
            let seal = &stored.seal.key;
            return Err(NotProven::NotYet(format!(
                "number {} of boot {} of {device} is sealed (number {} of {}), and not anchored yet: see \
                 /api/v1/anchoring",
                reading.seq, reading.boot, seal.number, seal.gateway
            )));
        }
        Ok(document)
    }

    async fn sealed(
        &self,
        tenant: &TenantId,
        reading: &Reading,
        stored: &StoredSeal,
        place: u32,
    ) -> Result<Document, NotProven> {
        let gone = || {
            NotProven::NotFound(
                "what the seal is over is not kept any more: see the tenant's retention".to_owned(),
            )
        };
        let Ok(Record::Sealed(sealed)) = Record::decode(&stored.seal.record) else {
            return Err(gone());
        };
        let seal = &sealed.seal;
        let Some(secret) = &sealed.secret else {
            return Err(NotProven::NotFound(format!(
                "seal {} of {} is verified, and there are no proofs by it: the gateway made it when readings \
                 had no salts yet, and a proof would let who has it find what was measured beside it",
                seal.number, seal.gateway
            )));
        };
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        let chunk = sealed.chunks.get(place).ok_or_else(gone)?;
        let had = self.leaves(tenant, chunk, Some(secret)).await?;
        let had = had.ok_or_else(gone)?;
        let certificate = self
            .store
            .sealing_key(tenant, &seal.gateway, &seal.certificate)
            .await?
            .ok_or_else(gone)?;
        Document::of(reading, &had.leaves, &sealed, place, &certificate).ok_or_else(gone)
    }

    /// The reading, from what is kept for proofs.
    async fn reading(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        which: &Which,
    ) -> Result<Option<Reading>, Error> {
        let batches = match which {
            Which::Numbered { boot, seq } => {
                self.store
                    .sealed_batches(tenant, device, *boot, *seq, *seq)
                    .await?
            }
            Which::Timed { time_us, .. } => {
                self.store
                    .sealed_batches_at(tenant, device, *time_us)
                    .await?
            }
        };
        Ok(batches.iter().find_map(|batch| found(device, batch, which)))
    }
}

fn found(device: &DeviceId, kept: &SealedBatch, which: &Which) -> Option<Reading> {
    let batch = Batch::decode(&kept.body).ok()?;
    let boot = batch.header().boot;
    for (seq, sample) in batch.samples() {
        let Ok(sample) = sample else { continue };
        let is_it = match which {
            Which::Numbered { boot: of, seq: at } => (*of, *at) == (boot, seq),
            Which::Timed { name, time_us } => *name == sample.name && *time_us == sample.time_us,
        };
        if is_it {
            return Some(Reading {
                device: device.clone(),
                boot,
                seq,
                sample: OwnedSample::from(sample),
            });
        }
    }
    None
}

fn not_kept(device: &DeviceId, which: &Which) -> String {
    let what = match which {
        Which::Numbered { boot, seq } => format!("number {seq} of boot {boot} of {device}"),
        Which::Timed { name, time_us } => format!("{name} of {device} at {time_us}"),
    };
    format!(
        "nothing is kept of {what} for proofs: it is not there, its gateway did not seal then \
         (`seal.interval_s` in its settings), or it is older than series are kept"
    )
}
