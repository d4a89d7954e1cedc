//! Holders of rights at a gateway whose hub is away, and the receipts of whom it has let in.

#[path = "../../../core/access/tests/fixture/mod.rs"]
mod fixture;

use std::{
    collections::BTreeSet, net::SocketAddr, os::unix::fs::PermissionsExt as _, time::SystemTime,
};

use alloy_signer_local::PrivateKeySigner;
use fixture::{GATEWAY as GATEWAY_DID, REVOKED, SUSPENDED, acme, grant, statuses, wallet};
use serde_json::{Map, Value, json};
use stencil_access::{
    receipt::{Batch, Head, NOTHING, Receipt, follow, hash},
    trust::{Policy, Told},
};
use stencil_crypto::authority::Description;
use stencil_gateway::Options;
use stencil_identity::status::Purpose;
use stencil_protocol::{
    command::State,
    id::{CommandId, DeviceId},
    topic::Topic,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    device::{Device, Told as Down},
    hub::{Hub, Kept},
    kill::Process,
    place::{GATEWAY, Gateway, Place, get, metric, until},
    soon,
};

const TOPIC: &str = "stencil/v1/g/gw-1/access";
const HOUR_US: i64 = 3_600_000_000;

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap().as_micros()).unwrap()
}

fn options(place: &Place, hub: &Hub) -> Options {
    let mut options = place.options(hub);
    options.access.listen = Some("127.0.0.1:0".parse().unwrap());
    options
}

