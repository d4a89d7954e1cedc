//! Who signed: what is taken, and what only looks like it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use alloy_primitives::{B256, U256};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use proptest::prelude::*;
use stencil_wallet::{
    Address, MAX_MESSAGE_BYTES, MAX_SIGNATURE_BYTES, Message, Moment, NoSignature, Part, Signed,
    signed_by,
};

/// The order of secp256k1.
const ORDER: &str = "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
const NOW_US: i64 = 1_700_000_000_000_000;
const S: i64 = 1_000_000;

fn key() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(7)).unwrap()
}

fn message() -> Message {
    Message {
        scheme: Some("https".into()),
        domain: "hub.example.org".into(),
        address: key().address(),
        is_checksummed: true,
        statement: Some("Sign in to tenant acme.".into()),
        uri: "https://hub.example.org/login".into(),
        chain_id: 31_337,
        nonce: "abcdefgh12345678".into(),
        issued_at: Moment::of(NOW_US),
        expiration_time: Some(Moment::of(NOW_US + 300 * S)),
        not_before: Some(Moment::of(NOW_US)),
        request_id: Some("r-1".into()),
        resources: vec!["https://hub.example.org/tos".into()],
    }
}

fn signature(text: &str) -> Vec<u8> {
    key()
        .sign_message_sync(text.as_bytes())
        .unwrap()
        .as_bytes()
        .to_vec()
}

#[test]
fn only_who_signed_this_very_text_has_signed_it() {
    let text = message().text().unwrap();
    let signed = signature(&text);
    assert_eq!(
        signed_by(&text, key().address(), &signed),
        Ok(Signed::ByPayer)
    );
    let altered = text.replace("tenant acme", "tenant evil");
    for (text, address) in [(altered, key().address()), (text, Address::repeat_byte(1))] {
        let found = signed_by(&text, address, &signed);
        assert!(matches!(found, Ok(Signed::ByAnother(_))), "{found:?}");
    }
}

#[test]
fn a_signature_has_no_twin() {
    let text = message().text().unwrap();
    let signed = signature(&text);
    let order: U256 = ORDER.parse().unwrap();
    let s = U256::from_be_slice(&signed[32..64]);
    let mut twin = signed.clone();
    twin[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
    twin[64] = 27 + 28 - twin[64];
    let error = signed_by(&text, key().address(), &twin).unwrap_err();
    assert!(error.to_string().contains("EIP-2"), "{error}");
}

#[test]
fn lengths_that_no_signature_has() {
    let text = message().text().unwrap();
    let signed = signature(&text);
    let compact = signed_by(&text, key().address(), &signed[..64]);
    assert_eq!(compact, Err(NoSignature::Compact));
    for length in [0, 1, 63] {
        let error = signed_by(&text, key().address(), &signed[..length]).unwrap_err();
        assert!(error.to_string().contains("65 bytes"), "{error}");
    }
    let error = signed_by(&text, key().address(), &vec![1; MAX_SIGNATURE_BYTES + 1]).unwrap_err();
    assert!(error.to_string().contains("too long"), "{error}");
    let longer = signed_by(&text, key().address(), &[1; 130]);
    assert_eq!(longer, Ok(Signed::AskContract));
    let mut other = signed;
    other[64] = 29;
    assert!(signed_by(&text, key().address(), &other).is_err());
}

#[test]
fn times_are_held_to_within_the_clocks_tolerance() {
    let message = message();
    for (now_us, right) in [
        (NOW_US, true),
        (NOW_US - 60 * S, true),
        (NOW_US - 60 * S - 1, false),
        (NOW_US + 300 * S - 1, true),
        // An end has no tolerance.
        (NOW_US + 300 * S, false),
    ] {
        assert_eq!(message.holds_at(now_us, 60 * S).is_ok(), right, "{now_us}");
    }
    for (now_us, right) in [
        (NOW_US, true),
        (NOW_US - 60 * S, true),
        (NOW_US - 60 * S - 1, false),
        (NOW_US + 360 * S, true),
        (NOW_US + 360 * S + 1, false),
    ] {
        let within = message.issued_within(now_us, 300 * S, 60 * S);
        assert_eq!(within.is_ok(), right, "{now_us}: {within:?}");
    }
}

#[test]
fn no_part_can_hold_another() {
    let right = message();
    assert!(right.text().is_ok());
    let wrong = |change: fn(&mut Message), part: Part| {
        let mut wrong = right.clone();
        change(&mut wrong);
        let error = wrong.text().unwrap_err();
        assert_eq!(error.part, part, "{error}");
    };
    wrong(
        |it| it.statement = Some("a\n\nURI: https://evil.example".into()),
        Part::Version,
    );
    wrong(|it| it.statement = Some(String::new()), Part::Uri);
    wrong(
        |it| it.domain = "evil.example wants you".into(),
        Part::Domain,
    );
    wrong(|it| it.domain = String::new(), Part::Domain);
    wrong(|it| it.scheme = Some("1".into()), Part::Scheme);
    wrong(
        |it| it.uri = "https://hub.example.org/login\nVersion: 1".into(),
        Part::ChainId,
    );
    wrong(|it| it.nonce = "short".into(), Part::Nonce);
    wrong(|it| it.request_id = Some("a b".into()), Part::RequestId);
    wrong(|it| it.resources = vec!["no uri".into()], Part::Resources);
    wrong(|it| it.resources = vec!["a:b".repeat(2_000)], Part::Message);
}

#[test]
fn addresses_have_their_checksum_or_none() {
    let text = message().text().unwrap();
    let (right, small) = (
        key().address().to_checksum(None),
        format!("{:#x}", key().address()),
    );
    let lower = Message::parse(&text.replace(&right, &small)).unwrap();
    assert!(!lower.is_checksummed);
    assert_eq!(lower.text().unwrap(), text.replace(&right, &small));
    let at = right.rfind(|c: char| c.is_ascii_alphabetic()).unwrap();
    let mut turned = right.clone().into_bytes();
    turned[at] ^= 0x20;
    let turned = text.replace(&right, std::str::from_utf8(&turned).unwrap());
    let error = Message::parse(&turned).unwrap_err();
    assert!(error.to_string().contains(&right), "{error}");
    assert_eq!((error.part, error.line), (Part::Address, 2));
}

#[test]
fn an_oversized_message_is_not_read() {
    let text = format!(
        "{}{}",
        message().text().unwrap(),
        "x".repeat(MAX_MESSAGE_BYTES)
    );
    let error = Message::parse(&text).unwrap_err();
    assert_eq!(error.part, Part::Message);
    assert!(error.to_string().contains("at most 4096"), "{error}");
}

proptest! {
    #[test]
    fn what_is_read_is_written_the_same(text in ".{0,400}") {
        if let Ok(message) = Message::parse(&text) {
            prop_assert_eq!(message.text().unwrap(), text);
        }
    }

    #[test]
    fn a_changed_character_is_another_message_or_none(at in 0_usize..300, to in any::<char>()) {
        let text = message().text().unwrap();
        let mut changed: Vec<char> = text.chars().collect();
        if let Some(place) = changed.get_mut(at) {
            *place = to;
        }
        let changed: String = changed.into_iter().collect();
        if changed != text && let Ok(other) = Message::parse(&changed) {
            prop_assert_ne!(other, message());
        }
    }
}
