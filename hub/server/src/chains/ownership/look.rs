//! Asks a contract what its stream has not said: tokens that were there before they were followed.
//!
//! An answer is as of the newest block, which may go. It counts as one that is not final, and is asked
//! for again when that block is final; if it is the same then, it is final, since all that happened
//! meanwhile would be in the stream.
//!
//! Contracts are named by tenants, and may answer badly or not at all. So this runs beside the reader of
//! the stream, each tenant has its turn, and what does not answer is put off, each time for longer.

use std::collections::HashMap;
use std::sync::Mutex;

use futures_util::StreamExt as _;
use stencil_ownership::abi;
use stencil_ownership::holder::{Token, What};
use stencil_payments::port::Chain;
use stencil_payments::{Address, B256, U256};
use stencil_protocol::id::{DeviceId, TenantId};
use stencil_store::{DevicePassport, Error, HeldCommit, HeldToken, TokenKey};

use super::reader::{READER, kept_or_asked, next, nothing};
use super::{Owners, OwnershipSettings, Refused, ask};

/// How many blocks endpoints may be ahead of what was read.
const AHEAD: u64 = 8;
/// Tokens of one tenant that are asked about in one turn.
const PAGE: u32 = 8;
/// Tenants whose contracts are asked at the same time.
const AT_ONCE: usize = 4;
/// For at most how many blocks, as a power of two, a contract that does not answer is put off.
const LONGEST: u32 = 10;
/// Tokens whose contracts did not answer, of which is known how often.
const MAX_PUT_OFF: usize = 10_000;
/// How often a token is read again that others have changed meanwhile.
const TRIES: u32 = 5;

impl Owners {
    /// Says which passport a device has, and who owns it now.
    pub(crate) async fn give_passport(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        id: TokenKey,
        did: Option<String>,
    ) -> Result<(), Refused> {
        let settings = self.settings(tenant).await?.ok_or_else(|| {
            Refused::Contract(
                "set first whose tokens control devices: `PUT /api/v1/ownership`".to_owned(),
            )
        })?;
        let passport = DevicePassport {
            tenant: tenant.clone(),
            device: device.clone(),
            token: id,
            did,
            created_us: self.now_us(),
        };
        // Asked first, and kept with the answer: it is done, or nothing is.
        match settings.passports() {
            Some(collection) => {
                self.look(tenant, &settings, collection, id, Some(passport))
                    .await?;
            }
            None => self.store.ownership.put_device_passport(&passport).await?,
        }
        Ok(())
    }

    /// Reads a right that was issued before rights were followed.
    pub(crate) async fn read_right(
        &self,
        tenant: &TenantId,
        id: TokenKey,
    ) -> Result<Token, Refused> {
        let none = || Refused::Contract("the tenant has set no contract of rights".to_owned());
        let settings = self.settings(tenant).await?.ok_or_else(none)?;
        let collection = settings.access_rights().ok_or_else(none)?;
        let token = self.look(tenant, &settings, collection, id, None).await?;
        if token.device().is_none() {
            let id = U256::from_be_bytes(id);
            let why = format!("the contract knows no right {id}");
            return Err(Refused::Contract(why));
        }
        Ok(token)
    }

    /// What is known of a token after its contract was asked.
    async fn look(
        &self,
        tenant: &TenantId,
        settings: &OwnershipSettings,
        collection: Address,
        id: TokenKey,
        passport: Option<DevicePassport>,
    ) -> Result<Token, Refused> {
        let chain = self.chain(&settings.chain)?.as_ref();
        let is_right = settings.access_rights() == Some(collection);
        let answers = answers(chain, collection, is_right, id).await?;
        let block = self.newest(chain.name()).await?.saturating_add(AHEAD);
        let key = (tenant.clone(), collection.into_array(), id);
        let mut failed = Error::Conflict(String::new());
        for _ in 0..TRIES {
            let (held, mut token) = self.known(chain.name(), &key).await?;
            let is_changed = !answers.is_empty() && token.look(block, &answers, 0);
            let changed = if is_changed {
                next(held, &token, self.now_us())
            } else {
                None
            };
            if changed.is_none() && passport.is_none() {
                return Ok(token);
            }
            match self.keep(changed, passport.clone()).await {
                Ok(()) => return Ok(token),
                Err(error @ Error::Conflict(_)) => failed = error,
                Err(error) => return Err(error.into()),
            }
        }
        Err(failed.into())
    }

