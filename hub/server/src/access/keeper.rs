//! Receipts of gateways: checked as a stranger would check them, and kept.
//!
//! They come beside the ingest log: a gateway brings the same ones again until it hears that they are
//! kept, so none is lost by that, and what is there already is left as it is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stencil_access::receipt::{Batch, MAX_BATCH_BYTES, Receipt, follow, hash};
use stencil_crypto::authority::Description;
use stencil_mqtt::Publish;
use stencil_protocol::command::State;
use stencil_protocol::id::{CommandId, GatewayId, TenantId};
use stencil_store::{BroughtReceipt, CertificateState, Store, StoredReceipt};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::conflict::{self, Conflict, Known};
use super::{Rights, Telling};
use crate::clock::Clock;
use crate::identity::Error;
use crate::parts::told_to_end;
use crate::wake::Wakes;
use crate::{Principal, Role};

/// Messages that may wait; with more they are let go, and come again.
const WAITING: usize = 256;

/// How often it is looked whether receipts are to be judged again.
const AGAIN: Duration = Duration::from_secs(1);

/// So many receipts of one answer of a wallet are looked at.
const SAME_NONCE: u32 = 16;

type Message = (TenantId, GatewayId, Vec<u8>);

/// Where receipts come in. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Intake {
    to: mpsc::Sender<Message>,
    from: Arc<Mutex<Option<mpsc::Receiver<Message>>>>,
}

impl Default for Intake {
    fn default() -> Self {
        let (to, from) = mpsc::channel(WAITING);
        let from = Arc::new(Mutex::new(Some(from)));
        Self { to, from }
    }
}

impl Intake {
    /// Takes what a gateway publishes on the topic of its receipts. Waits for nothing.
    pub(crate) fn take(&self, from: &Principal, publish: &Publish<'_>) {
        let Role::Gateway(gateway) = &from.role else {
            return;
        };
        if publish.payload.len() > MAX_BATCH_BYTES {
            tracing::warn!(tenant = %from.tenant, %gateway, "receipts of a gateway are too long");
            return;
        }
        let message = (
            from.tenant.clone(),
            gateway.clone(),
            publish.payload.to_vec(),
        );
        if self.to.try_send(message).is_err() {
            tracing::debug!(tenant = %from.tenant, %gateway, "receipts are taken later");
        }
    }
}

/// Keeps receipts.
pub(crate) struct Keeper {
    pub(crate) rights: Rights,
    pub(crate) store: Store,
    pub(crate) telling: Telling,
    pub(crate) clock: Clock,
    pub(crate) wakes: Wakes,
    pub(crate) intake: Intake,
}

