//! What devices say is sealed once, whatever becomes of the gateway's process.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use stencil_crypto::signature;
use stencil_proof::{Chunk, Hash, Record, Said, Sealed, tree};
use stencil_protocol::{
    batch::Batch,
    id::{Boot, DeviceId, Seq},
    topic::Topic,
};

use crate::{
    hub::{Hub, Kept},
    kill::{Process, Sender},
    place::{GATEWAY, Gateway, Place},
    soon,
};

/// What the gateway has said of its seals: the certificates, and the seals by their numbers.
fn seals(kept: &[Kept]) -> (Vec<Vec<u8>>, BTreeMap<u64, Sealed>) {
    let (mut certificates, mut seals) = (Vec::new(), BTreeMap::<u64, Sealed>::new());
    for kept in kept {
        let Topic::GatewaySeals(gateway) = &kept.topic else {
            continue;
        };
        assert_eq!(gateway.as_str(), GATEWAY);
        match Record::decode(&kept.payload).unwrap() {
            Record::Begins { certificate, .. } => certificates.push(certificate),
            Record::Ends { .. } => {}
            Record::Sealed(sealed) => {
                // What comes again is the same, to the byte: its secret as well.
                if let Some(before) = seals.get(&sealed.seal.number) {
                    assert_eq!(*before, *sealed);
                }
                seals.insert(sealed.seal.number, *sealed);
            }
        }
    }
    (certificates, seals)
}

/// All readings that the hub has of a device.
fn readings(kept: &[Kept], device: &DeviceId) -> BTreeMap<(Boot, u64), Said> {
    let mut readings = BTreeMap::new();
    for kept in kept {
        if kept.topic == Topic::Batch(device.clone()) {
            let batch = Batch::decode(&kept.payload).unwrap();
            let boot = batch.header().boot;
            for (seq, sample) in batch.samples() {
                let said = Said::of(device, boot, seq, &sample.unwrap());
                readings.insert((boot, seq.0), said);
            }
        }
    }
    readings
}

/// Whether all seals follow one another, are signed by the gateway, and are over what the hub has; how
/// many readings are sealed.
fn check(kept: &[Kept], device: &DeviceId) -> usize {
    let (certificates, seals) = seals(kept);
    let readings = readings(kept, device);
    let (mut previous, mut sealed, mut secrets) = ([0; 32], BTreeMap::new(), Vec::new());
    for (number, one) in (1..).zip(seals.values()) {
        let seal = &one.seal;
        assert_eq!((seal.number, seal.previous), (number, previous));
        assert!(one.is_whole());
        previous = seal.hash();
        let of = |der: &&Vec<u8>| <[u8; 32]>::from(Sha256::digest(der)) == seal.certificate;
        let certificate = certificates.iter().find(of).unwrap();
        signature::verify(certificate, &seal.entry(), &one.signature).unwrap();
        let secret = one.secret.as_ref().expect("its leaves have salts");
        assert!(!secrets.contains(&secret), "each seal draws its own");
        secrets.push(secret);
        for chunk in &one.chunks {
            assert_eq!(chunk.device, *device);
            let salts = secret.salts(device);
            let leaf = |(index, (boot, seq)): (u64, (Boot, Seq))| {
                readings[&(boot, seq.0)].leaf(&salts.at(index))
            };
            let found: Vec<Hash> = (0..).zip(chunk.numbers()).map(leaf).collect();
            assert_eq!(tree::root(&found), chunk.root);
            for (boot, seq) in chunk.numbers() {
                *sealed.entry((boot, seq.0)).or_insert(0) += 1;
            }
        }
    }
    sealed.len()
}

