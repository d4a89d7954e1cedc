//! What an older hub watched of tokens.

use stencil_payments::abi;
use stencil_store::{Watch, WatchKind};

use super::chain::NAME;
use super::world::World;

fn watch(owner: &str, address: u8, kind: WatchKind) -> Watch {
    Watch {
        owner: owner.to_owned(),
        address: [address; 20],
        kind,
    }
}

#[tokio::test]
async fn all_of_a_token_is_watched_no_more_where_its_payees_are() {
    let world = World::new().await;
    let payees = watch(
        "acme",
        0x70,
        WatchKind::EventTo {
            topic0: abi::TRANSFER.0,
            to: [0xaa; 20],
        },
    );
    let all_of_it = WatchKind::Event(abi::TRANSFER.0);
    let used = WatchKind::Event(abi::AUTHORIZATION_USED.0);
    // Of a contract that nobody is paid in, such as one of an ERC-721 token; somebody else's; another
    // event.
    let kept = [
        watch("acme", 0x71, all_of_it),
        watch("other", 0x70, all_of_it),
        watch("acme", 0x70, WatchKind::Event([9; 32])),
    ];
    let gone = [watch("acme", 0x70, all_of_it), watch("acme", 0x70, used)];
    let chains = &world.store.chains;
    chains.watch_chain(NAME, &kept).await.unwrap();
    chains.watch_chain(NAME, &gone).await.unwrap();
    let watched = async || {
        let (_, watched) = chains.chain_watches(NAME).await.unwrap();
        let watches = watched.into_iter().map(|it| it.watch);
        watches.collect::<Vec<_>>()
    };
    let triggers = world.triggers(&world.store);
    triggers.narrow(NAME).await.unwrap();
    assert_eq!(
        watched().await.len(),
        5,
        "nothing else would say who is paid"
    );
    chains
        .watch_chain(NAME, std::slice::from_ref(&payees))
        .await
        .unwrap();
    triggers.narrow(NAME).await.unwrap();
    let now = watched().await;
    assert_eq!(now.len(), 4);
    for one in kept.iter().chain([&payees]) {
        assert!(now.contains(one), "{one:?}");
    }
}
