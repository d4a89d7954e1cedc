//! Gateways' certificates that are renewed, and those that are not.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use stencil_crypto::authority::{Authority, ClientKey, Description, Subject, Validity, first_of};
use stencil_protocol::renewal::{Answer, Renew};
use stencil_server::{Clock, Credentials, Layout, Options, Running, Service};
use stencil_store::CertificateState;

use crate::support::{Client, Sampled, batch, eventually, gateway, options, prepare, tenant};

const DAY_US: i64 = 86_400_000_000;
const RENEW: &str = "stencil/v1/g/gw-1/renew";
const ANSWERS: &str = "stencil/v1/g/gw-1/cert";

/// A hub whose clock can be moved, with an authority at hand.
struct Site {
    dir: tempfile::TempDir,
    running: Running,
    shift_us: Arc<AtomicI64>,
}

fn subject(of: &str, name: &str) -> Subject {
    Subject::Gateway {
        tenant: of.to_owned(),
        gateway: name.to_owned(),
    }
}

fn now_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs()
}

impl Site {
    async fn start(change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path()).await;
        let mut options = options(dir.path());
        change(&mut options);
        let shift_us = Arc::new(AtomicI64::new(0));
        let shift = Arc::clone(&shift_us);
        let system = Clock::system();
        let clock = Clock::from_fn(move || system.now_us() + shift.load(Ordering::Relaxed));
        let running = Service::start_with(options, clock, |_| Ok(Vec::new()))
            .await
            .unwrap();
        Self {
            dir,
            running,
            shift_us,
        }
    }

    fn authority(&self) -> Authority {
        Authority::open(Layout::new(self.dir.path()).authority()).unwrap()
    }

    /// A gateway's folder, with a certificate that is valid from so long ago until so much later.
    fn certify(&self, folder: &str, begun_s: u64, left_s: i64) -> Credentials {
        let end_s = now_s().checked_add_signed(left_s).unwrap();
        let validity = Validity::between(now_s() - begun_s, end_s).unwrap();
        let issued = self.authority().issue(&subject("acme", "gw-1"), validity);
        let folder = self.dir.path().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        let files = Credentials {
            chain: folder.join("gw-1.pem"),
            key: folder.join("gw-1.key"),
            root: Layout::new(self.dir.path()).fleet_root(),
        };
        issued.unwrap().write(&files.chain, &files.key).unwrap();
        files
    }

    async fn come(&self, files: &Credentials) -> Result<Client, String> {
        Client::try_certificate("gw-1", self.running.addresses().strict, files).await
    }

    /// Has the gateway, which listens, asked for a successor.
    async fn ask(&self, client: &mut Client, files: &Credentials, request: &[u8]) -> Answer {
        let renew = Renew {
            certificate: described(files).fingerprint,
            request: request.to_vec(),
        };
        client
            .publish(RENEW, renew.encode().unwrap())
            .await
            .unwrap();
        let (topic, payload) = client.next().await;
        assert_eq!(topic, ANSWERS);
        Answer::decode(&payload).unwrap()
    }

    async fn states(&self) -> Vec<CertificateState> {
        let certificates = &self.running.hub().store().certificates;
        let (acme, gw_1) = (tenant("acme"), gateway("gw-1"));
        let found = certificates.certificates(&acme, &gw_1).await.unwrap();
        found.into_iter().map(|it| it.state).collect()
    }
}

fn described(files: &Credentials) -> Description {
    let chain = std::fs::read_to_string(&files.chain).unwrap();
    Description::of(&first_of(&chain).unwrap()).unwrap()
}

#[track_caller]
fn chain(answer: Answer) -> String {
    match answer {
        Answer::Renewed(chain) => chain,
        Answer::Refused(why) => panic!("refused: {why}"),
    }
}

#[track_caller]
fn refused(answer: Answer, why: &str) {
    match answer {
        Answer::Refused(said) => assert!(said.contains(why), "{said}"),
        Answer::Renewed(_) => panic!("it is renewed"),
    }
}

fn kept(files: &Credentials, chain: &str, key: &ClientKey) -> Credentials {
    let put = |name: &str, text: &str| {
        let path = files.chain.with_file_name(name);
        stencil_crypto::keyfile::write(&path, text.as_bytes()).unwrap();
        path
    };
    Credentials {
        chain: put("next.pem", chain),
        key: put("next.key", key.pem()),
        root: files.root.clone(),
    }
}

