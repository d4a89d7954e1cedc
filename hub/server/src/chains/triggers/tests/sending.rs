//! The chain as what sends sees it: what is ordered is signed and kept by the store, and is in a block at once.

use std::sync::Arc;

use async_trait::async_trait;
use stencil_payments::port::{
    Address, Bytes, Called, Chain, Event, Function, KnownToken, NotOrdered, Order, Outcome, Sent,
    Unknown,
};
use stencil_protocol::id::TenantId;
use stencil_store::{NewSend, SendAttempt, Sends, SpendLimit, Store, StoredSend};

use super::chain::{ACCOUNT, ID, NAME};

/// The first byte of the hash of what is sent first; each byte of it is the same.
pub(super) const FIRST: u8 = 100;

pub(super) struct Sending(pub(super) Arc<dyn Sends>);

impl Sending {
    fn is_in_a_block(send: &StoredSend) -> Option<Sent> {
        let tx = send.attempts.first()?.tx;
        Some(Sent::Included(Outcome {
            tx: tx.into(),
            block: 1,
            block_hash: [1; 32].into(),
            succeeded: true,
        }))
    }
}

/// The tenant may spend what it wants.
pub(super) async fn may_spend(store: &Store, tenant: &TenantId) {
    let mut most = [0; 32];
    most[0] = 1;
    let limit = SpendLimit {
        tenant: tenant.to_string(),
        chain: NAME.to_owned(),
        asset: None,
        window_s: 3_600,
        most,
    };
    store.sends.set_spend_limit(&limit).await.unwrap();
}

/// Each transaction that was sent, by what its hash consists of.
pub(super) async fn sent(store: &Store) -> Vec<u8> {
    let sends = store.sends.open_sends(NAME, ACCOUNT).await.unwrap();
    sends.iter().map(|send| send.attempts[0].tx[0]).collect()
}

#[async_trait]
impl Chain for Sending {
    fn name(&self) -> &str {
        NAME
    }
    fn id(&self) -> u64 {
        ID
    }
    fn account(&self) -> Option<Address> {
        Some(ACCOUNT.into())
    }
    fn tokens(&self) -> &[KnownToken] {
        &[]
    }
    fn payments(&self) -> Option<Address> {
        None
    }
    fn escrow(&self) -> Option<Address> {
        None
    }
    fn event(&self, _: &str) -> Result<Arc<dyn Event>, String> {
        Err("there are none".to_owned())
    }
    fn function(&self, _: &str) -> Result<Arc<dyn Function>, String> {
        Err("there are none".to_owned())
    }
    async fn call(&self, _: Address, _: Bytes) -> Result<Called, Unknown> {
        Err(Unknown("nobody is asked".to_owned()))
    }
    async fn has_code(&self, _: Address) -> Result<bool, Unknown> {
        Ok(false)
    }
    async fn order(&self, order: &Order) -> Result<Sent, NotOrdered> {
        let send = NewSend {
            chain: NAME.to_owned(),
            sender: ACCOUNT,
            tenant: order.tenant.to_string(),
            key: order.key.clone(),
            receiver: order.to.into(),
            value: order.value.0.to_be_bytes(),
            data: order.data.to_vec(),
            gas: order.gas,
            most_fee: [0; 32],
            token: None,
            brings: None,
        };
        let reserved = self.0.reserve_send(&send, 0, 1).await;
        let mut stored = reserved.map_err(|error| NotOrdered::Refused(error.to_string()))?;
        if stored.attempts.is_empty() {
            let attempt = SendAttempt {
                tx: [FIRST + u8::try_from(stored.nonce).unwrap(); 32],
                raw: vec![1],
                max_fee: 1,
                max_priority: 1,
                signed_us: 1,
                gives_up: None,
            };
            let added = self.0.add_attempt(NAME, ACCOUNT, stored.nonce, 0, &attempt);
            added.await.unwrap();
            stored.attempts.push(attempt);
        }
        Ok(Self::is_in_a_block(&stored).unwrap())
    }
    async fn sent(&self, tenant: &TenantId, key: &str) -> Result<Option<Sent>, Unknown> {
        let send = self.0.send(tenant.as_str(), key).await.unwrap();
        Ok(send.as_ref().and_then(Self::is_in_a_block))
    }
    async fn stepped(&self) {
        std::future::pending().await
    }
    async fn run(&self) -> Result<(), String> {
        std::future::pending().await
    }
    fn trouble(&self) -> Option<String> {
        None
    }
}