    /// Asks contracts again whenever something of a chain was read, for as long as it is polled.
    pub(super) async fn look_always(&self, chain: &dyn Chain) {
        let mut put_off = PutOff::default();
        loop {
            if let Err(error) = self.look_again(chain, &mut put_off).await {
                tracing::warn!(chain = chain.name(), %error,
                    "contracts of passports and rights are not asked now; trying again");
            }
            chain.stepped().await;
        }
    }

    /// Asks again about tokens that were asked about as of blocks that are final by now.
    pub(super) async fn look_again(
        &self,
        chain: &dyn Chain,
        put_off: &mut PutOff,
    ) -> Result<(), Error> {
        let state = self.store.chains.chain(chain.name()).await?;
        let Some(state) = state else { return Ok(()) };
        let finalized = state.finalized.map_or(0, |mark| mark.number);
        let tried = Mutex::new(std::mem::take(put_off));
        let tenants = self.followed(chain.name()).await?;
        let turns = futures_util::stream::iter(tenants).map(|(tenant, settings)| {
            let tried = &tried;
            async move {
                let turn = self.turn(chain, &tenant, &settings, finalized, tried).await;
                if let Err(error) = turn {
                    tracing::warn!(chain = chain.name(), %tenant, %error,
                        "a tenant's contracts are asked again later");
                }
            }
        });
        turns.buffer_unordered(AT_ONCE).collect::<()>().await;
        *put_off = tried.into_inner().unwrap_or_default();
        Ok(())
    }

