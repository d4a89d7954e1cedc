//! Seals that are right, and all in which they are not; anchors that are sent once.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use stencil_anchor::{head_of, series};
use stencil_crypto::authority::{Authority, Description};
use stencil_crypto::signature::SigningKey;
use stencil_crypto::tls::Identity;
use stencil_payments::port::{B256, Head, Outcome, Sent};
use stencil_proof::document::{Trusted, check};
use stencil_proof::{Chunk, Hash, Open, Record, Run, Said, Seal, Sealed, Secret, tree};
use stencil_protocol::batch::{Batch, Header, Writer};
use stencil_protocol::id::{Boot, DeviceId, GatewayId, Seq, TenantId};
use stencil_protocol::sample::{Sample, Value};
use stencil_store::{
    Anchoring, Commit, NewCertificate, NewSeal, ProofChanges, SealKey, SealState, SealedBatch,
    Sealing, Store,
};

use super::{NotProven, Proofs, Telling, Until, Which};
use crate::chains::Chains;
use crate::chains::tests::fake::{ACCOUNT, CHAIN, Fake};
use crate::clock::Clock;
use crate::wake::Wakes;

const GATEWAY: &str = "gw-1";
const HOUR_US: i64 = 3_600_000_000;

struct World {
    _dir: tempfile::TempDir,
    store: Store,
    proofs: Proofs,
    chain: Arc<Fake>,
    authority: Authority,
    key: SigningKey,
    now_us: Arc<AtomicI64>,
    position: u64,
}

fn acme() -> TenantId {
    TenantId::parse("acme").unwrap()
}

fn gateway() -> GatewayId {
    GatewayId::parse(GATEWAY).unwrap()
}

fn device() -> DeviceId {
    DeviceId::parse("freezer-1").unwrap()
}

fn key_of(dir: &std::path::Path, authority: &Authority, gateway: &str) -> SigningKey {
    let issued = authority.issue_gateway("acme", gateway).unwrap();
    let of = |end: &str| dir.join(format!("{gateway}-{}.{end}", issued.serial));
    issued.write(of("pem"), of("key")).unwrap();
    SigningKey::of(&Identity::load(of("pem"), of("key")).unwrap()).unwrap()
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = stencil_store::sqlite::open(dir.path().join("hub.db"))
            .await
            .unwrap()
            .store();
        store.tenancy.create_tenant(&acme(), 1).await.unwrap();
        let authority = Authority::create(dir.path().join("authority"), "Acme").unwrap();
        let key = key_of(dir.path(), &authority, GATEWAY);
        let now_us = Arc::new(AtomicI64::new(1_700_000_000_000_000));
        let chain = Fake::new();
        let clock = Arc::clone(&now_us);
        let clock = Clock::from_fn(move || clock.load(Ordering::SeqCst));
        let chains = Chains::new(vec![chain.clone()]);
        let proofs = Proofs::new(&store, &chains, &clock);
        let mut world = Self {
            _dir: dir,
            store,
            proofs,
            chain,
            authority,
            key,
            now_us,
            position: 0,
        };
        let key = world.key.clone();
        world.enrol(&key).await;
        world.begins(&key).await;
        world
    }

    async fn enrol(&self, key: &SigningKey) {
        let of = Description::of(key.certificate()).unwrap();
        let certificate = NewCertificate {
            fingerprint: of.fingerprint,
            serial: of.serial,
            key: of.key,
            not_before_us: 0,
            not_after_us: i64::MAX,
        };
        let certificates = &self.store.certificates;
        certificates
            .add_certified(&acme(), &gateway(), &certificate, 1)
            .await
            .unwrap();
    }

    async fn commit(&mut self, proofs: ProofChanges) {
        self.position += 1;
        let commit = Commit {
            position: self.position,
            proofs,
            ..Commit::default()
        };
        self.store.pipeline.commit(commit).await.unwrap();
    }

    async fn begins(&mut self, key: &SigningKey) {
        let fingerprint = Description::of(key.certificate()).unwrap().fingerprint;
        let sealing = Sealing {
            tenant: acme(),
            gateway: gateway(),
            epoch: 5,
            certificate: Some((fingerprint, key.certificate().to_vec())),
        };
        let changes = ProofChanges {
            sealing: vec![(self.position, sealing)],
            ..ProofChanges::default()
        };
        self.commit(changes).await;
    }

    /// The hub has this batch.
    async fn has(&mut self, body: &[u8]) {
        let batch = Batch::decode(body).unwrap();
        let header = batch.header();
        let kept = SealedBatch {
            tenant: acme(),
            device: device(),
            boot: header.boot,
            first: header.first,
            last: Seq(header.first.0 + batch.len() as u64 - 1),
            from_us: 0,
            to_us: i64::MAX,
            received_us: 1,
            position: self.position,
            body: body.to_vec().into(),
        };
        let changes = ProofChanges {
            batches: vec![kept],
            ..ProofChanges::default()
        };
        self.commit(changes).await;
    }

    async fn comes(&mut self, sealed: &Sealed) -> SealKey {
        let key = SealKey {
            tenant: acme(),
            gateway: gateway(),
            epoch: sealed.seal.epoch,
            number: sealed.seal.number,
        };
        let seal = NewSeal {
            key: key.clone(),
            hash: sealed.seal.hash(),
            record: Record::Sealed(Box::new(sealed.clone())).encode(),
            received_us: self.now_us.load(Ordering::SeqCst),
        };
        let changes = ProofChanges {
            seals: vec![seal],
            ..ProofChanges::default()
        };
        self.commit(changes).await;
        key
    }

    async fn found(&self, key: &SealKey) -> (SealState, String) {
        let telling = Telling {
            metrics: Arc::default(),
            audit_entries: 100,
            wakes: Wakes::default(),
        };
        let mut waiting = super::verify::Waiting::default();
        self.proofs.verify_pending(&telling, &mut waiting).await;
        let seal = self.store.proofs.seal(key).await.unwrap().unwrap();
        (seal.state, seal.why.unwrap_or_default())
    }

    async fn proof(
        &self,
        number: u64,
        until: Until,
    ) -> Result<stencil_proof::document::Document, NotProven> {
        let which = Which::Numbered {
            boot: Boot(7),
            seq: Seq(number),
        };
        self.proofs
            .document(&acme(), &device(), &which, until)
            .await
    }
}

