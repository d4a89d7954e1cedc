//! Who is admitted, and who is not: each with its reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixture;

use fixture::*;
use serde_json::{Map, Value, json};
use stencil_access::challenge::{LIFE_US, Unfit};
use stencil_access::trust::{self, Policy, Told};
use stencil_access::{Answer, Challenge, Refused, Trust, admit};
use stencil_identity::multikey::Algorithm;
use stencil_identity::secret::SecretKey;
use stencil_identity::status::Purpose;

fn good() -> (Trust, Answer) {
    let (issuer, holder) = (acme(), wallet(1));
    let trust = issuer.trust(Policy::default(), &[], &[], NOW_US - HOUR_US);
    let answer = answer(
        &holder,
        challenge(&mut desk(), 1),
        credential(&issuer, &grant(&holder)),
    );
    (trust, answer)
}

fn refused(trust: &Trust, answer: &Answer, now_us: i64) -> Refused {
    admit(trust, answer, now_us).expect_err("it is refused")
}

fn object(value: &mut Value) -> &mut Map<String, Value> {
    value.as_object_mut().unwrap()
}

#[test]
fn a_holder_with_both_proofs_is_admitted_once() {
    let (trust, answer) = good();
    let mut desk = desk();
    desk.take(&answer.challenge, NOW_US + 1).unwrap();
    let admitted = admit(&trust, &answer, NOW_US + 1).unwrap();
    assert_eq!(admitted.right, "urn:uuid:1");
    assert_eq!(admitted.grant, grant(&wallet(1)));
    assert_eq!(admitted.until_us, Some(NOW_US + 3 * HOUR_US));
    assert_eq!(desk.take(&answer.challenge, NOW_US + 2), Err(Unfit::Used));
    // As it comes over the wire.
    let text = json!(answer).to_string();
    assert_eq!(Answer::parse(text.as_bytes()).as_ref(), Ok(&answer));
}

#[test]
fn one_bad_proof_of_two_is_refused_in_either_place_and_so_is_one_alone() {
    let (trust, good) = good();
    for (index, suite) in [(0, "eddsa-jcs-2022"), (1, "mldsa44-jcs-2024")] {
        // The proof of another document, by the right key.
        let other = credential(
            &acme(),
            &stencil_access::Grant {
                commands: vec!["open".to_owned(), "close".to_owned()],
                ..grant(&wallet(1))
            },
        );
        let mut bad = good.clone();
        object(&mut bad.credential)["proof"][index]["proofValue"] =
            other["proof"][index]["proofValue"].clone();
        let why = refused(&trust, &bad, NOW_US);
        assert_eq!(why.code(), "bad_proof", "{why}");
        assert!(
            why.to_string()
                .contains(&format!("proof {} of 2 ({suite})", index + 1)),
            "{why}"
        );
        let mut alone = good.clone();
        let proofs = object(&mut alone.credential)["proof"]
            .as_array_mut()
            .unwrap();
        proofs.remove(index);
        let why = refused(&trust, &alone, NOW_US);
        assert_eq!(why.code(), "bad_proof", "{why}");
        assert!(
            why.to_string()
                .contains(&format!("a proof of {suite} is demanded")),
            "{why}"
        );
    }
    let mut none = good;
    object(&mut none.credential).remove("proof");
    assert_eq!(refused(&trust, &none, NOW_US).code(), "bad_proof");
}

#[test]
fn what_a_credential_says_is_what_was_signed() {
    let (trust, good) = good();
    // Each is for what is asked, and no proof is over it.
    let longer = |credential: &mut Map<String, Value>| {
        credential.insert("validUntil".to_owned(), json!("2027-01-01T00:00:00Z"));
    };
    let free = |credential: &mut Map<String, Value>| {
        let index = json!("1");
        credential["credentialStatus"][0]["statusListIndex"] = index;
    };
    for change in [&longer as &dyn Fn(&mut Map<String, Value>), &free] {
        let mut bad = good.clone();
        change(object(&mut bad.credential));
        assert_eq!(refused(&trust, &bad, NOW_US).code(), "bad_proof");
    }
}

#[test]
fn the_clock_may_be_wrong_by_so_much_and_no_more() {
    let (trust, answer) = good();
    let tolerance_us = trust.policy().tolerance_us();
    let (from_us, until_us) = (NOW_US - HOUR_US, NOW_US + 3 * HOUR_US);
    for now_us in [from_us - tolerance_us, until_us + tolerance_us - 1] {
        assert!(admit(&trust, &answer, now_us).is_ok());
    }
    let early = refused(&trust, &answer, from_us - tolerance_us - 1);
    assert_eq!(early.code(), "not_yet_valid", "{early}");
    let late = refused(&trust, &answer, until_us + tolerance_us);
    assert_eq!(late.code(), "expired", "{late}");
    let strict = Policy {
        tolerance_s: 0,
        ..Policy::default()
    };
    let trust = acme().trust(strict, &[], &[], NOW_US);
    assert_eq!(refused(&trust, &answer, until_us).code(), "expired");
}

