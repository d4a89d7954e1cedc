//! Control follows passports and rights, through reorganisations and restarts.

use std::sync::atomic::Ordering;

use alloy_sol_types::SolValue as _;
use serde_json::json;
use stencil_ownership::abi::{self, SolCall as _};
use stencil_ownership::policy::{As, Refusal};
use stencil_payments::port::Unknown;
use stencil_payments::{Address, B256, U256};
use stencil_protocol::id::{DeviceId, GatewayId, TenantId};
use stencil_store::{CredentialStanding, Enrolment, NewKey};

use super::look::PutOff;
use super::{Owners, OwnershipSettings, Refused};
use crate::Clock;
use crate::access::{NotGiven, Rights};
use crate::chains::Chains;
use crate::chains::tests::fake::CHAIN;
use crate::chains::tests::{START_S, Seen, World, acme, event};
use crate::identity::Identity;
use crate::registry::HubKey;

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

#[tokio::test]
async fn the_seller_is_refused_from_the_sale_on_and_the_buyer_commands_when_it_is_final() {
    let estate = Estate::new().await;
    assert_eq!(estate.asked(SELLER, "lock").await, Ok(As::Owner));
    assert_eq!(estate.asked(BUYER, "lock").await, Err(Refusal::NotHeld));
    let sale = estate.block(5, &[sold(1, SELLER, BUYER)]).await;
    assert_eq!(estate.asked(SELLER, "lock").await, Err(Refusal::NotHeld));
    assert_eq!(estate.asked(BUYER, "lock").await, Err(Refusal::NotFinal));
    estate.finalize(sale).await;
    assert_eq!(estate.asked(SELLER, "lock").await, Err(Refusal::NotHeld));
    assert_eq!(estate.asked(BUYER, "lock").await, Ok(As::Owner));
}

#[tokio::test]
async fn control_moves_at_once_where_the_tenant_says_so() {
    let estate = Estate::new().await;
    let mut at_once = settings();
    at_once.takes_effect = super::settings::TakesEffect::Included;
    estate.set(at_once).await;
    estate.block(5, &[sold(1, SELLER, BUYER)]).await;
    assert!(estate.may(BUYER).await);
    assert!(!estate.may(SELLER).await);
}

#[tokio::test]
async fn a_reorganisation_of_the_sale_gives_control_back() {
    let mut estate = Estate::new().await;
    let before = estate.block(4, &[]).await;
    estate.block(5, &[sold(1, SELLER, BUYER)]).await;
    assert!(!estate.may(SELLER).await);
    estate.back_to(before).await;
    assert!(estate.may(SELLER).await);
    assert_eq!(estate.asked(BUYER, "lock").await, Err(Refusal::NotHeld));
    // On the other branch it is sold to somebody else, in the same transaction or another.
    let sale = estate.block(6, &[sold(2, SELLER, GUEST)]).await;
    estate.finalize(sale).await;
    assert!(estate.may(GUEST).await);
    assert!(!estate.may(SELLER).await);
    assert!(!estate.may(BUYER).await);
}

#[tokio::test]
async fn a_right_is_used_until_its_last_second_by_the_hub_s_clock() {
    let estate = Estate::new().await;
    let ends = START_S + 100;
    let block = estate.block(5, &issued(1, 1, GUEST, ends)).await;
    assert_eq!(estate.asked(GUEST, "unlock").await, Err(Refusal::NotFinal));
    estate.finalize(block).await;
    assert_eq!(
        estate.asked(GUEST, "unlock").await,
        Ok(As::User { expires: ends })
    );
    assert!(matches!(
        estate.asked(GUEST, "lock").await,
        Err(Refusal::NotThis { .. })
    ));
    // No block comes meanwhile: there is no event.
    estate.later(100);
    assert!(estate.asked(GUEST, "unlock").await.is_ok());
    estate.later(1);
    assert_eq!(
        estate.asked(GUEST, "unlock").await,
        Err(Refusal::Over { expires: ends })
    );
    assert!(estate.may(SELLER).await, "the owner's control has no end");
}

