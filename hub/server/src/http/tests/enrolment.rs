//! Taking devices in, one by its code and by the thousand; revoking and renewing them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use stencil_crypto::claim::ClaimCode;
use stencil_crypto::seal::{self, Place, PublicKey, Purpose};
use stencil_crypto::{Psk, rng};
use stencil_protocol::id::DeviceId;
use stencil_store::Role;

use super::{Answer, NOW_US, Served, seed};

/// A fresh key in hexadecimal digits.
pub(super) fn psk_hex() -> String {
    hex::encode(Psk::generate(&mut rng::Os).reveal())
}

/// A birth: identity, code, key; and its row for the hub.
struct Born {
    identity: String,
    code: String,
    psk: Psk,
    row: Value,
}

async fn born(served: &Served, identity: &str) -> Born {
    let key = served.get("/api/v1/enrolment/key").send().await.ok();
    let key = PublicKey::from_hex(key["public_key"].as_str().unwrap()).unwrap();
    let (psk, code) = (
        Psk::generate(&mut rng::Os),
        ClaimCode::generate(&mut rng::Os),
    );
    let place = Place {
        device: identity,
        ..Place::default()
    };
    let sealed = seal::seal_one(&key, Purpose::Birth, place, &psk, &mut rng::Os).unwrap();
    Born {
        identity: identity.to_owned(),
        row: json!({
            "identity": identity,
            "code_sha256": hex::encode(code.digest()),
            "sealed_psk": URL_SAFE_NO_PAD.encode(sealed),
        }),
        code: code.reveal().to_string(),
        psk,
    }
}

async fn operator(served: &Served) -> String {
    let made = served
        .store
        .operators
        .create_operator("factory", NOW_US)
        .await;
    made.unwrap().1.reveal().to_owned()
}

async fn upload(served: &Served, operator: &str, births: &[&Born]) -> Value {
    let rows: Vec<&Value> = births.iter().map(|birth| &birth.row).collect();
    let ask = served
        .ask("POST", "/api/v1/operator/births")
        .bearer(operator);
    ask.json(&json!(rows)).send().await.ok()
}

/// The code of a device that waits to be claimed.
pub(super) async fn waiting(served: &Served) -> String {
    let name = format!("sn-{}", &psk_hex()[..12]);
    let birth = born(served, &name).await;
    let answer = upload(served, &operator(served).await, &[&birth]).await;
    assert_eq!(answer["made"], 1, "{answer}");
    birth.code
}

async fn claim(served: &Served, token: &str, body: Value) -> Answer {
    let ask = served.ask("POST", "/api/v1/devices/claim").bearer(token);
    ask.json(&body).send().await
}

async fn admin(served: &Served, path: &str, body: Option<Value>) -> Answer {
    let ask = served.ask("POST", path).bearer(&served.tokens.admin);
    match body {
        Some(body) => ask.json(&body).send().await,
        None => ask.send().await,
    }
}

async fn enrol_csv(served: &Served, csv: &str) -> Value {
    let ask = served
        .ask("POST", "/api/v1/devices/enrol")
        .bearer(&served.tokens.admin);
    ask.header("content-type", "text/csv")
        .body(csv)
        .send()
        .await
        .ok()
}

