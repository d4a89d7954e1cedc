#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use stencil_protocol::id::TenantId;

use super::super::again;
use super::*;
use crate::sqlite::{self, Sqlite};
use crate::{
    BlockMark, Brought, Chains as _, NewSend, SendOutcome, SendState, Sends as _, Tenancy as _,
};

const CHAIN: &str = "dev";
const SENDER: [u8; 20] = [1; 20];
const TOKEN: [u8; 20] = [9; 20];

fn amount(n: u128) -> Amount {
    let mut amount = NOTHING;
    amount[16..].copy_from_slice(&n.to_be_bytes());
    amount
}

fn limit(window_s: u32, asset: Option<[u8; 20]>) -> SpendLimit {
    SpendLimit {
        tenant: "acme".to_owned(),
        chain: CHAIN.to_owned(),
        asset,
        window_s,
        most: [0xff; 32],
    }
}

/// A send as the test has it.
#[derive(Debug)]
struct One {
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
    Lost,
}

const MOST_FEE: u128 = 1_000;

impl One {
    fn came_to(&self, of_token: bool) -> u128 {
        let (moved, fee) = match self.state {
            State::Open => (true, MOST_FEE),
            State::Final { succeeded, fee, .. } => (succeeded, fee.unwrap_or(MOST_FEE)),
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
        let tenant = TenantId::parse("acme").unwrap();
        store.create_tenant(&tenant, 1).await.unwrap();
        store.open_chain(CHAIN, 1, 1).await.unwrap();
        for asset in [None, Some(TOKEN)] {
            let limit = limit(60, asset);
            store.set_spend_limit(&limit).await.unwrap();
        }
        Self {
            store,
            all: Vec::new(),
            now_us: 20_000 * DAY_US,
            _folder: folder,
        }
    }

    async fn reserve(&mut self, value: u128, token: Option<u128>, is_sale: bool) {
        let send = NewSend {
            chain: CHAIN.to_owned(),
            sender: SENDER,
            tenant: "acme".to_owned(),
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
        assert_eq!(taken.nonce, self.all.len() as u64);
        self.all.push(One {
            at_us: self.now_us,
            value,
            token,
            is_sale,
            state: State::Open,
        });
    }

    async fn set(&mut self, at: usize, state: State) {
        let stored = match state {
            State::Open => unreachable!("that is where it begins"),
            State::Lost => SendState::Lost,
            State::Final {
                block,
                succeeded,
                fee,
            } => SendState::Final(SendOutcome {
                tx: [5; 32],
                block: mark(block),
                succeeded,
                fee: fee.map(amount),
            }),
        };
        let set = self.store.set_send_state(CHAIN, SENDER, at as u64, stored);
        set.await.unwrap();
        self.all[at].state = state;
    }

    /// What counts is what the sends come to one by one, whatever is summed up.
    async fn check(&self) {
        for window_s in [60, 3_600, 7_200, 86_400, 260_000, 40 * 86_400] {
            for asset in [None, Some(TOKEN)] {
                let mut snapshot = self.store.snapshot().await.unwrap();
                let found = used(&mut snapshot, &limit(window_s, asset), self.now_us).await;
                let found = snapshot.end(found).await.unwrap();
                let since_us = self.now_us - i64::from(window_s) * 1_000_000;
                let counts = |one: &&One| one.at_us > since_us && one.came_to(asset.is_some()) > 0;
                let of = |is: &dyn Fn(&One) -> bool| {
                    let all = self.all.iter().filter(counts).filter(|one| is(one));
                    amount(all.map(|one| one.came_to(asset.is_some())).sum())
                };
                let first_us = self.all.iter().filter(counts).map(|one| one.at_us).min();
                assert_eq!(
                    (found.all, found.open, found.sales, found.first_us),
                    (
                        of(&|_| true),
                        of(&|one| one.state == State::Open),
                        of(&|one| one.is_sale),
                        first_us
                    ),
                    "{window_s} s of {asset:?}"
                );
            }
        }
    }

    async fn unsummed(&self) -> u32 {
        let row = sqlx::query(
            "SELECT COUNT(*) AS sends FROM chain_sends WHERE state = 'final' AND summed IS NULL",
        )
        .fetch_one(self.store.readers())
        .await
        .unwrap();
        row.number("sends").unwrap()
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
        world
            .reserve(u128::from(draw(100)), token, draw(2) == 0)
            .await;
        // Whatever was final before is summed up by then.
        assert_eq!(world.unsummed().await, 0);
        for at in world.all.len().saturating_sub(12)..world.all.len() {
            if world.all[at].state != State::Open || draw(4) > 0 {
                continue;
            }
            block += 1;
            let state = match draw(9) {
                0 => State::Lost,
                _ => State::Final {
                    block,
                    succeeded: draw(5) > 0,
                    fee: (draw(4) > 0).then(|| u128::from(draw(90))),
                },
            };
            world.set(at, state).await;
        }
        // A reorganisation of one, and one of all above a block.
        let at = world.all.len().saturating_sub(1 + draw(20) as usize);
        match (draw(15), world.all[at].state) {
            (0, State::Final { block, .. }) => {
                let back = world
                    .store
                    .take_back_send(CHAIN, SENDER, at as u64, mark(block));
                back.await.unwrap();
                world.all[at].state = State::Open;
                were_summed += world.unsummed().await;
            }
            (1, State::Final { block: above, .. }) => {
                let mut transaction = world.store.write().await.unwrap();
                let back = again::included_above(&mut transaction, CHAIN, above).await;
                transaction.end(back).await.unwrap();
                for one in &mut world.all {
                    if matches!(one.state, State::Final { block, .. } if block > above) {
                        one.state = State::Open;
                    }
                }
            }
            _ => {}
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
        world.reserve(1, None, false).await;
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
    assert_eq!(world.unsummed().await, most);
    let limit = limit(3_600, None);
    world.store.set_spend_limit(&limit).await.unwrap();
    for left in [1, 1] {
        let spent = world.store.spent("acme", world.now_us).await.unwrap();
        let used = spent.iter().find(|spent| spent.limit.asset.is_none());
        assert_eq!(used.unwrap().used, amount(3 * u128::from(most)));
        assert_eq!(world.unsummed().await, left);
    }
    world.check().await;
}
