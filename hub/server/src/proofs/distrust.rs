//! Seals that are not what the hub has: what differs, and who is told of it.

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use stencil_proof::{Chunk, Hash};
use stencil_protocol::id::{Boot, DeviceId, Seq};
use stencil_store::{
    AuditOutcome, Error, MAX_SEAL_MARKS, NewAudit, NewSealMark, SealFlaw, SealKey, SealMarkFilter,
    SealState, SealedBatch, StoredSeal, Trigger,
};
use stencil_workflow::caused_run_id;
use stencil_workflow::definition::{self, Source};

use super::Proofs;

/// Ranges, batches and numbers that a mark names at most, of each.
const NAMED: usize = 16;
/// Devices that the audit log and workflows are told of at most.
const DEVICES: usize = 16;

/// What a seal says, and what the hub has in its place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub(crate) struct Differs {
    /// The SHA-256 that the seal names: of a device's readings, of all chunks, of the seal before, or of its
    /// certificate.
    pub(crate) named: Option<String>,
    /// The one that the hub comes to, or has; null: none.
    pub(crate) here: Option<String>,
    /// How many readings it is over.
    pub(crate) readings: Option<u64>,
    /// Their numbers; the first 16 runs.
    pub(crate) numbers: Vec<Numbers>,
    /// The batches that the hub has of these; the first 16.
    pub(crate) batches: Vec<KeptBatch>,
    /// How many more batches there are.
    pub(crate) more_batches: u64,
    /// Numbers that came more than once, and not with the same content: the hub has kept the first; the first
    /// 16 of them.
    pub(crate) twice: Vec<Numbers>,
}

/// A run of a device's numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Numbers {
    /// The boot.
    pub(crate) boot: u32,
    /// The first number.
    pub(crate) first: u64,
    /// The last one.
    pub(crate) last: u64,
}

/// A batch of a device, as the hub has taken it in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct KeptBatch {
    /// Its numbers.
    #[serde(flatten)]
    pub(crate) numbers: Numbers,
    /// When the hub received it, µs since the Unix epoch.
    pub(crate) received_us: i64,
    /// Where it was in the hub's log.
    pub(crate) position: u64,
}

impl KeptBatch {
    fn of(batch: &SealedBatch) -> Self {
        Self {
            numbers: Numbers {
                boot: batch.boot.0,
                first: batch.first.0,
                last: batch.last.0,
            },
            received_us: batch.received_us,
            position: batch.position,
        }
    }
}

/// The leaves of a chunk, and where they are from.
#[derive(Debug, Default)]
pub(super) struct Had {
    pub(super) leaves: Vec<Hash>,
    batches: Vec<KeptBatch>,
    more_batches: u64,
    twice: Vec<Numbers>,
}

impl Had {
    /// They are out of these, too.
    pub(super) fn came_in<'a>(&mut self, batches: impl Iterator<Item = &'a SealedBatch>) {
        for batch in batches {
            let kept = KeptBatch::of(batch);
            // What a device handed in twice is in a chunk twice.
            if self.batches.contains(&kept) {
                continue;
            }
            match self.batches.len() < NAMED {
                true => self.batches.push(kept),
                false => self.more_batches += 1,
            }
        }
    }

    /// A number came with another content, too.
    pub(super) fn twice(&mut self, boot: Boot, seq: Seq) {
        let numbers = Numbers {
            boot: boot.0,
            first: seq.0,
            last: seq.0,
        };
        if self.twice.len() < NAMED && !self.twice.contains(&numbers) {
            self.twice.push(numbers);
        }
    }
}

fn mark(device: Option<DeviceId>, flaw: SealFlaw, why: String, differs: &Differs) -> NewSealMark {
    NewSealMark {
        device,
        flaw,
        why,
        // Texts and numbers only: this cannot fail.
        differs: serde_json::to_string(differs).unwrap_or_default(),
    }
}

/// The seal as a whole is wrong: it names one hash, and the hub has another.
pub(super) fn whole(
    flaw: SealFlaw,
    why: impl Into<String>,
    named: Option<Hash>,
    here: Option<Hash>,
) -> NewSealMark {
    let differs = Differs {
        named: named.map(hex::encode),
        here: here.map(hex::encode),
        ..Differs::default()
    };
    mark(None, flaw, why.into(), &differs)
}

