//! Sends: a key is one send, a nonce is taken once, and a tenant spends what it may.

use stencil_store::{
    Amount, BlockMark, ChainCommit, Chains, Erased, Error, KeptBlock, MAX_OPEN_SENDS, NewSend,
    SendAttempt, SendOutcome, SendState, SpendLimit,
};

use crate::{acme, fresh};

const CHAIN: &str = "dev";
const SENDER: [u8; 20] = [1; 20];
const TOKEN: [u8; 20] = [9; 20];
const SECOND: i64 = 1_000_000;

fn amount(n: u128) -> Amount {
    let mut amount = [0; 32];
    amount[16..].copy_from_slice(&n.to_be_bytes());
    amount
}

fn send(key: &str, value: u128) -> NewSend {
    NewSend {
        chain: CHAIN.to_owned(),
        sender: SENDER,
        tenant: "acme".to_owned(),
        key: key.to_owned(),
        receiver: [2; 20],
        value: amount(value),
        data: vec![1, 2],
        gas: 21_000,
        most_fee: amount(5),
        token: None,
        brings: None,
    }
}

fn limit(asset: Option<[u8; 20]>, most: u128) -> SpendLimit {
    SpendLimit {
        tenant: "acme".to_owned(),
        chain: CHAIN.to_owned(),
        asset,
        window_s: 60,
        most: amount(most),
    }
}

fn attempt(tx: u8) -> SendAttempt {
    SendAttempt {
        tx: [tx; 32],
        raw: vec![tx; 100],
        max_fee: u128::MAX,
        max_priority: 3,
        signed_us: 4,
        gives_up: None,
    }
}

fn outcome(tx: u8) -> SendOutcome {
    SendOutcome {
        tx: [tx; 32],
        block: BlockMark {
            number: 8,
            hash: [8; 32],
        },
        succeeded: false,
        fee: None,
    }
}

#[tokio::test]
async fn a_tenant_spends_what_it_may_and_not_a_unit_more() {
    let fresh = fresh().await;
    let sends = fresh.store.sends.as_ref();
    let error = sends.set_spend_limit(&limit(None, 1)).await.unwrap_err();
    assert!(
        matches!(&error, Error::NotFound { what: "chain", name } if name == CHAIN),
        "{error}"
    );
    fresh.store.chains.open_chain(CHAIN, 1, 1).await.unwrap();
    let reserve =
        async |send: NewSend, at_s: i64| sends.reserve_send(&send, 0, at_s * SECOND).await;
    let error = reserve(send("a", 1), 100).await.unwrap_err();
    assert!(error.to_string().contains("no limit is set"), "{error}");
    sends.set_spend_limit(&limit(None, 100)).await.unwrap();
    // 40 and 5 of fees; then 50 and 5: 100 in all.
    reserve(send("a", 40), 100).await.unwrap();
    let error = reserve(send("b", 51), 130).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("would spend 0.000000000000000101 the chain's coin")
            && matches!(error, Error::Conflict(_)),
        "{error}"
    );
    let b = reserve(send("b", 50), 130).await.unwrap();
    assert_eq!(b.nonce, 1, "what was refused has taken no nonce");
    // The first leaves the span a minute after it was reserved.
    assert!(reserve(send("c", 1), 159).await.is_err());
    reserve(send("c", 40), 160).await.unwrap();
    // What is lost was not spent.
    sends
        .set_send_state(CHAIN, SENDER, 1, SendState::Lost)
        .await
        .unwrap();
    reserve(send("d", 50), 161).await.unwrap();
    // A key that is there asks for nothing more.
    reserve(send("d", 50), 162).await.unwrap();

    let with_token = |key: &str, tokens: u128| NewSend {
        token: Some((TOKEN, amount(tokens))),
        ..send(key, 0)
    };
    let error = reserve(with_token("t", 1), 1_000).await.unwrap_err();
    assert!(error.to_string().contains("token 0x0909"), "{error}");
    sends
        .set_spend_limit(&limit(Some(TOKEN), 10))
        .await
        .unwrap();
    reserve(with_token("t", 10), 1_000).await.unwrap();
    assert!(reserve(with_token("u", 1), 1_001).await.is_err());
    let huge = NewSend {
        value: [0xff; 32],
        ..send("huge", 0)
    };
    assert!(matches!(
        reserve(huge, 2_000).await,
        Err(Error::Invalid { .. })
    ));
}

