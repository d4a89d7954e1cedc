//! What a document proves, and what it does not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use stencil_crypto::authority::Authority;
use stencil_crypto::signature::SigningKey;
use stencil_crypto::tls::Identity;
use stencil_proof::document::{AnchorForm, Document, Fault, Trusted, Unreadable, ValueForm, check};
use stencil_proof::{Chunk, Hash, Open, Reading, Salt, Seal, Sealed, Secret, page, tree};
use stencil_protocol::id::{Boot, DeviceId, GatewayId, Seq, TenantId};
use stencil_protocol::sample::{OwnedSample, OwnedValue};

struct Fleet {
    authority: Authority,
    dir: tempfile::TempDir,
}

impl Fleet {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(dir.path().join("authority"), "Acme").unwrap();
        Self { authority, dir }
    }

    fn key(&self, gateway: &str) -> SigningKey {
        let issued = self.authority.issue_gateway("acme", gateway).unwrap();
        let of = |end: &str| self.dir.path().join(format!("{gateway}.{end}"));
        issued.write(of("pem"), of("key")).unwrap();
        SigningKey::of(&Identity::load(of("pem"), of("key")).unwrap()).unwrap()
    }
}

fn readings(device: &str, count: u64) -> Vec<Reading> {
    (1..=count)
        .map(|number| Reading {
            device: DeviceId::parse(device).unwrap(),
            boot: Boot(7),
            seq: Seq(number),
            sample: OwnedSample {
                name: "temperature".to_owned(),
                value: OwnedValue::Number(-20.0 + f64::from(u32::try_from(number).unwrap()) / 4.0),
                unit: Some("degC".to_owned()),
                time_us: 1_700_000_000_000_000 + i64::try_from(number).unwrap() * 1_000_000,
            },
        })
        .collect()
}

fn secret() -> Secret {
    Secret::new([0xab; 32])
}

fn chunk(readings: &[Reading]) -> Chunk {
    let mut open = Open::new(readings[0].device.clone(), &secret());
    for reading in readings {
        open.take(reading.boot, reading.seq, &reading.sample.as_ref());
    }
    open.close()
}

/// The leaves of a chunk of these.
fn leaves(readings: &[Reading]) -> Vec<Hash> {
    let salts = secret().salts(&readings[0].device);
    let leaf = |(index, reading): (u64, &Reading)| reading.leaf(&salts.at(index));
    (0..).zip(readings).map(leaf).collect()
}

fn sealed(key: &SigningKey, gateway: &str, chunks: Vec<Chunk>) -> Sealed {
    let leaves: Vec<Hash> = chunks.iter().map(Chunk::leaf).collect();
    let seal = Seal {
        tenant: TenantId::parse("acme").unwrap(),
        gateway: GatewayId::parse(gateway).unwrap(),
        epoch: 11,
        number: 3,
        previous: [9; 32],
        at_us: 1_700_000_060_000_000,
        certificate: Sha256::digest(key.certificate()).into(),
        chunks: chunks.len() as u64,
        root: tree::root(&leaves),
    };
    let signature = key.sign(&seal.entry()).unwrap();
    Sealed {
        seal,
        signature,
        chunks,
        secret: Some(secret()),
    }
}

/// A proof of the `index`th reading of freezer-02, whose chunk is the second of three.
fn made(key: &SigningKey, index: usize) -> Document {
    made_of(key, 9, index)
}

/// The same of chunks with so many readings.
fn made_of(key: &SigningKey, count: u64, index: usize) -> Document {
    let names = ["freezer-01", "freezer-02", "freezer-03"];
    let devices = names.map(|name| readings(name, count));
    let chunks = devices.iter().map(|readings| chunk(readings)).collect();
    let sealed = sealed(key, "gw-1", chunks);
    let (one, leaves) = (&devices[1][index], leaves(&devices[1]));
    Document::of(one, &leaves, &sealed, 1, key.certificate()).unwrap()
}

