//! Devices that act for single payments: nothing is charged before they have said so.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use stencil_payments::x402::charge::{Charge, Funding};
use stencil_payments::x402::header;
use stencil_payments::{Address, B256, U256};
use stencil_protocol::command::State;
use stencil_protocol::id::CommandId;
use stencil_store::CommandStatus;

use super::client::Answer;
use super::x402::money::{Mode, PAYEE, TOKEN, domain};
use super::x402::{Signed, payer, required};
use super::{NOW_US, Served, seed};
use crate::chains::x402::Kept;
use crate::chains::x402::purchase::Held;

const LOCK: &str = "/x402/acme/lock-marked";

fn lock() -> Value {
    json!({
        "sells": { "command": {
            "device": "freezer-marked", "name": "unlock", "argument": "given",
            "expires_in_s": 30, "undo": { "name": "lock", "argument": 1 },
        } },
        "prices": [{
            "chain": "local", "token": TOKEN, "amount": "0.01", "pay_to": PAYEE,
            "loss_limit": "0.02",
        }],
        "settle_s": 2,
    })
}

async fn selling() -> Served {
    let served = Served::start().await;
    assert_eq!(served.offers("lock-marked", &lock()).await.status, 201);
    served.money.gives(payer(), 1_000_000);
    served
}

impl Served {
    /// What has to be signed for a command with this argument.
    async fn asks(&self, argument: i64, nonce: u8) -> Signed {
        let ask = self
            .ask("POST", LOCK)
            .json(&json!({ "argument": argument }));
        let required = required(&ask.send().await);
        let now_s = self.now_us.load(Ordering::SeqCst).unsigned_abs() / 1_000_000;
        let until_s = now_s + required.accepts[0].max_timeout_seconds;
        Signed::with(&required, nonce, &domain(), |it| {
            it.valid_before = U256::from(until_s);
        })
    }

    /// Orders a command, and does not wait.
    async fn commissions(&self, argument: i64, signed: &Signed) -> Answer {
        let ask = self
            .ask("POST", LOCK)
            .json(&json!({ "argument": argument }));
        let ask = ask.header("PAYMENT-SIGNATURE", &signed.header());
        ask.header("Prefer", "respond-async").send().await
    }

    /// The device says what became of a command.
    async fn says(&self, command: &Value, state: State) {
        let command: CommandId = command["id"].as_str().unwrap().parse().unwrap();
        let status = CommandStatus {
            tenant: seed::acme(),
            command,
            state,
            at_us: NOW_US,
            detail: Some("the bolt".into()),
            gateway: None,
        };
        assert!(self.store.commands.status(&status).await.unwrap());
    }

    /// Has an order, which is under way on what its payer has signed, wait for a hold instead.
    async fn is_by_hold(&self, doc: &Value) {
        let id = doc["purchase"].as_str().unwrap();
        let id: [u8; 16] = hex::decode(id).unwrap().try_into().unwrap();
        let offers = &self.store.offers;
        let stored = offers.purchase(&seed::acme(), &id).await.unwrap();
        let mut kept = Kept::of(stored.unwrap()).unwrap();
        let (hold, deadline_s) = (kept.purchase.nonce, kept.purchase.valid_before_s);
        let mut terms = kept.purchase.charge.as_ref().unwrap().terms().clone();
        terms.funding = Funding::Held { hold, deadline_s };
        let (charge, _) = Charge::new(terms, NOW_US).unwrap();
        kept.purchase.charge = Some(charge);
        kept.purchase.held = Some(Held {
            escrow: Address::repeat_byte(0xe5),
            hold,
            deadline_s,
            // What becomes of them is said by each test: nobody looks into them.
            release: kept.purchase.call_data.clone(),
            refund: kept.purchase.call_data.clone(),
        });
        kept.stored.version += 1;
        kept.stored.wakes_us = Some(NOW_US);
        kept.stored.body = kept.purchase.body();
        offers.commit_purchase(&kept.stored, None).await.unwrap();
    }

