//! One of everything for the tenant `acme`. All of it carries a word that no answer to another
//! tenant may carry.

use alloy_sol_types::SolValue as _;
use serde_json::json;
use stencil_ownership::abi::{self, SolCall as _};
use stencil_payments::{Address, U256};
use stencil_protocol::batch::{DropReason, Dropped};
use stencil_protocol::command::State;
use stencil_protocol::desired::Section;
use stencil_protocol::id::{Boot, CommandId, DeviceId, GatewayId, Seq, TenantId};
use stencil_protocol::ledger::BootLedger;
use stencil_protocol::sample::OwnedValue;
use stencil_rollout::{Digest, Plan};
use stencil_store::{
    AlarmChange, AlarmId, Attempt, CommandStatus, Commit, DesiredOf, DeviceImage, DevicePassport,
    DeviceVerdict, Document, FoundSeal, Image, LinkInfo, LinkSeen, NewCommand, Outcome, Point,
    Progress, Quarantined, Raised, RolloutChange, RolloutDevice, RolloutHead, RolloutNotice, Room,
    RunId, Severity, Step, Store, StoredOwnership, Trigger, TwinUpdate, UpdateTrust,
};

use super::NOW_US;
use crate::Cashier;
use crate::chains::tests::fake::{CHAIN, Fake, ID, PAYEE, token};
use crate::chains::{About, NewInvoice, PaymentSettings};

/// In all that belongs to `acme`.
pub(super) const MARK: &str = "marked";
pub(super) const RUN: RunId = RunId([0xab; 32]);
pub(super) const ALARM: AlarmId = AlarmId([0xef; 16]);
pub(super) const ROLLOUT: [u8; 16] = [0x4a; 16];
pub(super) const IMAGE: [u8; 32] = [0x4b; 32];
pub(super) const COMMAND: CommandId = CommandId([0xcd; 16]);

pub(super) fn rival() -> TenantId {
    TenantId::parse("rival").unwrap()
}

pub(super) fn acme() -> TenantId {
    TenantId::parse("acme").unwrap()
}

pub(super) fn freezer() -> DeviceId {
    DeviceId::parse("freezer-marked").unwrap()
}

/// A definition that is taken.
pub(super) fn workflow(version: u32) -> String {
    format!(
        "id: warm-marked\nversion: {version}\n\
         on: {{ telemetry: {{ devices: \"freezer-*\", name: temperature }} }}\n\
         when: {{ above: -12.0, for: 3s }}\n\
         steps:\n  - {{ id: page, use: content.publish, with: {{ collection: notices, key: \"a\" }} }}\n"
    )
}

pub(super) const INVOICE: [u8; 16] = [0x1a; 16];

/// Settings of payments by a unique amount and by authorisation, to an address of a tenant's own.
pub(super) fn payments(payee: stencil_payments::Address) -> serde_json::Value {
    let payee = payee.to_checksum(None);
    json!({ "methods": [
        { "chain": CHAIN, "token": "TEST", "way": "authorization", "payee": payee },
        { "chain": CHAIN, "token": "TEST", "way": "unique_amount", "payee": payee },
    ] })
}

/// A tenant takes payments from now on.
pub(super) async fn take_payments(
    cashier: &Cashier,
    store: &Store,
    tenant: &TenantId,
    payee: stencil_payments::Address,
) -> PaymentSettings {
    let settings = PaymentSettings::read(&payments(payee).to_string()).unwrap();
    let body = serde_json::to_string(&settings).unwrap();
    let payees = settings.payees(cashier.chains());
    let payments = &store.payments;
    payments
        .set_payment_settings(tenant, &body, &payees, NOW_US)
        .await
        .unwrap();
    let places = settings.places(cashier.chains());
    cashier.hold(tenant, places).await.unwrap();
    settings
}

