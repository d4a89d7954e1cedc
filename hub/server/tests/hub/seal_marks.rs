//! A gateway that signs something else than the hub has stored: told to workflows, counted, in the audit log,
//! and marked until somebody says what was found.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};
use stencil_crypto::signature::SigningKey;
use stencil_crypto::tls::Identity;
use stencil_proof::{Chunk, Hash, Open, Record, Seal, Sealed, Secret, tree};
use stencil_protocol::batch::Batch;
use stencil_server::Service;

use crate::support::{
    Client, HubProcess, Sampled, batch, device, eventually, gateway, options, prepare, tenant,
};

const TOLD: &str = "id: told\nversion: 1\non: { seal: { mismatch: \"gw-*\" } }\nsteps:\n  - id: page\n    \
    use: content.upsert\n    with: { collection: seals, key: \"{{ event.gateway }}\", set: { \
    device: \"{{ event.device }}\", flaw: \"{{ event.flaw }}\", seal: \"{{ event.epoch }}/{{ event.number }}\" } }\n";

/// A gateway that seals what it likes.
struct Signer {
    client: Client,
    key: SigningKey,
    previous: Hash,
    number: u64,
}

impl Signer {
    async fn connect(data_dir: &Path, address: SocketAddr, out: &Path) -> Self {
        let (acme, id) = (tenant("acme"), gateway("gw-1"));
        let files = stencil_server::add_gateway(data_dir, &acme, &id, out).unwrap();
        let identity = Identity::load(&files.chain, &files.key).unwrap();
        let key = SigningKey::of(&identity).unwrap();
        let client = Client::with_certificate("gw-1", address, &files).await;
        let begins = Record::Begins {
            epoch: 5,
            certificate: key.certificate().to_vec(),
        };
        let signer = Self {
            client,
            key,
            previous: [0; 32],
            number: 0,
        };
        signer.say(&begins).await;
        signer
    }

    async fn say(&self, record: &Record) {
        let topic = "stencil/v1/g/gw-1/seals";
        self.client.publish(topic, record.encode()).await.unwrap();
    }

    /// Brings what a device said, and a seal over this in its place.
    async fn brings(&mut self, said: &[u8], signed: &[u8]) {
        let topic = "stencil/v1/d/freezer-1/batch";
        self.client.publish(topic, said).await.unwrap();
        let secret = Secret::new([9; 32]);
        let mut open = Open::new(device("freezer-1"), &secret);
        let batch = Batch::decode(signed).unwrap();
        for (seq, sample) in batch.samples() {
            open.take(batch.header().boot, seq, &sample.unwrap());
        }
        let chunks = vec![open.close()];
        let leaves: Vec<Hash> = chunks.iter().map(Chunk::leaf).collect();
        self.number += 1;
        let of = stencil_crypto::authority::Description::of(self.key.certificate());
        let seal = Seal {
            tenant: tenant("acme"),
            gateway: gateway("gw-1"),
            epoch: 5,
            number: self.number,
            previous: self.previous,
            at_us: 9,
            certificate: of.unwrap().fingerprint,
            chunks: 1,
            root: tree::root(&leaves),
        };
        self.previous = seal.hash();
        let signature = self.key.sign(&seal.entry()).unwrap();
        let sealed = Sealed {
            seal,
            signature,
            chunks,
            secret: Some(secret),
        };
        self.say(&Record::Sealed(Box::new(sealed))).await;
    }
}

fn readings(first: u64, value: f64) -> Vec<u8> {
    let at = |n: i64| Sampled("t", value, 5_000_000 + n);
    batch(7, first, &[at(0), at(1), at(2)])
}

/// An admin.
struct Admin {
    http: SocketAddr,
    token: String,
    client: reqwest::Client,
}

