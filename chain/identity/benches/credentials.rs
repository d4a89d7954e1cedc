//! Credentials issued and checked a second, by suite. Checking includes reading the text and finding
//! the keys.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Map, Value, json};
use stencil_identity::credential::{Credential, Draft, Policy, issue, issue_token};
use stencil_identity::did::Did;
use stencil_identity::document::{Document, Known};
use stencil_identity::multikey::Algorithm;
use stencil_identity::proof::Suite;
use stencil_identity::secret::SecretKey;
use stencil_identity::status::Fetched;

const NOW_US: i64 = 1_795_900_000_000_000;
const NAMES: [(&str, Algorithm); 3] = [
    ("ed25519", Algorithm::Ed25519),
    ("mldsa44", Algorithm::MlDsa44),
    ("mldsa65", Algorithm::MlDsa65),
];

fn draft(issuer: &Did) -> Map<String, Value> {
    let subject = json!({
        "id": "did:web:hub.example:tenants:acme:devices:freezer-07",
        "deviation": 0.05, "reference": "PT100-3", "points": [-20.0, 0.0, 20.0],
        "calibratedOn": "2026-11-28T22:00:00Z",
    });
    Draft {
        id: Some("urn:uuid:58172aac-d8ba-11ed-83dd-0b3aef56cc33".to_owned()),
        kinds: vec!["CalibrationCertificate".to_owned()],
        ..Draft::new(
            issuer.as_str(),
            NOW_US,
            subject.as_object().cloned().unwrap(),
        )
    }
    .build()
    .unwrap()
}

fn credentials(c: &mut Criterion) {
    let did = Did::parse("did:web:hub.example:tenants:acme").unwrap();
    let keys = NAMES.map(|(name, algorithm)| {
        let key = SecretKey::from_seed(algorithm, &[7; 32]).unwrap();
        (key, did.url(name))
    });
    let listed = [0, 1, 2].map(|n: usize| (NAMES[n].0, keys[n].0.public_key()));
    let mut known = Known::new();
    known.insert(&did, Ok(Document::with_keys(&did, &listed)));
    let draft = draft(&did);
    let (ed, pq) = (Suite::EddsaJcs2022, Suite::MlDsa44Jcs2024);
    for (name, used, suites) in [
        ("eddsa-jcs-2022", &keys[..1], vec![ed]),
        ("mldsa44-jcs-2024", &keys[1..2], vec![pq]),
        ("both", &keys[..2], vec![ed, pq]),
    ] {
        let used: Vec<(&SecretKey, &str)> = used
            .iter()
            .map(|(key, name)| (key, name.as_str()))
            .collect();
        c.bench_function(&format!("issue/{name}"), |b| {
            b.iter(|| issue(black_box(draft.clone()), &used, NOW_US).unwrap());
        });
        let issued = issue(draft.clone(), &used, NOW_US).unwrap();
        let text = serde_json::to_vec(&issued).unwrap();
        let policy = Policy {
            suites: &suites,
            ..Policy::default()
        };
        c.bench_function(&format!("verify/{name}"), |b| {
            b.iter(|| {
                let read = Credential::parse(black_box(&text)).unwrap();
                read.check(&policy, NOW_US, &known, &Fetched::new())
                    .unwrap()
            });
        });
    }
    let (key, method) = &keys[2];
    c.bench_function("issue/vc+jwt ML-DSA-65", |b| {
        b.iter(|| issue_token(black_box(&draft), key, method).unwrap());
    });
    let token = issue_token(&draft, key, method).unwrap();
    let policy = Policy {
        tokens: true,
        ..Policy::default()
    };
    c.bench_function("verify/vc+jwt ML-DSA-65", |b| {
        b.iter(|| {
            let read = Credential::parse(black_box(token.as_bytes())).unwrap();
            read.check(&policy, NOW_US, &known, &Fetched::new())
                .unwrap()
        });
    });
}

criterion_group!(benches, credentials);
criterion_main!(benches);
