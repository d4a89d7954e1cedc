//! Rights to command devices: given, fetched by their holder, gone by at a gateway, taken away; and the
//! receipts of admissions.

use alloy_signer::SignerSync as _;
use serde_json::{Value, json};
use stencil_access::receipt::{Batch, Head, NOTHING, Receipt, hash};
use stencil_access::trust::Terms;
use stencil_access::{Answer, Challenge, Desk, Trust, admit};
use stencil_crypto::authority::{Authority, Description};
use stencil_crypto::signature::SigningKey;
use stencil_crypto::tls;
use stencil_identity::credential::Credential;
use stencil_payments::observation::Depth;
use stencil_protocol::id::{DeviceId, GatewayId};
use stencil_store::{
    CausedChange, CausedCommit, CredentialStanding, Enrolment, KeptCredential, NewCertificate,
    NewKey, NewRight, RightStanding, RunFilter, StandingSet, Store, StoredCredential, Trigger,
};
use stencil_workflow::caused::{Caused, Of, Outcome};
use stencil_workflow::{caused_run_id, definition};

use super::wallets::key as wallet;
use super::{NOW_US, Served, seed};
use crate::access::{By, Intake, Keeper, Rights, Standings, Telling, Wanted};
use crate::clock::Clock;
use crate::identity::{Identity, Purpose};
use crate::registry::HubKey;
use crate::wake::Wakes;

pub(super) const HOUR_US: i64 = 3_600_000_000;
/// The status list that the next credential gets a bit in: one is seeded there.
const LIST: u32 = 7;
const DEVICE: &str = "freezer-marked";

async fn as_admin(
    served: &Served,
    method: &'static str,
    path: &str,
    body: &Value,
) -> super::client::Answer {
    let ask = served.ask(method, path).bearer(&served.tokens.admin);
    ask.json(body).send().await
}

/// A device of both tenants, in whose name nothing is marked.
pub(super) async fn plain(served: &Served) -> Value {
    let gateway = GatewayId::parse("gw-plain").unwrap();
    let device = DeviceId::parse("locker-plain").unwrap();
    for (tenant, tag) in [(seed::acme(), 41), (seed::rival(), 42)] {
        let enrolment = Enrolment {
            device: device.clone(),
            gateway: gateway.clone(),
            key: NewKey {
                identity: device.clone(),
                psk: vec![tag],
                tag: [tag; 32],
            },
            code_tag: None,
        };
        // An operator may have erased the tenant by now.
        let registry = &served.store.registry;
        let _ = registry.add_gateway(&tenant, &gateway, NOW_US).await;
        let _ = registry.enrol(&tenant, &[enrolment], 10, NOW_US).await;
    }
    let mut body = wanted("0x5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d");
    body["device"] = json!(device);
    body
}

/// Rights of `acme`'s in the store, of the wallet that the tests of access sign in with; one is to be revoked.
pub(super) async fn given(store: &Store) {
    let acme = seed::acme();
    for (bit, name) in [(8, "right"), (9, "lost")] {
        let stored = StoredCredential {
            credential: format!("urn:uuid:{name}-marked"),
            kind: "DeviceAccessCredential".into(),
            subject: "did:web:marked.example".into(),
            list: LIST,
            bit,
            standing: CredentialStanding::Good,
            cause: None,
            issued_by: None,
            body: r#"{"marked":true}"#.into(),
            issued_us: NOW_US,
            valid_until_us: None,
            changed_us: NOW_US,
        };
        let kept = store.credentials.keep_credential(&acme, &stored).await;
        assert_eq!(kept.unwrap(), KeptCredential::Made);
        let right = NewRight {
            right: stored.credential,
            holder: [0x5b; 20],
            device: DeviceId::parse(DEVICE).unwrap(),
            source: "api".into(),
            body: r#"{"chain":1,"commands":["open-marked"]}"#.into(),
            cause: None,
            until_us: None,
            made_us: NOW_US,
        };
        assert!(store.access.put_right(&acme, &right).await.unwrap());
    }
}

fn wanted(holder: &str) -> Value {
    json!({ "holder": holder, "device": DEVICE, "commands": ["open"], "valid_for_s": 86_400 })
}

fn account() -> String {
    wallet().address().to_checksum(None)
}

async fn session(served: &Served, wallet: [u8; 20]) -> String {
    let wallets = &served.store.wallets;
    let opened = wallets.open_wallet_session(&wallet, None, None, i64::MAX, NOW_US);
    opened.await.unwrap().1.reveal().to_owned()
}

fn sign(text: &str) -> String {
    let signed = wallet().sign_message_sync(text.as_bytes()).unwrap();
    format!("0x{}", hex::encode(signed.as_bytes()))
}

