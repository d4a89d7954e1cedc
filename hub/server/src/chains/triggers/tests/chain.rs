//! A chain of which only the reading of events is asked, and the stream that a follower would write.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use stencil_payments::port::{
    Address, B256, Bytes, Called, Chain, Event, Function, KnownToken, NotOrdered, Order, Sent,
    Unknown,
};
use stencil_protocol::id::TenantId;
use stencil_store::{BlockMark, ChainCommit, ChainSource, KeptBlock, Observation, Store};

pub(super) const NAME: &str = "local";
pub(super) const ID: u64 = 31_337;
pub(super) const ADDRESS: [u8; 20] = [0xaa; 20];
pub(super) const TOPIC: [u8; 32] = [0x11; 32];
pub(super) const ACCOUNT: [u8; 20] = [0x99; 20];

/// The port, as far as triggers ask it.
pub(super) struct Local;

struct Opened;

impl Event for Opened {
    fn topic0(&self) -> B256 {
        TOPIC.into()
    }

    fn decode(&self, topics: &[[u8; 32]], data: &[u8]) -> Option<Value> {
        (topics == [TOPIC]).then(|| json!({ "locker": data.first().map(u8::to_string) }))
    }
}

#[async_trait]
impl Chain for Local {
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
    fn event(&self, signature: &str) -> Result<Arc<dyn Event>, String> {
        match signature {
            "Opened(uint8 locker)" => Ok(Arc::new(Opened)),
            _ => Err("it is not the one that there is".to_owned()),
        }
    }
    fn function(&self, _: &str) -> Result<Arc<dyn Function>, String> {
        Err("there are none".to_owned())
    }
    async fn call(&self, _: Address, _: Bytes) -> Result<Called, Unknown> {
        Err(Unknown("nobody is asked".to_owned()))
    }
    async fn has_code(&self, _: Address) -> Result<bool, Unknown> {
        Ok(true)
    }
    async fn order(&self, _: &Order) -> Result<Sent, NotOrdered> {
        Err(NotOrdered::NoAccount(NAME.to_owned()))
    }
    async fn sent(&self, _: &TenantId, _: &str) -> Result<Option<Sent>, Unknown> {
        Ok(None)
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

/// The branch that is followed: of each block its hash and the lockers that are opened in it.
#[derive(Debug, Default)]
pub(super) struct Branch {
    blocks: Vec<(BlockMark, Vec<u8>)>,
    made: u64,
}

impl Branch {
    pub(super) fn has(&self, locker: u8) -> bool {
        self.blocks.iter().any(|(_, in_it)| in_it.contains(&locker))
    }

    pub(super) fn height(&self) -> u64 {
        self.blocks.len() as u64
    }

    fn tip(&self) -> Option<BlockMark> {
        self.blocks.last().map(|(mark, _)| *mark)
    }

    /// A block with these lockers, as far as the branch has not opened them.
    pub(super) async fn extend(&mut self, store: &Store, lockers: &[u8], now_us: i64) {
        let lockers: Vec<u8> = lockers
            .iter()
            .copied()
            .filter(|locker| !self.has(*locker))
            .collect();
        self.made += 1;
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&self.made.to_be_bytes());
        let mark = BlockMark {
            number: self.height() + 1,
            hash,
        };
        let parent = self.tip().map_or([0; 32], |tip| tip.hash);
        let observed = (0..).zip(&lockers).map(|(place, locker)| Observation {
            block: mark,
            time_s: 1_000 + mark.number,
            source: ChainSource::Log,
            place,
            tx: [*locker; 32],
            ordinal: 0,
            address: ADDRESS,
            topics: vec![TOPIC],
            data: vec![*locker],
        });
        let commit = ChainCommit {
            blocks: vec![KeptBlock { mark, parent }],
            observed: observed.collect(),
            cursor: Some(mark),
            ..self.from(store, now_us).await
        };
        store.chains.commit_chain(&commit).await.unwrap();
        self.blocks.push((mark, lockers));
    }

    /// The newest `depth` blocks leave the branch.
    pub(super) async fn leave(&mut self, store: &Store, depth: u64, now_us: i64) {
        let keep = self.height().saturating_sub(depth).max(1);
        if keep >= self.height() {
            return;
        }
        let from = self.from(store, now_us).await;
        self.blocks.truncate(usize::try_from(keep).unwrap());
        let commit = ChainCommit {
            retract_above: Some(keep),
            cursor: self.tip(),
            ..from
        };
        store.chains.commit_chain(&commit).await.unwrap();
    }

    /// All but the newest `lag` blocks are final.
    pub(super) async fn finalize(&self, store: &Store, lag: u64, now_us: i64) {
        let Some(at) = self.height().checked_sub(lag + 1) else {
            return;
        };
        let (mark, _) = self.blocks[usize::try_from(at).unwrap()];
        let commit = ChainCommit {
            finalized: Some(mark),
            ..self.from(store, now_us).await
        };
        store.chains.commit_chain(&commit).await.unwrap();
    }

    async fn from(&self, store: &Store, now_us: i64) -> ChainCommit {
        let state = store.chains.chain(NAME).await.unwrap().unwrap();
        ChainCommit {
            chain: NAME.to_owned(),
            from: state.cursor,
            interest: state.interest,
            at_us: now_us,
            ..ChainCommit::default()
        }
    }
}
