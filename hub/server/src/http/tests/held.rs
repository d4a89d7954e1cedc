//! What an account controls by the tokens that it holds.

use serde_json::{Value, json};
use stencil_ownership::holder::{Place, Said, Token, What};
use stencil_payments::{Address, B256, U256};
use stencil_protocol::id::{CommandId, DeviceId};
use stencil_store::{
    AuditOutcome, BlockMark, ByToken, ChainCommit, HeldCommit, HeldToken, MAX_TOKEN_RIGHTS,
    NewAudit, NewCommand,
};

use super::{Answer, Limits, NOW_US, Served, seed};
use crate::chains::tests::fake::CHAIN;

pub(super) const OWNER: Address = Address::repeat_byte(0x5b);
const GUEST: Address = Address::repeat_byte(0x5c);
const COMMANDS: &str = "/api/v1/wallet/devices/acme/freezer-marked/commands";
/// The last second of the guest's right.
const ENDS_S: i64 = NOW_US / 1_000_000 + 20;

/// The freezer's passport is the owner's, and a right to it the guest's, for good; the chain was read just
/// now.
pub(super) async fn held(served: &Served) {
    held_by(served, OWNER).await;
}

/// The same with another owner.
async fn held_by(served: &Served, owner: Address) {
    let store = &served.store;
    seed::owned(store).await;
    let at = Place {
        block: 1,
        index: 0,
        hash: B256::repeat_byte(1),
    };
    let mut passport = Token::default();
    let mut right = Token::default();
    let whats = [
        What::Device {
            passport: seed::TOKEN_ID.into(),
        },
        What::User {
            user: GUEST,
            expires: u64::try_from(ENDS_S).unwrap(),
        },
    ];
    for said in [Said::Observed, Said::Final] {
        let issued = What::Owner {
            from: Address::ZERO,
            to: owner,
        };
        passport.take(said, at, issued);
        for what in whats {
            right.take(said, at, what);
        }
    }
    let kept = |collection: Address, id: [u8; 32], token: &Token| HeldToken {
        tenant: seed::acme(),
        chain: CHAIN.to_owned(),
        collection: collection.0.0,
        token: id,
        version: 1,
        body: serde_json::to_string(token).unwrap(),
        holder: token.holder().map(|holder| holder.0.0),
        passport: token.device().map(|passport| passport.0),
        ends_s: token
            .user(stencil_ownership::holder::Gain::Included)
            .map(|user| user.expires),
        looked: None,
        changed_us: NOW_US,
    };
    let commit = HeldCommit {
        tokens: vec![
            kept(seed::PASSPORTS, seed::TOKEN_ID, &passport),
            kept(seed::RIGHTS, U256::from(1).to_be_bytes(), &right),
        ],
        passport: None,
        read: None,
    };
    // It may be there already.
    let _ = store.ownership.commit_held(&commit).await;
    read_up_to(served, NOW_US).await;
}

/// A command of the owner's for the freezer.
pub(super) async fn queued(served: &Served) {
    let command = NewCommand {
        id: CommandId([0x4d; 16]),
        tenant: seed::acme(),
        device: DeviceId::parse("freezer-marked").unwrap(),
        name: "lock".to_owned(),
        argument: None,
        expires_us: NOW_US + 1_000_000,
        effect_key: None,
    };
    let port = &served.store.ownership;
    let policy = port.ownership(&seed::acme()).await.unwrap();
    if policy.is_some() {
        held(served).await;
    }
    let by = ByToken {
        account: OWNER.0.0,
        collection: seed::PASSPORTS.0.0,
        token: seed::TOKEN_ID,
        passport: seed::TOKEN_ID,
        policy: policy.map(|policy| policy.body).unwrap_or_default(),
    };
    let entry = NewAudit {
        at_us: NOW_US,
        who: "wallet".to_owned(),
        action: "holders.command".to_owned(),
        target: None,
        outcome: AuditOutcome::Done,
        detail: None,
        address: None,
    };
    let commands = &served.store.commands;
    // It may be there already, or its tenant erased.
    let _ = commands
        .queue_held(&command, &by, &entry, 100, NOW_US)
        .await;
}

