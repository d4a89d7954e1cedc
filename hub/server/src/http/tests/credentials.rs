//! Credentials: issued, checked by anybody, revoked; and the documents that verifiers fetch.

use serde_json::{Map, Value, json};
use stencil_identity::credential::{self, Credential, Draft, Policy};
use stencil_identity::did::Did;
use stencil_identity::document::{Document, Known};
use stencil_identity::multikey::Algorithm;
use stencil_identity::presentation::present;
use stencil_identity::secret::SecretKey;
use stencil_identity::status::{Entry, Fetched, List, Purpose};
use stencil_protocol::id::{DeviceId, GatewayId};
use stencil_store::{CredentialStanding, KeptCredential, NewCertificate, Store, StoredCredential};

use super::client::Answer;
use super::{NOW_US, Served, seed};
use crate::http::Limits;
use crate::identity::{By, Identity, Purpose as Purposes, Wanted};
use crate::registry::HubKey;

const ACME: &str = "did:web:localhost%3A8080:tenants:acme";

pub(super) fn wanted(subject: &str) -> Value {
    json!({
        "kind": "CalibrationCertificate", "name": "Calibration", "subject": subject,
        "claims": { "deviation": 0.05 }, "valid_for_s": 86_400,
    })
}

/// A credential of `acme`'s in the store.
pub(super) async fn issued(store: &Store) {
    let stored = StoredCredential {
        credential: "urn:uuid:marked".into(),
        kind: "DeliveryReceipt".into(),
        subject: "did:web:marked.example".into(),
        list: 7,
        bit: 7,
        standing: CredentialStanding::Good,
        cause: None,
        issued_by: None,
        body: r#"{"marked":true}"#.into(),
        issued_us: NOW_US,
        valid_until_us: None,
        changed_us: NOW_US,
    };
    let acme = seed::acme();
    let kept = store.credentials.keep_credential(&acme, &stored);
    assert_eq!(kept.await.unwrap(), KeptCredential::Made);
}

async fn issue(served: &Served, wanted: &Value) -> Value {
    let answer = served.write("POST", "/api/v1/credentials", wanted).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let issued = answer.json();
    let location = format!("/api/v1/credentials/{}", issued["id"].as_str().unwrap());
    assert_eq!(answer.header("location"), Some(location.as_str()));
    assert_eq!(served.read(&location).await.json(), issued);
    issued
}

