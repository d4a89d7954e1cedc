//! Manifests: two signers that both have to be right, strict reading, images that are checked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use proptest::prelude::*;
use stencil_update::envelope::{Envelope, Error, Fault, Signer};
use stencil_update::header::{HEADER_BYTES, Version};
use stencil_update::signing::Keys;
use stencil_update::trust::Trust;
use stencil_update::{Device, Header, Refusal, header, lms, manifest};
use support::{IMAGE, header, keys};

struct Signed {
    bytes: Vec<u8>,
    trust: Trust,
}

fn signed() -> &'static Signed {
    static SIGNED: std::sync::OnceLock<Signed> = std::sync::OnceLock::new();
    SIGNED.get_or_init(|| {
        let mut keys = keys();
        Signed {
            bytes: keys.sign(&header()).unwrap().encode(),
            trust: keys.trust().clone(),
        }
    })
}

/// Where a signature's bytes are in the envelope.
fn place(signer: Signer) -> usize {
    let bytes = &signed().bytes;
    // The byte strings' heads: 64, 3309 and 1456 bytes long.
    let (head, offset): (&[u8], _) = match signer {
        Signer::Ed25519 => (&[0xa0, 0x58, 64], 3),
        Signer::MlDsa65 => (&[0xa0, 0x59, 0x0c, 0xed], 4),
        Signer::Lms => (&[0x39, 0x01, 0x00, 0x59, 0x05, 0xb0], 6),
    };
    offset + bytes.windows(head.len()).position(|w| w == head).unwrap()
}

fn verify(bytes: &[u8]) -> Result<(), Error> {
    Envelope::decode(bytes)?.verify(&signed().trust).map(|_| ())
}

#[test]
fn what_was_signed_verifies_and_says_what_it_is() {
    let envelope = Envelope::decode(&signed().bytes).unwrap();
    assert_eq!(*envelope.claims(), header());
    let verified = envelope.verify(&signed().trust).unwrap();
    assert_eq!(*verified.header(), header());
    assert!(signed().bytes.len() < 5_500, "{}", signed().bytes.len());
    // What the device gets.
    let prelude = verified.prelude().unwrap();
    let on_device: [u8; HEADER_BYTES] = prelude[..HEADER_BYTES].try_into().unwrap();
    assert_eq!(Header::decode(&on_device), Ok(header()));
    let signature = &prelude[HEADER_BYTES..][..lms::SIGNATURE_BYTES];
    let leaf = signed().trust.lms().verify(&on_device, signature).unwrap();
    assert_eq!(leaf, verified.envelope().lms_leaf());
}

#[test]
fn one_bad_signature_is_named_and_refused() {
    for signer in [Signer::Ed25519, Signer::MlDsa65, Signer::Lms] {
        for offset in [20, 40] {
            let mut bytes = signed().bytes.clone();
            bytes[place(signer) + offset] ^= 1;
            let error = verify(&bytes).unwrap_err();
            assert_eq!(
                error,
                Error::Signature {
                    signer,
                    fault: Fault::Wrong
                }
            );
            assert!(error.to_string().contains(&signer.to_string()), "{error}");
        }
    }
    let mut bytes = signed().bytes.clone();
    bytes[place(Signer::Ed25519)] ^= 1;
    bytes[place(Signer::MlDsa65)] ^= 1;
    let error = verify(&bytes).unwrap_err().to_string();
    assert!(
        error.contains("Ed25519") && error.contains("ML-DSA-65"),
        "{error}"
    );
}