#[test]
fn another_door_another_gateway_another_command_and_another_wallet_open_nothing() {
    let (issuer, holder) = (acme(), wallet(1));
    let trust = issuer.trust(Policy::default(), &[], &[], NOW_US);
    let good = credential(&issuer, &grant(&holder));
    let mut desk = desk();
    let other_door = Challenge {
        device: "locker-2".parse().unwrap(),
        ..challenge(&mut desk, 1)
    };
    let why = refused(&trust, &answer(&holder, other_door, good.clone()), NOW_US);
    assert_eq!(why.code(), "other_device", "{why}");
    let close = desk.give(locker(), "close", NOW_US, [1; 16]).unwrap();
    let why = refused(&trust, &answer(&holder, close, good.clone()), NOW_US);
    assert_eq!(why.code(), "other_command", "{why}");
    // Signed at another gateway, which has a device of this name, too.
    let asked = challenge(&mut desk, 1);
    let mut relayed = answer(&holder, asked.clone(), good.clone());
    relayed.signature = signature(&holder, &asked.text(&GATEWAY.replace("gw-1", "gw-2")));
    let why = refused(&trust, &relayed, NOW_US);
    assert_eq!(why.code(), "not_the_holder", "{why}");
    // Signed for another nonce.
    relayed.signature = signature(&holder, &challenge(&mut desk, 2).text(GATEWAY));
    assert_eq!(refused(&trust, &relayed, NOW_US).code(), "not_the_holder");
    let thief = answer(&wallet(2), challenge(&mut desk, 1), good.clone());
    let why = refused(&trust, &thief, NOW_US);
    assert_eq!(why.code(), "not_the_holder");
    assert!(
        why.to_string()
            .contains(&holder.address().to_checksum(None)),
        "{why}"
    );
    for signature in [
        "",
        "0x",
        "0xzz",
        &format!("0x{}", "00".repeat(65)),
        &"11".repeat(66),
    ] {
        let mut bad = answer(&holder, challenge(&mut desk, 1), good.clone());
        bad.signature = signature.to_owned();
        assert_eq!(
            refused(&trust, &bad, NOW_US).code(),
            "no_signature",
            "{signature}"
        );
    }
    let only = Policy {
        commands: Some(vec!["lock".to_owned()]),
        ..Policy::default()
    };
    let trust = issuer.trust(only, &[], &[], NOW_US);
    let why = refused(
        &trust,
        &answer(&holder, challenge(&mut desk, 1), good),
        NOW_US,
    );
    assert_eq!(why.code(), "not_allowed", "{why}");
}

#[test]
fn another_issuer_is_refused_also_with_keys_of_the_right_name() {
    let (trust, _) = good();
    let holder = wallet(1);
    let other = Issuer::new("did:web:hub.example.org:tenants:other", 7);
    let theirs = answer(
        &holder,
        challenge(&mut desk(), 1),
        credential(&other, &grant(&holder)),
    );
    let why = refused(&trust, &theirs, NOW_US);
    assert_eq!(why.code(), "other_issuer", "{why}");
    let forger = Issuer::new(ISSUER, 8);
    let forged = answer(
        &holder,
        challenge(&mut desk(), 1),
        credential(&forger, &grant(&holder)),
    );
    assert_eq!(refused(&trust, &forged, NOW_US).code(), "bad_proof");
    // A key that the issuer has said nothing of.
    let mut by_key = acme();
    let key = SecretKey::from_seed(Algorithm::Ed25519, &[3; 32]).unwrap();
    let did = stencil_identity::did::Did::from_key(key.public_key().clone());
    by_key.keys[0] = (key, format!("{did}#{}", &did.as_str()["did:key:".len()..]));
    let by_key = answer(
        &holder,
        challenge(&mut desk(), 1),
        credential(&by_key, &grant(&holder)),
    );
    assert_eq!(refused(&trust, &by_key, NOW_US).code(), "bad_proof");
}