fn trusting(key: &SigningKey) -> Trusted {
    Trusted {
        gateways: vec![Sha256::digest(key.certificate()).into()],
    }
}

/// An anchor over two seals, without a block.
fn anchored(document: &mut Document, seal: Hash) {
    let leaves = [tree::leaf(b"another seal"), seal];
    document.anchor = Some(AnchorForm {
        chain_id: 1,
        contract: "0x00".to_owned(),
        publisher: "0x00".to_owned(),
        series: [0; 32],
        number: 1,
        previous: [0; 32],
        start: 1,
        end: 2,
        seals: 2,
        root: tree::root(&leaves),
        index: 1,
        path: tree::path(&leaves, 1).unwrap(),
        transaction: [0; 32],
        block_number: 1,
        block_hash: [0; 32],
        header: Vec::new(),
        transaction_index: 0,
        receipt_path: Vec::new(),
    });
}

#[test]
fn a_proof_is_verified_and_every_change_is_found() {
    let fleet = Fleet::new();
    let key = fleet.key("gw-1");
    let trusted = trusting(&key);
    let mut good = made(&key, 4);
    let held = check(&good, &trusted).unwrap();
    assert!(held.trusted);
    assert_eq!(held.reading.seq, Seq(5));
    anchored(&mut good, held.seal.hash());
    let again = Document::parse(good.to_json().to_string().as_bytes()).unwrap();
    assert_eq!(again, good);
    check(&good, &trusted).unwrap();

    let fault = |change: &dyn Fn(&mut Document)| {
        let mut changed = good.clone();
        change(&mut changed);
        assert_ne!(changed, good);
        check(&changed, &trusted).unwrap_err()
    };
    // The figure, and all else of the reading.
    let figure = fault(&|it| it.reading.value = ValueForm::Number("-18.5".to_owned()));
    assert!(
        matches!(&figure, Fault::Reading { shown, .. } if shown == "-18.5"),
        "{figure}"
    );
    assert!(
        figure
            .to_string()
            .contains("-18.5 is not what freezer-02 said")
    );
    for change in [
        (&|it: &mut Document| it.reading.value = ValueForm::Integer(-18)) as &dyn Fn(&mut Document),
        &|it| it.reading.time_us += 1,
        &|it| it.reading.name.push('s'),
        &|it| it.reading.unit = None,
        &|it| it.chunk.path[0][0] ^= 1,
        &|it| it.chunk.root[31] ^= 1,
        &|it| it.reading.salt[31] ^= 1,
    ] {
        assert!(matches!(fault(change), Fault::Reading { .. }));
    }
    // What rounds to the bits that the leaf has, and is not what the command shall print.
    for other in ["-18.750", "-18.7500000000000001", "-018.75", "-1.875e1"] {
        let figure = fault(&|it| it.reading.value = ValueForm::Number(other.to_owned()));
        assert!(
            matches!(
                &figure,
                Fault::Part {
                    part: "reading",
                    ..
                }
            ),
            "{figure}"
        );
        let said = figure.to_string();
        assert!(
            said.contains(other) && said.contains("written \"-18.75\""),
            "{said}"
        );
    }
    // The salt of the leaf beside it.
    let other = fault(&|it| it.reading.salt = made(&key, 5).reading.salt);
    let said = other.to_string();
    assert!(said.contains("or the salt is another leaf's"), "{said}");
    // A reading of another device, or of another chunk.
    let other = fault(&|it| it.reading.device = "freezer-01".to_owned());
    assert!(matches!(other, Fault::Reading { .. }));
    // A proof for another leaf: of a reading that is there, but not at this place.
    let other = fault(&|it| it.reading = made(&key, 5).reading);
    assert!(
        matches!(
            other,
            Fault::OtherReading {
                held_seq: Seq(5),
                seq: Seq(6),
                ..
            }
        ),
        "{other}"
    );
    let other = fault(&|it| it.chunk.index = 5);
    assert!(matches!(other, Fault::OtherReading { .. }));
    let other = fault(&|it| {
        it.chunk.index = 5;
        it.reading.number = 6;
    });
    assert!(matches!(other, Fault::Reading { .. }));
    // The chunk in the seal.
    for change in [
        (&|it: &mut Document| it.seal.index = 0) as &dyn Fn(&mut Document),
        &|it| it.seal.path[1][5] ^= 8,
        &|it| it.seal.root[0] ^= 1,
    ] {
        assert!(matches!(fault(change), Fault::Chunk));
    }
    // What is signed.
    for change in [
        (&|it: &mut Document| it.seal.number = 4) as &dyn Fn(&mut Document),
        &|it| it.seal.epoch = 12,
        &|it| it.seal.chunks = 4,
        &|it| it.seal.previous[3] ^= 1,
        &|it| it.seal.at_us += 1,
        &|it| it.seal.gateway = "gw-2".to_owned(),
        &|it| it.seal.tenant = "umbrella".to_owned(),
        &|it| it.seal.signature[7] ^= 1,
        &|it| it.seal.signature.truncate(3_308),
    ] {
        assert!(matches!(fault(change), Fault::Signature(_)));
    }
    assert!(matches!(
        fault(&|it| it.seal.algorithm = "Ed25519".to_owned()),
        Fault::Algorithm(_)
    ));
    // The anchor's tree.
    for change in [
        (&|it: &mut AnchorForm| it.index = 0) as &dyn Fn(&mut AnchorForm),
        &|it| it.root[0] ^= 1,
        &|it| it.path[0][0] ^= 1,
        &|it| it.seals = 3,
    ] {
        let change = |it: &mut Document| change(it.anchor.as_mut().unwrap());
        assert!(matches!(fault(&change), Fault::Anchor));
    }
}

