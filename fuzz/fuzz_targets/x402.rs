//! Headers of x402: what was read is written and read the same, and nothing that does for an offer was
//! changed by that.
#![no_main]

use alloy_primitives::address;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use stencil_payments::eip712::Domain;
use stencil_payments::money::Amount;
use stencil_payments::x402::header::{self, MAX_HEADER_BYTES};
use stencil_payments::x402::{Offer, PaymentRequired, SettleResponse, Timing, verify};

/// What the payment among the seeds does for, and when.
const NOW_S: u64 = 1_795_886_080;

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

fn look(value: &[u8]) {
    match header::payment(value) {
        Ok(payment) => {
            let again = header::encode(&payment).expect("what was read");
            // Written with padding, and with escapes of its own, it may have become too long.
            if again.len() <= MAX_HEADER_BYTES {
                assert_eq!(header::payment(again.as_bytes()).as_ref(), Ok(&payment));
            }
            if let Ok(checked) = verify(&[offer()], &payment, NOW_S) {
                assert_eq!(checked.authorization.value, offer().amount);
                assert_eq!(checked.authorization.to, offer().pay_to);
                assert!(checked.authorization.holds_at(NOW_S));
            }
        }
        Err(refused) => assert!(!refused.detail.is_empty() && refused.detail.len() < 2_048),
    }
    if let Ok(required) = header::decode::<PaymentRequired>(value) {
        let again = header::encode(&required).expect("what was read");
        if again.len() <= MAX_HEADER_BYTES {
            assert_eq!(header::decode(again.as_bytes()).as_ref(), Ok(&required));
        }
    }
    if let Ok(settled) = header::decode::<SettleResponse>(value) {
        let again = header::encode(&settled).expect("what was read");
        if again.len() <= MAX_HEADER_BYTES {
            assert_eq!(header::decode(again.as_bytes()), Ok(settled));
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    look(bytes);
    // JSON is changed more fruitfully than its base64.
    look(STANDARD.encode(bytes).as_bytes());
});
