//! Certificates that are renewed: what is written is read back, and nothing else passes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use stencil_protocol::renewal::{
    Answer, MAX_CHAIN_BYTES, MAX_REASON_BYTES, MAX_REQUEST_BYTES, Renew,
};

proptest! {
    #[test]
    fn they_come_back(
        certificate: [u8; 32],
        request in prop::collection::vec(any::<u8>(), 0..300),
        text in "\\PC{0,100}",
        bytes: Vec<u8>,
    ) {
        let renew = Renew { certificate, request };
        prop_assert_eq!(&Renew::decode(&renew.encode().unwrap()).unwrap(), &renew);
        for answer in [Answer::Renewed(text.clone()), Answer::Refused(text)] {
            prop_assert_eq!(&Answer::decode(&answer.encode().unwrap()).unwrap(), &answer);
        }
        let _ = Renew::decode(&bytes);
        let _ = Answer::decode(&bytes);
    }
}

#[test]
fn bounds_hold_on_both_sides() {
    let request = |length| Renew {
        certificate: [7; 32],
        request: vec![1; length],
    };
    let most = request(MAX_REQUEST_BYTES);
    assert_eq!(Renew::decode(&most.encode().unwrap()).unwrap(), most);
    assert!(request(MAX_REQUEST_BYTES + 1).encode().is_err());
    for (most, more) in [
        (
            Answer::Renewed("x".repeat(MAX_CHAIN_BYTES)),
            Answer::Renewed("x".repeat(MAX_CHAIN_BYTES + 1)),
        ),
        (
            Answer::Refused("x".repeat(MAX_REASON_BYTES)),
            Answer::Refused("x".repeat(MAX_REASON_BYTES + 1)),
        ),
    ] {
        assert_eq!(Answer::decode(&most.encode().unwrap()).unwrap(), most);
        assert!(more.encode().is_err());
    }
    // { 0: 31 bytes, 1: none }, a certificate twice, an answer of no known kind.
    let mut short = vec![0xa2, 0x00, 0x58, 31];
    short.extend([7; 31]);
    short.extend([0x01, 0x40]);
    assert!(Renew::decode(&short).is_err());
    assert!(Renew::decode(&[0xa2, 0x00, 0x40, 0x00, 0x40]).is_err());
    assert!(Renew::decode(&[0xa0]).is_err());
    assert!(Answer::decode(&[0x82, 0x02, 0x60]).is_err());
    assert!(Answer::decode(&[0x81, 0x00]).is_err());
}