#[tokio::test]
async fn who_a_right_is_lent_to_or_sold_to_uses_it_and_a_reorganisation_takes_it_back() {
    let mut estate = Estate::new().await;
    let ends = START_S + 1_000;
    let block = estate.block(5, &issued(1, 1, GUEST, ends)).await;
    estate.finalize(block).await;
    let resold = estate.block(6, &[lent(2, 0, 1, BUYER, ends)]).await;
    assert!(estate.asked(GUEST, "unlock").await.is_err());
    estate.back_to(block).await;
    assert!(estate.asked(GUEST, "unlock").await.is_ok());
    let resold_again = estate.block(6, &[lent(2, 0, 1, BUYER, ends)]).await;
    assert_eq!(resold, resold_again);
    estate.finalize(resold_again).await;
    assert!(estate.asked(BUYER, "unlock").await.is_ok());
    assert!(estate.asked(GUEST, "unlock").await.is_err());
    // A right for another device of the same collection is none for this one.
    let mut other = issued(3, 2, GUEST, ends);
    other[0] = event(
        3,
        0,
        RIGHTS,
        &abi::Issued {
            tokenId: U256::from(2),
            device: U256::from(99),
            to: GUEST,
            ends,
        },
    );
    let block = estate.block(7, &other).await;
    estate.finalize(block).await;
    assert_eq!(estate.asked(GUEST, "unlock").await, Err(Refusal::NotHeld));
}

/// The same from another contract, or by an ERC-20 token's transfer, changes nothing.
#[tokio::test]
async fn other_contracts_say_nothing_about_a_device() {
    let estate = Estate::new().await;
    let stranger = Address::repeat_byte(0x99);
    let token_id = token_id();
    let transfer = abi::Transfer {
        from: SELLER,
        to: BUYER,
        tokenId: token_id,
    };
    let money = stencil_payments::abi::Transfer {
        from: SELLER,
        to: BUYER,
        value: token_id,
    };
    let seen = [
        event(1, 0, stranger, &transfer),
        event(1, 1, RIGHTS, &transfer),
        event(1, 2, PASSPORTS, &money),
    ];
    let block = estate.block(5, &seen).await;
    estate.finalize(block).await;
    assert!(estate.may(SELLER).await);
    assert!(!estate.may(BUYER).await);
    // Another tenant that names the same passport has said nothing of this tenant's door.
    let rival: TenantId = "rival".parse().unwrap();
    let asked = estate
        .owners
        .may_command(&rival, &door(), SELLER, "lock")
        .await;
    assert!(matches!(asked, Err(Refused::NoPassport)));
}

#[tokio::test]
async fn a_passport_from_before_is_known_when_the_answer_about_it_is_final() {
    let mut estate = Estate::over(World::new().await);
    estate.open().await;
    let other = DeviceId::parse("door-2").unwrap();
    let id = U256::from(7);
    let call = || abi::ownerOfCall { tokenId: id }.abi_encode().into();
    estate
        .world
        .chain
        .answers(PASSPORTS, call(), SELLER.abi_encode());
    let give = async |estate: &Estate| {
        let key = id.to_be_bytes();
        estate
            .owners
            .give_passport(&acme(), &other, key, None)
            .await
    };
    give(&estate).await.unwrap();
    let asked = async |estate: &Estate, who| {
        let asked = estate
            .owners
            .may_command(&acme(), &other, who, "lock")
            .await;
        asked.map_err(|refused| refused.to_string())
    };
    assert!(
        asked(&estate, SELLER)
            .await
            .unwrap_err()
            .contains("not final yet")
    );
    // What was asked is gone by the time that it would be final: it is not believed, but asked anew.
    estate
        .world
        .chain
        .answers(PASSPORTS, call(), BUYER.abi_encode());
    let mut newest = 0;
    for _ in 0..9 {
        newest = estate.block(1, &[]).await;
    }
    estate.finalize(newest).await;
    assert!(asked(&estate, SELLER).await.is_err());
    assert!(
        asked(&estate, BUYER)
            .await
            .unwrap_err()
            .contains("not final yet")
    );
    // A chain that does not answer changes nothing.
    for _ in 0..9 {
        newest = estate.block(1, &[]).await;
    }
    estate.finalize(newest).await;
    assert_eq!(asked(&estate, BUYER).await, Ok(As::Owner));
}