/// Ten readings of the freezer.
fn body(first: u64, value: f64) -> Vec<u8> {
    let header = Header {
        boot: Boot(7),
        first: Seq(first),
        last_given: Seq(first + 9),
        previous: None,
        dropped: Default::default(),
    };
    let mut out = vec![0; 4_096];
    let mut writer = Writer::new(&mut out, &header).unwrap();
    for at in 0..10_u32 {
        let sample = Sample {
            name: "temperature",
            value: Value::Number(value + f64::from(at)),
            unit: Some("degC"),
            time_us: i64::from(at),
        };
        writer.push(&sample).unwrap();
    }
    let length = writer.finish().unwrap();
    out.truncate(length);
    out
}

/// Each reading of these, in their order.
fn each(bodies: &[&[u8]], mut take: impl FnMut(Boot, Seq, &Sample<'_>)) {
    for body in bodies {
        let batch = Batch::decode(body).unwrap();
        let boot = batch.header().boot;
        for (seq, sample) in batch.samples() {
            take(boot, seq, &sample.unwrap());
        }
    }
}

fn sealed(key: &SigningKey, bodies: &[&[u8]], number: u64, previous: Hash) -> Sealed {
    let secret = Secret::new([u8::try_from(number).unwrap(); 32]);
    let mut open = Open::new(device(), &secret);
    each(bodies, |boot, seq, sample| open.take(boot, seq, sample));
    signed(key, open.close(), Some(secret), number, previous)
}

/// As a gateway did that knew of no salts.
fn sealed_plainly(key: &SigningKey, body: &[u8], number: u64, previous: Hash) -> Sealed {
    let mut leaves = Vec::new();
    each(&[body], |boot, seq, sample| {
        leaves.push(Said::of(&device(), boot, seq, sample).plain_leaf());
    });
    let batch = Batch::decode(body).unwrap();
    let chunk = Chunk {
        device: device(),
        runs: vec![Run {
            boot: batch.header().boot,
            first: batch.header().first,
            count: leaves.len() as u64,
        }],
        readings: leaves.len() as u64,
        root: tree::root(&leaves),
    };
    signed(key, chunk, None, number, previous)
}

fn signed(
    key: &SigningKey,
    chunk: Chunk,
    secret: Option<Secret>,
    number: u64,
    previous: Hash,
) -> Sealed {
    let chunks = vec![chunk];
    let leaves: Vec<Hash> = chunks.iter().map(Chunk::leaf).collect();
    let seal = Seal {
        tenant: acme(),
        gateway: gateway(),
        epoch: 5,
        number,
        previous,
        at_us: 9,
        certificate: Description::of(key.certificate()).unwrap().fingerprint,
        chunks: 1,
        root: tree::root(&leaves),
    };
    let signature = key.sign(&seal.entry()).unwrap();
    Sealed {
        seal,
        signature,
        chunks,
        secret,
    }
}

#[tokio::test]
async fn a_seal_is_verified_when_all_that_it_is_over_is_here_and_then_proves() {
    let mut world = World::new().await;
    let (first, second) = (body(1, -20.0), body(11, -30.0));
    world.has(&first).await;
    // A device hands in twice what was not acknowledged; the same number with another value is not taken.
    let seal = sealed(&world.key, &[&first, &first, &second], 1, [0; 32]);
    let key = world.comes(&seal).await;
    assert_eq!(world.found(&key).await.0, SealState::Pending);
    let not_yet = world.proof(3, Until::Sealed).await.unwrap_err();
    assert!(matches!(not_yet, NotProven::NotYet(_)), "{not_yet}");
    let none = world.proof(99, Until::Sealed).await.unwrap_err();
    assert!(matches!(none, NotProven::NotFound(_)), "{none}");
    world.has(&second).await;
    world.has(&body(1, 55.0)).await;
    let (state, why) = world.found(&key).await;
    assert_eq!(state, SealState::Verified, "{why}");

    let document = world.proof(13, Until::Sealed).await.unwrap();
    let of = Description::of(world.key.certificate()).unwrap();
    let trusted = Trusted {
        gateways: vec![of.key],
    };
    let held = check(&document, &trusted).unwrap();
    assert_eq!(
        (held.trusted, document.reading.value.shown()),
        (true, "-28.0".to_owned())
    );
    let not_yet = world.proof(13, Until::Anchored).await.unwrap_err();
    assert!(
        not_yet.to_string().contains("not anchored yet"),
        "{not_yet}"
    );
    // By name and time it is the same.
    let which = Which::Timed {
        name: "temperature".to_owned(),
        time_us: 2,
    };
    let found = world
        .proofs
        .document(&acme(), &device(), &which, Until::Sealed)
        .await
        .unwrap();
    assert_eq!(found.reading.number, 3);
}

#[tokio::test]
async fn what_was_sealed_without_salts_is_verified_and_proves_nothing() {
    let mut world = World::new().await;
    let (before, after) = (body(1, -20.0), body(11, -30.0));
    world.has(&before).await;
    world.has(&after).await;
    // A gateway that is upgraded goes on in its chain.
    let plain = sealed_plainly(&world.key, &before, 1, [0; 32]);
    let salted = sealed(&world.key, &[&after], 2, plain.seal.hash());
    for seal in [&plain, &salted] {
        let key = world.comes(seal).await;
        let (state, why) = world.found(&key).await;
        assert_eq!(state, SealState::Verified, "{why}");
    }
    let none = world.proof(3, Until::Sealed).await.unwrap_err();
    assert!(matches!(none, NotProven::NotFound(_)), "{none}");
    let why = "seal 1 of gw-1 is verified, and there are no proofs by it";
    assert!(none.to_string().contains(why), "{none}");
    let document = world.proof(13, Until::Sealed).await.unwrap();
    check(&document, &Trusted::default()).unwrap();
    // The salt of that reading is in it, and of no other; nor is what they all are made from.
    let (json, secret) = (document.to_json().to_string(), salted.secret.unwrap());
    let salts = secret.salts(&device());
    for place in 0..10 {
        let is_in = json.contains(&hex::encode(salts.at(place).0));
        assert_eq!(is_in, place == 2, "{place}");
    }
    assert!(!json.contains(&"02".repeat(32)));
}

#[tokio::test]
async fn a_seal_with_another_secret_is_another_seal() {
    let mut world = World::new().await;
    let readings = body(1, -20.0);
    world.has(&readings).await;
    let mut seal = sealed(&world.key, &[&readings], 1, [0; 32]);
    seal.secret = Some(Secret::new([99; 32]));
    let at = world.comes(&seal).await;
    let (state, why) = world.found(&at).await;
    assert_eq!(state, SealState::Mismatch);
    assert!(why.contains("do not give the root"), "{why}");
    // It is no way around them to send none.
    let mut none = sealed(&world.key, &[&readings], 2, seal.seal.hash());
    none.secret = None;
    let at = world.comes(&none).await;
    assert_eq!(world.found(&at).await.0, SealState::Mismatch);
}

#[tokio::test]
async fn a_seal_over_something_else_is_told() {
    let mut world = World::new().await;
    world.has(&body(1, -20.0)).await;
    let key = world.key.clone();
    let seal = sealed(&key, &[&body(1, -19.0)], 1, [0; 32]);
    let at = world.comes(&seal).await;
    let (state, why) = world.found(&at).await;
    assert_eq!(state, SealState::Mismatch);
    assert!(why.contains("freezer-1"), "{why}");
    let filter = stencil_store::AuditFilter {
        action: Some("gateways.seal".to_owned()),
        ..stencil_store::AuditFilter::default()
    };
    let told = world
        .store
        .audit
        .entries(&acme(), &filter, None, 10)
        .await
        .unwrap();
    assert_eq!(told.items.len(), 1);
    assert!(world.proof(3, Until::Sealed).await.is_err());

    // Out of its chain: it names another one before it.
    let after = sealed(&key, &[&body(1, -20.0)], 2, [8; 32]);
    let at = world.comes(&after).await;
    let (state, why) = world.found(&at).await;
    assert_eq!(state, SealState::Mismatch);
    assert!(why.contains("out of its chain"), "{why}");
    // Its chunks are not those of its root.
    let mut exchanged = sealed(&key, &[&body(1, -20.0)], 3, after.seal.hash());
    exchanged.chunks[0].root[0] ^= 1;
    let at = world.comes(&exchanged).await;
    assert_eq!(world.found(&at).await.0, SealState::Mismatch);
}

#[tokio::test]
async fn only_a_certificate_that_lets_the_gateway_in_counts() {
    let mut world = World::new().await;
    let readings = body(1, -20.0);
    world.has(&readings).await;
    // Shown, and never enrolled.
    let stranger = key_of(world._dir.path(), &world.authority, GATEWAY);
    world.begins(&stranger).await;
    let at = world
        .comes(&sealed(&stranger, &[&readings], 1, [0; 32]))
        .await;
    let (state, why) = world.found(&at).await;
    assert_eq!(state, SealState::Refused);
    assert!(why.contains("knows no certificate"), "{why}");
    // Another gateway's, even where it is enrolled as one of this.
    let other = key_of(world._dir.path(), &world.authority, "gw-2");
    world.enrol(&other).await;
    world.begins(&other).await;
    let at = world.comes(&sealed(&other, &[&readings], 2, [0; 32])).await;
    let (state, why) = world.found(&at).await;
    assert_eq!(state, SealState::Refused);
    assert!(why.contains("not one of this gateway"), "{why}");
    // A wrong signature.
    let mut forged = sealed(&world.key, &[&readings], 3, [0; 32]);
    forged.signature[9] ^= 1;
    let at = world.comes(&forged).await;
    assert_eq!(world.found(&at).await.0, SealState::Refused);
    // Revoked.
    let good = sealed(&world.key, &[&readings], 4, forged.seal.hash());
    world
        .store
        .certificates
        .revoke_gateway(&acme(), &gateway(), 5)
        .await
        .unwrap();
    let at = world.comes(&good).await;
    let (state, why) = world.found(&at).await;
    assert_eq!(state, SealState::Refused);
    assert!(why.contains("revoked"), "{why}");
}

#[tokio::test]
async fn what_never_comes_is_waited_for_and_then_told() {
    let mut world = World::new().await;
    let seal = sealed(&world.key, &[&body(1, -20.0)], 1, [0; 32]);
    let at = world.comes(&seal).await;
    assert_eq!(world.found(&at).await.0, SealState::Pending);
    world.now_us.fetch_add(7 * HOUR_US, Ordering::SeqCst);
    let (state, why) = world.found(&at).await;
    assert_eq!(state, SealState::Incomplete);
    assert!(why.contains("freezer-1"), "{why}");
}

impl World {
    /// Has a seal that is verified and anchored each minute, in a series whose newest anchor ended long ago.
    async fn anchors(&mut self) -> Sealed {
        let readings = body(1, -20.0);
        self.has(&readings).await;
        let seal = sealed(&self.key, &[&readings], 1, [0; 32]);
        let at = self.comes(&seal).await;
        assert_eq!(self.found(&at).await.0, SealState::Verified);
        let contract = crate::chains::tests::fake::ANCHOR;
        let head = [[0; 32], word(4), word(1_600_000_000)].concat();
        let question = head_of(ACCOUNT, B256::from(series(&acme())));
        self.chain.answers(contract, question.into(), head);
        let anchoring = Anchoring {
            chain: CHAIN.to_owned(),
            interval_s: 60,
        };
        let store = &self.store.proofs;
        store
            .set_anchoring(&acme(), Some(&anchoring), 1)
            .await
            .unwrap();
        seal
    }

    async fn newest(&self) -> super::anchor::Standing {
        self.proofs.newest_anchor(&acme()).await.unwrap().unwrap()
    }
}

fn word(number: u64) -> [u8; 32] {
    let mut word = [0; 32];
    word[24..].copy_from_slice(&number.to_be_bytes());
    word
}

#[tokio::test]
async fn an_anchor_is_ordered_once_and_what_will_never_be_lets_its_seals_go() {
    let mut world = World::new().await;
    let seal = world.anchors().await;
    assert!(
        world
            .proofs
            .anchors_on("nowhere")
            .unwrap_err()
            .contains("no chain")
    );
    world.proofs.anchors_on(CHAIN).unwrap();
    let contract = crate::chains::tests::fake::ANCHOR;
    let store = Arc::clone(&world.store.proofs);
    for _ in 0..3 {
        world.proofs.anchor_due().await;
    }
    // Sent once, over the one seal; another process that goes on orders the same.
    {
        let orders = world.chain.orders.lock().unwrap();
        assert_eq!(orders.len(), 1, "{orders:?}");
        assert_eq!(
            (orders[0].to, orders[0].key.as_str()),
            (contract, "anchor 1")
        );
    }
    let standing = world.proofs.newest_anchor(&acme()).await.unwrap().unwrap();
    assert_eq!(
        (standing.open, standing.body.number, standing.body.seals),
        (true, 5, 1)
    );
    assert_eq!(standing.body.root.0, tree::root(&[seal.seal.hash()]));

    // In a block, and nothing shows it: that is told, and it waits.
    let outcome = Outcome {
        tx: B256::repeat_byte(7),
        block: 9,
        block_hash: B256::repeat_byte(9),
        succeeded: true,
    };
    let is = |sent| {
        let mut known = world.chain.sent.lock().unwrap();
        known.insert("anchor 1".to_owned(), sent);
    };
    is(Sent::Included(outcome));
    world.proofs.anchor_due().await;
    is(Sent::Final(outcome));
    world.proofs.anchor_due().await;
    let standing = world.proofs.newest_anchor(&acme()).await.unwrap().unwrap();
    assert!(
        standing.open && standing.body.trouble.is_some(),
        "{standing:?}"
    );
    assert!(world.proof(3, Until::Anchored).await.is_err());

    // Reverted for good: its seal is in the next one.
    is(Sent::Final(Outcome {
        succeeded: false,
        ..outcome
    }));
    world.proofs.anchor_due().await;
    assert!(
        !world
            .proofs
            .newest_anchor(&acme())
            .await
            .unwrap()
            .unwrap()
            .open
    );
    assert_eq!(store.unanchored(&acme(), 9).await.unwrap().len(), 1);
    world.proofs.anchor_due().await;
    assert_eq!(
        world.chain.orders.lock().unwrap().len(),
        1,
        "the interval is not over"
    );
    world.now_us.fetch_add(61_000_000, Ordering::SeqCst);
    world.proofs.anchor_due().await;
    assert_eq!(world.chain.orders.lock().unwrap()[1].key, "anchor 2");
}

#[tokio::test]
async fn an_anchor_that_was_made_while_the_clock_was_ahead_holds_up_none_after_it_is_right_again() {
    const AHEAD_S: u64 = 20 * 60;

    let mut world = World::new().await;
    let now_s = |world: &World| world.proofs.now_s();
    world.anchors().await;
    let ahead_us = i64::try_from(AHEAD_S).unwrap() * 1_000_000;
    world.now_us.fetch_add(ahead_us, Ordering::SeqCst);
    world.proofs.anchor_due().await;
    assert_eq!(world.newest().await.body.end, now_s(&world) - 3);
    world.now_us.fetch_sub(ahead_us, Ordering::SeqCst);
    let outcome = Outcome {
        tx: B256::repeat_byte(7),
        block: 9,
        block_hash: B256::repeat_byte(9),
        succeeded: false,
    };
    let is = |key: &str, sent| {
        let mut known = world.chain.sent.lock().unwrap();
        known.insert(key.to_owned(), sent);
    };
    is("anchor 1", Sent::Final(outcome));
    world.proofs.anchor_due().await;
    let given_up = world.newest().await;
    assert!(!given_up.open, "{given_up:?}");
    let trouble = given_up.body.trouble.clone().unwrap();
    assert!(trouble.contains("the hub's clock was ahead"), "{trouble}");
    assert_eq!(super::due_s(Some(&given_up), 60, now_s(&world)), 0);
    assert_eq!(super::held_up(Some(&given_up), now_s(&world)), None);
    world.now_us.fetch_add(1_000_000, Ordering::SeqCst);
    world.proofs.anchor_due().await;
    let next = world.newest().await;
    assert_eq!((next.anchor, next.open), (2, true));
    assert_eq!((next.body.end, next.body.seals), (now_s(&world) - 3, 1));
    // By a clock that is right the next one comes an interval after one that was reverted, as ever.
    is("anchor 2", Sent::Final(outcome));
    world.proofs.anchor_due().await;
    let reverted = world.newest().await;
    let trouble = reverted.body.trouble.clone().unwrap();
    assert!(trouble.ends_with("was reverted"), "{trouble}");
    world.proofs.anchor_due().await;
    assert_eq!(world.newest().await.anchor, 2);
    let due_s = super::due_s(Some(&reverted), 60, now_s(&world));
    assert_eq!(due_s, reverted.body.end + 60);
}

/// Told while it is so: the clock is set only by who is told that it is wrong.
#[tokio::test]
async fn while_the_clock_is_ahead_the_anchor_that_is_reverted_by_it_says_so() {
    const AHEAD_S: u64 = 20 * 60;

    let mut world = World::new().await;
    world.anchors().await;
    let is_at = |world: &World, time_s| {
        *world.chain.head.lock().unwrap() = Some(Head { number: 9, time_s });
    };
    let later = |world: &World, seconds: u64| {
        let later_us = i64::try_from(seconds).unwrap() * 1_000_000;
        world.now_us.fetch_add(later_us, Ordering::SeqCst);
    };
    let chain_s = world.proofs.now_s();
    is_at(&world, chain_s);
    later(&world, AHEAD_S);
    world.proofs.anchor_due().await;
    let outcome = Outcome {
        tx: B256::repeat_byte(7),
        block: 9,
        block_hash: B256::repeat_byte(9),
        succeeded: false,
    };
    let is = |world: &World, key: &str, sent| {
        let mut known = world.chain.sent.lock().unwrap();
        known.insert(key.to_owned(), sent);
    };
    let told = |trouble: Option<String>| {
        let trouble = trouble.unwrap();
        assert!(trouble.contains("the hub's clock was ahead"), "{trouble}");
        assert!(trouble.contains("1197 s"), "{trouble}");
    };
    // As soon as it is in a block.
    is(&world, "anchor 1", Sent::Included(outcome));
    world.proofs.anchor_due().await;
    let newest = world.newest().await;
    assert!(newest.open, "{newest:?}");
    told(newest.body.trouble);
    // Until that is final the chain has come to where its interval ends.
    later(&world, 2 * AHEAD_S);
    is_at(&world, chain_s + 2 * AHEAD_S);
    world.proofs.anchor_due().await;
    is(&world, "anchor 1", Sent::Final(outcome));
    world.proofs.anchor_due().await;
    let newest = world.newest().await;
    assert!(!newest.open, "{newest:?}");
    told(newest.body.trouble);
    // The hub was away while it was only in a block.
    later(&world, 60);
    world.proofs.anchor_due().await;
    assert_eq!(world.newest().await.anchor, 2);
    is_at(&world, chain_s + 2 * AHEAD_S + 60);
    is(&world, "anchor 2", Sent::Final(outcome));
    world.proofs.anchor_due().await;
    told(world.newest().await.body.trouble);
    // Reverted by something else: its interval was over.
    later(&world, 60);
    world.proofs.anchor_due().await;
    is_at(&world, world.proofs.now_s());
    for sent in [Sent::Included(outcome), Sent::Final(outcome)] {
        is(&world, "anchor 3", sent);
        world.proofs.anchor_due().await;
    }
    let newest = world.newest().await;
    assert_eq!((newest.anchor, newest.open), (3, false));
    let trouble = newest.body.trouble.unwrap();
    assert!(trouble.ends_with("was reverted"), "{trouble}");
}
