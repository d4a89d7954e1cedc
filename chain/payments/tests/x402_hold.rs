//! Money that is held for what can't be undone: what is signed fits these terms alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use alloy_primitives::{Address, B256, U256};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall as _;
use serde_json::{Value, json};
use stencil_payments::abi;
use stencil_payments::cause::Key;
use stencil_payments::eip712::{Authorization, Domain, Kind};
use stencil_payments::money::Amount;
use stencil_payments::x402::hold::{CheckedHold, HoldExtra, HoldOffer, PATIENCE_S};
use stencil_payments::x402::{
    Claim, HOLD_SCHEME, Offer, PaymentPayload, Reason, Refused, Requirements, Timing, verify,
};

const NOW: u64 = 1_800_000_000;
const TOKEN: Address = Address::repeat_byte(0x70);
const ESCROW: Address = Address::repeat_byte(0xee);
const OPERATOR: Address = Address::repeat_byte(0x0b);
const PAYEE: Address = Address::repeat_byte(0xaa);
const SALT: B256 = B256::repeat_byte(5);

fn offer() -> HoldOffer {
    HoldOffer {
        offer: Offer {
            domain: Domain {
                name: "Dollar".into(),
                version: "1".into(),
                chain: 31_337,
                token: TOKEN,
            },
            amount: Amount::from(10_000_u64),
            pay_to: PAYEE,
            timing: Timing {
                act_s: 30,
                settle_s: 20,
                slack_s: 15,
            },
        },
        escrow: ESCROW,
        operator: OPERATOR,
        bought: Key([1; 32]),
    }
}

fn payer() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(7)).unwrap()
}

fn extra(accepted: &Requirements) -> HoldExtra {
    let hold = accepted.extra.as_ref().unwrap().rest["hold"].clone();
    serde_json::from_value(hold).unwrap()
}

/// What a client makes of what is asked for.
fn pay(accepted: &Requirements, change: impl FnOnce(&mut Authorization)) -> PaymentPayload {
    let (hold, payer) = (extra(accepted), payer());
    let terms = abi::Terms {
        invoiceId: hold.invoice_id,
        payer: payer.address(),
        payee: hold.payee,
        operator: hold.operator,
        token: accepted.asset.parse().unwrap(),
        amount: U256::from(10_000),
        deadline: hold.deadline,
    };
    let escrow: Address = accepted.pay_to.parse().unwrap();
    let mut authorization = Authorization {
        from: payer.address(),
        to: escrow,
        value: Amount::from(10_000_u64),
        valid_after: U256::ZERO,
        valid_before: U256::from(NOW + accepted.max_timeout_seconds),
        nonce: terms.hold_id(31_337, escrow),
    };
    change(&mut authorization);
    let digest = authorization.digest(Kind::Receive, &offer().offer.domain);
    let signature = payer.sign_hash_sync(&digest).unwrap();
    let Authorization {
        from,
        to,
        value,
        valid_after,
        valid_before,
        nonce,
    } = authorization;
    PaymentPayload {
        x402_version: 2,
        resource: None,
        accepted: accepted.clone(),
        payload: json!({
            "signature": format!("0x{}", hex::encode(signature.as_bytes())),
            "authorization": {
                "from": from, "to": to, "value": value.to_string(),
                "validAfter": valid_after.to_string(), "validBefore": valid_before.to_string(),
                "nonce": nonce,
            },
        }),
        extensions: None,
    }
}

fn refused(result: Result<CheckedHold, Refused>) -> (Reason, String) {
    let refused = result.unwrap_err();
    (refused.reason, refused.detail)
}

#[test]
fn what_is_signed_for_is_held_released_and_given_back() {
    let accepted = offer().requirements(NOW, SALT);
    assert_eq!(accepted.scheme, HOLD_SCHEME);
    assert_eq!(accepted.pay_to.parse(), Ok(ESCROW));
    let hold = extra(&accepted);
    assert_eq!((hold.payee, hold.operator), (PAYEE, OPERATOR));
    assert_eq!(hold.deadline, NOW + 30 + 20 + 20 + 15 + PATIENCE_S);
    let payment = pay(&accepted, |_| {});
    let checked = offer().verify(&payment, NOW + 5).unwrap();
    assert!(!checked.checked.ask_contract);
    assert_eq!(checked.hold, checked.checked.authorization.nonce);
    // It is known again by its nonce, as any payment is.
    let claim = Claim::read(&payment).unwrap();
    assert_eq!(claim.authorization.nonce, checked.hold);

    let call = abi::holdWithAuthorizationCall::abi_decode(&checked.hold_data()).unwrap();
    assert_eq!(call.terms, checked.terms);
    assert_eq!(call.authorization.signature.len(), 65);
    assert!(matches!(call.authorization.signature[64], 27 | 28));
    let call = abi::releaseCall::abi_decode(&checked.release_data()).unwrap();
    assert_eq!(
        (call.terms, call.amount),
        (checked.terms.clone(), U256::from(10_000))
    );
    let call = abi::refundCall::abi_decode(&checked.refund_data()).unwrap();
    assert_eq!(call.terms, checked.terms);
    let call = abi::stateOfCall::abi_decode(&CheckedHold::state_data(checked.hold)).unwrap();
    assert_eq!(call.holdId, checked.hold);
}

