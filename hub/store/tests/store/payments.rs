//! Invoices: a change follows the one before, with all that it causes, or not at all.

use std::collections::BTreeMap;

use stencil_protocol::id::TenantId;
use stencil_store::{
    Error, InvoiceCommit, InvoiceEffect, JournalEntry, JournalLine, Payments, RefundMovement,
    StoredInvoice, UnmatchedCredit,
};

use crate::{Fresh, acme, fresh, other, reopen};

fn stored(tenant: &TenantId, n: u8, version: u64) -> StoredInvoice {
    StoredInvoice {
        tenant: tenant.clone(),
        invoice: [n; 16],
        version,
        state: if version == 1 { "new" } else { "settled" }.into(),
        body: format!(r#"{{"version":{version}}}"#),
        wakes_us: (version == 1).then_some(50 + i64::from(n)),
        watched_until_us: 100,
        created_us: i64::from(n),
        changed_us: i64::try_from(version).unwrap(),
    }
}

pub(crate) fn change(tenant: &TenantId, n: u8, version: u64) -> InvoiceCommit {
    let invoice = stored(tenant, n, version);
    InvoiceCommit {
        invoice,
        is_undone: false,
        payers: Vec::new(),
        credits: vec![],
        entries: vec![],
        effects: vec![],
        refunds: Vec::new(),
    }
}

fn entry(key: u8, asset: &str, lines: &[(&str, bool, &str)]) -> JournalEntry {
    let line = |(account, is_debit, amount): &(&str, bool, &str)| JournalLine {
        account: (*account).into(),
        is_debit: *is_debit,
        amount: (*amount).into(),
    };
    JournalEntry {
        key: [key; 32],
        asset: asset.into(),
        at_us: 7,
        memo: "a payment".into(),
        lines: lines.iter().map(line).collect(),
    }
}

fn effect(key: u8, body: &str) -> InvoiceEffect {
    InvoiceEffect {
        key: [key; 32],
        body: body.into(),
    }
}

async fn conflicts(payments: &dyn Payments, commit: &InvoiceCommit) {
    let done = payments.commit_invoice(commit).await;
    assert!(matches!(done, Err(Error::Conflict(_))), "{done:?}");
}

#[tokio::test]
async fn a_change_follows_the_one_before() {
    let fresh = fresh().await;
    let payments = fresh.store.payments.as_ref();
    let (acme, other) = (acme(), other());
    conflicts(payments, &change(&acme, 1, 2)).await;
    payments.commit_invoice(&change(&acme, 1, 1)).await.unwrap();
    conflicts(payments, &change(&acme, 1, 1)).await;
    conflicts(payments, &change(&acme, 1, 3)).await;
    payments.commit_invoice(&change(&acme, 1, 2)).await.unwrap();
    conflicts(payments, &change(&acme, 1, 2)).await;
    let found = payments.invoice(&acme, &[1; 16]).await.unwrap();
    assert_eq!(found, Some(stored(&acme, 1, 2)));
    // An id is one tenant's: who pays knows nothing else.
    assert_eq!(payments.invoice(&other, &[1; 16]).await.unwrap(), None);
    conflicts(payments, &change(&other, 1, 1)).await;
    let found = payments.invoice_by_id(&[1; 16]).await.unwrap();
    assert_eq!(found.map(|found| found.tenant), Some(acme.clone()));
    assert_eq!(payments.invoice_by_id(&[2; 16]).await.unwrap(), None);
    payments
        .commit_invoice(&change(&other, 2, 1))
        .await
        .unwrap();
    let nobody: TenantId = "nobody".parse().unwrap();
    let done = payments.commit_invoice(&change(&nobody, 3, 1)).await;
    assert!(matches!(done, Err(Error::NotFound { .. })), "{done:?}");
}

#[tokio::test]
async fn a_movement_of_money_has_sent_one_refund() {
    let fresh = fresh().await;
    let payments = fresh.store.payments.as_ref();
    let (acme, other) = (acme(), other());
    let told = |refund: u8, movement: Option<&str>| RefundMovement {
        refund: [refund; 32],
        movement: movement.map(str::to_owned),
    };
    let commit = |tenant, n, version, refunds: &[RefundMovement]| InvoiceCommit {
        refunds: refunds.to_vec(),
        ..change(tenant, n, version)
    };
    let first = [told(1, Some("1:0xab:0"))];
    let done = payments.commit_invoice(&commit(&acme, 1, 1, &first)).await;
    done.unwrap();
    let owner = payments.refund_by_movement("1:0xab:0").await.unwrap();
    assert_eq!(owner, Some((acme.clone(), [1; 16], [1; 32])));
    // Neither for another refund of the invoice nor for one of another tenant's.
    let both = [told(1, Some("1:0xab:0")), told(2, Some("1:0xab:0"))];
    conflicts(payments, &commit(&acme, 1, 2, &both)).await;
    conflicts(payments, &commit(&other, 2, 1, &first)).await;
    let refused = payments.commit_invoice(&commit(&other, 2, 1, &first)).await;
    let why = refused.unwrap_err().to_string();
    assert!(
        why.contains("the transaction 0xab moves") && !why.contains("1:0xab"),
        "{why}"
    );
    // What is told in its place frees it.
    let another = [told(1, Some("1:0xcd:0")), told(2, None)];
    for (version, refunds) in [(2, &another[..]), (3, &another[..])] {
        let done = payments
            .commit_invoice(&commit(&acme, 1, version, refunds))
            .await;
        done.unwrap();
    }
    let done = payments.commit_invoice(&commit(&other, 2, 1, &first)).await;
    done.unwrap();
    let owner = payments.refund_by_movement("1:0xab:0").await.unwrap();
    assert_eq!(owner, Some((other, [2; 16], [1; 32])));
}

#[tokio::test]
async fn all_of_a_change_is_kept_or_nothing() {
    let fresh = fresh().await;
    let payments = fresh.store.payments.as_ref();
    let (acme, other) = (acme(), other());
    let money = [("wallet", true, "5"), ("pending", false, "5")];
    let mut first = change(&acme, 1, 1);
    first.credits = vec!["1:0xab:0".into()];
    first.entries = vec![entry(1, "usdc", &money)];
    first.effects = vec![effect(1, "settled")];
    payments.commit_invoice(&first).await.unwrap();
    let owner = payments.credit_owner("1:0xab:0").await.unwrap();
    assert_eq!(owner, Some((acme.clone(), [1; 16])));

    // Whatever of it is wrong, nothing of it is there afterwards.
    let good = || {
        let mut commit = change(&acme, 2, 1);
        commit.credits = vec!["1:0xcd:0".into()];
        commit.entries = vec![entry(2, "usdc", &money)];
        commit.effects = vec![effect(2, "settled")];
        commit
    };
    let mut wrong = Vec::new();
    let mut add = |change: &dyn Fn(&mut InvoiceCommit)| {
        let mut commit = good();
        change(&mut commit);
        wrong.push(commit);
    };
    add(&|it| it.credits.push("1:0xab:0".into()));
    add(&|it| it.credits.push(String::new()));
    add(&|it| {
        it.entries.push(entry(
            3,
            "usdc",
            &[("wallet", true, "5"), ("x", false, "6")],
        ))
    });
    add(&|it| {
        it.entries.push(entry(
            3,
            "usdc",
            &[("wallet", true, "05"), ("x", false, "5")],
        ))
    });
    add(&|it| it.entries.push(entry(3, "usdc", &[])));
    add(&|it| {
        it.entries.push(entry(
            1,
            "usdc",
            &[("wallet", true, "6"), ("x", false, "6")],
        ))
    });
    add(&|it| it.effects.push(effect(1, "something else")));
    for commit in wrong {
        assert!(
            payments.commit_invoice(&commit).await.is_err(),
            "{commit:?}"
        );
        assert_eq!(payments.invoice(&acme, &[2; 16]).await.unwrap(), None);
        assert_eq!(payments.credit_owner("1:0xcd:0").await.unwrap(), None);
        assert_eq!(
            payments.journal(&acme, None, 9).await.unwrap().items.len(),
            1
        );
        assert_eq!(payments.due_invoice_effects(99, 9).await.unwrap().len(), 1);
    }
    // A movement of another tenant's is not taken over.
    let mut foreign = change(&other, 1, 1);
    foreign.credits = vec!["1:0xab:0".into()];
    conflicts(payments, &foreign).await;

    // What is known already is taken again, once.
    let mut again = good();
    again.credits.push("1:0xcd:0".into());
    again.entries.push(entry(1, "usdc", &money));
    again.effects.push(effect(1, "settled"));
    payments.commit_invoice(&again).await.unwrap();
    assert_eq!(
        payments.journal(&acme, None, 9).await.unwrap().items.len(),
        2
    );
    let balances = payments.balances(&acme).await.unwrap();
    let sums: Vec<_> = balances
        .iter()
        .map(|it| (it.account.as_str(), it.debits.as_str(), it.credits.as_str()))
        .collect();
    assert_eq!(sums, [("pending", "0", "10"), ("wallet", "10", "0")]);
    assert!(payments.balances(&other).await.unwrap().is_empty());
}

#[tokio::test]
async fn balances_are_exact_beyond_64_bits_and_are_what_the_journal_says() {
    let Fresh { store, folder } = fresh().await;
    let acme = acme();
    let large = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
    for n in 1..=3_u8 {
        let mut commit = change(&acme, n, 1);
        let back = n == 3;
        let lines = [("wallet", !back, large), ("pending", back, large)];
        commit.entries = vec![entry(n, "wei", &lines), entry(n + 10, "usdc", &lines)];
        store.payments.commit_invoice(&commit).await.unwrap();
    }
    drop(store);
    let store = reopen(folder.path(), stencil_store::sqlite::Options::default()).await;
    let payments = store.payments.as_ref();
    let twice = "231584178474632390847141970017375815706539969331281128078915168015826259279870";
    let balances = payments.balances(&acme).await.unwrap();
    let wallet = balances
        .iter()
        .find(|it| it.account == "wallet" && it.asset == "wei")
        .unwrap();
    assert_eq!(
        (wallet.debits.as_str(), wallet.credits.as_str()),
        (twice, large)
    );
    // The journal in pages, in order, comes to the same number of lines a side.
    let (mut after, mut keys, mut sides) = (None, Vec::new(), BTreeMap::new());
    loop {
        let page = payments.journal(&acme, after.as_deref(), 2).await.unwrap();
        for entry in page.items {
            keys.push(entry.key[0]);
            for line in entry.lines {
                *sides
                    .entry((entry.asset.clone(), line.account, line.is_debit))
                    .or_insert(0) += 1;
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(keys, [1, 11, 2, 12, 3, 13]);
    assert_eq!(sides[&("wei".to_owned(), "wallet".to_owned(), true)], 2);
    assert_eq!(sides[&("wei".to_owned(), "wallet".to_owned(), false)], 1);
}

#[tokio::test]
async fn effects_are_due_in_order_until_they_are_done() {
    let fresh = fresh().await;
    let payments = fresh.store.payments.as_ref();
    let acme = acme();
    let mut commit = change(&acme, 1, 1);
    commit.effects = vec![effect(9, "first"), effect(1, "second")];
    payments.commit_invoice(&commit).await.unwrap();
    let due = async |now_us| -> Vec<(String, u32)> {
        let due = payments.due_invoice_effects(now_us, 9).await.unwrap();
        due.into_iter()
            .map(|it| (it.effect.body, it.attempts))
            .collect()
    };
    assert!(due(0).await.is_empty());
    assert_eq!(due(1).await, [("first".into(), 0), ("second".into(), 0)]);
    payments
        .retry_invoice_effect(&acme, &[9; 32], 60)
        .await
        .unwrap();
    assert_eq!(due(59).await, [("second".into(), 0)]);
    assert!(
        payments
            .invoice_effect_done(&acme, &[1; 32], 61)
            .await
            .unwrap()
    );
    assert!(
        !payments
            .invoice_effect_done(&acme, &[1; 32], 62)
            .await
            .unwrap()
    );
    assert!(
        !payments
            .invoice_effect_done(&other(), &[9; 32], 62)
            .await
            .unwrap()
    );
    assert_eq!(due(60).await, [("first".into(), 1)]);
    // What was done does not come back by a repeated commit, nor by a retry.
    payments
        .retry_invoice_effect(&acme, &[1; 32], 1)
        .await
        .unwrap();
    let mut again = change(&acme, 1, 2);
    again.effects = commit.effects;
    payments.commit_invoice(&again).await.unwrap();
    assert_eq!(due(99).await, [("first".into(), 1)]);
}

#[tokio::test]
async fn invoices_are_found_by_time_state_and_page() {
    let fresh = fresh().await;
    let payments = fresh.store.payments.as_ref();
    let (acme, other) = (acme(), other());
    for n in 1..=4 {
        payments.commit_invoice(&change(&acme, n, 1)).await.unwrap();
    }
    payments
        .commit_invoice(&change(&other, 9, 1))
        .await
        .unwrap();
    payments.commit_invoice(&change(&acme, 2, 2)).await.unwrap();
    let ids = |found: Vec<StoredInvoice>| -> Vec<u8> {
        found.into_iter().map(|it| it.invoice[0]).collect()
    };
    let first = payments.invoices(&acme, None, None, 3).await.unwrap();
    let rest = payments
        .invoices(&acme, None, first.next.as_deref(), 3)
        .await
        .unwrap();
    assert_eq!(
        (ids(first.items), ids(rest.items)),
        (vec![4, 3, 2], vec![1])
    );
    let settled = payments
        .invoices(&acme, Some("settled"), None, 9)
        .await
        .unwrap();
    assert_eq!(ids(settled.items), [2]);
    let wrong = payments.invoices(&acme, None, Some("x"), 9).await;
    assert!(matches!(wrong, Err(Error::Invalid { .. })));
    // Time changes nothing of the settled one.
    assert_eq!(ids(payments.waking_invoices(53, 9).await.unwrap()), [1, 3]);
    assert_eq!(ids(payments.waking_invoices(99, 2).await.unwrap()), [1, 3]);
    // All tenants', in order, in portions.
    let some = payments.watched_invoices(99, None, 3).await.unwrap();
    let last = some
        .last()
        .map(|it| (it.tenant.clone(), it.invoice))
        .unwrap();
    let more = payments
        .watched_invoices(99, Some((&last.0, &last.1)), 3)
        .await
        .unwrap();
    assert_eq!((ids(some), ids(more)), (vec![1, 2, 3], vec![4, 9]));
    assert!(
        payments
            .watched_invoices(100, None, 9)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn money_of_no_invoice_is_kept_until_it_is_one_s() {
    let fresh = fresh().await;
    let payments = fresh.store.payments.as_ref();
    let (acme, other) = (acme(), other());
    let stray = |n: u8| UnmatchedCredit {
        credit: format!("1:0x{n}:0"),
        body: format!("{n}"),
        at_us: i64::from(n),
    };
    for n in 1..=3 {
        assert!(payments.put_unmatched(&acme, &stray(n)).await.unwrap());
        assert!(!payments.put_unmatched(&acme, &stray(n)).await.unwrap());
    }
    assert!(
        !payments.put_unmatched(&other, &stray(1)).await.unwrap(),
        "it is acme's"
    );
    let first = payments.unmatched(&acme, None, 2).await.unwrap();
    assert_eq!(first.items, [stray(3), stray(2)]);
    let rest = payments
        .unmatched(&acme, first.next.as_deref(), 2)
        .await
        .unwrap();
    assert_eq!(rest.items, [stray(1)]);
    assert!(
        payments
            .unmatched(&other, None, 9)
            .await
            .unwrap()
            .items
            .is_empty()
    );
    assert_eq!(payments.credit_owner(&stray(2).credit).await.unwrap(), None);
    let mut commit = change(&acme, 1, 1);
    commit.credits = vec![stray(2).credit];
    payments.commit_invoice(&commit).await.unwrap();
    assert!(
        !payments.put_unmatched(&acme, &stray(2)).await.unwrap(),
        "it is an invoice's"
    );
    assert_eq!(
        payments.unmatched(&acme, None, 9).await.unwrap().items,
        [stray(3), stray(1)]
    );
}

#[tokio::test]
async fn what_is_folded_is_forgotten_and_summed_at_once_or_not_at_all() {
    let fresh = fresh().await;
    let payments = fresh.store.payments.as_ref();
    let (acme, other) = (acme(), other());
    let stray = |n: u8| UnmatchedCredit {
        credit: format!("1:0x{n}:0"),
        body: format!("{n}"),
        at_us: i64::from(n),
    };
    for n in 1..=4 {
        payments.put_unmatched(&acme, &stray(n)).await.unwrap();
    }
    let sum = |body: &str| UnmatchedCredit {
        credit: "folded:1:0x1:0".into(),
        body: body.into(),
        at_us: 9,
    };
    let keys = |of: &[u8]| of.iter().map(|n| stray(*n).credit).collect::<Vec<_>>();
    let fold = async |tenant: &TenantId, of: &[u8], body: &str| {
        let (folded, into) = (keys(of), sum(body));
        payments.fold_unmatched(tenant, &folded, &into).await
    };
    fold(&acme, &[1, 2], "1 and 2").await.unwrap();
    // One that is gone already, and money of somebody else's.
    for (tenant, of) in [(&acme, [3_u8, 1]), (&other, [3, 4])] {
        let refused = fold(tenant, &of, "more").await;
        assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    }
    let all = payments.unmatched(&acme, None, 9).await.unwrap().items;
    assert_eq!(all, [sum("1 and 2"), stray(4), stray(3)]);
    assert!(fold(&other, &[], "more").await.is_err());
    fold(&acme, &[3], "1, 2 and 3").await.unwrap();
    let all = payments.unmatched(&acme, None, 9).await.unwrap().items;
    assert_eq!(all, [sum("1, 2 and 3"), stray(4)]);
}

#[tokio::test]
async fn a_tenant_that_is_erased_leaves_nothing() {
    let fresh = fresh().await;
    let payments = fresh.store.payments.as_ref();
    let acme = acme();
    let mut commit = change(&acme, 1, 1);
    commit.credits = vec!["1:0xab:0".into()];
    commit.entries = vec![entry(1, "usdc", &[("a", true, "5"), ("b", false, "5")])];
    commit.effects = vec![effect(1, "settled")];
    payments.commit_invoice(&commit).await.unwrap();
    let erased = stencil_store::Erased::Tenant(acme.clone());
    fresh.store.keeping.erase(1, &erased).await.unwrap();
    assert_eq!(payments.invoice(&acme, &[1; 16]).await.unwrap(), None);
    assert_eq!(payments.credit_owner("1:0xab:0").await.unwrap(), None);
    assert!(
        payments
            .due_invoice_effects(99, 9)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(payments.balances(&acme).await.unwrap().is_empty());
    assert!(
        payments
            .journal(&acme, None, 9)
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

#[tokio::test]
async fn an_address_takes_payments_of_one_tenant() {
    let fresh = fresh().await;
    let payments = fresh.store.payments.as_ref();
    let (acme, other) = (acme(), other());
    let set = async |tenant: &TenantId, body: &str, payees: &[(u64, [u8; 20])]| {
        payments.set_payment_settings(tenant, body, payees, 5).await
    };
    assert_eq!(payments.payment_settings(&acme).await.unwrap(), None);
    set(&acme, "a", &[(1, [7; 20]), (1, [8; 20])])
        .await
        .unwrap();
    let refused = set(&other, "b", &[(1, [9; 20]), (1, [7; 20])]).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    // Nothing of it is kept, and the same address of another chain is another one.
    assert_eq!(payments.payment_settings(&other).await.unwrap(), None);
    set(&other, "b", &[(2, [7; 20])]).await.unwrap();
    // What is no longer named is free.
    set(&acme, "c", &[(1, [8; 20])]).await.unwrap();
    set(&other, "d", &[(1, [7; 20])]).await.unwrap();
    let all = payments.all_payment_settings().await.unwrap();
    assert_eq!(all, [(acme, "c".to_owned()), (other, "d".to_owned())]);
    let nobody: TenantId = "nobody".parse().unwrap();
    let done = set(&nobody, "e", &[]).await;
    assert!(matches!(done, Err(Error::NotFound { .. })), "{done:?}");
}

#[tokio::test]
async fn effects_of_an_invoice_stand_in_order_and_can_be_done_again() {
    let fresh = fresh().await;
    let payments = fresh.store.payments.as_ref();
    let acme = acme();
    for n in 1..=2 {
        let mut commit = change(&acme, n, 1);
        commit.effects = vec![effect(n, "one"), effect(n + 10, "two")];
        payments.commit_invoice(&commit).await.unwrap();
    }
    let due = payments.due_invoice_effects(i64::MAX, 10).await.unwrap();
    let second = due
        .iter()
        .find(|due| due.effect == effect(12, "two"))
        .unwrap();
    let before = async || {
        let before = payments
            .invoice_effects_before(&acme, &[2; 16], second.number)
            .await;
        before.unwrap()
    };
    assert_eq!(
        before().await,
        [effect(2, "one")],
        "and none of the other invoice"
    );
    assert_eq!(
        payments.invoice_effects_waiting(i64::MAX).await.unwrap().0,
        4
    );
    payments
        .invoice_effect_done(&acme, &[2; 32], 9)
        .await
        .unwrap();
    assert_eq!(before().await, []);
    assert_eq!(
        payments
            .redo_invoice_effects(&acme, &[2; 16], 20)
            .await
            .unwrap(),
        1
    );
    assert_eq!(before().await, [effect(2, "one")]);
    let due = payments.due_invoice_effects(i64::MAX, 10).await.unwrap();
    let again: Vec<_> = due.iter().filter(|one| one.again).collect();
    assert_eq!(again.len(), 1, "{due:?}");
    assert_eq!(again[0].effect, effect(2, "one"));
}

#[tokio::test]
async fn what_is_of_no_invoice_can_be_forgotten_and_what_is_of_one_can_not() {
    let fresh = fresh().await;
    let payments = fresh.store.payments.as_ref();
    let acme = acme();
    let stray = UnmatchedCredit {
        credit: "1:0xab:0".into(),
        body: "{}".into(),
        at_us: 5,
    };
    assert!(payments.put_unmatched(&acme, &stray).await.unwrap());
    assert!(payments.forget_unmatched("1:0xab:0").await.unwrap());
    assert!(!payments.forget_unmatched("1:0xab:0").await.unwrap());
    let mut commit = change(&acme, 1, 1);
    commit.credits = vec!["1:0xab:0".into()];
    payments.commit_invoice(&commit).await.unwrap();
    assert!(!payments.forget_unmatched("1:0xab:0").await.unwrap());
}

#[tokio::test]
async fn what_was_done_goes_once_its_invoice_is_long_over() {
    let fresh = fresh().await;
    let payments = fresh.store.payments.as_ref();
    let acme = acme();
    for n in 1..=2 {
        let mut made = change(&acme, n, 1);
        made.invoice.watched_until_us = 100 * i64::from(n);
        made.effects = vec![effect(n, "a"), effect(10 + n, "b"), effect(20 + n, "c")];
        payments.commit_invoice(&made).await.unwrap();
    }
    for key in [1, 11, 2, 12, 22] {
        let done = payments.invoice_effect_done(&acme, &[key; 32], 50).await;
        assert!(done.unwrap());
    }
    let forget = async |tenant: &TenantId, before_us, limit| {
        let gone = payments.forget_invoice_effects(tenant, before_us, limit);
        gone.await.unwrap()
    };
    assert_eq!(forget(&other(), 1_000, 10).await, 0);
    assert_eq!(forget(&acme, 50, 10).await, 0, "not what is younger");
    assert_eq!(forget(&acme, 100, 10).await, 0, "payments may still come");
    assert_eq!(forget(&acme, 101, 1).await, 1, "in portions");
    assert_eq!(forget(&acme, 101, 10).await, 1);
    // What is still to be done stays, and so does the newest, from which numbers go on.
    assert_eq!(forget(&acme, 1_000, 10).await, 2);
    let due = payments.due_invoice_effects(i64::MAX, 10).await.unwrap();
    let due: Vec<_> = due.iter().map(|due| due.effect.key).collect();
    assert_eq!(due, [[21; 32]]);
    assert_eq!(
        payments
            .redo_invoice_effects(&acme, &[2; 16], 60)
            .await
            .unwrap(),
        1,
        "only what is left can be done again"
    );
}

#[tokio::test]
async fn what_a_transaction_has_brought_is_found_by_its_name() {
    let fresh = fresh().await;
    let payments = fresh.store.payments.as_ref();
    let (acme, other) = (acme(), other());
    let mut paid = change(&acme, 1, 1);
    paid.credits = vec!["1:0xab:3".into(), "1:0xabc:1".into()];
    payments.commit_invoice(&paid).await.unwrap();
    let stray = UnmatchedCredit {
        credit: "1:0xab:2".into(),
        body: "{}".into(),
        at_us: 5,
    };
    assert!(payments.put_unmatched(&acme, &stray).await.unwrap());
    let came = payments.credits_of(&acme, "1:0xab", 9).await.unwrap();
    assert_eq!(came, [None, Some([1; 16])]);
    let first = payments.credits_of(&acme, "1:0xab", 1).await.unwrap();
    assert_eq!(first, [None]);
    for (tenant, of) in [(&acme, "1:0xa"), (&acme, "11:0xab"), (&other, "1:0xab")] {
        let came = payments.credits_of(tenant, of, 9).await.unwrap();
        assert!(came.is_empty(), "{tenant} {of}: {came:?}");
    }
}