    async fn turn(
        &self,
        chain: &dyn Chain,
        tenant: &TenantId,
        settings: &OwnershipSettings,
        finalized: u64,
        put_off: &Mutex<PutOff>,
    ) -> Result<(), Error> {
        let port = &self.store.ownership;
        let name = chain.name();
        for held in port.looked_tokens(tenant, name, finalized, PAGE).await? {
            let collection = Address::from(held.collection);
            let is_right = settings.access_rights() == Some(collection);
            let followed = is_right || settings.passports() == Some(collection);
            let answers = match answers(chain, collection, is_right, held.token).await {
                Ok(answers) if followed => answers,
                // The settings were changed meanwhile.
                Ok(_) => continue,
                Err(why) => {
                    tracing::warn!(chain = name, %tenant, %collection, %why,
                        "a contract does not answer; it is asked again later");
                    self.put_off(held, finalized, put_off).await?;
                    continue;
                }
            };
            // What the stream says up to the answer has to be known before the answer counts.
            let state = self.store.chains.chain(name).await?;
            let Some(state) = state else { return Ok(()) };
            if self.store.chains.chain_position(name, READER).await? < state.last_entry {
                return Ok(());
            }
            let newest = state.cursor.map_or(0, |cursor| cursor.number);
            let mut token = kept_or_asked(&held);
            // It is no right of the form that is known, and nobody's by it.
            let is_none = answers.is_empty() && is_right && token.device().is_none();
            let answers = if answers.is_empty() {
                nobody(is_right, &token)
            } else {
                answers
            };
            let key = (tenant.clone(), held.collection, held.token);
            if let Ok(mut put_off) = put_off.lock() {
                put_off.0.remove(&key);
            }
            if is_none {
                token = Token::default();
            } else {
                token.look(newest.saturating_add(AHEAD), &answers, finalized);
            }
            match self.keep(next(held, &token, self.now_us()), None).await {
                // Who has changed it has heard of it by the stream; it is due again.
                Ok(()) | Err(Error::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Asks later, and each time later than before, so that the others of the tenant have their turn.
    async fn put_off(
        &self,
        held: HeldToken,
        finalized: u64,
        put_off: &Mutex<PutOff>,
    ) -> Result<(), Error> {
        let key = (held.tenant.clone(), held.collection, held.token);
        let blocks = put_off.lock().map_or(1, |mut put_off| put_off.more(key));
        let later = HeldToken {
            version: held.version + 1,
            looked: Some(finalized.saturating_add(blocks)),
            ..held
        };
        match self.keep(Some(later), None).await {
            Ok(()) | Err(Error::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The newest block that was read.
    async fn newest(&self, chain: &str) -> Result<u64, Error> {
        let state = self.store.chains.chain(chain).await?;
        let cursor = state.and_then(|state| state.cursor);
        Ok(cursor.map_or(0, |cursor| cursor.number))
    }

    async fn known(
        &self,
        chain: &str,
        key: &(TenantId, [u8; 20], TokenKey),
    ) -> Result<(HeldToken, Token), Error> {
        let (tenant, collection, id) = key;
        let port = &self.store.ownership;
        Ok(
            match port.held_token(tenant, chain, collection, id).await? {
                Some(held) => {
                    let token = kept_or_asked(&held);
                    (held, token)
                }
                None => (nothing(chain, key), Token::default()),
            },
        )
    }

    async fn keep(
        &self,
        token: Option<HeldToken>,
        passport: Option<DevicePassport>,
    ) -> Result<(), Error> {
        let commit = HeldCommit {
            tokens: token.into_iter().collect(),
            passport,
            read: None,
        };
        self.store.ownership.commit_held(&commit).await.map(drop)
    }
}

/// How often contracts have not answered in a row.
#[derive(Default)]
pub(super) struct PutOff(HashMap<(TenantId, [u8; 20], TokenKey), u32>);

impl PutOff {
    /// For how many blocks it is put off this time.
    fn more(&mut self, key: (TenantId, [u8; 20], TokenKey)) -> u64 {
        if self.0.len() >= MAX_PUT_OFF {
            self.0.clear();
        }
        let times = self.0.entry(key).or_insert(0);
        let blocks = 1 << *times;
        *times = (*times + 1).min(LONGEST);
        blocks
    }
}

/// What is so when a contract does not know a token any more.
fn nobody(is_right: bool, token: &Token) -> Vec<What> {
    let zero = Address::ZERO;
    if !is_right {
        return vec![What::Owner {
            from: zero,
            to: zero,
        }];
    }
    let device = token.device().map(|passport| What::Device { passport });
    let user = What::User {
        user: zero,
        expires: 0,
    };
    device.into_iter().chain([user]).collect()
}

/// What a contract says of a token now; nothing where it does not know it.
async fn answers(
    chain: &dyn Chain,
    collection: Address,
    is_right: bool,
    id: TokenKey,
) -> Result<Vec<What>, stencil_payments::port::Unknown> {
    let id = U256::from_be_bytes(id);
    if !is_right {
        let owner = ask(chain, collection, &abi::ownerOfCall { tokenId: id }).await?;
        return Ok(owner
            .map(|to| What::Owner {
                from: Address::ZERO,
                to,
            })
            .into_iter()
            .collect());
    }
    let right = ask(chain, collection, &abi::rightOfCall { tokenId: id }).await?;
    let user = ask(chain, collection, &abi::userOfCall { tokenId: id }).await?;
    let expires = ask(chain, collection, &abi::userExpiresCall { tokenId: id }).await?;
    let (Some(right), Some(user), Some(expires)) = (right, user, expires) else {
        return Ok(Vec::new());
    };
    let passport = B256::from(right.device.to_be_bytes::<32>());
    Ok(vec![
        What::Device { passport },
        What::User {
            user,
            expires: u64::try_from(expires).unwrap_or(u64::MAX),
        },
    ])
}