impl Admin {
    fn new(http: SocketAddr, token: &str) -> Self {
        // reqwest wants one, also where there is no TLS.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self {
            http,
            token: token.to_owned(),
            client: reqwest::Client::new(),
        }
    }

    async fn text(&self, path: &str) -> String {
        let asked = self.client.get(format!("http://{}{path}", self.http));
        let answer = asked.bearer_auth(&self.token).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path).await).unwrap()
    }

    async fn marks(&self, query: &str) -> Vec<Value> {
        let page = self.json(&format!("/api/v1/seal-marks{query}")).await;
        page["items"].as_array().unwrap().clone()
    }

    async fn put_workflow(&self, yaml: &str) {
        let put = self
            .client
            .put(format!("http://{}/api/v1/workflows/told", self.http));
        let put = put
            .header("content-type", "application/yaml")
            .body(yaml.to_owned());
        let answer = put.bearer_auth(&self.token).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
    }

    async fn clear(&self, seal: &str, why: &str) -> u16 {
        let path = format!(
            "http://{}/api/v1/gateways/gw-1/seals/{seal}/clear",
            self.http
        );
        let said = self
            .client
            .post(path)
            .body(json!({ "why": why }).to_string());
        let said = said.header("content-type", "application/json");
        let answer = said.bearer_auth(&self.token).send().await.unwrap();
        answer.status().as_u16()
    }

    async fn settled(&self, states: &[&str]) {
        eventually("the seals are looked at", || async {
            let seals = self.json("/api/v1/seals").await;
            let seals = seals["items"].as_array().unwrap().clone();
            let found: Vec<&str> = seals
                .iter()
                .rev()
                .filter_map(|it| it["state"].as_str())
                .collect();
            found == states
        })
        .await;
    }
}