#[test]
fn a_signature_of_a_key_that_is_not_trusted_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let stranger = Keys::generate(folder.path()).unwrap();
    // All three are the stranger's to us.
    let Err(Error::Signatures(faults)) = Envelope::decode(&signed().bytes)
        .unwrap()
        .verify(stranger.trust())
    else {
        panic!("a stranger's signatures were taken");
    };
    assert_eq!(faults.len(), 3);
    // One of them only.
    let text = signed().trust.to_text();
    let theirs = stranger.trust().to_text();
    let line = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.to_owned()
    };
    let mixed = text.replace(&line(&text, "ml-dsa-65"), &line(&theirs, "ml-dsa-65"));
    let error = Envelope::decode(&signed().bytes)
        .unwrap()
        .verify(&Trust::from_text(&mixed).unwrap())
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Signature {
                signer: Signer::MlDsa65,
                fault: Fault::UnknownKey { .. }
            }
        ),
        "{error}"
    );
}

/// The envelope with the first `keep` signatures only.
fn with_signatures(keep: usize) -> Vec<u8> {
    let mut outer = minicbor::Decoder::new(&signed().bytes);
    outer.tag().unwrap();
    outer.map().unwrap();
    outer.u8().unwrap();
    let mut authentication = minicbor::Decoder::new(outer.bytes().unwrap());
    let manifest_on = outer.position();
    authentication.array().unwrap();
    let digest = authentication.bytes().unwrap();
    let cose = authentication.bytes().unwrap();
    let mut reader = minicbor::Decoder::new(cose);
    reader.tag().unwrap();
    reader.array().unwrap();
    for _ in 0..3 {
        reader.skip().unwrap();
    }
    let head = &cose[..reader.position()];
    reader.array().unwrap();
    let first = reader.position();
    for _ in 0..keep {
        reader.skip().unwrap();
    }
    let list = 0x80 | u8::try_from(keep).unwrap();
    let cose = [head, &[list], &cose[first..reader.position()]].concat();
    let mut authentication = minicbor::Encoder::new(Vec::new());
    authentication.array(2).unwrap().bytes(digest).unwrap();
    authentication.bytes(&cose).unwrap();
    let mut envelope = minicbor::Encoder::new(Vec::new());
    envelope.tag(minicbor::data::Tag::new(107)).unwrap();
    envelope.map(3).unwrap().u8(2).unwrap();
    envelope.bytes(authentication.writer()).unwrap();
    let mut bytes = envelope.into_writer();
    bytes.extend_from_slice(&signed().bytes[manifest_on..]);
    bytes
}

#[test]
fn one_signature_is_not_enough() {
    assert_eq!(with_signatures(2), signed().bytes);
    for given in 0..2 {
        let error = Envelope::decode(&with_signatures(given)).unwrap_err();
        let given = given as u64;
        assert_eq!(error, Error::SignatureCount { given });
        assert!(error.to_string().contains("both have to sign"), "{error}");
    }
}