/// `acme` has a workflow in force that its paid invoices start.
pub(super) async fn waits_for_lockers(served: &super::Served) {
    let yaml = "id: paid-marked\nversion: 1\non: { payment: { reference: 'locker-*' } }\nsteps:\n\
        - { id: page, use: content.upsert, with: { collection: lockers, key: '{{ event.reference }}', \
        set: { invoice: '{{ event.invoice }}' } } }\n";
    let workflows = &served.store.workflows;
    // An operator may have erased the tenant by now.
    let _ = workflows.put(&acme(), "paid-marked", 1, yaml, NOW_US).await;
    served.triggers.changed().await;
}

/// A transaction is in a block that has sent an address more than any refund is, as often as a test may ask.
pub(super) fn sends(chain: &Fake, tx: u8, to: Address) {
    let tx = stencil_payments::B256::repeat_byte(tx);
    let moves = vec![(Some(crate::chains::tests::fake::TOKEN), to, 1 << 40); 100];
    chain.has(tx, 7, &moves);
}

/// An invoice of `acme` that was paid twice over, and its refund that is due.
pub(super) async fn overpaid(cashier: &Cashier, store: &Store) -> (String, String) {
    use std::sync::atomic::{AtomicU8, Ordering};
    use stencil_payments::invoice::{Event, Payment};
    use stencil_payments::money::Amount;
    use stencil_payments::observation::{Block, Depth, Key};
    static MADE: AtomicU8 = AtomicU8::new(0);
    let n = MADE.fetch_add(1, Ordering::SeqCst);
    let mut id = [0x2b; 16];
    id[0] = n;
    let at = make(cashier, store, id).await;
    let definition = at.kept.invoice.definition();
    let key = Key {
        chain: crate::chains::tests::fake::ID,
        // None of those that refunds are told to be sent by.
        tx: stencil_payments::B256::with_last_byte(n),
        ordinal: u32::from(n),
    };
    let due = definition.methods[1].due.0;
    let payment = Payment {
        method: 1,
        amount: Amount(due + due),
        from: stencil_payments::Address::repeat_byte(0x0f),
        block: Block {
            number: 5,
            hash: stencil_payments::B256::repeat_byte(5),
            time_s: 1_700_000_001,
        },
    };
    let seq = 1;
    let depth = Depth::FINAL;
    for event in [
        Event::Credit { key, seq, payment },
        Event::Depth { key, seq, depth },
    ] {
        cashier.apply(&acme(), definition.id, event).await.unwrap();
    }
    let at = cashier
        .invoice(&acme(), definition.id)
        .await
        .unwrap()
        .unwrap();
    let refund = at.kept.invoice.refunds()[0].id;
    (definition.id.to_string(), refund.to_string())
}

pub(super) async fn invoice(cashier: &Cashier, store: &Store) {
    make(cashier, store, INVOICE).await;
}

async fn make(cashier: &Cashier, store: &Store, id: [u8; 16]) -> crate::chains::At {
    use stencil_payments::invoice::{Definition, Id, Policy, Price};
    let settings = take_payments(cashier, store, &acme(), PAYEE).await;
    let price = Price::Token {
        asset: token().asset(),
        amount: token().parse("2.50").unwrap(),
    };
    let (chains, rates) = (cashier.chains(), cashier.rates());
    let methods = settings.methods(chains, &price, None, rates, NOW_US).await;
    let definition = Definition {
        id: Id(id),
        tenant: acme(),
        price,
        methods: methods.unwrap(),
        created_us: NOW_US,
        expires_us: NOW_US + 900_000_000,
        policy: Policy::DEFAULT,
    };
    let about = About {
        reference: Some("locker-marked".to_owned()),
        title: Some("Locker, an hour".to_owned()),
        ..About::default()
    };
    let new = NewInvoice { definition, about };
    cashier.create(new).await.unwrap()
}

pub(super) const PASSPORTS: Address = Address::repeat_byte(0x71);
pub(super) const RIGHTS: Address = Address::repeat_byte(0x72);
pub(super) const MARKET: Address = Address::repeat_byte(0x73);
/// The passport of the freezer.
pub(super) const TOKEN_ID: [u8; 32] = [0x4e; 32];
/// A document of `acme`'s, by its content.
pub(super) const DOCUMENT: &[u8] = b"{\"name\":\"freezer-marked\"}";