#[tokio::test]
async fn a_right_from_before_is_read_from_its_contract() {
    let estate = Estate::new().await;
    let id = U256::from(5);
    let ends = START_S + 500;
    let missing = estate.owners.read_right(&acme(), id.to_be_bytes()).await;
    assert!(
        missing
            .unwrap_err()
            .to_string()
            .contains("knows no right 5")
    );
    let chain = &estate.world.chain;
    let right = abi::Right {
        device: token_id(),
        ends,
    };
    let call = abi::rightOfCall { tokenId: id }.abi_encode();
    chain.answers(RIGHTS, call.into(), right.abi_encode());
    let call = abi::userOfCall { tokenId: id }.abi_encode();
    chain.answers(RIGHTS, call.into(), GUEST.abi_encode());
    let call = abi::userExpiresCall { tokenId: id }.abi_encode();
    chain.answers(RIGHTS, call.into(), U256::from(ends).abi_encode());
    estate
        .owners
        .read_right(&acme(), id.to_be_bytes())
        .await
        .unwrap();
    assert_eq!(estate.asked(GUEST, "unlock").await, Err(Refusal::NotFinal));
    let mut newest = 0;
    for _ in 0..9 {
        newest = estate.block(1, &[]).await;
    }
    estate.finalize(newest).await;
    assert!(estate.asked(GUEST, "unlock").await.is_ok());
}

/// Settled or not, each kind is asked about until it is, and then no more.
#[tokio::test]
async fn what_a_contract_no_longer_knows_is_nobody_s_and_asked_about_no_more() {
    let estate = Estate::new().await;
    let id = U256::from(7);
    let other = DeviceId::parse("door-2").unwrap();
    let call = || abi::ownerOfCall { tokenId: id }.abi_encode().into();
    let chain = &estate.world.chain;
    chain.answers(PASSPORTS, call(), SELLER.abi_encode());
    let key = id.to_be_bytes();
    let tenant = acme();
    let given = estate.owners.give_passport(&tenant, &other, key, None);
    given.await.unwrap();
    // It was in a block that is gone.
    chain.answers(PASSPORTS, call(), Vec::new());
    for _ in 0..30 {
        let newest = estate.block(1, &[]).await;
        estate.finalize(newest).await;
    }
    let asked = estate
        .owners
        .may_command(&acme(), &other, SELLER, "lock")
        .await;
    assert!(matches!(asked, Err(Refused::Policy(Refusal::NotHeld))));
    let port = &estate.world.store.ownership;
    let due = port
        .looked_tokens(&acme(), CHAIN, u64::from(u32::MAX), 10)
        .await
        .unwrap();
    assert_eq!(due, []);
}

#[tokio::test]
async fn when_nothing_was_read_of_the_chain_for_long_nobody_commands() {
    let estate = Estate::new().await;
    assert!(estate.may(SELLER).await);
    estate.later(901);
    assert!(matches!(
        estate.asked(SELLER, "lock").await,
        Err(Refusal::Unknown { .. })
    ));
    estate.block(900, &[]).await;
    assert!(estate.may(SELLER).await);
}

/// Each entry is taken once whatever becomes of the process: position and tokens are one transaction.
#[tokio::test]
async fn what_was_read_is_not_read_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut estate = Estate::over(World::at(dir.path()).await);
    estate.open().await;
    let sale = estate.block(5, &[sold(1, SELLER, BUYER)]).await;
    estate.finalize(sale).await;
    let position = |estate: &Estate| {
        let chains = estate.world.store.chains.clone();
        async move {
            chains
                .chain_position(CHAIN, super::reader::READER)
                .await
                .unwrap()
        }
    };
    let before = position(&estate).await;
    assert!(before > 0);
    let key = passport().0;
    let held = |estate: &Estate| {
        let port = estate.world.store.ownership.clone();
        async move {
            port.held_token(&acme(), CHAIN, &PASSPORTS.0.0, &key)
                .await
                .unwrap()
        }
    };
    let known = held(&estate).await.unwrap();
    let again = Estate::over(World::at(dir.path()).await);
    again.catch_up().await;
    assert_eq!(position(&again).await, before);
    assert_eq!(held(&again).await.unwrap(), known);
    let asked = again
        .owners
        .may_command(&acme(), &door(), BUYER, "lock")
        .await;
    assert!(asked.is_ok());
}