async fn verify(served: &Served, asked: &Value) -> Value {
    let ask = served.ask("POST", "/api/v1/credentials/verify");
    let answer = ask.json(asked).send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

async fn change(served: &Served, issued: &Value, what: &str) -> Answer {
    let path = format!(
        "/api/v1/credentials/{}/{what}",
        issued["id"].as_str().unwrap()
    );
    served.write("POST", &path, &json!({})).await
}

#[tokio::test]
async fn a_credential_is_issued_checked_by_anybody_and_revoked() {
    let served = Served::start().await;
    let issued = issue(&served, &wanted("did:web:d.example")).await;
    assert_eq!(issued["standing"], "good");
    assert_eq!(issued["valid_until_us"], NOW_US + 86_400_000_000);
    let asked = json!({
        "credential": issued["credential"], "issuers": [ACME], "kind": "CalibrationCertificate",
        "subject": "did:web:d.example",
    });
    let verdict = verify(&served, &asked).await;
    assert_eq!(verdict["verified"], true, "{verdict}");
    let shown = &verdict["credentials"][0];
    assert_eq!(shown["proven_by"], json!(["Ed25519", "ML-DSA-44"]));
    assert_eq!(
        (&shown["post_quantum"], &shown["standing"]),
        (&json!(true), &json!("good"))
    );

    for (what, error) in [
        ("suspend", Some("it is suspended")),
        ("resume", None),
        ("revoke", Some("it is revoked")),
    ] {
        let answer = change(&served, &issued, what).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let verdict = verify(&served, &asked).await;
        assert_eq!(verdict["error"].as_str(), error, "{what}");
        assert_eq!(verdict["verified"], error.is_none());
        assert_eq!(verdict["retry"], false);
    }
    let answer = change(&served, &issued, "resume").await;
    assert_eq!(answer.status, 409, "{answer:?}");
    assert!(answer.body.contains("that is for good"), "{answer:?}");
}

#[tokio::test]
async fn what_an_erased_tenant_has_issued_is_told_so() {
    let served = Served::start().await;
    let issued = issue(&served, &wanted("did:web:d.example")).await;
    let erased = stencil_store::Erased::Tenant("acme".parse().unwrap());
    served.store.keeping.erase(100, &erased).await.unwrap();
    let verdict = verify(&served, &json!({ "credential": issued["credential"] })).await;
    assert_eq!(verdict["verified"], false);
    assert_eq!(verdict["retry"], false, "{verdict}");
    let error = verdict["error"].as_str().unwrap();
    assert!(error.contains("the tenant acme was erased"), "{error}");
}

#[tokio::test]
async fn who_fetches_documents_and_lists_needs_no_hub_to_check() {
    let served = Served::start().await;
    // Nobody learns which tenants there are.
    for tenant in ["acme", "nobody"] {
        let answer = served
            .get(&format!("/tenants/{tenant}/did.json"))
            .send()
            .await;
        assert_eq!(answer.status, 404, "{answer:?}");
    }
    let issued = issue(&served, &wanted("did:web:d.example")).await;
    let read = Credential::parse(issued["credential"].to_string().as_bytes()).unwrap();
    let fetch = async |path: &str| {
        let answer = served.get(path).send().await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer
    };
    let mut known = Known::new();
    for (did, path) in [
        (ACME, "/tenants/acme/did.json"),
        ("did:web:localhost%3A8080", "/.well-known/did.json"),
    ] {
        let did = Did::parse(did).unwrap();
        let url = did.as_web().unwrap().url();
        assert_eq!(url, format!("https://localhost:8080{path}"));
        let answer = fetch(path).await;
        assert_eq!(answer.header("content-type"), Some("application/did+json"));
        let document = Document::parse(&did, answer.body.as_bytes()).unwrap();
        known.insert(&did, Ok(document));
    }
    let standing = async |known: &Known| {
        let mut lists = Fetched::new();
        for entry in read.statuses() {
            let path = entry.list.strip_prefix("https://localhost:8080").unwrap();
            let body = fetch(path).await.body;
            let policy = Policy::default();
            let list = List::check(body.as_bytes(), &entry.list, &policy, NOW_US, known);
            lists.insert(&entry.list, Ok(list.unwrap()));
        }
        read.check(&Policy::default(), NOW_US, known, &lists)
            .map_err(|error| error.to_string())
    };
    let verified = standing(&known).await.unwrap();
    assert_eq!(verified.issuer.as_str(), ACME);
    assert_eq!(change(&served, &issued, "revoke").await.status, 200);
    assert_eq!(standing(&known).await, Err("it is revoked".to_owned()));
    for path in [
        "/tenants/acme/status/revocation/2",
        "/tenants/acme/status/message/1",
    ] {
        assert_eq!(served.get(path).send().await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_credential_is_an_answer() {
    let served = Served::start().await;
    let issued = issue(&served, &wanted("did:web:d.example")).await;
    let credential = &issued["credential"];
    let mut changed = credential.clone();
    changed["credentialSubject"]["deviation"] = json!(0.04);
    let mut one_bad = credential.clone();
    one_bad["proof"][1]["created"] = json!("2020-01-01T00:00:00Z");
    let mut one_only = credential.clone();
    one_only["proof"] = credential["proof"][0].clone();
    let mut elsewhere = credential.clone();
    elsewhere["issuer"] = json!("did:web:other.example");
    for proof in elsewhere["proof"].as_array_mut().unwrap() {
        proof["verificationMethod"] = json!("did:web:other.example#key");
    }
    for (asked, error, retry) in [
        (
            json!({ "credential": changed }),
            "proof 1 of 2 (eddsa-jcs-2022)",
            false,
        ),
        (
            json!({ "credential": one_bad }),
            "proof 2 of 2 (mldsa44-jcs-2024)",
            false,
        ),
        (
            json!({ "credential": one_only }),
            "a proof of mldsa44-jcs-2024 is demanded",
            false,
        ),
        (
            json!({ "credential": elsewhere }),
            "does not fetch documents from elsewhere",
            true,
        ),
        (json!({ "credential": {} }), "its @context", false),
        (json!({ "credential": "a.b.c" }), "is no base64url", false),
        (
            json!({ "credential": credential, "issuers": ["did:web:other.example"] }),
            "is not one that is accepted",
            false,
        ),
        (
            json!({ "presentation": {}, "challenge": "c", "domain": "d" }),
            "its @context",
            false,
        ),
    ] {
        let verdict = verify(&served, &asked).await;
        assert_eq!(verdict["verified"], false);
        assert_eq!(verdict["retry"], retry, "{verdict}");
        let found = verdict["error"].as_str().unwrap();
        assert!(found.contains(error), "{found}");
    }
    for (body, wrong) in [
        (
            json!({}).to_string(),
            "either `credential` or `presentation`",
        ),
        (
            json!({ "presentation": {} }).to_string(),
            "the `challenge` and the `domain`",
        ),
        (
            json!({ "credential": {}, "suites": ["x"] }).to_string(),
            "are known",
        ),
        (
            r#"{"credential": {"a": 1, "a": 2}}"#.to_owned(),
            "occurs twice",
        ),
        (r#"{"credentials": {}}"#.to_owned(), "unknown field"),
    ] {
        let ask = served.ask("POST", "/api/v1/credentials/verify").body(body);
        let answer = ask.header("content-type", "application/json").send().await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.body.contains(wrong), "{answer:?}");
    }
    served.later(2 * 86_400);
    let verdict = verify(&served, &json!({ "credential": credential })).await;
    assert!(
        verdict["error"]
            .as_str()
            .unwrap()
            .contains("it was valid until")
    );
}

#[tokio::test]
async fn what_cannot_be_issued_is_told() {
    let served = Served::start().await;
    let with = |change: Value| {
        let mut wanted = wanted("did:web:d.example");
        for (name, value) in change.as_object().unwrap() {
            wanted[name] = value.clone();
        }
        wanted
    };
    let schema = json!({ "id": "https://hub.example/s", "document": {
        "properties": { "credentialSubject": { "properties": { "deviation": { "maximum": 0.01 } } } },
    } });
    for (change, status, wrong) in [
        (json!({ "kind": "a b" }), 400, "letters and digits"),
        (
            json!({ "kind": "VerifiableCredential" }),
            400,
            "means something else",
        ),
        (
            json!({ "subject": null }),
            400,
            "either `device` or `subject`",
        ),
        (json!({ "subject": "somebody" }), 400, "no DID or other URI"),
        (json!({ "subject": "did:web:127.0.0.1" }), 400, "no address"),
        (
            json!({ "subject": null, "device": "nobody" }),
            404,
            "no device",
        ),
        (json!({ "claims": {} }), 400, "says nothing"),
        (json!({ "claims": { "id": "x" } }), 400, "has `id`"),
        (
            json!({ "claims": { "n": 9_007_199_254_740_993_u64 } }),
            400,
            "write it as a string",
        ),
        (json!({ "valid_for_s": 0 }), 400, "`valid_for_s` is 0, it"),
        (
            json!({ "valid_for_s": 1_u64 << 62 }),
            400,
            "it has to be a whole number of seconds, 1 to 3153600000",
        ),
        (json!({ "valid_for_s": 1e30 }), 400, "1 to 3153600000"),
        (json!({ "valid_for_s": 1.5 }), 400, "1 to 3153600000"),
        (
            json!({ "schema": schema }),
            400,
            "where the maximum is 0.01",
        ),
        (
            json!({ "schema": { "id": "https://s.example", "document": { "pattern": "a" } } }),
            400,
            "this keyword is not understood",
        ),
    ] {
        let answer = served
            .write("POST", "/api/v1/credentials", &with(change))
            .await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.body.contains(wrong), "{wrong}: {answer:?}");
    }
}

#[tokio::test]
async fn a_token_is_right_for_who_asks_for_one() {
    let served = Served::start().await;
    let mut wanted = wanted("did:web:d.example");
    wanted["token"] = json!(true);
    let issued = issue(&served, &wanted).await;
    assert!(issued["credential"].as_str().unwrap().starts_with("ey"));
    // It is by one algorithm, where two are promised.
    for mut asked in [
        json!({}),
        json!({ "suites": ["eddsa-jcs-2022"] }),
        json!({ "suites": [] }),
    ] {
        asked["credential"] = issued["credential"].clone();
        let verdict = verify(&served, &asked).await;
        assert_eq!(verdict["verified"], false);
        let error = verdict["error"].as_str().unwrap();
        assert!(error.contains("came in a token"), "{verdict}");
        asked["tokens"] = json!(true);
        let verdict = verify(&served, &asked).await;
        let by = &verdict["credentials"][0]["proven_by"];
        assert_eq!(*by, json!(["ML-DSA-65"]), "{verdict}");
    }
}

#[tokio::test]
async fn questions_are_few_at_a_time_and_no_other_pages() {
    let mut kept = None;
    let served = Served::start_changed(Limits::default(), |state| {
        kept = Some(state.identity().kept().clone());
        state
    })
    .await;
    let asked = json!({ "credential": {} });
    let ask = || served.ask("POST", "/api/v1/credentials/verify");
    let plain = ask().body(asked.to_string());
    plain
        .header("content-type", "text/plain")
        .send()
        .await
        .problem(415);
    for none in [json!(null), json!([]), json!(["a"]), json!(7)] {
        let why = ask().json(&none).send().await.problem(400);
        assert_eq!(why, "the body: it has to be a JSON object");
    }
    let rooms = kept.unwrap().all_room();
    assert_eq!(rooms.len(), 8);
    let why = ask().json(&asked).send().await.problem(503);
    assert!(why.contains("too many credentials"), "{why}");
    drop(rooms);
    verify(&served, &asked).await;
}

#[tokio::test]
async fn what_two_readers_may_understand_differently_is_not_issued() {
    let served = Served::start().await;
    for (claims, wrong) in [
        (r#"{"n": 18446744073709551616}"#, "write it as a string"),
        (r#"{"n": -9223372036854775809}"#, "write it as a string"),
        (r#"{"a": 1, "a": 2}"#, "occurs twice"),
    ] {
        let body = format!(r#"{{"kind": "Receipt", "subject": "urn:x:1", "claims": {claims}}}"#);
        let ask = served.ask("POST", "/api/v1/credentials").body(body);
        let ask = ask.header("content-type", "application/json");
        let why = ask.bearer(&served.tokens.editor).send().await.problem(400);
        assert!(why.contains(wrong), "{why}");
    }
    for (subject, status) in [
        (":x", 400),
        ("1:x", 400),
        ("a_b:x", 400),
        ("git+ssh://hub.example/x", 201),
        ("web+x:y", 201),
    ] {
        let answer = served
            .write("POST", "/api/v1/credentials", &wanted(subject))
            .await;
        assert_eq!(answer.status, status, "{subject}: {answer:?}");
    }
}

#[tokio::test]
async fn lists_are_short_and_say_which_step_has_issued() {
    let served = Served::start().await;
    let by_api = issue(&served, &wanted("did:web:d.example")).await;
    assert_eq!(by_api["cause"], Value::Null);
    let who = by_api["by"].as_str().unwrap();
    assert!(!who.is_empty() && who != "workflow", "{who}");
    let identity = Identity::new(&served.store, &HubKey::fresh(), "https://hub.example");
    let by_step = Wanted {
        kind: "Receipt".to_owned(),
        name: None,
        device: None,
        subject: Some("urn:x:1".to_owned()),
        claims: json!({ "n": 1 }).as_object().cloned().unwrap(),
        valid_for_s: None,
        schema: None,
        token: false,
    };
    // Of another tenant, whose seed that key has sealed.
    let rival = seed::rival();
    let issued = identity
        .issue(&rival, &by_step, By::Step("step-7"), NOW_US + 1)
        .await;
    let id = issued.unwrap().credential;
    let get = |path: String| served.get(&path).bearer(&served.tokens.rival).send();
    let one = get(format!("/api/v1/credentials/{id}")).await.ok();
    assert_eq!(
        (&one["cause"], &one["by"]),
        (&json!("step-7"), &json!("workflow"))
    );
    assert!(one["credential"].is_object());
    let list = get("/api/v1/credentials".to_owned()).await.ok();
    let first = &list["items"][0];
    assert_eq!(
        (&first["id"], &first["cause"]),
        (&json!(id), &json!("step-7"))
    );
    assert!(first.get("credential").is_none(), "{first}");
}

/// An Ed25519 key's credential about itself, with this status list.
fn own(list: &str) -> (SecretKey, Did, Map<String, Value>) {
    let key = SecretKey::from_seed(Algorithm::Ed25519, &[42; 32]).unwrap();
    let did = Did::from_key(key.public_key().clone());
    let claims = json!({ "id": did.as_str(), "n": 1 });
    let draft = Draft {
        statuses: vec![Entry {
            purpose: Purpose::Revocation,
            list: list.to_owned(),
            index: 7,
        }],
        ..Draft::new(did.as_str(), NOW_US, claims.as_object().cloned().unwrap())
    };
    let draft = draft.build().unwrap();
    let issued = credential::issue(draft, &[(&key, &did.url("key"))], NOW_US).unwrap();
    (key, did, issued)
}

#[tokio::test]
async fn a_hub_without_a_name_checks_what_others_have_issued() {
    let served = Served::start_changed(Limits::default(), |state| {
        state.reached_at("http://192.0.2.7:8080")
    })
    .await;
    let (.., issued) = own("https://elsewhere.example/status/1");
    let mut asked = json!({ "credential": issued, "suites": ["eddsa-jcs-2022"] });
    let verdict = verify(&served, &asked).await;
    assert_eq!(
        (&verdict["verified"], &verdict["retry"]),
        (&json!(false), &json!(true))
    );
    asked["accept_unknown_status"] = json!(true);
    let verdict = verify(&served, &asked).await;
    assert_eq!(
        verdict["credentials"][0]["standing"], "unknown",
        "{verdict}"
    );
    asked["credential"]["issuer"] = json!("did:web:other.example");
    asked["credential"]["proof"]["verificationMethod"] = json!("did:web:other.example#key");
    let verdict = verify(&served, &asked).await;
    assert_eq!(verdict["retry"], true, "{verdict}");
}

#[tokio::test]
async fn a_holder_signs_by_what_is_demanded() {
    let served = Served::start().await;
    let (key, did, issued) = own("https://elsewhere.example/status/1");
    let name = did.url("key");
    let shown = present(
        vec![Value::Object(issued)],
        &did,
        &[(&key, &name)],
        NOW_US,
        "c-1",
        "door.example",
    );
    let mut asked = json!({
        "presentation": shown.unwrap(), "challenge": "c-1", "domain": "door.example",
        "suites": ["eddsa-jcs-2022"], "accept_unknown_status": true,
    });
    let verdict = verify(&served, &asked).await;
    assert_eq!(verdict["verified"], true, "{verdict}");
    assert_eq!(verdict["holder_proven_by"], json!(["Ed25519"]));
    asked["holder_suites"] = json!(["mldsa44-jcs-2024"]);
    let verdict = verify(&served, &asked).await;
    let error = verdict["error"].as_str().unwrap();
    assert!(
        error.contains("a proof of mldsa44-jcs-2024 is demanded"),
        "{verdict}"
    );
    asked["holder_suites"] = json!(["x"]);
    let ask = served
        .ask("POST", "/api/v1/credentials/verify")
        .json(&asked);
    assert!(ask.send().await.problem(400).contains("`holder_suites`"));
}

#[tokio::test]
async fn strangers_have_no_private_key_opened() {
    let served = Served::start().await;
    let identity = Identity::new(&served.store, &HubKey::fresh(), "https://hub.example");
    let acme = seed::acme();
    let wanted: Wanted = serde_json::from_value(wanted("did:web:d.example")).unwrap();
    let issued = identity.issue(&acme, &wanted, By::Caller("ann"), NOW_US);
    let issued = issued.await.unwrap();
    let opened = || identity.kept().opened();
    let before = opened();
    let list = async |now_us| {
        let list = identity.published_list(&acme, Purposes::Revocation, issued.list, now_us);
        list.await.unwrap().unwrap()
    };
    let first = list(NOW_US).await;
    for _ in 0..20 {
        identity.tenant_document(&acme).await.unwrap().unwrap();
        identity.hub_document().unwrap();
        assert_eq!(list(NOW_US + 59_999_999).await, first);
    }
    assert_eq!(
        opened(),
        before + 3,
        "the list, the document, the hub's document"
    );
    // What changed is told at once, and a list is not given out for longer than that.
    let revoked = CredentialStanding::Revoked;
    let set = identity.set_standing(&acme, &issued.credential, revoked, NOW_US);
    set.await.unwrap();
    let second = list(NOW_US + 1).await;
    let bits = |list: &Map<String, Value>| list["credentialSubject"]["encodedList"].clone();
    assert_ne!(bits(&first), bits(&second));
    let third = list(NOW_US + 60_000_001).await;
    assert_eq!(bits(&third), bits(&second));
    assert_ne!(third["validUntil"], second["validUntil"]);
    assert_eq!(opened(), before + 5);
}

#[tokio::test]
async fn documents_are_found_by_their_did() {
    let served = Served::start().await;
    let of = async |did: &str| {
        let did = did.replace('%', "%25");
        served.read(&format!("/api/v1/dids/{did}")).await
    };
    let key = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp";
    assert_eq!(of(key).await.json()["id"], key);
    let device = format!("{ACME}:devices:freezer-marked");
    assert_eq!(of(&device).await.json()["controller"], ACME);
    assert_eq!(of(ACME).await.status, 404);
    let issued = issue(
        &served,
        &json!({ "kind": "Receipt", "device": "freezer-marked", "claims": { "n": 1 } }),
    )
    .await;
    assert_eq!(issued["subject"], device.as_str());
    assert_eq!(of(ACME).await.json()["id"], ACME);
    for (did, status) in [
        ("did:ethr:0x1", 400),
        ("did:web:other.example", 404),
        ("did:web:localhost%3A8080:tenants:rival:devices:d-1", 404),
        ("did:web:localhost%3A8080:tenants:acme:devices:nobody", 404),
        ("did:web:localhost%3A8080:tenants:acme:gateways:nobody", 404),
    ] {
        assert_eq!(of(did).await.status, status, "{did}");
    }
    let certificate = NewCertificate {
        fingerprint: [7; 32],
        serial: "07".to_owned(),
        key: [8; 32],
        not_before_us: NOW_US,
        not_after_us: NOW_US + 1,
    };
    let id = GatewayId::parse("gateway-marked").unwrap();
    let acme = seed::acme();
    let added = served
        .store
        .certificates
        .add_certified(&acme, &id, &certificate, NOW_US);
    added.await.unwrap();
    let gateway = format!("{ACME}:gateways:gateway-marked");
    let answer = of(&gateway).await;
    let document = answer.json();
    assert_eq!(document["id"], gateway.as_str(), "{answer:?}");
    let known = document["alsoKnownAs"][0].as_str().unwrap();
    assert!(known.starts_with("ni:///sha-256;"), "{known}");
}

#[tokio::test]
async fn a_cause_issues_once_and_keys_are_a_tenants_own() {
    let served = Served::start().await;
    let key = HubKey::fresh();
    let identity = Identity::new(&served.store, &key, "https://hub.example");
    let wanted = Wanted {
        kind: "DeliveryReceipt".to_owned(),
        name: None,
        device: Some(DeviceId::parse("freezer-marked").unwrap()),
        subject: None,
        claims: json!({ "delivered": true }).as_object().cloned().unwrap(),
        valid_for_s: None,
        schema: None,
        token: false,
    };
    let acme = seed::acme();
    let issue = async |identity: &Identity, cause: &'static str| {
        let by = By::Step(cause);
        identity.issue(&acme, &wanted, by, NOW_US).await
    };
    let first = issue(&identity, "cause").await.unwrap();
    assert_eq!(issue(&identity, "cause").await.unwrap(), first);
    let other = issue(&identity, "another").await.unwrap();
    assert_ne!(other.credential, first.credential);
    let one = identity.tenant_document(&acme).await.unwrap().unwrap();
    identity
        .issue(
            &seed::rival(),
            &Wanted {
                device: None,
                subject: Some("urn:x:1".to_owned()),
                ..wanted.clone()
            },
            By::Caller("bob"),
            NOW_US,
        )
        .await
        .unwrap();
    let two = identity
        .tenant_document(&seed::rival())
        .await
        .unwrap()
        .unwrap();
    assert_ne!(
        one["verificationMethod"][0]["publicKeyMultibase"],
        two["verificationMethod"][0]["publicKeyMultibase"]
    );
    // The seed opens by the hub's own key alone, and for its tenant alone.
    let stranger = Identity::new(&served.store, &HubKey::fresh(), "https://hub.example");
    let error = issue(&stranger, "stranger").await.unwrap_err().to_string();
    assert!(error.contains("does not open by this hub's key"), "{error}");
    let sealed = served
        .store
        .credentials
        .issuer(&acme)
        .await
        .unwrap()
        .unwrap();
    let keys = key.get().unwrap();
    assert!(keys.unlock_issuer(&acme, &sealed).is_ok());
    assert!(keys.unlock_issuer(&seed::rival(), &sealed).is_err());
    // Without a name there is no DID.
    let nameless = Identity::new(&served.store, &key, "http://192.0.2.7:8080");
    let error = issue(&nameless, "nameless").await.unwrap_err().to_string();
    assert!(error.contains("set http.public_url"), "{error}");
}