/// A policy that is taken.
pub(super) fn ownership_body() -> serde_json::Value {
    json!({
        "chain": CHAIN, "passports": PASSPORTS.to_checksum(None),
        "access_rights": RIGHTS.to_checksum(None), "market": MARKET.to_checksum(None), "owner_may": ["*"], "user_may": ["unlock"],
    })
}

/// The contracts are there, and say what they are; right 5 is there.
pub(super) fn contracts(chain: &Fake) {
    for (contract, interface) in [(PASSPORTS, abi::ERC_721), (RIGHTS, abi::ERC_4907)] {
        chain.is_contract(contract);
        let interface = interface.into();
        let call = abi::supportsInterfaceCall {
            interfaceId: interface,
        };
        chain.answers(contract, call.abi_encode().into(), true.abi_encode());
    }
    chain.is_contract(MARKET);
    let call = abi::LISTING_TYPEHASHCall {}.abi_encode();
    let hash = stencil_ownership::listing::type_hash();
    chain.answers(MARKET, call.into(), hash.abi_encode());
    let id = U256::from(5);
    let right = abi::Right {
        device: id,
        ends: 2_000_000_000,
    };
    let call = abi::rightOfCall { tokenId: id }.abi_encode();
    chain.answers(RIGHTS, call.into(), right.abi_encode());
    let call = abi::userOfCall { tokenId: id }.abi_encode();
    chain.answers(RIGHTS, call.into(), PASSPORTS.abi_encode());
    let call = abi::userExpiresCall { tokenId: id }.abi_encode();
    chain.answers(RIGHTS, call.into(), U256::from(2_000_000_000).abi_encode());
}

/// A policy of a tenant's.
pub(super) async fn ownership(store: &Store, tenant: &TenantId) {
    store.chains.open_chain(CHAIN, ID, NOW_US).await.unwrap();
    let stored = StoredOwnership {
        tenant: tenant.clone(),
        chain: CHAIN.to_owned(),
        body: ownership_body().to_string(),
        changed_us: NOW_US,
    };
    let before = store.ownership.ownership(tenant).await.unwrap();
    let anew = stencil_store::Anew {
        before: before.map(|before| before.body),
        ..Default::default()
    };
    store.ownership.put_ownership(&stored, &anew).await.unwrap();
}

/// A policy, a passport and a document of `acme`'s.
pub(super) async fn owned(store: &Store) {
    ownership(store, &acme()).await;
    let passport = DevicePassport {
        tenant: acme(),
        device: freezer(),
        token: TOKEN_ID,
        did: Some("did:web:freezer-marked".to_owned()),
        created_us: NOW_US,
    };
    store
        .ownership
        .put_device_passport(&passport)
        .await
        .unwrap();
    let document = Document {
        media_type: "application/json".to_owned(),
        body: DOCUMENT.to_vec(),
    };
    let hash = stencil_ownership::cid::Cid::of(DOCUMENT).0.0;
    let port = &store.ownership;
    port.put_document(&acme(), &hash, &document, NOW_US)
        .await
        .unwrap();
}

pub(super) async fn fill(store: &Store) {
    owned(store).await;
    store.pipeline.commit(readings()).await.unwrap();
    let yaml = workflow(1);
    assert!(
        store
            .workflows
            .put(&acme(), "warm-marked", 1, &yaml, NOW_US)
            .await
            .unwrap()
    );
    run(store).await;
    content(store).await;
    rollout(store).await;
    gateways(store).await;
    super::x402::bought(store).await;
    super::credentials::issued(store).await;
    super::access::given(store).await;
    let command = NewCommand {
        id: COMMAND,
        tenant: acme(),
        device: freezer(),
        name: "lock-marked".to_owned(),
        argument: Some(OwnedValue::Integer(3)),
        expires_us: NOW_US + 1,
        effect_key: None,
    };
    assert!(store.commands.queue(&command, NOW_US).await.unwrap());
    let status = CommandStatus {
        tenant: acme(),
        command: COMMAND,
        state: State::Done,
        at_us: NOW_US,
        detail: Some("bolt marked".to_owned()),
        gateway: None,
    };
    assert!(store.commands.status(&status).await.unwrap());
}