#[test]
fn a_payment_for_one_thing_is_none_for_another() {
    let accepted = offer().requirements(NOW, SALT);
    let payment = pay(&accepted, |_| {});
    let mut other = offer();
    other.bought = Key([2; 32]);
    let (reason, _) = refused(other.verify(&payment, NOW));
    assert_eq!(reason, Reason::InvalidPaymentRequirements);
    // Whatever of the terms is changed.
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut payment = payment.clone();
        let rest = &mut payment.accepted.extra.as_mut().unwrap().rest;
        change(rest.get_mut("hold").unwrap());
        refused(offer().verify(&payment, NOW)).0
    };
    let bytes = json!(B256::repeat_byte(3));
    let address = json!(Address::repeat_byte(3));
    for reason in [
        changed(&|hold| hold["deadline"] = json!(NOW + 86_400)),
        changed(&|hold| hold["salt"] = bytes.clone()),
        changed(&|hold| hold["invoiceId"] = bytes.clone()),
        changed(&|hold| hold["payee"] = address.clone()),
        changed(&|hold| hold["operator"] = address.clone()),
    ] {
        assert_eq!(reason, Reason::InvalidPaymentRequirements);
    }
    for change in [
        |accepted: &mut Requirements| accepted.amount = "9999".into(),
        |accepted: &mut Requirements| accepted.pay_to = format!("{PAYEE:#x}"),
        |accepted: &mut Requirements| accepted.asset = format!("{PAYEE:#x}"),
        |accepted: &mut Requirements| accepted.network = "eip155:1".into(),
        |accepted: &mut Requirements| accepted.scheme = "exact".into(),
    ] {
        let mut payment = payment.clone();
        change(&mut payment.accepted);
        let (reason, _) = refused(offer().verify(&payment, NOW));
        assert_eq!(reason, Reason::InvalidPaymentRequirements);
    }
    let mut payment = payment.clone();
    payment.accepted.extra = None;
    assert_eq!(
        refused(offer().verify(&payment, NOW)).0,
        Reason::InvalidPayload
    );
}

#[test]
fn what_does_not_fit_its_terms_is_refused_by_its_name() {
    let accepted = offer().requirements(NOW, SALT);
    let with =
        |change: fn(&mut Authorization)| refused(offer().verify(&pay(&accepted, change), NOW));
    type Change = fn(&mut Authorization);
    let cases: [(Reason, Change); 6] = [
        (Reason::InvalidPayload, |it| it.nonce = B256::repeat_byte(9)),
        (Reason::RecipientMismatch, |it| it.to = PAYEE),
        (Reason::ValueMismatch, |it| it.value = Amount::from(1_u64)),
        (Reason::ValidAfter, |it| it.valid_after = U256::from(NOW)),
        (Reason::ValidBefore, |it| {
            it.valid_before = U256::from(NOW + 20)
        }),
        (Reason::InvalidPayload, |it| it.from = PAYEE),
    ];
    for (reason, change) in cases {
        let (found, detail) = with(change);
        assert_eq!(found, reason, "{detail}");
    }
    // A transfer that anybody could bring, and another's signature.
    let mut payment = pay(&accepted, |it| it.valid_before += U256::from(1));
    let valid_before = NOW + accepted.max_timeout_seconds;
    payment.payload["authorization"]["validBefore"] = json!(valid_before.to_string());
    let asks = offer().verify(&payment, NOW);
    assert!(asks.is_ok_and(|asks| asks.checked.ask_contract));
    payment.payload["signature"] = json!("0x1234");
    assert_eq!(refused(offer().verify(&payment, NOW)).0, Reason::Signature);
    // Nobody waits for what the contract takes no more, or for longer than was offered.
    for beyond in [U256::from(extra(&accepted).deadline + 1), U256::MAX] {
        let payment = pay(&accepted, |it| it.valid_before = beyond);
        let (reason, detail) = refused(offer().verify(&payment, NOW));
        assert_eq!(reason, Reason::ValidBefore);
        assert!(detail.contains("by the hold's deadline"), "{detail}");
    }
    let payment = pay(&offer().requirements(NOW + 1, SALT), |_| {});
    let (reason, detail) = refused(offer().verify(&payment, NOW));
    assert_eq!(reason, Reason::InvalidPaymentRequirements);
    assert!(detail.contains("one that is offered now"), "{detail}");
    // So late that the device could not act any more.
    let payment = pay(&accepted, |it| {
        it.valid_before = U256::from(extra(&offer().requirements(NOW, SALT)).deadline);
    });
    let last = NOW + 15 + PATIENCE_S;
    assert!(offer().verify(&payment, last).is_ok());
    let (reason, detail) = refused(offer().verify(&payment, last + 1));
    assert_eq!(reason, Reason::ValidBefore);
    assert!(detail.contains("ask for the price again"), "{detail}");
}

#[test]
fn a_hold_is_no_payment_of_what_can_be_undone() {
    let accepted = offer().requirements(NOW, SALT);
    let payment = pay(&accepted, |_| {});
    let refused = verify(&[offer().offer], &payment, NOW).unwrap_err();
    assert_eq!(refused.reason, Reason::InvalidScheme);
}
