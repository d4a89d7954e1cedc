//! Credentials issued, presented, checked, revoked.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use stencil_identity::credential::{
    Credential, Draft, Error, Issuers, OnUnknown, Policy, issue, issue_token,
};
use stencil_identity::did::Did;
use stencil_identity::document::{Document, Known};
use stencil_identity::jose;
use stencil_identity::multikey::Algorithm;
use stencil_identity::presentation::{self, Presentation, Wanted, present};
use stencil_identity::proof::Suite;
use stencil_identity::secret::SecretKey;
use stencil_identity::status::{Bits, Entry, Fetched, List, Purpose, Standing};

const NOW_US: i64 = 1_795_900_000_000_000;
const DAY_US: i64 = 86_400_000_000;
const LIST: &str = "https://hub.example/tenants/acme/status/1";

struct Issuer {
    did: Did,
    keys: Vec<(SecretKey, String)>,
    known: Known,
}

impl Issuer {
    fn new(text: &str, seed: u8) -> Self {
        let did = Did::parse(text).unwrap();
        let keys: Vec<_> = [
            (Algorithm::Ed25519, "ed25519"),
            (Algorithm::MlDsa44, "mldsa44"),
            (Algorithm::MlDsa65, "mldsa65"),
        ]
        .into_iter()
        .map(|(algorithm, name)| {
            (
                SecretKey::from_seed(algorithm, &[seed; 32]).unwrap(),
                did.url(name),
            )
        })
        .collect();
        let listed: Vec<_> = ["ed25519", "mldsa44", "mldsa65"]
            .into_iter()
            .zip(&keys)
            .map(|(name, (key, _))| (name, key.public_key()))
            .collect();
        let mut known = Known::new();
        known.insert(&did, Ok(Document::with_keys(&did, &listed)));
        Self { did, keys, known }
    }

    fn acme() -> Self {
        Self::new("did:web:hub.example:tenants:acme", 1)
    }

    fn both(&self) -> Vec<(&SecretKey, &str)> {
        self.keys[..2]
            .iter()
            .map(|(key, name)| (key, name.as_str()))
            .collect()
    }

    fn draft(&self, subject: &str) -> Draft {
        let subject = json!({ "id": subject, "deviation": 0.05 });
        Draft {
            id: Some("urn:uuid:58172aac-d8ba-11ed-83dd-0b3aef56cc33".to_owned()),
            kinds: vec!["CalibrationCertificate".to_owned()],
            name: Some("Calibration of d-1".to_owned()),
            valid_until_us: Some(NOW_US + 365 * DAY_US),
            statuses: vec![Entry {
                purpose: Purpose::Revocation,
                list: LIST.to_owned(),
                index: 1_234,
            }],
            ..Draft::new(
                self.did.as_str(),
                NOW_US - DAY_US,
                subject.as_object().cloned().unwrap(),
            )
        }
    }

    fn issues(&self, draft: Draft) -> Map<String, Value> {
        issue(draft.build().unwrap(), &self.both(), NOW_US - DAY_US).unwrap()
    }

    /// The list as it is published.
    fn list(&self, revoked: &[usize], url: &str) -> Vec<u8> {
        let mut bits = Bits::new();
        for &index in revoked {
            bits.set(index, true).unwrap();
        }
        let list = List {
            issuer: self.did.to_string(),
            purpose: Purpose::Revocation,
            bits,
        };
        let draft = list.draft(url, NOW_US - DAY_US, NOW_US + DAY_US).unwrap();
        let issued = issue(draft, &self.both(), NOW_US).unwrap();
        serde_json::to_vec(&issued).unwrap()
    }

    fn lists(&self, revoked: &[usize]) -> Fetched {
        let text = self.list(revoked, LIST);
        let list = List::check(&text, LIST, &Policy::default(), NOW_US, &self.known);
        let mut fetched = Fetched::new();
        fetched.insert(LIST, Ok(list.unwrap()));
        fetched
    }
}

fn read(map: &Map<String, Value>) -> Credential {
    Credential::parse(&serde_json::to_vec(map).unwrap()).unwrap()
}

