//! Receipts of admissions at gateways.

use stencil_store::{BroughtReceipt, StoredReceipt};

use crate::{acme, fresh, gateway};

fn receipt(chain: &str, number: u64, received_us: i64) -> BroughtReceipt {
    BroughtReceipt {
        receipt: StoredReceipt {
            gateway: gateway("gw-1"),
            chain: chain.into(),
            number,
            hash: [u8::try_from(number).unwrap(); 32],
            body: "{}".into(),
            right: "urn:uuid:1".into(),
            outcome: "done".into(),
            follows: true,
            conflict: None,
            told: false,
            at_us: 1,
            received_us,
        },
        revision: None,
    }
}

#[tokio::test]
async fn the_newest_chain_is_told_with_its_last_receipt_also_where_the_clock_was_ahead_before() {
    let fresh = fresh().await;
    let access = fresh.store.access.as_ref();
    let newest = async || {
        let newest = access.newest_chain(&acme(), &gateway("gw-1")).await;
        newest
            .unwrap()
            .map(|(chain, number, hash)| (chain, number, hash[0]))
    };
    assert_eq!(newest().await, None);
    for (chain, number, received_us, is) in [
        ("left", 1, 10, ("left", 1, 1)),
        ("own", 1, 900, ("own", 1, 1)),
        ("own", 2, 20, ("own", 2, 2)),
        ("own", 3, 30, ("own", 3, 3)),
    ] {
        let one = [receipt(chain, number, received_us)];
        access.keep_receipts(&acme(), &one).await.unwrap();
        assert_eq!(newest().await, Some((is.0.to_owned(), is.1, is.2)));
    }
}
