//! Credentials and presentations, as documents and as tokens: read or refused, read the same again in their canonical
//! form, and never right without a proof.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stencil_identity::credential::{Credential, Issuers, OnUnknown, Policy};
use stencil_identity::document::Known;
use stencil_identity::presentation::{Presentation, Wanted};
use stencil_identity::proof::Suite;
use stencil_identity::status::Fetched;
use stencil_identity::{jose, json};

const SUITES: [Suite; 1] = [Suite::EddsaJcs2022];
/// 2026-11-29.
const NOW_US: i64 = 1_795_910_400_000_000;

fuzz_target!(|bytes: &[u8]| {
    let policy = Policy {
        issuers: Issuers::Any,
        suites: &SUITES,
        tokens: true,
        kind: None,
        subject: None,
        on_unknown: OnUnknown::Accept,
        tolerance_us: 60_000_000,
    };
    let (known, lists) = (Known::new(), Fetched::new());
    if let Ok(map) = json::parse_object(bytes, 1 << 20)
        && let Ok(canonical) = json::canonical(&map)
    {
        let again = json::parse_object(&canonical, 1 << 20).expect("canonical JSON is JSON");
        assert_eq!(json::canonical(&again).ok(), Some(canonical));
    }
    if let Ok(credential) = Credential::parse(bytes) {
        let again = Credential::from_map(credential.as_map().clone()).expect("it was one");
        assert_eq!(again.id(), credential.id());
        assert_eq!(again.statuses(), credential.statuses());
        if let Ok(verified) = credential.check(&policy, NOW_US, &known, &lists) {
            assert!(!verified.by.is_empty(), "without a proof");
        }
    }
    if let Ok(presentation) = Presentation::parse(bytes) {
        let wanted = Wanted {
            challenge: "c",
            domain: "d",
            suites: &SUITES,
            own: true,
        };
        // Nobody has signed this challenge.
        let checked = presentation.check(&wanted, &policy, NOW_US, &known, &lists);
        assert!(checked.is_err());
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(token) = jose::parse(text)
    {
        let _ = token.check(None, &known);
    }
});