    /// An order of a command by a hold that somebody else has brought, on which the device has acted; and where
    /// it is told. From then on the hold is in no block any more, and the release is reverted.
    async fn acts_on_a_hold_that_goes(&self) -> String {
        let signed = self.asks(7, 1).await;
        let answer = self.commissions(7, &signed).await;
        let (at, doc) = (location(&answer), answer.json());
        self.money.set(Mode::Reverts);
        self.money.escrow_says(1);
        self.is_by_hold(&doc).await;
        self.later(1);
        self.stands(&at, "acting").await;
        self.money.escrow_says(0);
        self.says(&doc["command"], State::Done).await;
        self.later(1);
        self.stands(&at, "capturing").await;
        at
    }

    /// Waits until an order stands so.
    async fn stands(&self, at: &str, state: &str) -> Value {
        for _ in 0..200 {
            let doc = self.get(at).send().await.ok();
            if doc["state"] == state {
                return doc;
            }
            self.sales.look_now().await;
        }
        panic!("it is not {state}: {:?}", self.get(at).send().await);
    }

    /// The commands that the device has of purchases.
    async fn given(&self) -> Vec<Value> {
        let list = self.read("/api/v1/commands").await.ok();
        let all = list["items"].as_array().unwrap().iter();
        let new = all.filter(|it| it["name"] != "lock-marked");
        new.cloned().collect()
    }
}

fn location(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.header("location").unwrap().to_owned()
}

#[tokio::test]
async fn a_device_acts_and_is_paid_when_it_has_said_so() {
    let served = selling().await;
    let signed = served.asks(7, 1).await;
    let answer = served.commissions(7, &signed).await;
    let at = location(&answer);
    let doc = answer.json();
    assert_eq!(
        (&doc["state"], &doc["charged"]),
        (&json!("acting"), &json!(false))
    );
    let given = served.given().await;
    assert_eq!((given.len(), &given[0]["argument"]), (1, &json!(7)));
    assert_eq!(given[0]["expires_us"], NOW_US + 30_000_000);
    assert_eq!(served.money.ordered().len(), 0, "nothing before its word");

    served.says(&doc["command"], State::Acknowledged).await;
    served.sales.look_now().await;
    assert_eq!(served.money.ordered().len(), 0, "it has not acted yet");
    served.says(&doc["command"], State::Done).await;
    let doc = served.stands(&at, "captured").await;
    assert_eq!(
        (&doc["charged"], &doc["command"]["state"]),
        (&json!(true), &json!("done"))
    );
    assert_eq!(doc["transaction"], format!("{:#x}", B256::repeat_byte(1)));
    assert_eq!(served.money.balance(PAYEE), 10_000);

    // The same payment again is the same order.
    let ask = served.ask("POST", LOCK).json(&json!({ "argument": 7 }));
    let ask = ask.header("PAYMENT-SIGNATURE", &signed.header());
    let again = super::client::head(ask).await;
    assert!(again.starts_with("HTTP/1.1 200"), "{again}");
    let value = again
        .lines()
        .find_map(|line| line.strip_prefix("payment-response: "));
    let settled: stencil_payments::x402::SettleResponse =
        header::decode(value.unwrap().as_bytes()).unwrap();
    assert!(settled.success);
    assert_eq!(
        (served.given().await.len(), served.money.ordered().len()),
        (1, 1)
    );
    // With another argument it is another one, which was not paid.
    let error = required(&served.commissions(8, &signed).await)
        .error
        .unwrap();
    assert!(error.contains("something else"), "{error}");
}

/// What waits stays due by its old time, and stands before all that comes later.
#[tokio::test]
async fn a_charge_is_gone_on_with_however_many_wait_before_it() {
    let served = selling().await;
    let signed = served.asks(7, 1).await;
    let answer = served.commissions(7, &signed).await;
    let (at, doc) = (location(&answer), answer.json());
    let offers = &served.store.offers;
    let key = hex::decode(doc["purchase"].as_str().unwrap()).unwrap();
    let key: [u8; 16] = key.try_into().unwrap();
    let kept = async || {
        let stored = offers.purchase(&seed::acme(), &key).await.unwrap();
        stored.unwrap()
    };
    assert!(kept().await.under_way);
    let mut other = kept().await;
    let mut purchase = Kept::of(other.clone()).unwrap().purchase;
    purchase.charge = None;
    (other.version, other.wakes_us) = (1, Some(1));
    (other.body, other.command) = (purchase.body(), None);
    for n in 0..1_001_u32 {
        other.purchase[..4].copy_from_slice(&n.to_be_bytes());
        offers.commit_purchase(&other, None).await.unwrap();
    }
    served.says(&doc["command"], State::Done).await;
    served.later(1);
    served.stands(&at, "captured").await;
    assert!(!kept().await.under_way, "it takes no place any more");
}

