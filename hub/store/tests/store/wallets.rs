//! Wallets: roles that are given and taken back, nonces that are used once, sessions without a tenant.

use stencil_store::{
    Erased, Error, InvoiceCommit, MAX_ALL_WALLET_SESSIONS, MAX_NETWORK_NONCES,
    MAX_NETWORK_WALLET_SESSIONS, MAX_NONCES, MAX_SESSIONS, MAX_WALLET_SESSIONS, NONCE_STAYS_US,
    NewNonce, Opener, Role, Store, StoredInvoice, Wallets,
};

use crate::{acme, fresh, other};

const ANN: [u8; 20] = [7; 20];
const BEN: [u8; 20] = [8; 20];
const IDLE: i64 = 1_000_000_000;
const END: i64 = 10_000_000_000;

fn nonce<'n>(nonce: &'n str, network: &'n str, now_us: i64) -> NewNonce<'n> {
    NewNonce {
        nonce,
        network,
        body: "{}",
        now_us,
        expires_us: now_us + 100,
    }
}

#[tokio::test]
async fn a_role_is_given_changed_and_taken_back() {
    let fresh = fresh().await;
    let (port, users) = (&fresh.store.wallets, &fresh.store.users);
    let (acme, other) = (acme(), other());
    let granted = port
        .grant_wallet(&acme, &ANN, Role::Viewer, None, Some("ann"), 5)
        .await
        .unwrap();
    assert!(granted.is_new && granted.ended.is_empty());
    assert_eq!(port.wallet(&other, &ANN).await.unwrap(), None);
    let opener = Opener::Wallet(ANN);
    let open = async || {
        users
            .open_session(&acme, &opener, Some("::1"), END, 6)
            .await
            .unwrap()
    };
    let (session, secret, _) = open().await;
    assert_eq!(
        session.wallet.as_deref(),
        Some(&*format!("0x{}", "07".repeat(20)))
    );
    let owner = users
        .verify_session(secret.reveal(), IDLE, 7)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((&owner.opener, owner.role), (&opener, Role::Viewer));
    assert_eq!(users.sessions(&acme, &opener, 7).await.unwrap().len(), 1);
    assert!(
        users
            .sessions(&acme, &Opener::Wallet(BEN), 7)
            .await
            .unwrap()
            .is_empty()
    );
    let signed_in = port
        .wallet(&acme, &ANN)
        .await
        .unwrap()
        .unwrap()
        .signed_in_us;
    assert_eq!(signed_in, Some(6));

    // The same role ends nothing, and leaves the name as it is.
    let same = port
        .grant_wallet(&acme, &ANN, Role::Viewer, None, None, 8)
        .await
        .unwrap();
    assert_eq!((same.is_new, same.ended.len()), (false, 0));
    assert_eq!(same.wallet.name.as_deref(), Some("ann"));
    let changed = port
        .grant_wallet(&acme, &ANN, Role::Admin, None, Some("Ann"), 8)
        .await
        .unwrap();
    assert_eq!(changed.ended, [session.id]);
    assert_eq!(
        users
            .verify_session(secret.reveal(), IDLE, 9)
            .await
            .unwrap(),
        None
    );
    let (session, secret, _) = open().await;
    port.grant_wallet(&other, &ANN, Role::Viewer, None, None, 8)
        .await
        .unwrap();
    let roles = port.roles_of_wallet(&ANN, None).await.unwrap();
    assert_eq!(
        roles,
        [(acme.clone(), Role::Admin), (other.clone(), Role::Viewer)]
    );

    assert_eq!(port.revoke_wallet(&acme, &BEN).await.unwrap(), None);
    assert_eq!(
        port.revoke_wallet(&acme, &ANN).await.unwrap(),
        Some(vec![session.id])
    );
    assert_eq!(port.revoke_wallet(&acme, &ANN).await.unwrap(), None);
    assert_eq!(
        users
            .verify_session(secret.reveal(), IDLE, 9)
            .await
            .unwrap(),
        None
    );
    let refused = users
        .open_session(&acme, &opener, None, END, 9)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, Error::NotFound { what: "wallet", .. }),
        "{refused}"
    );
    assert_eq!(
        port.roles_of_wallet(&ANN, None).await.unwrap(),
        [(other, Role::Viewer)]
    );
}

