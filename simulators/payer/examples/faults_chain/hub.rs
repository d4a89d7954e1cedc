//! A hub that is paid, and acts on it: what each invoice, the ledger and each device comes to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::api::Api;
use crate::books::{self, Ledger};
use crate::chance::Chance;
use crate::doors::{self, Doors};
use crate::process::Site;
use crate::shop::{self, Credit, Expected, Shop};
use crate::world::{CHAIN_ID, World};

/// Confirmations until a payment counts.
const CONFIRMATIONS: u32 = 3;
/// Confirmations until a block is final: fewer than reorganisations go deep, so that what was final is
/// retracted at times.
const FINALITY: u64 = 6;
/// How long it may take to book and do all, once its endpoints are sound.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(25);
/// What must not happen any more does not within that time.
const STILL: Duration = Duration::from_secs(2);
/// 30 days: nothing here is late.
const EXPIRES_S: u32 = 2_592_000;
/// More than all gas costs.
const SPENT_AT_MOST: &str = "1000000000000000000000";

pub(crate) struct Hub {
    site: Site,
    doors: Option<Doors>,
    shop: Shop,
    ledger: Ledger,
    round_from: u64,
    /// References of all invoices that are paid, up to the last round that was checked.
    paid: BTreeSet<String>,
    /// Events that are there, up to the last round that was checked.
    events: BTreeSet<String>,
    /// Payments that are of no invoice, up to the last round that was checked.
    strays: BTreeSet<Credit>,
    /// Payments that stand, up to the last round that was checked.
    credits: usize,
    loses: bool,
    checked: usize,
}