/// Why receipts are not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    Receipt(#[from] stencil_access::receipt::Error),
    #[error("they are signed by a certificate that is not this gateway's, or was revoked")]
    Certificate,
    #[error("receipt {0} of chain {1} is another than the one that is kept")]
    Fork(u64, String),
    #[error("receipt {number} names another gateway, {found}")]
    Gateway { number: u64, found: String },
    #[error(transparent)]
    Identity(#[from] Error),
    #[error(transparent)]
    Store(#[from] stencil_store::Error),
}

impl Keeper {
    /// Works until `stop` holds true.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let from = self.intake.from.lock();
        let from = from.unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut from) = from else { return };
        let mut again = tokio::time::interval(AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (tenant, gateway, bytes) = tokio::select! {
                () = told_to_end(&mut stop) => return,
                Some(message) = from.recv() => message,
                _ = again.tick() => {
                    self.judge_again().await;
                    continue;
                }
            };
            match self.keep(&tenant, &gateway, &bytes).await {
                Ok(count) => {
                    tracing::debug!(%tenant, %gateway, count, "receipts of a gateway are kept");
                }
                Err(why) => {
                    tracing::error!(%tenant, %gateway, %why, "receipts of a gateway are not kept");
                    // It hears which are, and that it was set back: it goes on in a chain of its own then.
                    if let Refused::Fork(_, chain) = &why {
                        self.telling.held(&tenant, &gateway, chain);
                    }
                }
            }
        }
    }

    /// Keeps what is new of a batch, and has its gateway told up to where its chain is kept; says how many
    /// are new.
    pub(crate) async fn keep(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        bytes: &[u8],
    ) -> Result<usize, Refused> {
        let batch = Batch::parse(bytes)?;
        let key = self.key(tenant, gateway, &batch).await?;
        let receipts = follow(&batch.receipts, None)?;
        let (Some(first), Some(last)) = (receipts.first(), receipts.last()) else {
            return Ok(0);
        };
        batch.check_signature(last, &key)?;
        let chain = first.chain.clone();
        let own = self.rights.identity.gateway_did(tenant, gateway)?;
        if let Some(other) = receipts.iter().find(|it| it.gateway != own.as_str()) {
            return Err(Refused::Gateway {
                number: other.number,
                found: other.gateway.chars().take(120).collect(),
            });
        }
        let access = &self.store.access;
        let known = access.last_receipt(tenant, gateway, &chain).await?;
        let (known, known_hash) = known.unwrap_or((0, stencil_access::receipt::NOTHING));
        let (now_us, tolerance_us) = {
            let policy = self.rights.policy(tenant).await?;
            (self.clock.now_us(), policy.at_gateways().tolerance_us())
        };
        let mut kept = Vec::new();
        let all = receipts.iter().zip(&batch.receipts).zip(&batch.outcomes);
        for (index, ((receipt, text), outcome)) in all.enumerate() {
            let (number, hash) = (receipt.number, hash(text));
            if number <= known {
                let before = access.receipt(tenant, gateway, &chain, number).await?;
                if before.is_some_and(|before| before.hash != hash) {
                    return Err(Refused::Fork(number, chain));
                }
                // Its device may have said something since it was brought before.
                if let (Ok(command), Some(outcome)) =
                    (CommandId::parse(&receipt.command), State::parse(outcome))
                {
                    access.put_outcome(tenant, &command, outcome).await?;
                }
                continue;
            }
            let follows = number == known + 1 || !kept.is_empty();
            if number == known + 1 && receipt.previous != hex::encode(known_hash) {
                return Err(Refused::Fork(number, chain));
            }
            if !follows {
                tracing::error!(%tenant, %gateway, number, known, "receipts between these are missing: \
                    this hub was restored, or the gateway has lost them");
            }
            let brought = StoredReceipt {
                gateway: gateway.clone(),
                chain: chain.clone(),
                number,
                hash,
                body: text.clone(),
                right: receipt.right.clone(),
                outcome: outcome.clone(),
                follows,
                conflict: None,
                told: false,
                at_us: receipt.at_us,
                received_us: now_us,
            };
            let before = receipts.get(..index).unwrap_or_default();
            let is_used = self.is_used(tenant, gateway, receipt, before).await?;
            let judged = self.judged(tenant, receipt, brought, (is_used, tolerance_us));
            kept.push(judged.await?);
        }
        if known == 0
            && first.number == 1
            && let Some(text) = batch.receipts.first()
        {
            self.tell_new_chain(tenant, gateway, first, hash(text))
                .await?;
        }
        // What follows from them is started before they are kept: it starts once, however often.
        access.keep_receipts(tenant, &kept).await?;
        self.telling.held(tenant, gateway, &chain);
        Ok(kept.len())
    }

    /// Whether the gateway has noted the answer in this receipt for another admission: in the same chain, as
    /// in those of this batch `before` it, or for another command. The same in another chain is what a gateway
    /// brings that was set back.
    async fn is_used(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        receipt: &Receipt,
        before: &[Receipt],
    ) -> Result<bool, Refused> {
        let nonce = receipt.challenge.nonce.as_str();
        if before.iter().any(|it| it.challenge.nonce == nonce) {
            return Ok(true);
        }
        let access = &self.store.access;
        let noted = access.receipts_of_nonce(tenant, gateway, nonce, SAME_NONCE);
        let noted = noted.await?;
        // None was set back as often.
        if noted.len() >= usize::try_from(SAME_NONCE).unwrap_or(usize::MAX) {
            return Ok(true);
        }
        let is_other = |it: &StoredReceipt| {
            it.chain == receipt.chain
                || Receipt::parse(&it.body).is_ok_and(|it| it.command != receipt.command)
        };
        Ok(noted.iter().any(is_other))
    }

    async fn judged(
        &self,
        tenant: &TenantId,
        receipt: &Receipt,
        mut kept: StoredReceipt,
        (is_used, tolerance_us): (bool, i64),
    ) -> Result<BroughtReceipt, Refused> {
        let known = Known::read(&self.store, tenant, &receipt.right).await?;
        let conflict = match is_used {
            true => Some(Conflict::nonce_used()),
            false => conflict::of(receipt, known.as_ref(), tolerance_us),
        };
        if let Some(conflict) = conflict {
            kept.conflict = Some(conflict.reason.to_owned());
            kept.told = true;
            self.tell(tenant, receipt, &kept, (conflict, known.as_ref()))
                .await?;
        }
        Ok(BroughtReceipt {
            receipt: kept,
            revision: known.map(|known| known.right.revision),
        })
    }

    /// Tells workflows of a receipt that conflicts, which they hear of once.
    pub(super) async fn tell(
        &self,
        tenant: &TenantId,
        receipt: &Receipt,
        kept: &StoredReceipt,
        of: (Conflict, Option<&Known>),
    ) -> Result<(), Refused> {
        let (gateway, device, reason) = (&kept.gateway, receipt.device(), of.0.reason);
        tracing::warn!(%tenant, %gateway, %device, reason, right = receipt.right,
            "a gateway has admitted somebody whose right conflicts");
        let ports = (self.store.workflows.as_ref(), self.store.runs.as_ref());
        let now_us = self.clock.now_us();
        if conflict::tell(ports, tenant, receipt, kept, of, now_us).await? > 0 {
            self.wakes.runner();
        }
        Ok(())
    }

    /// The key of the gateway's own certificate that a batch was signed by.
    async fn key(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        batch: &Batch,
    ) -> Result<Vec<u8>, Refused> {
        let der = batch.certificate()?;
        let of = Description::of(&der).map_err(|_| Refused::Certificate)?;
        let certificates = self
            .store
            .certificates
            .certificates(tenant, gateway)
            .await?;
        let own = certificates
            .iter()
            .any(|one| one.fingerprint == of.fingerprint && one.state != CertificateState::Revoked);
        if !own {
            return Err(Refused::Certificate);
        }
        Description::public_key(&der).map_err(|_| Refused::Certificate)
    }
}
