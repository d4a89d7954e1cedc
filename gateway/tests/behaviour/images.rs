//! Firmware images on their way through the gateway: fetched, verified, offered, told of.

use std::{cell::RefCell, collections::HashMap, path::PathBuf, time::Duration};

use stencil_protocol::{
    id::DeviceId,
    image::{Digest, Fetch, MAX_PIECE_BYTES, Part, Piece, Told as Report, Wanted, What},
    link::Up,
    topic::Topic,
    transfer::{Outcome, Phase, Running, Slot, Verdict, Want},
};
use stencil_update::{
    header::{Header, PRELUDE_BYTES, Version},
    id::Id,
    signing::{self, Keys},
};

use crate::{
    device::{Device, Told},
    hub::{Hub, Kept},
    kill::Process,
    place::{GATEWAY, Gateway, Place},
    soon,
};

const VENDOR: [u8; 16] = [1; 16];
const CLASS: [u8; 16] = [2; 16];

/// An image that a hub has.
struct Image {
    header: Header,
    manifest: Vec<u8>,
    payload: Vec<u8>,
}

struct Maker {
    dir: tempfile::TempDir,
    trust: PathBuf,
    signer: Keys,
}

impl Maker {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("keys");
        let signer = Keys::generate(&folder).unwrap();
        Self {
            trust: folder.join("trust.keys"),
            dir,
            signer,
        }
    }

    /// Others sign from now on: the digest of the keys before, and that these have signed it.
    fn succeed(self, name: &str) -> (Self, Digest, String) {
        let Self { dir, trust, signer } = self;
        drop(signer);
        let (old, new) = (trust.parent().unwrap(), dir.path().join(name));
        let (signer, succession) = signing::succeed(old, &new, true).unwrap();
        let trust = new.join("trust.keys");
        let before = *succession.before();
        (Self { dir, trust, signer }, before, succession.to_text())
    }

    fn image(&mut self, sequence: u64, class: [u8; 16], length: usize) -> Image {
        let payload: Vec<u8> = (0..length)
            .map(|at| (at as u64 * 31 + sequence).to_le_bytes()[0] ^ (at >> 8) as u8)
            .collect();
        let header = Header {
            vendor: Id(VENDOR),
            class: Id(class),
            sequence,
            size: length.try_into().unwrap(),
            digest: stencil_update::device::digest(&payload),
            version: Version::new("1.2").unwrap(),
        };
        Image {
            header,
            manifest: self.signer.sign(&header).unwrap().encode(),
            payload,
        }
    }
}

/// All that was asked for: parts of images, and who has followed the keys that are trusted.
fn asked(kept: &[Kept]) -> Vec<Fetch> {
    kept.iter()
        .filter(|kept| matches!(kept.topic, Topic::GatewayFetch(_)))
        .map(|kept| Fetch::decode(&kept.payload).unwrap())
        .collect()
}

/// Parts of images that were asked for.
fn fetches(kept: &[Kept]) -> Vec<Fetch> {
    let mut asked = asked(kept);
    asked.retain(|fetch| fetch.part != Part::Succession);
    asked
}

fn reports(kept: &[Kept]) -> Vec<What> {
    kept.iter()
        .filter(|kept| matches!(kept.topic, Topic::Image(_)))
        .map(|kept| Report::decode(&kept.payload).unwrap().what)
        .collect()
}