impl Hub {
    /// Between which steps it may die.
    pub(crate) const POINTS: &'static [&'static str] = &[
        "chain.before_commit",
        "chain.after_commit",
        "cashier.before_created",
        "cashier.created",
        "cashier.before_commit",
        "cashier.after_commit",
        "cashier.before_position",
        "cashier.after_position",
        "cashier.told",
        "send.reserved",
        "send.signed",
        "send.broadcast",
        "dispatch.before_publish",
        "dispatch.after_publish",
        "pipeline.before_commit",
        "pipeline.after_commit",
        "workflow.after_effect",
    ];

    pub(crate) fn new(stencil: PathBuf, folder: PathBuf, world: &World) -> Self {
        let urls = world.faulty.each_ref().map(|endpoint| endpoint.url());
        let key = folder.join("account.key");
        let secret = hex(world.hub_key.as_slice());
        stencil_crypto::keyfile::write(&key, secret.as_bytes()).unwrap();
        let config = format!(
            "[dispatch]\nsweep_interval_ms = 200\nresend_after_ms = 1000\n\
             [chains.dev]\npayments = \"{}\"\n\
             account = {{ plain_key_file = {key:?}, allow_plain_key = true }}\n\
             [chains.dev.follow]\nchain_id = {CHAIN_ID}\nendpoints = {urls:?}\nwake = {:?}\n\
             finality = {FINALITY}\nstart = 1\npoll_interval_ms = 40\ncall_timeout_ms = 250\nmax_behind_s = 0\n\
             [[chains.dev.tokens]]\nsymbol = \"DUSD\"\naddress = \"{}\"\ndecimals = 6\n\
             eip712 = {{ name = \"Dev Dollar\", version = \"2\" }}\n",
            world.contract.to_checksum(None),
            world.faulty[0].ws_url(),
            world.token.to_checksum(None),
        );
        Self {
            site: Site::new(stencil, folder, &config),
            doors: None,
            shop: Shop::default(),
            ledger: Ledger::default(),
            round_from: 0,
            paid: BTreeSet::new(),
            events: BTreeSet::new(),
            strays: BTreeSet::new(),
            credits: 0,
            loses: false,
            checked: 0,
        }
    }

    /// Starts it, and sets how its tenant is paid and what follows. The chain has to have confirmed the
    /// token before.
    pub(crate) async fn prepare(&mut self, world: &World) {
        let operator = self.site.operator();
        self.site.start(None);
        let api = self.site.api().expect("the hub runs");
        let settings = shop::settings(CONFIRMATIONS, EXPIRES_S);
        let until = Instant::now() + PATIENCE;
        let path = "/api/v1/payments/settings";
        while let Err(error) = api.send("PUT", path, Some(&settings), None).await {
            assert!(Instant::now() < until, "{error}");
            tokio::time::sleep(PAUSE).await;
        }
        let limit = json!({
            "chain": "dev", "token": null, "window_s": 2_592_000, "most": SPENT_AT_MOST,
        });
        let path = "/api/v1/operator/tenants/acme/spend-limits";
        let operator = api.acting_as(&operator);
        let set = operator.send("PUT", path, Some(&limit), None);
        set.await.unwrap_or_else(|error| panic!("{error}"));
        for (name, workflow) in doors::workflows(&world.contract.to_checksum(None)) {
            let (path, workflow) = (format!("/api/v1/workflows/{name}"), Value::String(workflow));
            let put = api.send("PUT", &path, Some(&workflow), None).await;
            put.unwrap_or_else(|error| panic!("{error}"));
        }
        self.doors = Some(Doors::new(&self.site));
    }

    pub(crate) fn start(&mut self, crash: Option<String>) {
        self.site.start(crash);
    }

    pub(crate) fn kill(&mut self) -> bool {
        self.site.kill()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.site.has_ended()
    }

    pub(crate) fn ended_at_a_point(&self) -> u32 {
        self.site.ended_at_a_point
    }

    pub(crate) async fn pay(&mut self, world: &mut World, chance: Chance) {
        self.begin(world).await;
        if let Some(api) = self.site.api() {
            self.shop.pay(api, world, chance).await;
        }
    }

    async fn begin(&mut self, world: &World) {
        if self.round_from != world.round_from {
            self.round_from = world.round_from;
            self.shop.begin_round(world).await;
        }
    }

    pub(crate) async fn see(&mut self, world: &World, within: Duration) {
        let until = Instant::now() + within;
        self.begin(world).await;
        let expected = self.shop.expected(world, false).await.invoices;
        while Instant::now() < until && !self.has_ended() {
            if self.differences(&expected, false, false).await.is_empty() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Invoices that are not what they should be. In the middle of a round they need not count yet.
    async fn differences(
        &self,
        expected: &BTreeMap<usize, Vec<Credit>>,
        settled: bool,
        lose: bool,
    ) -> Vec<String> {
        let mut differences = Vec::new();
        let Some(api) = self.site.api() else {
            return vec!["the hub does not run".to_owned()];
        };
        for (place, credits) in expected {
            let invoice = &self.shop.invoices[*place];
            let path = format!("/api/v1/invoices/{}", invoice.id);
            let mut view = match api.send("GET", &path, None, None).await {
                Ok(view) => view,
                Err(error) => {
                    differences.push(format!("invoice {}: {error}", invoice.id));
                    continue;
                }
            };
            if lose && let Some(payments) = view["payments"].as_array_mut() {
                payments.pop();
            }
            let due = settled.then_some(invoice.due);
            if let Err(why) = books::invoice(&view, credits, due) {
                differences.push(format!(
                    "invoice {} ({}, {}): {why}",
                    invoice.id, invoice.reference, invoice.way
                ));
            }
        }
        differences
    }

    /// Waits until all that was paid is booked and done, and nothing else; of this round, or once more
    /// of all. Gives how many payments stand, and what does not hold.
    pub(crate) async fn check(&mut self, world: &World, all: bool) -> (usize, Vec<String>) {
        self.begin(world).await;
        let until = Instant::now() + PATIENCE;
        if all {
            tokio::time::sleep(STILL).await;
        }
        let mut problems = self.kept(world, until).await;
        let Expected {
            invoices: expected,
            came,
            strays,
        } = self.shop.expected(world, all).await;
        loop {
            self.stays();
            let differences = self.differences(&expected, true, false).await;
            if differences.is_empty() || Instant::now() > until {
                problems.extend(differences);
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        if self.loses {
            problems.extend(self.differences(&expected, true, true).await);
        }
        let found = came + strays.len();
        self.checked += expected.len();
        if all {
            self.credits = 0;
            let again: BTreeSet<String> = self.shop.paid(&expected).collect();
            if again != self.paid || strays != self.strays {
                problems.push("the chain has other payments than round by round".to_owned());
            }
        } else {
            self.paid.extend(self.shop.paid(&expected));
            self.events.extend(world.events().await);
            self.strays.extend(strays);
        }
        self.credits += found;
        problems.extend(self.done(until).await);
        problems.extend(self.booked(world, all, until).await);
        if all {
            problems.extend(self.once(until).await);
        }
        problems.append(&mut self.site.problems);
        problems.append(&mut self.shop.problems);
        (found, problems)
    }

    /// Starts it again where it has come to a point of its own only now.
    fn stays(&mut self) {
        if self.has_ended() {
            self.start(None);
        }
    }

    /// Waits until each authorisation that the hub has taken is brought; what was promised is kept.
    async fn kept(&mut self, world: &World, until: Instant) -> Vec<String> {
        loop {
            let open = world.broken_promises().await;
            if open.is_empty() {
                // All of it deep enough.
                world.end_round();
                return Vec::new();
            }
            if Instant::now() > until {
                return open;
            }
            self.stays();
            world.mine(1);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until devices have done what they should.
    async fn done(&mut self, until: Instant) -> Vec<String> {
        loop {
            self.stays();
            let doors = self.doors.as_ref().expect("it is prepared");
            let differences = doors.differences(&self.paid, &self.events);
            if differences.is_empty() || Instant::now() > until {
                return differences;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until the ledger says what came.
    async fn booked(&mut self, world: &World, all: bool, until: Instant) -> Vec<String> {
        if all {
            self.ledger = Ledger::default();
        }
        let holds = world.payee_holds().await;
        loop {
            self.stays();
            let problems = match self.site.api() {
                None => vec!["the hub does not run".to_owned()],
                Some(api) => self.ledger.look(api, holds, &self.strays).await,
            };
            if problems.is_empty() || Instant::now() > until {
                return problems;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// No invoice was made twice, and what the workflow wrote it wrote once.
    async fn once(&mut self, until: Instant) -> Vec<String> {
        self.stays();
        let Some(api) = self.site.api() else {
            return vec!["the hub does not run".to_owned()];
        };
        let mut problems = made_once(api).await;
        loop {
            let notes = books::notes(api, &self.paid).await;
            if notes.is_empty() || Instant::now() > until {
                problems.extend(notes);
                return problems;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub(crate) fn lose_one(&mut self) {
        self.loses = true;
    }

    pub(crate) fn counts(&self, rounds: u32) -> (Value, bool) {
        let doors = self.doors.as_ref().map(Doors::total);
        let [door, bell] = doors.unwrap_or_default();
        let counts = json!({
            "invoices": self.shop.invoices.len(),
            "invoices_checked": self.checked,
            "invoices_paid": self.paid.len(),
            "credits": self.credits,
            "credits_of_no_invoice": self.strays.len(),
            "authorizations_brought_by_the_hub": self.shop.brought,
            "journal_entries": self.ledger.entries,
            "door_opened": door.acted,
            "door_shut": door.undone,
            "bell_rung": bell.acted,
            "bell_hushed": bell.undone,
            "hub_starts": self.site.starts,
        });
        let enough = !self.paid.is_empty()
            && door.acted > 0
            && (rounds < 10 || bell.undone > 0)
            && (rounds < 20 || (door.undone > 0 && self.shop.brought > 0));
        (counts, enough)
    }
}

/// Each reference has one invoice, however often it was asked for.
async fn made_once(api: &Api) -> Vec<String> {
    let made = match api.items("/api/v1/invoices").await {
        Ok(made) => made,
        Err(error) => return vec![error.to_string()],
    };
    let mut times: BTreeMap<&str, u32> = BTreeMap::new();
    for invoice in &made {
        *times
            .entry(invoice["reference"].as_str().unwrap_or_default())
            .or_default() += 1;
    }
    times.retain(|_, times| *times > 1);
    times
        .iter()
        .map(|(reference, times)| format!("{reference} was made {times} times"))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