/// The hub says by whom and what to go; returns when the gateway does.
async fn tell(hub: &Hub, access: SocketAddr, revoked: &[usize]) {
    let (issuer, now_us) = (acme(), now_us());
    let mut told = vec![Told::Terms(issuer.terms(Policy::default()))];
    for (url, purpose, bits) in [
        (REVOKED, Purpose::Revocation, revoked),
        (SUSPENDED, Purpose::Suspension, &[]),
    ] {
        told.push(Told::List(issuer.list(url, purpose, bits, now_us)));
    }
    soon(async {
        // Until the gateway has subscribed nobody hears it.
        while !hub.send(TOPIC, serde_json::to_vec(&told[0]).unwrap()) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    for told in &told[1..] {
        assert!(hub.send(TOPIC, serde_json::to_vec(told).unwrap()));
    }
    let until_us = now_us + 24 * HOUR_US;
    soon(async {
        loop {
            let (_, body) = get(access, "/challenge?device=locker-1&command=open").await;
            let given: Value = serde_json::from_str(&body).unwrap();
            if given["admits_until_us"] == until_us {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    })
    .await;
}

/// A credential for the locker, of the account that signs with `n`.
fn credential(n: u8) -> Map<String, Value> {
    let (issuer, now_us) = (acme(), now_us());
    let times = (now_us - HOUR_US, now_us + HOUR_US);
    let draft = grant(&wallet(n)).draft("urn:uuid:1", &issuer.did, times, statuses());
    issuer.sign(draft.unwrap(), now_us)
}

async fn challenge(access: SocketAddr) -> Value {
    let (status, body) = get(access, "/challenge?device=locker-1&command=open").await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// Posts an answer; the status is 0 if the gateway ended meanwhile.
async fn post(access: SocketAddr, body: &[u8]) -> (u16, Value) {
    let Ok(mut stream) = TcpStream::connect(access).await else {
        return (0, Value::Null);
    };
    let head = format!(
        "POST /open HTTP/1.1\r\nHost: gateway\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut answer = Vec::new();
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(body).await;
    let _ = soon(stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8(answer).unwrap();
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        return (0, Value::Null);
    };
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

fn answered(given: &Value, signer: &PrivateKeySigner, credential: Map<String, Value>) -> Vec<u8> {
    let text = given["text"].as_str().unwrap();
    let answer = json!({
        "challenge": given["challenge"],
        "signature": fixture::signature(signer, text),
        "credential": credential,
    });
    answer.to_string().into_bytes()
}

async fn present(
    access: SocketAddr,
    signer: &PrivateKeySigner,
    credential: Map<String, Value>,
) -> (u16, Value) {
    let given = challenge(access).await;
    post(access, &answered(&given, signer, credential)).await
}

/// The device does what it is told next.
async fn obeys(device: &mut Device) -> CommandId {
    loop {
        if let Some(Down::Command(id, name)) = device.told().await {
            assert_eq!(name, "open");
            device.answer(id, State::Done).await;
            return id;
        }
    }
}

/// All receipts that the hub was brought, each once, checked as a hub does.
fn receipts(place: &Place, kept: &[Kept]) -> Vec<(Receipt, String)> {
    let mut all: Vec<(Receipt, String)> = Vec::new();
    let pem = std::fs::read_to_string(place.folder().join(format!("{GATEWAY}.pem"))).unwrap();
    for kept in kept
        .iter()
        .filter(|it| matches!(it.topic, Topic::GatewayReceipts(_)))
    {
        let batch = Batch::parse(&kept.payload).unwrap();
        let der = batch.certificate().unwrap();
        let own = stencil_crypto::tls::Identity::load(
            place.folder().join(format!("{GATEWAY}.pem")),
            place.folder().join(format!("{GATEWAY}.key")),
        );
        assert_eq!(own.unwrap().chain()[0].to_vec(), der, "{pem}");
        let read = follow(&batch.receipts, None).unwrap();
        let key = Description::public_key(&der).unwrap();
        batch.check_signature(read.last().unwrap(), &key).unwrap();
        for (receipt, text) in read.into_iter().zip(batch.receipts) {
            match all.iter().find(|(known, _)| known.number == receipt.number) {
                Some((_, known)) => assert_eq!(*known, text, "brought again as it was"),
                None => all.push((receipt, text)),
            }
        }
    }
    let texts: Vec<String> = all.iter().map(|(_, text)| text.clone()).collect();
    follow(&texts, Some((0, NOTHING))).unwrap();
    all
}

fn head(receipts: &[(Receipt, String)]) -> Head {
    let (last, text) = receipts.last().unwrap();
    Head {
        chain: last.chain.clone(),
        number: last.number,
        hash: alloy_primitives::hex::encode(hash(text)),
    }
}

/// What became of the commands of the last receipts that the hub was brought.
fn outcomes(kept: &[Kept]) -> Vec<String> {
    let mut kept = kept.iter().rev();
    let last = kept.find(|it| matches!(it.topic, Topic::GatewayReceipts(_)));
    Batch::parse(&last.unwrap().payload).unwrap().outcomes
}

fn is_answer(kept: &Kept) -> bool {
    matches!(kept.topic, Topic::Status(_))
}

fn are_brought(kept: &[Kept], number: u64) -> bool {
    kept.iter().any(|it| {
        matches!(it.topic, Topic::GatewayReceipts(_))
            && Batch::parse(&it.payload).is_ok_and(|batch| {
                let last = batch.receipts.last().unwrap();
                Receipt::parse(last).unwrap().number >= number
            })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_opens_while_the_hub_is_away_and_the_hub_hears_of_it_later() {
    let place = Place::new();
    let mut hub = Hub::started(&place.authority).await;
    let (id, psk) = place.device("locker-1");
    let options = options(&place, &hub);
    let gateway = Gateway::start(options.clone()).await;
    let access = gateway.running.addresses().access.unwrap();
    // Before the hub has said anything nobody is let in.
    let (status, body) = get(access, "/challenge?device=locker-1&command=open").await;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("not_set_up"), "{body}");
    tell(&hub, access, &[]).await;
    let mut device = Device::link(gateway.link, &id, &psk).await;
    device.deliver(1, 1, 1).await;
    hub.crash().await;
    gateway
        .until("uplink_connected", |connected| connected == 0)
        .await;

    let given = challenge(access).await;
    assert!(given["qr"].as_str().unwrap().starts_with("<svg"));
    assert!(given["text"].as_str().unwrap().contains(GATEWAY_DID));
    let answer = answered(&given, &wallet(1), credential(1));
    let (posted, command) = tokio::join!(post(access, &answer), obeys(&mut device));
    assert_eq!(
        (posted.0, &posted.1["state"]),
        (200, &json!("done")),
        "{posted:?}"
    );
    assert_eq!(posted.1["command"], command.to_string());
    let (status, body) = post(access, &answer).await;
    assert_eq!((status, &body["code"]), (409, &json!("nonce_used")));
    // What is no answer of a holder's.
    for index in [0, 1] {
        let mut bad = credential(1);
        bad["proof"][index]["proofValue"] = credential(2)["proof"][index]["proofValue"].clone();
        let (status, body) = present(access, &wallet(1), bad).await;
        assert_eq!((status, &body["code"]), (403, &json!("bad_proof")));
    }
    let (status, body) = present(access, &wallet(2), credential(1)).await;
    assert_eq!((status, &body["code"]), (403, &json!("not_the_holder")));
    let (status, body) = post(access, &vec![b'x'; 100_000]).await;
    assert!(
        matches!(
            (status, body["code"].as_str()),
            (413, Some("too_long")) | (0, _)
        ),
        "{body}"
    );
    let (status, body) = post(access, b"nonsense").await;
    assert_eq!((status, &body["code"]), (400, &json!("malformed")));
    let (status, body) = post(access, b"[1]").await;
    let said = body["detail"].as_str().unwrap();
    assert!(
        status == 400 && said.contains("an object with `challenge`") && !said.contains("struct"),
        "{said}"
    );
    for path in ["/challenge?device=no/id&command=open", "/challenge"] {
        let (status, body) = get(access, path).await;
        assert!(status == 400 && body.contains("the question: "), "{body}");
    }
    for name in [
        "",
        "un%20lock",
        "..%2F..%2Fx",
        "%3Cscript%3E",
        "%C3%BCnlock",
    ] {
        let (status, body) = get(
            access,
            &format!("/challenge?device=locker-1&command={name}"),
        )
        .await;
        let is_told = body.contains("malformed") && body.contains("1 to 32 letters, digits");
        assert!(status == 400 && is_told, "{name}: {status} {body}");
    }
    // What it keeps is nobody else's.
    let data = place.folder().join("data");
    for (path, mode) in [
        ("", 0o700),
        ("access", 0o700),
        ("access/trust.json", 0o600),
        ("access/receipts", 0o600),
        ("access/receipts.outcomes", 0o600),
    ] {
        let found = std::fs::metadata(data.join(path)).unwrap().permissions();
        assert_eq!(found.mode() & 0o777, mode, "{path}");
    }
    let (status, page) = get(access, "/").await;
    assert_eq!(status, 200);
    assert!(
        !page.contains("http"),
        "nothing comes from elsewhere: {page}"
    );
    assert_eq!(metric(gateway.http, "access_receipts_waiting").await, 1);
    assert_eq!(metric(gateway.http, "access_admitted_total").await, 1);

    // After a restart it goes by what the hub had said, and a challenge of before is none.
    let before = answered(&challenge(access).await, &wallet(1), credential(1));
    gateway.stop().await;
    let gateway = Gateway::start(options).await;
    let access = gateway.running.addresses().access.unwrap();
    let (status, body) = post(access, &before).await;
    assert_eq!((status, &body["code"]), (403, &json!("challenge_unknown")));
    let (status, body) = present(access, &wallet(1), credential(1)).await;
    assert_eq!((status, &body["code"]), (503, &json!("device_away")));
    let mut device = Device::link(gateway.link, &id, &psk).await;
    // What it has done is not told again, though it may still be begun.
    let holder = wallet(1);
    let (posted, second) =
        tokio::join!(present(access, &holder, credential(1)), obeys(&mut device));
    assert_eq!((posted.0, &posted.1["receipt"]), (200, &json!(2)));
    assert_eq!(posted.1["command"], second.to_string());

    hub.start().await;
    let kept = hub.until(|kept| are_brought(kept, 2)).await;
    let brought = receipts(&place, &kept);
    assert_eq!(brought.len(), 2);
    // What its device said goes with the receipt, and not as an answer to a command that the hub never gave.
    assert_eq!(outcomes(&kept), ["done", "done"]);
    assert!(!kept.iter().any(is_answer), "{kept:?}");
    assert_eq!(brought[0].0.command, command.to_string());
    assert_eq!(brought[0].0.holder, wallet(1).address().to_checksum(None));
    let held = Told::Held(head(&brought));
    assert!(hub.send(TOPIC, serde_json::to_vec(&held).unwrap()));
    gateway
        .until("access_receipts_waiting", |waiting| waiting == 0)
        .await;
    // Only what comes later than that does, when the hub knows the command by the receipt.
    device.answer(second, State::Done).await;
    hub.until(|kept| kept.iter().any(is_answer)).await;

    // What the hub says is gone by at once.
    tell(&hub, access, &[fixture::BIT]).await;
    let (status, body) = present(access, &wallet(1), credential(1)).await;
    assert_eq!((status, &body["code"]), (403, &json!("revoked")));
    assert!(hub.send(TOPIC, serde_json::to_vec(&Told::Nothing).unwrap()));
    soon(async {
        while get(access, "/challenge?device=locker-1&command=open")
            .await
            .0
            == 200
        {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    gateway.stop().await;
}

/// One life of a gateway that is killed somewhere; what its device was told to do is noted.
async fn life(
    options: &Options,
    hub: &mut Hub,
    crash: &str,
    (id, psk): (&DeviceId, &stencil_crypto::Psk),
    done: &mut BTreeSet<CommandId>,
) {
    // What was noted and not done is told again at the start, which is a point to end at, too.
    let Some(mut process) = Process::try_start(options, crash).await else {
        return;
    };
    let access = process.access.unwrap();
    let mut device = Device::answered(process.link, id, psk).await;
    if !device.greets().await {
        return;
    }
    let opening = async {
        // The gateway may end at any moment of it.
        for _ in 0..2 {
            let Ok((200, body)) = try_get(access).await else {
                return;
            };
            let given: Value = serde_json::from_str(&body).unwrap();
            let answer = answered(&given, &wallet(1), credential(1));
            post(access, &answer).await;
        }
    };
    let obeying = async {
        while let Some(told) = device.told().await {
            if let Down::Command(command, _) = told {
                done.insert(command);
                device.answer(command, State::Done).await;
            }
        }
    };
    let brought = async {
        let mut told = 0;
        loop {
            let kept = hub.until(|kept| receipts_in(kept) > told).await;
            told = receipts_in(&kept);
            let last = kept
                .iter()
                .rfind(|it| matches!(it.topic, Topic::GatewayReceipts(_)));
            let batch = Batch::parse(&last.unwrap().payload).unwrap();
            let text = batch.receipts.last().unwrap();
            let last = Receipt::parse(text).unwrap();
            let head = head(&[(last, text.clone())]);
            hub.send(TOPIC, serde_json::to_vec(&Told::Held(head)).unwrap());
        }
    };
    soon(async {
        tokio::select! {
            () = async { opening.await; until_gone(&mut process).await } => {}
            () = async { obeying.await; std::future::pending::<()>().await } => {}
            () = brought => {}
        }
    })
    .await;
}

fn receipts_in(kept: &[Kept]) -> usize {
    kept.iter()
        .filter(|it| matches!(it.topic, Topic::GatewayReceipts(_)))
        .count()
}

async fn try_get(access: SocketAddr) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(access).await?;
    let path = "/challenge?device=locker-1&command=open";
    let request = format!("GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await?;
    let gone = || std::io::Error::other("it ended");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(gone)?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok((status, body.to_owned()))
}

/// Returns when the process has ended by itself.
async fn until_gone(process: &mut Process) {
    while process.child.try_wait().unwrap().is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_point_loses_no_receipt_and_opens_nothing_without_one() {
    let place = Place::new();
    let mut hub = Hub::started(&place.authority).await;
    let (id, psk) = place.device("locker-1");
    let options = options(&place, &hub);
    {
        // What the hub says is kept over all of this.
        let gateway = Gateway::start(options.clone()).await;
        tell(&hub, gateway.running.addresses().access.unwrap(), &[]).await;
        gateway.stop().await;
    }
    let mut done = BTreeSet::new();
    for point in [
        "access.before_receipt",
        "access.half_receipt",
        "access.after_receipt",
        "access.before_give",
        "access.before_sent",
        "access.before_held",
        "access.before_rewritten",
    ] {
        let crash = format!("{point}:1");
        Box::pin(life(&options, &mut hub, &crash, (&id, &psk), &mut done)).await;
    }
    // The last one lives, and brings all.
    let process = Process::start(&options, "").await;
    let mut device = Device::link(process.link, &id, &psk).await;
    let posted = async {
        let posted = present(process.access.unwrap(), &wallet(1), credential(1)).await;
        assert_eq!(posted.0, 200, "{posted:?}");
        posted.1["receipt"].as_u64().unwrap()
    };
    let obeying = async {
        while let Some(told) = device.told().await {
            if let Down::Command(command, _) = told {
                done.insert(command);
                device.answer(command, State::Done).await;
            }
        }
    };
    let last = tokio::select! {
        last = posted => last,
        () = obeying => panic!("the gateway has ended"),
    };
    let kept = soon(async {
        loop {
            let kept = hub.until(|kept| receipts_in(kept) > 0).await;
            let all = receipts(&place, &kept);
            let held = Told::Held(head(&all));
            hub.send(TOPIC, serde_json::to_vec(&held).unwrap());
            if all.last().unwrap().0.number >= last {
                return all;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    until(process.http, "access_receipts_waiting", |waiting| {
        waiting == 0
    })
    .await;
    // Each number once and in order, and no device did what no receipt says.
    let numbers: Vec<u64> = kept.iter().map(|(receipt, _)| receipt.number).collect();
    assert_eq!(numbers, (1..=last).collect::<Vec<u64>>());
    let noted: BTreeSet<String> = kept
        .iter()
        .map(|(receipt, _)| receipt.command.clone())
        .collect();
    assert_eq!(noted.len(), kept.len(), "each has a command of its own");
    for command in &done {
        assert!(
            noted.contains(&command.to_string()),
            "{command} has no receipt"
        );
    }
    // What was noted before the first kill behind it, and what the last one was asked for.
    assert!(done.len() >= 2, "the device was told {} times", done.len());
}
