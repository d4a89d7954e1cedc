#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use stencil_protocol::id::TenantId;

use super::super::again;
use super::*;
use crate::sqlite::{self, Sqlite};
use crate::{
    BlockMark, Brought, Chains as _, NewSend, SendAttempt, SendOutcome, SendState, Sends as _,
    Tenancy as _,
};

/// Whose sends there are, and on which chain.
type Of = (&'static str, &'static str);

const ACME: Of = ("acme", "dev");
/// One beside it on its chain, and of each of them what is on another.
const ALL: [Of; 4] = [ACME, ("other", "dev"), ("acme", "main"), ("other", "main")];
const SENDER: [u8; 20] = [1; 20];
const TOKEN: [u8; 20] = [9; 20];

fn amount(n: u128) -> Amount {
    let mut amount = NOTHING;
    amount[16..].copy_from_slice(&n.to_be_bytes());
    amount
}

fn limit((tenant, chain): Of, window_s: u32, asset: Option<[u8; 20]>) -> SpendLimit {
    SpendLimit {
        tenant: tenant.to_owned(),
        chain: chain.to_owned(),
        asset,
        window_s,
        most: [0xff; 32],
    }
}

/// A send as the test has it.
#[derive(Debug, Clone, Copy)]
struct One {
    of: Of,
    nonce: u64,
    at_us: i64,
    value: u128,
    token: Option<u128>,
    is_sale: bool,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Open,
    Final {
        block: u64,
        succeeded: bool,
        fee: Option<u128>,
    },
    /// An empty transaction took its place.
    GivenUp {
        block: u64,
        fee: Option<u128>,
    },
    Lost,
}

impl State {
    /// In which block it is final.
    fn block(self) -> Option<u64> {
        match self {
            Self::Final { block, .. } | Self::GivenUp { block, .. } => Some(block),
            Self::Open | Self::Lost => None,
        }
    }
}

const MOST_FEE: u128 = 1_000;

impl One {
    fn came_to(&self, of_token: bool) -> u128 {
        let (moved, fee) = match self.state {
            State::Open => (true, MOST_FEE),
            State::Final { succeeded, fee, .. } => (succeeded, fee.unwrap_or(MOST_FEE)),
            State::GivenUp { fee, .. } => (false, fee.unwrap_or_default()),
            State::Lost => (false, 0),
        };
        let moves = if of_token {
            self.token.unwrap_or_default()
        } else {
            self.value
        };
        let fee = if of_token { 0 } else { fee };
        fee + if moved { moves } else { 0 }
    }
}

