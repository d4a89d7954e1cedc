//! Taking devices in, one by its code and by the thousand; revoking and renewing them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use stencil_crypto::claim::ClaimCode;
use stencil_crypto::seal::{self, Place, PublicKey, Purpose};
use stencil_crypto::{Psk, rng};
use stencil_protocol::id::{CommandId, DeviceId, GatewayId};
use stencil_store::{Marked, Role};

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
        .create_operator("factory", None, NOW_US)
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

/// A served store whose tenant has the gateway `gw-1`.
async fn served() -> Served {
    let served = Served::start().await;
    served.add_gateway(&seed::acme(), "gw-1").await;
    served
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
        answer.problem(400).contains("there is none yet"),
        "{answer:?}"
    );
    let body = json!({ "code": code, "gateway": "gw-1", "device": "freezer-7" });
    let answer = claim(&served, editor, body.clone()).await;
    assert!(answer.problem(400).contains("add it first"), "{answer:?}");
    for gateway in ["gw-1", "zz"] {
        served.add_gateway(&seed::rival(), gateway).await;
    }
    served.add_gateway(&seed::acme(), "gw-1").await;
    // A slip in the gateway's name, also one that is another tenant's gateway, uses no code up.
    for gateway in ["gw-l", "zz"] {
        let body = json!({ "code": code, "gateway": gateway });
        let said = claim(&served, editor, body).await.problem(400);
        assert!(said.contains("There are: gw-1"), "{said}");
        assert_eq!(said.contains("did you mean gw-1?"), gateway == "gw-l");
    }
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
    // There is one gateway, and the name is the device's own.
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
    let served = served().await;
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
    served.add_gateway(&seed::rival(), gateway).await;
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
    let served = served().await;
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
    let served = served().await;
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
    let served = served().await;
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
    let served = served().await;
    let path = format!("/api/v1/devices/{}/revoke", seed::freezer());
    admin(&served, &path, None).await.ok();
    let token = served
        .store
        .tenancy
        .verify_token(&served.tokens.device, NOW_US)
        .await;
    assert!(token.unwrap().is_none());
}