/// A device's readings are something else here.
pub(super) fn readings(chunk: &Chunk, had: Had, root: &Hash) -> NewSealMark {
    let why = format!(
        "what {} said is something else here: {} readings do not give the root that the gateway has signed",
        chunk.device, chunk.readings
    );
    let runs = chunk.runs.iter().take(NAMED);
    let differs = Differs {
        named: Some(hex::encode(chunk.root)),
        here: Some(hex::encode(root)),
        readings: Some(chunk.readings),
        numbers: runs
            .map(|run| Numbers {
                boot: run.boot.0,
                first: run.first.0,
                last: run.first.0.saturating_add(run.count.saturating_sub(1)),
            })
            .collect(),
        batches: had.batches,
        more_batches: had.more_batches,
        twice: had.twice,
    };
    mark(
        Some(chunk.device.clone()),
        SealFlaw::Readings,
        why,
        &differs,
    )
}

/// What is said of a seal that has these marks, for people.
pub(super) fn why(marks: &[NewSealMark]) -> Option<String> {
    let first = marks.first()?;
    let more = marks.len() - 1;
    Some(match more {
        0 => first.why.clone(),
        _ => format!("{}; so is what {more} more devices said", first.why),
    })
}

/// The entry of the audit log.
pub(super) fn noted(key: &SealKey, marks: &[NewSealMark], now_us: i64) -> NewAudit {
    let SealKey {
        gateway,
        epoch,
        number,
        ..
    } = key;
    let named: Vec<&str> = devices(marks).collect();
    let flaw = marks.first().map_or("", |mark| mark.flaw.as_str());
    let mut detail = format!("{flaw}, chain {epoch}: {}", why(marks).unwrap_or_default());
    if !named.is_empty() {
        detail.push_str(&format!(" ({})", named.join(", ")));
    }
    NewAudit {
        at_us: now_us,
        who: format!("gateway {gateway}"),
        action: "gateways.seal".to_owned(),
        target: Some(format!("{gateway} {number}")),
        outcome: AuditOutcome::Refused,
        detail: Some(detail),
        address: None,
    }
}

fn devices(marks: &[NewSealMark]) -> impl Iterator<Item = &str> {
    let devices = marks.iter().filter_map(|mark| mark.device.as_ref());
    devices.map(DeviceId::as_str).take(DEVICES)
}

impl Proofs {
    /// The runs of workflows that want to hear of it, each once however often it is found. None where the
    /// gateway has as many marks as it may: that was told.
    pub(super) async fn runs_of(
        &self,
        stored: &StoredSeal,
        state: SealState,
        marks: &[NewSealMark],
        now_us: i64,
    ) -> Result<Vec<Trigger>, Error> {
        let SealKey {
            tenant,
            gateway,
            epoch,
            number,
        } = &stored.seal.key;
        let Some(first) = marks.first() else {
            return Ok(Vec::new());
        };
        let of = SealMarkFilter {
            gateway: Some(gateway.clone()),
            ..SealMarkFilter::default()
        };
        let held = self
            .store
            .seal_marks(tenant, &of, None, MAX_SEAL_MARKS)
            .await?;
        if held.items.len() >= MAX_SEAL_MARKS as usize {
            return Ok(Vec::new());
        }
        let cause: [u8; 32] = Sha256::new()
            .chain_update(b"stencil seal mismatch 1\0")
            .chain_update(gateway.as_str())
            .chain_update(b"\0")
            .chain_update(epoch.to_be_bytes())
            .chain_update(number.to_be_bytes())
            .chain_update(stored.seal.hash)
            .finalize()
            .into();
        let event = json!({
            "tenant": tenant,
            "gateway": gateway,
            "device": first.device,
            "devices": devices(marks).collect::<Vec<_>>(),
            // More than a number in JSON holds for sure.
            "epoch": epoch.to_string(),
            "number": number,
            "hash": hex::encode(stored.seal.hash),
            "state": state,
            "flaw": first.flaw,
            "why": why(marks),
            "time_us": now_us,
        });
        let mut triggers = Vec::new();
        for (of, workflow) in self.workflows.active().await? {
            if of != *tenant {
                continue;
            }
            let Ok(definition) = definition::parse(&workflow.yaml) else {
                continue;
            };
            let Source::Seal(source) = &definition.source else {
                continue;
            };
            if !source.gateways.matches(gateway.as_str()) {
                continue;
            }
            triggers.push(Trigger {
                run: caused_run_id(tenant, &definition.id, &cause),
                tenant: tenant.clone(),
                workflow: definition.id,
                version: definition.version,
                event: event.clone(),
                at_us: now_us,
                not_before_us: None,
            });
        }
        Ok(triggers)
    }
}