struct World {
    store: Sqlite,
    all: Vec<One>,
    now_us: i64,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite::open(folder.path().join("hub.db")).await.unwrap();
        for tenant in ["acme", "other"] {
            let tenant = TenantId::parse(tenant).unwrap();
            store.create_tenant(&tenant, 1).await.unwrap();
        }
        store.open_chain("dev", 1, 1).await.unwrap();
        store.open_chain("main", 2, 1).await.unwrap();
        for of in ALL {
            for asset in [None, Some(TOKEN)] {
                let limit = limit(of, 60, asset);
                store.set_spend_limit(&limit).await.unwrap();
            }
        }
        Self {
            store,
            all: Vec::new(),
            now_us: 20_000 * DAY_US,
            _folder: folder,
        }
    }

    async fn reserve(&mut self, of: Of, value: u128, token: Option<u128>, is_sale: bool) {
        let (tenant, chain) = of;
        let send = NewSend {
            chain: chain.to_owned(),
            sender: SENDER,
            tenant: tenant.to_owned(),
            key: self.all.len().to_string(),
            receiver: [2; 20],
            value: amount(value),
            data: Vec::new(),
            gas: 21_000,
            most_fee: amount(MOST_FEE),
            token: token.map(|moved| (TOKEN, amount(moved))),
            brings: Some(Brought {
                payer: [3; 20],
                invoice: [4; 16],
                is_sale,
            }),
        };
        let taken = self
            .store
            .reserve_send(&send, 0, self.now_us)
            .await
            .unwrap();
        self.all.push(One {
            of,
            nonce: taken.nonce,
            at_us: self.now_us,
            value,
            token,
            is_sale,
            state: State::Open,
        });
    }

    async fn set(&mut self, at: usize, state: State) {
        let One { of, nonce, .. } = self.all[at];
        let is_final = |tx, block, succeeded, fee: Option<u128>| {
            SendState::Final(SendOutcome {
                tx,
                block: mark(block),
                succeeded,
                fee: fee.map(amount),
            })
        };
        let stored = match state {
            State::Open => unreachable!("that is where it begins"),
            State::Lost => SendState::Lost,
            State::Final {
                block,
                succeeded,
                fee,
            } => is_final([5; 32], block, succeeded, fee),
            State::GivenUp { block, fee } => {
                let tx = self.give_up(at).await;
                is_final(tx, block, false, fee)
            }
        };
        let set = self.store.set_send_state(of.1, SENDER, nonce, stored);
        set.await.unwrap();
        self.all[at].state = state;
    }

    /// Signs an empty transaction in its place, unless there is one.
    async fn give_up(&self, at: usize) -> [u8; 32] {
        let One { of, nonce, .. } = self.all[at];
        let mut tx = [7; 32];
        tx[..8].copy_from_slice(&(at as u64).to_be_bytes());
        let attempt = SendAttempt {
            tx,
            raw: vec![1],
            max_fee: 1,
            max_priority: 1,
            signed_us: 1,
            gives_up: Some("intrinsic gas too low".to_owned()),
        };
        let there = self.store.send(of.0, &at.to_string()).await.unwrap();
        if there.unwrap().attempts.is_empty() {
            let added = self.store.add_attempt(of.1, SENDER, nonce, 0, &attempt);
            added.await.unwrap();
        }
        tx
    }

    /// What counts is what the sends come to one by one, whatever is summed up.
    async fn check(&self) {
        for of in ALL {
            self.check_of(of).await;
        }
    }

    async fn check_of(&self, of: Of) {
        for window_s in [60, 3_600, 7_200, 86_400, 260_000, 40 * 86_400] {
            for asset in [None, Some(TOKEN)] {
                let mut snapshot = self.store.snapshot().await.unwrap();
                let found = used(&mut snapshot, &limit(of, window_s, asset), self.now_us).await;
                let found = snapshot.end(found).await.unwrap();
                let since_us = self.now_us - i64::from(window_s) * 1_000_000;
                let counts = |one: &&One| {
                    one.of == of && one.at_us > since_us && one.came_to(asset.is_some()) > 0
                };
                let sum = |is: &dyn Fn(&One) -> bool| {
                    let all = self.all.iter().filter(counts).filter(|one| is(one));
                    amount(all.map(|one| one.came_to(asset.is_some())).sum())
                };
                let first_us = self.all.iter().filter(counts).map(|one| one.at_us).min();
                assert_eq!(
                    (found.all, found.open, found.sales, found.first_us),
                    (
                        sum(&|_| true),
                        sum(&|one| one.state == State::Open),
                        sum(&|one| one.is_sale),
                        first_us
                    ),
                    "{window_s} s of {asset:?} of {of:?}"
                );
            }
        }
    }

    async fn unsummed(&self, (tenant, chain): Of) -> u32 {
        let row = sqlx::query(
            "SELECT COUNT(*) AS sends FROM chain_sends \
             WHERE tenant = $1 AND chain = $2 AND state = 'final' AND summed IS NULL",
        )
        .bind(tenant)
        .bind(chain)
        .fetch_one(self.store.readers())
        .await
        .unwrap();
        row.number("sends").unwrap()
    }

    async fn all_unsummed(&self) -> [u32; ALL.len()] {
        let mut unsummed = [0; ALL.len()];
        for (unsummed, of) in unsummed.iter_mut().zip(ALL) {
            *unsummed = self.unsummed(of).await;
        }
        unsummed
    }
}

fn mark(block: u64) -> BlockMark {
    BlockMark {
        number: block,
        hash: [6; 32],
    }
}