/// The chain's newest block that was read is of this time.
async fn read_up_to(served: &Served, time_us: i64) {
    let chains = &served.store.chains;
    let state = chains.chain(CHAIN).await.unwrap().unwrap();
    let number = state.cursor.map_or(1, |cursor| cursor.number + 1);
    let commit = ChainCommit {
        chain: CHAIN.to_owned(),
        from: state.cursor,
        interest: state.interest,
        cursor: Some(BlockMark {
            number,
            hash: [7; 32],
        }),
        cursor_s: Some(u64::try_from(time_us / 1_000_000).unwrap()),
        ..ChainCommit::default()
    };
    chains.commit_chain(&commit).await.unwrap();
}

async fn session(served: &Served, account: Address) -> String {
    let wallets = &served.store.wallets;
    let opened = wallets.open_wallet_session(&account.0.0, None, None, i64::MAX, NOW_US);
    opened.await.unwrap().1.reveal().to_owned()
}

async fn command(served: &Served, session: &str, body: &Value) -> Answer {
    let ask = served.ask("POST", COMMANDS).session(session);
    ask.json(body).send().await
}

/// At the same address of another chain may be a contract of somebody else's.
#[tokio::test]
async fn a_contract_wallet_of_another_chain_has_no_right_of_its_namesake() {
    let served = Served::start().await;
    held(&served).await;
    let path = "/api/v1/wallet/devices/acme/freezer-marked/right";
    let give = async |session: &str, command: &str| {
        let ask = served.ask("POST", path).session(session);
        ask.json(&json!({ "commands": [command] })).send().await
    };
    let get = async |session: &str, path: &str| served.get(path).session(session).send().await;
    let own = session(&served, OWNER).await;
    let right = give(&own, "lock").await.ok()["id"].clone();
    let credential = format!("/api/v1/wallet/access/acme/{}", right.as_str().unwrap());
    let command = command(&served, &own, &json!({ "name": "lock" })).await;
    let place = command.header("location").unwrap().to_owned();
    let chain = served.store.chains.chain(CHAIN).await.unwrap().unwrap();
    for (on, is_its) in [(None, true), (Some(chain.chain_id), true), (Some(1), false)] {
        let wallets = &served.store.wallets;
        let opened = wallets.open_wallet_session(&OWNER.0.0, on, None, i64::MAX, NOW_US);
        let contract = opened.await.unwrap().1.reveal().to_owned();
        let rights = get(&contract, "/api/v1/wallet/access").await.ok();
        let rights = rights["items"].as_array().unwrap();
        assert_eq!(rights.iter().any(|it| it["id"] == right), is_its, "{on:?}");
        let page = get(&contract, "/wallet").await.body;
        assert_eq!(page.contains("Fetch the credential"), is_its, "{on:?}");
        let status = if is_its { 200 } else { 404 };
        for path in [&credential, &format!("{credential}/file"), &place] {
            let answer = get(&contract, path).await;
            assert_eq!(answer.status, status, "{on:?} {path}");
        }
        assert_eq!(give(&contract, "lock").await.status, status, "{on:?}");
        let listing = "/api/v1/wallet/devices/acme/freezer-marked/listing";
        let ask = served.ask("POST", listing).session(&contract);
        let answer = ask.json(&json!({ "price": "1000" })).send().await;
        assert_eq!(answer.status == 404, !is_its, "{on:?}");
    }
}

