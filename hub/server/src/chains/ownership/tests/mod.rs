//! Control follows passports and rights, through reorganisations and restarts.

mod gateway;
mod look;
mod policy;
mod reader;

use std::sync::atomic::Ordering;

use alloy_sol_types::SolValue as _;
use serde_json::json;
use stencil_ownership::abi::{self, SolCall as _};
use stencil_ownership::policy::{As, Refusal};
use stencil_payments::{Address, B256, U256};
use stencil_protocol::id::{DeviceId, TenantId};

use super::look::PutOff;
use super::{Owners, OwnershipSettings, Refused};
use crate::Clock;
use crate::chains::Chains;
use crate::chains::tests::fake::CHAIN;
use crate::chains::tests::{Seen, World, acme, event};

const PASSPORTS: Address = Address::repeat_byte(0x71);
const RIGHTS: Address = Address::repeat_byte(0x72);
const SELLER: Address = Address::repeat_byte(0x11);
const BUYER: Address = Address::repeat_byte(0x22);
const GUEST: Address = Address::repeat_byte(0x33);
const DID: &str = "did:web:hub.example:tenants:acme:devices:door-1";

fn door() -> DeviceId {
    DeviceId::parse("door-1").unwrap()
}

fn passport() -> B256 {
    stencil_ownership::token_of(DID).unwrap()
}

fn token_id() -> U256 {
    U256::from_be_bytes(passport().0)
}

struct Estate {
    world: World,
    owners: Owners,
}

impl Estate {
    async fn new() -> Self {
        let mut estate = Self::over(World::new().await);
        estate.open().await;
        estate
    }

    fn over(world: World) -> Self {
        let now_us = world.now_us.clone();
        let clock = Clock::from_fn(move || now_us.load(Ordering::SeqCst));
        let chains = Chains::new(vec![world.chain.clone()]);
        let owners = Owners::new(world.store.clone(), chains, clock);
        Self { world, owners }
    }

    /// Contracts that answer, a policy, and a door whose passport is the seller's, for good.
    async fn open(&mut self) {
        let chain = &self.world.chain;
        for (contract, interface) in [(PASSPORTS, abi::ERC_721), (RIGHTS, abi::ERC_4907)] {
            chain.is_contract(contract);
            let call = abi::supportsInterfaceCall {
                interfaceId: interface.into(),
            };
            chain.answers(contract, call.abi_encode().into(), true.abi_encode());
        }
        self.owned_by(SELLER);
        self.set(settings()).await;
        self.block(0, &[]).await;
        self.owners
            .give_passport(&acme(), &door(), passport().0, Some(DID.to_owned()))
            .await
            .unwrap();
        for _ in 0..10 {
            let newest = self.block(0, &[]).await;
            self.finalize(newest).await;
        }
    }

    /// What the contract says when it is asked.
    fn owned_by(&self, owner: Address) {
        let call = abi::ownerOfCall {
            tokenId: token_id(),
        };
        let call = call.abi_encode().into();
        self.world
            .chain
            .answers(PASSPORTS, call, owner.abi_encode());
    }

    async fn set(&self, settings: OwnershipSettings) {
        self.owners.set(&acme(), settings).await.unwrap().unwrap();
    }

    async fn catch_up(&self) {
        let chain = self.world.chain.as_ref();
        self.owners.step(chain).await.unwrap();
        let mut put_off = PutOff::default();
        self.owners.look_again(chain, &mut put_off).await.unwrap();
    }

    /// Some blocks, each final.
    async fn go_on(&self) {
        for _ in 0..10 {
            let newest = self.block(1, &[]).await;
            self.finalize(newest).await;
        }
    }

    async fn block(&self, seconds: u64, seen: &[Seen]) -> u64 {
        let block = self.world.block(seconds, seen).await;
        self.catch_up().await;
        block
    }

    async fn finalize(&self, block: u64) {
        self.world.finalize(block).await;
        self.catch_up().await;
    }

    async fn back_to(&mut self, block: u64) {
        self.world.back_to(block).await;
        self.catch_up().await;
    }

    async fn asked(&self, who: Address, command: &str) -> Result<As, Refusal> {
        let asked = self
            .owners
            .may_command(&acme(), &door(), who, command)
            .await;
        asked.map_err(|refused| match refused {
            Refused::Policy(why) => why,
            other => panic!("{other}"),
        })
    }

    async fn may(&self, who: Address) -> bool {
        self.asked(who, "lock").await.is_ok()
    }

    fn later(&self, seconds: i64) {
        self.world
            .now_us
            .fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

fn settings() -> OwnershipSettings {
    serde_json::from_value(json!({
        "chain": CHAIN,
        "passports": PASSPORTS.to_string(),
        "access_rights": RIGHTS.to_string(),
        "owner_may": ["*"],
        "user_may": ["unlock"],
    }))
    .unwrap()
}

fn sold(tx: u8, from: Address, to: Address) -> Seen {
    let token_id = token_id();
    event(
        tx,
        0,
        PASSPORTS,
        &abi::Transfer {
            from,
            to,
            tokenId: token_id,
        },
    )
}

/// As the contract says it: for which device, then who uses it.
fn issued(tx: u8, number: u64, to: Address, ends: u64) -> [Seen; 2] {
    let token = U256::from(number);
    [
        event(
            tx,
            0,
            RIGHTS,
            &abi::Issued {
                tokenId: token,
                device: token_id(),
                to,
                ends,
            },
        ),
        lent(tx, 1, number, to, ends),
    ]
}

fn lent(tx: u8, ordinal: u32, number: u64, user: Address, expires: u64) -> Seen {
    let token_id = U256::from(number);
    event(
        tx,
        ordinal,
        RIGHTS,
        &abi::UpdateUser {
            tokenId: token_id,
            user,
            expires,
        },
    )
}

fn rival() -> TenantId {
    "rival".parse().unwrap()
}

/// A tenant with a passport of a contract of its own, which has to be asked.
async fn with_a_rival(estate: &Estate, contract: Address, body: &str) {
    let port = &estate.world.store.ownership;
    let stored = stencil_store::StoredOwnership {
        tenant: rival(),
        chain: CHAIN.to_owned(),
        body: body.to_owned(),
        changed_us: 1,
    };
    let anew = stencil_store::Anew::default();
    port.put_ownership(&stored, &anew).await.unwrap();
    let token = stencil_store::HeldToken {
        tenant: rival(),
        chain: CHAIN.to_owned(),
        collection: contract.into_array(),
        token: [7; 32],
        version: 1,
        body: "no token".to_owned(),
        holder: None,
        passport: None,
        ends_s: None,
        looked: Some(0),
        changed_us: 1,
    };
    let commit = stencil_store::HeldCommit {
        tokens: vec![token],
        ..stencil_store::HeldCommit::default()
    };
    port.commit_held(&commit).await.unwrap();
}
