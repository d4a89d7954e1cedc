//! Asks a contract what its stream has not said: tokens that were there before they were followed.
//!
//! An answer is as of the newest block, which may go. It counts as one that is not final, and is asked
//! for again when that block is final; if it is the same then, it is final, since all that happened
//! meanwhile would be in the stream.

use stencil_ownership::abi;
use stencil_ownership::holder::{Token, What};
use stencil_payments::port::Chain;
use stencil_payments::{Address, B256, U256};
use stencil_protocol::id::{DeviceId, TenantId};
use stencil_store::{DevicePassport, Error, HeldCommit, HeldToken, TokenKey};

use super::reader::{next, nothing};
use super::{Owners, OwnershipSettings, Refused, ask, kept};

/// How many blocks endpoints may be ahead of what was read.
const AHEAD: u64 = 8;
/// Tokens that are asked about at once.
const PAGE: u32 = 64;
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
        self.store.ownership.put_device_passport(&passport).await?;
        if let Some(collection) = settings.passports() {
            self.look(tenant, &settings, collection, id).await?;
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
        let token = self.look(tenant, &settings, collection, id).await?;
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
    ) -> Result<Token, Refused> {
        let chain = self.chain(&settings.chain)?.as_ref();
        let is_right = settings.access_rights() == Some(collection);
        let answers = answers(chain, collection, is_right, id).await?;
        let block = self.newest(chain.name()).await?.saturating_add(AHEAD);
        let key = (tenant.clone(), collection.into_array(), id);
        let mut failed = Error::Conflict(String::new());
        for _ in 0..TRIES {
            let (held, mut token) = self.known(chain.name(), &key).await?;
            let mut is_changed = false;
            for what in &answers {
                is_changed |= token.look(block, *what, false);
            }
            if !is_changed {
                return Ok(token);
            }
            match self.keep(held, &token).await {
                Ok(()) => return Ok(token),
                Err(error @ Error::Conflict(_)) => failed = error,
                Err(error) => return Err(error.into()),
            }
        }
        Err(failed.into())
    }

    /// Asks again about tokens that were asked about as of blocks that are final by now.
    pub(super) async fn look_again(&self, chain: &dyn Chain, finalized: u64) -> Result<(), Error> {
        let port = &self.store.ownership;
        let due = port.looked_tokens(chain.name(), finalized, PAGE).await?;
        for held in due {
            let mut token = kept(&held)?;
            let is_right = token.device().is_some();
            let collection = Address::from(held.collection);
            let answers = match answers(chain, collection, is_right, held.token).await {
                Ok(answers) if answers.is_empty() => nobody(&token),
                Ok(answers) => answers,
                Err(why) => {
                    tracing::debug!(chain = chain.name(), %why, "a contract is asked again later");
                    return Ok(());
                }
            };
            let newest = self.newest(chain.name()).await?.saturating_add(AHEAD);
            let before = token.clone();
            for what in answers {
                token.look(newest, what, before.was_looked(&what));
            }
            match self.keep(held, &token).await {
                // Who has changed it has heard of it by the stream; it is due again.
                Ok(()) | Err(Error::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
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
                    let token = kept(&held)?;
                    (held, token)
                }
                None => (nothing(chain, key), Token::default()),
            },
        )
    }

    async fn keep(&self, held: HeldToken, token: &Token) -> Result<(), Error> {
        let commit = HeldCommit {
            tokens: next(held, token, self.now_us()).into_iter().collect(),
            read: None,
        };
        if self.store.ownership.commit_held(&commit).await? > 0 {
            return Err(Error::Conflict(
                "the tenant has too many tokens: no more of them are kept".to_owned(),
            ));
        }
        Ok(())
    }
}

/// What is so when a contract does not know a token any more.
fn nobody(token: &Token) -> Vec<What> {
    match token.device() {
        Some(passport) => vec![
            What::Device { passport },
            What::User {
                user: Address::ZERO,
                expires: 0,
            },
        ],
        None => vec![What::Owner {
            from: Address::ZERO,
            to: Address::ZERO,
        }],
    }
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