#[test]
fn a_credential_is_issued_checked_and_revoked() {
    let acme = Issuer::acme();
    let issued = acme.issues(acme.draft("did:web:hub.example:devices:d-1"));
    let credential = read(&issued);
    assert_eq!(credential.issuer(), acme.did.as_str());
    assert_eq!(credential.dids(), std::slice::from_ref(&acme.did));
    let policy = Policy::default();
    let verified = credential
        .check(&policy, NOW_US, &acme.known, &acme.lists(&[]))
        .unwrap();
    assert_eq!(verified.issuer, acme.did);
    assert_eq!(verified.by, [Algorithm::Ed25519, Algorithm::MlDsa44]);
    assert_eq!(verified.standing, Standing::Good);
    let error = credential
        .check(&policy, NOW_US, &acme.known, &acme.lists(&[1_234]))
        .unwrap_err();
    assert_eq!(error, Error::Revoked);
    // Another one's bit is another one's.
    credential
        .check(&policy, NOW_US, &acme.known, &acme.lists(&[1_233, 1_235]))
        .unwrap();
}

#[test]
fn a_list_that_cannot_be_fetched_is_what_the_policy_makes_of_it() {
    let acme = Issuer::acme();
    let credential = read(&acme.issues(acme.draft("did:web:d.example")));
    let mut lists = Fetched::new();
    lists.insert(LIST, Err("the connection was refused".to_owned()));
    let refuse = Policy::default();
    let error = credential
        .check(&refuse, NOW_US, &acme.known, &lists)
        .unwrap_err();
    assert!(error.is_unreachable());
    assert_eq!(
        error.to_string(),
        format!(
            "whether it is revoked is not known: the status list {LIST} is not there: the connection was \
             refused"
        )
    );
    let accept = Policy {
        on_unknown: OnUnknown::Accept,
        ..refuse
    };
    let verified = credential
        .check(&accept, NOW_US, &acme.known, &lists)
        .unwrap();
    assert!(matches!(verified.standing, Standing::Unknown { .. }));
}

#[test]
fn a_list_that_is_wrong_is_no_list() {
    let acme = Issuer::acme();
    let other = Issuer::new("did:web:other.example", 7);
    let policy = Policy::default();
    let check = |text: &[u8], now_us| List::check(text, LIST, &policy, now_us, &acme.known);
    let good = acme.list(&[], LIST);
    check(&good, NOW_US).unwrap();
    let changed = |member: &str, value: Value| {
        let mut list: Value = serde_json::from_slice(&good).unwrap();
        list[member] = value;
        serde_json::to_vec(&list).unwrap()
    };
    let mut endless: Value = serde_json::from_slice(&good).unwrap();
    let endless = endless.as_object_mut().unwrap();
    endless.remove("validUntil");
    endless.remove("proof");
    let endless = issue(endless.clone(), &acme.both(), NOW_US).unwrap();
    for (text, now_us, wrong) in [
        (
            serde_json::to_vec(&endless).unwrap(),
            NOW_US,
            "its validUntil is missing",
        ),
        (
            acme.list(&[], "https://hub.example/other"),
            NOW_US,
            "its id is not the address",
        ),
        (good.clone(), NOW_US + 2 * DAY_US, "it was valid until"),
        (other.list(&[], LIST), NOW_US, "is not there"),
        (changed("name", json!("changed")), NOW_US, "proof 1 of 2"),
        (
            changed("type", json!("VerifiableCredential")),
            NOW_US,
            "BitstringStatusListCredential",
        ),
        (
            changed("credentialStatus", acme.draft("x").statuses[0].to_value()),
            NOW_US,
            "a list has none",
        ),
        (b"{}".to_vec(), NOW_US, "its @context"),
    ] {
        let error = check(&text, now_us).unwrap_err().to_string();
        assert!(error.contains(wrong), "{error}");
    }
    // Of another issuer, although it is right: it says nothing of ours.
    let theirs = List::check(
        &other.list(&[1_234], LIST),
        LIST,
        &policy,
        NOW_US,
        &other.known,
    );
    let mut lists = Fetched::new();
    lists.insert(LIST, Ok(theirs.unwrap()));
    let credential = read(&acme.issues(acme.draft("did:web:d.example")));
    let error = credential
        .check(&policy, NOW_US, &acme.known, &lists)
        .unwrap_err();
    assert!(error.to_string().contains("another issuer's"), "{error}");
}

