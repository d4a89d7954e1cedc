//! Digests and signers, against vectors of two other implementations and of the specifications.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use alloy_primitives::{Address, B256, U256, address, b256, hex, uint};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use proptest::prelude::*;
use serde_json::Value;
use stencil_payments::eip712::{
    Authorization, Domain, Error, Kind, MAX_SIGNATURE_BYTES, Signed, check,
};
use stencil_payments::money::Amount;

const ORDER: U256 = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);

struct Vector {
    kind: Kind,
    domain: Domain,
    authorization: Authorization,
    digest: B256,
    separator: B256,
    signature: Vec<u8>,
}

fn vectors() -> Vec<Vector> {
    let all: Vec<Value> = serde_json::from_str(include_str!("data/eip3009.json")).unwrap();
    let read = |vector: Value| {
        let text = |of: &str, name: &str| vector[of][name].as_str().unwrap().to_owned();
        let top = |name: &str| vector[name].as_str().unwrap().to_owned();
        let number = |name: &str| text("message", name).parse().unwrap();
        assert_eq!(top("digest"), top("viem_digest"), "the two others agree");
        Vector {
            kind: match top("kind").as_str() {
                "TransferWithAuthorization" => Kind::Transfer,
                "ReceiveWithAuthorization" => Kind::Receive,
                other => panic!("{other}"),
            },
            domain: Domain {
                name: text("domain", "name"),
                version: text("domain", "version"),
                chain: text("domain", "chainId").parse().unwrap(),
                token: text("domain", "verifyingContract").parse().unwrap(),
            },
            authorization: Authorization {
                from: text("message", "from").parse().unwrap(),
                to: text("message", "to").parse().unwrap(),
                value: Amount(number("value")),
                valid_after: number("validAfter"),
                valid_before: number("validBefore"),
                nonce: text("message", "nonce").parse().unwrap(),
            },
            digest: top("digest").parse().unwrap(),
            separator: top("separator").parse().unwrap(),
            signature: hex::decode(top("signature")).unwrap(),
        }
    };
    let vectors: Vec<_> = all.into_iter().map(read).collect();
    assert_eq!(vectors.len(), 8);
    vectors
}

#[test]
fn digests_are_those_of_eth_account_and_viem() {
    for vector in vectors() {
        assert_eq!(
            vector.domain.separator(),
            vector.separator,
            "{:?}",
            vector.domain
        );
        let digest = vector.authorization.digest(vector.kind, &vector.domain);
        assert_eq!(
            digest, vector.digest,
            "{:?} {:?}",
            vector.kind, vector.domain
        );
        let payer = vector.authorization.from;
        assert_eq!(check(digest, payer, &vector.signature), Ok(Signed::ByPayer));
    }
}

#[test]
fn type_hashes_are_those_of_eip_3009() {
    assert_eq!(
        Kind::Transfer.typehash(),
        b256!("7c7c6cdb67a18743f49ec6fa9b35f50d52ed05cbed4cc592e13b44501c1a2267")
    );
    assert_eq!(
        Kind::Receive.typehash(),
        b256!("d099cc98ef71107a616c4f0f941f04c322d8e254fe26b3c6668db87aae413de8")
    );
}

