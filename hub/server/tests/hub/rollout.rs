//! A roll-out from a pushed image to devices that run it: what gateways are told, what they fetch,
//! and what a restart at any place changes: nothing.

use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use stencil_protocol::image::{Digest, Fetch, Part, Piece, Told, Wanted, What};
use stencil_protocol::report::{Link, LinkEvent};
use stencil_server::issue_admin_token;
use stencil_update::header::{Header, Version};
use stencil_update::id::Id;
use stencil_update::signing::{self, Keys};

use crate::support::{Client, TENANT, TestHub, device, eventually, gateway, tenant};

const PAYLOAD: &[u8] = &[0x5a; 70_000];

/// The API, as an admin.
struct Api {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Api {
    async fn new(test: &TestHub) -> Self {
        // Others may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let token = issue_admin_token(&test.data_dir(), &tenant(TENANT), "test", 0)
            .await
            .unwrap();
        Self {
            http: reqwest::Client::new(),
            base: format!("http://{}", test.running.addresses().http),
            token: token.secret.reveal().to_owned(),
        }
    }

    async fn ask(&self, method: &str, path: &str, kind: &str, body: Vec<u8>) -> (u16, Value) {
        let method = method.parse().unwrap();
        let request = self.http.request(method, format!("{}{path}", self.base));
        let request = request
            .bearer_auth(&self.token)
            .header("content-type", kind);
        let answer = request.body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    async fn json(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string().into_bytes();
        self.ask(method, path, "application/json", body).await
    }

    async fn get(&self, path: &str) -> Value {
        let (status, value) = self.ask("GET", path, "text/plain", Vec::new()).await;
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    async fn push(&self, digest: &Digest, body: Vec<u8>) -> (u16, Value) {
        let path = format!("/api/v1/images/{}", hex::encode(digest));
        let kind = "application/octet-stream";
        self.ask("PUT", &path, kind, body).await
    }

    async fn trust(&self, keys: &Keys) {
        let trust = json!({ "keys": keys.trust().to_text() });
        let (status, said) = self.json("PUT", "/api/v1/update-trust", &trust).await;
        assert_eq!(status, 204, "{said}");
    }
}

fn keys(dir: &Path, name: &str) -> Keys {
    Keys::generate(&dir.join(name)).unwrap()
}

fn header(payload: &[u8], sequence: u64) -> Header {
    let vendor = Id::of_vendor("acme.example");
    Header {
        vendor,
        class: Id::of_class(vendor, "freezer"),
        sequence,
        size: u32::try_from(payload.len()).unwrap(),
        digest: Sha256::digest(payload).into(),
        version: Version::new("1.0").unwrap(),
    }
}

/// What is pushed.
fn package(manifest: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(manifest.len()).unwrap().to_be_bytes();
    [&length, manifest, payload].concat()
}

fn class() -> String {
    let header = header(PAYLOAD, 1);
    format!(
        "{}/{}",
        hex::encode(header.vendor.0),
        hex::encode(header.class.0)
    )
}

async fn says(client: &Client, name: &str, what: What) {
    let told = Told {
        device: device(name),
        at_us: 1,
        what,
    };
    let topic = format!("stencil/v1/d/{name}/image");
    client
        .publish(&topic, told.encode().unwrap())
        .await
        .unwrap();
}

fn runs(digest: Digest, sequence: u64, trial: bool) -> What {
    What::Runs {
        digest,
        sequence,
        class: class(),
        trial,
        version: None,
    }
}

async fn wanted(client: &mut Client) -> Vec<(String, Digest)> {
    let (topic, payload) = client.next().await;
    assert_eq!(topic, "stencil/v1/g/gw-1/wanted");
    let Wanted(wanted) = Wanted::decode(&payload).unwrap();
    wanted
        .into_iter()
        .map(|(device, digest)| (device.to_string(), digest))
        .collect()
}

/// A gateway that listens, with these devices linked that run their first image.
async fn linked(test: &TestHub, names: &[&str]) -> Client {
    let client = test.gateway("gw-1").await;
    assert!(client.subscribe("stencil/v1/g/gw-1/command").await);
    for name in names {
        let event = LinkEvent {
            device: device(name),
            gateway: gateway("gw-1"),
            at_us: 1,
            event: Link::Connected { suite: 1 },
        };
        let topic = format!("stencil/v1/d/{name}/link");
        client.publish(&topic, event.encode()).await.unwrap();
        says(&client, name, runs([1; 32], 0, false)).await;
    }
    test.hub().caught_up().await.unwrap();
    client
}

async fn fetched(client: &mut Client, digest: Digest, part: Part) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let offset = u32::try_from(all.len()).unwrap();
        let fetch = Fetch {
            digest,
            part,
            offset,
        };
        let topic = "stencil/v1/g/gw-1/fetch";
        client.publish(topic, fetch.encode()).await.unwrap();
        let piece = loop {
            let (topic, payload) = client.next().await;
            if topic == "stencil/v1/g/gw-1/piece" {
                break Piece::decode(&payload).unwrap();
            }
        };
        assert_eq!(
            (piece.digest, piece.part, piece.offset),
            (digest, part, offset)
        );
        all.extend(piece.bytes.expect("the image is there"));
        if all.len() >= usize::try_from(piece.of).unwrap() {
            return all;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_reaches_devices_canary_first_also_through_restarts() {
    let test = TestHub::start().await;
    let mut keys = keys(test.dir.path(), "keys");
    let api = Api::new(&test).await;
    api.trust(&keys).await;
    let header = header(PAYLOAD, 1);
    let manifest = keys.sign(&header).unwrap().encode();
    let (status, pushed) = api.push(&header.digest, package(&manifest, PAYLOAD)).await;
    assert_eq!(
        (status, &pushed["bytes"]),
        (201, &json!(PAYLOAD.len())),
        "{pushed}"
    );
    let again = api.push(&header.digest, package(&manifest, PAYLOAD)).await;
    assert_eq!(again.0, 200, "{again:?}");

    let names = ["freezer-1", "freezer-2", "freezer-3"];
    let client = linked(&test, &names).await;
    let plan = json!({
        "image": hex::encode(header.digest), "devices": "freezer-*", "canary": { "devices": 1 },
        "waves": [100],
    });
    let (status, begun) = api.json("POST", "/api/v1/rollouts", &plan).await;
    assert_eq!(status, 201, "{begun}");
    let path = format!("/api/v1/rollouts/{}", begun["id"].as_str().unwrap());
    assert_eq!(begun["counts"]["offered"], 1, "{begun}");
    assert_eq!(begun["counts"]["waiting"], 2);

    // Whoever begins to listen is told at once.
    let mut client = client;
    assert!(client.subscribe("stencil/v1/g/gw-1/wanted").await);
    assert!(client.subscribe("stencil/v1/g/gw-1/piece").await);
    let first = loop {
        let wanted = wanted(&mut client).await;
        if let [(name, digest)] = wanted.as_slice() {
            assert_eq!(*digest, header.digest);
            break name.clone();
        }
    };
    assert_eq!(
        fetched(&mut client, header.digest, Part::Manifest).await,
        manifest
    );
    assert_eq!(
        fetched(&mut client, header.digest, Part::Payload).await,
        PAYLOAD
    );
    let nothing = Fetch {
        digest: [9; 32],
        part: Part::Payload,
        offset: 0,
    };
    client
        .publish("stencil/v1/g/gw-1/fetch", nothing.encode())
        .await
        .unwrap();
    loop {
        let (topic, payload) = client.next().await;
        if topic.ends_with("/piece") {
            assert_eq!(Piece::decode(&payload).unwrap().bytes, None);
            break;
        }
    }

    let digest = header.digest;
    let has = What::Has {
        digest,
        have: 35_000,
        of: 70_000,
    };
    says(&client, &first, has).await;
    test.hub().caught_up().await.unwrap();
    let device = api.get(&format!("{path}/devices?phase=downloading")).await;
    assert_eq!(device["items"][0]["percent"], 50, "{device}");
    drop(client);

    // A restart in the middle: it is wanted as before.
    let test = test.restart().await;
    let api = Api::new(&test).await;
    let mut client = linked(&test, &names).await;
    assert!(client.subscribe("stencil/v1/g/gw-1/wanted").await);
    assert_eq!(wanted(&mut client).await, [(first.clone(), digest)]);
    says(&client, &first, What::Installs { digest }).await;
    says(&client, &first, runs(digest, 1, true)).await;
    test.hub().caught_up().await.unwrap();
    let shown = api.get(&path).await;
    assert_eq!(
        (&shown["counts"]["installed"], &shown["counts"]["done"]),
        (&json!(1), &json!(0))
    );
    says(&client, &first, runs(digest, 1, false)).await;
    test.hub().caught_up().await.unwrap();
    let shown = api.get(&path).await;
    assert_eq!(
        (&shown["counts"]["done"], &shown["counts"]["offered"]),
        (&json!(1), &json!(2))
    );
    for name in names {
        says(&client, name, runs(digest, 1, false)).await;
    }
    test.hub().caught_up().await.unwrap();
    let shown = api.get(&path).await;
    assert_eq!(
        (&shown["status"], &shown["counts"]["done"]),
        (&json!("finished"), &json!(3))
    );
    let told = api.get(&format!("{path}/notices")).await;
    let kinds: Vec<&Value> = told["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["what"]["kind"])
        .collect();
    assert_eq!(kinds, ["finished", "wave", "canary_good"]);
    let (status, said) = api.json("POST", &format!("{path}/pause"), &json!({})).await;
    assert_eq!(status, 409, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_follow_are_taken_when_those_before_have_signed_them_and_gateways_get_that() {
    let test = TestHub::start().await;
    let dir = test.dir.path();
    let first = keys(dir, "first");
    let before = first.trust().digest();
    let api = Api::new(&test).await;
    let put = async |keys: String, succession: &str| {
        let body = json!({ "keys": keys, "succession": succession });
        api.json("PUT", "/api/v1/update-trust", &body).await
    };
    let detail = |answer: (u16, Value), status: u16| {
        assert_eq!(answer.0, status, "{answer:?}");
        answer.1["detail"].as_str().unwrap().to_owned()
    };
    let strangers = keys(dir, "strange");
    drop((first, strangers));
    let succeed = |old: &str, new: &str| {
        let (keys, text) = signing::succeed(&dir.join(old), &dir.join(new), true).unwrap();
        (keys.trust().to_text(), text.to_text())
    };
    let first = signing::read_trust(&dir.join("first/trust.keys")).unwrap();
    let (second, followed) = succeed("first", "second");
    let (other, strange) = succeed("strange", "other");
    // Nobody can follow nobody.
    let nobody = detail(put(second.clone(), &followed).await, 409);
    assert!(nobody.contains("nobody is trusted"), "{nobody}");
    let set = json!({ "keys": first.to_text() });
    let set = api.json("PUT", "/api/v1/update-trust", &set).await;
    assert_eq!(set.0, 204, "{set:?}");
    let foreign = detail(put(other, &strange).await, 409);
    assert!(foreign.contains("trusted are"), "{foreign}");
    let mixed = detail(put(second.clone(), &strange).await, 400);
    assert!(mixed.contains("names other keys"), "{mixed}");
    let nonsense = detail(put(second.clone(), "nonsense").await, 400);
    assert!(
        nonsense.contains("`succession`: the succession has no line"),
        "{nonsense}"
    );
    let still = api.get("/api/v1/update-trust").await;
    assert_eq!(still, json!({ "keys": first.to_text(), "classes": [] }));

    let taken = put(second.clone(), &followed).await;
    assert_eq!(taken.0, 204, "{taken:?}");
    let now = api.get("/api/v1/update-trust").await;
    assert_eq!(now, json!({ "keys": second, "classes": [] }));
    let again = detail(put(second.clone(), &followed).await, 409);
    assert!(again.contains("trusted are"), "{again}");
    // Whoever trusts the keys before gets it, and nobody else anything.
    let mut client = linked(&test, &["freezer-1"]).await;
    assert!(client.subscribe("stencil/v1/g/gw-1/piece").await);
    assert_eq!(
        fetched(&mut client, before, Part::Succession).await,
        followed.as_bytes()
    );
    let nothing = Fetch {
        digest: signing::read_trust(&dir.join("second/trust.keys"))
            .unwrap()
            .digest(),
        part: Part::Succession,
        offset: 0,
    };
    client
        .publish("stencil/v1/g/gw-1/fetch", nothing.encode())
        .await
        .unwrap();
    let piece = loop {
        let (topic, payload) = client.next().await;
        if topic.ends_with("/piece") {
            break Piece::decode(&payload).unwrap();
        }
    };
    assert_eq!((piece.part, piece.bytes), (Part::Succession, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_runs_and_gave_up_is_known_without_a_roll_out() {
    let test = TestHub::start().await;
    let api = Api::new(&test).await;
    let client = linked(&test, &["freezer-1"]).await;
    let path = "/api/v1/devices/freezer-1/firmware";
    let before = api.get(path).await;
    assert_eq!(before["runs"]["digest"], hex::encode([1; 32]), "{before}");
    assert_eq!(before["gave_up"], Value::Null);
    let gave_up = What::GaveUp {
        digest: [7; 32],
        reason: "it did not start".to_owned(),
    };
    says(&client, "freezer-1", gave_up).await;
    test.hub().caught_up().await.unwrap();
    let after = api.get(path).await;
    assert_eq!(after["runs"], before["runs"]);
    assert_eq!(after["gave_up"]["digest"], hex::encode([7; 32]));
    assert_eq!(after["gave_up"]["reason"], "it did not start");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_canary_pauses_and_nobody_gets_past_it() {
    let test = TestHub::start().await;
    let mut keys = keys(test.dir.path(), "keys");
    let api = Api::new(&test).await;
    api.trust(&keys).await;
    let header = header(PAYLOAD, 1);
    let manifest = keys.sign(&header).unwrap().encode();
    api.push(&header.digest, package(&manifest, PAYLOAD)).await;
    let client = linked(&test, &["freezer-1", "freezer-2"]).await;
    let plan = json!({
        "image": hex::encode(header.digest), "devices": "*", "canary": { "devices": 1 },
    });
    let (_, begun) = api.json("POST", "/api/v1/rollouts", &plan).await;
    let path = format!("/api/v1/rollouts/{}", begun["id"].as_str().unwrap());
    let offered = api.get(&format!("{path}/devices?phase=offered")).await;
    let first = offered["items"][0]["device"].as_str().unwrap().to_owned();
    let digest = header.digest;
    says(&client, &first, What::Installs { digest }).await;
    says(&client, &first, runs([1; 32], 0, false)).await;
    test.hub().caught_up().await.unwrap();
    let shown = api.get(&path).await;
    assert_eq!(shown["status"], "paused", "{shown}");
    let why = json!({ "by": "failures", "failed": 1, "finished": 1 });
    assert_eq!(shown["why"], why);
    let (status, said) = api
        .json("POST", &format!("{path}/resume"), &json!({}))
        .await;
    assert_eq!(status, 409, "{said}");
    assert!(
        said["detail"]
            .as_str()
            .unwrap()
            .contains("first devices have failed")
    );
    // It stays so through a restart, and an abort ends it.
    drop(client);
    let test = test.restart().await;
    let api = Api::new(&test).await;
    assert_eq!(api.get(&path).await["why"], why);
    let (status, shown) = api.json("POST", &format!("{path}/abort"), &json!({})).await;
    assert_eq!((status, &shown["status"]), (200, &json!("aborted")));
    assert_eq!(
        (&shown["counts"]["failed"], &shown["counts"]["skipped"]),
        (&json!(1), &json!(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_not_right_in_every_way_is_refused_with_the_reason() {
    let test = TestHub::start().await;
    let mut ours = keys(test.dir.path(), "ours");
    let mut theirs = keys(test.dir.path(), "theirs");
    let api = Api::new(&test).await;
    let first = header(PAYLOAD, 5);
    let manifest = ours.sign(&first).unwrap().encode();
    let (status, said) = api.push(&first.digest, package(&manifest, PAYLOAD)).await;
    assert_eq!(status, 404, "nobody is trusted yet: {said}");
    api.trust(&ours).await;

    let mut longer = PAYLOAD.to_vec();
    longer.push(0);
    let mut other = PAYLOAD.to_vec();
    other[69_999] ^= 1;
    let foreign = theirs.sign(&first).unwrap().encode();
    // One byte of one signature: the ML-DSA-65 signature is the longest part.
    let mut one_wrong = manifest.clone();
    let middle = one_wrong.len() / 2;
    one_wrong[middle] ^= 1;
    let whole = package(&manifest, PAYLOAD);
    for (body, why) in [
        (package(&manifest, &PAYLOAD[..69_999]), "truncated"),
        (package(&manifest, &longer), "takes"),
        (
            package(&manifest, &other),
            "digest is not the one that was signed",
        ),
        (package(&foreign, PAYLOAD), "is of key"),
        (
            package(&one_wrong, PAYLOAD),
            "ML-DSA-65 signature does not verify",
        ),
        (whole[..100].to_vec(), "ends before the manifest"),
        (u32::MAX.to_be_bytes().to_vec(), "at most 8192"),
        (package(b"nonsense", PAYLOAD), "tag of a SUIT envelope"),
        (Vec::new(), "ends before the manifest"),
    ] {
        let (status, said) = api.push(&first.digest, body).await;
        assert_eq!(status, 422, "{why}: {said}");
        assert!(
            said["detail"].as_str().unwrap().contains(why),
            "{why}: {said}"
        );
    }
    let (status, said) = api.push(&[7; 32], whole.clone()).await;
    assert_eq!(status, 422, "{said}");
    assert_eq!(api.get("/api/v1/images").await["items"], json!([]));
    let kept = || {
        std::fs::read_dir(test.data_dir().join("images"))
            .unwrap()
            .count()
    };
    assert_eq!(kept(), 0, "nothing stays of what was refused");

    assert_eq!(api.push(&first.digest, whole).await.0, 201);
    let older = header(b"older", 5);
    let manifest = ours.sign(&older).unwrap().encode();
    let (status, said) = api.push(&older.digest, package(&manifest, b"older")).await;
    assert_eq!(status, 409, "{said}");
    assert!(
        said["detail"]
            .as_str()
            .unwrap()
            .contains("has to be higher"),
        "{said}"
    );

    // For other devices than this tenant has.
    let (vendor, class) = (first.vendor.to_string(), Id([7; 16]).to_string());
    let trust = json!({
        "keys": ours.trust().to_text(), "classes": [{ "vendor": vendor, "class": class }],
    });
    assert_eq!(api.json("PUT", "/api/v1/update-trust", &trust).await.0, 204);
    let newer = header(b"newer", 6);
    let manifest = ours.sign(&newer).unwrap().encode();
    let (status, said) = api.push(&newer.digest, package(&manifest, b"newer")).await;
    assert_eq!(status, 422, "{said}");
    assert!(
        said["detail"]
            .as_str()
            .unwrap()
            .contains("none of this class"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_cut_off_stops_the_clock_of_its_devices() {
    let test = TestHub::start_with(|options| {
        options.pipeline.tick_ms = 50;
        options.pipeline.settle_ms = 0;
    })
    .await;
    let mut keys = keys(test.dir.path(), "keys");
    let api = Api::new(&test).await;
    api.trust(&keys).await;
    let header = header(PAYLOAD, 1);
    let manifest = keys.sign(&header).unwrap().encode();
    api.push(&header.digest, package(&manifest, PAYLOAD)).await;
    let client = linked(&test, &["freezer-1"]).await;
    let plan = json!({
        "image": hex::encode(header.digest), "devices": "*", "progress_timeout_s": 1,
    });
    let (_, begun) = api.json("POST", "/api/v1/rollouts", &plan).await;
    let path = format!("/api/v1/rollouts/{}", begun["id"].as_str().unwrap());
    drop(client);
    let rollout: [u8; 16] = hex::decode(begun["id"].as_str().unwrap())
        .unwrap()
        .try_into()
        .unwrap();
    let rollouts = &test.hub().store().rollouts;
    let body = || async {
        let page = rollouts
            .devices(&tenant(TENANT), &rollout, None, None, 1)
            .await;
        page.unwrap().items[0].body.clone()
    };
    eventually("the device is off", || async {
        body().await.contains("\"on\":false")
    })
    .await;
    let before = body().await;
    // Ticks go on, and the device's time does not.
    let ticks = || async {
        rollouts
            .get(&tenant(TENANT), &rollout)
            .await
            .unwrap()
            .unwrap()
            .head
    };
    let seen = ticks().await;
    eventually("ticks", || async { ticks().await != seen }).await;
    assert_eq!(body().await, before);
    let _client = linked(&test, &["freezer-1"]).await;
    eventually("a time-out", || async {
        api.get(&path).await["counts"]["timed_out"] == 1
    })
    .await;
}

/// The state of an LMS key was copied, and the copy made to sign from the leaf where it stood.
#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_that_has_signed_twice_is_noticed() {
    let test = TestHub::start().await;
    let api = Api::new(&test).await;
    let dir = tempfile::tempdir().unwrap();
    let mut first = keys(dir.path(), "first");
    api.trust(&first).await;
    let copy = dir.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(dir.path().join("first")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let sign = |keys: &mut Keys, payload: &[u8], sequence| {
        let header = header(payload, sequence);
        let envelope = keys.sign(&header).unwrap();
        (header.digest, package(&envelope.encode(), payload))
    };
    let (one, package_one) = sign(&mut first, b"one", 1);
    signing::lms_state::recover(&copy, 0).unwrap();
    let mut second = Keys::open(&copy).unwrap();
    let (two, package_two) = sign(&mut second, b"two", 2);

    assert_eq!(api.push(&one, package_one.clone()).await.0, 201);
    let (status, said) = api.push(&two, package_two).await;
    assert_eq!(status, 409, "{said}");
    let detail = said["detail"].as_str().unwrap();
    assert!(
        detail.contains("leaf 0 of the LMS key has signed two updates"),
        "{detail}"
    );
    // The first again is no second signature, and another leaf is none of its business.
    assert_eq!(api.push(&one, package_one).await.0, 200);
    let (three, package_three) = sign(&mut first, b"three", 3);
    assert_eq!(api.push(&three, package_three).await.0, 201);
}