#[test]
fn what_a_policy_asks_for() {
    let acme = Issuer::acme();
    let credential = read(&acme.issues(acme.draft("did:web:d.example")));
    let lists = acme.lists(&[]);
    let accepted: BTreeSet<String> = [acme.did.to_string()].into();
    let strangers: BTreeSet<String> = ["did:web:other.example".to_owned()].into();
    let right = Policy {
        issuers: Issuers::These(&accepted),
        kind: Some("CalibrationCertificate"),
        subject: Some("did:web:d.example"),
        ..Policy::default()
    };
    let check = |policy: &Policy<'_>, now_us| credential.check(policy, now_us, &acme.known, &lists);
    check(&right, NOW_US).unwrap();
    let with = |change: &dyn Fn(&mut Policy<'_>)| {
        let mut policy = right.clone();
        change(&mut policy);
        check(&policy, NOW_US).unwrap_err()
    };
    let _ = &strangers;
    let error = check(
        &Policy {
            issuers: Issuers::These(&strangers),
            ..right.clone()
        },
        NOW_US,
    );
    assert!(matches!(error, Err(Error::NotAccepted(_))), "{error:?}");
    let error = with(&|policy| policy.kind = Some("DeliveryReceipt"));
    assert_eq!(error, Error::Kind("DeliveryReceipt".to_owned()));
    let error = with(&|policy| policy.subject = Some("did:web:e.example"));
    assert_eq!(
        error.to_string(),
        "it is about did:web:d.example, where did:web:e.example is asked for"
    );
    let error = with(&|policy| policy.suites = &[Suite::EcdsaJcs2019]);
    assert!(
        error.to_string().contains("a proof of ecdsa-jcs-2019"),
        "{error}"
    );
    let until = NOW_US + 365 * DAY_US;
    let tolerance = right.tolerance_us;
    check(&right, until + tolerance - 1).unwrap();
    let error = check(&right, until + tolerance).unwrap_err();
    assert!(matches!(error, Error::Expired(_)), "{error}");
    let from = NOW_US - DAY_US;
    check(&right, from - tolerance).unwrap();
    let error = check(&right, from - tolerance - 1).unwrap_err();
    assert!(matches!(error, Error::NotYet(_)), "{error}");
}

#[test]
fn one_bad_proof_of_two_is_refused() {
    let acme = Issuer::acme();
    let issued = acme.issues(acme.draft("did:web:d.example"));
    for (index, name) in ["eddsa-jcs-2022", "mldsa44-jcs-2024"].iter().enumerate() {
        let mut changed = issued.clone();
        let value = changed["proof"][index]["proofValue"].as_str().unwrap();
        let flipped = format!("{}{}", &value[..value.len() - 4], "AAAA");
        changed["proof"][index]["proofValue"] = json!(flipped);
        let error = read(&changed)
            .check(&Policy::default(), NOW_US, &acme.known, &acme.lists(&[]))
            .unwrap_err()
            .to_string();
        let place = format!("proof {} of 2 ({name})", index + 1);
        assert!(error.starts_with(&place), "{error}");
    }
}

#[test]
fn a_token_does_where_the_policy_takes_it() {
    let acme = Issuer::acme();
    let draft = acme.draft("did:web:d.example").build().unwrap();
    let (key, name) = &acme.keys[2];
    let token = issue_token(&draft, key, name).unwrap();
    let lists = acme.lists(&[]);
    let tokens = Policy {
        tokens: true,
        ..Policy::default()
    };
    let enveloped = json!({
        "@context": "https://www.w3.org/ns/credentials/v2",
        "type": "EnvelopedVerifiableCredential",
        "id": format!("data:application/vc+jwt,{token}"),
    });
    for text in [token.clone(), format!("{token}\n"), enveloped.to_string()] {
        let credential = Credential::parse(text.as_bytes()).unwrap();
        let verified = credential.check(&tokens, NOW_US, &acme.known, &lists);
        assert_eq!(verified.unwrap().by, [Algorithm::MlDsa65]);
        // It is by one algorithm: nobody takes it who has not said so.
        let error = credential.check(&Policy::default(), NOW_US, &acme.known, &lists);
        assert_eq!(error, Err(Error::TokenNotTaken));
    }
    // By a key of somebody who may not say things for the issuer.
    let other = Issuer::new("did:web:other.example", 7);
    let (key, name) = &other.keys[2];
    let token = issue_token(&draft, key, name).unwrap();
    let error = Credential::parse(token.as_bytes())
        .unwrap()
        .check(&tokens, NOW_US, &other.known, &lists)
        .unwrap_err();
    assert!(
        error.to_string().contains("not of did:web:hub.example"),
        "{error}"
    );
}

