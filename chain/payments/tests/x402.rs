//! x402 on the wire: what a reference client sends is taken, what is wrong is refused by its name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use alloy_primitives::{Address, B256, U256, address, hex};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall as _;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};
use stencil_payments::abi;
use stencil_payments::eip712::{Authorization, Domain, Kind};
use stencil_payments::money::Amount;
use stencil_payments::x402::header::{self, MAX_DEPTH, MAX_HEADER_BYTES};
use stencil_payments::x402::{
    Answers, Checked, Claim, LONGER_S, NonceState, Offer, PaymentPayload, PaymentRequired, Reason,
    Refused, Resource, SettleResponse, Timing, v1_answer, verify,
};

const NOW: u64 = 1_795_886_080;

fn offer() -> Offer {
    Offer {
        domain: Domain {
            name: "USDC".into(),
            version: "2".into(),
            chain: 84_532,
            token: address!("036CbD53842c5426634e7929541eC2318f3dCF7e"),
        },
        amount: Amount::from(10_000_u64),
        pay_to: address!("209693Bc6afc0C5328bA36FaF03C514EF312287C"),
        timing: Timing {
            act_s: 60,
            settle_s: 30,
            slack_s: 30,
        },
    }
}

fn recorded() -> Value {
    serde_json::from_str(include_str!("data/x402.json")).unwrap()
}