/// An update of `firmware`, whose digest the tests name, and who signed it.
pub(super) struct Update {
    pub(super) keys: String,
    pub(super) package: Vec<u8>,
}

/// One for all tests of a process: its keys take a second.
pub(super) fn update() -> &'static Update {
    static UPDATE: std::sync::OnceLock<Update> = std::sync::OnceLock::new();
    UPDATE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let mut keys = stencil_update::signing::Keys::generate(&dir.path().join("keys")).unwrap();
        let payload = b"firmware";
        let header = stencil_update::Header {
            vendor: stencil_update::id::Id([1; 16]),
            class: stencil_update::id::Id([3; 16]),
            sequence: 1,
            size: 8,
            digest: stencil_update::device::digest(payload),
            version: stencil_update::header::Version::new("1").unwrap(),
        };
        let manifest = keys.sign(&header).unwrap().encode();
        let length = u32::try_from(manifest.len()).unwrap().to_be_bytes();
        Update {
            keys: keys.trust().to_text(),
            package: [&length, &manifest[..], payload].concat(),
        }
    })
}

/// Trusts who signed it.
pub(super) async fn trust_updates(store: &Store) {
    let trust = UpdateTrust {
        keys: update().keys.clone(),
        classes: Vec::new(),
        changed_us: NOW_US,
    };
    store.rollouts.set_trust(&acme(), &trust).await.unwrap();
}

/// A roll-out that is paused, with a device in each of two phases.
async fn rollout(store: &Store) {
    let image = Image {
        digest: IMAGE,
        vendor: [1; 16],
        class: [2; 16],
        sequence: 4,
        version: "1.4-marked".to_owned(),
        size: 7,
        envelope: vec![0; 10],
        pushed_us: NOW_US,
    };
    assert!(store.rollouts.put_image(&acme(), &image).await.unwrap());
    let trust = UpdateTrust {
        keys: "ed25519 marked".to_owned(),
        classes: Vec::new(),
        changed_us: NOW_US,
    };
    store.rollouts.set_trust(&acme(), &trust).await.unwrap();
    let image = stencil_rollout::Image {
        digest: Digest(IMAGE),
        sequence: 4,
        class: crate::rollout::class(&[1; 16], &[2; 16]),
    };
    let plan = json!(Plan::new(image, "freezer-marked*")).to_string();
    let rollouts = &store.rollouts;
    let tenant = acme();
    let created = rollouts.create(&tenant, &ROLLOUT, &IMAGE, &plan, NOW_US);
    assert!(created.await.unwrap());
    let row = |name: &str, phase: &str, percent, detail: Option<&str>| RolloutDevice {
        device: DeviceId::parse(name).unwrap(),
        gateway: GatewayId::parse("gateway-marked").ok(),
        phase: phase.to_owned(),
        percent,
        detail: detail.map(str::to_owned),
        since_us: NOW_US,
        body: "{}".to_owned(),
    };
    let head = json!({
        "status": "paused", "pause": { "by": "failures", "failed": 1, "finished": 2 }, "stage": 0,
        "clock_us": 0, "ticked_us": null, "seen": { "failed": 0, "finished": 0 },
        "changed_us": NOW_US,
    });
    let commit = Commit {
        position: 10,
        rollouts: RolloutChange {
            heads: vec![RolloutHead {
                tenant: acme(),
                id: ROLLOUT,
                status: "paused".to_owned(),
                is_over: false,
                head: head.to_string(),
                changed_us: NOW_US,
            }],
            devices: [
                row("freezer-marked", "failed", None, Some("<no room> marked")),
                row("a-foreign-marked", "downloading", Some(40), None),
            ]
            .map(|row| (acme(), ROLLOUT, row))
            .into(),
            notices: vec![(
                acme(),
                ROLLOUT,
                RolloutNotice {
                    at_us: NOW_US,
                    body: json!({ "kind": "paused", "failed": 1, "finished": 2, "canary": true })
                        .to_string(),
                },
            )],
            images: vec![(
                acme(),
                DeviceImage {
                    device: DeviceId::parse("freezer-marked").unwrap(),
                    gateway: GatewayId::parse("gateway-marked").ok(),
                    digest: [0x4c; 32],
                    sequence: 3,
                    class: crate::rollout::class(&[1; 16], &[2; 16]),
                    version: Some("1.3-marked".to_owned()),
                    trial: false,
                    reported_us: NOW_US,
                },
            )],
            verdicts: vec![(
                acme(),
                DeviceVerdict {
                    device: DeviceId::parse("freezer-marked").unwrap(),
                    digest: IMAGE,
                    reason: "<no room> marked".to_owned(),
                    reported_us: NOW_US,
                },
            )],
        },
        ..Commit::default()
    };
    store.pipeline.commit(commit).await.unwrap();
}

