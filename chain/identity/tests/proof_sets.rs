//! Sets of proofs: each that is there has to be right, and each that is demanded has to be there.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Map, Value, json};
use stencil_identity::did::Did;
use stencil_identity::document::{Document, Known, Purpose, Unresolved};
use stencil_identity::multikey::Algorithm;
use stencil_identity::proof::{
    Demand, Error, MAX_PROOFS, Options, Suite, Wrong, attach, check, dids, sign,
};
use stencil_identity::secret::SecretKey;

const NOW_US: i64 = 1_764_300_000_000_000;
const BOTH: [Suite; 2] = [Suite::EddsaJcs2022, Suite::MlDsa44Jcs2024];

struct Issuer {
    did: Did,
    ed25519: SecretKey,
    ml_dsa: SecretKey,
    known: Known,
}

impl Issuer {
    fn new(seed: u8) -> Self {
        let did = Did::parse("did:web:hub.example:tenants:acme").unwrap();
        let ed25519 = SecretKey::from_seed(Algorithm::Ed25519, &[seed; 32]).unwrap();
        let ml_dsa = SecretKey::from_seed(Algorithm::MlDsa44, &[seed; 32]).unwrap();
        let document = Document::with_keys(
            &did,
            &[("ed", ed25519.public_key()), ("pq", ml_dsa.public_key())],
        );
        let mut known = Known::new();
        known.insert(&did, Ok(document));
        Self {
            did,
            ed25519,
            ml_dsa,
            known,
        }
    }

    fn signs(&self, document: &mut Map<String, Value>) {
        for (key, name) in [(&self.ed25519, "ed"), (&self.ml_dsa, "pq")] {
            let method = self.did.url(name);
            let proof = sign(document, key, &Options::assertion(&method, NOW_US)).unwrap();
            attach(document, proof).unwrap();
        }
    }

    fn demand<'a>(&'a self, suites: &'a [Suite]) -> Demand<'a> {
        Demand {
            purpose: Purpose::Assertion,
            suites,
            by: Some(&self.did),
            challenge: None,
            domain: None,
            now_us: NOW_US,
            tolerance_us: 0,
        }
    }
}

fn document() -> Map<String, Value> {
    let value = json!({
        "@context": ["https://www.w3.org/ns/credentials/v2"],
        "type": ["VerifiableCredential"],
        "credentialSubject": { "reading": 21.5, "n": 1e21 },
    });
    value.as_object().cloned().unwrap()
}

fn wrong(error: &Error) -> (usize, Option<Suite>, &Wrong) {
    match error {
        Error::Bad {
            index,
            suite,
            wrong,
            ..
        } => (*index, *suite, wrong),
        other => panic!("{other}"),
    }
}

#[test]
fn a_set_of_both_is_right() {
    let issuer = Issuer::new(1);
    let mut signed = document();
    issuer.signs(&mut signed);
    let proven = check(&signed, &issuer.demand(&BOTH), &issuer.known).unwrap();
    let suites: Vec<_> = proven.iter().map(|proof| proof.suite).collect();
    assert_eq!(suites, BOTH);
    assert!(proven.iter().all(|proof| proof.by == issuer.did));
    assert_eq!(dids(&signed), std::slice::from_ref(&issuer.did));
    // In whichever order they are.
    signed["proof"].as_array_mut().unwrap().reverse();
    check(&signed, &issuer.demand(&BOTH), &issuer.known).unwrap();
}

/// Whoever has one key can make any number of proofs by it.
#[test]
fn proofs_by_one_key_count_once() {
    let issuer = Issuer::new(1);
    let mut signed = document();
    issuer.signs(&mut signed);
    // The same text once more, and one that was made later.
    let again = signed["proof"][0].clone();
    attach(&mut signed, again.as_object().cloned().unwrap()).unwrap();
    let method = issuer.did.url("ed");
    let later = Options::assertion(&method, NOW_US + 1_000_000);
    let later = sign(&signed, &issuer.ed25519, &later).unwrap();
    attach(&mut signed, later).unwrap();
    assert_eq!(signed["proof"].as_array().unwrap().len(), 4);
    let proven = check(&signed, &issuer.demand(&BOTH), &issuer.known).unwrap();
    let suites: Vec<_> = proven.iter().map(|proof| proof.suite).collect();
    assert_eq!(suites, BOTH);
    // Each is looked at all the same.
    signed["proof"][2]["created"] = json!("2025-01-01T00:00:00Z");
    let error = check(&signed, &issuer.demand(&BOTH), &issuer.known).unwrap_err();
    assert_eq!(wrong(&error).0, 2);
}