#[test]
fn a_status_list_that_is_missing_too_old_or_says_so_keeps_a_holder_out() {
    let (issuer, (_, answer)) = (acme(), good());
    let missing = Trust::new(issuer.terms(Policy::default())).unwrap();
    assert_eq!(missing.admits_until_us(), None);
    assert_eq!(refused(&missing, &answer, NOW_US).code(), "status_missing");
    let mut half = Trust::new(issuer.terms(Policy::default())).unwrap();
    half.take_list(&issuer.list(REVOKED, Purpose::Revocation, &[], NOW_US))
        .unwrap();
    assert_eq!(refused(&half, &answer, NOW_US).code(), "status_missing");
    assert_eq!(half.admits_until_us(), None);
    let policy = Policy {
        staleness_s: 3_600,
        ..Policy::default()
    };
    let old = issuer.trust(policy, &[], &[], NOW_US - HOUR_US);
    assert!(admit(&old, &answer, NOW_US).is_ok());
    assert_eq!(old.admits_until_us(), Some(NOW_US));
    let why = refused(&old, &answer, NOW_US + 1);
    assert_eq!(why.code(), "status_too_old", "{why}");
    assert!(why.to_string().contains("more than 3600 s ago"), "{why}");
    let revoked = issuer.trust(Policy::default(), &[BIT], &[], NOW_US);
    assert_eq!(refused(&revoked, &answer, NOW_US).code(), "revoked");
    let suspended = issuer.trust(Policy::default(), &[], &[BIT], NOW_US);
    assert_eq!(refused(&suspended, &answer, NOW_US).code(), "suspended");
    let another = issuer.trust(Policy::default(), &[BIT - 1], &[BIT + 1], NOW_US);
    assert!(admit(&another, &answer, NOW_US).is_ok());
    // One that could not be revoked.
    let holder = wallet(1);
    let times = (NOW_US - HOUR_US, NOW_US + HOUR_US);
    for statuses in [Vec::new(), statuses()[1..].to_vec()] {
        let draft = grant(&holder)
            .draft("urn:uuid:1", ISSUER, times, statuses)
            .unwrap();
        let credential = issuer.sign(draft, NOW_US);
        let answer = fixture::answer(&holder, challenge(&mut desk(), 1), credential);
        assert_eq!(refused(&another, &answer, NOW_US).code(), "no_status");
    }
}

#[test]
fn a_list_of_a_time_that_is_yet_to_come_keeps_a_holder_out_as_its_age_is_not_known() {
    let (issuer, (_, answer)) = (acme(), good());
    let ahead = |made_us| issuer.trust(Policy::default(), &[], &[], made_us);
    let within_us = NOW_US + 120_000_000;
    assert!(admit(&ahead(within_us), &answer, NOW_US).is_ok());
    // After a loss of power the clock is two days back.
    for made_us in [within_us + 1, NOW_US + 48 * HOUR_US] {
        let why = refused(&ahead(made_us), &answer, NOW_US);
        assert_eq!(why.code(), "no_clock", "{why}");
        assert!(
            why.to_string().contains("behind by more than 120 s"),
            "{why}"
        );
    }
    let revoked = issuer.trust(Policy::default(), &[BIT], &[], NOW_US + 48 * HOUR_US);
    assert_eq!(refused(&revoked, &answer, NOW_US).code(), "revoked");
}

#[test]
fn lists_are_taken_of_the_issuer_alone_and_never_back() {
    let issuer = acme();
    let mut trust = issuer.trust(Policy::default(), &[BIT], &[], NOW_US);
    let older = issuer.list(REVOKED, Purpose::Revocation, &[], NOW_US - 1_000_000);
    assert_eq!(
        trust.take_list(&older),
        Err(trust::Error::Older(REVOKED.to_owned()))
    );
    let forger = Issuer::new(ISSUER, 8);
    let forged = forger.list(REVOKED, Purpose::Revocation, &[], NOW_US + 1_000_000);
    assert!(matches!(
        trust.take_list(&forged),
        Err(trust::Error::List { .. })
    ));
    let other = issuer.list(
        "https://hub.example.org/other",
        Purpose::Revocation,
        &[],
        NOW_US,
    );
    assert!(matches!(
        trust.take_list(&other),
        Err(trust::Error::Other(_))
    ));
    let mut bad = issuer.list(REVOKED, Purpose::Revocation, &[], NOW_US + 1_000_000);
    bad["proof"].as_array_mut().unwrap().pop();
    assert!(matches!(
        trust.take_list(&bad),
        Err(trust::Error::List { .. })
    ));
    for none in [json!(null), json!({}), json!({ "id": REVOKED })] {
        assert!(matches!(
            trust.take_list(&none),
            Err(trust::Error::Credential(_))
        ));
    }
    // The one before stands.
    let (_, answer) = good();
    assert_eq!(refused(&trust, &answer, NOW_US).code(), "revoked");
}