/// 120 temperatures, one a second, up to now; a door; a text; a foreign device.
fn readings() -> Commit {
    let link = LinkInfo {
        suite: Some("suite-marked".to_owned()),
        group: Some("X25519MLKEM768".to_owned()),
        post_quantum: true,
    };
    let gateway = Some(GatewayId::parse("gateway-marked").unwrap());
    let point = |device: DeviceId, name: &str, time_us, value, unit: Option<&str>| Point {
        tenant: acme(),
        device,
        name: name.to_owned(),
        time_us,
        value,
        unit: unit.map(str::to_owned),
    };
    let mut points: Vec<Point> = (0..120)
        .map(|n| {
            let value = OwnedValue::Number(-20.0 + f64::from(n) / 10.0);
            let time_us = NOW_US - i64::from(119 - n) * 1_000_000;
            point(freezer(), "temperature", time_us, value, Some("degC"))
        })
        .collect();
    points.push(point(
        freezer(),
        "door",
        NOW_US,
        OwnedValue::Bool(true),
        None,
    ));
    let note = OwnedValue::Text("<b>marked</b>".to_owned());
    points.push(point(freezer(), "note", NOW_US, note, None));
    let foreign = DeviceId::parse("a-foreign-marked").unwrap();
    points.push(point(
        foreign,
        "co2 level",
        NOW_US,
        OwnedValue::Integer(415),
        None,
    ));
    let twins = points.iter().map(|point| TwinUpdate {
        tenant: acme(),
        device: point.device.clone(),
        gateway: (point.device == freezer())
            .then(|| gateway.clone())
            .flatten(),
        name: point.name.clone(),
        value: point.value.clone(),
        unit: point.unit.clone(),
        time_us: point.time_us,
        received_us: NOW_US,
        link: Some(link.clone()),
    });
    let mut ledger = BootLedger::default();
    (1..=120).for_each(|n| {
        ledger.store(Seq(n));
    });
    ledger.drop(Dropped {
        first: Seq(121),
        count: 2,
        reason: DropReason::BufferFull,
    });
    Commit {
        position: 10,
        ledgers: vec![(acme(), freezer(), Boot(4), ledger)],
        twins: twins.collect(),
        points: points.into(),
        quarantined: vec![Quarantined {
            tenant: acme(),
            device: Some(freezer()),
            topic: "stencil/v1/d/freezer-marked/batch".to_owned(),
            reason: "not a batch".to_owned(),
            path: None,
            payload: vec![0xff, 0x00],
            at_us: NOW_US,
            position: 5,
        }],
        triggers: vec![Trigger {
            run: RUN,
            tenant: acme(),
            workflow: "warm-marked".to_owned(),
            version: 1,
            event: json!({ "device": "freezer-marked", "name": "temperature", "value": -8.1 }),
            at_us: NOW_US,
            not_before_us: None,
        }],
        alarms: vec![raised(ALARM, Severity::Major, NOW_US)],
        links: vec![LinkSeen {
            tenant: acme(),
            device: freezer(),
            gateway,
            at_us: NOW_US,
            received_us: NOW_US,
            connected: true,
            link: Some(link),
        }],
        ..Commit::default()
    }
}