#[tokio::test]
async fn wallets_are_listed_by_address_and_have_few_sessions() {
    let fresh = fresh().await;
    let (port, acme) = (&fresh.store.wallets, acme());
    for wallet in [BEN, ANN, [9; 20]] {
        port.grant_wallet(&acme, &wallet, Role::Viewer, None, None, 5)
            .await
            .unwrap();
    }
    let first = port.wallets(&acme, None, 2).await.unwrap();
    let rest = port.wallets(&acme, first.next.as_deref(), 2).await.unwrap();
    let all: Vec<_> = first
        .items
        .iter()
        .chain(&rest.items)
        .map(|it| it.address)
        .collect();
    assert_eq!(all, [ANN, BEN, [9; 20]]);
    assert_eq!(rest.next, None);
    assert!(port.wallets(&acme, Some("no cursor"), 2).await.is_err());
    for wrong in ["", " ", "a\nb", &"x".repeat(65)] {
        let refused = port
            .grant_wallet(&acme, &ANN, Role::Viewer, None, Some(wrong), 5)
            .await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{wrong:?}");
    }
    let users = &fresh.store.users;
    let ann = Opener::Wallet(ANN);
    for n in 0..MAX_SESSIONS {
        let opened = users.open_session(&acme, &ann, None, END, i64::from(n));
        assert!(opened.await.unwrap().2.is_empty());
    }
    let others = users
        .open_session(&acme, &Opener::Wallet(BEN), None, END, 99)
        .await
        .unwrap();
    assert!(others.2.is_empty(), "another's do not count");
    let (_, _, ended) = users
        .open_session(&acme, &Opener::Wallet(ANN), None, END, 100)
        .await
        .unwrap();
    assert_eq!(ended.len(), 1);
}

#[tokio::test]
async fn a_nonce_is_used_once_and_within_its_time() {
    let fresh = fresh().await;
    let port = &fresh.store.wallets;
    port.give_nonce(&nonce("a", "::1", 5)).await.unwrap();
    assert_eq!(port.use_nonce("b", 6).await.unwrap(), None);
    assert_eq!(
        port.use_nonce("a", 6).await.unwrap(),
        Some(("{}".to_owned(), 5))
    );
    assert_eq!(port.use_nonce("a", 6).await.unwrap(), None);
    port.give_nonce(&nonce("c", "::1", 5)).await.unwrap();
    assert_eq!(port.use_nonce("c", 105).await.unwrap(), None, "it is over");
    // Of two at once one alone has it.
    port.give_nonce(&nonce("d", "::1", 5)).await.unwrap();
    let (one, two) = tokio::join!(port.use_nonce("d", 6), port.use_nonce("d", 6));
    assert_eq!([one.unwrap(), two.unwrap()].iter().flatten().count(), 1);
}

#[tokio::test]
async fn nonces_are_bounded_by_network_and_none_goes_before_it_can_be_read() {
    let fresh = fresh().await;
    let port = &fresh.store.wallets;
    let long = |name: &'static str, network, now_us| NewNonce {
        expires_us: now_us + 5 * NONCE_STAYS_US,
        ..nonce(name, network, now_us)
    };
    port.give_nonce(&long("theirs", "::2", 1)).await.unwrap();
    port.give_nonce(&long("first", "::1", 2)).await.unwrap();
    for n in 1..MAX_NETWORK_NONCES {
        let name = format!("n{n}");
        let one = NewNonce {
            nonce: &name,
            ..long("", "::1", 2 + i64::from(n))
        };
        assert_eq!(port.give_nonce(&one).await.unwrap(), None);
    }
    // With one more none is pushed out that was given within a minute.
    let full = port.give_nonce(&long("late", "::1", 90)).await.unwrap();
    assert_eq!(full, Some(2 + NONCE_STAYS_US));
    assert_eq!(port.use_nonce("late", 91).await.unwrap(), None);
    let elsewhere = port.give_nonce(&long("other", "::3", 90)).await.unwrap();
    assert_eq!(elsewhere, None);
    let later = 2 + NONCE_STAYS_US;
    let given = port.give_nonce(&long("later", "::1", later)).await.unwrap();
    assert_eq!(given, None);
    assert_eq!(
        port.use_nonce("first", later).await.unwrap(),
        None,
        "the oldest of the network went"
    );
    assert!(port.use_nonce("n1", later).await.unwrap().is_some());
    assert!(port.use_nonce("theirs", later).await.unwrap().is_some());
    // One that was used leaves room.
    let given = port.give_nonce(&long("again", "::1", later)).await.unwrap();
    assert_eq!(given, None);
    // What is over makes room, and goes by itself.
    let over = later + 5 * NONCE_STAYS_US;
    port.give_nonce(&nonce("last", "::1", over)).await.unwrap();
    assert_eq!(port.forget_expired_wallets(IDLE, over).await.unwrap(), 0);
    let forgotten = port.forget_expired_wallets(IDLE, over + 100).await;
    assert_eq!(forgotten.unwrap(), 1);
    const { assert!(MAX_NONCES >= 100 * MAX_NETWORK_NONCES) };
}