async fn sealed_whatever_happens(crashes: &[&str]) {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let mut options = place.options(&hub);
    options.seal.interval_s = 1;
    options.seal.max_readings = 256;
    let (id, psk) = place.device("freezer-07");
    let mut sender = Sender {
        id: id.clone(),
        psk,
        acked: 0,
    };
    for crash in crashes {
        let mut gateway = Process::start(&options, crash).await;
        let survived = sender.send(gateway.link, 60).await;
        if crash.is_empty() {
            assert!(survived);
            gateway.kill();
        } else {
            soon(async {
                while gateway.child.try_wait().unwrap().is_none() {
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
            })
            .await;
        }
    }
    let gateway = Process::start(&options, "").await;
    assert!(sender.send(gateway.link, 5).await);
    let given = usize::try_from(sender.acked).unwrap();
    let all = |kept: &[Kept]| {
        let (_, seals) = seals(kept);
        let chunks = seals.values().flat_map(|sealed: &Sealed| &sealed.chunks);
        let numbers = chunks.flat_map(Chunk::numbers).map(|(_, seq)| seq);
        numbers.collect::<std::collections::BTreeSet<_>>().len() >= given
    };
    let kept = hub.until(all).await;
    assert_eq!(check(&kept, &id), given);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_seals_everything_in_one_chain() {
    sealed_whatever_happens(&["", "", ""]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_around_a_seal_seals_it_once() {
    sealed_whatever_happens(&[
        "seal.before_saved:2",
        "seal.saved:1",
        "seal.spooled:1",
        "seal.saved:2",
        "seal.before_saved:3",
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_that_was_saved_when_the_gateway_was_killed_is_not_lost_where_nothing_is_sealed_after()
 {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let mut options = place.options(&hub);
    options.seal.interval_s = 1;
    let (id, psk) = place.device("freezer-07");
    let mut sender = Sender {
        id: id.clone(),
        psk,
        acked: 0,
    };
    let mut gateway = Process::start(&options, "seal.saved:1").await;
    sender.send(gateway.link, 3).await;
    soon(async {
        while gateway.child.try_wait().unwrap().is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    options.seal.interval_s = 0;
    let gateway = Process::start(&options, "").await;
    let ends = |kept: &Kept| matches!(Record::decode(&kept.payload), Ok(Record::Ends { .. }));
    let kept = hub.until(|kept| kept.iter().any(ends)).await;
    // The seal comes before the end, and what it is over has come, too.
    let until = kept.iter().position(ends).unwrap();
    assert_eq!(seals(&kept[..until]).1.len(), 1);
    let sealed = seals(&kept).1.into_values().next().unwrap();
    let given = sealed.chunks.iter().flat_map(Chunk::numbers).count();
    let kept = hub.until(|kept| readings(kept, &id).len() >= given).await;
    assert_eq!(check(&kept, &id), given);
    drop(gateway);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_where_sealing_ends_and_begins_and_nothing_is_sealed_unless_set() {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let (id, psk) = place.device("freezer-07");
    let mut sender = Sender {
        id: id.clone(),
        psk,
        acked: 0,
    };
    let mut options = place.options(&hub);
    let gateway = Gateway::start(options.clone()).await;
    assert!(sender.send(gateway.link, 3).await);
    gateway
        .until("spool_waiting_bytes", |bytes| bytes == 0)
        .await;
    gateway.stop().await;
    assert!(seals(&hub.kept()).1.is_empty());

    options.seal.interval_s = 1;
    let gateway = Gateway::start(options.clone()).await;
    assert!(sender.send(gateway.link, 3).await);
    gateway.until("seals_total", |seals| seals == 1).await;
    gateway.stop().await;
    options.seal.interval_s = 0;
    let gateway = Gateway::start(options).await;
    assert!(sender.send(gateway.link, 3).await);
    let ends = |kept: &Kept| matches!(Record::decode(&kept.payload), Ok(Record::Ends { .. }));
    let kept = hub.until(|kept| kept.iter().any(ends)).await;
    // What came before it was set is not in it.
    assert_eq!(check(&kept, &id), 30);
    gateway
        .until("spool_waiting_bytes", |bytes| bytes == 0)
        .await;
    gateway.stop().await;
}