/// An alarm of the freezer.
pub(super) fn raised(id: AlarmId, severity: Severity, at_us: i64) -> AlarmChange {
    AlarmChange::Raised(Raised {
        id,
        tenant: acme(),
        workflow: "warm-marked".to_owned(),
        version: 1,
        device: freezer(),
        severity,
        title: "freezer-marked is warm".to_owned(),
        at_us,
        value: Some(-8.1),
    })
}

/// The run is done after a second attempt of its one step.
async fn run(store: &Store) {
    let claims = store
        .runs
        .claim_due(NOW_US + 1, 60_000_000, &Room::any(10))
        .await
        .unwrap();
    let claim = claims.iter().find(|claim| claim.run.id == RUN).unwrap();
    let step = Step {
        index: 0,
        id: "page-marked".to_owned(),
        uses: "content.publish".to_owned(),
        state: Progress::Done,
        attempts: 2,
        next_at_us: None,
        output: Some(json!({ "version": 1 })),
        error: None,
        effect_key: "key-marked".to_owned(),
        waiting_for: None,
    };
    let attempt = Attempt {
        step: 0,
        number: 2,
        started_us: NOW_US,
        ended_us: NOW_US + 340_000,
        error: None,
    };
    let outcome = Outcome {
        state: Progress::Done,
        due_us: 0,
        error: None,
        steps: vec![step],
        attempt: Some(attempt),
    };
    store
        .runs
        .record(claim, &outcome, NOW_US + 340_000)
        .await
        .unwrap();
}

/// What a gateway and a group shall be like.
async fn gateways(store: &Store) {
    let sections = std::collections::BTreeMap::from([(
        Section::Settings,
        "spool: { max_age_s: 90 } # marked\n".to_owned(),
    )]);
    let gateway = GatewayId::parse("gateway-marked").unwrap();
    let group = GatewayId::parse("group-marked").unwrap();
    let (gateways, acme) = (&store.gateways, acme());
    for of in [
        DesiredOf::Gateway(gateway.clone()),
        DesiredOf::Group(group.clone()),
    ] {
        let set = gateways.set_desired(&acme, &of, &sections, 0, "user marked", NOW_US);
        set.await.unwrap();
    }
    let groups = [group];
    let set = gateways.set_groups(&acme, &gateway, &groups, NOW_US);
    set.await.unwrap();
}

/// One published entry, and one that is a draft.
async fn content(store: &Store) {
    let fields = json!({
        "title": "Freezer <07> is warm, marked",
        "value": -8.1,
        "more": { "deep": ["<script>", null] },
    });
    let fields = fields.as_object().unwrap();
    let content = &store.content;
    for key in ["published-marked", "draft-marked"] {
        content
            .upsert(&acme(), "notices-marked", key, fields, None, NOW_US)
            .await
            .unwrap();
    }
    content
        .publish(&acme(), "notices-marked", "published-marked", None, NOW_US)
        .await
        .unwrap();
}