#[test]
fn every_change_of_a_byte_and_every_cut_is_noticed() {
    let bytes = &signed().bytes;
    for at in 0..bytes.len() {
        let mut other = bytes.clone();
        other[at] ^= 0x20;
        // Signatures are not covered here: verifying thousands takes long, and is tested above.
        match Envelope::decode(&other) {
            Err(_) => {}
            Ok(envelope) => {
                assert_eq!(*envelope.claims(), header(), "byte {at}");
                if at % 97 == 0 {
                    assert!(verify(&other).is_err(), "byte {at}");
                }
            }
        }
        assert!(Envelope::decode(&bytes[..at]).is_err(), "cut at {at}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(Envelope::decode(&longer), Err(Error::NotCanonical));
    assert!(matches!(
        Envelope::decode(&vec![0; 9_000]),
        Err(Error::TooLong { given: 9_000 })
    ));
}

#[test]
fn truncated_oversized_and_changed_images_are_told_apart() {
    let verified = Envelope::decode(&signed().bytes)
        .unwrap()
        .verify(&signed().trust)
        .unwrap();
    verified.check_image(IMAGE).unwrap();
    let size = IMAGE.len() as u64;
    assert_eq!(
        verified.check_image(&IMAGE[1..]),
        Err(Refusal::Truncated {
            have: size - 1,
            size
        })
    );
    assert_eq!(
        verified.check_image(&[IMAGE, b"!"].concat()),
        Err(Refusal::Oversized {
            size: size + 1,
            max: size
        })
    );
    let mut other = IMAGE.to_vec();
    other[3] ^= 1;
    assert_eq!(verified.check_image(&other), Err(Refusal::Digest));
}

#[test]
fn a_device_says_why_it_takes_an_image_or_not() {
    let header = header();
    let device = Device {
        vendor: header.vendor,
        class: header.class,
        max_image: header.size,
        confirmed: 16,
    };
    device.accepts(&header).unwrap();
    let foreign = Device {
        vendor: header.class,
        ..device
    };
    let other = Device {
        class: header.vendor,
        ..device
    };
    let small = Device {
        max_image: header.size - 1,
        ..device
    };
    let newer = Device {
        confirmed: 17,
        ..device
    };
    let codes = [foreign, other, newer, small].map(|d| d.accepts(&header).unwrap_err().code());
    assert_eq!(codes, [2, 3, 4, 5]);
    // What is confirmed may be started, nothing before it.
    newer.starts(&header).unwrap();
    let ahead = Device {
        confirmed: 18,
        ..device
    };
    assert!(matches!(ahead.starts(&header), Err(Refusal::Old { .. })));
}

#[test]
fn trust_files_say_what_is_wrong_with_them() {
    let text = signed().trust.to_text();
    assert_eq!(Trust::from_text(&text).unwrap(), signed().trust);
    for (other, expected) in [
        (text.replace("ml-dsa-65 ", "ml-dsa-44 "), "line 3"),
        (
            text.replace("\ned25519 ", "\n# "),
            "the Ed25519 key is missing",
        ),
        (format!("{text}{}", text.lines().last().unwrap()), "twice"),
        (text.replace("lms 00", "lms 01"), "the LMS key is none"),
        (text.replace("ed25519 ", "ed25519 zz"), "line 2"),
        ("x".repeat(20_000), "longer than"),
    ] {
        let error = Trust::from_text(&other).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

fn any_header() -> impl Strategy<Value = Header> {
    (
        any::<[u8; 16]>(),
        any::<[u8; 16]>(),
        1..=u64::MAX,
        1..=header::MAX_IMAGE_BYTES,
        any::<[u8; 32]>(),
        "[!-~]{1,32}",
    )
        .prop_map(|(vendor, class, sequence, size, digest, version)| Header {
            vendor: stencil_update::id::Id(vendor),
            class: stencil_update::id::Id(class),
            sequence,
            size,
            digest,
            version: Version::new(&version).unwrap(),
        })
}

proptest! {
    #[test]
    fn headers_and_manifests_are_read_back(header in any_header()) {
        prop_assert_eq!(Header::decode(&header.encode().unwrap()), Ok(header));
        let manifest = manifest::encode(&header).unwrap();
        prop_assert!(manifest.len() <= manifest::MAX_BYTES);
        prop_assert_eq!(manifest::decode(&manifest), Ok(header));
    }

    #[test]
    fn a_manifest_has_one_form(header in any_header(), at: prop::sample::Index, to: u8) {
        let manifest = manifest::encode(&header).unwrap();
        let mut other = manifest.clone();
        let at = at.index(other.len());
        other[at] = to;
        if let Ok(read) = manifest::decode(&other) {
            prop_assert_eq!(manifest::encode(&read).unwrap(), other);
        }
    }

    #[test]
    fn arbitrary_bytes_are_read_or_refused(bytes: Vec<u8>, head: [u8; HEADER_BYTES]) {
        let _ = manifest::decode(&bytes);
        let _ = Envelope::decode(&bytes);
        let _ = Trust::from_text(&String::from_utf8_lossy(&bytes));
        if let Ok(header) = Header::decode(&head) {
            prop_assert_eq!(header.encode().unwrap(), head);
        }
    }
}