/// What a gateway goes by, as this hub says it to it.
async fn trust(identity: &Identity, now_us: i64) -> Trust {
    let acme = seed::acme();
    let gateway = GatewayId::parse("gw-1").unwrap();
    let policy = stencil_access::Policy::default();
    let terms: Option<Terms> = identity
        .terms(&acme, &gateway, policy, &[LIST])
        .await
        .unwrap();
    let mut trust = Trust::new(terms.unwrap()).unwrap();
    for purpose in [Purpose::Revocation, Purpose::Suspension] {
        let list = identity.published_list(&acme, purpose, LIST, now_us).await;
        trust
            .take_list(&Value::Object(list.unwrap().unwrap()))
            .unwrap();
    }
    trust
}

fn challenge(now_us: i64) -> Challenge {
    let device = DeviceId::parse(DEVICE).unwrap();
    let mut desk = Desk::new(&[1; 32]);
    desk.give(device, "open", now_us, [2; 16]).unwrap()
}

fn answer(trust: &Trust, credential: Value, now_us: i64) -> Answer {
    let challenge = challenge(now_us);
    Answer {
        signature: sign(&challenge.text(&trust.terms().gateway)),
        challenge,
        credential,
    }
}

/// A served store, with the parts that give rights by a key of the test's own.
pub(super) struct World {
    pub(super) served: Served,
    pub(super) rights: Rights,
    pub(super) identity: Identity,
}

impl World {
    pub(super) async fn new() -> Self {
        let served = Served::start().await;
        let identity = Identity::new(&served.store, &HubKey::fresh(), "https://hub.example");
        let rights = Rights::new(&served.store, identity.clone());
        Self {
            served,
            rights,
            identity,
        }
    }

    pub(super) fn wanted() -> Wanted {
        Wanted {
            holder: account(),
            device: DeviceId::parse(DEVICE).unwrap(),
            commands: vec!["open".to_owned()],
            valid_for_s: Some(86_400),
        }
    }
}

pub(super) const API: By<'static> = By {
    source: "api",
    key: None,
    cause: None,
};

#[tokio::test]
async fn how_a_right_stood_is_told_page_by_page_and_in_its_tenant_alone() {
    let served = Served::start().await;
    let body = wanted(&account());
    let made = as_admin(&served, "POST", "/api/v1/access/rights", &body).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/access/rights/{id}/history");
    let none = served.read(&path).await.ok();
    assert_eq!(none, json!({ "items": [], "next": null }));
    let (acme, judging) = (seed::acme(), &served.store.judging);
    let second = 1_000_000;
    // A sale that becomes known late, and is undone.
    let now_us = NOW_US + 10 * second;
    for (standing, from_us, known_us) in [
        (RightStanding::Sold, NOW_US + 5 * second, now_us),
        (RightStanding::Held, NOW_US + 8 * second, now_us + 1),
    ] {
        let stood = [(standing, from_us)];
        let set = judging.set_by_cause(&acme, &id, &stood, known_us).await;
        set.unwrap();
    }
    served.later(20);
    let revoke = format!("/api/v1/access/rights/{id}/revoke");
    let revoked = as_admin(&served, "POST", &revoke, &json!({})).await;
    assert_eq!(revoked.status, 200, "{revoked:?}");
    let all = json!([
        { "standing": "revoked", "by": "hand", "from_us": NOW_US + 20 * second, "until_us": null,
          "known_us": NOW_US + 20 * second },
        { "standing": "held", "by": "cause", "from_us": NOW_US + 8 * second, "until_us": null,
          "known_us": now_us + 1 },
        { "standing": "sold", "by": "cause", "from_us": NOW_US + 5 * second,
          "until_us": NOW_US + 8 * second, "known_us": now_us },
    ]);
    assert_eq!(
        served.read(&path).await.ok(),
        json!({ "items": all, "next": null })
    );
    let first = served.read(&format!("{path}?limit=2")).await.ok();
    assert_eq!(first["items"], json!([all[0], all[1]]));
    let next = first["next"].as_str().unwrap();
    let rest = served
        .read(&format!("{path}?limit=2&after={next}"))
        .await
        .ok();
    assert_eq!(rest, json!({ "items": [all[2]], "next": null }));
    let wrong = served.read(&format!("{path}?after=yesterday")).await;
    assert!(
        wrong.problem(400).contains("`after` is no cursor"),
        "{wrong:?}"
    );
    // Another tenant's admin learns no more than of what there is not.
    let rival = served.get(&path).bearer(&served.tokens.rival).send().await;
    rival.problem(404);
    let unknown = served
        .read("/api/v1/access/rights/urn:uuid:1/history")
        .await;
    unknown.problem(404);
}

