//! Links of EIP-681: what is written is read, what others write is read, what is wrong is said.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use alloy_primitives::{Address, B256, U256, address};
use proptest::prelude::*;
use stencil_payments::money::{Amount, Asset};
use stencil_payments::uri::{Argument, Error, Link, Payment, parse};

const TOKEN: Address = address!("89205A3A3b2A69De6Dbf7f01ED13B2108B2c43e7");
const TO: Address = address!("8e23Ee67d1332aD560396262C48ffbB01F93D052");

#[test]
fn links_are_as_the_specification_has_them() {
    let amount = Amount::from(1_000_000_u64);
    let link = Link::payment(Asset::erc20(8453, TOKEN), TO, amount);
    assert_eq!(
        link.to_string(),
        "ethereum:0x89205A3A3b2A69De6Dbf7f01ED13B2108B2c43e7@8453/transfer\
         ?address=0x8e23Ee67d1332aD560396262C48ffbB01F93D052&uint256=1000000"
    );
    let link = Link::payment(Asset::native(1), TO, amount);
    assert_eq!(
        link.to_string(),
        "ethereum:0x8e23Ee67d1332aD560396262C48ffbB01F93D052@1?value=1000000"
    );
    let invoice = B256::repeat_byte(0xab);
    let link = Link::contract(Asset::native(1), TOKEN, invoice, amount);
    assert_eq!(
        link.to_string(),
        format!(
            "ethereum:0x89205A3A3b2A69De6Dbf7f01ED13B2108B2c43e7@1/payNative?bytes32=0x{}&value=1000000",
            "ab".repeat(32)
        )
    );
    assert_eq!(link.paid(), None, "it is no plain payment");
}

#[test]
fn what_others_write_is_read() {
    // The two examples of the specification, with addresses for its names.
    let coin = parse("ethereum:0x8e23ee67d1332ad560396262c48ffbb01f93d052?value=2.014e18").unwrap();
    assert_eq!(coin.value.unwrap().to_string(), "2014000000000000000");
    assert_eq!((coin.target, coin.chain, coin.paid()), (TO, None, None));
    let token = parse(
        "ethereum:pay-0x89205a3a3b2a69de6dbf7f01ed13b2108b2c43e7@1/transfer?\
         address=0x8e23ee67d1332ad560396262c48ffbb01f93d052&uint256=1e0&gas=21000",
    );
    let paid = Payment {
        asset: Asset::erc20(1, TOKEN),
        to: TO,
        amount: Some(Amount::from(1_u64)),
    };
    assert_eq!(token.unwrap().paid(), Some(paid));
    let other = parse(&format!("ethereum:{TOKEN}/f?uint8[]=1,2")).unwrap();
    let argument = Argument::Other {
        kind: "uint8[]".into(),
        value: "1,2".into(),
    };
    assert_eq!(other.call.unwrap().arguments, [argument]);
}

#[test]
fn what_is_wrong_is_said() {
    let link = |rest: &str| {
        parse(&format!(
            "ethereum:0x8e23ee67d1332ad560396262c48ffbb01f93d052{rest}"
        ))
    };
    let value = |number: &str| link(&format!("?value={number}")).map(|link| link.value.unwrap().0);
    assert_eq!(value("2.50e1"), Ok(U256::from(25)));
    assert_eq!(value("0.000e0"), Ok(U256::ZERO));
    assert_eq!(value(&U256::MAX.to_string()), Ok(U256::MAX));
    assert_eq!(value("2.55e1"), Err(Error::Fraction));
    assert_eq!(value("0.5"), Err(Error::Fraction));
    assert_eq!(value("-1"), Err(Error::Negative));
    assert_eq!(value("1e78"), Err(Error::TooLarge));
    assert_eq!(value("1e99999999999"), Err(Error::TooLarge));
    for wrong in [
        "", "1e", "1e-3", "1e+3", ".5", "5.", "1.2.3", "0x10", "1,5", "e5", "1e1e1",
    ] {
        assert_eq!(value(wrong), Err(Error::Number(wrong.into())), "{wrong}");
    }
    assert_eq!(parse("bitcoin:0x"), Err(Error::Scheme));
    assert_eq!(
        parse("ethereum:alice.eth"),
        Err(Error::Address("alice.eth".into()))
    );
    assert_eq!(parse("ethereum:0x12"), Err(Error::Address("0x12".into())));
    let typo = "0x8e23Ee67d1332aD560396262C48ffbB01F93D053";
    assert_eq!(
        parse(&format!("ethereum:{typo}")),
        Err(Error::Checksum(typo.into()))
    );
    for wrong in ["", "0", "01", "-1", "0x1", "18446744073709551616"] {
        assert_eq!(
            link(&format!("@{wrong}")),
            Err(Error::Chain(wrong.into())),
            "{wrong}"
        );
    }
    assert_eq!(link("/"), Err(Error::Name(String::new())));
    assert_eq!(link("/transfer/x"), Err(Error::Name("transfer/x".into())));
    assert_eq!(link("?"), Err(Error::NoValue(String::new())));
    assert_eq!(link("?value"), Err(Error::NoValue("value".into())));
    assert_eq!(link("?value=1&value=2"), Err(Error::Twice("value")));
    assert_eq!(link("?uint256=1"), Err(Error::NoFunction("uint256".into())));
    assert_eq!(link("/f?bytes32=0x00"), Err(Error::Bytes32("0x00".into())));
    assert_eq!(
        link(&format!("/f?{}", ["uint256=1"; 33].join("&"))),
        Err(Error::Parameters)
    );
    assert_eq!(
        link(&format!("/{}", "f".repeat(3_000))),
        Err(Error::TooLong)
    );
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        chain in 1..=u64::MAX,
        (token, to) in (any::<[u8; 20]>(), any::<[u8; 20]>()),
        amount in any::<[u8; 32]>(),
        native in any::<bool>(),
        invoice in any::<[u8; 32]>(),
    ) {
        let (token, to) = (Address::from(token), Address::from(to));
        let amount = Amount(U256::from_be_bytes(amount));
        let asset = if native { Asset::native(chain) } else { Asset::erc20(chain, token) };
        let link = Link::payment(asset, to, amount);
        let read = parse(&link.to_string()).unwrap();
        prop_assert_eq!(&read, &link);
        prop_assert_eq!(read.paid(), Some(Payment { asset, to, amount: Some(amount) }));
        let link = Link::contract(asset, to, invoice.into(), amount);
        prop_assert_eq!(parse(&link.to_string()), Ok(link));
    }

    #[test]
    fn no_text_panics(text in "(ethereum:)?(pay-)?(0x[0-9a-f]{40})?(@[0-9]{0,3})?(/[a-z]{0,4})?[?]?\\PC{0,40}") {
        if let Ok(link) = parse(&text) {
            prop_assert_eq!(parse(&link.to_string()), Ok(link));
        }
    }
}