#[test]
fn another_gateways_key_is_not_taken() {
    let fleet = Fleet::new();
    let (key, other) = (fleet.key("gw-1"), fleet.key("gw-2"));
    let good = made(&key, 0);
    // Nobody is trusted by name: the document says so.
    assert!(!check(&good, &Trusted::default()).unwrap().trusted);
    let error = check(&good, &trusting(&other)).unwrap_err();
    assert!(matches!(error, Fault::Key { .. }), "{error}");
    // Another gateway of the fleet cannot speak for this one.
    let forged = made(&other, 0);
    let error = check(&forged, &Trusted::default()).unwrap_err();
    assert!(matches!(error, Fault::Subject { .. }), "{error}");
    // A certificate of a stranger who names the gateway the same.
    let stranger = Fleet::new().key("gw-1");
    let error = check(&made(&stranger, 0), &trusting(&key)).unwrap_err();
    assert!(matches!(error, Fault::Key { .. }), "{error}");
    // A certificate in the place of the one that signed.
    let mut exchanged = good;
    exchanged.seal.certificate = stranger.certificate().to_vec();
    let error = check(&exchanged, &trusting(&stranger)).unwrap_err();
    assert!(matches!(error, Fault::Signature(_)), "{error}");
}

#[test]
fn what_is_cut_or_too_long_is_no_document() {
    let fleet = Fleet::new();
    let json = made(&fleet.key("gw-1"), 3).to_json().to_string();
    for length in (0..json.len()).step_by(97) {
        let error = Document::parse(&json.as_bytes()[..length]).unwrap_err();
        assert!(matches!(error, Unreadable::Json(_)), "{length}");
    }
    let long = format!("{json}{}", " ".repeat(600_000));
    assert!(matches!(
        Document::parse(long.as_bytes()),
        Err(Unreadable::TooLong(_))
    ));
    // One and then another one.
    for (more, behind) in [(json.as_str(), "{\\\"chunk\\\""), (" \n]", "\"]\"")] {
        let two = format!("{json}{more}");
        for error in [
            Document::parse(two.as_bytes()).unwrap_err().to_string(),
            page::find(two.as_bytes()).unwrap_err().to_string(),
        ] {
            assert!(
                error.contains("nothing may follow it") && error.contains(behind),
                "{error}"
            );
        }
    }
    let value = "\"value\":{";
    let two = json.replacen(value, &format!("{value}\"integer\":\"9\","), 1);
    let error = Document::parse(two.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("nothing may stand beside it"), "{error}");
    let other = json.replace("stencil-proof-2", "stencil-proof-3");
    assert!(matches!(
        Document::parse(other.as_bytes()),
        Err(Unreadable::Format(_))
    ));
    // One of before, which has no salt in it: what it is is told, and not what it lacks.
    let before = json.replace("stencil-proof-2", "stencil-proof-1");
    let salt = before.find("\"salt\"").unwrap();
    let before = format!("{}{}", &before[..salt], &before[salt + 74..]);
    let error = Document::parse(before.as_bytes()).unwrap_err();
    assert_eq!(error, Unreadable::Unsalted);
    let said = error.to_string();
    assert!(said.starts_with("this is stencil-proof-1, "), "{said}");
    let now = before.replace("stencil-proof-1", "stencil-proof-2");
    let error = Document::parse(now.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("`salt`"), "{error}");
    let more = json.replacen('{', "{\"trust\":\"me\",", 1);
    assert!(matches!(
        Document::parse(more.as_bytes()),
        Err(Unreadable::Json(_))
    ));
}