#[tokio::test]
async fn a_seal_over_something_else_is_told_and_marked_until_somebody_says_what_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("hub");
    let init = prepare(&data_dir).await;
    let token = init.admin_token.reveal();
    let running = Service::start(options(&data_dir)).await.unwrap();
    let admin = Admin::new(running.addresses().http, token);
    admin.put_workflow(TOLD).await;
    // As one that has said what it is like.
    let registry = &running.hub().store().registry;
    registry
        .add_gateway(&tenant("acme"), &gateway("gw-1"), 1)
        .await
        .unwrap();
    let mut signer = Signer::connect(
        &data_dir,
        running.addresses().strict,
        &dir.path().join("out"),
    )
    .await;
    // What the gateway signs as it is, and one that names another digest.
    signer
        .brings(&readings(1, -20.0), &readings(1, -20.0))
        .await;
    signer
        .brings(&readings(4, -20.0), &readings(4, -19.0))
        .await;
    signer
        .brings(&readings(7, -20.0), &readings(7, -20.0))
        .await;
    admin.settled(&["verified", "mismatch", "verified"]).await;

    let marks = admin.marks("?gateway=gw-1").await;
    assert_eq!(marks.len(), 1, "{marks:?}");
    let mark = &marks[0];
    assert_eq!(
        (
            &mark["number"],
            &mark["epoch"],
            &mark["device"],
            &mark["flaw"]
        ),
        (
            &json!(2),
            &json!("5"),
            &json!("freezer-1"),
            &json!("readings")
        )
    );
    let numbers = json!({ "boot": 7, "first": 4, "last": 6 });
    let differs = &mark["differs"];
    assert_eq!(differs["numbers"], json!([numbers]));
    let kept = differs["batches"].as_array().unwrap();
    assert_eq!(
        (kept.len(), &kept[0]["first"], &kept[0]["last"]),
        (1, &json!(4), &json!(6))
    );
    let (named, here) = (differs["named"].as_str(), differs["here"].as_str());
    assert!(
        named.is_some() && here.is_some() && named != here,
        "{differs}"
    );
    assert_eq!(admin.marks("?device=freezer-1").await, marks);
    assert_eq!(admin.marks("?gateway=gw-2").await, [] as [Value; 0]);
    for page in [
        "/gateways/gw-1",
        "/devices/freezer-1",
        "/devices/freezer-1/parts",
    ] {
        let shown = admin.text(page).await;
        for what in ["Seal 2 of", "4–6 of boot 7", here.unwrap(), named.unwrap()] {
            assert!(shown.contains(what), "{page} does not say {what}");
        }
        assert!(
            !shown.contains("Seal 1 of") && !shown.contains("Seal 3 of"),
            "{page}"
        );
    }
    assert!(
        admin
            .text("/gateways")
            .await
            .contains("a seal is not what is here")
    );
    let metrics = admin.text("/metrics").await;
    assert!(metrics.contains("stencil_hub_seals_total{state=\"mismatch\"} 1\n"));
    assert!(metrics.contains("stencil_hub_seal_flaws_total{flaw=\"readings\"} 1\n"));
    assert!(metrics.contains("stencil_hub_seal_flaws_total{flaw=\"chain\"} 0\n"));
    let audit = admin.json("/api/v1/audit?action=gateways.seal").await;
    assert_eq!(audit["items"].as_array().unwrap().len(), 1);
    assert_eq!(audit["items"][0]["target"], "gw-1 2");
    let detail = audit["items"][0]["detail"].as_str().unwrap();
    assert!(
        detail.contains("freezer-1") && detail.contains("chain 5"),
        "{detail}"
    );
    let entry = "/api/v1/content/seals/gw-1";
    eventually("the workflow has written", || async {
        let runs = admin.json("/api/v1/runs?workflow=told").await;
        runs["items"][0]["state"] == "done"
    })
    .await;
    let fields = &admin.json(entry).await["fields"];
    assert_eq!(
        *fields,
        json!({ "device": "freezer-1", "flaw": "readings", "seal": "5/2" })
    );

    // It stays, and is told once, whoever starts the hub anew.
    drop(signer);
    running.shutdown().await.unwrap();
    let running = Service::start(options(&data_dir)).await.unwrap();
    let admin = Admin::new(running.addresses().http, token);
    assert_eq!(admin.marks("").await, marks);
    assert!(admin.text("/gateways/gw-1").await.contains("Seal 2 of"));
    let runs = admin.json("/api/v1/runs?workflow=told").await;
    assert_eq!(runs["items"].as_array().unwrap().len(), 1);

    // Until somebody says what it was.
    assert_eq!(admin.clear("5/2", " ").await, 400);
    assert_eq!(admin.clear("5/1", "looked at").await, 404);
    assert_eq!(admin.clear("5/2", "its disk was exchanged").await, 204);
    assert_eq!(admin.clear("5/2", "its disk was exchanged").await, 404);
    assert_eq!(admin.marks("").await, [] as [Value; 0]);
    assert!(!admin.text("/gateways/gw-1").await.contains("Seal 2 of"));
    admin.settled(&["verified", "mismatch", "verified"]).await;
    let audit = admin.json("/api/v1/audit?limit=20").await.to_string();
    assert!(audit.contains("chain 5: its disk was exchanged"), "{audit}");
    running.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_kill_leaves_all_that_is_told_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("hub");
    let init = prepare(&data_dir).await;
    let token = init.admin_token.reveal();
    // Killed with the seal's mark in the store, before anybody was woken.
    let dying = HubProcess::start(&data_dir, "seals.settled:1");
    Admin::new(dying.http, token).put_workflow(TOLD).await;
    let mut signer = Signer::connect(&data_dir, dying.strict, &dir.path().join("out")).await;
    signer
        .brings(&readings(1, -20.0), &readings(1, -19.0))
        .await;
    dying.died();
    let running = Service::start(options(&data_dir)).await.unwrap();
    let admin = Admin::new(running.addresses().http, token);
    assert_eq!(admin.marks("?device=freezer-1").await.len(), 1);
    let audit = admin.json("/api/v1/audit?action=gateways.seal").await;
    assert_eq!(audit["items"].as_array().unwrap().len(), 1);
    eventually("the workflow has run", || async {
        let runs = admin.json("/api/v1/runs?workflow=told").await;
        runs["items"][0]["state"] == "done"
    })
    .await;
    running.shutdown().await.unwrap();
}