#[tokio::test]
async fn who_asks_gets_one_for_its_own_new_key_and_the_first_use_ends_the_one_before() {
    let site = Site::start(|options| options.mqtt.gateway_certificate_days = 30).await;
    let files = site.certify("gw-1", 3_000, 60);
    let mut client = site.come(&files).await.unwrap();
    assert!(client.subscribe(ANSWERS).await);
    assert!(!client.subscribe("stencil/v1/g/gw-2/cert").await);
    let key = ClientKey::generate().unwrap();
    let request = key.request(&subject("acme", "gw-1")).unwrap();

    // By another's name, of another tenant, for a certificate that is not the gateway's, and altered.
    for (of, name) in [("acme", "gw-2"), ("rival", "gw-1")] {
        let request = key.request(&subject(of, name)).unwrap();
        let answer = site.ask(&mut client, &files, &request).await;
        refused(answer, &format!("{of}/gateway/{name}"));
    }
    let other = site.certify("other", 2_900, 60);
    let answer = site.ask(&mut client, &other, &request).await;
    refused(answer, "not the certificate that the gateway has used last");
    let mut altered = request.clone();
    *altered.last_mut().unwrap() ^= 1;
    let answer = site.ask(&mut client, &files, &altered).await;
    refused(answer, "not signed by the key");
    refused(site.ask(&mut client, &files, b"none").await, "not taken");

    let renewed = chain(site.ask(&mut client, &files, &request).await);
    // Asked again, also by a copy of the message, it is the same; for another key not at once another.
    let again = chain(site.ask(&mut client, &files, &request).await);
    assert_eq!(renewed, again);
    let second = ClientKey::generate().unwrap();
    let second = second.request(&subject("acme", "gw-1")).unwrap();
    let answer = site.ask(&mut client, &files, &second).await;
    refused(answer, "within this minute");
    let description = Description::of(&first_of(&renewed).unwrap()).unwrap();
    assert_eq!(description.key, key.fingerprint());
    let days = description.validity.not_after_s() - now_s();
    assert!((29 * 86_400..=30 * 86_400).contains(&days), "{days} s");
    assert_eq!(
        site.states().await,
        [CertificateState::Issued, CertificateState::Current]
    );

    // Both are good until the new one is used.
    drop(client);
    site.come(&files).await.unwrap();
    let next = kept(&files, &renewed, &key);
    let mut client = site.come(&next).await.unwrap();
    let answer = site.come(&files).await.err().expect("it is over");
    assert!(answer.contains("NotAuthorized"), "{answer}");
    assert!(client.subscribe(ANSWERS).await);
    // And it is not renewed again while it is new.
    let answer = site.ask(&mut client, &next, &second).await;
    refused(answer, "more than half of its time");
}

#[tokio::test]
async fn one_that_has_ended_is_renewed_and_does_nothing_else() {
    let site = Site::start(|_| {}).await;
    let files = site.certify("gw-1", 3_000, 600);
    drop(site.come(&files).await.unwrap());
    // A year goes by.
    site.shift_us.store(365 * DAY_US, Ordering::Relaxed);
    let client = site.come(&files).await.unwrap();
    for filter in ["command", "keys", "rules", "wanted", "piece", "desired"] {
        assert!(
            !client
                .subscribe(&format!("stencil/v1/g/gw-1/{filter}"))
                .await
        );
    }
    let samples = batch(1, 1, &[Sampled("t", 1.0, 1)]);
    let said = client
        .publish("stencil/v1/d/freezer-07/batch", samples)
        .await;
    assert!(said.is_err(), "{said:?}");
    let ledger = &site.running.hub().store().ledger;
    site.running.hub().caught_up().await.unwrap();
    let rows = ledger.list(&tenant("acme"), None, 10).await.unwrap();
    assert!(rows.items.is_empty());
    let mut client = site.come(&files).await.unwrap();
    assert!(client.subscribe(ANSWERS).await);
    let key = ClientKey::generate().unwrap();
    let request = key.request(&subject("acme", "gw-1")).unwrap();
    chain(site.ask(&mut client, &files, &request).await);
    drop(client);

    // Nor is that possible for ever, or for one that the hub does not know.
    site.shift_us.store(402 * DAY_US, Ordering::Relaxed);
    let mut client = site.come(&files).await.unwrap();
    assert!(client.subscribe(ANSWERS).await);
    let other = ClientKey::generate().unwrap();
    let request = other.request(&subject("acme", "gw-1")).unwrap();
    let answer = site.ask(&mut client, &files, &request).await;
    refused(answer, "too long ago");
    let unknown = site.certify("unknown", 3_500, 600);
    let answer = site.come(&unknown).await.err().expect("it is not known");
    assert!(answer.contains("BadUserNamePassword"), "{answer}");
}

#[tokio::test]
async fn a_revoked_one_is_cut_off_and_not_renewed() {
    let site = Site::start(|_| {}).await;
    let files = site.certify("gw-1", 3_000, 60);
    let mut client = site.come(&files).await.unwrap();
    assert!(client.subscribe(ANSWERS).await);
    let key = ClientKey::generate().unwrap();
    let request = key.request(&subject("acme", "gw-1")).unwrap();
    let renewed = chain(site.ask(&mut client, &files, &request).await);
    let (acme, gw_1) = (tenant("acme"), gateway("gw-1"));
    let registry = &site.running.hub().store().registry;
    registry.add_gateway(&acme, &gw_1, 1).await.unwrap();
    assert!(
        site.running
            .hub()
            .revoke_gateway(&acme, &gw_1)
            .await
            .unwrap()
    );
    eventually("the end of the connection", || async {
        !client.is_connected()
    })
    .await;
    for files in [&files, &kept(&files, &renewed, &key)] {
        let answer = site.come(files).await.err().expect("it is revoked");
        assert!(answer.contains("Banned"), "{answer}");
    }
    assert!(
        !site
            .running
            .hub()
            .revoke_gateway(&acme, &gw_1)
            .await
            .unwrap()
    );
}
