//! Seals of gateways, and what devices behind those say, which is kept for proofs.

use sha2::{Digest as _, Sha256};
use stencil_proof::Record;
use stencil_protocol::batch::Batch;
use stencil_protocol::id::{DeviceId, GatewayId, Seq};
use stencil_store::{NewSeal, SealKey, SealedBatch, Sealing};

use super::State;
use super::changes::Changes;
use super::numbered::Brought;
use super::origin::Origin;
use super::quarantine::Quarantine;

/// Keeps a batch as it came, if its gateway seals and not all of it was here before.
pub(super) fn keep(
    origin: &Origin<'_>,
    device: &DeviceId,
    batch: &Batch<'_>,
    brought: &Brought,
    state: &State,
    changes: &mut Changes,
) {
    let is_sealed = origin
        .gateway()
        .is_some_and(|gateway| state.seals(origin.tenant, gateway));
    let (true, true, Some((from_us, to_us))) = (is_sealed, brought.is_new, brought.times) else {
        return;
    };
    let header = batch.header();
    changes.proofs.batches.push(SealedBatch {
        tenant: origin.tenant.clone(),
        device: device.clone(),
        boot: header.boot,
        first: header.first,
        // There are samples: they have times.
        last: Seq(header.first.0 + (batch.len() as u64 - 1)),
        from_us,
        to_us,
        received_us: origin.received_us,
        position: origin.position,
        body: origin.shared(batch.bytes()),
    });
}

/// What a gateway says of its seals. Whether a seal is right is looked at later, when all that it is over
/// is here.
pub(super) fn told(
    origin: &Origin<'_>,
    gateway: &GatewayId,
    record: &Record,
    state: &mut State,
    changes: &mut Changes,
) {
    if origin.gateway() != Some(gateway) {
        let why = format!("it is about gateway {gateway}, which did not send it");
        let mut quarantine = Quarantine::new(origin, None);
        quarantine.put(changes, None, why);
        return quarantine.finish(changes);
    }
    let tenant = origin.tenant;
    let sealing = |epoch: u64, certificate| Sealing {
        tenant: tenant.clone(),
        gateway: gateway.clone(),
        epoch,
        certificate,
    };
    match record {
        Record::Begins { epoch, certificate } => {
            state.set_seals(tenant, gateway, true);
            let fingerprint = Sha256::digest(certificate).into();
            let sealing = sealing(*epoch, Some((fingerprint, certificate.clone())));
            changes.proofs.sealing.push((origin.position, sealing));
        }
        Record::Ends { epoch } => {
            state.set_seals(tenant, gateway, false);
            let sealing = sealing(*epoch, None);
            changes.proofs.sealing.push((origin.position, sealing));
        }
        Record::Sealed(sealed) => changes.proofs.seals.push(NewSeal {
            key: SealKey {
                tenant: tenant.clone(),
                // Whose it is follows from the connection; that the seal says the same is looked at later.
                gateway: gateway.clone(),
                epoch: sealed.seal.epoch,
                number: sealed.seal.number,
            },
            hash: sealed.seal.hash(),
            record: origin.payload.to_vec(),
            received_us: origin.received_us,
        }),
    }
}
