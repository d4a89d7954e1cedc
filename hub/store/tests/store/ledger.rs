use stencil_protocol::id::{Boot, Seq};
use stencil_protocol::ledger::BootLedger;

use crate::{acme, at, device, fresh};

fn ledger(last: u64) -> BootLedger {
    let mut ledger = BootLedger::default();
    ledger.store(Seq(last));
    ledger
}

#[tokio::test]
async fn ledgers_are_listed_by_device_and_boot() {
    let fresh = fresh().await;
    let mut commit = at(1);
    for (id, boot) in [("b", 10), ("a", 2), ("a", 10), ("b", 9)] {
        commit
            .ledgers
            .push((acme(), device(id), Boot(boot), ledger(u64::from(boot))));
    }
    fresh.store.pipeline.commit(commit).await.unwrap();
    let port = &fresh.store.ledger;
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = port.list(&acme(), after.as_deref(), 1).await.unwrap();
        for row in page.items {
            assert_eq!(row.ledger, ledger(u64::from(row.boot.0)));
            found.push((row.device.to_string(), row.boot.0));
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(
        found,
        [("a", 2), ("a", 10), ("b", 9), ("b", 10)].map(|(d, b)| (d.to_owned(), b))
    );

    let of = port
        .of_device(&acme(), &device("b"), None, 1)
        .await
        .unwrap();
    let rest = port
        .of_device(&acme(), &device("b"), of.next.as_deref(), 1)
        .await
        .unwrap();
    assert_eq!(
        (of.items[0].boot, rest.items[0].boot, rest.next),
        (Boot(9), Boot(10), None)
    );
}
