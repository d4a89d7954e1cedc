//! How a tenant lets tokens of a chain control its devices.

use std::collections::{BTreeSet, HashSet};

use serde::{Deserialize, Serialize};
use stencil_ownership::abi;
use stencil_ownership::holder::{Gain, Token};
use stencil_ownership::listing;
use stencil_ownership::policy::{Commands, Policy};
use stencil_payments::Address;
use stencil_protocol::id::TenantId;
use stencil_store::{Anew, Error, Followed, Store, StoredOwnership, Watch, WatchKind};

use super::{Owners, Refused, ask};
use crate::chains::unwatch::listened;
use crate::chains::x402::price;

/// How old what is known of a chain may be where nothing is said, in seconds.
const STALE_AFTER_S: u32 = 900;

/// How a tenant lets tokens of a chain control its devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnershipSettings {
    /// The chain's name in the hub's settings.
    #[schema(min_length = 1, max_length = 64)]
    pub(crate) chain: String,
    /// The contract of passports (ERC-721, `0x…`): its tokens' owners control devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 42, max_length = 42)]
    pub(crate) passports: Option<String>,
    /// The contract of rights to use devices (`AccessRight`, ERC-4907, `0x…`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 42, max_length = 42)]
    pub(crate) access_rights: Option<String>,
    /// The market (`StencilMarket`, `0x…`) on which they are sold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 42, max_length = 42)]
    pub(crate) market: Option<String>,
    /// Which commands a passport's owner may give; `*` is every one. None if it is not given.
    #[serde(default)]
    #[schema(max_items = 64)]
    pub(crate) owner_may: BTreeSet<String>,
    /// Which commands the user of a right may give; `*` is every one. None if it is not given.
    #[serde(default)]
    #[schema(max_items = 64)]
    pub(crate) user_may: BTreeSet<String>,
    /// When a new owner or user has control: `final`, when the chain calls it so, or `included`, as soon
    /// as it is in a block. The one before has lost it as soon as it is in a block.
    #[serde(default)]
    pub(crate) takes_effect: TakesEffect,
    /// For how many seconds what is known holds when nothing is read of the chain; 900 if it is not
    /// given.
    #[serde(default = "stale_after")]
    #[schema(minimum = 30, maximum = 86_400)]
    pub(crate) stale_after_s: u32,
}

fn stale_after() -> u32 {
    STALE_AFTER_S
}

/// When a new owner or user has control.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TakesEffect {
    /// When the chain calls it final.
    #[default]
    Final,
    /// As soon as it is in a block.
    Included,
}

/// What is wrong with settings, and where.
#[derive(Debug)]
pub(crate) struct Wrong {
    /// A JSON pointer.
    pub(crate) pointer: &'static str,
    pub(crate) why: String,
    /// It is not known now.
    pub(crate) unknown: bool,
}

impl Wrong {
    fn at(pointer: &'static str, why: impl Into<String>) -> Self {
        Self {
            pointer,
            why: why.into(),
            unknown: false,
        }
    }
}

impl OwnershipSettings {
    pub(in crate::chains) fn read(stored: &StoredOwnership) -> Result<Self, Error> {
        serde_json::from_str(&stored.body).map_err(|error| Error::Corrupt {
            what: "settings of ownership",
            why: format!("{}: {error}", stored.tenant),
        })
    }

    pub(crate) fn passports(&self) -> Option<Address> {
        self.passports.as_deref().and_then(|text| text.parse().ok())
    }

    pub(crate) fn access_rights(&self) -> Option<Address> {
        let text = self.access_rights.as_deref();
        text.and_then(|text| text.parse().ok())
    }

    pub(crate) fn market(&self) -> Option<Address> {
        self.market.as_deref().and_then(|text| text.parse().ok())
    }

    pub(crate) fn policy(&self) -> Policy {
        Policy {
            owner_may: Commands(self.owner_may.clone()),
            user_may: Commands(self.user_may.clone()),
            gain: match self.takes_effect {
                TakesEffect::Final => Gain::Final,
                TakesEffect::Included => Gain::Included,
            },
            stale_after_s: self.stale_after_s,
        }
    }

    /// The contracts' events by which holders are known.
    pub(super) fn watches(&self, tenant: &TenantId) -> Vec<Watch> {
        let watch = |address: Address, topic0: [u8; 32]| Watch {
            owner: tenant.as_str().to_owned(),
            address: address.into_array(),
            kind: WatchKind::Event(topic0),
        };
        let mut watches = Vec::new();
        if let Some(passports) = self.passports() {
            watches.push(watch(passports, abi::TRANSFER.0));
        }
        if let Some(rights) = self.access_rights() {
            watches.push(watch(rights, abi::UPDATE_USER.0));
            watches.push(watch(rights, abi::RIGHT_ISSUED.0));
        }
        watches
    }