/// The account is one for all: who sends a lot waits, and others find room; neither is a refusal for good.
#[tokio::test]
async fn one_tenants_sends_that_are_not_final_leave_places_to_others() {
    let fresh = fresh().await;
    let (store, sends) = (&fresh.store, fresh.store.sends.as_ref());
    store.chains.open_chain(CHAIN, 1, 1).await.unwrap();
    let of = |tenant: &str, key: u32| NewSend {
        tenant: tenant.to_owned(),
        ..send(&key.to_string(), 1)
    };
    for tenant in ["acme", "other"] {
        let limit = SpendLimit {
            tenant: tenant.to_owned(),
            ..limit(None, 1_000_000)
        };
        sends.set_spend_limit(&limit).await.unwrap();
    }
    let reserve = async |tenant: &str, key: u32| sends.reserve_send(&of(tenant, key), 0, 1).await;
    let mut taken = 0;
    let error = loop {
        match reserve("acme", taken).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(taken, MAX_OPEN_SENDS * 4 / 5);
    assert!(
        matches!(error, Error::Full(_)) && error.retryable(),
        "{error}"
    );
    assert!(
        error.to_string().contains("800 sends of tenant \"acme\""),
        "{error}"
    );
    // That is asked first: what is spent is not summed up for who finds no place, time and again.
    let costly = NewSend {
        value: amount(2_000_000),
        ..of("acme", taken)
    };
    let error = sends.reserve_send(&costly, 0, 1).await.unwrap_err();
    assert!(matches!(error, Error::Full(_)), "{error}");
    let place = async |tenant: &str| sends.has_place(CHAIN, SENDER, tenant).await;
    assert_eq!(
        place("acme").await.unwrap_err().to_string(),
        error.to_string()
    );
    place("other").await.unwrap();
    sends.has_place("another", SENDER, "acme").await.unwrap();
    sends.has_place(CHAIN, [77; 20], "acme").await.unwrap();
    // What is ordered already is there all the same, and another tenant has room.
    reserve("acme", 0).await.unwrap();
    for key in 0..100 {
        reserve("other", key).await.unwrap();
    }
    let is_final = SendState::Final(outcome(1));
    for nonce in 0..100 {
        sends
            .set_send_state(CHAIN, SENDER, nonce, is_final)
            .await
            .unwrap();
    }
    reserve("acme", taken).await.unwrap();
}

/// What is reserved is the most that it may cost; what is final has cost what its receipt says.
#[tokio::test]
async fn once_it_is_final_what_a_send_has_cost_counts() {
    let fresh = fresh().await;
    let sends = fresh.store.sends.as_ref();
    fresh.store.chains.open_chain(CHAIN, 1, 1).await.unwrap();
    sends.set_spend_limit(&limit(None, 100)).await.unwrap();
    sends
        .set_spend_limit(&limit(Some(TOKEN), 10))
        .await
        .unwrap();
    let costly = |key: &str| NewSend {
        most_fee: amount(60),
        token: Some((TOKEN, amount(8))),
        ..send(key, 30)
    };
    let at_us = 100 * SECOND;
    let spent = async |at_us: i64| {
        let all = sends.spent("acme", at_us).await.unwrap();
        let of = |asset: Option<[u8; 20]>| {
            let found = all.iter().find(|spent| spent.limit.asset == asset);
            let found = found.unwrap().clone();
            (found.used, found.open, found.frees_us)
        };
        (of(None), of(Some(TOKEN)))
    };
    let nothing = (amount(0), amount(0), None);
    assert_eq!(spent(at_us).await, (nothing, nothing));
    sends.reserve_send(&costly("a"), 0, at_us).await.unwrap();
    let frees_us = Some(at_us + 60 * SECOND);
    let coin = (amount(90), amount(90), frees_us);
    let token = (amount(8), amount(8), frees_us);
    assert_eq!(spent(at_us).await, (coin, token));
    let error = sends.reserve_send(&costly("b"), 0, at_us).await;
    let error = error.unwrap_err().to_string();
    for told in [
        "0.00000000000000018 ",
        "0.0000000000000001:",
        "0.00000000000000009 count",
    ] {
        assert!(error.contains(told), "{error}");
    }
    assert!(!error.contains("0x"), "{error}");
    // In a block a reorganisation may yet put it elsewhere, at another price.
    let paid = |succeeded: bool| SendOutcome {
        succeeded,
        fee: Some(amount(3)),
        ..outcome(1)
    };
    let set = async |state: SendState| {
        sends.set_send_state(CHAIN, SENDER, 0, state).await.unwrap();
    };
    set(SendState::Included(paid(true))).await;
    assert_eq!(spent(at_us).await, (coin, token));
    set(SendState::Final(paid(true))).await;
    let stored = sends.send("acme", "a").await.unwrap().unwrap();
    assert_eq!(stored.state, SendState::Final(paid(true)));
    let settled = (amount(33), amount(0), frees_us);
    assert_eq!(
        spent(at_us).await,
        (settled, (amount(8), amount(0), frees_us))
    );
    // What was reverted has cost its gas, and moved nothing.
    let was = outcome(1).block;
    sends.take_back_send(CHAIN, SENDER, 0, was).await.unwrap();
    assert_eq!(spent(at_us).await, (coin, token));
    set(SendState::Final(paid(false))).await;
    let reverted = (amount(3), amount(0), frees_us);
    assert_eq!(spent(at_us).await, (reverted, nothing));
    sends.reserve_send(&costly("b"), 0, at_us).await.unwrap();
    // Where no receipt has told it the most counts.
    let untold = SendState::Final(SendOutcome {
        succeeded: true,
        ..outcome(2)
    });
    sends
        .set_send_state(CHAIN, SENDER, 1, untold)
        .await
        .unwrap();
    assert_eq!(spent(at_us).await.0.0, amount(93));
    assert_eq!(spent(at_us + 60 * SECOND).await, (nothing, nothing));
    assert!(sends.spent("other", at_us).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_nonce_is_taken_once_and_what_is_over_stays_so() {
    let fresh = fresh().await;
    let sends = fresh.store.sends.as_ref();
    fresh.store.chains.open_chain(CHAIN, 1, 1).await.unwrap();
    sends.set_spend_limit(&limit(None, 1_000)).await.unwrap();
    // The account has sent elsewhere before, and does so again meanwhile.
    assert_eq!(
        sends.reserve_send(&send("a", 1), 7, 1).await.unwrap().nonce,
        7
    );
    assert_eq!(
        sends.reserve_send(&send("b", 1), 7, 1).await.unwrap().nonce,
        8
    );
    assert_eq!(
        sends
            .reserve_send(&send("c", 1), 11, 1)
            .await
            .unwrap()
            .nonce,
        11
    );
    assert_eq!(
        sends
            .reserve_send(&send("a", 1), 12, 1)
            .await
            .unwrap()
            .nonce,
        7
    );

    sends
        .add_attempt(CHAIN, SENDER, 7, 0, &attempt(1))
        .await
        .unwrap();
    let again = sends.add_attempt(CHAIN, SENDER, 7, 0, &attempt(2)).await;
    assert!(
        matches!(again, Err(Error::Conflict(_))),
        "two signers at once"
    );
    sends
        .add_attempt(CHAIN, SENDER, 7, 1, &attempt(2))
        .await
        .unwrap();
    let included = SendState::Included(outcome(2));
    sends
        .set_send_state(CHAIN, SENDER, 7, included)
        .await
        .unwrap();
    let open = sends.open_sends(CHAIN, SENDER).await.unwrap();
    assert_eq!(
        open.iter().map(|send| send.nonce).collect::<Vec<_>>(),
        [7, 8, 11]
    );
    assert_eq!(open[0].attempts, [attempt(1), attempt(2)]);
    assert_eq!(open[0].state, included);
    let last = SendState::Final(outcome(2));
    sends.set_send_state(CHAIN, SENDER, 7, last).await.unwrap();
    for after in [SendState::Pending, SendState::Lost] {
        let error = sends.set_send_state(CHAIN, SENDER, 7, after).await;
        assert!(matches!(error, Err(Error::Conflict(_))));
    }
    assert!(
        sends
            .add_attempt(CHAIN, SENDER, 7, 2, &attempt(3))
            .await
            .is_err()
    );
    let stored = sends.send("acme", "a").await.unwrap().unwrap();
    assert_eq!(stored.state, last);
    assert_eq!(sends.send("other", "a").await.unwrap(), None);
}

#[tokio::test]
async fn what_was_final_is_taken_back_from_its_block_only_and_goes_on() {
    let fresh = fresh().await;
    let sends = fresh.store.sends.as_ref();
    fresh.store.chains.open_chain(CHAIN, 1, 1).await.unwrap();
    sends.set_spend_limit(&limit(None, 100)).await.unwrap();
    assert_eq!(sends.last_final_nonce(CHAIN, SENDER).await.unwrap(), None);
    for key in ["a", "b", "c"] {
        sends.reserve_send(&send(key, 1), 0, 1).await.unwrap();
    }
    let first = attempt(1);
    sends
        .add_attempt(CHAIN, SENDER, 0, 0, &first)
        .await
        .unwrap();
    let last = SendState::Final(outcome(1));
    for nonce in [0, 1] {
        sends
            .set_send_state(CHAIN, SENDER, nonce, last)
            .await
            .unwrap();
    }
    assert_eq!(
        sends.last_final_nonce(CHAIN, SENDER).await.unwrap(),
        Some(1)
    );
    let found = sends.final_sends(CHAIN, SENDER, 0).await.unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].attempts, std::slice::from_ref(&first));
    let from = sends.final_sends(CHAIN, SENDER, 1).await.unwrap();
    assert_eq!(from, found[1..]);
    let was = outcome(1).block;
    let other = BlockMark {
        hash: [7; 32],
        ..was
    };
    for (nonce, from) in [(0, other), (2, was), (3, was)] {
        let wrong = sends.take_back_send(CHAIN, SENDER, nonce, from).await;
        assert!(matches!(wrong, Err(Error::Conflict(_))), "{wrong:?}");
    }
    sends.take_back_send(CHAIN, SENDER, 0, was).await.unwrap();
    let open = sends.open_sends(CHAIN, SENDER).await.unwrap();
    assert_eq!(open.len(), 2);
    assert_eq!((open[0].nonce, open[0].state), (0, SendState::Pending));
    assert_eq!(open[0].attempts, [first]);
    sends
        .add_attempt(CHAIN, SENDER, 0, 1, &attempt(2))
        .await
        .unwrap();
    sends.set_send_state(CHAIN, SENDER, 0, last).await.unwrap();
}

/// A branch of a follower up to this block, of which all up to a number is final.
async fn follow(chains: &dyn Chains, blocks: &[BlockMark], retract: Option<u64>, last: u64) {
    let from = chains.chain(CHAIN).await.unwrap().unwrap().cursor;
    let kept = blocks.iter().map(|mark| KeptBlock {
        mark: *mark,
        parent: [0; 32],
    });
    let back = retract.map(|number| block(number, 1));
    let commit = ChainCommit {
        chain: CHAIN.to_owned(),
        from,
        retract_above: retract,
        blocks: kept.collect(),
        cursor: blocks.last().copied().or(back),
        finalized: blocks.iter().find(|mark| mark.number == last).copied(),
        ..ChainCommit::default()
    };
    chains.commit_chain(&commit).await.unwrap();
}

fn block(number: u64, branch: u8) -> BlockMark {
    BlockMark {
        number,
        hash: [branch; 32],
    }
}

#[tokio::test]
async fn a_follower_that_goes_back_behind_what_was_final_takes_its_sends_along() {
    let fresh = fresh().await;
    let sends = fresh.store.sends.as_ref();
    let chains = fresh.store.chains.as_ref();
    chains.open_chain(CHAIN, 1, 1).await.unwrap();
    sends.set_spend_limit(&limit(None, 100)).await.unwrap();
    for key in ["a", "b", "c"] {
        sends.reserve_send(&send(key, 1), 0, 1).await.unwrap();
    }
    let branch: Vec<BlockMark> = (5..=9).map(|number| block(number, 1)).collect();
    follow(chains, &branch, None, 8).await;
    let is = |block| SendOutcome {
        block,
        ..outcome(1)
    };
    let set = async |nonce, block| {
        let last = SendState::Final(is(block));
        sends.set_send_state(CHAIN, SENDER, nonce, last).await
    };
    set(0, block(6, 1)).await.unwrap();
    set(1, block(8, 1)).await.unwrap();
    // Not final yet, and of another branch than the one that is followed.
    for other in [block(9, 1), block(7, 2)] {
        let refused = set(2, other).await;
        assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    }
    // A reorganisation within what is not final touches none.
    follow(chains, &[], Some(8), 8).await;
    assert_eq!(sends.final_sends(CHAIN, SENDER, 0).await.unwrap().len(), 2);
    follow(chains, &[], Some(6), 6).await;
    let open = sends.open_sends(CHAIN, SENDER).await.unwrap();
    let states: Vec<_> = open.iter().map(|send| (send.nonce, send.state)).collect();
    let was = SendState::Included(is(block(8, 1)));
    assert_eq!(states, [(1, was), (2, SendState::Pending)]);
    // In another block of the same number, which is not final before the follower says so.
    follow(chains, &[block(7, 2), block(8, 2)], None, 0).await;
    assert!(set(1, block(8, 2)).await.is_err());
    follow(chains, &[block(9, 2)], None, 9).await;
    assert!(set(1, block(8, 1)).await.is_err());
    set(1, block(8, 2)).await.unwrap();
    assert_eq!(
        sends.last_final_nonce(CHAIN, SENDER).await.unwrap(),
        Some(1)
    );
}

/// Settings change while something is under way: it is the same all the same, and not sent a second time.
#[tokio::test]
async fn a_key_names_its_send_whatever_is_set_today() {
    let fresh = fresh().await;
    let sends = fresh.store.sends.as_ref();
    fresh.store.chains.open_chain(CHAIN, 1, 1).await.unwrap();
    sends.set_spend_limit(&limit(None, 100)).await.unwrap();
    let first = sends.reserve_send(&send("a", 1), 0, 1).await.unwrap();
    let today = NewSend {
        sender: [7; 20],
        gas: 90_000,
        most_fee: amount(99),
        ..send("a", 1)
    };
    assert_eq!(sends.reserve_send(&today, 0, 2).await.unwrap(), first);
    type Change = fn(&mut NewSend);
    let changes: [Change; 5] = [
        |send| send.chain = "other".to_owned(),
        |send| send.receiver = [8; 20],
        |send| send.value = amount(2),
        |send| send.data = vec![3],
        |send| send.token = Some((TOKEN, amount(1))),
    ];
    for change in changes {
        let mut other = send("a", 1);
        change(&mut other);
        let error = sends.reserve_send(&other, 0, 2).await.unwrap_err();
        assert!(error.to_string().contains("names another send"), "{error}");
    }
}

/// What is under way goes on without its owner: a nonce that is never used would hold up the others.
#[tokio::test]
async fn an_erased_tenants_sends_lose_their_owner_and_keep_their_nonces() {
    let fresh = fresh().await;
    let sends = fresh.store.sends.as_ref();
    fresh.store.chains.open_chain(CHAIN, 1, 1).await.unwrap();
    sends.set_spend_limit(&limit(None, 1_000)).await.unwrap();
    for key in ["a", "b"] {
        sends.reserve_send(&send(key, 1), 0, 1).await.unwrap();
    }
    sends
        .add_attempt(CHAIN, SENDER, 0, 0, &attempt(1))
        .await
        .unwrap();
    let last = SendState::Final(outcome(1));
    sends.set_send_state(CHAIN, SENDER, 0, last).await.unwrap();
    let erased = Erased::Tenant(acme());
    fresh.store.keeping.erase(1, &erased).await.unwrap();
    assert!(sends.spend_limits("acme").await.unwrap().is_empty());
    for key in ["a", "b"] {
        assert_eq!(sends.send("acme", key).await.unwrap(), None);
    }
    let open = sends.open_sends(CHAIN, SENDER).await.unwrap();
    assert_eq!(open.len(), 1);
    assert!(open[0].nonce == 1 && open[0].send.tenant.is_empty());
}

#[tokio::test]
async fn what_a_tenant_may_call_is_set_as_a_whole() {
    let fresh = fresh().await;
    let sends = &fresh.store.sends;
    fresh.store.chains.open_chain("local", 1, 1).await.unwrap();
    let contract = |n: u8| ("local".to_owned(), [n; 20]);
    let both = [contract(1), contract(2)];
    sends.set_callable("acme", &both).await.unwrap();
    assert_eq!(sends.callable("acme").await.unwrap(), both);
    // One on a chain that there is not leaves all as it was.
    let wrong = [contract(3), ("main".to_owned(), [1; 20])];
    assert!(sends.set_callable("acme", &wrong).await.is_err());
    assert_eq!(sends.callable("acme").await.unwrap(), both);
    let one = [contract(2)];
    sends.set_callable("acme", &one).await.unwrap();
    assert_eq!(sends.callable("acme").await.unwrap(), one);
    assert!(sends.callable("other").await.unwrap().is_empty());
    let nobody = sends.set_callable("nobody", &both).await;
    assert!(matches!(nobody, Err(Error::NotFound { .. })), "{nobody:?}");
}

/// What was given up cost the gas of an empty transaction, and nothing of what was ordered: a tenant may
/// spend that again.
#[tokio::test]
async fn what_was_given_up_is_kept_and_counts_for_nothing() {
    let fresh = fresh().await;
    let sends = fresh.store.sends.as_ref();
    fresh.store.chains.open_chain(CHAIN, 1, 1).await.unwrap();
    sends.set_spend_limit(&limit(None, 100)).await.unwrap();
    let at = 100 * SECOND;
    let sent = sends.reserve_send(&send("a", 90), 0, at).await.unwrap();
    assert_eq!(sends.open_senders(CHAIN).await.unwrap(), [SENDER]);
    assert!(sends.open_senders("other").await.unwrap().is_empty());
    let add = async |number: u32, attempt: &SendAttempt| {
        sends
            .add_attempt(CHAIN, SENDER, sent.nonce, number, attempt)
            .await
            .unwrap();
    };
    add(0, &attempt(1)).await;
    let why = "é".repeat(2_000);
    let empty = SendAttempt {
        gives_up: Some(why.clone()),
        ..attempt(2)
    };
    add(1, &empty).await;
    let is = async |state: SendState| {
        sends
            .set_send_state(CHAIN, SENDER, sent.nonce, state)
            .await
            .unwrap();
        sends.send("acme", "a").await.unwrap().unwrap()
    };
    // What was ordered may still be taken instead.
    let ordered = is(SendState::Included(outcome(1))).await;
    assert_eq!(ordered.given_up(), None);
    let error = sends.reserve_send(&send("b", 90), 0, at).await.unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error}");
    let gone = is(SendState::Final(outcome(2))).await;
    let kept = gone.given_up().unwrap();
    assert!(kept.len() <= stencil_store::MAX_GIVEN_UP && why.starts_with(kept));
    assert!(sends.open_senders(CHAIN).await.unwrap().is_empty());
    sends.reserve_send(&send("b", 90), 0, at).await.unwrap();
}