#[test]
fn one_bad_proof_of_two_is_refused_and_named() {
    let issuer = Issuer::new(1);
    let mut signed = document();
    issuer.signs(&mut signed);
    let stranger = Issuer::new(2);
    for (index, suite) in BOTH.into_iter().enumerate() {
        // Its value is another's, over the same document.
        let mut forged = document();
        stranger.signs(&mut forged);
        let mut mixed = signed.clone();
        mixed["proof"][index] = forged["proof"][index].clone();
        // Also where only the other one is demanded.
        for suites in [&BOTH[..], &BOTH[..1], &BOTH[1..], &[]] {
            let error = check(&mixed, &issuer.demand(suites), &issuer.known).unwrap_err();
            let (at, of, why) = wrong(&error);
            assert_eq!((at, of), (index, Some(suite)));
            assert!(matches!(why, Wrong::Signature(_)), "{error}");
            let text = error.to_string();
            let place = format!("proof {} of 2 ({suite}): ", index + 1);
            assert!(text.starts_with(&place), "{text}");
        }
    }
}

#[test]
fn a_proof_that_is_demanded_and_not_there_is_named() {
    let issuer = Issuer::new(1);
    let mut signed = document();
    issuer.signs(&mut signed);
    for (kept, missing) in [(0, BOTH[1]), (1, BOTH[0])] {
        let mut one = signed.clone();
        one["proof"] = signed["proof"][kept].clone();
        let error = check(&one, &issuer.demand(&BOTH), &issuer.known).unwrap_err();
        assert_eq!(error, Error::Missing(missing));
        check(&one, &issuer.demand(&BOTH[kept..=kept]), &issuer.known).unwrap();
    }
    let error = check(&document(), &issuer.demand(&[]), &issuer.known).unwrap_err();
    assert_eq!(error, Error::Count(0));
}

#[test]
fn what_is_changed_is_refused_wherever_it_is() {
    let issuer = Issuer::new(1);
    let mut signed = document();
    issuer.signs(&mut signed);
    let mut changed = Vec::new();
    for (pointer, value) in [
        ("/credentialSubject/reading", json!(21.6)),
        ("/credentialSubject/n", json!("1e21")),
        ("/@context/0", json!("https://www.w3.org/ns/credentials/v3")),
        ("/proof/0/created", json!("2026-01-01T00:00:00Z")),
        ("/proof/1/created", json!("2026-01-01T00:00:00Z")),
        ("/proof/0/@context/0", json!("https://example.com")),
        ("/proof/1/verificationMethod", json!(issuer.did.url("ed"))),
    ] {
        let mut value_of = Value::Object(signed.clone());
        *value_of.pointer_mut(pointer).unwrap() = value;
        changed.push((pointer, value_of.as_object().cloned().unwrap()));
    }
    let mut added = signed.clone();
    added.insert("added".to_owned(), json!(true));
    changed.push(("added", added));
    for (pointer, changed) in changed {
        let error = check(&changed, &issuer.demand(&[]), &issuer.known);
        assert!(matches!(error, Err(Error::Bad { .. })), "{pointer}");
    }
}

#[test]
fn contexts_that_a_relay_has_added_leave_the_classical_proof_alone_right() {
    let issuer = Issuer::new(1);
    let mut signed = document();
    issuer.signs(&mut signed);
    let contexts = signed["@context"].as_array_mut().unwrap();
    contexts.push(json!("https://example.com/more"));
    // That of ML-DSA-44 covers the document's contexts as they are.
    let error = check(&signed, &issuer.demand(&[]), &issuer.known).unwrap_err();
    assert_eq!(wrong(&error).0, 1);
    signed["proof"] = signed["proof"][0].clone();
    check(&signed, &issuer.demand(&[]), &issuer.known).unwrap();
}