/// Whoever holds a passport is none of its tenant, whose rights and credentials are bounded.
#[tokio::test]
async fn a_holder_has_one_right_for_the_same_commands_and_so_many_to_a_device() {
    let served = Served::start().await;
    held(&served).await;
    let owner = session(&served, OWNER).await;
    let ask = async |commands: Value| {
        let path = "/api/v1/wallet/devices/acme/freezer-marked/right";
        let ask = served.ask("POST", path).session(&owner);
        ask.json(&json!({ "commands": commands })).send().await
    };
    let credentials = async || {
        let port = &served.store.credentials;
        let page = port.credentials(&seed::acme(), None, 1_000).await.unwrap();
        page.items.len()
    };
    let before = credentials().await;
    let given = ask(json!(["unlock", "lock"])).await.ok();
    assert_eq!(given["commands"], json!(["lock", "unlock"]));
    for same in [
        json!(["lock", "unlock"]),
        json!(["lock", "unlock", "lock", "unlock"]),
    ] {
        assert_eq!(ask(same).await.ok()["id"], given["id"]);
    }
    assert_eq!(credentials().await, before + 1);
    let most = usize::try_from(MAX_TOKEN_RIGHTS).unwrap();
    for n in 1..most {
        ask(json!([format!("c{n}")])).await.ok();
    }
    for n in most..most + 3 {
        let no = ask(json!([format!("c{n}")])).await.problem(409);
        assert!(no.contains("have the tenant take one away"), "{no}");
    }
    assert_eq!(
        credentials().await,
        before + most,
        "nothing of what was refused"
    );
    // Those that there are it has as before.
    assert_eq!(ask(json!(["lock", "unlock"])).await.ok()["id"], given["id"]);
}