/// An order costs its payer nothing, and room to ask is shared by all tenants.
#[tokio::test]
async fn where_there_is_no_place_no_chain_is_asked() {
    let served = selling().await;
    let signed = served.asks(7, 1).await;
    let doc = served.commissions(7, &signed).await.json();
    let offers = &served.store.offers;
    let key = hex::decode(doc["purchase"].as_str().unwrap()).unwrap();
    let key: [u8; 16] = key.try_into().unwrap();
    let mut other = offers.purchase(&seed::acme(), &key).await.unwrap().unwrap();
    (other.version, other.wakes_us, other.command) = (1, None, None);
    let second = served.asks(7, 2).await;
    let mut n = 0_u32;
    while offers.has_place(&seed::acme()).await.unwrap() {
        other.purchase[..4].copy_from_slice(&n.to_be_bytes());
        offers.commit_purchase(&other, None).await.unwrap();
        n += 1;
    }
    assert_eq!(n, 719);
    // The chain would say that it can't be asked.
    served.money.hears(false);
    let why = served.commissions(7, &second).await.problem(503);
    assert!(
        why.contains("as many commands as may be are under way"),
        "{why}"
    );
    // What was ordered is known again.
    let again = served.commissions(7, &signed).await;
    assert_eq!(again.json()["purchase"], doc["purchase"], "{again:?}");
}