#[tokio::test]
async fn a_role_of_a_contract_is_for_one_chain() {
    let fresh = fresh().await;
    let (port, users) = (&fresh.store.wallets, &fresh.store.users);
    let (acme, other) = (acme(), other());
    let grant = async |tenant, chain| {
        let granted = port.grant_wallet(tenant, &ANN, Role::Admin, chain, None, 5);
        granted.await.unwrap()
    };
    assert_eq!(grant(&acme, Some(1)).await.wallet.chain, Some(1));
    assert_eq!(grant(&other, None).await.wallet.chain, None);
    let roles = async |chain| port.roles_of_wallet(&ANN, chain).await.unwrap();
    assert_eq!(roles(Some(1)).await, [(acme.clone(), Role::Admin)]);
    assert_eq!(roles(Some(2)).await, []);
    assert_eq!(roles(None).await.len(), 2, "by its own key it has both");
    // What is not said stays; another chain signs it out.
    let opened = users.open_session(&acme, &Opener::Wallet(ANN), None, END, 6);
    let (session, ..) = opened.await.unwrap();
    let same = grant(&acme, None).await;
    assert_eq!((same.wallet.chain, same.ended.len()), (Some(1), 0));
    let moved = grant(&acme, Some(2)).await;
    assert_eq!(
        (moved.wallet.chain, moved.ended),
        (Some(2), vec![session.id])
    );
    assert_eq!(port.wallet(&acme, &ANN).await.unwrap(), Some(moved.wallet));
}

#[tokio::test]
async fn sessions_without_a_tenant_are_few_and_end() {
    let fresh = fresh().await;
    let port = &fresh.store.wallets;
    let open = async |wallet, now_us| {
        let opened = port.open_wallet_session(&wallet, Some(8453), Some("::1"), END, now_us);
        opened.await.unwrap()
    };
    let (session, secret) = open(ANN, 5).await;
    let verify = async |secret: &str, now_us| {
        port.verify_wallet_session(secret, IDLE, now_us)
            .await
            .unwrap()
    };
    let owner = verify(secret.reveal(), 6).await.unwrap();
    assert_eq!((owner.wallet, &owner.session), (ANN, &session.id));
    assert_eq!(owner.chain, Some(8453));
    assert_eq!(verify("stencil_wallet_no", 6).await, None);
    assert_eq!(verify(secret.reveal(), END).await, None, "it has ended");
    assert_eq!(
        verify(secret.reveal(), IDLE + 5).await,
        None,
        "it was not used"
    );
    // A secret of one kind is none of the other.
    let users = &fresh.store.users;
    assert_eq!(
        users
            .verify_session(secret.reveal(), IDLE, 6)
            .await
            .unwrap(),
        None
    );
    for n in 0..i64::from(MAX_WALLET_SESSIONS) {
        open(ANN, 10 + n).await;
    }
    assert_eq!(
        verify(secret.reveal(), 30).await,
        None,
        "the one that was seen longest ago"
    );
    let (session, secret) = open(BEN, 40).await;
    assert!(port.end_wallet_session(&session.id).await.unwrap());
    assert!(!port.end_wallet_session(&session.id).await.unwrap());
    assert_eq!(verify(secret.reveal(), 41).await, None);
    let forgotten = port.forget_expired_wallets(IDLE, END).await.unwrap();
    assert_eq!(forgotten, u64::from(MAX_WALLET_SESSIONS));
}

