//! A device acts for a payment, and is paid when it has said so.

use std::time::{Duration, Instant};

use alloy_primitives::Address;
use serde_json::{Value, json};
use stencil_devchain::Mining;

use crate::shop::{FINAL, PAYEE, Shop, payer};
use crate::support::{BoardDevice, Gateway, wait_for};

const LOCK: &str = "lock-07";
/// The argument of what undoes something.
const UNDO: i64 = 99;
/// A charge that is paid is looked at once a minute where nothing is heard of it: what is far sooner was heard.
const SOON: Duration = Duration::from_secs(30);

struct Site {
    shop: Shop,
    gateway: Gateway,
    device: BoardDevice,
}

impl Site {
    fn open() -> Self {
        let shop = Shop::open(
            &[],
            &[
                ("STENCIL_HUB_DISPATCH__SWEEP_INTERVAL_MS", "100"),
                ("STENCIL_HUB_DISPATCH__RESEND_AFTER_MS", "1000"),
                ("STENCIL_HUB_DISPATCH__EXPIRY_GRACE_MS", "300"),
            ],
        );
        let mut gateway = Gateway::add(&shop.hub, "gw-1");
        gateway.start();
        let psk = gateway.add_device(LOCK);
        let device = BoardDevice::on(LOCK, psk);
        device.find(gateway.address());
        let site = Self {
            shop,
            gateway,
            device,
        };
        wait_for("the device's link", || {
            let device = site.shop.hub.get(&format!("/api/v1/devices/{LOCK}")).body;
            let device: Value = serde_json::from_str(&device).unwrap_or(Value::Null);
            (device["connected"] == true).then_some(())
        });
        site
    }

    fn offers(&self, name: &str, seconds: u64, undo: bool) {
        let mut price = self.shop.price(self.shop.token);
        let mut command = json!({
            "device": LOCK, "name": "lock", "argument": "given", "expires_in_s": seconds,
        });
        if undo {
            price["loss_limit"] = json!("1");
            command["undo"] = json!({ "name": "unlock", "argument": UNDO });
        }
        let offer = json!({
            "sells": { "command": command }, "prices": [price], "settle_s": 2,
        });
        self.shop.offer(name, &offer);
    }

    /// What can be undone, for a payer who may owe one price.
    fn offers_at_one_price_of_loss(&self, name: &str) {
        let mut price = self.shop.price(self.shop.token);
        price["loss_limit"] = price["amount"].clone();
        let offer = json!({
            "sells": { "command": {
                "device": LOCK, "name": "lock", "argument": "given", "expires_in_s": 30,
                "undo": { "name": "unlock", "argument": UNDO },
            } },
            "prices": [price], "settle_s": 2,
        });
        self.shop.offer(name, &offer);
    }

    fn balances(&self) -> [u64; 3] {
        let token = self.shop.token;
        [payer().address, PAYEE, self.shop.escrow].map(|of: Address| self.shop.balance(token, of))
    }

    /// Orders by our own hand; where to ask for it.
    fn order(&mut self, name: &str, argument: i64) -> (String, String) {
        let (path, body) = (
            format!("/x402/acme/{name}"),
            json!({ "argument": argument }).to_string(),
        );
        let required = self.shop.asks("POST", &path, &body);
        let signed = self.shop.signs(&required);
        let headers = [
            ("payment-signature", signed.as_str()),
            ("prefer", "respond-async"),
        ];
        let answer = self.shop.send("POST", &path, &headers, &body);
        assert_eq!(answer.status, 202, "{answer:?}");
        (answer.head["location"].clone(), signed)
    }

    fn stands(&self, at: &str, state: &str) -> Value {
        wait_for(&format!("{at} to be {state}"), || {
            let answer = self.shop.send("GET", at, &[], "");
            let doc = answer.json();
            (doc["state"] == state).then_some(doc)
        })
    }
}