#[test]
fn what_a_proof_says_of_itself_has_to_be_right() {
    let issuer = Issuer::new(1);
    let mut signed = document();
    issuer.signs(&mut signed);
    signed["proof"] = signed["proof"][0].clone();
    for (member, value, says) in [
        (
            "type",
            json!("Ed25519Signature2020"),
            "its type is not DataIntegrityProof",
        ),
        (
            "cryptosuite",
            json!("eddsa-rdfc-2022"),
            "its suite “eddsa-rdfc-2022” is not understood",
        ),
        (
            "cryptosuite",
            json!("mldsa44-jcs-2024"),
            "its key is of Ed25519",
        ),
        ("cryptosuite", json!(7), "its cryptosuite is a number"),
        (
            "proofPurpose",
            json!("authentication"),
            "its proofPurpose is “authentication”",
        ),
        (
            "created",
            json!("yesterday"),
            "its created: “yesterday” is no time",
        ),
        (
            "expires",
            json!("2020-01-01T00:00:00Z"),
            "it expired at 2020-01-01",
        ),
        (
            "challenge",
            json!("x"),
            "its challenge is “x”, where none is demanded",
        ),
        ("domain", json!(["x"]), "its domain is an array, where none"),
        (
            "previousProof",
            json!("urn:uuid:1"),
            "it builds on another proof",
        ),
        (
            "verificationMethod",
            json!("key-1"),
            "its key is that of key-1, not of",
        ),
        (
            "verificationMethod",
            json!(issuer.did.as_str()),
            "names no key",
        ),
        (
            "verificationMethod",
            json!("did:web:hub.example#ed"),
            "not of did:web:hub.example:tenants:acme",
        ),
        (
            "verificationMethod",
            json!(issuer.did.url("zz")),
            "has no key",
        ),
        ("proofValue", json!("uAAAA"), "does not begin with z"),
        ("proofValue", json!("z0"), "is no base58btc"),
        ("proofValue", json!("zAAAA"), "not by this key"),
    ] {
        let mut changed = signed.clone();
        changed["proof"][member] = value.clone();
        let error = check(&changed, &issuer.demand(&[]), &issuer.known).unwrap_err();
        assert!(error.to_string().contains(says), "{member}: {error}");
    }
    for member in [
        "type",
        "cryptosuite",
        "proofPurpose",
        "verificationMethod",
        "proofValue",
    ] {
        let mut changed = signed.clone();
        changed["proof"].as_object_mut().unwrap().remove(member);
        let error = check(&changed, &issuer.demand(&[]), &issuer.known).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("missing"), "{member}: {text}");
    }
    for (proof, says) in [
        (json!("none"), "its proof is a string"),
        (json!([7]), "its proof is a number"),
        (json!([]), "it has 0 proofs"),
        (json!(vec![json!({}); MAX_PROOFS + 1]), "it has 9 proofs"),
    ] {
        let mut changed = signed.clone();
        changed["proof"] = proof;
        let error = check(&changed, &issuer.demand(&[]), &issuer.known).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn a_challenge_and_a_domain_are_for_one_verifier() {
    let issuer = Issuer::new(1);
    let method = issuer.did.url("pq");
    let mut signed = document();
    let options = Options::authentication(&method, NOW_US, "c-1", "door.example");
    let proof = sign(&signed, &issuer.ml_dsa, &options).unwrap();
    attach(&mut signed, proof).unwrap();
    let demand = |challenge, domain| Demand {
        purpose: Purpose::Authentication,
        challenge: Some(challenge),
        domain: Some(domain),
        ..issuer.demand(&[])
    };
    check(&signed, &demand("c-1", "door.example"), &issuer.known).unwrap();
    for (challenge, domain, member) in [
        ("c-2", "door.example", "challenge"),
        ("c-1", "gate.example", "domain"),
    ] {
        let error = check(&signed, &demand(challenge, domain), &issuer.known).unwrap_err();
        let (_, _, why) = wrong(&error);
        assert!(
            matches!(why, Wrong::NotFor { member: found, .. } if *found == member),
            "{error}"
        );
    }
}

#[test]
fn a_document_that_cannot_be_fetched_is_an_answer_of_its_own() {
    let issuer = Issuer::new(1);
    let mut signed = document();
    issuer.signs(&mut signed);
    let mut known = Known::new();
    let error = check(&signed, &issuer.demand(&[]), &known).unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    known.insert(
        &issuer.did,
        Err(Unresolved::Unreachable {
            did: issuer.did.to_string(),
            why: "the connection was refused".to_owned(),
        }),
    );
    let error = check(&signed, &issuer.demand(&[]), &known).unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    assert!(error.to_string().contains("the connection was refused"));
    let bad = Document::parse(&issuer.did, b"{}").unwrap_err();
    known.insert(&issuer.did, Err(bad.into()));
    let error = check(&signed, &issuer.demand(&[]), &known).unwrap_err();
    assert!(!error.is_unreachable(), "{error}");
}
