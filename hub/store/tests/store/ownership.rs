//! Policies, passports, rights and documents.

use stencil_protocol::command::State;
use stencil_protocol::id::{GatewayId, TenantId};
use stencil_store::{
    Anew, AuditFilter, AuditOutcome, ByToken, CutShort, DevicePassport, Document, Error, Followed,
    HeldCommit, HeldDevice, HeldToken, MAX_DOCUMENT, MAX_HELD_COMMANDS, Marked, NewAudit,
    NewCommand, Queued, StoredOwnership,
};

use crate::{Fresh, acme, command, device, fresh, other};

const OWNER: [u8; 20] = [1; 20];
const GUEST: [u8; 20] = [2; 20];
const PASSPORTS: [u8; 20] = [8; 20];
const RIGHTS: [u8; 20] = [9; 20];
const DOOR: [u8; 32] = [0xd0; 32];

async fn with_chain() -> Fresh {
    let fresh = fresh().await;
    fresh.store.chains.open_chain("local", 1, 1).await.unwrap();
    fresh
}

fn policy(tenant: TenantId) -> StoredOwnership {
    StoredOwnership {
        tenant,
        chain: "local".to_owned(),
        body: "{}".to_owned(),
        changed_us: 5,
    }
}

fn passport(tenant: TenantId, id: &str, token: [u8; 32]) -> DevicePassport {
    DevicePassport {
        tenant,
        device: device(id),
        token,
        did: Some("did:web:x".to_owned()),
        created_us: 6,
    }
}

fn token(tenant: TenantId, collection: [u8; 20], token: [u8; 32], version: u64) -> HeldToken {
    HeldToken {
        tenant,
        chain: "local".to_owned(),
        collection,
        token,
        version,
        body: format!("{{\"version\":{version}}}"),
        holder: Some(OWNER),
        passport: None,
        ends_s: None,
        looked: None,
        changed_us: 7,
    }
}

fn right(number: u8, holder: [u8; 20]) -> HeldToken {
    HeldToken {
        holder: Some(holder),
        passport: Some(DOOR),
        ..token(acme(), RIGHTS, [number; 32], 1)
    }
}

fn commit(tokens: Vec<HeldToken>) -> HeldCommit {
    HeldCommit {
        tokens,
        ..HeldCommit::default()
    }
}