#[tokio::test]
async fn an_owner_commands_its_device_and_a_guest_what_the_tenant_lets_guests_do() {
    let served = Served::start().await;
    held(&served).await;
    let (owner, guest) = (session(&served, OWNER).await, session(&served, GUEST).await);
    let stranger = session(&served, Address::repeat_byte(0x5d)).await;
    let devices = async |session: &str| {
        let ask = served.get("/api/v1/wallet/devices").session(session);
        ask.send().await.ok()["items"].clone()
    };
    let own = devices(&owner).await;
    assert_eq!(own[0]["device"], "freezer-marked");
    assert_eq!(
        (&own[0]["by"], &own[0]["may"], &own[0]["fresh"]),
        (&json!("owner"), &json!(["*"]), &json!(true))
    );
    let lent = devices(&guest).await;
    assert_eq!(
        (&lent[0]["by"], &lent[0]["may"]),
        (&json!("user"), &json!(["unlock"]))
    );
    assert_eq!(devices(&stranger).await, json!([]));
    // A contract at the owner's address, on another chain than the passports'.
    let wallets = &served.store.wallets;
    let opened = wallets.open_wallet_session(&OWNER.0.0, Some(1), None, i64::MAX, NOW_US);
    let elsewhere = opened.await.unwrap().1.reveal().to_owned();
    assert_eq!(devices(&elsewhere).await, json!([]));
    let refused = command(&served, &elsewhere, &json!({ "name": "unlock" })).await;
    refused.problem(404);
    let path = format!("/api/v1/ownership/accounts/{}", GUEST.to_checksum(None));
    let rights = served.read(&path).await.ok();
    assert_eq!(rights["rights"].as_array().unwrap().len(), 1, "{rights}");
    let right = &rights["rights"][0];
    assert_eq!(right["device"], "freezer-marked");
    assert_eq!(
        (&right["expires_s"], &right["final"], &rights["fresh"]),
        (&json!(ENDS_S), &json!(true), &json!(true))
    );
    let wrong = served.read("/api/v1/ownership/accounts/0x12").await;
    assert!(wrong.problem(400).contains("40 hexadecimal"));
    let shown = super::page::page(&served, "/devices/freezer-marked").await;
    for part in [
        ">Passport<",
        OWNER.to_checksum(None).as_str(),
        GUEST.to_checksum(None).as_str(),
        ">in use<",
        "unlock",
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }

    let week = json!({ "name": "lock", "expires_in_s": 604_800 });
    let answer = command(&served, &owner, &week).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    // Its owner learns what becomes of it, and nobody else.
    let place = answer.header("location").unwrap().to_owned();
    let ask = async |session: &str| served.get(&place).session(session).send().await;
    assert_eq!(ask(&owner).await.ok(), answer.json());
    ask(&guest).await.problem(404);
    let other = place.replace("freezer-marked", "made-up");
    let other = served.get(&other).session(&owner).send().await;
    other.problem(404);
    // Whatever was asked for: who sells it to-morrow has nothing done to it the day after.
    assert_eq!(answer.json()["expires_us"], NOW_US + 300_000_000);
    let audit = served
        .ask("GET", "/api/v1/audit")
        .bearer(&served.tokens.admin);
    let audit = audit.send().await.ok().to_string();
    assert!(
        audit.contains(&format!("wallet {}", OWNER.to_checksum(None))),
        "{audit}"
    );
    let answer = command(
        &served,
        &guest,
        &json!({ "name": "unlock", "expires_in_s": 600 }),
    )
    .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    // With the right, and no second later.
    assert_eq!(answer.json()["expires_us"], (ENDS_S + 1) * 1_000_000);
    let refused = command(&served, &guest, &json!({ "name": "lock" })).await;
    assert!(refused.problem(403).contains("may not command \"lock\""));
    let refused = command(&served, &stranger, &json!({ "name": "lock" })).await;
    assert!(refused.problem(404).contains("neither"));
    let elsewhere = "/api/v1/wallet/devices/rival/freezer-marked/commands";
    let ask = served.ask("POST", elsewhere).session(&owner);
    let unknown = ask.json(&json!({ "name": "lock" })).send().await;
    assert_eq!(
        unknown.problem(404),
        refused.problem(404),
        "neither says what there is"
    );
    for name in ["", "../../x", "<script>", "ünlock", "un lock", "a\nb"] {
        for session in [&owner, &stranger] {
            let refused = command(&served, session, &json!({ "name": name })).await;
            let why = refused.problem(400);
            assert!(
                why.contains("1 to 32 letters, digits, '.', '_' or '-'"),
                "{why}"
            );
        }
    }
    // What a stranger sends is looked at like an owner's, and written nowhere.
    let long = json!({ "name": "x".repeat(33) });
    for session in [&owner, &stranger] {
        let answer = command(&served, session, &long).await;
        assert!(answer.problem(400).contains("32"), "{answer:?}");
    }
    // Nor does it learn by a listing whether there is such a device.
    let mut listings = Vec::new();
    for device in ["freezer-marked", "made-up"] {
        let path = format!("/api/v1/wallet/devices/acme/{device}/listing");
        let ask = served.ask("POST", &path).session(&stranger);
        let answer = ask.json(&json!({ "price": "1000" })).send().await;
        listings.push(answer.problem(404));
    }
    assert_eq!(listings[0], listings[1]);
    assert_eq!(listings[0], refused.problem(404));
    // One account's key is not another's.
    for (session, status) in [(&owner, 202), (&guest, 202)] {
        let ask = served.ask("POST", COMMANDS).session(session);
        let ask = ask.header("idempotency-key", "same");
        assert_eq!(
            ask.json(&json!({ "name": "unlock" })).send().await.status,
            status
        );
    }

    let audited = async || {
        let ask = served.ask("GET", "/api/v1/audit?limit=1000");
        let entries = ask.bearer(&served.tokens.admin).send().await.ok();
        let entries = entries["items"].as_array().unwrap().clone();
        entries
            .into_iter()
            .filter(|entry| entry["action"] == "holders.command")
            .collect::<Vec<_>>()
    };
    let refused = audited().await;
    let refused = refused.iter().filter(|entry| entry["outcome"] == "refused");
    assert_eq!(refused.count(), 1, "the guest, who may not lock");
    assert!(
        audited()
            .await
            .iter()
            .all(|entry| entry["address"].is_string())
    );
    // The same call again is the same command, and no other entry.
    let before = audited().await.len();
    let ask = served
        .ask("POST", COMMANDS)
        .session(&owner)
        .header("idempotency-key", "same");
    assert_eq!(
        ask.json(&json!({ "name": "unlock" })).send().await.status,
        202
    );
    assert_eq!(audited().await.len(), before);
    // Two are there; no more than eight at a time wait for a device.
    for _ in 2..8 {
        let answer = command(&served, &owner, &json!({ "name": "lock" })).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    let answer = command(&served, &owner, &json!({ "name": "lock" })).await;
    assert!(
        answer.problem(429).contains("neither done nor over"),
        "{answer:?}"
    );

    served.later(21);
    let refused = command(&served, &guest, &json!({ "name": "unlock" })).await;
    assert!(refused.problem(403).contains("ended at"));
    assert_eq!(devices(&guest).await[0]["by"], "over");
    served.later(900);
    let refused = command(&served, &owner, &json!({ "name": "lock" })).await;
    assert!(refused.problem(503).contains("not known now"));
    // And is told so before it tries.
    let old = devices(&owner).await;
    assert_eq!(
        (&old[0]["by"], &old[0]["may"], &old[0]["fresh"]),
        (&json!("owner"), &json!([]), &json!(false))
    );
    let refused = command(&served, &stranger, &json!({ "name": "lock" })).await;
    assert!(
        refused.problem(404).contains("neither"),
        "also when all is old"
    );
    read_up_to(&served, NOW_US + 921_000_000).await;
    let answer = command(&served, &owner, &json!({ "name": "lock" })).await;
    assert_eq!(answer.status, 202, "{answer:?}");
}

/// Who has sold the device hears why what no gateway had yet is done no more, and not who has bought it.
#[tokio::test]
async fn a_holder_hears_that_a_command_has_ended_by_the_sale() {
    let served = Served::start().await;
    held(&served).await;
    let owner = session(&served, OWNER).await;
    let answer = command(&served, &owner, &json!({ "name": "lock" })).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.json()["reason"], Value::Null, "{answer:?}");
    let place = answer.header("location").unwrap().to_owned();
    let ownership = &served.store.ownership;
    let passport = ownership
        .held_token(&seed::acme(), CHAIN, &seed::PASSPORTS.0.0, &seed::TOKEN_ID)
        .await
        .unwrap()
        .unwrap();
    let sold_us = NOW_US + 1_000;
    let sold = HeldToken {
        version: passport.version + 1,
        holder: Some(GUEST.0.0),
        changed_us: sold_us,
        ..passport
    };
    let sale = HeldCommit {
        tokens: vec![sold],
        ..HeldCommit::default()
    };
    ownership.commit_held(&sale).await.unwrap();
    let shown = async || {
        let answer = served.get(&place).session(&owner).send().await.ok();
        assert!(
            !answer
                .to_string()
                .to_lowercase()
                .contains(&hex::encode(GUEST)),
            "{answer}"
        );
        answer
    };
    let waits = shown().await;
    assert_eq!(
        (&waits["state"], &waits["reason"], &waits["expires_us"]),
        (&json!("queued"), &json!("sold"), &json!(sold_us))
    );
    served
        .store
        .commands
        .expire(sold_us + 1, 100)
        .await
        .unwrap();
    let ended = shown().await;
    assert_eq!(
        (&ended["state"], &ended["reason"]),
        (&json!("expired"), &json!("sold"))
    );
    let why = ended["detail"].as_str().unwrap();
    assert!(why.contains("went to another account"), "{why}");
    assert_eq!(waits["detail"], why, "both at the same time");
    let page = super::page::page(&served, "/devices/freezer-marked").await;
    assert!(page.contains(why), "{page}");
    // As the tenant's own see it.
    let path = format!("/api/v1/commands/{}", ended["id"].as_str().unwrap());
    assert_eq!(served.read(&path).await.ok(), ended);
}