/// A reading of the freezer that is sealed: number 1 of boot 7. Its signature is none, which is for who
/// checks the proof to find.
pub(super) async fn sealed(store: &Store) {
    use stencil_proof::{Chunk, Open, Record, Seal, Sealed, Secret, tree};
    use stencil_protocol::batch::{Header, Writer};
    use stencil_protocol::sample::{Sample, Value};
    use stencil_store::{
        NewSeal, ProofChanges, SealKey, SealState, SealedBatch, SealedRun, Sealing,
    };
    let gateway = GatewayId::parse("gateway-marked").unwrap();
    let key = SealKey {
        tenant: acme(),
        gateway: gateway.clone(),
        epoch: 1,
        number: 1,
    };
    if store.proofs.seal(&key).await.unwrap().is_some() {
        return;
    }
    let sample = Sample {
        name: "temperature",
        value: Value::Number(-8.5),
        unit: None,
        time_us: NOW_US,
    };
    let header = Header {
        boot: Boot(7),
        first: Seq(1),
        last_given: Seq(1),
        previous: None,
        dropped: Default::default(),
    };
    let mut body = [0; 256];
    let mut writer = Writer::new(&mut body, &header).unwrap();
    writer.push(&sample).unwrap();
    let length = writer.finish().unwrap();
    let secret = Secret::new([7; 32]);
    let mut open = Open::new(freezer(), &secret);
    open.take(Boot(7), Seq(1), &sample);
    let chunks = vec![open.close()];
    let leaves: Vec<_> = chunks.iter().map(Chunk::leaf).collect();
    let seal = Seal {
        tenant: acme(),
        gateway: gateway.clone(),
        epoch: 1,
        number: 1,
        previous: [0; 32],
        at_us: NOW_US,
        certificate: [7; 32],
        chunks: 1,
        root: tree::root(&leaves),
    };
    let sealed = Sealed {
        seal: seal.clone(),
        signature: vec![0; 3_309],
        chunks,
        secret: Some(secret),
    };
    let position = store.pipeline.load(1).await.unwrap().position;
    let proofs = ProofChanges {
        sealing: vec![(
            position,
            Sealing {
                tenant: acme(),
                gateway,
                epoch: 1,
                certificate: Some(([7; 32], vec![1])),
            },
        )],
        batches: vec![SealedBatch {
            tenant: acme(),
            device: freezer(),
            boot: Boot(7),
            first: Seq(1),
            last: Seq(1),
            from_us: NOW_US,
            to_us: NOW_US,
            received_us: NOW_US,
            position,
            body: body[..length].to_vec().into(),
        }],
        seals: vec![NewSeal {
            key: key.clone(),
            hash: seal.hash(),
            record: Record::Sealed(Box::new(sealed)).encode(),
            received_us: NOW_US,
        }],
    };
    let commit = Commit {
        position,
        proofs,
        ..Commit::default()
    };
    store.pipeline.commit(commit).await.unwrap();
    let runs = [SealedRun {
        device: freezer(),
        boot: Boot(7),
        first: Seq(1),
        last: Seq(1),
        chunk: 0,
    }];
    let found = FoundSeal {
        state: SealState::Verified,
        why: None,
        runs: &runs,
        distrust: None,
    };
    let settled = store.proofs.settle_seal(&key, &found, NOW_US).await;
    assert!(settled.unwrap().is_news);
}

/// A seal of the tenant's gateway that is not what the hub has: number 2 of chain 1.
pub(super) async fn marked(store: &Store, tenant: &TenantId) {
    use stencil_store::{
        AuditOutcome, Distrust, NewAudit, NewSeal, NewSealMark, ProofChanges, SealFlaw, SealKey,
        SealState,
    };
    // It may have been marked and cleared before: as if it had never come.
    store.proofs.forget_sealed(tenant, 2, 10).await.unwrap();
    let key = SealKey {
        gateway: GatewayId::parse("gateway-marked").unwrap(),
        tenant: tenant.clone(),
        epoch: 1,
        number: 2,
    };
    let seals = vec![NewSeal {
        key: key.clone(),
        hash: [2; 32],
        record: vec![0],
        received_us: 1,
    }];
    let commit = Commit {
        position: store.pipeline.load(1).await.unwrap().position,
        proofs: ProofChanges {
            seals,
            ..ProofChanges::default()
        },
        ..Commit::default()
    };
    store.pipeline.commit(commit).await.unwrap();
    let marks = [NewSealMark {
        device: None,
        flaw: SealFlaw::Chain,
        why: "out of its chain".to_owned(),
        differs: "{}".to_owned(),
    }];
    let audit = NewAudit {
        at_us: NOW_US,
        who: "gateway gateway-marked".to_owned(),
        action: "gateways.seal".to_owned(),
        target: None,
        outcome: AuditOutcome::Refused,
        detail: None,
        address: None,
    };
    let found = FoundSeal {
        state: SealState::Mismatch,
        why: None,
        runs: &[],
        distrust: Some(Distrust {
            marks: &marks,
            audit: &audit,
            audit_entries: 1_000,
            triggers: &[],
        }),
    };
    let settled = store.proofs.settle_seal(&key, &found, NOW_US).await;
    assert!(settled.unwrap().is_news);
}