#[tokio::test]
async fn a_policy_is_one_a_tenant_and_ends() {
    let fresh = with_chain().await;
    let port = &fresh.store.ownership;
    assert_eq!(port.ownership(&acme()).await.unwrap(), None);
    port.put_ownership(&policy(acme()), &Anew::default())
        .await
        .unwrap();
    let mut changed = policy(acme());
    changed.body = "{\"a\":1}".to_owned();
    // Who changes it has to have seen what it is.
    let anew = Anew::default();
    let error = port.put_ownership(&changed, &anew).await.unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error}");
    let anew = Anew {
        before: Some(policy(acme()).body),
        ..anew
    };
    port.put_ownership(&changed, &anew).await.unwrap();
    assert_eq!(
        port.ownership(&acme()).await.unwrap(),
        Some(changed.clone())
    );
    assert_eq!(port.ownership(&other()).await.unwrap(), None);
    assert_eq!(port.all_ownership().await.unwrap(), [changed]);
    assert!(port.remove_ownership(&acme(), 9).await.unwrap());
    assert!(!port.remove_ownership(&acme(), 9).await.unwrap());
    let nobody = policy(TenantId::parse("nobody").unwrap());
    let error = port
        .put_ownership(&nobody, &Anew::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn a_passport_is_of_one_device_of_a_tenant() {
    let fresh = with_chain().await;
    let port = &fresh.store.ownership;
    let door = passport(acme(), "door-1", DOOR);
    port.put_device_passport(&door).await.unwrap();
    let error = port
        .put_device_passport(&passport(acme(), "door-2", DOOR))
        .await;
    assert!(error.unwrap_err().to_string().contains("door-1"));
    // Another tenant may say so, too: what its devices are is its own matter.
    port.put_device_passport(&passport(other(), "door-2", DOOR))
        .await
        .unwrap();
    assert_eq!(
        port.device_passport(&acme(), &device("door-1"))
            .await
            .unwrap(),
        Some(door)
    );
    assert_eq!(
        port.device_passport(&acme(), &device("door-2"))
            .await
            .unwrap(),
        None
    );
    let moved = passport(acme(), "door-1", [7; 32]);
    port.put_device_passport(&moved).await.unwrap();
    port.put_device_passport(&passport(acme(), "door-2", DOOR))
        .await
        .unwrap();
    assert!(
        port.remove_device_passport(&acme(), &device("door-2"), 9)
            .await
            .unwrap()
    );
    assert!(
        !port
            .remove_device_passport(&acme(), &device("door-2"), 9)
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn a_change_follows_the_one_before_with_the_reader_s_position_or_not_at_all() {
    let fresh = with_chain().await;
    let port = &fresh.store.ownership;
    let first = token(acme(), PASSPORTS, DOOR, 1);
    // The stream has no such entry.
    let beyond = HeldCommit {
        tokens: vec![first.clone()],
        passport: None,
        read: Some(("local".to_owned(), "ownership".to_owned(), 1)),
    };
    port.commit_held(&beyond).await.unwrap_err();
    assert_eq!(
        port.held_token(&acme(), "local", &PASSPORTS, &DOOR)
            .await
            .unwrap(),
        None
    );
    assert_eq!(
        port.commit_held(&commit(vec![first.clone()]))
            .await
            .unwrap(),
        0
    );
    for (wrong, name) in [(1, "again"), (3, "too far")] {
        let wrong = commit(vec![token(acme(), PASSPORTS, DOOR, wrong)]);
        let error = port.commit_held(&wrong).await.unwrap_err();
        assert!(matches!(error, Error::Conflict(_)), "{name}: {error}");
    }
    // One of two that does not follow takes the other with it.
    let two = commit(vec![
        token(acme(), PASSPORTS, DOOR, 2),
        token(acme(), PASSPORTS, [1; 32], 2),
    ]);
    port.commit_held(&two).await.unwrap_err();
    let kept = port
        .held_token(&acme(), "local", &PASSPORTS, &DOOR)
        .await
        .unwrap();
    assert_eq!(kept, Some(first));
    let second = token(acme(), PASSPORTS, DOOR, 2);
    port.commit_held(&commit(vec![second.clone()]))
        .await
        .unwrap();
    let kept = port
        .held_token(&acme(), "local", &PASSPORTS, &DOOR)
        .await
        .unwrap();
    assert_eq!(kept, Some(second));
    assert_eq!(
        port.held_token(&other(), "local", &PASSPORTS, &DOOR)
            .await
            .unwrap(),
        None
    );
}

#[tokio::test]
async fn devices_are_found_by_who_holds_their_passport_or_a_right() {
    let fresh = with_chain().await;
    let port = &fresh.store.ownership;
    let held = |account: [u8; 20]| async move {
        let page = port.devices_held(&account, None, 10).await.unwrap();
        page.items
    };
    let tokens = vec![
        token(acme(), PASSPORTS, DOOR, 1),
        right(1, GUEST),
        right(2, GUEST),
    ];
    port.commit_held(&commit(tokens)).await.unwrap();
    assert_eq!(held(OWNER).await, [], "no device has this passport");
    port.put_device_passport(&passport(acme(), "door-1", DOOR))
        .await
        .unwrap();
    assert_eq!(held(OWNER).await, [], "the tenant has no policy");
    port.put_ownership(&policy(acme()), &Anew::default())
        .await
        .unwrap();
    let door = HeldDevice {
        tenant: acme(),
        device: device("door-1"),
    };
    assert_eq!(held(OWNER).await, std::slice::from_ref(&door));
    assert_eq!(held(GUEST).await, [door], "once, by two rights");
    assert_eq!(held([3; 20]).await, []);
    let page = port
        .devices_held(&OWNER, Some("acme:door-1"), 10)
        .await
        .unwrap();
    assert_eq!(page.items, []);

    let rights = |holder| async move {
        let rights = port
            .rights_to(&acme(), "local", &RIGHTS, &DOOR, holder, 50, 10)
            .await;
        rights.unwrap().len()
    };
    assert_eq!(rights(Some(&GUEST)).await, 2);
    assert_eq!(rights(Some(&OWNER)).await, 0);
    assert_eq!(rights(None).await, 2);
    let of = |holder: [u8; 20]| async move {
        let rights = port
            .rights_of(&acme(), "local", &RIGHTS, &holder, 50, 10)
            .await;
        let rights = rights.unwrap().into_iter();
        rights
            .map(|(device, held)| (device.to_string(), held.token[31]))
            .collect::<Vec<_>>()
    };
    let door = |number| ("door-1".to_owned(), number);
    assert_eq!(of(GUEST).await, [door(2), door(1)]);
    assert_eq!(of(OWNER).await, [], "a passport is no right");
    port.remove_device_passport(&acme(), &device("door-1"), 9)
        .await
        .unwrap();
    assert_eq!(of(GUEST).await, [], "no device has this passport");
}

#[tokio::test]
async fn what_was_asked_of_a_contract_is_asked_again_when_that_is_final() {
    let fresh = with_chain().await;
    let port = &fresh.store.ownership;
    let mut asked = token(acme(), PASSPORTS, DOOR, 1);
    asked.looked = Some(9);
    port.commit_held(&commit(vec![asked.clone()]))
        .await
        .unwrap();
    assert_eq!(
        port.looked_tokens(&acme(), "local", 8, 10).await.unwrap(),
        []
    );
    assert_eq!(
        port.looked_tokens(&acme(), "local", 9, 10).await.unwrap(),
        [asked]
    );
    assert_eq!(
        port.looked_tokens(&acme(), "another", 9, 10).await.unwrap(),
        []
    );
    assert_eq!(
        port.looked_tokens(&other(), "local", 9, 10).await.unwrap(),
        []
    );
}

#[tokio::test]
async fn a_document_is_found_by_its_hash_and_stays_a_tenant_s() {
    let fresh = with_chain().await;
    let port = &fresh.store.ownership;
    let document = Document {
        media_type: "application/json".to_owned(),
        body: b"{}".to_vec(),
    };
    let (is_new, kept) = port
        .put_document(&acme(), &[1; 32], &document, 5)
        .await
        .unwrap();
    assert_eq!((is_new, kept.created_us, kept.bytes), (true, 5, 2));
    let again = port.put_document(&acme(), &[1; 32], &document, 6).await;
    assert_eq!(again.unwrap(), (false, kept), "what came first");
    let theirs = port.put_document(&other(), &[1; 32], &document, 5).await;
    assert!(theirs.unwrap().0);
    assert_eq!(
        port.document(&[1; 32]).await.unwrap(),
        Some(document.clone())
    );
    assert_eq!(port.document(&[2; 32]).await.unwrap(), None);
    let listed = port.documents(&acme(), None, 10).await.unwrap().items;
    assert_eq!((listed.len(), listed[0].bytes), (1, 2));
    assert!(port.remove_document(&acme(), &[1; 32]).await.unwrap());
    assert!(!port.remove_document(&acme(), &[1; 32]).await.unwrap());
    assert!(
        port.document(&[1; 32]).await.unwrap().is_some(),
        "the other tenant's"
    );
    let long = Document {
        body: vec![0; MAX_DOCUMENT + 1],
        ..document
    };
    let error = port
        .put_document(&acme(), &[3; 32], &long, 5)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
}

/// What was over before its token was sold has not ended by that, and what a gateway has is not cut short.
#[tokio::test]
async fn a_sale_is_no_reason_for_what_was_over_before_it_or_was_sent() {
    let fresh = with_chain().await;
    let (port, commands) = (&fresh.store.ownership, &fresh.store.commands);
    let by = by_passport();
    let owned = |version, holder, changed_us| HeldToken {
        holder: Some(holder),
        changed_us,
        ..token(acme(), PASSPORTS, DOOR, version)
    };
    controlled(port.as_ref()).await;
    let of_owner = commit(vec![owned(1, OWNER, 1)]);
    port.commit_held(&of_owner).await.unwrap();
    for (n, expires_us) in [(1, 50), (2, 1_000), (3, 1_000)] {
        let (mut new, entry) = unlock(n);
        new.expires_us = expires_us;
        let queued = commands.queue_held(&new, &by, &entry, 100, 2).await;
        assert_eq!(queued.unwrap(), Queued::New);
    }
    let gw: GatewayId = "gw-1".parse().unwrap();
    let mark = async |n: u8, now_us| {
        let marked = commands.mark_sent(&acme(), &command(n), &gw, now_us).await;
        marked.unwrap()
    };
    assert_eq!(mark(2, 3).await, Marked::First);
    let of_guest = commit(vec![owned(2, GUEST, 60)]);
    port.commit_held(&of_guest).await.unwrap();
    let ended = async |n: u8| {
        let stored = commands.get(&acme(), &command(n)).await.unwrap().unwrap();
        let words = stored.reason.map(|reason| reason.words().to_owned());
        assert_eq!(stored.detail, words);
        (stored.expires_us, stored.reason)
    };
    assert_eq!(ended(1).await, (50, None));
    assert_eq!(ended(2).await, (1_000, None));
    assert_eq!(ended(3).await, (60, Some(CutShort::Sold)));
    // Who hands it over may have read the clock, and that it was due, before the sale was known.
    for now_us in [59, 60, 61] {
        assert_eq!(mark(3, now_us).await, Marked::NotDue);
        assert_eq!(ended(3).await, (60, Some(CutShort::Sold)));
    }
    // The one that was sent before is its gateway's and its device's to answer for.
    assert_eq!(mark(2, 61).await, Marked::Again);
}

/// It was asked for by what was allowed before.
#[tokio::test]
async fn what_holders_have_queued_ends_with_what_they_may() {
    let fresh = with_chain().await;
    let (port, commands) = (&fresh.store.ownership, &fresh.store.commands);
    let by = by_passport();
    let queue = async |n: u8, by: &ByToken| {
        let (new, entry) = unlock(n);
        let queued = commands.queue_held(&new, by, &entry, 100, 2).await;
        assert_eq!(queued.unwrap(), Queued::New);
    };
    let ended = async |n: u8| {
        let stored = commands.get(&acme(), &command(n)).await.unwrap().unwrap();
        let words = stored.reason.map(|reason| reason.words().to_owned());
        assert_eq!(stored.detail, words);
        (stored.expires_us, stored.reason)
    };
    let not_allowed = |at_us: i64| (at_us, Some(CutShort::NotAllowed));
    let (before, has) = (policy(acme()), passport(acme(), "door-1", DOOR));
    controlled(port.as_ref()).await;
    let owned = token(acme(), PASSPORTS, DOOR, 1);
    port.commit_held(&commit(vec![owned])).await.unwrap();
    queue(1, &by).await;
    // The same again changes nothing, nor does what is another device's.
    let anew = Anew {
        before: Some(before.body.clone()),
        ..Anew::default()
    };
    port.put_ownership(&before, &anew).await.unwrap();
    port.put_device_passport(&has).await.unwrap();
    let others = passport(acme(), "door-2", [2; 32]);
    port.put_device_passport(&others).await.unwrap();
    let takes = async |id: &str, at_us: i64| {
        let (tenant, device) = (acme(), device(id));
        let taken = port.remove_device_passport(&tenant, &device, at_us);
        assert!(taken.await.unwrap());
    };
    takes("door-2", 9).await;
    assert_eq!(ended(1).await, (1_000, None));

    let changed = StoredOwnership {
        body: "{\"a\":1}".to_owned(),
        changed_us: 20,
        ..before
    };
    port.put_ownership(&changed, &anew).await.unwrap();
    assert_eq!(ended(1).await, not_allowed(20));
    let by = ByToken {
        policy: changed.body.clone(),
        ..by
    };
    queue(2, &by).await;
    let another = DevicePassport {
        created_us: 30,
        ..passport(acme(), "door-1", [7; 32])
    };
    port.put_device_passport(&another).await.unwrap();
    assert_eq!(ended(2).await, not_allowed(30));
    let by = ByToken {
        passport: another.token,
        ..by
    };
    queue(3, &by).await;
    takes("door-1", 40).await;
    assert_eq!(ended(3).await, not_allowed(40));
    port.put_device_passport(&another).await.unwrap();
    queue(4, &by).await;
    assert!(port.remove_ownership(&acme(), 50).await.unwrap());
    assert_eq!(ended(4).await, not_allowed(50));
}

/// By the passport of the door's owner, as [`controlled`] lets it.
fn by_passport() -> ByToken {
    ByToken {
        account: OWNER,
        collection: PASSPORTS,
        token: DOOR,
        passport: DOOR,
        policy: policy(acme()).body,
    }
}

/// Lets holders of tokens control the door, of which one is the passport.
async fn controlled(port: &dyn stencil_store::Ownership) {
    port.put_ownership(&policy(acme()), &Anew::default())
        .await
        .unwrap();
    let passport = passport(acme(), "door-1", DOOR);
    port.put_device_passport(&passport).await.unwrap();
}

/// What is found out before it is queued may be otherwise by then: what ends a holder's commands ends none that
/// is queued after it.
#[tokio::test]
async fn nothing_is_queued_by_what_an_account_held_or_was_let_do_before() {
    let fresh = with_chain().await;
    let (port, commands) = (&fresh.store.ownership, &fresh.store.commands);
    controlled(port.as_ref()).await;
    let owned = |version, holder| HeldToken {
        holder,
        ..token(acme(), PASSPORTS, DOOR, version)
    };
    let hold = async |version, holder| {
        let held = commit(vec![owned(version, holder)]);
        port.commit_held(&held).await.unwrap();
    };
    hold(1, Some(OWNER)).await;
    let queue = async |n: u8, by: &ByToken| {
        let (new, entry) = unlock(n);
        let queued = commands.queue_held(&new, by, &entry, 100, 2).await;
        queued.unwrap()
    };
    let by = by_passport();
    assert_eq!(queue(1, &by).await, Queued::New);
    // Each is what was so when it was looked at.
    for other in [
        ByToken {
            account: GUEST,
            ..by.clone()
        },
        ByToken {
            token: [2; 32],
            ..by.clone()
        },
        ByToken {
            collection: RIGHTS,
            ..by.clone()
        },
        ByToken {
            passport: [7; 32],
            ..by.clone()
        },
        ByToken {
            policy: "{\"a\":1}".to_owned(),
            ..by.clone()
        },
    ] {
        assert_eq!(queue(2, &other).await, Queued::Changed, "{other:?}");
    }
    // Sold, burnt, and back; the passport taken; the policy.
    for (version, holder, queued) in [
        (2, Some(GUEST), Queued::Changed),
        (3, None, Queued::Changed),
        (4, Some(OWNER), Queued::New),
    ] {
        hold(version, holder).await;
        assert_eq!(queue(2, &by).await, queued);
    }
    let (tenant, door) = (acme(), device("door-1"));
    let taken = port.remove_device_passport(&tenant, &door, 3).await;
    assert!(taken.unwrap());
    assert_eq!(queue(3, &by).await, Queued::Changed);
    let passport = passport(acme(), "door-1", DOOR);
    port.put_device_passport(&passport).await.unwrap();
    assert_eq!(queue(3, &by).await, Queued::New);
    assert!(port.remove_ownership(&acme(), 4).await.unwrap());
    assert_eq!(queue(4, &by).await, Queued::Changed);
    // Nothing of it is left; and what was queued before is known, whatever is so by now.
    assert_eq!(commands.get(&acme(), &command(4)).await.unwrap(), None);
    assert_eq!(queue(1, &by).await, Queued::Known);
    let audit = &fresh.store.audit;
    let entries = audit
        .entries(&acme(), &AuditFilter::default(), None, 100)
        .await;
    assert_eq!(entries.unwrap().items.len(), 3, "one a command");
}

/// A command of a holder's, and its entry in the audit log.
fn unlock(n: u8) -> (NewCommand, NewAudit) {
    let new = NewCommand {
        id: command(n),
        tenant: acme(),
        device: device("door-1"),
        name: "unlock".into(),
        argument: None,
        expires_us: 1_000,
        effect_key: None,
    };
    let entry = NewAudit {
        at_us: 1,
        who: "wallet 0x01".to_owned(),
        action: "holders.command".to_owned(),
        target: None,
        outcome: AuditOutcome::Done,
        detail: None,
        address: None,
    };
    (new, entry)
}

#[tokio::test]
async fn what_a_former_holder_has_queued_is_done_no_more() {
    let fresh = with_chain().await;
    let (port, commands) = (&fresh.store.ownership, &fresh.store.commands);
    let by = by_passport();
    let owned = |version, holder, changed_us| HeldToken {
        holder: Some(holder),
        changed_us,
        ..token(acme(), PASSPORTS, DOOR, version)
    };
    controlled(port.as_ref()).await;
    port.commit_held(&commit(vec![owned(1, OWNER, 1)]))
        .await
        .unwrap();
    let queue = async |n: u8, by: &ByToken, now_us| {
        let (new, entry) = unlock(n);
        commands
            .queue_held(&new, by, &entry, 100, now_us)
            .await
            .unwrap()
    };
    let most = u8::try_from(MAX_HELD_COMMANDS).unwrap();
    for n in 0..most {
        assert_eq!(queue(n, &by, 2).await, Queued::New);
    }
    assert_eq!(queue(0, &by, 2).await, Queued::Known);
    assert_eq!(queue(most, &by, 2).await, Queued::TooMany);
    assert_eq!(commands.get(&acme(), &command(most)).await.unwrap(), None);
    let audit = fresh
        .store
        .audit
        .entries(&acme(), &AuditFilter::default(), None, 100)
        .await;
    assert_eq!(
        audit.unwrap().items.len(),
        usize::from(most),
        "one a command"
    );
    // One of the tenant's own.
    commands.queue(&unlock(101).0, 2).await.unwrap();
    let waiting = async |now_us| {
        let queued = commands.queued(now_us, None, 100).await.unwrap();
        queued.len()
    };
    port.commit_held(&commit(vec![owned(2, OWNER, 5)]))
        .await
        .unwrap();
    assert_eq!(waiting(6).await, usize::from(most) + 1);
    port.commit_held(&commit(vec![owned(3, GUEST, 10)]))
        .await
        .unwrap();
    assert_eq!(waiting(10).await, 1, "the tenant's own");
    let stands = async |n: u8| {
        let stored = commands.get(&acme(), &command(n)).await.unwrap().unwrap();
        (stored.state, stored.reason, stored.detail)
    };
    // In words, too, from the same moment on.
    let words = |reason: CutShort| Some(reason.words().to_owned());
    let sold = (State::Queued, Some(CutShort::Sold), words(CutShort::Sold));
    assert_eq!(stands(0).await, sold);
    assert_eq!(stands(101).await, (State::Queued, None, None));
    // What is over makes room.
    let back = commit(vec![owned(4, OWNER, 11)]);
    port.commit_held(&back).await.unwrap();
    assert_eq!(queue(most, &by, 11).await, Queued::New);
    // The policy is set anew: nobody is known to hold it.
    let stored = StoredOwnership {
        changed_us: 20,
        ..policy(acme())
    };
    let anew = Anew {
        followed: vec![PASSPORTS],
        collections: vec![PASSPORTS],
        passports: Some(PASSPORTS),
        body: "{}".to_owned(),
        before: Some("{}".to_owned()),
    };
    port.put_device_passport(&passport(acme(), "door-2", [7; 32]))
        .await
        .unwrap();
    port.put_ownership(&stored, &anew).await.unwrap();
    assert_eq!(waiting(20).await, 1);
    let no_holder = CutShort::NoHolder;
    assert_eq!(
        stands(most).await,
        (State::Queued, Some(no_holder), words(no_holder))
    );
    commands.expire(2_000, 100).await.unwrap();
    let late = "no gateway could take it in time".to_owned();
    for (n, reason, detail) in [
        (0, Some(CutShort::Sold), words(CutShort::Sold)),
        (most, Some(no_holder), words(no_holder)),
        (101, None, Some(late)),
    ] {
        assert_eq!(stands(n).await, (State::Expired, reason, detail), "{n}");
    }
    let held = port
        .held_token(&acme(), "local", &PASSPORTS, &DOOR)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((held.version, held.holder, held.looked), (5, None, Some(0)));
    // Also what was not known of any token, for each device with a passport.
    let due = port.looked_tokens(&acme(), "local", 0, 10).await.unwrap();
    assert_eq!(due.len(), 2);
    assert!(port.remove_ownership(&acme(), 9).await.unwrap());
    assert_eq!(
        port.looked_tokens(&acme(), "local", 0, 10).await.unwrap(),
        []
    );
}

#[tokio::test]
async fn rights_that_run_come_before_those_that_are_over() {
    let fresh = with_chain().await;
    let port = &fresh.store.ownership;
    let right = |n: u8, ends_s| HeldToken {
        holder: Some(GUEST),
        passport: Some(DOOR),
        ends_s: Some(ends_s),
        changed_us: n.into(),
        ..token(acme(), RIGHTS, [n; 32], 1)
    };
    let tokens = vec![right(1, 1_000), right(2, 10), right(3, 20), right(4, 500)];
    port.commit_held(&commit(tokens)).await.unwrap();
    let shown = port
        .rights_to(&acme(), "local", &RIGHTS, &DOOR, Some(&GUEST), 100, 3)
        .await;
    let shown: Vec<u8> = shown.unwrap().iter().map(|held| held.token[0]).collect();
    assert_eq!(shown, [1, 4, 3]);
}

/// Of what goes, none is any good; and each that goes makes room.
#[tokio::test]
async fn what_is_good_for_nothing_any_more_is_forgotten() {
    const DAY_US: i64 = 86_400_000_000;
    let fresh = with_chain().await;
    let port = &fresh.store.ownership;
    let until = |number: u8, ends_s: u64| HeldToken {
        ends_s: Some(ends_s),
        ..right(number, GUEST)
    };
    let nobodys = |collection, number: u8, changed_us| HeldToken {
        holder: None,
        changed_us,
        ..token(acme(), collection, [number; 32], 1)
    };
    let asked = HeldToken {
        looked: Some(1),
        ..nobodys(PASSPORTS, 6, 7)
    };
    let old = token(acme(), [0x55; 20], [9; 32], 1);
    let tokens = vec![
        // Over for long, over since a moment ago, running, and without an end.
        until(1, 86_400),
        until(2, 10 * 86_400),
        until(3, 20 * 86_400),
        right(4, GUEST),
        // Of nobody: for long, since a moment ago, to be asked, and a device's.
        nobodys(PASSPORTS, 5, 7),
        asked,
        nobodys(PASSPORTS, 7, 9 * DAY_US),
        nobodys(PASSPORTS, DOOR[0], 7),
        token(acme(), PASSPORTS, [8; 32], 1),
        // Of a collection that no policy names.
        old.clone(),
    ];
    port.commit_held(&commit(tokens)).await.unwrap();
    port.commit_held(&commit(vec![HeldToken {
        tenant: other(),
        ..until(1, 86_400)
    }]))
    .await
    .unwrap();
    port.put_device_passport(&passport(acme(), "door-1", DOOR))
        .await
        .unwrap();
    let count = async || port.held_count(&acme()).await.unwrap();
    assert_eq!(count().await, 10);
    let before_us = 9 * DAY_US;
    let forget = async |followed: Option<&Followed>, limit| {
        let forgotten = port.forget_held(&acme(), followed, before_us, limit).await;
        forgotten.unwrap()
    };
    assert_eq!(forget(None, 10).await, 1, "the right that is over");
    assert_eq!(forget(None, 10).await, 1, "what is nobody's");
    assert_eq!(forget(None, 10).await, 0);
    let followed = Followed {
        chain: "local".to_owned(),
        collections: vec![PASSPORTS, RIGHTS],
    };
    assert_eq!(
        forget(Some(&followed), 10).await,
        1,
        "the other collection's"
    );
    assert_eq!(forget(Some(&followed), 10).await, 0);
    assert_eq!(count().await, 7);
    let left = async |collection: [u8; 20], number: u8| {
        let (acme, token) = (acme(), [number; 32]);
        let held = port.held_token(&acme, "local", &collection, &token);
        held.await.unwrap().is_some()
    };
    for (collection, number, stays) in [
        (RIGHTS, 1, false),
        (RIGHTS, 2, true),
        (RIGHTS, 3, true),
        (RIGHTS, 4, true),
        (PASSPORTS, 5, false),
        (PASSPORTS, 6, true),
        (PASSPORTS, 7, true),
        (PASSPORTS, DOOR[0], true),
        (PASSPORTS, 8, true),
        ([0x55; 20], 9, false),
    ] {
        assert_eq!(left(collection, number).await, stays, "{number}");
    }
    assert_eq!(port.held_count(&other()).await.unwrap(), 1);
    // What is followed on another chain is not followed here.
    let elsewhere = Followed {
        chain: "another".to_owned(),
        ..followed
    };
    assert_eq!(forget(Some(&elsewhere), 2).await, 2);
    assert_eq!(count().await, 5);
    // It may come again.
    port.commit_held(&commit(vec![old])).await.unwrap();
    assert_eq!(count().await, 6);
}