#[tokio::test]
async fn settings_that_can_t_be_meant_are_refused_with_what_would_be_right() {
    let estate = Estate::new().await;
    let wrong = async |change: serde_json::Value| {
        let mut body = serde_json::to_value(settings()).unwrap();
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        let settings = serde_json::from_value(body).unwrap();
        let wrong = estate
            .owners
            .set(&acme(), settings)
            .await
            .unwrap()
            .unwrap_err();
        (wrong.pointer, wrong.why)
    };
    let nobody = Address::repeat_byte(0x44).to_string();
    for (change, pointer, why) in [
        (json!({ "chain": "other" }), "/chain", "follows local"),
        (
            json!({ "passports": "0x12" }),
            "/passports",
            "40 hexadecimal",
        ),
        (json!({ "passports": nobody }), "/passports", "no contract"),
        (
            json!({ "passports": Address::ZERO.to_string() }),
            "/passports",
            "zero address",
        ),
        (
            json!({ "access_rights": PASSPORTS.to_string() }),
            "/access_rights",
            "can't be that of passports",
        ),
        (
            json!({ "passports": null, "access_rights": null }),
            "/passports",
            "name one contract",
        ),
        (
            json!({ "passports": RIGHTS.to_string(), "access_rights": null }),
            "/passports",
            "none of ERC-721",
        ),
        (json!({ "owner_may": [""] }), "/owner_may", "1 to 32 bytes"),
        (
            json!({ "stale_after_s": 5 }),
            "/stale_after_s",
            "not 30 to 86,400",
        ),
    ] {
        let (at, said) = wrong(change.clone()).await;
        assert_eq!(at, pointer, "{change}");
        assert!(said.contains(why), "{change}: {said}");
    }
    estate
        .world
        .chain
        .otherwise(Err(Unknown("two endpoints disagree".into())));
    let mut unknown = settings();
    unknown.passports = Some(RIGHTS.to_string());
    unknown.access_rights = None;
    let wrong = estate
        .owners
        .set(&acme(), unknown)
        .await
        .unwrap()
        .unwrap_err();
    assert!(wrong.unknown);
}

/// What was lent is the guest's for its time, whoever owns the device meanwhile.
#[tokio::test]
async fn a_right_goes_on_when_the_passport_is_sold() {
    let estate = Estate::new().await;
    let ends = START_S + 1_000;
    let block = estate.block(5, &issued(1, 1, GUEST, ends)).await;
    estate.finalize(block).await;
    let sale = estate.block(6, &[sold(2, SELLER, BUYER)]).await;
    assert_eq!(
        estate.asked(GUEST, "unlock").await,
        Ok(As::User { expires: ends })
    );
    estate.finalize(sale).await;
    assert!(estate.may(BUYER).await);
    assert!(estate.asked(GUEST, "unlock").await.is_ok());
    // Who has sold the device and was lent it before is a guest like others.
    let block = estate.block(7, &issued(3, 2, SELLER, ends)).await;
    estate.finalize(block).await;
    assert!(estate.asked(SELLER, "unlock").await.is_ok());
    assert!(!estate.may(SELLER).await);
    // What the tenant lets guests do it can let them do no more, at once.
    let mut none = settings();
    none.user_may.clear();
    estate.set(none).await;
    assert!(matches!(
        estate.asked(GUEST, "unlock").await,
        Err(Refusal::NotThis { .. })
    ));
}

