//! A follower with its store, a turn at a time.

use std::sync::Arc;

use stencil_chain::finality::Finality;
use stencil_chain::{Error, Follower, Options, Progress};
use stencil_store::sqlite::{self, Sqlite};
use stencil_store::{ChainEntry, ChainEntryKind, Chains, Watch, WatchKind};

use super::EMITTER;

pub(crate) const CHAIN: &str = "dev";

/// Settings over these endpoints: final after three confirmations, followed from block 1 on.
pub(crate) fn options(endpoints: &[String]) -> Options {
    Options {
        name: Some(CHAIN.to_owned()),
        chain_id: Some(31_337),
        endpoints: endpoints.to_vec(),
        finality: Some(Finality::Confirmations(3)),
        start: Some(stencil_chain::config::Start::Block(1)),
        poll_interval_ms: Some(20),
        call_timeout_ms: Some(2_000),
        ..Options::default()
    }
}

pub(crate) struct Followed {
    pub(crate) follower: Follower,
    pub(crate) store: Sqlite,
    pub(crate) folder: Arc<tempfile::TempDir>,
}

impl Followed {
    pub(crate) async fn open(options: &Options) -> Self {
        Self::open_in(options, Arc::new(tempfile::tempdir().unwrap()))
            .await
            .unwrap()
    }

    /// The contract's events are watched.
    pub(crate) async fn open_in(
        options: &Options,
        folder: Arc<tempfile::TempDir>,
    ) -> Result<Self, Error> {
        let store = sqlite::open(folder.path().join("chain.db")).await.unwrap();
        let follower =
            Follower::open(options.settle()?, Arc::new(store.clone()), || 1_000_000).await?;
        store
            .watch_chain(CHAIN, &[events_of(EMITTER)])
            .await
            .unwrap();
        Ok(Self {
            follower,
            store,
            folder,
        })
    }

    /// Turns until nothing is new.
    pub(crate) async fn settle(&mut self) -> Result<(), Error> {
        for _ in 0..2_000 {
            match self.follower.turn().await? {
                Progress::Stepped => {}
                Progress::UpToDate => return Ok(()),
                other => panic!("{other:?}"),
            }
        }
        panic!("it does not come to an end");
    }

    /// Turns until what comes next is unknown, and says why.
    pub(crate) async fn trouble(&mut self) -> String {
        for _ in 0..2_000 {
            match self.follower.turn().await.unwrap() {
                Progress::Unknown(trouble) => return trouble.to_string(),
                Progress::UpToDate => panic!("it has no trouble"),
                _ => {}
            }
        }
        panic!("it does not come to an end");
    }

    pub(crate) async fn entries(&self) -> Vec<ChainEntry> {
        let mut all = Vec::new();
        loop {
            let page = self
                .store
                .chain_entries(CHAIN, all.len() as u64, 1_000)
                .await
                .unwrap();
            if page.is_empty() {
                break;
            }
            all.extend(page);
        }
        let numbers: Vec<u64> = all.iter().map(|entry| entry.seq).collect();
        assert_eq!(numbers, (1..=all.len() as u64).collect::<Vec<_>>());
        all
    }

    /// The entries as short words: kind, block's number, ordinal.
    pub(crate) async fn told(&self) -> Vec<String> {
        self.entries()
            .await
            .iter()
            .map(|entry| {
                let kind = match entry.kind {
                    ChainEntryKind::Retracted { was_final: true } => "retracted-final",
                    other => other.as_str(),
                };
                let seen = &entry.observation;
                format!("{kind} {}#{}", seen.block.number, seen.ordinal)
            })
            .collect()
    }

    /// What stands after all entries: (block hash, transaction, log index), as the chain tells it.
    pub(crate) async fn standing(&self) -> Vec<(String, String, String)> {
        let mut standing = Vec::new();
        for entry in self.entries().await {
            let seen = &entry.observation;
            let key = (
                format!("0x{}", hex::encode(seen.block.hash)),
                format!("0x{}", hex::encode(seen.tx)),
                format!("{:#x}", seen.place),
            );
            match entry.kind {
                ChainEntryKind::Observed => {
                    assert!(!standing.contains(&key), "observed twice: {key:?}");
                    standing.push(key);
                }
                ChainEntryKind::Retracted { .. } => {
                    let at = standing.iter().position(|other| *other == key);
                    standing.remove(at.expect("only what was observed is retracted"));
                }
                ChainEntryKind::Final => {
                    assert!(standing.contains(&key), "final, but not there: {key:?}");
                }
            }
        }
        standing
    }
}

pub(crate) fn events_of(address: [u8; 20]) -> Watch {
    Watch {
        owner: "test".to_owned(),
        address,
        kind: WatchKind::AnyEvent,
    }
}