/// What others are to verify, and what this verifies whatever becomes of it.
#[test]
fn the_committed_document_is_verified() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");
    let path = format!("{folder}/sealed.json");
    if std::env::var_os("STENCIL_UPDATE_VECTORS").is_some() {
        let mut document = made(&Fleet::new().key("gw-1"), 4);
        let held = check(&document, &Trusted::default()).unwrap();
        anchored(&mut document, held.seal.hash());
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(&path, format!("{:#}\n", document.to_json())).unwrap();
        document.anchor = None;
        write_seeds(&document.to_json());
    }
    let document = Document::parse(&std::fs::read(path).unwrap()).unwrap();
    let held = check(&document, &Trusted::default()).unwrap();
    assert_eq!(document.reading.value.shown(), "-18.75");
    let trusted = Trusted {
        gateways: vec![held.key],
    };
    assert!(check(&document, &trusted).unwrap().trusted);
}

/// The seeds of the fuzz target `proof` but the one with an anchor, which `tests/anchors` writes.
fn write_seeds(proof: &serde_json::Value) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/proof");
    let script = page::script(proof);
    let fields = format!("{{\"title\":\"A freezer\",\"value\":-18.75,\"proof\":{proof}}}");
    for (name, content) in [
        ("sealed.json", proof.to_string()),
        (
            "entry.json",
            format!("{{\"key\":\"a\",\"fields\":{fields}}}"),
        ),
        (
            "page.html",
            format!(
                "<!DOCTYPE html><html><head><title>A freezer</title></head><body><!-- a page --><p>It was \
                 <data data-proof=\"p\">-18.75 degC</data>.</p><script type=\"application/json\" id=\"p\" \
                 data-stencil-proof>{script}</script></body></html>"
            ),
        ),
    ] {
        std::fs::write(format!("{folder}/{name}"), content).unwrap();
    }
}

fn in_page(document: &Document, figure: &str) -> String {
    let script = page::script(&document.to_json());
    format!(
        "<!DOCTYPE html><html><head><title>a figure</title></head><body>\
         <!-- <data>0</data> --><p>It was <data class=figure data-proof=\"p\">{figure}\
         </data>.</p><script id=\"p\" type='application/json' data-stencil-proof>{script}</script></body></html>"
    )
}