#[tokio::test]
async fn an_account_s_rights_are_said_with_their_end_and_whether_they_are_final() {
    let mut estate = Estate::new().await;
    let held = async |estate: &Estate, account| {
        let held = estate.owners.rights_of(&acme(), account).await.unwrap();
        assert_eq!(held.user_may, ["unlock"]);
        let right = |right: super::HeldRight| (right.device, right.expires_s, right.is_final);
        held.rights.into_iter().map(right).collect::<Vec<_>>()
    };
    assert_eq!(held(&estate, SELLER).await, [], "a passport is no right");
    let ends = START_S + 100;
    let block = estate.block(5, &issued(1, 1, GUEST, ends)).await;
    assert_eq!(held(&estate, GUEST).await, [(door(), ends, false)]);
    estate.finalize(block).await;
    assert_eq!(held(&estate, GUEST).await, [(door(), ends, true)]);
    estate.block(6, &[lent(2, 0, 1, BUYER, ends)]).await;
    assert_eq!(held(&estate, GUEST).await, []);
    assert_eq!(held(&estate, BUYER).await, [(door(), ends, false)]);
    estate.back_to(block).await;
    assert_eq!(held(&estate, BUYER).await, []);
    assert_eq!(held(&estate, GUEST).await, [(door(), ends, true)]);
    estate.later(101);
    assert_eq!(held(&estate, GUEST).await, [], "it is over");
    let rights = estate.owners.rights_of(&acme(), GUEST).await.unwrap();
    assert!(rights.is_fresh);
    estate.later(900);
    let rights = estate.owners.rights_of(&acme(), GUEST).await.unwrap();
    assert!(!rights.is_fresh);
    let rival: TenantId = "rival".parse().unwrap();
    let asked = estate.owners.rights_of(&rival, GUEST).await;
    assert!(matches!(asked, Err(Refused::NoPassport)));
}

#[tokio::test]
async fn what_settings_name_no_more_is_watched_no_more() {
    let estate = Estate::new().await;
    let chains = &estate.world.store.chains;
    let watched = async || {
        let (_, watched) = chains.chain_watches(CHAIN).await.unwrap();
        let of = |contract: Address| {
            let watches = watched.iter();
            watches
                .filter(|it| it.watch.address == contract.0.0)
                .count()
        };
        (of(PASSPORTS), of(RIGHTS))
    };
    assert_eq!(watched().await, (1, 2));
    let mut fewer = settings();
    fewer.access_rights = None;
    estate.set(fewer).await;
    assert_eq!(watched().await, (1, 0));
    assert!(estate.owners.unset(&acme()).await.unwrap());
    assert_eq!(watched().await, (0, 0));
    assert!(!estate.owners.unset(&acme()).await.unwrap());
}