fn recorded_header() -> String {
    recorded()["headers"]["PAYMENT-SIGNATURE"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn good() -> Answers {
    Answers {
        nonce: NonceState::Unused,
        balance: Some(Amount::from(10_000_u64)),
        contract: None,
    }
}

/// The payment of the reference client with something changed.
fn with(change: impl FnOnce(&mut Value)) -> Result<Checked, Refused> {
    let json = STANDARD.decode(recorded_header()).unwrap();
    let mut payment: Value = serde_json::from_slice(&json).unwrap();
    change(&mut payment);
    let value = STANDARD.encode(payment.to_string());
    verify(&[offer()], &header::payment(value.as_bytes())?, NOW)
}

fn reason(checked: Result<Checked, Refused>) -> (Reason, String) {
    let refused = checked.unwrap_err();
    (refused.reason, refused.detail)
}

#[test]
fn what_is_asked_for_is_what_a_reference_client_read() {
    let resource = Resource {
        url: "https://hub.example/api/v1/series".into(),
        description: Some("A series".into()),
        mime_type: Some("application/json".into()),
    };
    let error = Some("PAYMENT-SIGNATURE header is required".into());
    let required = Offer::payment_required(&[offer()], resource, error);
    let header = header::encode(&required).unwrap();
    assert_eq!(header, recorded()["required"].as_str().unwrap());
    assert_eq!(
        header::decode::<PaymentRequired>(header.as_bytes()),
        Ok(required)
    );
}

#[test]
fn what_a_reference_client_sends_is_taken_and_can_be_settled() {
    assert_eq!(recorded()["now"].as_u64(), Some(NOW));
    let payment = header::payment(recorded_header().as_bytes()).unwrap();
    let checked = verify(&[offer()], &payment, NOW).unwrap();
    assert!(!checked.ask_contract);
    let verified = checked.clone().conclude(&good()).unwrap();
    assert_eq!(
        verified.payer(),
        address!("42694A12D833fc9958376CFF07a4cF1953f80B0B")
    );
    let call = abi::transferWithAuthorizationCall::abi_decode(&verified.call_data()).unwrap();
    assert_eq!((call.from, call.to), (verified.payer(), offer().pay_to));
    assert_eq!(
        (call.value, call.nonce),
        (U256::from(10_000), checked.authorization.nonce)
    );
    let mut signature = [call.r.as_slice(), call.s.as_slice()].concat();
    signature.push(call.v);
    assert_eq!(signature, checked.signature);
    // Without padding it is the same.
    let json = STANDARD.decode(recorded_header()).unwrap();
    let unpadded = STANDARD_NO_PAD.encode(json);
    assert_eq!(header::payment(unpadded.as_bytes()), Ok(payment));
}

#[test]
fn the_example_of_the_specification_is_read() {
    let offered = json!({
        "scheme": "exact",
        "network": "eip155:84532",
        "amount": "10000",
        "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
        "payTo": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
        "maxTimeoutSeconds": 60,
        "extra": { "name": "USDC", "version": "2" }
    });
    let example = json!({
        "x402Version": 2,
        "resource": { "url": "https://api.example.com/premium-data" },
        "accepted": offered,
        "payload": {
            "signature": "0x2d6a7588d6acca505cbf0d9a4a227e0c52c6c34008c8e8986a1283259764173608a2ce6496642e377d6da8dbbf5836e9bd15092f9ecab05ded3d6293af148b571c",
            "authorization": {
                "from": "0x857b06519E91e3A54538791bDbb0E22373e36b66",
                "to": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
                "value": "10000",
                "validAfter": "1740672089",
                "validBefore": "1740672154",
                "nonce": "0xf3746613c2d920b5fdabc0856f2aeb2d4f88ee6037b8cc5d04a71a4462f13480"
            }
        },
        "extensions": {}
    });
    let payment = header::payment(STANDARD.encode(example.to_string()).as_bytes()).unwrap();
    let timing = Timing {
        act_s: 0,
        settle_s: 30,
        slack_s: 30,
    };
    let offer = Offer { timing, ..offer() };
    let at = |now| verify(std::slice::from_ref(&offer), &payment, now);
    assert!(!at(1_740_672_100).unwrap().ask_contract);
    assert_eq!(reason(at(1_740_672_089)).0, Reason::ValidAfter);
    assert!(at(1_740_672_123).is_ok());
    assert_eq!(
        reason(at(1_740_672_124)).0,
        Reason::ValidBefore,
        "no room for the settlement"
    );
}

#[test]
fn what_is_forged_or_for_something_else_is_refused_by_name() {
    let set = |path: &'static str, value: Value| {
        reason(with(|payment| *payment.pointer_mut(path).unwrap() = value))
    };
    let signed = "/payload/authorization/";
    let field = |name: &str| -> &'static str { format!("{signed}{name}").leak() };
    assert_eq!(
        set(field("value"), json!("10001")),
        (
            Reason::ValueMismatch,
            "it is over 10001 base units, not 10000".into()
        )
    );
    let other = format!("0x{}", "11".repeat(20));
    assert_eq!(set(field("to"), json!(other)).0, Reason::RecipientMismatch);
    assert_eq!(
        set(field("validAfter"), json!(NOW.to_string())).0,
        Reason::ValidAfter
    );
    let (expired, detail) = set(field("validBefore"), json!((NOW + 90).to_string()));
    assert_eq!(expired, Reason::ValidBefore);
    assert!(detail.ends_with("sign for 120 seconds"), "{detail}");
    // What was signed is something else: another key's signature, unless a contract knows it.
    for (name, value) in [
        ("from", other.as_str()),
        ("validBefore", "1795886201"),
        ("nonce", &format!("0x{}", "22".repeat(32))),
    ] {
        let checked = with(|payment| payment["payload"]["authorization"][name] = json!(value));
        let checked = checked.unwrap();
        assert!(checked.ask_contract);
        let no = Answers {
            contract: Some(false),
            ..good()
        };
        let refused = checked.clone().conclude(&no).unwrap_err();
        assert_eq!(refused.reason, Reason::Signature);
        assert_eq!(refused.reason.name(), "invalid_exact_evm_payload_signature");
        let unknown = checked.clone().conclude(&good()).unwrap_err();
        assert_eq!(unknown.reason, Reason::UnexpectedVerifyError);
        assert!(
            checked
                .conclude(&Answers {
                    contract: Some(true),
                    ..good()
                })
                .is_ok()
        );
    }
    assert_eq!(
        set(
            "/payload/signature",
            json!(format!("0x{}", "00".repeat(65)))
        )
        .0,
        Reason::Signature
    );
    assert_eq!(
        set("/payload/signature", json!("0x1234")).0,
        Reason::Signature
    );
    // Another chain, scheme, token, price.
    assert_eq!(
        set("/accepted/network", json!("eip155:1")).0,
        Reason::InvalidNetwork
    );
    assert_eq!(
        set(
            "/accepted/network",
            json!("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp")
        )
        .0,
        Reason::InvalidNetwork
    );
    assert_eq!(
        set("/accepted/scheme", json!("upto")).0,
        Reason::InvalidScheme
    );
    assert_eq!(
        set("/accepted/extra/assetTransferMethod", json!("permit2")).0,
        Reason::UnsupportedScheme
    );
    for (path, value) in [
        ("/accepted/amount", json!("1")),
        ("/accepted/asset", json!(other)),
        ("/accepted/payTo", json!(other)),
        ("/accepted/maxTimeoutSeconds", json!(9_999)),
        ("/accepted/extra/name", json!("Other")),
        ("/accepted/extra", Value::Null),
    ] {
        assert_eq!(
            set(path, value).0,
            Reason::InvalidPaymentRequirements,
            "{path}"
        );
    }
    let permit = json!({ "signature": "0x", "permit2Authorization": {} });
    assert_eq!(set("/payload", permit).0, Reason::UnsupportedScheme);
}

#[test]
fn what_the_chain_says_decides() {
    let checked = || with(|_| {}).unwrap();
    let says = |answers: Answers| {
        checked()
            .conclude(&answers)
            .map_err(|refused| refused.reason)
    };
    assert!(says(good()).is_ok());
    let used = Answers {
        nonce: NonceState::Used,
        ..good()
    };
    assert_eq!(says(used).unwrap_err(), Reason::InvalidTransactionState);
    let poor = Answers {
        balance: Some(Amount::from(9_999_u64)),
        ..good()
    };
    assert_eq!(says(poor).unwrap_err().name(), "insufficient_funds");
    for silent in [
        Answers {
            nonce: NonceState::Unknown,
            ..good()
        },
        Answers {
            balance: None,
            ..good()
        },
    ] {
        let reason = says(silent).unwrap_err();
        assert_eq!(
            (reason.name(), reason.status()),
            ("unexpected_verify_error", 500)
        );
    }
}

#[test]
fn what_is_malformed_is_said_with_its_place() {
    let set = |path: &str, value: Value| {
        reason(with(|payment| *payment.pointer_mut(path).unwrap() = value))
    };
    for (path, value, place) in [
        (
            "/payload/authorization/value",
            json!(10_000),
            "payload.authorization.value: invalid type",
        ),
        (
            "/payload/authorization/value",
            json!("1e4"),
            "payload.authorization.value: '1e4' is no count of base units",
        ),
        (
            "/payload/authorization/value",
            json!("-1"),
            "payload.authorization.value: '-1' is no count of base units",
        ),
        (
            "/payload/authorization/validAfter",
            json!("0x0"),
            "payload.authorization.validAfter",
        ),
        (
            "/payload/authorization/nonce",
            json!("0x12"),
            "payload.authorization.nonce",
        ),
        (
            "/payload/authorization/from",
            json!("me"),
            "payload.authorization.from",
        ),
        ("/payload/signature", json!("12"), "payload.signature"),
        (
            "/payload/signature",
            json!(format!("0x{}", "ab".repeat(4_097))),
            "payload.signature: it is too long",
        ),
        ("/payload", json!(null), "payload."),
        ("/accepted/asset", json!("USD"), "accepted.asset"),
        (
            "/accepted/maxTimeoutSeconds",
            json!("60"),
            "accepted.maxTimeoutSeconds",
        ),
    ] {
        let (reason, detail) = set(path, value);
        assert_eq!(
            (reason.name(), reason.status()),
            ("invalid_payload", 400),
            "{path}"
        );
        assert!(
            detail.starts_with(&format!("at {place}")),
            "{path}: {detail}"
        );
    }
    let header = |value: &[u8]| header::payment(value).unwrap_err();
    let json = |json: &str| header(STANDARD.encode(json).as_bytes());
    assert!(header(b"%%%").detail.starts_with("the header is no base64"));
    assert!(json("{").detail.contains("EOF"));
    assert!(json("{}").detail.contains("missing field `x402Version`"));
    assert!(
        json(r#"{"x402Version":2}{}"#)
            .detail
            .contains("behind the JSON")
    );
    let version = json(r#"{"x402Version":1,"scheme":"exact","payload":{}}"#);
    assert_eq!(version.reason, Reason::InvalidX402Version);
    assert!(version.detail.contains("use 2"), "{version}");
    // Size and depth are bounded before anything is parsed.
    let long = header(&vec![b'A'; MAX_HEADER_BYTES + 1]);
    assert!(long.detail.contains("at most 16384"), "{long}");
    let nested = |depth: usize| {
        let deep = format!("{}{}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        json(&format!(r#"{{"x402Version":2,"x":{deep}}}"#))
    };
    assert!(
        nested(MAX_DEPTH).detail.contains("missing field"),
        "{}",
        nested(MAX_DEPTH)
    );
    assert_eq!(
        nested(MAX_DEPTH + 1).detail,
        "the JSON is nested deeper than 16"
    );
    assert!(
        json(r#"{"x402Version":2,"x":"[[[[[[[[[[[[[[[[[[[[\"[["}"#)
            .detail
            .contains("missing")
    );
    // A refusal shows little of what a stranger wrote, and no control characters.
    let loud = set("/accepted/scheme", json!("\u{1b}[2J".repeat(1_000))).1;
    assert!(loud.len() < 300 && !loud.contains('\u{1b}'), "{loud}");
}

#[test]
fn clients_of_version_1_get_a_clear_answer() {
    let answer: Value = serde_json::from_str(&v1_answer()).unwrap();
    assert_eq!(
        (&answer["x402Version"], &answer["accepts"]),
        (&json!(1), &json!([]))
    );
    let error = answer["error"].as_str().unwrap();
    assert!(error.starts_with("invalid_x402_version: ") && error.contains("PAYMENT-SIGNATURE"));
}

#[test]
fn settlements_are_told_as_the_specification_has_them() {
    let value = |response: &SettleResponse| serde_json::to_value(response).unwrap();
    let settled = SettleResponse::settled("eip155:1", "0xa", "0xb", "10000");
    assert_eq!(
        value(&settled),
        json!({ "success": true, "transaction": "0xb", "network": "eip155:1", "payer": "0xa", "amount": "10000" })
    );
    let failed = SettleResponse::failed("eip155:1", None, Reason::InsufficientFunds);
    assert_eq!(
        value(&failed),
        json!({ "success": false, "transaction": "", "network": "eip155:1", "errorReason": "insufficient_funds" })
    );
}

#[test]
fn a_contract_wallet_is_settled_by_the_form_with_bytes() {
    let signature = format!("0x{}", "ab".repeat(130));
    let checked = with(|payment| payment["payload"]["signature"] = json!(signature)).unwrap();
    assert!(checked.ask_contract);
    let verified = checked
        .conclude(&Answers {
            contract: Some(true),
            ..good()
        })
        .unwrap();
    let call =
        abi::bytes_form::transferWithAuthorizationCall::abi_decode(&verified.call_data()).unwrap();
    assert_eq!(call.signature, hex::decode(signature).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whoever signs what is offered is let in; whoever changes a field afterwards is not.
    #[test]
    fn only_what_was_signed_counts(
        key in any::<[u8; 32]>(),
        amount in 1..=u64::MAX,
        nonce in any::<[u8; 32]>(),
        room in 91..1_000_u64,
    ) {
        let Ok(signer) = PrivateKeySigner::from_slice(&key) else { return Ok(()) };
        let offer = Offer { amount: Amount::from(amount), ..offer() };
        let authorization = Authorization {
            from: signer.address(),
            to: offer.pay_to,
            value: offer.amount,
            valid_after: U256::ZERO,
            valid_before: U256::from(NOW + room),
            nonce: B256::from(nonce),
        };
        let digest = authorization.digest(Kind::Transfer, &offer.domain);
        let signature = signer.sign_hash_sync(&digest).unwrap().as_bytes();
        let payment = |signature: &[u8]| -> PaymentPayload {
            let payload = json!({
                "signature": format!("0x{}", hex::encode(signature)),
                "authorization": {
                    "from": authorization.from, "to": authorization.to,
                    "value": offer.amount, "validAfter": "0",
                    "validBefore": (NOW + room).to_string(), "nonce": authorization.nonce,
                },
            });
            let header = header::encode(&json!({
                "x402Version": 2, "accepted": offer.requirements(), "payload": payload,
            }));
            header::payment(header.unwrap().as_bytes()).unwrap()
        };
        let offers = [Offer { amount: Amount::from(amount / 2), ..offer.clone() }, offer.clone()];
        let checked = verify(&offers, &payment(&signature), NOW).unwrap();
        prop_assert_eq!((checked.offer, checked.ask_contract), (usize::from(amount / 2 != amount), false));
        prop_assert_eq!(checked.authorization, authorization);
        // Of another type, for another token or chain: not this payer's signature.
        let elsewhere = Domain { token: Address::repeat_byte(1), ..offer.domain.clone() };
        for digest in [
            authorization.digest(Kind::Receive, &offer.domain),
            authorization.digest(Kind::Transfer, &elsewhere),
        ] {
            let signature = signer.sign_hash_sync(&digest).unwrap().as_bytes();
            let checked = verify(&offers, &payment(&signature), NOW);
            prop_assert!(checked.is_ok_and(|checked| checked.ask_contract));
        }
    }

    #[test]
    fn no_header_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = header::payment(&bytes);
        let _ = header::payment(STANDARD.encode(&bytes).as_bytes());
    }

    #[test]
    fn no_json_panics(name in "[a-zA-Z0-9]{0,12}", text in "\\PC{0,30}", number in any::<i64>()) {
        for value in [json!(text), json!(number), json!(null), json!({ name.clone(): text }), json!([text])] {
            for path in ["/payload", "/payload/authorization", "/payload/authorization/value",
                "/payload/authorization/nonce", "/payload/signature", "/accepted",
                "/accepted/extra", "/accepted/network", "/accepted/amount", "/x402Version"] {
                let _ = with(|payment| *payment.pointer_mut(path).unwrap() = value.clone());
            }
        }
    }
}

#[test]
fn an_authorisation_that_holds_longer_than_is_asked_for_is_refused() {
    let most = NOW + offer().timing.max_timeout_s() + LONGER_S;
    let mut holds = 0_u64;
    let far = with(|payment| {
        holds = most + 1;
        payment["payload"]["authorization"]["validBefore"] = json!(holds.to_string());
    });
    let (reason, detail) = reason(far);
    assert_eq!(reason, Reason::ValidBefore);
    assert!(detail.contains(&holds.to_string()), "{detail}");
    // Within that the signature, which was made for another time, is what is wrong.
    let near = with(|payment| {
        let holds = most;
        payment["payload"]["authorization"]["validBefore"] = json!(holds.to_string());
    });
    assert!(near.unwrap().ask_contract);
}

fn claim(change: impl FnOnce(&mut Value)) -> Result<Claim, Refused> {
    let json = STANDARD.decode(recorded_header()).unwrap();
    let mut payment: Value = serde_json::from_slice(&json).unwrap();
    change(&mut payment);
    let value = STANDARD.encode(payment.to_string());
    Claim::read(&header::payment(value.as_bytes())?)
}

#[test]
fn the_same_payment_is_one_purchase_of_a_tenant() {
    let (acme, rival) = ("acme".parse().unwrap(), "rival".parse().unwrap());
    let claim_of = |change: &dyn Fn(&mut Value)| claim(change).unwrap();
    let first = claim_of(&|_| {});
    assert_eq!((first.chain, first.token), (84_532, offer().domain.token));
    assert_ne!(first.purchase(&acme), first.purchase(&rival));
    // What is said beside the payment changes nothing: its price may have been changed meanwhile.
    let later = claim_of(&|payment| {
        payment["accepted"]["amount"] = json!("7");
        payment["resource"]["url"] = json!("https://elsewhere.example/");
    });
    assert_eq!(later, first);
    // The same nonce with anything else is the same purchase, and another payment.
    for (field, value) in [
        ("to", json!(format!("{:#x}", Address::repeat_byte(7)))),
        ("value", json!("10001")),
        ("validAfter", json!("1")),
        ("validBefore", json!("1795886202")),
    ] {
        let other = claim_of(&|payment| payment["payload"]["authorization"][field] = value.clone());
        assert_eq!(other.purchase(&acme), first.purchase(&acme), "{field}");
        assert_ne!(other.fingerprint(), first.fingerprint(), "{field}");
    }
    let other = claim_of(&|payment| {
        payment["payload"]["signature"] = json!(format!("0x{}", "11".repeat(65)));
    });
    assert_eq!(other.purchase(&acme), first.purchase(&acme));
    assert_ne!(other.fingerprint(), first.fingerprint());
    // Another payer, nonce, token or chain is another purchase.
    let nonce = json!(format!("{:#x}", B256::repeat_byte(9)));
    let address = json!(format!("{:#x}", Address::repeat_byte(9)));
    for other in [
        claim_of(&|payment| payment["payload"]["authorization"]["nonce"] = nonce.clone()),
        claim_of(&|payment| payment["payload"]["authorization"]["from"] = address.clone()),
        claim_of(&|payment| payment["accepted"]["asset"] = address.clone()),
        claim_of(&|payment| payment["accepted"]["network"] = json!("eip155:1")),
    ] {
        assert_ne!(other.purchase(&acme), first.purchase(&acme));
    }
    for (wrong, change) in [
        (Reason::InvalidNetwork, ("network", json!("solana:1"))),
        (Reason::InvalidScheme, ("scheme", json!("upto"))),
        (Reason::InvalidPayload, ("asset", json!("0x12"))),
    ] {
        let refused = claim(|payment| payment["accepted"][change.0] = change.1).unwrap_err();
        assert_eq!(refused.reason, wrong);
    }
}