#[test]
fn a_right_in_an_older_list_is_gone_by_that_one() {
    let (issuer, (_, answer)) = (acme(), good());
    let mut terms = issuer.terms(Policy::default());
    assert!(
        !json!(terms).to_string().contains("older"),
        "as it was before there were any"
    );
    terms.older = std::mem::take(&mut terms.lists);
    let newest = |n: usize| format!("https://hub.example.org/tenants/acme/status/revocation/{n}");
    terms.lists = (2..2 + trust::MAX_NEWEST).map(newest).collect();
    let terms: trust::Terms = serde_json::from_value(json!(terms)).unwrap();
    let trust = |revoked: &[usize]| {
        let mut trust = Trust::new(terms.clone()).unwrap();
        let revoked = issuer.list(REVOKED, Purpose::Revocation, revoked, NOW_US);
        trust.take_list(&revoked).unwrap();
        let suspended = issuer.list(SUSPENDED, Purpose::Suspension, &[], NOW_US);
        trust.take_list(&suspended).unwrap();
        trust
    };
    assert!(admit(&trust(&[]), &answer, NOW_US).is_ok());
    assert_eq!(refused(&trust(&[BIT]), &answer, NOW_US).code(), "revoked");
    assert_eq!(trust(&[]).admits_until_us(), None, "the newest are missing");
}

#[test]
fn what_is_no_answer_is_told_and_what_is_too_long_is_not_read() {
    let (trust, good) = good();
    let long = format!(
        "{{\"x\":\"{}\"}}",
        "x".repeat(stencil_access::MAX_ANSWER_BYTES)
    );
    assert_eq!(
        Answer::parse(long.as_bytes()).map_err(|why| why.code()),
        Err("too_long")
    );
    for text in ["", "[]", "{}", "nonsense", "{\"challenge\":1}"] {
        assert_eq!(
            Answer::parse(text.as_bytes()).map_err(|why| why.code()),
            Err("malformed"),
            "{text}"
        );
    }
    // A name twice: two readers could see two credentials.
    let text = json!(good).to_string().replacen(
        "\"signature\":",
        "\"signature\":\"0x\",\"signature\":",
        1,
    );
    assert_eq!(
        Answer::parse(text.as_bytes()).map_err(|why| why.code()),
        Err("malformed")
    );
    for (credential, code) in [
        (json!("urn:uuid:1"), "no_access_credential"),
        (json!({}), "bad_credential"),
        (
            credential_of_kind("CalibrationCertificate"),
            "no_access_credential",
        ),
    ] {
        let bad = Answer {
            credential,
            ..good.clone()
        };
        assert_eq!(refused(&trust, &bad, NOW_US).code(), code);
    }
    for (member, value) in [
        ("device", json!("no/device")),
        ("device", json!(7)),
        ("commands", json!([])),
        ("commands", json!(["open", 7])),
        ("commands", json!(["a b"])),
        ("commands", json!(vec!["open"; 9])),
    ] {
        let mut bad = good.clone();
        object(&mut bad.credential)["credentialSubject"]["access"][member] = value;
        assert_eq!(
            refused(&trust, &bad, NOW_US).code(),
            "no_access_credential",
            "{member}"
        );
    }
    let mut nobody = good;
    object(&mut nobody.credential)["credentialSubject"]["id"] = json!("did:web:somebody.example");
    assert_eq!(
        refused(&trust, &nobody, NOW_US).code(),
        "no_access_credential"
    );
}

fn credential_of_kind(kind: &str) -> Value {
    let mut credential = credential(&acme(), &grant(&wallet(1)));
    credential.insert("type".to_owned(), json!(["VerifiableCredential", kind]));
    Value::Object(credential)
}

#[test]
fn the_text_names_the_door_and_what_the_hub_says_is_read_again() {
    let challenge = challenge(&mut desk(), 1);
    let text = challenge.text(GATEWAY);
    for line in [
        "Device: locker-1",
        "Command: open",
        "Gateway: did:web:hub.example.org:tenants:acme:gateways:gw-1",
        "Time: 2026-11-29T00:00:00Z",
        &format!("Nonce: {}", challenge.nonce),
    ] {
        assert!(text.lines().any(|found| found == line), "{text}");
    }
    const { assert!(LIFE_US > 0) };
    let told = Told::Terms(acme().terms(Policy::default()));
    let read: Told = serde_json::from_str(&json!(told).to_string()).unwrap();
    assert_eq!(read, told);
    let mut terms = acme().terms(Policy::default());
    terms.lists = vec![String::new(); trust::MAX_NEWEST];
    terms.older = vec![String::new(); trust::MAX_LISTS - trust::MAX_NEWEST];
    assert!(Trust::new(terms.clone()).is_ok());
    terms.older.push(String::new());
    assert!(matches!(Trust::new(terms), Err(trust::Error::TooMany(33))));
    for (policy, field) in [
        (
            Policy {
                tolerance_s: 3_601,
                ..Policy::default()
            },
            "tolerance_s",
        ),
        (
            Policy {
                staleness_s: 59,
                ..Policy::default()
            },
            "staleness_s",
        ),
        (
            Policy {
                commands: Some(vec!["a b".to_owned()]),
                ..Policy::default()
            },
            "commands",
        ),
    ] {
        assert_eq!(policy.check().map_err(|(field, _)| field), Err(field));
    }
    assert_eq!(Policy::default().check(), Ok(()));
}