/// A right that a gateway checks by itself goes with the token that it is of.
#[tokio::test]
async fn a_right_at_the_gateway_follows_the_passport_and_ends_with_what_is_lent() {
    let mut estate = Estate::new().await;
    let store = estate.world.store.clone();
    let gateway = GatewayId::parse("gw-1").unwrap();
    store
        .registry
        .add_gateway(&acme(), &gateway, 1)
        .await
        .unwrap();
    let enrolment = Enrolment {
        device: door(),
        gateway,
        key: NewKey {
            identity: door(),
            psk: vec![1],
            tag: [1; 32],
        },
        code_tag: None,
    };
    store
        .registry
        .enrol(&acme(), &[enrolment], 10, 1)
        .await
        .unwrap();
    let identity = Identity::new(&store, &HubKey::fresh(), "https://hub.example");
    let rights = Rights::new(&store, identity);
    let now_us = || estate.world.now_us.load(Ordering::SeqCst);
    let lock = || vec!["lock".to_owned()];
    let (acme, door) = (acme(), door());
    let of = (&acme, &door);
    let given = rights.of_tokens(&estate.owners, of, SELLER, lock(), now_us());
    let given = given.await.unwrap();
    assert_eq!(
        (given.right.source.as_str(), given.right.until_us),
        ("token", None)
    );
    let again = rights.of_tokens(&estate.owners, of, SELLER, lock(), now_us());
    assert_eq!(again.await.unwrap(), given);
    let stranger = rights
        .of_tokens(&estate.owners, of, BUYER, lock(), now_us())
        .await;
    assert!(matches!(
        stranger,
        Err(NotGiven::Tokens(Refused::Policy(Refusal::NotHeld)))
    ));
    let before = estate.block(4, &[]).await;
    let mut after = None;
    let now = now_us();
    assert_eq!(
        rights
            .follow_tokens(&estate.owners, &mut after, now)
            .await
            .unwrap(),
        0
    );
    estate.block(5, &[sold(1, SELLER, BUYER)]).await;
    let mut after = None;
    assert_eq!(
        rights
            .follow_tokens(&estate.owners, &mut after, now)
            .await
            .unwrap(),
        1
    );
    let stands = async || {
        let right = store
            .access
            .right(&acme, &given.right.right)
            .await
            .unwrap()
            .unwrap();
        (right.standing, right.taken)
    };
    assert_eq!(stands().await, (CredentialStanding::Suspended, true));
    estate.back_to(before).await;
    let mut after = None;
    assert_eq!(
        rights
            .follow_tokens(&estate.owners, &mut after, now)
            .await
            .unwrap(),
        1
    );
    assert_eq!(stands().await, (CredentialStanding::Good, false));
    // What is lent is over when it is.
    let ends = estate.owners.now_s() + 3_600;
    let lent = estate.block(6, &issued(2, 1, GUEST, ends)).await;
    estate.finalize(lent).await;
    let now_us = estate.world.now_us.load(Ordering::SeqCst);
    let unlock = vec!["unlock".to_owned()];
    let lent = rights
        .of_tokens(&estate.owners, of, GUEST, unlock, now_us)
        .await
        .unwrap();
    let until_us = lent.right.until_us.unwrap();
    assert!(
        until_us.abs_diff(i64::try_from(ends + 1).unwrap() * 1_000_000) < 2_000_000,
        "{until_us}"
    );
}

/// What happened while no policy named the contract is in no stream that was read: the contract is asked.
#[tokio::test]
async fn a_sale_in_a_gap_of_the_policy_is_learned_when_the_policy_is_back() {
    // No policy at all, another collection meanwhile, and the stream had spoken before.
    for (gap, issued_before) in [(0, false), (1, false), (0, true), (1, true)] {
        let estate = Estate::new().await;
        if issued_before {
            let block = estate.block(1, &[sold(9, Address::ZERO, SELLER)]).await;
            estate.finalize(block).await;
        }
        assert!(estate.may(SELLER).await);
        if gap == 0 {
            assert!(estate.owners.unset(&acme()).await.unwrap());
        } else {
            let other = Address::repeat_byte(0x79);
            let chain = &estate.world.chain;
            chain.is_contract(other);
            let call = abi::supportsInterfaceCall {
                interfaceId: abi::ERC_721.into(),
            };
            chain.answers(other, call.abi_encode().into(), true.abi_encode());
            let mut meanwhile = settings();
            meanwhile.passports = Some(other.to_string());
            estate.set(meanwhile).await;
        }
        let sale = estate.block(5, &[sold(1, SELLER, BUYER)]).await;
        estate.finalize(sale).await;
        estate.owned_by(BUYER);
        estate.set(settings()).await;
        assert!(!estate.may(SELLER).await, "{gap} {issued_before}");
        assert!(!estate.may(BUYER).await, "before the contract was asked");
        estate
            .owners
            .give_passport(&acme(), &door(), passport().0, None)
            .await
            .unwrap();
        estate.go_on().await;
        assert!(!estate.may(SELLER).await, "{gap} {issued_before}");
        assert!(estate.may(BUYER).await, "{gap} {issued_before}");
    }
}