/// An invoice of acme's that these have paid.
async fn pays(store: &Store, n: u8, payers: Vec<[u8; 20]>) {
    let invoice = StoredInvoice {
        tenant: acme(),
        invoice: [n; 16],
        version: 1,
        state: "seen".into(),
        body: "{}".into(),
        wakes_us: None,
        watched_until_us: 9,
        created_us: i64::from(n),
        changed_us: 5,
    };
    let commit = InvoiceCommit {
        invoice,
        is_undone: false,
        payers,
        credits: Vec::new(),
        entries: Vec::new(),
        effects: Vec::new(),
        refunds: Vec::new(),
    };
    store.payments.commit_invoice(&commit).await.unwrap();
}

#[tokio::test]
async fn who_has_paid_is_noted_and_goes_with_the_tenant() {
    let fresh = fresh().await;
    let (store, acme) = (&fresh.store, acme());
    for (n, payers) in [(1, vec![ANN]), (2, vec![BEN, ANN]), (3, vec![])] {
        pays(store, n, payers).await;
    }
    let port: &dyn Wallets = store.wallets.as_ref();
    let first = port.paid_by(&ANN, None, 1).await.unwrap();
    assert_eq!(first.items[0].invoice, [2; 16]);
    let rest = port.paid_by(&ANN, first.next.as_deref(), 1).await.unwrap();
    assert_eq!((rest.items[0].invoice, rest.next), ([1; 16], None));
    assert_eq!(port.paid_by(&BEN, None, 9).await.unwrap().items.len(), 1);
    port.grant_wallet(&acme, &ANN, Role::Viewer, None, None, 5)
        .await
        .unwrap();
    store.keeping.erase(7, &Erased::Tenant(acme)).await.unwrap();
    assert_eq!(port.paid_by(&ANN, None, 9).await.unwrap().items, []);
    assert_eq!(port.roles_of_wallet(&ANN, None).await.unwrap(), []);
}

#[tokio::test]
async fn one_network_pushes_out_its_own_sessions_only() {
    let fresh = fresh().await;
    let port = &fresh.store.wallets;
    let open = async |wallet: [u8; 20], network: &str, now_us| {
        let opened = port.open_wallet_session(&wallet, None, Some(network), END, now_us);
        opened.await.unwrap().1
    };
    let is_open = async |secret: &stencil_store::Secret| {
        let verified = port.verify_wallet_session(secret.reveal(), IDLE, 10_000);
        verified.await.unwrap().is_some()
    };
    // Longest ago, and so the first to go if all were counted together.
    let ann = open(ANN, "192.0.2.1", 1).await;
    let account = |n: u32| {
        let mut account = [9; 20];
        account[..4].copy_from_slice(&n.to_be_bytes());
        account
    };
    let first = open(account(0), "192.0.2.2", 2).await;
    let second = open(account(1), "192.0.2.2", 3).await;
    for n in 2..MAX_NETWORK_WALLET_SESSIONS {
        open(account(n), "192.0.2.2", 4).await;
    }
    assert!(is_open(&first).await && is_open(&second).await);
    open(account(MAX_NETWORK_WALLET_SESSIONS), "192.0.2.2", 5).await;
    let open = (is_open(&first).await, is_open(&second).await);
    assert_eq!(open, (false, true), "the oldest of the network makes way");
    assert!(is_open(&ann).await);
    const { assert!(MAX_ALL_WALLET_SESSIONS >= 50 * MAX_NETWORK_WALLET_SESSIONS) };
}

#[tokio::test]
async fn accounts_that_cost_nothing_do_not_push_out_who_has_paid() {
    let fresh = fresh().await;
    let port = &fresh.store.wallets;
    pays(&fresh.store, 1, vec![ANN]).await;
    let open = async |wallet: [u8; 20], now_us| {
        let opened = port.open_wallet_session(&wallet, None, Some("192.0.2.1"), END, now_us);
        opened.await.unwrap().1
    };
    let is_open = async |secret: &stencil_store::Secret| {
        let verified = port.verify_wallet_session(secret.reveal(), IDLE, 10_000);
        verified.await.unwrap().is_some()
    };
    let ann = open(ANN, 1).await;
    let ben = open(BEN, 2).await;
    for n in 2..=MAX_NETWORK_WALLET_SESSIONS {
        let mut account = [9; 20];
        account[..4].copy_from_slice(&n.to_be_bytes());
        open(account, 3).await;
    }
    assert_eq!((is_open(&ann).await, is_open(&ben).await), (true, false));
}