#[tokio::test]
async fn accounts_put_only_so_many_questions_about_listings_at_once() {
    let mut questions = None;
    let served = Served::start_changed(Limits::default(), |state| {
        questions = Some(state.questions().clone());
        state
    })
    .await;
    held(&served).await;
    let session = session(&served, GUEST).await;
    let body = super::ownership::market_body("/api/v1/market/check")["offer"].clone();
    let check = async || {
        let ask = served.ask("POST", "/api/v1/wallet/listings/acme/check");
        ask.session(&session).json(&body).send().await
    };
    assert_eq!(check().await.status, 200);
    let pool = &questions.unwrap().listings;
    let mut rooms = Vec::new();
    while let Ok(room) = pool.enter([127, 0, 0, 1].into()) {
        rooms.push(room);
    }
    let refused = check().await;
    assert!(refused.problem(503).contains("from your address"));
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    drop(rooms);
    assert_eq!(check().await.status, 200);
}

/// By the passport or by a right, as a command is looked at.
#[tokio::test]
async fn who_owns_a_device_and_may_use_it_is_shown_all_that_it_may() {
    let served = Served::start().await;
    let store = &served.store;
    // The guest has bought the passport.
    held_by(&served, GUEST).await;
    let mut body = seed::ownership_body();
    body["owner_may"] = json!([]);
    let before = store.ownership.ownership(&seed::acme()).await.unwrap();
    let mut policy = before.clone().unwrap();
    policy.body = body.to_string();
    let anew = stencil_store::Anew {
        before: before.map(|before| before.body),
        ..Default::default()
    };
    store.ownership.put_ownership(&policy, &anew).await.unwrap();
    let session = session(&served, GUEST).await;
    let ask = served.get("/api/v1/wallet/devices").session(&session);
    let shown = ask.send().await.ok()["items"][0].clone();
    assert_eq!(
        (&shown["by"], &shown["may"], &shown["expires_s"]),
        (&json!("owner"), &json!(["unlock"]), &Value::Null)
    );
    let answer = command(&served, &session, &json!({ "name": "unlock" })).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    // What can't be read of one device keeps from no list, and is on none.
    let port = &store.ownership;
    let acme = seed::acme();
    let kept = port.held_token(&acme, CHAIN, &seed::PASSPORTS.0.0, &seed::TOKEN_ID);
    let kept = kept.await.unwrap().unwrap();
    let broken = HeldToken {
        version: kept.version + 1,
        body: "no token".to_owned(),
        ..kept
    };
    let commit = HeldCommit {
        tokens: vec![broken],
        ..HeldCommit::default()
    };
    port.commit_held(&commit).await.unwrap();
    let ask = served
        .get("/api/v1/wallet/devices?limit=1000")
        .session(&session);
    assert_eq!(ask.send().await.ok()["items"], json!([]));
}