#[tokio::test]
async fn what_is_summed_up_counts_as_its_sends_do() {
    let mut world = World::new().await;
    let mut seed = 7_u64;
    let mut draw = |below: u32| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        u32::try_from(seed >> 33).unwrap() % below
    };
    let (mut block, mut were_summed) = (1, 0);
    for step in 0..400 {
        let minutes = [0, 1, 40, 60, 420, 1_800][draw(6) as usize];
        world.now_us += minutes * 60_000_000 + i64::from(draw(3));
        let token = (draw(3) == 0).then(|| u128::from(draw(50)));
        let of = ALL[[0, 0, 1, 2, 3][draw(5) as usize]];
        world
            .reserve(of, u128::from(draw(100)), token, draw(2) == 0)
            .await;
        // Whatever was final before is summed up by then.
        assert_eq!(world.unsummed(of).await, 0);
        for at in world.all.len().saturating_sub(12)..world.all.len() {
            if world.all[at].state != State::Open || draw(4) > 0 {
                continue;
            }
            block += 1;
            let fee = (draw(4) > 0).then(|| u128::from(draw(90)));
            let state = match draw(9) {
                0 => State::Lost,
                1 | 2 => State::GivenUp { block, fee },
                _ => State::Final {
                    block,
                    succeeded: draw(5) > 0,
                    fee,
                },
            };
            world.set(at, state).await;
        }
        // A reorganisation of one, and one of all above a block.
        let at = world.all.len().saturating_sub(1 + draw(20) as usize);
        let One { of, nonce, .. } = world.all[at];
        let before = world.all_unsummed().await;
        match (draw(15), world.all[at].state.block()) {
            (0, Some(block)) => {
                let back = world.store.take_back_send(of.1, SENDER, nonce, mark(block));
                back.await.unwrap();
                world.all[at].state = State::Open;
            }
            (1, Some(above)) => {
                let mut transaction = world.store.write().await.unwrap();
                let back = again::included_above(&mut transaction, of.1, above).await;
                transaction.end(back).await.unwrap();
                for one in &mut world.all {
                    if one.of.1 == of.1 && one.state.block().is_some_and(|block| block > above) {
                        one.state = State::Open;
                    }
                }
            }
            _ => {}
        }
        let after = world.all_unsummed().await;
        for (at, one) in ALL.into_iter().enumerate() {
            were_summed += after[at].saturating_sub(before[at]);
            // What is of another chain keeps its sums.
            assert!(one.1 == of.1 || after[at] == before[at], "{one:?}");
        }
        if step % 8 == 0 {
            world.check().await;
        }
    }
    world.check().await;
    assert!(were_summed > 0, "none of the sums was let go");
}

/// After an update all is there that was sent before, and nobody may order anything.
#[tokio::test]
async fn who_only_asks_has_it_summed_up_too() {
    let mut world = World::new().await;
    let most = u32::try_from(AT_ONCE).unwrap() + 1;
    for at in 0..most as usize {
        world.reserve(ACME, 1, None, false).await;
        let is_final = State::Final {
            block: 1,
            succeeded: true,
            fee: Some(2),
        };
        world.set(at, is_final).await;
    }
    let mut transaction = world.store.write().await.unwrap();
    for change in [
        "UPDATE chain_sends SET summed = NULL",
        "DELETE FROM chain_spent",
    ] {
        let done = sqlx::query(change).execute(&mut *transaction).await;
        done.unwrap();
    }
    transaction.end(Ok(())).await.unwrap();
    assert_eq!(world.unsummed(ACME).await, most);
    let limit = limit(ACME, 3_600, None);
    world.store.set_spend_limit(&limit).await.unwrap();
    for left in [1, 1] {
        let spent = world.store.spent("acme", world.now_us).await.unwrap();
        let used = spent.iter().find(|spent| spent.limit == limit);
        assert_eq!(used.unwrap().used, amount(3 * u128::from(most)));
        assert_eq!(world.unsummed(ACME).await, left);
    }
    world.check().await;
}