async fn want(hub: &Hub, device: &DeviceId, digest: Digest) {
    let wanted = Wanted(vec![(device.clone(), digest)]).encode().unwrap();
    let topic = format!("stencil/v1/g/{GATEWAY}/wanted");
    soon(async {
        while !hub.send(&topic, wanted.clone()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// Answers what is fetched from the `from`-th on, until `done`. Nobody has followed anybody.
async fn serve(hub: &Hub, image: &Image, from: &mut usize, done: impl Fn(&[Kept]) -> bool) {
    serve_with(hub, image, &HashMap::new(), from, done).await;
}

/// As [`serve`], of a hub that has these successions, by the keys before.
async fn serve_with(
    hub: &Hub,
    image: &Image,
    successions: &HashMap<Digest, String>,
    from: &mut usize,
    done: impl Fn(&[Kept]) -> bool,
) {
    let topic = format!("stencil/v1/g/{GATEWAY}/piece");
    let until = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let (at, kept) = (*from, hub.kept());
        if done(&kept) {
            return;
        }
        assert!(std::time::Instant::now() < until, "{:?}", reports(&kept));
        if asked(&kept).len() <= at {
            // A file tells nobody when it is whole.
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        let fetch = asked(&kept)[at];
        *from += 1;
        let bytes = match fetch.part {
            Part::Manifest => Some(&image.manifest[..]),
            Part::Payload => Some(&image.payload[..]),
            Part::Succession => successions.get(&fetch.digest).map(String::as_bytes),
        };
        let rest = bytes.and_then(|it| it.get(fetch.offset as usize..));
        let piece = Piece {
            digest: fetch.digest,
            part: fetch.part,
            offset: fetch.offset,
            of: bytes.unwrap_or_default().len().try_into().unwrap(),
            bytes: rest.map(|it| it[..it.len().min(MAX_PIECE_BYTES)].to_vec()),
        };
        assert!(hub.send(&topic, piece.encode().unwrap()));
    }
}

fn running(sequence: u64, digest: Digest) -> Up<'static> {
    Up::Running(Running {
        digest,
        sequence,
        version: "1.0",
        vendor: VENDOR,
        class: CLASS,
        max_image: 200_000,
        confirmed: sequence,
        other: Slot {
            phase: Phase::Empty,
            name: None,
        },
        verdict: None,
    })
}

async fn gateway(place: &Place, hub: &Hub, maker: &Maker) -> Gateway {
    let mut options = place.options(hub);
    options.images.trust = Some(maker.trust.clone());
    Gateway::start(options).await
}

/// The next of what the gateway says that is about images.
async fn told(device: &mut Device) -> Told {
    loop {
        let told = device.told().await.expect("a link");
        if matches!(told, Told::Offer(_) | Told::Chunk(..)) {
            return told;
        }
    }
}

fn is_whole(image: &Image, place: &Place) -> bool {
    let name: String = image
        .header
        .digest
        .iter()
        .map(|it| format!("{it:02x}"))
        .collect();
    let path = place
        .folder()
        .join("data/images")
        .join(format!("{name}.image"));
    std::fs::read(path).is_ok_and(|bytes| bytes == image.payload)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_reaches_its_device_and_the_hub_hears_each_step() {
    let place = Place::new();
    let mut maker = Maker::new();
    let image = maker.image(2, CLASS, 100_001);
    let hub = Hub::started(&place.authority).await;
    let (id, psk) = place.device("freezer-01");
    let first = gateway(&place, &hub, &maker).await;
    want(&hub, &id, image.header.digest).await;
    // The gateway is stopped in the middle of the fetch, and goes on where it was.
    let mut served = 0;
    serve(&hub, &image, &mut served, |kept| fetches(kept).len() == 3).await;
    first.stop().await;
    served = asked(&hub.kept()).len();
    let gateway = gateway(&place, &hub, &maker).await;
    want(&hub, &id, image.header.digest).await;
    let mut device = Device::link(gateway.link, &id, &psk).await;
    device.say(&running(1, [9; 32])).await;
    serve(&hub, &image, &mut served, |_| is_whole(&image, &place)).await;
    let offsets: Vec<u32> = fetches(&hub.kept())
        .iter()
        .filter(|fetch| fetch.part == Part::Payload)
        .map(|fetch| fetch.offset)
        .collect();
    assert_eq!(offsets, [0, 32_768, 32_768, 65_536, 98_304]);

    let Told::Offer(header) = told(&mut device).await else {
        panic!("an offer comes first")
    };
    assert_eq!(header, image.header.encode().unwrap());
    let name = image.header.name().unwrap();
    let of = image.header.package_bytes();
    let mut package = Vec::new();
    while package.len() < of as usize {
        let offset = package.len().try_into().unwrap();
        device.say(&Up::Want(Want { name, offset })).await;
        match told(&mut device).await {
            Told::Chunk(at, bytes) if at == offset => package.extend(bytes),
            Told::Offer(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(package[..128], header);
    assert_eq!(package[PRELUDE_BYTES..], image.payload);
    let outcome = Outcome::READY;
    device.say(&Up::Verdict(Verdict { name, outcome })).await;
    // It restarts, and runs it.
    let mut device = Device::link(gateway.link, &id, &psk).await;
    device.say(&running(2, image.header.digest)).await;
    let kept = hub
        .until(|kept| matches!(reports(kept).last(), Some(What::Runs { sequence: 2, .. })))
        .await;
    let reports = reports(&kept);
    assert!(
        matches!(&reports[0], What::Runs { sequence: 1, trial: false, class, .. }
        if *class == format!("{}/{}", "01".repeat(16), "02".repeat(16)))
    );
    let has: Vec<u32> = reports
        .iter()
        .filter_map(|what| match what {
            What::Has { have, of, .. } => Some(have * 10 / of),
            _ => None,
        })
        .collect();
    assert_eq!(has, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let digest = image.header.digest;
    assert_eq!(reports[reports.len() - 2], What::Installs { digest });
    gateway.stop().await;
}

/// What the hub hears when a gateway with these keys is to bring the image to a device.
async fn reason(maker: &Maker, image: &Image, runs: u64) -> String {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let (id, psk) = place.device("freezer-01");
    let gateway = gateway(&place, &hub, maker).await;
    want(&hub, &id, image.header.digest).await;
    let mut device = Device::link(gateway.link, &id, &psk).await;
    device.say(&running(runs, [9; 32])).await;
    let gave_up = |kept: &[Kept]| {
        reports(kept)
            .iter()
            .any(|what| matches!(what, What::GaveUp { .. }))
    };
    serve(&hub, image, &mut 0, gave_up).await;
    // Said once, and nothing was offered.
    device.deliver(1, 1, 1).await;
    let kept = reports(&hub.kept());
    let mut reasons = kept.into_iter().filter_map(|what| match what {
        What::GaveUp { digest, reason } => {
            assert_eq!(digest, image.header.digest);
            Some(reason)
        }
        _ => None,
    });
    let reason = reasons.next().unwrap();
    assert_eq!(reasons.next(), None);
    gateway.stop().await;
    reason
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_right_is_not_offered_and_the_hub_hears_why() {
    let (mut maker, mut stranger) = (Maker::new(), Maker::new());
    let good = maker.image(2, CLASS, 3_000);
    let foreign = maker.image(2, [7; 16], 3_000);
    let oversized = maker.image(2, CLASS, 200_001);
    for (image, runs, expected) in [
        (&foreign, 1, "the image is for class 07070707"),
        (&good, 2, "has sequence number 2, but 2 was confirmed"),
        (&good, 3, "has sequence number 2, but 3 was confirmed"),
        (
            &oversized,
            1,
            "the image has 200001 bytes, the device takes 200000",
        ),
    ] {
        let reason = reason(&maker, image, runs).await;
        assert!(reason.contains(expected), "{reason}");
    }
    let strange = stranger.image(2, CLASS, 3_000);
    let reason_of_stranger = reason(&maker, &strange, 1).await;
    assert!(
        reason_of_stranger.contains("is of key"),
        "{reason_of_stranger}"
    );

    let mut changed = maker.image(2, CLASS, 3_000);
    changed.payload[7] ^= 1;
    let reason_of_changed = reason(&maker, &changed, 1).await;
    assert!(
        reason_of_changed.contains("digest is not the one that was signed"),
        "{reason_of_changed}"
    );
    let mut truncated = maker.image(2, CLASS, 3_000);
    truncated.payload.pop();
    let reason_of_truncated = reason(&maker, &truncated, 1).await;
    assert!(
        reason_of_truncated.contains("says 3000 bytes, the hub has 2999"),
        "{reason_of_truncated}"
    );
    // One good and one bad signature.
    let mut half = maker.image(2, CLASS, 3_000);
    let at = half.manifest.len() / 2;
    half.manifest[at] ^= 1;
    let reason_of_half = reason(&maker, &half, 1).await;
    assert!(
        reason_of_half.contains("does not verify"),
        "{reason_of_half}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_of_the_device_reaches_the_hub() {
    let place = Place::new();
    let mut maker = Maker::new();
    let image = maker.image(2, CLASS, 3_000);
    let hub = Hub::started(&place.authority).await;
    let (id, psk) = place.device("freezer-01");
    let gateway = gateway(&place, &hub, &maker).await;
    want(&hub, &id, image.header.digest).await;
    let mut device = Device::link(gateway.link, &id, &psk).await;
    device.say(&running(1, [9; 32])).await;
    serve(&hub, &image, &mut 0, |_| is_whole(&image, &place)).await;
    assert!(matches!(told(&mut device).await, Told::Offer(_)));
    let verdict = Verdict {
        name: image.header.name().unwrap(),
        outcome: Outcome::SIGNATURE,
    };
    device.say(&Up::Verdict(verdict)).await;
    let kept = hub
        .until(|kept| matches!(reports(kept).last(), Some(What::GaveUp { .. })))
        .await;
    let Some(What::GaveUp { reason, .. }) = reports(&kept).pop() else {
        panic!()
    };
    assert!(reason.starts_with("refused: signature"), "{reason}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_or_room_nothing_is_fetched_to_no_end() {
    let place = Place::new();
    let mut maker = Maker::new();
    let image = maker.image(2, CLASS, 3_000);
    let hub = Hub::started(&place.authority).await;
    let (id, _) = place.device("freezer-01");
    let gave_up = |kept: &[Kept]| {
        reports(kept)
            .iter()
            .any(|what| matches!(what, What::GaveUp { .. }))
    };
    let gateway = Gateway::start(place.options(&hub)).await;
    want(&hub, &id, image.header.digest).await;
    let kept = hub.until(gave_up).await;
    assert!(fetches(&kept).is_empty());
    let Some(What::GaveUp { reason, .. }) = reports(&kept).pop() else {
        panic!()
    };
    assert!(reason.contains("set images.trust"), "{reason}");
    gateway.stop().await;

    let mut options = place.options(&hub);
    options.images.trust = Some(maker.trust.clone());
    options.images.max_bytes = 2_999;
    let gateway = Gateway::start(options).await;
    want(&hub, &id, image.header.digest).await;
    // What was said before may be said again.
    let no_room = |kept: &[Kept]| {
        reports(kept)
            .iter()
            .any(|what| matches!(what, What::GaveUp { reason, .. } if reason.contains("no room")))
    };
    serve(&hub, &image, &mut 0, no_room).await;
    assert!(
        fetches(&hub.kept())
            .iter()
            .all(|it| it.part == Part::Manifest)
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_at_any_piece_goes_on_with_what_it_has() {
    let place = Place::new();
    let mut maker = Maker::new();
    let image = maker.image(2, CLASS, 100_001);
    let hub = Hub::started(&place.authority).await;
    let (id, psk) = place.device("freezer-01");
    let mut options = place.options(&hub);
    options.images.trust = Some(maker.trust.clone());
    let mut served = 0;
    for crash in [
        "gateway.image_piece:1",
        "gateway.image_piece:2",
        "gateway.image_whole:1",
    ] {
        let process = RefCell::new(Process::start(&options, crash).await);
        want(&hub, &id, image.header.digest).await;
        let is_dead = |_: &[Kept]| process.borrow_mut().child.try_wait().unwrap().is_some();
        serve(&hub, &image, &mut served, is_dead).await;
        assert!(!is_whole(&image, &place));
    }
    let process = Process::start(&options, "").await;
    want(&hub, &id, image.header.digest).await;
    let mut device = Device::link(process.link, &id, &psk).await;
    device.say(&running(1, [9; 32])).await;
    serve(&hub, &image, &mut served, |_| is_whole(&image, &place)).await;
    assert!(matches!(told(&mut device).await, Told::Offer(_)));
    // Each piece that was written was fetched once.
    let kept = hub.kept();
    let mut offsets: Vec<u32> = fetches(&kept)
        .iter()
        .filter(|fetch| fetch.part == Part::Payload)
        .map(|fetch| fetch.offset)
        .collect();
    offsets.dedup();
    assert_eq!(offsets, [0, 32_768, 65_536, 98_304]);
    let gave_up = |what: &What| matches!(what, What::GaveUp { .. });
    assert!(!reports(&kept).iter().any(gave_up));
}

/// What is said when the gateway does not take an image.
fn gave_up(kept: &[Kept], image: &Image) -> bool {
    let is_of = |what: &What| {
        matches!(what, What::GaveUp { digest, reason }
        if *digest == image.header.digest && reason.contains("is of key"))
    };
    reports(kept).iter().any(is_of)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_follow_are_taken_when_those_before_have_signed_them() {
    let place = Place::new();
    let mut maker = Maker::new();
    let first_keys = maker.trust.clone();
    let old = maker.image(2, CLASS, 3_000);
    let (mut maker, before, succession) = maker.succeed("second");
    let (new, newer) = (maker.image(3, CLASS, 4_000), maker.image(4, CLASS, 5_000));
    let (stranger, _, strange) = Maker::new().succeed("second");
    drop(stranger);
    let hub = Hub::started(&place.authority).await;
    let (id, psk) = place.device("freezer-01");
    let mut options = place.options(&hub);
    options.images.trust = Some(first_keys.clone());
    let mut served = 0;

    // What others have signed is not taken, whoever brings it.
    let gateway = Gateway::start(options.clone()).await;
    want(&hub, &id, new.header.digest).await;
    let own = strange.replace(
        strange
            .lines()
            .find(|it| it.starts_with("before "))
            .unwrap(),
        succession
            .lines()
            .find(|it| it.starts_with("before "))
            .unwrap(),
    );
    for strange in [strange, own, "nonsense".to_owned()] {
        let hostile = HashMap::from([(before, strange)]);
        want(&hub, &id, old.header.digest).await;
        want(&hub, &id, new.header.digest).await;
        let refusals = |kept: &[Kept]| {
            let reports = reports(kept);
            let refused = reports.iter().filter(|what| {
                matches!(what, What::GaveUp { digest, .. }
                if *digest == new.header.digest)
            });
            refused.count()
        };
        let until = refusals(&hub.kept()) + 1;
        serve_with(&hub, &new, &hostile, &mut served, |kept| {
            refusals(kept) >= until
        })
        .await;
    }
    assert!(!is_whole(&new, &place));
    assert!(!place.folder().join("data/update-successions").exists());
    gateway.stop().await;

    // Killed before it is on disk, and after: it is asked for again, or holds.
    let successions = HashMap::from([(before, succession)]);
    for crash in ["gateway.succession_verified:1", "gateway.succession_kept:1"] {
        let process = RefCell::new(Process::start(&options, crash).await);
        want(&hub, &id, new.header.digest).await;
        let is_dead = |_: &[Kept]| process.borrow_mut().child.try_wait().unwrap().is_some();
        serve_with(&hub, &new, &successions, &mut served, is_dead).await;
    }
    let gateway = Gateway::start(options.clone()).await;
    want(&hub, &id, new.header.digest).await;
    let mut device = Device::link(gateway.link, &id, &psk).await;
    device.say(&running(1, [9; 32])).await;
    // Nobody has to bring it any more.
    serve(&hub, &new, &mut served, |_| is_whole(&new, &place)).await;
    let Told::Offer(header) = told(&mut device).await else {
        panic!("an offer comes first")
    };
    assert_eq!(header, new.header.encode().unwrap());
    want(&hub, &id, old.header.digest).await;
    serve(&hub, &old, &mut served, |kept| gave_up(kept, &old)).await;
    gateway.stop().await;

    // By hand: the new file in the place of the old one, and then that of somebody else.
    options.images.trust = Some(maker.trust.clone());
    let gateway = Gateway::start(options.clone()).await;
    want(&hub, &id, newer.header.digest).await;
    serve(&hub, &newer, &mut served, |_| is_whole(&newer, &place)).await;
    gateway.stop().await;
    let mut other = Maker::new();
    let others = other.image(5, CLASS, 6_000);
    options.images.trust = Some(other.trust.clone());
    let gateway = Gateway::start(options).await;
    want(&hub, &id, others.header.digest).await;
    serve(&hub, &others, &mut served, |_| is_whole(&others, &place)).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_those_before_have_signed_is_offered_no_more() {
    let place = Place::new();
    let mut maker = Maker::new();
    let first_keys = maker.trust.clone();
    let old = maker.image(2, CLASS, 100_000);
    let (_maker, before, succession) = maker.succeed("second");
    let hub = Hub::started(&place.authority).await;
    let (id, psk) = place.device("freezer-01");
    let mut options = place.options(&hub);
    options.images.trust = Some(first_keys);
    let gateway = Gateway::start(options).await;
    want(&hub, &id, old.header.digest).await;
    let mut device = Device::link(gateway.link, &id, &psk).await;
    device.say(&running(1, [9; 32])).await;
    let mut served = 0;
    serve(&hub, &old, &mut served, |_| is_whole(&old, &place)).await;
    assert!(matches!(told(&mut device).await, Told::Offer(_)));
    // A hub that says what is wanted once more is asked who signs now.
    want(&hub, &id, old.header.digest).await;
    let successions = HashMap::from([(before, succession)]);
    let done = |kept: &[Kept]| gave_up(kept, &old);
    serve_with(&hub, &old, &successions, &mut served, done).await;
    let name = old.header.name().unwrap();
    device.say(&Up::Want(Want { name, offset: 0 })).await;
    // Its readings are taken as ever; no chunk comes before their acknowledgement.
    device.deliver(1, 1, 1).await;
    gateway.stop().await;
}