#[tokio::test]
async fn what_is_done_stands_in_the_audit_log() {
    let served = served().await;
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

/// A file of claim codes, and its rows.
fn coded(rows: &[(&str, &str, &str)]) -> String {
    let mut csv = "device,gateway,claim_code\n".to_owned();
    for (device, gateway, code) in rows {
        csv.push_str(&format!("{device},{gateway},{code}\n"));
    }
    csv
}

fn counts(answer: &Value) -> [u64; 3] {
    ["made", "unchanged", "failed"].map(|name| answer[name].as_u64().unwrap())
}

fn error(answer: &Value, row: usize) -> &str {
    answer["rows"][row]["error"].as_str().unwrap_or_default()
}

/// What the audit log says of enrolments, the newest first.
async fn noted(served: &Served) -> Vec<String> {
    let log = served
        .get("/api/v1/audit?action=registrations.enrol")
        .bearer(&served.tokens.admin)
        .send()
        .await
        .ok();
    let details = log["items"].as_array().unwrap().iter();
    details
        .map(|it| it["detail"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test]
async fn an_upload_that_breaks_off_says_what_was_taken_before() {
    let served = served().await;
    let mut csv = "device,gateway,psk\n".to_owned();
    for n in 0..600 {
        csv.push_str(&format!("d-{n},gw-1,{}\n", psk_hex()));
    }
    csv.push_str(&"x".repeat(9_000));
    let ask = served
        .ask("POST", "/api/v1/devices/enrol")
        .bearer(&served.tokens.admin);
    let answer = ask
        .header("content-type", "text/csv")
        .body(csv)
        .send()
        .await;
    let said = answer.problem(400);
    assert!(said.contains("the first 500 rows were looked at"), "{said}");
    let noted = noted(&served).await;
    assert_eq!(
        noted,
        ["it broke off after 500 rows: 500 made, 0 unchanged, 0 failed"]
    );
}

#[tokio::test]
async fn a_file_of_claim_codes_is_taken_whole_and_can_be_sent_again() {
    let served = served().await;
    let mut births = Vec::new();
    for n in 0..60 {
        births.push(born(&served, &format!("sn-{n}")).await);
    }
    let all: Vec<&Born> = births.iter().collect();
    upload(&served, &operator(&served).await, &all).await;
    let mut rows: Vec<(String, &str, &str)> = births
        .iter()
        .map(|birth| (format!("d-{}", birth.identity), "gw-1", birth.code.as_str()))
        .collect();
    // One row is wrong: that costs the others nothing.
    rows[5].1 = "gw-2";
    let file = |rows: &[(String, &str, &str)]| {
        let rows: Vec<_> = rows.iter().map(|(d, g, c)| (d.as_str(), *g, *c)).collect();
        coded(&rows)
    };
    let answer = enrol_csv(&served, &file(&rows)).await;
    assert_eq!(counts(&answer), [59, 0, 1], "{answer}");
    assert!(error(&answer, 5).contains("did you mean gw-1?"), "{answer}");
    assert_eq!(answer["rows"][5]["column"], 2);
    rows[5].1 = "gw-1";
    let answer = enrol_csv(&served, &file(&rows)).await;
    assert_eq!(counts(&answer), [1, 59, 0], "{answer}");
    assert_eq!(
        noted(&served).await,
        [
            "1 made, 59 unchanged, 0 failed",
            "59 made, 0 unchanged, 1 failed"
        ]
    );
    let answer = enrol_csv(&served, &file(&rows)).await;
    assert_eq!(counts(&answer), [0, 60, 0], "{answer}");
    let gateways = served.read("/api/v1/gateways").await.ok();
    let mut listed = gateways["items"].as_array().unwrap().iter();
    assert!(listed.all(|it| it["gateway"] != "gw-2"), "{gateways}");

    // What became of a device since is said as for any other row.
    admin(&served, "/api/v1/devices/d-sn-1/revoke", None)
        .await
        .ok();
    let replacement = json!({ "psk": psk_hex() });
    admin(&served, "/api/v1/devices/d-sn-2/replace", Some(replacement))
        .await
        .ok();
    rows[3].0 = "other".to_owned();
    let answer = enrol_csv(&served, &file(&rows[..4])).await;
    assert_eq!(counts(&answer), [0, 1, 3], "{answer}");
    for (row, said) in [
        (1, "was revoked"),
        (2, "enrolled with another key"),
        (3, "device d-sn-3 was taken in by this code"),
    ] {
        assert!(error(&answer, row).contains(said), "{answer}");
    }
    // Another tenant is told nothing of it.
    served.add_gateway(&seed::rival(), "gw-1").await;
    let ask = served
        .ask("POST", "/api/v1/devices/enrol")
        .bearer(&served.tokens.rival)
        .header("content-type", "text/csv");
    let answer = ask.body(file(&rows[..1])).send().await.ok();
    assert!(error(&answer, 0).contains("no device waits"), "{answer}");
}

#[tokio::test]
async fn guesses_in_a_file_are_slow_and_it_says_so_of_rows_that_were_not_looked_at() {
    let served = served().await;
    let code = waiting(&served).await;
    let guess = || ClaimCode::generate(&mut rng::Os).reveal().to_string();
    let mut rows: Vec<(String, String)> = (0..12).map(|n| (format!("d-{n}"), guess())).collect();
    rows.push(("right".to_owned(), code));
    let file = |rows: &[(String, String)]| {
        let rows = rows.iter().map(|(d, c)| (d.as_str(), "gw-1", c.as_str()));
        coded(&rows.collect::<Vec<_>>())
    };
    let answer = enrol_csv(&served, &file(&rows)).await;
    assert_eq!(counts(&answer), [0, 0, 13], "{answer}");
    assert!(error(&answer, 9).contains("no device waits"), "{answer}");
    for row in 10..13 {
        let said = error(&answer, row);
        assert!(said.contains("was not looked at"), "{answer}");
        assert!(said.contains("in 1 s"), "{answer}");
    }
    // When the wait is over, those that are right go in, however many there are.
    served.later(60);
    let births = [born(&served, "sn-1").await, born(&served, "sn-2").await];
    upload(&served, &operator(&served).await, &[&births[0], &births[1]]).await;
    let mut right = vec![rows.pop().unwrap()];
    right.extend(
        births
            .iter()
            .map(|it| (it.identity.clone(), it.code.clone())),
    );
    let answer = enrol_csv(&served, &file(&right)).await;
    assert_eq!(counts(&answer), [3, 0, 0], "{answer}");
    // But they forgive nothing: the next guess is the eleventh, the one after it waits.
    let guesses = [("a".to_owned(), guess()), ("b".to_owned(), guess())];
    let answer = enrol_csv(&served, &file(&guesses)).await;
    assert!(error(&answer, 0).contains("no device waits"), "{answer}");
    assert!(error(&answer, 1).contains("was not looked at"), "{answer}");
}

#[tokio::test]
async fn a_device_moves_to_another_gateway_and_that_stands_in_the_audit_log() {
    let served = served().await;
    let csv = format!("device,gateway,psk\nd-1,gw-1,{}\n", psk_hex());
    assert_eq!(enrol_csv(&served, &csv).await["made"], 1);
    let path = "/api/v1/devices/d-1/move";
    let to = |gateway: &str| Some(json!({ "gateway": gateway }));
    let answer = admin(&served, path, to("gw-2")).await;
    assert!(
        answer.problem(400).contains("did you mean gw-1?"),
        "{answer:?}"
    );
    served.add_gateway(&seed::acme(), "gw-2").await;
    admin(&served, "/api/v1/devices/d-2/move", to("gw-2"))
        .await
        .problem(404);
    let moved = admin(&served, path, to("gw-2")).await.ok();
    assert_eq!(moved["gateway"], "gw-2", "{moved}");
    let again = admin(&served, path, to("gw-2")).await.ok();
    assert_eq!(again["changed_us"], moved["changed_us"]);
    // The file that named the gateway before says what to do.
    let rows = enrol_csv(&served, &csv).await;
    assert!(
        error(&rows, 0).contains("stencil device move d-1"),
        "{rows}"
    );
    let gateways = served.read("/api/v1/gateways").await.ok();
    let devices = gateways["items"].as_array().unwrap().iter();
    let devices: Vec<_> = devices
        .map(|it| (it["gateway"].as_str().unwrap(), it["devices"].as_u64()))
        .filter(|(gateway, _)| gateway.starts_with("gw-"))
        .collect();
    assert_eq!(devices, [("gw-1", Some(0)), ("gw-2", Some(1))]);
    let log = served
        .get("/api/v1/audit?action=registrations.move&outcome=done")
        .bearer(&served.tokens.admin)
        .send()
        .await
        .ok();
    let details = log["items"].as_array().unwrap().iter();
    let details: Vec<&Value> = details.map(|it| &it["detail"]).collect();
    assert!(details.contains(&&json!("from gw-1 to gw-2")), "{log}");
}

#[tokio::test]
async fn a_revoked_device_takes_no_commands_and_those_under_way_have_failed() {
    let served = served().await;
    let path = format!("/api/v1/devices/{}/commands", seed::freezer());
    let queue = async |key: &str| {
        let ask = served.ask("POST", &path).bearer(&served.tokens.editor);
        let ask = ask.header("idempotency-key", key);
        ask.json(&json!({ "name": "lock" })).send().await
    };
    let mut ids = Vec::new();
    for key in ["one", "two"] {
        let queued = queue(key).await;
        assert_eq!(queued.status, 202, "{queued:?}");
        ids.push(queued.json()["id"].as_str().unwrap().to_owned());
    }
    let sent = CommandId(hex::decode(&ids[1]).unwrap().try_into().unwrap());
    let gateway = GatewayId::parse("gw-1").unwrap();
    let marked = served
        .store
        .commands
        .mark_sent(&seed::acme(), &sent, &gateway, NOW_US)
        .await;
    assert_eq!(marked.unwrap(), Marked::First);
    let revoke = format!("/api/v1/devices/{}/revoke", seed::freezer());
    admin(&served, &revoke, None).await.ok();
    let details = ["the device was revoked", "had done it before is not known"];
    for (id, detail) in ids.iter().zip(details) {
        let found = served.read(&format!("/api/v1/commands/{id}")).await.ok();
        assert_eq!(found["state"], "failed", "{found}");
        assert!(
            found["detail"].as_str().unwrap().contains(detail),
            "{found}"
        );
    }
    let refused = queue("three").await.problem(409);
    assert!(refused.contains("was revoked"), "{refused}");
    // The same call again is answered as before.
    assert_eq!(queue("one").await.status, 202);
    let replacement = json!({ "psk": psk_hex() });
    let replace = format!("/api/v1/devices/{}/replace", seed::freezer());
    admin(&served, &replace, Some(replacement)).await.ok();
    assert_eq!(queue("four").await.status, 202);
}