/// RFC 7519, sections 4.1.4 and 4.1.5.
#[test]
fn a_token_holds_from_its_nbf_to_its_exp() {
    let acme = Issuer::acme();
    let (key, name) = &acme.keys[2];
    let tokens = Policy {
        tokens: true,
        ..Policy::default()
    };
    let check = |valid_until_us, claims: Value| {
        let draft = Draft {
            valid_until_us,
            statuses: Vec::new(),
            ..acme.draft("did:web:d.example")
        };
        let mut payload = draft.build().unwrap();
        payload.extend(claims.as_object().cloned().unwrap());
        let token = jose::sign(&payload, key, name).unwrap();
        let read = Credential::parse(token.as_bytes()).unwrap();
        let checked = read.check(&tokens, NOW_US, &acme.known, &Fetched::new());
        checked.map(|_| read.valid_until_us())
    };
    let now_s = NOW_US / 1_000_000;
    let until = |after_s: i64| json!({ "exp": now_s + after_s });
    for valid_until_us in [None, Some(NOW_US + DAY_US)] {
        let ended = check(valid_until_us, until(-3_600));
        assert!(matches!(ended, Err(Error::Expired(_))), "{ended:?}");
        let ends = check(valid_until_us, until(3_600));
        assert_eq!(ends, Ok(Some(NOW_US + 3_600_000_000)));
        // Clocks differ by up to a minute.
        assert!(check(valid_until_us, until(-59)).is_ok());
        let early = check(valid_until_us, json!({ "nbf": now_s + 3_600 }));
        assert!(matches!(early, Err(Error::NotYet(_))), "{early:?}");
        assert!(check(valid_until_us, json!({ "nbf": now_s + 59 })).is_ok());
    }
    // The credential's own end is not put off by the token's.
    let ended = check(Some(NOW_US - DAY_US), until(3_600));
    assert!(matches!(ended, Err(Error::Expired(_))), "{ended:?}");
}

#[test]
fn nobody_elses_key_is_read_before_a_proof_is_refused() {
    let acme = Issuer::acme();
    let mut issued = acme.issues(acme.draft("did:web:d.example"));
    let strangers: Vec<Value> = (0..7_u8)
        .map(|seed| {
            let key = SecretKey::from_seed(Algorithm::MlDsa65, &[seed; 32]).unwrap();
            let did = Did::from_key(key.public_key().clone());
            json!({ "type": "DataIntegrityProof", "verificationMethod": did.url("key") })
        })
        .collect();
    issued["proof"] = Value::Array(strangers.clone());
    let credential = read(&issued);
    assert_eq!(credential.dids(), []);
    let shown = json!({
        "@context": ["https://www.w3.org/ns/credentials/v2"],
        "type": ["VerifiablePresentation"],
        "holder": "did:web:d.example",
        "verifiableCredential": [issued],
        "proof": strangers,
    });
    let shown = Presentation::parse(shown.to_string().as_bytes()).unwrap();
    assert_eq!(shown.dids(), []);
    let no_key = format!("did:key:z{}#z", "2".repeat(100));
    for (proof, wrong) in [
        (
            json!({ "verificationMethod": no_key }),
            "its type is missing",
        ),
        // Whose it would be is compared before it is read.
        (
            json!({ "type": "DataIntegrityProof", "cryptosuite": "eddsa-jcs-2022",
                "proofPurpose": "assertionMethod", "verificationMethod": no_key }),
            "its key is that of did:key:z2222",
        ),
    ] {
        let mut changed = credential.as_map().clone();
        changed.insert("proof".to_owned(), proof);
        let lists = acme.lists(&[]);
        let error = read(&changed).check(&Policy::default(), NOW_US, &acme.known, &lists);
        let error = error.unwrap_err().to_string();
        assert!(error.contains(wrong), "{error}");
    }
}