#[test]
fn npms_client_has_a_device_act_and_pays_for_it() {
    let site = Site::open();
    site.offers("lock", 30, true);
    let [payer_had, ..] = site.balances();
    let bought = site
        .shop
        .buys_by_npm("POST", "/x402/acme/lock", r#"{"argument":7}"#);
    assert_eq!(bought["status"], 200, "{bought}");
    assert_eq!(bought["body"]["state"], "captured");
    assert_eq!(bought["body"]["command"]["state"], "done");
    assert_eq!(
        bought["settled"]["transaction"],
        bought["body"]["transaction"]
    );
    assert_eq!(site.device.did(7), 1);
    assert_eq!(site.balances(), [payer_had - 10_000, 10_000, 0]);
    site.shop.hub.is_sound();
}

#[test]
fn without_an_acknowledgement_nothing_is_charged() {
    let mut site = Site::open();
    site.offers("lock", 1, true);
    site.offers("for-good", 1, false);
    let before = site.balances();
    // The gateway has the command, and the device is silent: it is given up when a settlement could
    // not be had any more.
    site.device.unplug(true);
    let (bare, signed) = site.order("lock", 7);
    let free = site.stands(&bare, "free");
    assert_eq!(free["charged"], false);
    // Nobody can have got this one: what is held goes back at once.
    site.gateway.kill();
    let (held, _) = site.order("for-good", 8);
    site.stands(&held, "free");
    assert_eq!(site.balances(), before);
    let again = site.shop.send(
        "POST",
        "/x402/acme/lock",
        &[("payment-signature", &signed)],
        r#"{"argument":7}"#,
    );
    assert_eq!(again.status, 502, "{again:?}");
    assert_eq!((site.device.did(7), site.device.did(8)), (0, 0));
    site.shop.hub.is_sound();
}

#[test]
fn what_can_not_be_undone_is_held_first_and_released_on_the_devices_word() {
    let mut site = Site::open();
    site.offers("for-good", 30, false);
    let [payer_had, ..] = site.balances();
    let (at, _) = site.order("for-good", 7);
    let doc = site.stands(&at, "captured");
    assert_eq!(site.device.did(7), 1);
    assert_eq!(site.balances(), [payer_had - 10_000, 10_000, 0]);
    let receipt = site.shop.receipt(doc["transaction"].as_str().unwrap());
    assert_eq!(receipt["status"], "0x1");
    site.shop.hub.is_sound();
}

#[test]
fn a_device_acts_once_and_is_paid_once_wherever_the_hub_was_killed() {
    let mut site = Site::open();
    site.offers("lock", 30, true);
    let [payer_had, ..] = site.balances();
    let points = [
        "x402.commissioned:1",
        "cashier.before_created:1",
        "x402.acting:1",
        "x402.charge_kept:1",
        "send.signed:1",
        "x402.charge_done:1",
        "x402.charge_kept:2",
    ];
    for (n, point) in (1..).zip(points) {
        site.shop.hub.start_again(Some(point));
        let argument = 100 + i64::try_from(n).unwrap();
        let body = json!({ "argument": argument }).to_string();
        let path = "/x402/acme/lock";
        let signed = {
            let required = wait_for("the chain to be known", || {
                let answer = site.shop.send("POST", path, &[], &body);
                (answer.status == 402).then(|| site.shop.asks("POST", path, &body))
            });
            site.shop.signs(&required)
        };
        let headers = [("payment-signature", signed.as_str())];
        let cut = site.shop.try_send("POST", path, &headers, &body);
        assert!(cut.is_none(), "{point} was not reached: {cut:?}");
        site.shop.hub.ended();
        site.shop.hub.start_again(None);
        let answer = wait_for(&format!("what was paid for, after {point}"), || {
            let answer = site.shop.send("POST", path, &headers, &body);
            (!matches!(answer.status, 202 | 503)).then_some(answer)
        });
        assert_eq!(answer.status, 200, "{point}: {answer:?}");
        assert_eq!(site.device.did(argument), 1, "{point}");
        let paid = n * 10_000;
        assert_eq!(site.balances(), [payer_had - paid, paid, 0], "{point}");
    }
    site.shop.hub.is_sound();
}

/// Its payer cancels what was signed in the branch that has taken the settlement's place, and orders again at once.
#[test]
fn what_a_reorganisation_takes_back_is_owed_at_once_and_lost_when_its_payer_has_cancelled() {
    let mut site = Site::open();
    site.offers_at_one_price_of_loss("lock");
    let [payer_had, ..] = site.balances();
    // What is paid does not count, however often: a limit of one price is no limit for who pays.
    for argument in [6, 7] {
        let (at, _) = site.order("lock", argument);
        site.stands(&at, "captured");
        site.shop.mine(1);
    }
    let (at, signed) = site.order("lock", 8);
    let doc = site.stands(&at, "captured");
    let settlement = doc["transaction"].as_str().unwrap().to_owned();
    site.shop.chain.set_mining(Mining::Manual);
    let begun = Instant::now();
    site.shop.reorganises(1);
    site.shop.cancels(site.shop.token);
    site.shop.mine(1);
    let doc = site.stands(&at, "capturing");
    assert_eq!(
        (&doc["charged"], &doc["transaction"]),
        (&json!(false), &Value::Null)
    );
    let body = json!({ "argument": 9 }).to_string();
    let path = "/x402/acme/lock";
    let required = wait_for("the price to be asked again", || {
        let answer = site.shop.send("POST", path, &[], &body);
        (answer.status == 402).then(|| site.shop.asks("POST", path, &body))
    });
    let again = site.shop.signs(&required);
    let headers = [("payment-signature", again.as_str())];
    let refused = site.shop.send("POST", path, &headers, &body);
    assert_eq!(refused.status, 402, "{refused:?}");
    assert!(refused.body.contains("beyond the limit"), "{refused:?}");

    // The settlement is sent again and fails; when that is final, what was done is undone.
    let receipt = wait_for("the settlement to be sent again", || {
        if site.shop.has_waiting() {
            site.shop.mine(1);
        }
        let receipt = site.shop.receipt(&settlement);
        (!receipt.is_null()).then_some(receipt)
    });
    assert_eq!(receipt["status"], "0x0", "its payer has cancelled it");
    site.shop.mine(FINAL);
    let lost = site.stands(&at, "lost");
    assert_eq!(lost["charged"], false);
    wait_for("what was done to be undone", || {
        (site.device.did(UNDO) == 1).then_some(())
    });
    assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
    let headers = [("payment-signature", signed.as_str())];
    let body = json!({ "argument": 8 }).to_string();
    assert_eq!(site.shop.send("POST", path, &headers, &body).status, 502);
    assert_eq!((site.device.did(8), site.device.did(9)), (1, 0));
    assert_eq!(site.balances(), [payer_had - 20_000, 20_000, 0]);
    site.shop.hub.is_sound();
}