/// A right that was lent to somebody else while rights were not followed; and one that was not.
#[tokio::test]
async fn a_right_that_changed_hands_in_a_gap_of_the_policy_is_asked_for() {
    let estate = Estate::new().await;
    let ends = START_S + 500;
    for number in [1, 2] {
        let tx = u8::try_from(number).unwrap();
        let block = estate.block(5, &issued(tx, number, GUEST, ends)).await;
        estate.finalize(block).await;
    }
    let mut without = settings();
    without.access_rights = None;
    estate.set(without).await;
    let chain = &estate.world.chain;
    let says = |id: u64, user: Address| {
        let id = U256::from(id);
        let right = abi::Right {
            device: token_id(),
            ends,
        };
        let call = abi::rightOfCall { tokenId: id }.abi_encode();
        chain.answers(RIGHTS, call.into(), right.abi_encode());
        let call = abi::userOfCall { tokenId: id }.abi_encode();
        chain.answers(RIGHTS, call.into(), user.abi_encode());
        let call = abi::userExpiresCall { tokenId: id }.abi_encode();
        chain.answers(RIGHTS, call.into(), U256::from(ends).abi_encode());
    };
    says(1, BUYER);
    says(2, BUYER);
    estate.set(settings()).await;
    assert_eq!(estate.asked(GUEST, "unlock").await, Err(Refusal::NotHeld));
    estate.go_on().await;
    assert_eq!(estate.asked(GUEST, "unlock").await, Err(Refusal::NotHeld));
    assert!(estate.asked(BUYER, "unlock").await.is_ok());
    // The same settings again change nothing.
    estate.set(settings()).await;
    assert!(estate.asked(BUYER, "unlock").await.is_ok());
}