#[tokio::test]
async fn holders_are_shown_what_they_can_sell_and_strangers_a_page_that_buys() {
    let served = Served::start().await;
    held(&served).await;
    let page = async |path: &str, account: Address| {
        let session = session(&served, account).await;
        let answer = served.get(path).session(&session).send().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let policy = answer.header("content-security-policy").unwrap();
        // Wallets bring their icons; nothing comes from elsewhere.
        assert!(policy.contains("img-src 'self' data:"), "{policy}");
        assert!(policy.contains("connect-src 'self'"), "{policy}");
        answer.body
    };
    let own = page("/wallet", OWNER).await;
    for part in [
        "freezer-marked: passport",
        "data-device=\"freezer-marked\"",
        "data-tenant=\"acme\"",
    ] {
        assert!(own.contains(part), "{part} is not in {own}");
    }
    assert!(!own.contains("data-right"), "{own}");
    let lent = page("/wallet", GUEST).await;
    assert!(lent.contains("freezer-marked: right 1"), "{lent}");
    assert!(lent.contains("data-right=\"1\""), "{lent}");
    let stranger = page("/wallet", Address::repeat_byte(0x5d)).await;
    assert!(!stranger.contains(seed::MARK), "{stranger}");
    // What is for sale stands behind the `#`: the page is the same for all, and tells who has not signed in
    // nothing of the hub's chains.
    let nobody = served.get("/wallet/buy").send().await;
    assert_eq!(nobody.status, 200, "{nobody:?}");
    assert!(!nobody.body.contains("data-chains"), "{nobody:?}");
    let guest = page("/wallet/buy", GUEST).await;
    let account = GUEST.to_checksum(None);
    assert!(
        guest.contains(&format!("data-account=\"{account}\"")),
        "{guest}"
    );
    assert!(guest.contains("data-chains"), "{guest}");
    // After its end a right is nothing to sell.
    served.later(21);
    read_up_to(&served, NOW_US + 21_000_000).await;
    let over = page("/wallet", GUEST).await;
    assert!(!over.contains("data-right"), "{over}");
}