#[tokio::test]
async fn without_a_devices_word_nothing_is_charged() {
    let served = selling().await;
    let signed = served.asks(7, 1).await;
    let answer = served.commissions(7, &signed).await;
    let (at, doc) = (location(&answer), answer.json());
    // Its time is over, and its gateway may have it still: it is waited for.
    served.later(31);
    served.sales.look_now().await;
    assert_eq!(served.get(&at).send().await.ok()["state"], "acting");
    // Until a settlement could not be had any more.
    served.later(15);
    let free = served.stands(&at, "free").await;
    assert_eq!(
        (&free["charged"], &free["transaction"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(served.money.ordered().len(), 0);
    // The same payment gets the same answer, however often; what tells of the order tells of it.
    for _ in 0..2 {
        let again = served.commissions(7, &signed).await;
        assert_eq!((again.status, again.json()), (502, free.clone()));
        let told = served.get(&at).send().await;
        assert_eq!((told.status, told.json()), (200, free.clone()));
    }
    let id = doc["purchase"].as_str().unwrap();
    let key = hex::decode(id).unwrap().try_into().unwrap();
    let invoice = served.store.payments.invoice(&seed::acme(), &key).await;
    let called_off = invoice.unwrap().unwrap();
    served.sales.look_now().await;
    assert_eq!(
        called_off.state, "cancelled",
        "what a payer brings goes back"
    );

    // A word that comes later is not charged: it is undone.
    served.says(&doc["command"], State::Done).await;
    served.later(601);
    let lost = served.stands(&at, "lost").await;
    assert_eq!(lost["charged"], false);
    let given = served.given().await;
    assert_eq!(given.len(), 2);
    assert_eq!(
        (&given[0]["name"], &given[0]["argument"]),
        (&json!("lock"), &json!(1))
    );
    assert_eq!(
        (served.money.ordered().len(), served.money.balance(PAYEE)),
        (0, 0)
    );
}

#[tokio::test]
async fn a_device_that_could_not_act_costs_nothing_at_once() {
    let served = selling().await;
    let signed = served.asks(7, 1).await;
    let answer = served.commissions(7, &signed).await;
    let (at, doc) = (location(&answer), answer.json());
    served.says(&doc["command"], State::Failed).await;
    let free = served.stands(&at, "free").await;
    assert_eq!(free["command"]["detail"], "the bolt");
    assert_eq!(
        (served.money.ordered().len(), served.given().await.len()),
        (0, 1)
    );
}

#[tokio::test]
async fn a_payer_has_so_much_under_way_and_no_more() {
    let served = selling().await;
    for nonce in 1..=2 {
        let signed = served.asks(7, nonce).await;
        location(&served.commissions(7, &signed).await);
    }
    let third = served.asks(7, 3).await;
    let error = required(&served.commissions(7, &third).await)
        .error
        .unwrap();
    assert!(error.contains("beyond the limit of 20000"), "{error}");
    // Nothing is lost: it is a matter of waiting, and of nobody's forgiving.
    assert!(
        error.contains("wait until") && !error.contains("forgive"),
        "{error}"
    );
    assert_eq!(served.given().await.len(), 2);
    // What is over makes room, and what was lost does not.
    let given = served.given().await;
    let list = served.read("/api/v1/purchases").await.ok();
    let ats: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["offer"] == "lock-marked")
        .map(|it| format!("{LOCK}/{}", it["purchase"].as_str().unwrap()))
        .collect();
    served.says(&given[0], State::Done).await;
    served.money.set(Mode::Includes);
    for at in &ats {
        served.sales.look_now().await;
        let _ = served.get(at).send().await;
    }
    let fourth = served.asks(7, 4).await;
    assert_eq!(served.commissions(7, &fourth).await.status, 202);
    served.later(60);
    for at in &ats {
        served.sales.look_now().await;
        let _ = served.get(at).send().await;
    }
    served.says(&given[1], State::Done).await;
    served.later(601);
    served.sales.look_now().await;
    // 0.01 was lost: one more is within the limit, two are not.
    let fifth = served.asks(7, 5).await;
    assert_eq!(served.commissions(7, &fifth).await.status, 202);
    let sixth = served.asks(7, 6).await;
    let error = required(&served.commissions(7, &sixth).await)
        .error
        .unwrap();
    assert!(error.contains("unpaid"), "{error}");
    // Until somebody forgives it, and the answer says who can, and how.
    let path = format!("/api/v1/payers/{}/forgive", payer().to_checksum(None));
    let body = json!({ "asset": format!("eip155:31337/erc20:{TOKEN:#x}") });
    for part in [
        "10000 base units of that are lost",
        "an admin",
        &path,
        &body.to_string(),
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let ask = served
        .ask("POST", &path)
        .bearer(&served.tokens.admin)
        .json(&body);
    assert_eq!(ask.send().await.status, 204);
    assert_eq!(served.commissions(7, &sixth).await.status, 202);
}

#[tokio::test]
async fn a_payer_who_spends_the_money_meanwhile_has_it_undone() {
    let served = selling().await;
    let signed = served.asks(7, 1).await;
    let answer = served.commissions(7, &signed).await;
    let (at, doc) = (location(&answer), answer.json());
    served.money.set(Mode::FailsForGood);
    served.money.uses(payer(), B256::repeat_byte(1));
    served.says(&doc["command"], State::Done).await;
    served.stands(&at, "capturing").await;
    served.money.finalizes().await;
    served.later(1);
    let lost = served.stands(&at, "lost").await;
    assert_eq!(lost["charged"], false);
    let given = served.given().await;
    assert_eq!((given.len(), &given[0]["name"]), (2, &json!("lock")));
}

/// The payer has the money again and brings what was signed, in a block that nobody has read yet.
#[tokio::test]
async fn what_its_payer_brings_after_all_is_waited_for_before_anything_is_undone() {
    let served = selling().await;
    let signed = served.asks(7, 1).await;
    let answer = served.commissions(7, &signed).await;
    let (at, doc) = (location(&answer), answer.json());
    served.money.set(Mode::FailsForGood);
    served.says(&doc["command"], State::Done).await;
    let looks = async || {
        for _ in 0..5 {
            served.later(1);
            served.sales.look_now().await;
            assert_eq!(served.get(&at).send().await.ok()["state"], "capturing");
        }
    };
    looks().await;
    assert_eq!(served.money.ordered().len(), 4, "it was tried anew");
    served.money.finalizes().await;
    served.money.uses(payer(), B256::repeat_byte(1));
    looks().await;
    served.money.is_brought().await;
    served.later(1);
    served.stands(&at, "captured").await;
    assert_eq!(served.given().await.len(), 1, "nothing is undone");
}

#[tokio::test]
async fn what_comes_short_of_a_device_that_has_acted_has_it_undone() {
    let served = selling().await;
    let signed = served.asks(7, 1).await;
    let answer = served.commissions(7, &signed).await;
    let (at, doc) = (location(&answer), answer.json());
    served.money.set(Mode::TakesFee);
    served.says(&doc["command"], State::Done).await;
    let _ = served.stands(&at, "capturing").await;
    served.sales.look_now().await;
    served.money.finalizes().await;
    served.later(1);
    let lost = served.stands(&at, "lost").await;
    assert_eq!(lost["charged"], false);
    let given = served.given().await;
    assert_eq!((given.len(), &given[0]["name"]), (2, &json!("lock")));
}

#[tokio::test]
async fn what_can_not_be_undone_needs_an_escrow() {
    let served = selling().await;
    let mut offer = lock();
    offer["sells"]["command"]
        .as_object_mut()
        .unwrap()
        .remove("undo");
    let detail = served.offers("for-good", &offer).await.problem(400);
    assert!(
        detail.contains("`loss_limit` is for commands that can be undone"),
        "{detail}"
    );
    offer["prices"][0]
        .as_object_mut()
        .unwrap()
        .remove("loss_limit");
    let detail = served.offers("for-good", &offer).await.problem(400);
    assert!(detail.contains("escrow"), "{detail}");
    let mut offer = lock();
    offer["prices"][0]
        .as_object_mut()
        .unwrap()
        .remove("loss_limit");
    let detail = served.offers("lock-marked", &offer).await.problem(400);
    assert!(detail.contains("`loss_limit` is missing"), "{detail}");
    offer["prices"][0]["loss_limit"] = json!("0.001");
    let detail = served.offers("lock-marked", &offer).await.problem(400);
    assert!(detail.contains("less than the price"), "{detail}");
}

#[tokio::test]
async fn data_and_commands_are_asked_for_by_their_own_methods() {
    let served = selling().await;
    served.get(LOCK).send().await.problem(405);
    assert_eq!(
        served
            .offers("feed-marked", &super::x402::series())
            .await
            .status,
        201
    );
    let post = served.ask("POST", "/x402/acme/feed-marked").send().await;
    post.problem(405);
    let other = format!("{LOCK}/{}", "00".repeat(16));
    served.get(&other).send().await.problem(404);
    served.get(&format!("{LOCK}/x")).send().await.problem(404);
    assert_ne!(Address::ZERO, payer());
}

#[tokio::test]
async fn a_body_is_bounded_and_read_as_it_is() {
    let served = selling().await;
    let signed = served.asks(7, 1).await;
    let posted = async |length: usize| {
        let wish = r#"{"argument":7}"#;
        let body = format!("{wish}{}", " ".repeat(length - wish.len()));
        let ask = served.ask("POST", LOCK).body(body);
        let ask = ask.header("content-type", "application/json");
        let ask = ask.header("PAYMENT-SIGNATURE", &signed.header());
        ask.header("prefer", "respond-async").send().await
    };
    let detail = posted(4 * 1024 + 1).await.problem(413);
    assert!(detail.contains("4096"), "{detail}");
    assert_eq!(served.given().await.len(), 0, "nothing is taken of it");
    assert_eq!(posted(4 * 1024).await.status, 202);
    assert_eq!(served.given().await.len(), 1);
}

#[tokio::test]
async fn a_capture_that_a_reorganisation_takes_back_is_made_up_for() {
    let served = selling().await;
    let signed = served.asks(7, 1).await;
    let answer = served.commissions(7, &signed).await;
    let (at, doc) = (location(&answer), answer.json());
    served.says(&doc["command"], State::Done).await;
    served.stands(&at, "captured").await;
    assert_eq!(served.money.balance(PAYEE), 10_000);
    served.money.takes_back().await;
    // No time has to go by before its charge is looked at.
    served.sales.look_now().await;
    let list = served.read("/api/v1/purchases").await.ok();
    let all = list["items"].as_array().unwrap();
    let kept = all.iter().find(|it| it["offer"] == "lock-marked").unwrap();
    assert_eq!(kept["state"], "capturing", "{kept}");
    let doc = served.get(&at).send().await.ok();
    assert_eq!(
        (&doc["charged"], &doc["transaction"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(served.money.balance(PAYEE), 0);
    // It is included again by itself: nothing is ordered and nothing is done anew.
    served.money.include().await;
    served.later(1);
    let doc = served.stands(&at, "captured").await;
    assert_eq!(doc["charged"], true);
    assert_eq!(served.money.balance(PAYEE), 10_000);
    assert_eq!(
        (served.money.ordered().len(), served.given().await.len()),
        (1, 1)
    );
}

/// Its payer cancels what was signed in the branch that has taken the settlement's place, and orders again at once.
#[tokio::test]
async fn what_a_reorganisation_takes_back_counts_to_the_limit_of_its_payer_at_once() {
    let served = selling().await;
    let mut offer = lock();
    offer["prices"][0]["loss_limit"] = json!("0.01");
    assert_eq!(served.offers("lock-marked", &offer).await.status, 200);
    let signed = served.asks(7, 1).await;
    let answer = served.commissions(7, &signed).await;
    let (at, doc) = (location(&answer), answer.json());
    served.says(&doc["command"], State::Done).await;
    served.stands(&at, "captured").await;
    // What is paid does not count: one more is within the limit.
    let second = served.asks(8, 2).await;
    let answer = served.commissions(8, &second).await;
    let (other, doc) = (location(&answer), answer.json());
    served.says(&doc["command"], State::Failed).await;
    served.stands(&other, "free").await;

    served.money.takes_back().await;
    served.money.uses(payer(), B256::repeat_byte(1));
    // Nobody has gone on with its charge: it is told as the chain has it.
    let doc = served.get(&at).send().await.ok();
    assert_eq!(
        (&doc["state"], &doc["charged"], &doc["transaction"]),
        (&json!("capturing"), &json!(false), &Value::Null)
    );
    let given = served.given().await.len();
    let third = served.asks(9, 3).await;
    let error = required(&served.commissions(9, &third).await)
        .error
        .unwrap();
    assert!(error.contains("beyond the limit of 10000"), "{error}");
    assert_eq!(served.given().await.len(), given);

    // The settlement is in the new branch, and is reverted there: nothing follows before that is final.
    served.money.include_as(Mode::Reverts).await;
    served.later(1);
    served.sales.look_now().await;
    assert_eq!(served.get(&at).send().await.ok()["state"], "capturing");
    served.money.finalizes().await;
    served.later(1);
    served.stands(&at, "lost").await;
    let now = served.given().await;
    assert_eq!((now.len(), &now[0]["name"]), (given + 1, &json!("lock")));
    let error = required(&served.commissions(9, &third).await)
        .error
        .unwrap();
    assert!(error.contains("beyond the limit of 10000"), "{error}");
    assert_eq!(served.money.balance(PAYEE), 0);
}

/// The hub's own transaction is reverted in a block, since the payer has moved the money, and is deep or final by the
/// time at which the payer makes the hold by themselves: in the newest block, which any reorganisation takes back.
#[tokio::test]
async fn a_hold_is_as_deep_as_the_block_that_has_it_and_not_the_hubs_transaction() {
    let served = selling().await;
    let mut offer = lock();
    offer["needs"] = json!({ "confirmations": 12 });
    assert_eq!(served.offers("lock-marked", &offer).await.status, 200);
    for (nonce, is_final) in [(1, false), (2, true)] {
        let signed = served.asks(7, nonce).await;
        let answer = served.commissions(7, &signed).await;
        let (at, doc) = (location(&answer), answer.json());
        served.money.set(Mode::Reverts);
        served.money.escrow_says(0);
        served.is_by_hold(&doc).await;
        served.later(1);
        served.stands(&at, "waiting").await;
        let first = 100 * u64::from(nonce);
        served.money.read_up_to(first).await;
        if is_final {
            served.money.finalizes().await;
        }
        let newest = first + 1;
        served.money.escrow_holds_from(newest);
        for (block, state) in [
            (newest, "waiting"),
            (newest + 10, "waiting"),
            (newest + 11, "acting"),
        ] {
            served.money.read_up_to(block).await;
            served.later(1);
            served.sales.look_now().await;
            let doc = served.get(&at).send().await.ok();
            assert_eq!(doc["state"], state, "{is_final} {block}");
        }
    }
}

/// Its payer has brought it before the hub, on a chain whose blocks are final long after nodes have let their state go.
#[tokio::test]
async fn a_hold_of_another_is_final_where_nobody_has_the_state_of_the_final_block() {
    let served = selling().await;
    let mut offer = lock();
    offer["needs"] = json!("finalized");
    assert_eq!(served.offers("lock-marked", &offer).await.status, 200);
    let signed = served.asks(7, 1).await;
    let answer = served.commissions(7, &signed).await;
    let (at, doc) = (location(&answer), answer.json());
    let money = &served.money;
    money.set(Mode::Reverts);
    money.escrow_says(0);
    served.is_by_hold(&doc).await;
    let looks = async |state: &str, when: &str| {
        served.later(1);
        served.sales.look_now().await;
        let doc = served.get(&at).send().await.ok();
        assert_eq!(doc["state"], state, "{when}");
    };
    looks("waiting", "nobody has made it").await;
    money.read_up_to(100).await;
    money.finalizes().await;
    money.has_state_from(105);
    money.escrow_holds_from(110);
    money.read_up_to(110).await;
    looks("waiting", "it is not final").await;
    money.escrow_says(0);
    looks("waiting", "it is gone again").await;
    money.read_up_to(112).await;
    money.finalizes().await;
    money.has_state_from(114);
    money.escrow_holds_from(115);
    money.read_up_to(115).await;
    looks("waiting", "another block has it").await;
    money.finalizes().await;
    money.read_up_to(200).await;
    money.has_state_from(150);
    looks("acting", "that block is final").await;
}

#[tokio::test]
async fn a_hold_that_is_gone_and_was_cancelled_is_lost_once_that_is_final() {
    let served = selling().await;
    let at = served.acts_on_a_hold_that_goes().await;
    served.money.uses(payer(), B256::repeat_byte(1));
    served.later(1);
    served.sales.look_now().await;
    assert_eq!(served.get(&at).send().await.ok()["state"], "capturing");
    served.money.finalizes().await;
    served.later(1);
    let lost = served.stands(&at, "lost").await;
    assert_eq!(lost["charged"], false);
    // The one that holds, and the one that releases.
    assert_eq!(served.money.ordered().len(), 2);
}

#[tokio::test]
async fn a_hold_that_is_gone_is_made_again_while_what_was_signed_stands() {
    let served = selling().await;
    let at = served.acts_on_a_hold_that_goes().await;
    served.money.finalizes().await;
    served.money.set(Mode::Waits);
    let ordered = async || {
        served.later(1);
        served.sales.look_now().await;
        assert_eq!(served.get(&at).send().await.ok()["state"], "capturing");
        let all = served.money.ordered().into_iter();
        all.map(|order| order.key).collect::<Vec<_>>()
    };
    let keys = ordered().await;
    assert_eq!(keys.len(), 3, "{keys:?}");
    assert_eq!(keys[2], format!("{}-1", keys[0]));
    assert_eq!(ordered().await.len(), 3, "once");
    served.money.escrow_says(1);
    let keys = ordered().await;
    assert_eq!(keys.len(), 4, "{keys:?}");
    assert_eq!(keys[3], format!("{}-release-1", keys[0]));
}

#[tokio::test]
async fn a_hold_that_never_came_to_be_is_free_once_that_is_final() {
    let served = selling().await;
    let signed = served.asks(7, 1).await;
    let answer = served.commissions(7, &signed).await;
    let (at, doc) = (location(&answer), answer.json());
    served.money.set(Mode::Reverts);
    served.money.uses(payer(), B256::repeat_byte(1));
    served.is_by_hold(&doc).await;
    served.later(1);
    served.sales.look_now().await;
    assert_eq!(served.get(&at).send().await.ok()["state"], "waiting");
    served.later(31);
    served.stands(&at, "refunding").await;
    served.money.finalizes().await;
    served.later(1);
    let free = served.stands(&at, "free").await;
    assert_eq!(free["charged"], false);
    assert_eq!(
        served.money.ordered().len(),
        1,
        "there is nothing to give back"
    );
}
