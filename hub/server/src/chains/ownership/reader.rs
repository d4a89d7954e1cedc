//! Takes a chain's stream: which tokens changed hands.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use stencil_ownership::abi::{self, SolEvent as _};
use stencil_ownership::holder::{Gain, Place, Said, Token, What};
use stencil_payments::port::Chain;
use stencil_payments::{Address, B256, LogData};
use stencil_protocol::id::TenantId;
use stencil_store::{
    ChainEntry, ChainEntryKind, ChainSource, Error, HeldCommit, HeldToken, Observation, TokenKey,
};

use super::{Owners, OwnershipSettings, kept};

/// The name of the reader of chains' streams.
pub(crate) const READER: &str = "ownership";
/// Entries that are read at once.
const PAGE: u32 = 256;
/// How often a page is read again that others have changed meanwhile.
const TRIES: u32 = 20;
/// How often it is looked whether all is watched that policies need.
const WATCHED: Duration = Duration::from_secs(60);
/// When the store could not be read or written.
const AGAIN: Duration = Duration::from_secs(1);

/// Whose knowledge of which token.
type Key = (TenantId, [u8; 20], TokenKey);

/// Tokens as a page changes them.
#[derive(Default)]
struct Changed {
    tokens: HashMap<Key, (HeldToken, Token, bool)>,
    /// In the order in which they came.
    order: Vec<Key>,
}

