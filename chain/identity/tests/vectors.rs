//! The vectors of the specifications.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Map, Value};
use stencil_identity::did::{Did, Method};
use stencil_identity::document::{Document, Known, Purpose};
use stencil_identity::json;
use stencil_identity::multikey::{Algorithm, PublicKey};
use stencil_identity::proof::{Demand, Error, Options, Suite, Wrong, check, sign};
use stencil_identity::secret::SecretKey;

fn read(text: &str) -> Map<String, Value> {
    json::parse_object(text.as_bytes(), 1 << 20).expect("an object")
}

fn demand(suites: &[Suite]) -> Demand<'_> {
    Demand {
        purpose: Purpose::Assertion,
        suites,
        by: None,
        challenge: None,
        domain: None,
        now_us: 0,
        tolerance_us: 0,
    }
}

fn base64url(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(text)
        .expect("base64url")
}

/// The point of a JWK, compressed.
fn point(jwk: &Value) -> Vec<u8> {
    let (x, y) = (
        base64url(jwk["x"].as_str().expect("x")),
        base64url(jwk["y"].as_str().expect("y")),
    );
    let sign = 2 + (y.last().expect("a byte") & 1);
    [&[sign], x.as_slice()].concat()
}

#[test]
fn each_did_key_holds_the_key_of_its_vector() {
    let files = [
        (include_str!("vectors/did-key/ed25519-x25519.json"), 5),
        (include_str!("vectors/did-key/secp256k1.json"), 6),
        (include_str!("vectors/did-key/nist-curves.json"), 5),
    ];
    for (file, expected) in files {
        let mut compared = 0;
        for (text, vector) in read(file) {
            let method = &vector["didDocument"]["verificationMethod"][0];
            let jwk = &method["publicKeyJwk"];
            if jwk["crv"] == "P-521" {
                // Known to nobody here, and said so.
                let error = Did::parse(&text).expect_err("is not known").to_string();
                assert!(error.contains("multicodec of no key"), "{error}");
                continue;
            }
            let did = Did::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let Method::Key(key) = did.method() else {
                panic!("{did}");
            };
            let bytes = if let Some(base58) = method["publicKeyBase58"].as_str() {
                bs58::decode(base58).into_vec().expect("base58")
            } else if jwk["kty"] == "OKP" {
                base64url(jwk["x"].as_str().expect("x"))
            } else {
                point(jwk)
            };
            assert_eq!(key.as_bytes(), bytes, "{text}");
            assert_eq!(Did::from_key((**key).clone()).as_str(), text);
            let document = Document::of(&did).expect("a document");
            assert_eq!(document.as_value()["id"], text.as_str());
            let name = document.as_value()["verificationMethod"][0]["id"].clone();
            assert_eq!(name, vector["didDocument"]["verificationMethod"][0]["id"]);
            for purpose in [Purpose::Assertion, Purpose::Authentication] {
                let found = document.key(name.as_str().expect("a name"), purpose);
                assert_eq!(found, Ok(&**key));
            }
            if let Some(seed) = vector["seed"].as_str()
                && key.algorithm() == Algorithm::Ed25519
            {
                let seed = hex::decode(seed).expect("hexadecimal");
                let secret =
                    SecretKey::from_seed(Algorithm::Ed25519, &seed.try_into().expect("32 bytes"));
                assert_eq!(secret.expect("a key").public_key(), &**key);
            }
            compared += 1;
        }
        assert_eq!(compared, expected);
    }
}

#[test]
fn eddsa_jcs_2022_is_verified_and_signed_byte_for_byte() {
    let signed = read(include_str!("vectors/vc-di-eddsa/signedJCS.json"));
    let suites = [Suite::EddsaJcs2022];
    let proven = check(&signed, &demand(&suites), &Known::new()).expect("is right");
    assert_eq!(proven[0].suite, Suite::EddsaJcs2022);
    assert_eq!(proven[0].created_us, Some(1_677_281_798_000_000));

    let mut document = signed.clone();
    let proof = document.remove("proof").expect("a proof");
    let canonical = json::canonical(&document).expect("a canonical form");
    assert_eq!(
        String::from_utf8(canonical).expect("UTF-8"),
        include_str!("vectors/vc-di-eddsa/canonDocJCS.txt")
    );
    let options = read(include_str!("vectors/vc-di-eddsa/proofConfigJCS.json"));
    let canonical = json::canonical(&options).expect("a canonical form");
    assert_eq!(
        String::from_utf8(canonical).expect("UTF-8"),
        include_str!("vectors/vc-di-eddsa/proofCanonJCS.txt")
    );

    let pair = read(include_str!("vectors/vc-di-eddsa/keyPair.json"));
    let text = pair["privateKeyMultibase"].as_str().expect("a key");
    let bytes = bs58::decode(&text[1..]).into_vec().expect("base58");
    let seed = bytes[2..34].try_into().expect("32 bytes");
    let key = SecretKey::from_seed(Algorithm::Ed25519, &seed).expect("a key");
    let method = proof["verificationMethod"].as_str().expect("a method");
    let made = sign(
        &document,
        &key,
        &Options::assertion(method, 1_677_281_798_000_000),
    );
    assert_eq!(Value::Object(made.expect("a proof")), proof);
}

#[test]
fn ecdsa_jcs_2019_is_verified_on_both_curves() {
    for signed in [
        include_str!("vectors/vc-di-ecdsa/signedJCSECDSAP256.json"),
        include_str!("vectors/vc-di-ecdsa/signedJCSECDSAP384.json"),
    ] {
        let mut signed = read(signed);
        let suites = [Suite::EcdsaJcs2019];
        check(&signed, &demand(&suites), &Known::new()).expect("is right");
        signed["credentialSubject"]["alumniOf"] = "Another School".into();
        let error = check(&signed, &demand(&suites), &Known::new()).expect_err("is changed");
        assert!(
            matches!(&error, Error::Bad { index: 0, wrong, .. } if matches!(**wrong, Wrong::Signature(_))),
            "{error}"
        );
    }
}

#[test]
fn mldsa44_jcs_2024_is_verified() {
    let signed = read(include_str!(
        "vectors/di-quantum-safe/signed-mldsa44-jcs-2024.json"
    ));
    let suites = [Suite::MlDsa44Jcs2024];
    check(&signed, &demand(&suites), &Known::new()).expect("is right");
    let keys = read(include_str!("vectors/di-quantum-safe/KeysMLDSA.json"));
    let key = PublicKey::parse(
        keys["mldsa44"]["publicKeyMultibase"]
            .as_str()
            .expect("a key"),
    )
    .expect("a key");
    assert_eq!(
        hex::encode(key.as_bytes()),
        keys["mldsa44"]["publicKeyHex"].as_str().expect("a key")
    );
    // Each member counts, the context too, although the proof does not repeat it.
    for member in ["name", "validFrom", "issuer", "@context"] {
        let mut changed = signed.clone();
        changed[member] = "something else".into();
        let error = check(&changed, &demand(&suites), &Known::new()).expect_err(member);
        assert!(matches!(error, Error::Bad { .. }), "{member}: {error}");
    }
}

#[test]
fn a_member_that_a_proof_does_not_need_is_signed_too() {
    for text in [
        include_str!("vectors/vc-di-eddsa/signedJCS.json"),
        include_str!("vectors/di-quantum-safe/signed-mldsa44-jcs-2024.json"),
    ] {
        let mut signed = read(text);
        signed["proof"]["nonce"] = "added".into();
        assert!(check(&signed, &demand(&[]), &Known::new()).is_err());
    }
}