#[test]
fn shapes_that_are_none() {
    let acme = Issuer::acme();
    let good = acme.issues(acme.draft("did:web:d.example"));
    for (member, value, wrong) in [
        (
            "@context",
            json!(["https://www.w3.org/2018/credentials/v1"]),
            "its @context does not begin",
        ),
        ("type", json!(["X"]), "does not have VerifiableCredential"),
        ("id", json!(7), "its id is no string"),
        ("issuer", json!({}), "its issuer has no id"),
        ("issuer", json!(7), "its issuer is neither"),
        ("credentialSubject", json!([]), "its credentialSubject"),
        ("credentialSubject", json!({}), "its credentialSubject"),
        (
            "credentialSubject",
            json!(vec![json!({ "a": 1 }); 17]),
            "has 17 entries",
        ),
        ("validFrom", json!("soon"), "its validFrom is none"),
        (
            "validUntil",
            json!("2001-01-01T00:00:00Z"),
            "is before its validFrom",
        ),
        (
            "credentialStatus",
            json!({ "type": "X" }),
            "its credentialStatus: its type",
        ),
        (
            "credentialSchema",
            json!({ "id": "x" }),
            "its credentialSchema",
        ),
    ] {
        let mut changed = good.clone();
        changed.insert(member.to_owned(), value);
        let text = serde_json::to_vec(&changed).unwrap();
        let error = Credential::parse(&text).unwrap_err().to_string();
        assert!(error.contains(wrong), "{error}");
    }
}

fn wanted<'a>(challenge: &'a str, domain: &'a str) -> Wanted<'a> {
    Wanted {
        challenge,
        domain,
        suites: &[Suite::EddsaJcs2022],
        own: true,
    }
}

#[test]
fn a_presentation_is_for_one_verifier_and_of_the_holder() {
    let acme = Issuer::acme();
    let key = SecretKey::from_seed(Algorithm::Ed25519, &[42; 32]).unwrap();
    let holder = Did::from_key(key.public_key().clone());
    let name = holder.url("key");
    let shows = |subject: &str, by: &(&SecretKey, &str)| {
        let credential = Value::Object(acme.issues(acme.draft(subject)));
        let shown = present(
            vec![credential],
            &holder,
            &[*by],
            NOW_US,
            "c-1",
            "door.example",
        );
        Presentation::parse(&serde_json::to_vec(&shown.unwrap()).unwrap()).unwrap()
    };
    let shown = shows(holder.as_str(), &(&key, &name));
    let lists = acme.lists(&[]);
    let check = |shown: &Presentation, wanted: &Wanted<'_>| {
        shown.check(wanted, &Policy::default(), NOW_US, &acme.known, &lists)
    };
    let presented = check(&shown, &wanted("c-1", "door.example")).unwrap();
    assert_eq!(presented.by, [Algorithm::Ed25519]);
    let verified = presented.credentials;
    assert_eq!(verified[0].issuer, acme.did);
    assert_eq!(shown.dids().len(), 2);
    assert_eq!(shown.statuses().count(), 1);
    for (challenge, domain) in [("c-2", "door.example"), ("c-1", "gate.example")] {
        let error = check(&shown, &wanted(challenge, domain)).unwrap_err();
        assert!(matches!(error, presentation::Error::Proof(_)), "{error}");
    }
    // Somebody else's credential, shown by who has seen it.
    let error = check(
        &shows("did:web:d.example", &(&key, &name)),
        &wanted("c-1", "door.example"),
    );
    assert!(
        matches!(error, Err(presentation::Error::NotTheirs { index: 0, .. })),
        "{error:?}"
    );
    // Signed by another key.
    let other = SecretKey::from_seed(Algorithm::Ed25519, &[43; 32]).unwrap();
    let error = check(
        &shows(holder.as_str(), &(&other, &name)),
        &wanted("c-1", "door.example"),
    );
    assert!(
        matches!(error, Err(presentation::Error::Proof(_))),
        "{error:?}"
    );
    // Revoked meanwhile.
    let error = shown
        .check(
            &wanted("c-1", "door.example"),
            &Policy::default(),
            NOW_US,
            &acme.known,
            &acme.lists(&[1_234]),
        )
        .unwrap_err();
    assert_eq!(error.to_string(), "credential 1: it is revoked");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_byte_that_is_changed_leaves_a_credential_right(at in 0_usize..4_000, to in 0x20_u8..0x7f) {
        let acme = Issuer::acme();
        let draft = Draft { statuses: Vec::new(), ..acme.draft("did:web:d.example") };
        let issued = issue(draft.build().unwrap(), &acme.both()[..1], NOW_US).unwrap();
        let mut text = serde_json::to_vec(&issued).unwrap();
        let at = at % text.len();
        prop_assume!(text[at] != to);
        text[at] = to;
        let policy = Policy { suites: &[Suite::EddsaJcs2022], ..Policy::default() };
        if let Ok(credential) = Credential::parse(&text) {
            let verdict = credential.check(&policy, NOW_US, &acme.known, &Fetched::new());
            prop_assert!(verdict.is_err(), "{}", String::from_utf8_lossy(&text));
        }
    }
}