#[test]
fn the_figure_of_a_page_is_the_one_that_was_measured() {
    let fleet = Fleet::new();
    let document = made(&fleet.key("gw-1"), 4);
    for good in [
        "-18.75",
        " -18.75 degC ",
        "-18.75&nbsp;degC",
        "-18.750",
        "\u{2212}18.75",
        "&minus;18.75 degC",
    ] {
        let found = page::find(in_page(&document, good).as_bytes()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].document, document);
        found[0].figures_match().unwrap();
    }
    for changed in [
        "-18.7",
        "-18.75 degF",
        "18.75",
        "",
        "-18.75 or so",
        "-18.75\u{200b}",
    ] {
        let found = page::find(in_page(&document, changed).as_bytes()).unwrap();
        let error = found[0].figures_match().unwrap_err();
        assert!(
            matches!(error, page::Mismatch::Changed { .. }),
            "{changed}: {error}"
        );
    }
    let turned = page::find(in_page(&document, "\u{202e}-18.75").as_bytes()).unwrap_err();
    assert!(turned.to_string().contains("U+202E"), "{turned}");
    let none = in_page(&document, "1").replace("<data class=figure data-proof=\"p\">", "<data>");
    let found = page::find(none.as_bytes()).unwrap();
    assert!(matches!(
        found[0].figures_match(),
        Err(page::Mismatch::NoFigure(_))
    ));
    // Marked by no proof of the page, or so many that nobody compares them.
    let with = |more: &str| {
        let page = in_page(&document, "-18.75");
        page.replace("</body>", &format!("{more}</body>"))
    };
    let error = page::find(with("<data data-proof=q>1</data>").as_bytes()).unwrap_err();
    assert_eq!(error, page::Error::Unproven("q".to_owned()));
    let many = with(&"<i data-proof=p>-18.75</i>".repeat(page::MAX_FIGURES));
    let error = page::find(many.as_bytes()).unwrap_err();
    assert_eq!(error, page::Error::TooManyFigures);
    // What a browser shows is what is read: behind an empty comment, in a tag that has no end, behind a script
    // whose name goes on.
    for shown in [
        "<!--><data data-proof=p>0</data><!-- -->",
        "<!---><data data-proof=p>0</data>",
        "<!-- --!><data data-proof=p>0</data>",
        "<script>var a = '</scripts><data>1</data>'</script><b data-proof = 'p' >0</b >",
        "<data data-a='>' data-proof=p>0</data>",
    ] {
        let found = page::find(with(shown).as_bytes()).unwrap();
        let figures = found[0].figures.iter().map(|it| it.text.as_str());
        assert_eq!(figures.collect::<Vec<_>>(), ["-18.75", "0"], "{shown}");
    }
    let unended = format!("{}<data data-proof=p", in_page(&document, "-18.75"));
    assert!(matches!(
        page::find(unended.as_bytes()),
        Err(page::Error::Unsure { .. })
    ));
    let cut = in_page(&document, "-18.75").replace("\"path\"", "\"way\"");
    assert!(matches!(
        page::find(cut.as_bytes()),
        Err(page::Error::Unreadable { .. })
    ));
}