    /// What is followed anew after these settings, or none, were in force: what was sold in a gap is in no
    /// stream that was read.
    fn anew(&self, before: Option<&Self>, body: Option<String>) -> Result<Anew, Error> {
        let before = before.filter(|before| before.chain == self.chain);
        let passports = self.passports();
        let passports_anew = passports.filter(|_| before.and_then(Self::passports) != passports);
        let rights = self.access_rights();
        let rights_anew = rights.filter(|_| before.and_then(Self::access_rights) != rights);
        let keys = |contracts: [Option<Address>; 2]| {
            let contracts = contracts.into_iter().flatten();
            contracts.map(Address::into_array).collect()
        };
        Ok(Anew {
            before: body,
            followed: keys([passports, rights]),
            collections: keys([passports_anew, rights_anew]),
            passports: passports_anew.map(Address::into_array),
            body: serde_json::to_string(&Token::to_be_asked()).map_err(|error| Error::Corrupt {
                what: "token",
                why: error.to_string(),
            })?,
        })
    }

    /// Addresses with their checksums, and nothing that can be wrong without asking a chain.
    pub(crate) fn checked(mut self) -> Result<Self, Wrong> {
        for (pointer, address) in [
            ("/passports", &mut self.passports),
            ("/access_rights", &mut self.access_rights),
            ("/market", &mut self.market),
        ] {
            let Some(text) = address else { continue };
            let parsed =
                price::address(&pointer[1..], text).map_err(|why| Wrong::at(pointer, why))?;
            if parsed.is_zero() {
                return Err(Wrong::at(pointer, "the zero address is no contract"));
            }
            *text = parsed.to_checksum(None);
        }
        if self.passports.is_none() && self.access_rights.is_none() {
            let why = "neither `passports` nor `access_rights`: name one contract at least";
            return Err(Wrong::at("/passports", why));
        }
        if self.passports.is_some() && self.passports == self.access_rights {
            let why = "one contract can't be that of passports and that of rights";
            return Err(Wrong::at("/access_rights", why));
        }
        for (pointer, names) in [
            ("/owner_may", &self.owner_may),
            ("/user_may", &self.user_may),
        ] {
            let commands = Commands(names.clone());
            commands.check().map_err(|why| Wrong::at(pointer, why))?;
        }
        if !(30..=86_400).contains(&self.stale_after_s) {
            let why = format!("{} seconds, not 30 to 86,400", self.stale_after_s);
            return Err(Wrong::at("/stale_after_s", why));
        }
        Ok(self)
    }
}

/// Which collections a tenant's policy names that was set before then. `None`: it was set since, or there is none,
/// and what is kept of other collections may be needed again.
pub(crate) async fn followed_before(
    store: &Store,
    tenant: &TenantId,
    before_us: i64,
) -> Result<Option<Followed>, Error> {
    let stored = store.ownership.ownership(tenant).await?;
    let stored = stored.filter(|stored| stored.changed_us < before_us);
    // What can't be read names nothing for sure.
    Ok(stored.and_then(|stored| {
        let settings = OwnershipSettings::read(&stored).ok()?;
        let named = [settings.passports(), settings.access_rights()];
        let collections = named.into_iter().flatten().map(Address::into_array);
        Some(Followed {
            chain: stored.chain,
            collections: collections.collect(),
        })
    }))
}

/// Whether a tenant's tokens are followed by this watch.
pub(crate) async fn follows(
    store: &Store,
    tenant: &TenantId,
    chain: &str,
    watch: &Watch,
) -> Result<bool, Error> {
    let Some(stored) = store.ownership.ownership(tenant).await? else {
        return Ok(false);
    };
    let settings = OwnershipSettings::read(&stored)?;
    Ok(stored.chain == chain && settings.watches(tenant).contains(watch))
}

impl Owners {
    /// Whether the contracts are there and are what they are named as.
    async fn check_on_chain(&self, settings: &OwnershipSettings) -> Result<(), Wrong> {
        let Some(chain) = self.chains.by_name(&settings.chain) else {
            let known: Vec<&str> = self.chains.iter().map(|chain| chain.name()).collect();
            let why = if known.is_empty() {
                "this hub follows no chain: its operator sets one as [chains.NAME]".to_owned()
            } else {
                format!(
                    "the hub follows no such chain; it follows {}",
                    known.join(", ")
                )
            };
            return Err(Wrong::at("/chain", why));
        };
        for (pointer, address, interface, name) in [
            (
                "/passports",
                settings.passports(),
                Some(abi::ERC_721),
                "ERC-721",
            ),
            (
                "/access_rights",
                settings.access_rights(),
                Some(abi::ERC_4907),
                "ERC-4907",
            ),
            ("/market", settings.market(), None, ""),
        ] {
            let Some(address) = address else { continue };
            let unknown = |error: stencil_payments::port::Unknown| Wrong {
                pointer,
                why: error.0,
                unknown: true,
            };
            if !chain.has_code(address).await.map_err(unknown)? {
                let why = "there is no contract at this address: a wrong address, or another chain";
                return Err(Wrong::at(pointer, why));
            }
            let Some(interface) = interface else {
                let call = abi::LISTING_TYPEHASHCall {};
                let form = ask(chain.as_ref(), address, &call).await.map_err(unknown)?;
                if form != Some(listing::type_hash()) {
                    let why = "the contract there is no StencilMarket: it does not say what its listings are";
                    return Err(Wrong::at(pointer, why));
                }
                continue;
            };
            let call = abi::supportsInterfaceCall {
                interfaceId: interface.into(),
            };
            let known = ask(chain.as_ref(), address, &call).await.map_err(unknown)?;
            if known != Some(true) {
                let why = format!("the contract there is none of {name} (ERC-165 says so)");
                return Err(Wrong::at(pointer, why));
            }
        }
        Ok(())
    }