impl Owners {
    /// Takes what comes to a chain's stream, for as long as it is polled.
    pub(super) async fn follow(&self, chain: &dyn Chain) {
        let mut watched: Option<Instant> = None;
        loop {
            let is_watched = watched.is_some_and(|at| at.elapsed() < WATCHED);
            let done = async {
                if !is_watched {
                    self.watch_all(chain.name()).await?;
                    watched = Some(Instant::now());
                }
                self.step(chain).await
            };
            match done.await {
                Ok(()) => chain.stepped().await,
                Err(error) => {
                    tracing::warn!(chain = chain.name(), %error,
                        "who holds which token is not followed now; trying again");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Takes all that is in the stream.
    pub(super) async fn step(&self, chain: &dyn Chain) -> Result<(), Error> {
        let (chains, name) = (&self.store.chains, chain.name());
        let Some(state) = chains.chain(name).await? else {
            return Ok(());
        };
        let mut position = chains.chain_position(name, READER).await?;
        while position < state.last_entry {
            let entries = chains.chain_entries(name, position, PAGE).await?;
            let Some(last) = entries.last().map(|entry| entry.seq) else {
                break;
            };
            self.page(name, &entries, last).await?;
            position = last;
        }
        Ok(())
    }

    /// Up to when, in seconds since 1970, what is kept of tokens is what a chain has said; 0: nothing was
    /// read.
    pub(super) async fn taken_s(&self, chain: &str) -> Result<u64, Error> {
        let chains = &self.store.chains;
        // Before the chain's own: what comes between the two is not taken for read.
        let position = chains.chain_position(chain, READER).await?;
        let Some(state) = chains.chain(chain).await? else {
            return Ok(0);
        };
        let read_s = state.read_s.unwrap_or(0);
        if position >= state.last_entry {
            return Ok(read_s);
        }
        // The reader is behind: it knows what was before the first block that it has not taken. That
        // something is final takes nothing from anybody.
        let next = chains.chain_entries(chain, position, PAGE).await?;
        let untaken = next
            .iter()
            .find(|entry| entry.kind != ChainEntryKind::Final)
            .or(next.first());
        Ok(untaken.map_or(read_s, |entry| {
            read_s.min(entry.observation.time_s.saturating_sub(1))
        }))
    }

    async fn page(&self, chain: &str, entries: &[ChainEntry], last: u64) -> Result<(), Error> {
        let mut failed = Error::Conflict(String::new());
        for _ in 0..TRIES {
            let followed = self.followed(chain).await?;
            let mut changed = Changed::default();
            for entry in entries {
                let Some((id, what)) = said(&entry.observation) else {
                    continue;
                };
                let collection = entry.observation.address;
                for (tenant, settings) in &followed {
                    if is_of(settings, collection, &what) {
                        let key = (tenant.clone(), collection, id);
                        self.change(&mut changed, chain, key, entry, what).await?;
                    }
                }
            }
            let commit = HeldCommit {
                tokens: changed.finish(self.now_us()),
                passport: None,
                read: Some((chain.to_owned(), READER.to_owned(), last)),
            };
            stencil_crashpoint::reach("ownership.before_commit");
            match self.store.ownership.commit_held(&commit).await {
                Ok(0) => {}
                Ok(left_out) => tracing::warn!(
                    chain,
                    left_out,
                    "a tenant has too many tokens: what became of some is not known"
                ),
                // Somebody asked a contract meanwhile; or a tenant was erased.
                Err(error @ (Error::Conflict(_) | Error::NotFound { .. })) => {
                    failed = error;
                    continue;
                }
                Err(error) => return Err(error),
            }
            stencil_crashpoint::reach("ownership.after_commit");
            return Ok(());
        }
        Err(failed)
    }

    /// Who lets tokens of a chain control devices. Whose settings can't be read is left out: that tenant's
    /// holders are refused, and all others are not.
    pub(super) async fn followed(
        &self,
        chain: &str,
    ) -> Result<Vec<(TenantId, OwnershipSettings)>, Error> {
        let all = self.store.ownership.all_ownership().await?;
        let of_chain = all.into_iter().filter(|stored| stored.chain == chain);
        let read = of_chain.filter_map(|stored| match OwnershipSettings::read(&stored) {
            Ok(settings) => Some((stored.tenant, settings)),
            Err(error) => {
                tracing::error!(tenant = %stored.tenant, %error, "a tenant's tokens are not followed");
                None
            }
        });
        Ok(read.collect())
    }

    async fn change(
        &self,
        changed: &mut Changed,
        chain: &str,
        key: Key,
        entry: &ChainEntry,
        what: What,
    ) -> Result<(), Error> {
        if !changed.tokens.contains_key(&key) {
            let (tenant, collection, id) = &key;
            let port = &self.store.ownership;
            let known = match port.held_token(tenant, chain, collection, id).await {
                Ok(Some(held)) => {
                    let token = kept_or_asked(&held);
                    (held, token, false)
                }
                Ok(None) => {
                    let token = match what {
                        // For which device it is was said when it was issued, before that was followed, or so
                        // long ago that it is forgotten.
                        What::User { .. } => Token::to_be_asked(),
                        What::Owner { .. } | What::Device { .. } => Token::default(),
                    };
                    (nothing(chain, &key), token, false)
                }
                // No other token, and no other tenant, waits for it.
                Err(error @ Error::Corrupt { .. }) => {
                    tracing::error!(%tenant, %error, "a token is not followed");
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            changed.order.push(key.clone());
            changed.tokens.insert(key.clone(), known);
        }
        let seen = &entry.observation;
        let at = Place {
            block: seen.block.number,
            index: seen.place,
            hash: B256::from(seen.block.hash),
        };
        let said = match entry.kind {
            ChainEntryKind::Observed => Said::Observed,
            ChainEntryKind::Retracted { .. } => Said::Retracted,
            ChainEntryKind::Final => Said::Final,
        };
        if let Some((_, token, is_changed)) = changed.tokens.get_mut(&key) {
            *is_changed |= token.take_of(said, at, what, seen.time_s);
        }
        Ok(())
    }
}

impl Changed {
    fn finish(mut self, now_us: i64) -> Vec<HeldToken> {
        let mut tokens = Vec::new();
        for key in &self.order {
            if let Some((held, token, true)) = self.tokens.remove(key) {
                tokens.extend(next(held, &token, now_us));
            }
        }
        tokens
    }
}

/// What is kept of a token after a change.
pub(super) fn next(held: HeldToken, token: &Token, now_us: i64) -> Option<HeldToken> {
    let body = serde_json::to_string(token)
        .inspect_err(|error| tracing::error!(%error, "a token can't be kept"))
        .ok()?;
    Some(HeldToken {
        version: held.version + 1,
        body,
        holder: token.holder().map(|holder| holder.0.0),
        passport: token.device().map(|passport| passport.0),
        looked: token.looked(),
        ends_s: token.user(Gain::Included).map(|user| user.expires),
        changed_us: now_us,
        ..held
    })
}

/// What is kept of a token; what can't be read is asked of its contract anew.
pub(super) fn kept_or_asked(held: &HeldToken) -> Token {
    kept(held).unwrap_or_else(|error| {
        tracing::error!(tenant = %held.tenant, %error, "a token is asked for anew");
        Token::to_be_asked()
    })
}

/// A token of which nothing is known.
pub(super) fn nothing(chain: &str, (tenant, collection, token): &Key) -> HeldToken {
    HeldToken {
        tenant: tenant.clone(),
        chain: chain.to_owned(),
        collection: *collection,
        token: *token,
        version: 0,
        body: String::new(),
        holder: None,
        passport: None,
        ends_s: None,
        looked: None,
        changed_us: 0,
    }
}

/// Whether this is what the tenant follows of this contract.
fn is_of(settings: &OwnershipSettings, collection: [u8; 20], what: &What) -> bool {
    let collection = Some(Address::from(collection));
    match what {
        What::Owner { .. } => collection == settings.passports(),
        What::User { .. } | What::Device { .. } => collection == settings.access_rights(),
    }
}

/// Which token a log is about, and what it says of it.
fn said(seen: &Observation) -> Option<(TokenKey, What)> {
    if seen.source != ChainSource::Log {
        return None;
    }
    let topics: Vec<B256> = seen.topics.iter().copied().map(B256::from).collect();
    let first = *topics.first()?;
    let log = LogData::new(topics, seen.data.clone().into())?;
    if first == abi::TRANSFER {
        // ERC-20's has the same name, and one topic less.
        let event = abi::Transfer::decode_log_data_validate(&log).ok()?;
        let what = What::Owner {
            from: event.from,
            to: event.to,
        };
        Some((event.tokenId.to_be_bytes(), what))
    } else if first == abi::UPDATE_USER {
        let event = abi::UpdateUser::decode_log_data_validate(&log).ok()?;
        let what = What::User {
            user: event.user,
            expires: event.expires,
        };
        Some((event.tokenId.to_be_bytes(), what))
    } else if first == abi::RIGHT_ISSUED {
        let event = abi::Issued::decode_log_data_validate(&log).ok()?;
        let passport = B256::from(event.device.to_be_bytes::<32>());
        Some((event.tokenId.to_be_bytes(), What::Device { passport }))
    } else {
        None
    }
}