#[test]
fn the_example_of_the_x402_specification_is_signed_by_its_payer() {
    let domain = Domain {
        name: "USDC".into(),
        version: "2".into(),
        chain: 84532,
        token: address!("036CbD53842c5426634e7929541eC2318f3dCF7e"),
    };
    let authorization = Authorization {
        from: address!("857b06519E91e3A54538791bDbb0E22373e36b66"),
        to: address!("209693Bc6afc0C5328bA36FaF03C514EF312287C"),
        value: Amount::from(10_000_u64),
        valid_after: U256::from(1_740_672_089),
        valid_before: U256::from(1_740_672_154),
        nonce: b256!("f3746613c2d920b5fdabc0856f2aeb2d4f88ee6037b8cc5d04a71a4462f13480"),
    };
    let signature = hex!(
        "2d6a7588d6acca505cbf0d9a4a227e0c52c6c34008c8e8986a1283259764173608a2ce6496642e377d6da8dbbf5836e9bd15092f9ecab05ded3d6293af148b571c"
    );
    let digest = authorization.digest(Kind::Transfer, &domain);
    assert_eq!(
        check(digest, authorization.from, &signature),
        Ok(Signed::ByPayer)
    );
    // Another type, token, chain, name or amount is another digest, and so another signer.
    let other_chain = Domain {
        chain: 8453,
        ..domain.clone()
    };
    let other_token = Domain {
        token: Address::repeat_byte(1),
        ..domain.clone()
    };
    let other_name = Domain {
        name: "USD Coin".into(),
        ..domain.clone()
    };
    let dearer = Authorization {
        value: Amount::from(10_001_u64),
        ..authorization
    };
    for digest in [
        authorization.digest(Kind::Receive, &domain),
        authorization.digest(Kind::Transfer, &other_chain),
        authorization.digest(Kind::Transfer, &other_token),
        authorization.digest(Kind::Transfer, &other_name),
        dearer.digest(Kind::Transfer, &domain),
    ] {
        let signed = check(digest, authorization.from, &signature);
        assert!(
            matches!(signed, Ok(Signed::ByAnother(_)) | Err(Error::NoKey)),
            "{signed:?}"
        );
    }
}

#[test]
fn signatures_that_cannot_be_settled_are_refused() {
    let Vector {
        authorization,
        digest,
        signature,
        ..
    } = vectors().remove(0);
    let payer = authorization.from;
    let says = |signature: &[u8]| check(digest, payer, signature);

    // The twin in the upper half recovers to the same key, and is refused all the same.
    let s = U256::from_be_slice(&signature[32..64]);
    let mut twin = signature.clone();
    twin[32..64].copy_from_slice(&(ORDER - s).to_be_bytes::<32>());
    twin[64] = 27 + (28 - signature[64]);
    let recovered = alloy_primitives::Signature::from_raw(&twin)
        .unwrap()
        .recover_address_from_prehash(&digest)
        .unwrap();
    assert_eq!(recovered, payer);
    assert_eq!(says(&twin), Err(Error::HighS));

    // EIP-2098: the parity in the highest bit of s.
    let mut compact = signature[..64].to_vec();
    compact[32] |= (signature[64] - 27) << 7;
    assert_eq!(says(&compact), Err(Error::Compact));

    let mut parity = signature.clone();
    parity[64] -= 27;
    assert_eq!(says(&parity), Ok(Signed::ByPayer));
    parity[64] = 29;
    assert_eq!(says(&parity), Err(Error::Parity(29)));
    for (from, to) in [(0, 32), (32, 64)] {
        let mut zero = signature.clone();
        zero[from..to].fill(0);
        assert_eq!(says(&zero), Err(Error::NoKey));
        let mut order = signature.clone();
        order[from..to].copy_from_slice(&ORDER.to_be_bytes::<32>());
        assert_eq!(says(&order), Err(Error::NoKey));
    }
    assert_eq!(says(&[]), Err(Error::Length(0)));
    assert_eq!(says(&signature[..63]), Err(Error::Length(63)));
    assert_eq!(says(&[0; 66]), Ok(Signed::AskContract));
    let long = vec![0; MAX_SIGNATURE_BYTES + 1];
    assert_eq!(says(&long), Err(Error::TooLong(MAX_SIGNATURE_BYTES + 1)));
}

#[test]
fn the_window_is_open_at_neither_end() {
    let authorization = Authorization {
        valid_after: U256::from(100),
        valid_before: U256::from(110),
        ..vectors().remove(0).authorization
    };
    let times: Vec<_> = (99..=111)
        .filter(|time| authorization.holds_at(*time))
        .collect();
    assert_eq!(times, (101..=109).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_a_key_signs_is_its_own(key in any::<[u8; 32]>(), digest in any::<[u8; 32]>()) {
        let Ok(signer) = PrivateKeySigner::from_slice(&key) else { return Ok(()) };
        let digest = B256::from(digest);
        let signature = signer.sign_hash_sync(&digest).unwrap().as_bytes();
        prop_assert_eq!(check(digest, signer.address(), &signature), Ok(Signed::ByPayer));
        let other = Address::repeat_byte(7);
        let by = Signed::ByAnother(signer.address());
        prop_assert_eq!(check(digest, other, &signature), Ok(by));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..140)) {
        let _ = check(B256::ZERO, Address::ZERO, &bytes);
    }
}