    /// Sets how a tenant lets tokens control its devices: from the next block on that is looked at they
    /// are followed.
    pub(crate) async fn set(
        &self,
        tenant: &TenantId,
        settings: OwnershipSettings,
    ) -> Result<Result<OwnershipSettings, Wrong>, Refused> {
        let settings = match settings.checked() {
            Ok(settings) => settings,
            Err(wrong) => return Ok(Err(wrong)),
        };
        if let Err(wrong) = self.check_on_chain(&settings).await {
            return Ok(Err(wrong));
        }
        let chain = self.chain(&settings.chain)?;
        let stored_before = self.store.ownership.ownership(tenant).await?;
        // What can't be read is as if there were nothing.
        let before = stored_before.as_ref();
        let before = before.and_then(|stored| OwnershipSettings::read(stored).ok());
        let (chains, now_us) = (&self.store.chains, self.now_us());
        chains.open_chain(chain.name(), chain.id(), now_us).await?;
        chains
            .watch_chain(chain.name(), &settings.watches(tenant))
            .await?;
        let stored = StoredOwnership {
            tenant: tenant.clone(),
            chain: settings.chain.clone(),
            body: serde_json::to_string(&settings)
                .map_err(|error| Refused::Contract(error.to_string()))?,
            changed_us: now_us,
        };
        let anew = settings.anew(before.as_ref(), stored_before.map(|stored| stored.body))?;
        self.store.ownership.put_ownership(&stored, &anew).await?;
        if let Some(before) = before {
            self.unwatch(tenant, &before, Some(&settings)).await?;
        }
        Ok(Ok(settings))
    }

    /// Has a chain watch what policies need: at a start, and every now and then, as a workflow that ends while a policy
    /// is being set may take a watch along. A watch that was lost has left a gap: what is kept of the
    /// tenant's tokens may be of before.
    pub(super) async fn watch_all(&self, chain: &str) -> Result<(), Error> {
        let chains = &self.store.chains;
        if chains.chain(chain).await?.is_none() {
            return Ok(());
        }
        let (_, watched) = chains.chain_watches(chain).await?;
        let watched: HashSet<Watch> = watched.into_iter().map(|it| it.watch).collect();
        for stored in self.store.ownership.all_ownership().await? {
            let Ok(settings) = OwnershipSettings::read(&stored) else {
                continue;
            };
            let mut missing = settings.watches(&stored.tenant);
            missing.retain(|watch| !watched.contains(watch));
            if stored.chain != chain || missing.is_empty() {
                continue;
            }
            tracing::warn!(chain, tenant = %stored.tenant, "a tenant's tokens were not followed");
            chains.watch_chain(chain, &missing).await?;
            let anew = settings.anew(None, Some(stored.body.clone()))?;
            let stored = StoredOwnership {
                changed_us: self.now_us(),
                ..stored
            };
            match self.store.ownership.put_ownership(&stored, &anew).await {
                // Somebody has set other ones, or erased the tenant.
                Ok(()) | Err(Error::Conflict(_) | Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// No tokens control the tenant's devices any more; `false`: none did.
    pub(crate) async fn unset(&self, tenant: &TenantId) -> Result<bool, Refused> {
        let Some(before) = self.settings(tenant).await? else {
            return Ok(false);
        };
        let ownership = &self.store.ownership;
        ownership.remove_ownership(tenant, self.now_us()).await?;
        self.unwatch(tenant, &before, None).await?;
        Ok(true)
    }

    /// Has the chain look no more at what neither settings nor a workflow of the tenant's needs.
    async fn unwatch(
        &self,
        tenant: &TenantId,
        before: &OwnershipSettings,
        now: Option<&OwnershipSettings>,
    ) -> Result<(), Error> {
        let now = now.filter(|now| now.chain == before.chain);
        let needed = now.map_or_else(Vec::new, |now| now.watches(tenant));
        let listened = listened(&self.store, &before.chain).await?;
        let mut gone = before.watches(tenant);
        gone.retain(|watch| {
            let place = (watch.owner.clone(), watch.address);
            !needed.contains(watch) && !listened.contains(&place)
        });
        let chains = &self.store.chains;
        chains.unwatch_chain(&before.chain, &gone).await
    }
}