#[test]
fn an_entry_has_its_figure_beside_its_proof() {
    let fleet = Fleet::new();
    let document = made(&fleet.key("gw-1"), 4);
    let entry = |value: serde_json::Value| {
        serde_json::json!({ "key": "a", "fields": { "cold": value, "cold_proof": document.to_json() } })
            .to_string()
    };
    let found = page::find(entry((-18.75).into()).as_bytes()).unwrap();
    found[0].figures_match().unwrap();
    let found = page::find(entry((-18.5).into()).as_bytes()).unwrap();
    assert!(found[0].figures_match().is_err());
    let before = entry((-18.75).into()).replace("stencil-proof-2", "stencil-proof-1");
    let error = page::find(before.as_bytes()).unwrap_err();
    assert!(
        error.to_string().contains("this is stencil-proof-1"),
        "{error}"
    );
    for none in ["", "{}", "<p>1</p>", "{\"fields\":{}}"] {
        assert!(page::find(none.as_bytes()).is_err(), "{none}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No byte of a document can be changed without it being seen, but in its spaces.
    #[test]
    fn a_byte_that_is_changed_is_seen(at in any::<prop::sample::Index>(), bits in 1_u8..128) {
        static GOOD: std::sync::OnceLock<(Vec<u8>, Trusted)> = std::sync::OnceLock::new();
        let (json, trusted) = GOOD.get_or_init(|| {
            let key = Fleet::new().key("gw-1");
            let mut document = made(&key, 4);
            let seal = check(&document, &trusting(&key)).unwrap().seal.hash();
            anchored(&mut document, seal);
            // What is not looked at here, but by who has a block.
            let mut json = document.to_json();
            for (name, value) in document.to_json()["anchor"].as_object().unwrap() {
                if !["index", "path", "root", "seals"].contains(&name.as_str()) {
                    json["anchor"][name] = value.clone();
                }
            }
            (json.to_string().into_bytes(), trusting(&key))
        });
        let mut changed = json.clone();
        let at = at.index(changed.len());
        changed[at] ^= bits;
        if let Ok(document) = Document::parse(&changed)
            && check(&document, trusted).is_ok()
        {
            let same = Document::parse(json).unwrap();
            let strip = |mut it: Document| { it.anchor = None; it };
            prop_assert_eq!(strip(document), strip(same));
        }
    }

    /// Who has a proof, and knows all that was measured beside it, cannot tell that it was this: so trying
    /// values tells nothing, either.
    #[test]
    fn what_is_beside_a_reading_is_not_told_by_its_proof(
        count in 2_u64..40, index in any::<prop::sample::Index>(),
    ) {
        static KEY: std::sync::OnceLock<SigningKey> = std::sync::OnceLock::new();
        let key = KEY.get_or_init(|| Fleet::new().key("gw-1"));
        let index = index.index(usize::try_from(count).unwrap());
        let proof = made_of(key, count, index);
        let all = readings("freezer-02", count);
        let shown = Salt(proof.reading.salt);
        // All that can be made of readings without a salt of theirs: leaves, and each root over several that
        // follow one another.
        let without: [Vec<Hash>; 3] = [
            all.iter().map(|it| it.said().plain_leaf()).collect(),
            all.iter().map(|it| it.leaf(&shown)).collect(),
            all.iter().map(|it| it.leaf(&Salt([0; 32]))).collect(),
        ];
        for leaves in without {
            for from in 0..leaves.len() {
                for to in from + 1..=leaves.len() {
                    let guess = tree::root(&leaves[from..to]);
                    prop_assert!(!proof.chunk.path.contains(&guess), "{} to {}", from, to);
                }
            }
        }
        // With the salts they are those of the path: this would find one.
        let salted = leaves(&all);
        let found = |step: &Hash| {
            (0..salted.len()).any(|from| {
                (from + 1..=salted.len()).any(|to| tree::root(&salted[from..to]) == *step)
            })
        };
        prop_assert!(!proof.chunk.path.is_empty() && proof.chunk.path.iter().all(found));
        // And the document tells none but its own, nor the secret.
        let json = proof.to_json().to_string();
        let salts = secret().salts(&all[0].device);
        for other in (0..count).filter(|other| *other != index as u64) {
            prop_assert!(!json.contains(&hex::encode(salts.at(other).0)));
        }
        prop_assert!(json.contains(&hex::encode(shown.0)));
        prop_assert!(!json.contains(&"ab".repeat(32)));
    }

    #[test]
    fn no_page_makes_it_panic(text in "(<|>|/|=|\"|'| |a|data-proof|script|data-stencil-proof|!--|-->|é|\\{|\\}){0,60}") {
        let _ = page::find(text.as_bytes());
    }
}