/// The follower is at the head, and what it has read of tokens was not taken.
#[tokio::test]
async fn what_the_reader_has_not_taken_is_not_known_however_fresh_the_chain_is() {
    let estate = Estate::new().await;
    estate.world.block(5, &[sold(1, SELLER, BUYER)]).await;
    estate.world.block(6, &[]).await;
    assert!(estate.may(SELLER).await, "not for long enough");
    estate.later(905);
    estate.world.block(905, &[]).await;
    assert!(matches!(
        estate.asked(SELLER, "lock").await,
        Err(Refusal::Unknown { .. })
    ));
    estate.catch_up().await;
    assert_eq!(estate.asked(SELLER, "lock").await, Err(Refusal::NotHeld));
    assert_eq!(estate.asked(BUYER, "lock").await, Err(Refusal::NotFinal));
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

#[tokio::test]
async fn what_can_t_be_read_of_one_tenant_keeps_no_other_s_sale_from_being_taken() {
    let estate = Estate::new().await;
    with_a_rival(&estate, PASSPORTS, "no settings").await;
    let sale = estate.block(5, &[sold(1, SELLER, BUYER)]).await;
    estate.finalize(sale).await;
    assert!(estate.may(BUYER).await);
    let (tenant, device) = (rival(), door());
    let asked = estate.owners.may_command(&tenant, &device, SELLER, "lock");
    assert!(matches!(asked.await, Err(Refused::Store(_))));
}

#[tokio::test]
async fn a_contract_that_does_not_answer_keeps_nobody_else_s_tokens_from_counting() {
    let estate = Estate::new().await;
    let lame = Address::repeat_byte(0x7a);
    let theirs = json!({ "chain": CHAIN, "passports": lame.to_string() });
    with_a_rival(&estate, lame, &theirs.to_string()).await;
    let chain = &estate.world.chain;
    let id = U256::from(7);
    let call = abi::ownerOfCall { tokenId: id }.abi_encode();
    chain.answers(PASSPORTS, call.into(), BUYER.abi_encode());
    chain.otherwise(Err(Unknown("endpoints disagree".into())));
    let other = DeviceId::parse("door-2").unwrap();
    let tenant = acme();
    let given = estate
        .owners
        .give_passport(&tenant, &other, id.to_be_bytes(), None);
    given.await.unwrap();
    estate.go_on().await;
    let asked = estate.owners.may_command(&tenant, &other, BUYER, "lock");
    assert_eq!(asked.await.unwrap(), As::Owner);
    // It is put off, each time for longer, and not forgotten.
    let port = &estate.world.store.ownership;
    let due = async |final_block| {
        let due = port.looked_tokens(&rival(), CHAIN, final_block, 10).await;
        due.unwrap().len()
    };
    let newest = estate.block(1, &[]).await;
    let mut put_off = PutOff::default();
    for expected in [1, 2, 4, 8] {
        let state = estate
            .world
            .store
            .chains
            .chain(CHAIN)
            .await
            .unwrap()
            .unwrap();
        let mut finalized = state.finalized.unwrap().number;
        while due(finalized).await == 0 {
            finalized += 1;
        }
        while estate
            .world
            .store
            .chains
            .chain(CHAIN)
            .await
            .unwrap()
            .unwrap()
            .cursor
            .unwrap()
            .number
            < finalized
        {
            estate.world.block(1, &[]).await;
        }
        estate.world.finalize(finalized).await;
        estate.owners.step(chain.as_ref()).await.unwrap();
        estate
            .owners
            .look_again(chain.as_ref(), &mut put_off)
            .await
            .unwrap();
        assert_eq!(due(finalized + expected - 1).await, 0, "{expected}");
        assert_eq!(due(finalized + expected).await, 1, "{expected}");
    }
    assert!(newest > 0);
}

#[tokio::test]
async fn a_passport_is_given_with_what_the_contract_says_or_not_at_all() {
    let estate = Estate::new().await;
    let port = &estate.world.store.ownership;
    let before = port.device_passport(&acme(), &door()).await.unwrap();
    let chain = &estate.world.chain;
    chain.otherwise(Err(Unknown("nobody answers".into())));
    let id = U256::from(7).to_be_bytes();
    let tenant = acme();
    let device = door();
    let given = estate.owners.give_passport(&tenant, &device, id, None);
    assert!(matches!(given.await, Err(Refused::Unknown(_))));
    assert_eq!(
        port.device_passport(&acme(), &door()).await.unwrap(),
        before
    );
    assert!(
        estate.may(SELLER).await,
        "the door has the passport that it had"
    );
}

#[tokio::test]
async fn a_block_of_a_time_that_has_not_come_says_nothing_of_how_old_all_is() {
    let mut estate = Estate::new().await;
    let before = estate.block(1, &[]).await;
    let now_us = estate.world.now_us.load(Ordering::SeqCst);
    estate.block(31_536_000, &[]).await;
    // The hub's clock has not gone with it.
    estate.world.now_us.store(now_us, Ordering::SeqCst);
    let asked = estate.asked(SELLER, "lock").await;
    assert!(matches!(asked, Err(Refusal::Ahead { .. })), "{asked:?}");
    estate.back_to(before).await;
    estate.block(2, &[]).await;
    assert!(estate.may(SELLER).await);
    estate.later(903);
    assert!(matches!(
        estate.asked(SELLER, "lock").await,
        Err(Refusal::Unknown { .. })
    ));
}

/// A watch was taken away while the policy was being set: nobody would hear of a sale.
#[tokio::test]
async fn a_watch_that_was_lost_is_there_again_after_a_start_and_all_is_asked_anew() {
    let estate = Estate::new().await;
    let chains = &estate.world.store.chains;
    let watches = settings().watches(&acme());
    chains.unwatch_chain(CHAIN, &watches[..1]).await.unwrap();
    let sale = estate.block(5, &[]).await;
    estate.finalize(sale).await;
    estate.owned_by(BUYER);
    assert!(estate.may(SELLER).await, "the sale was not heard of");
    estate.owners.watch_all(CHAIN).await.unwrap();
    let (_, watched) = chains.chain_watches(CHAIN).await.unwrap();
    let watched: Vec<_> = watched.into_iter().map(|it| it.watch).collect();
    assert!(watches.iter().all(|watch| watched.contains(watch)));
    assert!(!estate.may(SELLER).await);
    estate.go_on().await;
    assert!(estate.may(BUYER).await);
    // Nothing is asked where nothing was lost.
    estate.owners.watch_all(CHAIN).await.unwrap();
    assert!(estate.may(BUYER).await);
}
