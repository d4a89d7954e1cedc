//! What is told of anchors that do not come.

use serde_json::{Value, json};
use stencil_store::{AnchorSeals, Anchoring, StoredAnchor};

use super::{NOW_US, Served, seed};

/// The newest anchor, as it is kept, whose interval ends at this second.
fn anchored(end: i64) -> StoredAnchor {
    let (address, word) = (format!("0x{:040x}", 7), format!("0x{:064x}", 9));
    let body = json!({
        "chain": "local",
        "chain_id": 31_337,
        "contract": address,
        "publisher": address,
        "series": word,
        "number": 1,
        "previous": word,
        "root": word,
        "start": end - 60,
        "end": end,
        "seals": 1,
        "key": "anchor 1",
        "shown": {
            "transaction": word,
            "block_number": 5,
            "block_hash": word,
            "header": "0x",
            "transaction_index": 0,
            "receipt_path": [],
        },
        "trouble": null,
    });
    StoredAnchor {
        anchor: 1,
        body: body.to_string(),
        open: false,
    }
}

#[tokio::test]
async fn a_clock_that_is_behind_the_newest_anchor_is_told_while_it_is() {
    let served = Served::start().await;
    let (proofs, acme) = (&served.store.proofs, seed::acme());
    let anchoring = Anchoring {
        chain: "local".to_owned(),
        interval_s: 60,
    };
    let set = proofs.set_anchoring(&acme, Some(&anchoring), 1);
    set.await.unwrap();
    // An hour ahead of the hub's clock, which was set back since.
    let end = NOW_US / 1_000_000 + 3_600;
    let (anchor, seals) = (anchored(end), AnchorSeals::Take(&[]));
    let put = proofs.put_anchor(&acme, &anchor, seals, 1);
    assert!(put.await.unwrap());
    let told = served.read("/api/v1/anchoring").await.ok();
    assert_eq!(told["next_from_us"], (end + 60) * 1_000_000, "{told}");
    let trouble = told["trouble"].as_str().unwrap();
    assert!(
        trouble.contains("clock is at least 3600 s behind"),
        "{trouble}"
    );
    // Set right: what is left is the interval.
    served.later(3_610);
    let told = served.read("/api/v1/anchoring").await.ok();
    assert_eq!(told["next_from_us"], (end + 60) * 1_000_000, "{told}");
    assert_eq!(told["trouble"], Value::Null, "{told}");
}
