//! The verifier against the vectors of RFC 8554 and against another implementation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use hbs_lms::{HssParameter, LmotsAlgorithm, LmsAlgorithm, Sha256_256};
use proptest::prelude::*;
use stencil_update::lms::{
    self, Error, Parameters, PublicKey, SHA256_H5_W8, SHA256_H10_W4, SHA256_H10_W8, SIGNATURE_BYTES,
};

fn vector(name: &str) -> Vec<u8> {
    include_str!("vectors/rfc8554.txt")
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .map(|digits| hex::decode(digits).unwrap())
        .unwrap()
}

/// Checks one level of an HSS signature: an LMS key, a message, and the LMS signature.
fn check(parameters: Parameters, key: &[u8], message: &[u8], signature: &[u8], leaf: u32) {
    // In HSS form, as a key and a signature of one level.
    let key = [&[0, 0, 0, 1], key].concat();
    let signature = [&[0, 0, 0, 0], signature].concat();
    let key = PublicKey::with_parameters(parameters, &key).unwrap();
    assert_eq!(key.verify(message, &signature), Ok(leaf));
    for at in (0..signature.len()).step_by(61).chain([4, 7, 8]) {
        let mut other = signature.clone();
        other[at] ^= 1;
        assert!(key.verify(message, &other).is_err(), "byte {at}");
    }
    let mut other = message.to_vec();
    other[0] ^= 1;
    assert_eq!(key.verify(&other, &signature), Err(Error::Wrong));
    assert_eq!(
        key.verify(message, &signature[..signature.len() - 1]),
        Err(Error::Form)
    );
}

fn both_levels(case: u8, upper: Parameters, leaves: [u32; 2]) {
    let key = vector(&format!("{case}.public_key"));
    let message = vector(&format!("{case}.message"));
    let signature = vector(&format!("{case}.signature"));
    assert_eq!(key[..4], [0, 0, 0, 2]);
    assert_eq!(signature[..4], [0, 0, 0, 1]);
    // The upper key signs the lower key, the lower key signs the message.
    let split = 4 + upper.signature_bytes() - 4;
    let (first, rest) = signature[4..].split_at(split - 4);
    let (lower, second) = rest.split_at(56);
    check(upper, &key[4..], lower, first, leaves[0]);
    check(SHA256_H5_W8, lower, &message, second, leaves[1]);
}

#[test]
fn rfc_8554_test_case_1() {
    both_levels(1, SHA256_H5_W8, [5, 10]);
}

#[test]
fn rfc_8554_test_case_2() {
    both_levels(2, SHA256_H10_W4, [3, 4]);
}

#[test]
fn signatures_of_another_implementation() {
    // It holds megabytes on the stack.
    let thread = std::thread::Builder::new().stack_size(64 << 20);
    thread.spawn(cross_check).unwrap().join().unwrap();
}

fn cross_check() {
    let parameters = [HssParameter::<Sha256_256>::new(
        LmotsAlgorithm::LmotsW8,
        LmsAlgorithm::LmsH10,
    )];
    let mut aux = vec![0; 64 * 1024];
    let mut slice = aux.as_mut_slice();
    let seed = hbs_lms::Seed::from([9; 32]);
    let (mut private, public) = hbs_lms::keygen(&parameters, &seed, Some(&mut slice)).unwrap();
    let used = slice.len();
    assert_eq!(public.as_slice().len(), lms::PUBLIC_KEY_BYTES);
    let key = PublicKey::from_bytes(public.as_slice()).unwrap();
    assert_eq!(key.to_bytes(), public.as_slice());
    for leaf in 0..20_u8 {
        let message = vec![0x17; usize::from(leaf) * 13];
        let mut slice = &mut aux[..used];
        let signature = private
            .try_sign_with_aux(&message, Some(&mut slice))
            .unwrap();
        assert_eq!(signature.as_ref().len(), SIGNATURE_BYTES);
        assert_eq!(key.verify(&message, signature.as_ref()), Ok(leaf.into()));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_verify(
        key in proptest::collection::vec(any::<u8>(), 0..80),
        mut signature in proptest::collection::vec(any::<u8>(), SIGNATURE_BYTES),
        length in 0..=SIGNATURE_BYTES,
        message: Vec<u8>,
        shaped: bool,
    ) {
        let mut proper = [0x5a; lms::PUBLIC_KEY_BYTES];
        proper[..12].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 6, 0, 0, 0, 4]);
        if let Ok(key) = PublicKey::from_bytes(&key) {
            prop_assert!(key.verify(&message, &signature).is_err());
        }
        let key = PublicKey::from_bytes(&proper).unwrap();
        prop_assert!(key.verify(&message, &signature[..length]).is_err());
        if shaped {
            signature[..12].copy_from_slice(&[0, 0, 0, 0, 0, 0, 3, 1, 0, 0, 0, 4]);
            signature[12 + 32 + 34 * 32..][..4].copy_from_slice(&[0, 0, 0, 6]);
            prop_assert_eq!(key.verify(&message, &signature), Err(Error::Wrong));
        }
    }
}

#[test]
fn keys_of_other_parameters_are_no_keys() {
    let mut key = [0x5a; lms::PUBLIC_KEY_BYTES];
    key[..12].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 6, 0, 0, 0, 4]);
    PublicKey::from_bytes(&key).unwrap();
    for at in [3, 7, 11] {
        let mut other = key;
        other[at] += 1;
        assert_eq!(PublicKey::from_bytes(&other), Err(Error::Key));
    }
    assert_eq!(SHA256_H10_W8.signature_bytes(), 1456);
}
