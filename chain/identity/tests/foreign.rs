//! Second opinions, both ways: Digital Bazaar's suites from npm, and `dilithium-py` from PyPI.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Map, Value, json};
use stencil_identity::did::Did;
use stencil_identity::document::{Document, Known, Purpose};
use stencil_identity::jose;
use stencil_identity::multikey::Algorithm;
use stencil_identity::proof::{Demand, Error, Options, Suite, attach, check, sign};
use stencil_identity::secret::SecretKey;

const FOREIGN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/foreign");
const NOW_US: i64 = 1_795_900_000_000_000;

fn set(variable: &str) -> PathBuf {
    std::env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} is not set; `cargo xtask test` sets it up"))
        .into()
}

fn asked(command: &mut Command, request: &Value) -> Value {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the other side starts");
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(request.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().expect("its output");
    assert!(output.status.success(), "{}", output.status);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn npm(request: &Value) -> Value {
    let script = std::fs::read_to_string(format!("{FOREIGN}/identity/proofs.mjs")).unwrap();
    let mut node = Command::new("node");
    node.current_dir(set("STENCIL_TEST_IDENTITY"))
        .args(["--input-type=module", "--eval", &script]);
    asked(&mut node, request)
}

fn python(request: &Value) -> Value {
    let mut python = Command::new(set("STENCIL_TEST_PYTHON"));
    python.arg(format!("{FOREIGN}/identity_ml_dsa.py"));
    asked(&mut python, request)
}

fn document(issuer: &str) -> Map<String, Value> {
    let value = json!({
        "@context": ["https://www.w3.org/ns/credentials/v2"],
        "id": "urn:uuid:58172aac-d8ba-11ed-83dd-0b3aef56cc33",
        "type": ["VerifiableCredential", "CalibrationCertificate"],
        "issuer": issuer,
        "validFrom": "2026-11-28T22:00:00Z",
        "credentialSubject": { "id": "did:web:hub.example:devices:d-1", "deviation": "0.05", "n": 7 },
    });
    value.as_object().cloned().unwrap()
}

fn demand(suites: &[Suite]) -> Demand<'_> {
    Demand {
        purpose: Purpose::Assertion,
        suites,
        by: None,
        challenge: None,
        domain: None,
        now_us: NOW_US,
        tolerance_us: 0,
    }
}

/// What was signed elsewhere is right, and is not any more when it is changed.
fn takes(signed: Value, suite: Suite) {
    let suites = [suite];
    let mut signed = signed.as_object().cloned().unwrap();
    let proven = check(&signed, &demand(&suites), &Known::new()).expect("theirs is right");
    assert_eq!(proven.len(), 1);
    signed["credentialSubject"]["n"] = json!(8);
    let error = check(&signed, &demand(&suites), &Known::new());
    assert!(matches!(error, Err(Error::Bad { .. })), "{error:?}");
}

/// A document that was signed here, by a `did:key`.
fn signed(algorithm: Algorithm) -> (Value, Did, SecretKey) {
    let key = SecretKey::from_seed(algorithm, &[11; 32]).unwrap();
    let did = Did::from_key(key.public_key().clone());
    let mut document = document(did.as_str());
    let method = did.url("key");
    let proof = sign(&document, &key, &Options::assertion(&method, NOW_US)).unwrap();
    attach(&mut document, proof).unwrap();
    (Value::Object(document), did, key)
}

#[test]
fn eddsa_jcs_2022_and_npm_agree() {
    takes(
        npm(&json!({ "sign": "eddsa-jcs-2022", "document": document("did:web:x.example") })),
        Suite::EddsaJcs2022,
    );
    let (document, did, _) = signed(Algorithm::Ed25519);
    let controller = Document::of(&did).unwrap().as_value().clone();
    let mut method = controller["verificationMethod"][0].clone();
    method["@context"] = json!("https://w3id.org/security/multikey/v1");
    let mut request = json!({
        "verify": "eddsa-jcs-2022",
        "document": document,
        "documents": { did.as_str(): controller, did.url("key"): method },
    });
    let answer = npm(&request);
    assert_eq!(answer["verified"], true, "{answer}");
    request["document"]["credentialSubject"]["n"] = json!(8);
    assert_eq!(npm(&request)["verified"], false);
}

#[test]
fn ecdsa_jcs_2019_of_npm_is_verified_on_both_curves() {
    for curve in ["P-256", "P-384"] {
        let request = json!({
            "sign": "ecdsa-jcs-2019", "curve": curve, "document": document("did:web:x.example"),
        });
        takes(npm(&request), Suite::EcdsaJcs2019);
    }
}

#[test]
fn mldsa44_jcs_2024_and_dilithium_py_agree() {
    takes(
        python(&json!({ "sign": "mldsa44-jcs-2024", "document": document("did:web:x.example") })),
        Suite::MlDsa44Jcs2024,
    );
    let (document, _, key) = signed(Algorithm::MlDsa44);
    let mut request = json!({
        "verify": "mldsa44-jcs-2024", "document": document, "key": key.public_key().to_string(),
    });
    assert_eq!(python(&request)["verified"], true);
    request["document"]["credentialSubject"]["n"] = json!(8);
    assert_eq!(python(&request)["verified"], false);
}

#[test]
fn tokens_by_ml_dsa_65_and_dilithium_py_agree() {
    let theirs = python(&json!({ "sign": "vc+jwt", "document": document("did:web:x.example") }));
    let token = theirs["token"].as_str().unwrap();
    let read = jose::parse(token).expect("a token");
    assert_eq!(read.credential, document("did:web:x.example"));
    read.check(None, &Known::new()).expect("theirs is right");

    let key = SecretKey::from_seed(Algorithm::MlDsa65, &[11; 32]).unwrap();
    let did = Did::from_key(key.public_key().clone());
    let ours = jose::sign(&document(did.as_str()), &key, &did.url("key")).unwrap();
    let request = json!({
        "verify": "vc+jwt", "token": ours, "key": key.public_key().to_string(),
    });
    let answer = python(&request);
    assert_eq!(answer["verified"], true);
    assert_eq!(answer["document"], json!(document(did.as_str())));
}