#[tokio::test]
async fn a_code_works_once_and_a_used_one_is_like_one_that_there_never_was() {
    let served = Served::start().await;
    let operator = operator(&served).await;
    let births = [born(&served, "sn-1").await, born(&served, "sn-2").await];
    let answer = upload(&served, &operator, &[&births[0], &births[1]]).await;
    assert_eq!(
        (&answer["made"], &answer["failed"]),
        (&json!(2), &json!(0)),
        "{answer}"
    );
    let again = upload(&served, &operator, &[&births[0], &births[1]]).await;
    assert_eq!(again["unchanged"], 2, "{again}");

    let editor = &served.tokens.editor;
    let code = births[0].code.to_lowercase().replace('-', " ");
    let answer = claim(&served, editor, json!({ "code": code })).await;
    assert!(
        answer.problem(400).contains("none of yours has connected"),
        "{answer:?}"
    );
    let body = json!({ "code": code, "gateway": "gw-1", "device": "freezer-7" });
    let answer = claim(&served, editor, body.clone()).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let made = answer.json();
    assert_eq!(
        (&made["device"], &made["identity"]),
        (&json!("freezer-7"), &json!("sn-1"))
    );

    // Once; and what is told of it is told of any other.
    let used = claim(&served, editor, body.clone()).await;
    let unknown = ClaimCode::generate(&mut rng::Os).reveal().to_string();
    let unknown = json!({ "code": unknown, "gateway": "gw-1", "device": "freezer-7" });
    let unknown = claim(&served, editor, unknown).await;
    let rivals = claim(&served, &served.tokens.rival, body).await;
    assert_eq!(used.problem(404), unknown.problem(404));
    assert_eq!(used.problem(404), rivals.problem(404));
    assert_eq!(used.body, unknown.body);

    // The same birth again does not make the code work again.
    let again = upload(&served, &operator, &[&births[0]]).await;
    assert_eq!(again["unchanged"], 1, "{again}");
    let body = json!({ "code": births[0].code, "gateway": "gw-1" });
    claim(&served, editor, body).await.problem(404);
    // Now there is one gateway, and the name is the device's own.
    let answer = claim(&served, editor, json!({ "code": births[1].code })).await;
    assert_eq!(answer.json()["device"], "sn-2", "{answer:?}");

    let births = served
        .get("/api/v1/operator/births")
        .bearer(&operator)
        .send()
        .await
        .ok();
    assert!(
        births["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|it| it["claimed_us"] == NOW_US)
    );
}

#[tokio::test]
async fn a_slip_is_located_and_costs_nothing_and_guessing_gets_slow() {
    let served = Served::start().await;
    let code = waiting(&served).await;
    let editor = &served.tokens.editor;
    let gateway = "gw-1";
    let mut slip: Vec<char> = code.chars().collect();
    slip[7] = if slip[7] == 'A' { 'B' } else { 'A' };
    let slip: String = slip.into_iter().collect();
    for _ in 0..50 {
        let answer = claim(&served, editor, json!({ "code": slip, "gateway": gateway })).await;
        assert!(answer.problem(400).contains("in group 2"), "{answer:?}");
    }
    let guess = || ClaimCode::generate(&mut rng::Os).reveal().to_string();
    for _ in 0..10 {
        let body = json!({ "code": guess(), "gateway": gateway });
        claim(&served, editor, body).await.problem(404);
    }
    // Also with the right code: else the wait would tell.
    let right = json!({ "code": code, "gateway": gateway });
    let answer = claim(&served, editor, right.clone()).await;
    assert!(
        answer.problem(429).contains("tried in vain too often"),
        "{answer:?}"
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
    // From here others of the tenant still have some attempts, and no more than the address.
    for _ in 0..10 {
        let body = json!({ "code": guess(), "gateway": gateway });
        claim(&served, &served.tokens.admin, body)
            .await
            .problem(404);
    }
    let body = json!({ "code": guess(), "gateway": gateway });
    claim(&served, &served.tokens.rival, body)
        .await
        .problem(429);

    served.later(60);
    let answer = claim(&served, editor, right).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[tokio::test]
async fn a_thousand_rows_are_taken_and_each_bad_one_says_where_and_what_would_be_right() {
    let served = Served::start().await;
    let mut csv = "device,gateway,psk\r\n".to_owned();
    let shared = psk_hex();
    for n in 1..=1_000 {
        let row = match n {
            100 => format!("bad name,gw-1,{}", psk_hex()),
            200 => format!("d-{n},,{}", psk_hex()),
            300 => format!("d-{n},gw-1,abc"),
            400 => format!("d-{n},gw-1,"),
            500 => format!("d-{n},gw-1"),
            600 => format!("d-1,gw-1,{}", psk_hex()),
            700 => format!("d-{n},gw-1,{shared}"),
            800 => format!("d-{n},gw/1,{}", psk_hex()),
            900 => format!("d-{n},gw-1,{}", "0".repeat(64)),
            1_000 => format!("claim,gw-1,{}", psk_hex()),
            2 => format!("d-{n},gw-1,{shared}"),
            _ => format!("d-{n},gw-1,{}", psk_hex()),
        };
        csv.push_str(&row);
        csv.push_str("\r\n");
    }
    let answer = enrol_csv(&served, &csv).await;
    assert_eq!(
        (&answer["made"], &answer["failed"]),
        (&json!(990), &json!(10))
    );
    let rows = answer["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 1_000);
    for (row, column, said) in [
        (100, Some(1), "letters, digits"),
        (200, Some(2), "the id of the gateway"),
        (300, Some(3), "64 hexadecimal digits"),
        (400, Some(3), "one of psk, sealed_psk or claim_code"),
        (500, None, "2 columns, the first line names 3"),
        (600, Some(3), "enrolled with another key"),
        (700, Some(3), "it is a key of device d-2"),
        (800, Some(2), "byte 2"),
        (900, Some(3), "blank"),
        (1_000, Some(1), "no device may have this name"),
    ] {
        let found = &rows[row - 1];
        assert_eq!(found["result"], "failed", "{found}");
        assert_eq!(
            (&found["row"], &found["line"]),
            (&json!(row), &json!(row + 1))
        );
        assert_eq!(found["column"], json!(column), "{found}");
        assert!(found["error"].as_str().unwrap().contains(said), "{found}");
        // No key comes back, whatever is wrong with it.
        assert!(!found.to_string().contains(&shared));
    }
    let again = enrol_csv(&served, &csv).await;
    assert_eq!(
        (&again["made"], &again["unchanged"]),
        (&json!(0), &json!(990))
    );
    let gateways = served.read("/api/v1/gateways").await.ok();
    let items = gateways["items"].as_array().unwrap();
    let gateway = items.iter().find(|it| it["gateway"] == "gw-1").unwrap();
    assert_eq!(gateway["devices"], 990, "{gateways}");
    assert_eq!(gateway["waiting"], 990, "{gateways}");
}

#[tokio::test]
async fn no_key_lies_in_the_store_as_it_is_or_in_an_answer() {
    let served = Served::start().await;
    let psk = Psk::generate(&mut rng::Os);
    let text = hex::encode(psk.reveal());
    let answer = enrol_csv(&served, &format!("device,gateway,psk\nd-1,gw-1,{text}\n")).await;
    assert_eq!(answer["made"], 1);
    let birth = born(&served, "sn-1").await;
    upload(&served, &operator(&served).await, &[&birth]).await;
    for path in [
        "/api/v1/registrations",
        "/api/v1/devices/d-1/registration",
        "/api/v1/gateways",
    ] {
        let answer = served.read(path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(!answer.body.contains(&text[..16]));
    }
    for entry in std::fs::read_dir(served.folder.path()).unwrap() {
        let entry = entry.unwrap();
        // The folder of images holds what was uploaded, and nothing of a registration.
        if entry.file_type().unwrap().is_dir() {
            continue;
        }
        let bytes = std::fs::read(entry.path()).unwrap();
        let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        for psk in [&psk, &birth.psk] {
            assert!(!holds(&psk.reveal()[..16]));
            assert!(!holds(&hex::encode(psk.reveal()).as_bytes()[..16]));
        }
        let digest = ClaimCode::parse(&birth.code).unwrap().digest();
        assert!(!holds(&digest[..16]), "only a keyed tag of a code is kept");
    }
    assert_eq!(birth.identity, "sn-1");
}

#[tokio::test]
async fn a_revoked_device_is_out_until_it_is_replaced() {
    let served = Served::start().await;
    let path = |what: &str| format!("/api/v1/devices/d-1/{what}");
    admin(&served, &path("revoke"), None).await.problem(404);
    let csv = format!("device,gateway,psk\nd-1,gw-1,{}\n", psk_hex());
    assert_eq!(enrol_csv(&served, &csv).await["made"], 1);
    let rotated = admin(&served, &path("rotate"), None).await.ok();
    assert_eq!(rotated["generation"], 2);
    // One at a time: what is on its way has to be used first.
    let again = admin(&served, &path("rotate"), None).await;
    assert!(again.problem(409).contains("was not used yet"), "{again:?}");

    let revoked = admin(&served, &path("revoke"), None).await.ok();
    assert_eq!(revoked["state"], "revoked");
    let again = admin(&served, &path("revoke"), None).await.ok();
    assert_eq!(again["revoked_us"], revoked["revoked_us"]);
    let refused = served.store.pipeline.load(1).await.unwrap().refused;
    assert_eq!(refused, [(seed::acme(), DeviceId::parse("d-1").unwrap())]);
    let rows = enrol_csv(&served, &csv).await;
    let error = rows["rows"][0]["error"].as_str().unwrap();
    assert!(
        error.contains("was revoked") && error.contains("replace"),
        "{error}"
    );
    admin(&served, &path("rotate"), None).await.problem(409);

    // The key that it had does not come back.
    let old = csv.lines().nth(1).unwrap().rsplit(',').next().unwrap();
    let answer = admin(&served, &path("replace"), Some(json!({ "psk": old }))).await;
    assert!(
        answer.problem(409).contains("none comes back"),
        "{answer:?}"
    );
    for (body, said) in [
        (json!({}), "has to be there"),
        (json!({ "psk": "ab" }), "64 hexadecimal digits"),
        (
            json!({ "psk": psk_hex(), "claim_code": "x" }),
            "only one of",
        ),
    ] {
        let answer = admin(&served, &path("replace"), Some(body)).await;
        assert!(answer.problem(400).contains(said), "{answer:?}");
    }
    let code = waiting(&served).await;
    let replaced = admin(
        &served,
        &path("replace"),
        Some(json!({ "claim_code": code })),
    )
    .await;
    assert_eq!(replaced.ok()["generation"], 3);
    let found = served.read(&path("registration")).await.ok();
    assert_eq!(found["state"], "enrolled");
    assert!(found["identity"].as_str().unwrap().starts_with("sn-"));
    let whys: Vec<&Value> = found["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| &key["ended_why"])
        .collect();
    assert_eq!(whys, [&Value::Null, &json!("revoked"), &json!("revoked")]);
    assert!(
        served
            .store
            .pipeline
            .load(1)
            .await
            .unwrap()
            .refused
            .is_empty()
    );

    let list = served
        .read("/api/v1/registrations?state=revoked")
        .await
        .ok();
    assert_eq!(list["items"], json!([]));
    served
        .read("/api/v1/registrations?state=x")
        .await
        .problem(400);
}

#[tokio::test]
async fn to_revoke_a_foreign_device_ends_its_token() {
    let served = Served::start().await;
    let path = format!("/api/v1/devices/{}/revoke", seed::freezer());
    admin(&served, &path, None).await.ok();
    let token = served
        .store
        .tenancy
        .verify_token(&served.tokens.device)
        .await;
    assert!(token.unwrap().is_none());
}

#[tokio::test]
async fn what_is_done_stands_in_the_audit_log() {
    let served = Served::start().await;
    served.user(&seed::acme(), "ada", Role::Admin).await;
    let code = waiting(&served).await;
    let body = json!({ "code": code, "gateway": "gw-1", "device": "d-9" });
    assert_eq!(
        claim(&served, &served.tokens.admin, body.clone())
            .await
            .status,
        201
    );
    claim(&served, &served.tokens.admin, body)
        .await
        .problem(404);
    admin(&served, "/api/v1/devices/d-9/revoke", None)
        .await
        .ok();
    let log = served
        .get("/api/v1/audit")
        .bearer(&served.tokens.admin)
        .send()
        .await;
    assert!(!log.body.contains(&code[..9]), "a code is a secret");
    let log = log.ok();
    let seen: Vec<(&str, &str, Option<&str>)> = log["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            let text = |name: &str| it[name].as_str();
            (
                text("action").unwrap(),
                text("outcome").unwrap(),
                text("target"),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("registrations.revoke", "done", Some("d-9")),
            ("registrations.claim", "failed", None),
            ("registrations.claim", "done", Some("d-9")),
        ]
    );
}