#[tokio::test]
async fn a_right_is_given_fetched_by_its_holder_alone_and_taken_away() {
    let served = Served::start().await;
    let made = as_admin(
        &served,
        "POST",
        "/api/v1/access/rights",
        &wanted(&account()),
    )
    .await;
    assert_eq!(made.status, 201, "{made:?}");
    let right = made.json();
    let id = right["id"].as_str().unwrap().to_owned();
    for (field, is) in [
        ("holder", json!(account())),
        ("device", json!(DEVICE)),
        ("commands", json!(["open"])),
        ("source", json!("api")),
        ("standing", json!("good")),
        ("until_us", json!(NOW_US + 86_400_000_000_i64)),
    ] {
        assert_eq!(right[field], is, "{right}");
    }
    let path = format!("/api/v1/access/rights/{id}");
    assert_eq!(served.read(&path).await.ok(), right);
    let own = session(&served, wallet().address().0.0).await;
    let mine = served
        .get("/api/v1/wallet/access")
        .session(&own)
        .send()
        .await
        .ok();
    assert_eq!(mine["items"], json!([right]));
    let fetch = format!("/api/v1/wallet/access/acme/{id}");
    let fetched = served.get(&fetch).session(&own).send().await.ok();
    assert_eq!(fetched["valid_until_us"], NOW_US + 4 * HOUR_US);
    assert_eq!(fetched["credential"]["proof"].as_array().unwrap().len(), 2);
    assert_eq!(fetched["credential"]["id"], id.as_str());
    let file = served
        .get(&format!("{fetch}/file"))
        .session(&own)
        .send()
        .await;
    assert_eq!(file.ok()["credentialSubject"]["access"]["device"], DEVICE);
    let page = served.get("/wallet").session(&own).send().await.body;
    let link = format!("/api/v1/wallet/access/acme/{}/file", id.replace(':', "%3A"));
    assert!(page.contains(&format!("href=\"{link}\"")), "{page}");
    let file = served.get(&link).session(&own).send().await;
    assert_eq!(file.ok()["id"], id.as_str());
    // Of another account, of another tenant, and what there is not: alike.
    let other = session(&served, [9; 20]).await;
    served.get(&fetch).session(&other).send().await.problem(404);
    for path in ["/api/v1/wallet/access/rival", "/api/v1/wallet/access/acme"] {
        let path = format!("{path}/urn:uuid:none");
        served.get(&path).session(&own).send().await.problem(404);
    }
    let none = served
        .get("/api/v1/wallet/access")
        .session(&other)
        .send()
        .await;
    assert_eq!(none.ok()["items"], json!([]));
    // Whoever revokes its credential revokes it.
    let revoked = as_admin(&served, "POST", &format!("{path}/revoke"), &json!({})).await;
    assert_eq!(revoked.ok()["standing"], "revoked");
    let no = served.get(&fetch).session(&own).send().await.problem(409);
    assert!(no.contains("the right was taken away"), "{no}");
    let page = served.get("/wallet").session(&own).send().await.body;
    assert!(
        page.contains(">taken away<") && !page.contains(&link),
        "{page}"
    );
}

#[tokio::test]
async fn what_cannot_be_given_or_set_is_told_with_what_would_be_right() {
    let served = Served::start().await;
    for (change, told) in [
        (json!({ "holder": "0x12" }), "40 hexadecimal digits"),
        (json!({ "commands": [] }), "1 to 8 names of commands"),
        (
            json!({ "commands": ["a b"] }),
            "“a b” is no name of a command; 1 to 32 letters, digits, '.', '_' or '-' are right",
        ),
        (
            json!({ "commands": ["a".repeat(33)] }),
            "a…”, of 33 characters, is too long for the name of a command; 1 to 32 letters",
        ),
        (json!({ "valid_for_s": 0 }), "at least 1"),
    ] {
        let mut body = wanted(&account());
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        let no = as_admin(&served, "POST", "/api/v1/access/rights", &body)
            .await
            .problem(400);
        assert!(no.contains(told), "{no}");
    }
    let mut body = wanted(&account());
    body["device"] = json!("not-there");
    as_admin(&served, "POST", "/api/v1/access/rights", &body)
        .await
        .problem(404);
    // A credential that doors take is given as a right alone.
    let mut forged =
        super::credentials::wanted("did:pkh:eip155:1:0x5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b");
    forged["kind"] = json!("DeviceAccessCredential");
    let no = as_admin(&served, "POST", "/api/v1/credentials", &forged)
        .await
        .problem(400);
    assert!(no.contains("means something else already"), "{no}");
    let whole = json!({
        "tolerance_s": 60, "staleness_s": 3_600, "valid_s": 600, "commands": ["open"],
    });
    for (field, value) in [
        ("tolerance_s", json!(3_601)),
        ("staleness_s", json!(59)),
        ("valid_s", json!(604_801)),
        ("commands", json!(["a b"])),
        ("commands", json!("open")),
    ] {
        let mut policy = whole.clone();
        policy[field] = value;
        let no = as_admin(&served, "PUT", "/api/v1/access/policy", &policy)
            .await
            .problem(400);
        assert!(
            no.contains(if policy["commands"] == "open" {
                "the body"
            } else {
                field
            }),
            "{no}"
        );
    }
    // Whole, or refused: what is left out, or written wrong, is set to nothing of its own.
    let mut misspelt = whole.clone();
    misspelt["tolerance"] = json!(60);
    let mut fewer = whole.clone();
    fewer.as_object_mut().unwrap().remove("commands");
    for (policy, fields) in [
        (
            json!({}),
            &["tolerance_s", "staleness_s", "valid_s", "commands"][..],
        ),
        (fewer, &["commands"]),
        (misspelt, &["tolerance"]),
    ] {
        let before = served.read("/api/v1/access/policy").await.ok();
        let answer = as_admin(&served, "PUT", "/api/v1/access/policy", &policy).await;
        let told = answer.json();
        let places: Vec<&str> = told["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["pointer"].as_str().unwrap())
            .collect();
        let named: Vec<String> = fields.iter().map(|field| format!("#/{field}")).collect();
        assert_eq!(places, named, "{told}");
        answer.problem(422);
        assert_eq!(served.read("/api/v1/access/policy").await.ok(), before);
    }
    let set = as_admin(&served, "PUT", "/api/v1/access/policy", &whole)
        .await
        .ok();
    assert_eq!(set, whole);
    assert_eq!(served.read("/api/v1/access/policy").await.ok(), set);
}

#[tokio::test]
async fn a_gateway_goes_by_what_the_hub_issues_and_says() {
    let World {
        served,
        rights,
        identity,
    } = World::new().await;
    let acme = seed::acme();
    let given = rights
        .grant(&acme, &World::wanted(), API, NOW_US)
        .await
        .unwrap();
    let (credential, until_us) = rights.credential(&given, NOW_US).await.unwrap();
    assert_eq!(until_us, NOW_US + 4 * HOUR_US);
    let credential = Value::Object(credential);
    let trusted = trust(&identity, NOW_US).await;
    let good = answer(&trusted, credential.clone(), NOW_US);
    let admitted = admit(&trusted, &good, NOW_US).unwrap();
    assert_eq!(admitted.right, given.right.right);
    // For no longer than the right, whatever the policy says.
    let short = Wanted {
        valid_for_s: Some(60),
        ..World::wanted()
    };
    let short = rights.grant(&acme, &short, API, NOW_US).await.unwrap();
    let (_, until_us) = rights.credential(&short, NOW_US).await.unwrap();
    assert_eq!(until_us, NOW_US + 60_000_000);
    let over = rights
        .credential(&short, NOW_US + 60_000_000)
        .await
        .unwrap_err();
    assert!(over.to_string().contains("the right is over"), "{over}");
    // A cause gives one right, however often it is asked for.
    let by = By {
        source: "workflow",
        key: Some("effect"),
        cause: None,
    };
    let one = rights
        .grant(&acme, &World::wanted(), by, NOW_US)
        .await
        .unwrap();
    let two = rights
        .grant(&acme, &World::wanted(), by, NOW_US + 9)
        .await
        .unwrap();
    assert_eq!(one, two);
    // What is revoked is in the next list.
    rights
        .revoke(&acme, &given.right.right, NOW_US + 1)
        .await
        .unwrap();
    assert!(
        admit(&trusted, &good, NOW_US + 2).is_ok(),
        "it has not heard of it"
    );
    let told = trust(&identity, NOW_US + 2).await;
    let no = admit(&told, &good, NOW_US + 2).unwrap_err();
    assert_eq!(no.code(), "revoked");
    drop(served);
}

/// Whoever else asks for a list gets one that was signed up to a minute ago; to a gateway that counts.
#[tokio::test]
async fn lists_for_gateways_are_at_most_a_quarter_old_of_what_they_may_be() {
    const SECOND_US: i64 = 1_000_000;

    let World {
        served: _served,
        rights,
        identity,
    } = World::new().await;
    let acme = seed::acme();
    let given = rights.grant(&acme, &World::wanted(), API, NOW_US).await;
    let list = given.unwrap().list;
    let mut standings = Standings::default();
    let mut oldest_s = async |seconds: std::ops::Range<i64>| {
        let mut oldest_us = 0;
        for now_us in seconds.map(|second| NOW_US + second * SECOND_US) {
            for purpose in [Purpose::Revocation, Purpose::Suspension] {
                let public = identity.published_list(&acme, purpose, list, now_us);
                public.await.unwrap().unwrap();
            }
            standings.look(&rights, &acme, now_us).await.unwrap();
            let told = standings.of(&acme).unwrap();
            assert!(told.lists.len() >= 2, "{:?}", told.lists);
            for list in &told.lists {
                let made = Credential::from_map(list.as_object().unwrap().clone());
                let made_us = made.unwrap().valid_from_us().unwrap();
                oldest_us = oldest_us.max(now_us - made_us);
            }
        }
        oldest_us / SECOND_US
    };
    // A day: all ten minutes.
    assert_eq!(oldest_s(0..56).await, 55);
    let policy = json!({ "tolerance_s": 0, "staleness_s": 60, "valid_s": 60, "commands": null });
    let policy = serde_json::from_value(policy).unwrap();
    rights.set_policy(&acme, &policy, NOW_US).await.unwrap();
    assert_eq!(oldest_s(56..135).await, 14);
}

/// Gateways take no list that is older than the one they have.
#[tokio::test]
async fn what_is_revoked_while_the_hubs_clock_is_a_little_behind_stands_in_no_older_list() {
    const SECOND_US: i64 = 1_000_000;

    let world = World::new().await;
    let (rights, acme) = (&world.rights, seed::acme());
    let wanted = World::wanted();
    let given = rights.grant(&acme, &wanted, API, NOW_US).await.unwrap();
    let mut standings = Standings::default();
    let made_us = |standings: &Standings| {
        let told = standings.of(&acme).unwrap();
        let made = told.lists.iter().map(|list| {
            let made = Credential::from_map(list.as_object().unwrap().clone());
            made.unwrap().valid_from_us().unwrap()
        });
        made.min().unwrap()
    };
    assert!(standings.look(rights, &acme, NOW_US).await.unwrap());
    assert_eq!(made_us(&standings), NOW_US);
    // Set back by half of what is tolerated (120 s): nothing new to tell, until something is.
    let back_us = NOW_US - 60 * SECOND_US;
    assert!(!standings.look(rights, &acme, back_us).await.unwrap());
    let id = &given.right.right;
    let set = world.served.store.credentials.set_standing(
        &acme,
        id,
        CredentialStanding::Revoked,
        back_us,
    );
    set.await.unwrap();
    assert!(standings.look(rights, &acme, back_us).await.unwrap());
    assert_eq!(made_us(&standings), NOW_US);
    // By more than that: gateways hold such a list off no longer than it is ahead of them.
    let far_us = NOW_US - 121 * SECOND_US;
    assert!(standings.look(rights, &acme, far_us).await.unwrap());
    assert_eq!(made_us(&standings), far_us);
}

#[tokio::test]
async fn a_right_whose_payment_leaves_the_chain_is_suspended_and_comes_back_with_it() {
    let World { served, rights, .. } = World::new().await;
    let acme = seed::acme();
    let yaml = "id: bought\nversion: 1\non: { payment: { reference: 'right-*' } }\nsteps:\n\
        - { id: give, use: access.grant, finality: included, with: { holder: '{{ event.payers[0] }}', \
        device: freezer-marked, commands: [open], valid: 1d } }\n";
    let definition = definition::parse(yaml).unwrap();
    served
        .store
        .workflows
        .put(&acme, "bought", 1, yaml, NOW_US)
        .await
        .unwrap();
    let cause = [3; 32];
    let run = caused_run_id(&acme, "bought", &cause);
    let mut caused = Caused::new(&run, &definition, Of::Event, NOW_US).unwrap();
    let mut out = Outcome::default();
    caused.included(1, Vec::new(), NOW_US, &mut out);
    let depth = Depth {
        confirmations: 1,
        safe: false,
        finalized: false,
    };
    caused.deepened(1, depth, NOW_US, &mut out);
    assert!(caused.is_open(0));
    let keep = async |caused: &Caused, version, first: bool| {
        let trigger = Trigger {
            run,
            tenant: acme.clone(),
            workflow: "bought".to_owned(),
            version: 1,
            event: json!({}),
            at_us: NOW_US,
            not_before_us: None,
        };
        let commit = CausedCommit {
            runs: if first { vec![trigger] } else { Vec::new() },
            changes: vec![CausedChange {
                caused: caused.store(&acme, run, cause, version),
                turns: Vec::new(),
            }],
            at_us: NOW_US,
            ..CausedCommit::default()
        };
        served.store.caused.commit_caused(&commit).await.unwrap();
    };
    keep(&caused, 1, true).await;
    let by = By {
        source: "payment",
        key: Some("effect"),
        cause: Some((run, 0)),
    };
    let given = rights
        .grant(&acme, &World::wanted(), by, NOW_US)
        .await
        .unwrap();
    let id = given.right.right.clone();
    let stands = async || {
        let right = served
            .store
            .access
            .right(&acme, &id)
            .await
            .unwrap()
            .unwrap();
        (right.standing, right.taken)
    };
    assert_eq!(rights.follow_causes(NOW_US).await.unwrap(), 0);
    caused.retracted(2, NOW_US + 1, &mut out);
    // There is no patience with a step that tells no device.
    caused.clock(NOW_US + 1, &mut out);
    keep(&caused, 2, false).await;
    assert_eq!(rights.follow_causes(NOW_US + 1).await.unwrap(), 1);
    assert_eq!(stands().await, (CredentialStanding::Suspended, true));
    let right = served
        .store
        .access
        .right(&acme, &id)
        .await
        .unwrap()
        .unwrap();
    let no = rights
        .credential(&right, NOW_US + 1)
        .await
        .unwrap_err()
        .to_string();
    assert!(no.contains("no longer on its chain"), "{no}");
    assert_eq!(rights.follow_causes(NOW_US + 1).await.unwrap(), 0);
    caused.included(3, Vec::new(), NOW_US + 2, &mut out);
    caused.deepened(3, depth, NOW_US + 2, &mut out);
    keep(&caused, 3, false).await;
    assert_eq!(rights.follow_causes(NOW_US + 2).await.unwrap(), 1);
    assert_eq!(stands().await, (CredentialStanding::Good, false));
    // What somebody suspends by hand is theirs to resume.
    let credentials = &served.store.credentials;
    let by_hand = CredentialStanding::Suspended;
    credentials
        .set_standing(&acme, &id, by_hand, NOW_US + 3)
        .await
        .unwrap();
    assert_eq!(rights.follow_causes(NOW_US + 3).await.unwrap(), 0);
    assert_eq!(stands().await, (CredentialStanding::Suspended, false));
    // What was taken away stays so, and its receipts are judged by what becomes known of its payment.
    let taken_away = CredentialStanding::Revoked;
    credentials
        .set_standing(&acme, &id, taken_away, NOW_US + 4)
        .await
        .unwrap();
    assert_eq!(rights.follow_causes(NOW_US + 4).await.unwrap(), 0);
    caused.retracted(4, NOW_US + 5, &mut out);
    caused.clock(NOW_US + 5, &mut out);
    keep(&caused, 4, false).await;
    let long_after_us = NOW_US + 9 * 24 * HOUR_US;
    assert_eq!(rights.follow_causes(long_after_us).await.unwrap(), 0);
    for changed in [1, 0] {
        assert_eq!(rights.follow_causes(NOW_US + 5).await.unwrap(), changed);
        assert_eq!(stands().await, (CredentialStanding::Revoked, true));
    }
    let stood = served.store.judging.standings(&acme, &id).await.unwrap();
    let last = stood.iter().rfind(|it| it.by_cause).unwrap();
    assert_eq!(last.standing, RightStanding::TakenBack);
    caused.included(5, Vec::new(), NOW_US + 6, &mut out);
    caused.deepened(5, depth, NOW_US + 6, &mut out);
    keep(&caused, 5, false).await;
    assert_eq!(rights.follow_causes(NOW_US + 6).await.unwrap(), 1);
    assert_eq!(stands().await, (CredentialStanding::Revoked, false));
}

/// Not for the moment until the hub looks again: whoever fetches the list in it goes by that for a day.
#[tokio::test]
async fn nobody_resumes_a_right_whose_token_was_sold_and_it_comes_back_by_itself() {
    let served = Served::start().await;
    let (acme, judging) = (seed::acme(), &served.store.judging);
    let given = wanted(&account());
    let made = as_admin(&served, "POST", "/api/v1/access/rights", &given).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let own = session(&served, wallet().address().0.0).await;
    let fetch = format!("/api/v1/wallet/access/acme/{id}/file");
    let credential = served.get(&fetch).session(&own).send().await.ok();
    let by_cause = async |standing, at_us| {
        let stood = [(standing, at_us)];
        let set = judging.set_by_cause(&acme, &id, &stood, at_us);
        assert_eq!(set.await.unwrap(), StandingSet::Set);
    };
    let order = async |order: &str| {
        let path = format!("/api/v1/credentials/{id}/{order}");
        served.write("POST", &path, &json!({})).await
    };
    let holds = async || {
        let body = json!({ "credential": credential }).to_string();
        let ask = served.ask("POST", "/api/v1/credentials/verify").body(body);
        let ask = ask.header("content-type", "application/json").send();
        let verdict = ask.await.ok();
        let path = format!("/api/v1/access/rights/{id}");
        let right = served.read(&path).await.ok();
        let is_good = right["standing"] == "good";
        assert_eq!(verdict["verified"], is_good, "{verdict} {right}");
        (is_good, right["taken_back"].as_bool().unwrap())
    };
    assert_eq!(holds().await, (true, false));
    by_cause(RightStanding::Sold, NOW_US + 1).await;
    let no = order("resume").await.problem(409);
    assert!(no.contains("no longer on its chain"), "{no}");
    assert_eq!(holds().await, (false, true));
    by_cause(RightStanding::Held, NOW_US + 2).await;
    assert_eq!(holds().await, (true, false));
    // Of both suspensions each stands by itself.
    assert_eq!(order("suspend").await.ok()["standing"], "suspended");
    let stood = [(RightStanding::Sold, NOW_US + 3)];
    let set = judging.set_by_cause(&acme, &id, &stood, NOW_US + 3);
    assert_eq!(set.await.unwrap(), StandingSet::Unchanged);
    order("resume").await.problem(409);
    let stood = [(RightStanding::Held, NOW_US + 4)];
    let set = judging.set_by_cause(&acme, &id, &stood, NOW_US + 4);
    assert_eq!(set.await.unwrap(), StandingSet::Unchanged);
    assert_eq!(holds().await, (false, false));
    assert_eq!(order("resume").await.ok()["standing"], "good");
    assert_eq!(holds().await, (true, false));
}

/// A gateway's chain of receipts, signed by its certificate's key.
pub(super) struct Notes {
    pub(super) key: SigningKey,
    gateway: String,
    pub(super) chain: String,
    last: (u64, [u8; 32]),
    /// Which chain the next receipt names as left.
    pub(super) left: Option<Head>,
}

impl Notes {
    /// One that the hub knows.
    pub(super) async fn new(world: &World, name: &str, known: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(dir.path().join("authority"), "Acme").unwrap();
        let issued = authority.issue_gateway("acme", name).unwrap();
        let own = tls::Identity::from_pem(&issued.chain_pem, &issued.key_pem).unwrap();
        let certificate = own.chain()[0].to_vec();
        let acme = seed::acme();
        let id = GatewayId::parse(name).unwrap();
        if known {
            let of = Description::of(&certificate).unwrap();
            let new = NewCertificate {
                fingerprint: of.fingerprint,
                serial: of.serial,
                key: of.key,
                not_before_us: NOW_US,
                not_after_us: NOW_US + HOUR_US,
            };
            let certificates = &world.served.store.certificates;
            certificates
                .add_certified(&acme, &id, &new, NOW_US)
                .await
                .unwrap();
        }
        Self {
            key: SigningKey::of(&own).unwrap(),
            gateway: world.identity.gateway_did(&acme, &id).unwrap().to_string(),
            chain: "ab".repeat(16),
            last: (0, NOTHING),
            left: None,
        }
    }

    /// Where it ends.
    pub(super) fn head(&self) -> Head {
        Head {
            chain: self.chain.clone(),
            number: self.last.0,
            hash: hex::encode(self.last.1),
        }
    }

    /// It goes on in another chain.
    pub(super) fn begin(&mut self, chain: &str, left: Option<Head>) {
        self.chain = chain.to_owned();
        self.last = (0, NOTHING);
        self.left = left;
    }

    pub(super) fn note(&mut self, right: &str, at_us: i64) -> String {
        let challenge = challenge(at_us);
        let receipt = Receipt {
            chain: self.chain.clone(),
            number: self.last.0 + 1,
            previous: hex::encode(self.last.1),
            at_us,
            gateway: self.gateway.clone(),
            right: right.to_owned(),
            holder: account(),
            signature: sign(&challenge.text(&self.gateway)),
            challenge,
            command: "0".repeat(32),
            expires_us: at_us + 1,
            left: self.left.take(),
        };
        let text = receipt.text().unwrap();
        self.last = (receipt.number, hash(&text));
        text
    }

    pub(super) fn signed(&self, texts: &[String], key: &SigningKey) -> Vec<u8> {
        self.signed_with(texts, &vec!["done"; texts.len()], key)
    }

    /// Signed, with what became of each command.
    fn signed_with(&self, texts: &[String], outcomes: &[&str], key: &SigningKey) -> Vec<u8> {
        let head = Head {
            chain: self.chain.clone(),
            number: Receipt::parse(texts.last().unwrap()).unwrap().number,
            hash: hex::encode(hash(texts.last().unwrap())),
        };
        let outcomes = outcomes.iter().map(ToString::to_string).collect();
        let (certificate, sign) = (self.key.certificate(), |message: &[u8]| key.sign(message));
        let batch = Batch::sign(texts.to_vec(), outcomes, &head, certificate, sign);
        serde_json::to_vec(&batch.unwrap()).unwrap()
    }
}

pub(super) fn keeper(world: &World) -> Keeper {
    Keeper {
        rights: world.rights.clone(),
        store: world.served.store.clone(),
        telling: Telling::default(),
        clock: Clock::from_fn(|| NOW_US + HOUR_US),
        wakes: Wakes::default(),
        intake: Intake::default(),
    }
}

#[tokio::test]
async fn a_receipt_that_is_brought_again_says_what_became_of_its_command() {
    let world = World::new().await;
    let (acme, gw) = (seed::acme(), GatewayId::parse("gateway-marked").unwrap());
    let mut notes = Notes::new(&world, "gateway-marked", true).await;
    let keeper = keeper(&world);
    let one = [notes.note("urn:uuid:right-marked", NOW_US + 1)];
    // What is known stays: its device has not undone it.
    for (brought, known) in [
        ("unknown", "unknown"),
        ("expired", "expired"),
        ("unknown", "expired"),
        ("done", "done"),
        ("failed", "done"),
    ] {
        let batch = notes.signed_with(&one, &[brought], &notes.key);
        keeper.keep(&acme, &gw, &batch).await.unwrap();
        let kept = world
            .served
            .store
            .access
            .receipt(&acme, &gw, &notes.chain, 1);
        assert_eq!(kept.await.unwrap().unwrap().outcome, known, "{brought}");
    }
}

#[tokio::test]
async fn receipts_are_checked_kept_once_and_what_conflicts_starts_a_workflow() {
    let world = World::new().await;
    let (acme, gw) = (seed::acme(), GatewayId::parse("gateway-marked").unwrap());
    let yaml = "id: conflict\nversion: 1\non: { access: { conflict: 'freezer-*' } }\nsteps:\n\
        - { id: note, use: content.upsert, with: { collection: conflicts, key: '{{ event.device }}', \
        set: { reason: '{{ event.reason }}', holder: '{{ event.holder }}' } } }\n";
    let store = &world.served.store;
    store
        .workflows
        .put(&acme, "conflict", 1, yaml, NOW_US)
        .await
        .unwrap();
    store
        .workflows
        .activate(&acme, "conflict", Some(1), NOW_US)
        .await
        .unwrap();
    let given = world
        .rights
        .grant(&acme, &World::wanted(), API, NOW_US)
        .await
        .unwrap();
    let right = given.right.right.clone();
    let mut notes = Notes::new(&world, "gateway-marked", true).await;
    let keeper = keeper(&world);
    let one = notes.note(&right, NOW_US + 1);
    let two = notes.note(&right, NOW_US + 2);
    let good = notes.signed(&[one.clone(), two.clone()], &notes.key);
    assert_eq!(keeper.keep(&acme, &gw, &good).await.unwrap(), 2);
    assert_eq!(
        keeper.keep(&acme, &gw, &good).await.unwrap(),
        0,
        "brought again"
    );
    let last = store
        .access
        .last_receipt(&acme, &gw, &notes.chain)
        .await
        .unwrap();
    assert_eq!(last, Some(notes.last));
    // Signed by another key, by a certificate that the hub does not know, for another gateway.
    let stranger = Notes::new(&world, "gateway-marked", false).await.key;
    let text = notes.note(&right, NOW_US + 3);
    let forged = notes.signed(&[text], &stranger);
    let no = keeper
        .keep(&acme, &gw, &forged)
        .await
        .unwrap_err()
        .to_string();
    assert!(no.contains("not that of the gateway's key"), "{no}");
    let mut unknown = Notes::new(&world, "gateway-marked", false).await;
    let text = unknown.note(&right, NOW_US + 3);
    let batch = unknown.signed(&[text], &unknown.key);
    let no = keeper
        .keep(&acme, &gw, &batch)
        .await
        .unwrap_err()
        .to_string();
    assert!(no.contains("not this gateway's"), "{no}");
    notes.last = (2, hash(&two));
    let own = std::mem::replace(
        &mut notes.gateway,
        "did:web:hub.example:tenants:acme:gateways:gw-9".into(),
    );
    let text = notes.note(&right, NOW_US + 3);
    let batch = notes.signed(&[text], &notes.key);
    let no = keeper
        .keep(&acme, &gw, &batch)
        .await
        .unwrap_err()
        .to_string();
    assert!(no.contains("names another gateway"), "{no}");
    notes.gateway = own;
    // Another receipt of a number that is kept.
    notes.last = (1, hash(&one));
    let fork = notes.note(&right, NOW_US + 9);
    let batch = notes.signed(&[fork], &notes.key);
    let no = keeper
        .keep(&acme, &gw, &batch)
        .await
        .unwrap_err()
        .to_string();
    assert!(no.contains("another than the one that is kept"), "{no}");
    // Taken away before it is used a second time, after the tolerance.
    notes.last = (2, hash(&two));
    world
        .rights
        .revoke(&acme, &right, NOW_US + 10)
        .await
        .unwrap();
    let late_us = NOW_US + HOUR_US / 2;
    let three = notes.note(&right, late_us);
    let four = notes.note("urn:uuid:nobody's", late_us + 1);
    let batch = notes.signed(&[three, four], &notes.key);
    for count in [2, 0] {
        assert_eq!(keeper.keep(&acme, &gw, &batch).await.unwrap(), count);
    }
    let shown = world.served.read("/api/v1/access/receipts").await.ok();
    let conflicts: Vec<&Value> = shown["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["conflict"])
        .collect();
    assert_eq!(
        conflicts,
        [
            &json!("no_such_right"),
            &json!("revoked"),
            &Value::Null,
            &Value::Null
        ]
    );
    assert_eq!(shown["items"][1]["receipt"]["holder"], account());
    let filter = RunFilter {
        workflow: Some("conflict".to_owned()),
        ..RunFilter::default()
    };
    let runs = store
        .runs
        .list(&acme, &filter, None, 10)
        .await
        .unwrap()
        .items;
    let mut reasons: Vec<&str> = runs
        .iter()
        .map(|run| run.event["reason"].as_str().unwrap())
        .collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["no_such_right", "revoked"]);
    // A hub that was restored has a gap, and says so.
    notes.last = (7, [1; 32]);
    let far = notes.note(&right, NOW_US + 1);
    let batch = notes.signed(&[far], &notes.key);
    assert_eq!(keeper.keep(&acme, &gw, &batch).await.unwrap(), 1);
    let shown = world
        .served
        .read("/api/v1/access/receipts?limit=1")
        .await
        .ok();
    assert_eq!(
        (&shown["items"][0]["number"], &shown["items"][0]["follows"]),
        (&json!(8), &json!(false))
    );
    let next = shown["next"].as_str().unwrap();
    let rest = world
        .served
        .read(&format!("/api/v1/access/receipts?after={next}"))
        .await
        .ok();
    assert_eq!(rest["items"].as_array().unwrap().len(), 4);
}
