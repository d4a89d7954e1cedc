//! Workflows that cause themselves come to an end, wherever the hub is killed.

use stencil_payments::invoice::{Event, Payment};
use stencil_payments::money::Amount;
use stencil_payments::observation::{Block, Key};
use stencil_protocol::id::TenantId;
use stencil_store::{Progress, Run};

use super::chain::{Branch, ID, NAME};
use super::fuse::Fuse;
use super::payments::{cashier, changed, invoice, keep};
use super::sending::{FIRST, may_spend, sent};
use super::world::{MOST, WHOLE, World, acme, other};

const SEND: &str = "- { id: again, use: chain.send, finality: included, with: { chain: local, \
                    address: '0x00000000000000000000000000000000000000cc', value: 5 } }\n";

/// What waits for the event, and sends.
fn echo(id: &str) -> String {
    let address = "aa".repeat(20);
    format!(
        "id: {id}\nversion: 1\non: {{ chain: {{ name: local, address: '0x{address}', \
         event: 'Opened(uint8 locker)' }} }}\nsteps:\n{SEND}"
    )
}

/// What waits for a payment, and sends.
fn paid() -> String {
    format!("id: paid\nversion: 1\non: {{ payment: {{ reference: 'locker-*' }} }}\nsteps:\n{SEND}")
}

fn whole() -> Fuse {
    Fuse::new(WHOLE, false)
}

/// A world in which something from outside has made the event once.
async fn begun(workflows: &[(TenantId, String)]) -> (World, Branch) {
    let world = World::new().await;
    for (tenant, yaml) in workflows {
        may_spend(&world.store, tenant).await;
        world.put(tenant, yaml).await;
    }
    let mut branch = Branch::default();
    branch.extend(&world.store, &[], world.now_us()).await;
    branch.extend(&world.store, &[1], world.now_us()).await;
    (world, branch)
}

/// Puts all that was sent into a block, where each makes the event again.
async fn hop(world: &World, branch: &mut Branch) {
    let sent = sent(&world.store).await;
    branch.extend(&world.store, &sent, world.now_us()).await;
}

fn count(runs: &[Run], state: Progress) -> usize {
    runs.iter().filter(|run| run.state == state).count()
}

async fn ended(world: &World) {
    let most = usize::try_from(MOST).unwrap();
    let runs = world.runs(&acme()).await;
    assert_eq!(count(&runs, Progress::Done), most, "{runs:?}");
    assert_eq!(runs.len(), most + 1);
    assert_eq!(sent(&world.store).await.len(), most);
    let refused = runs.iter().find(|run| run.state == Progress::Failed);
    let refused = refused.unwrap();
    let why = refused.error.as_deref().unwrap();
    let says =
        "not started: the workflow has caused itself 4 times: echo → echo → echo → echo → echo. ";
    assert!(why.starts_with(says), "{why}");
    assert!(refused.ended_us.is_some() && refused.steps.is_empty());
}

#[tokio::test]
async fn a_workflow_whose_own_transactions_cause_it_is_started_no_more_at_some_time() {
    let (mut world, mut branch) = begun(&[(acme(), echo("echo"))]).await;
    for _ in 0..MOST + 4 {
        world.hub(whole()).await;
        hop(&world, &mut branch).await;
        world.restart().await;
    }
    ended(&world).await;
}

#[tokio::test]
async fn wherever_the_hub_is_killed_as_many_runs_follow_each_other() {
    for keeps in [false, true] {
        for after in 0..8 {
            let (mut world, mut branch) = begun(&[(acme(), echo("echo"))]).await;
            for _ in 0..MOST + 2 {
                world.hub(Fuse::new(after, keeps)).await;
                world.hub(whole()).await;
                hop(&world, &mut branch).await;
            }
            ended(&world).await;
        }
    }
}

#[tokio::test]
async fn what_others_send_causes_as_many_runs_as_it_wants() {
    let (mut world, mut branch) = begun(&[(acme(), echo("echo"))]).await;
    for locker in 2..=6 {
        branch.extend(&world.store, &[locker], world.now_us()).await;
    }
    world.hub(whole()).await;
    let runs = world.runs(&acme()).await;
    assert_eq!((runs.len(), count(&runs, Progress::Done)), (6, 6));
}

#[tokio::test]
async fn a_payment_that_a_run_has_sent_leads_from_one_workflow_to_another() {
    let workflows = [(acme(), echo("echo")), (acme(), paid())];
    let (mut world, mut branch) = begun(&workflows).await;
    world.hub(whole()).await;
    assert_eq!(sent(&world.store).await, [FIRST]);
    // It makes no event, and pays an invoice.
    branch.extend(&world.store, &[], world.now_us()).await;
    let mut bill = invoice(&acme());
    let amount = Amount::from(2_500_000_u64);
    let key = Key {
        chain: ID,
        tx: [FIRST; 32].into(),
        ordinal: 0,
    };
    let block = Block {
        number: branch.height(),
        hash: [4; 32].into(),
        time_s: 1_003,
    };
    bill.apply(&Event::Credit {
        key,
        seq: 1,
        payment: Payment {
            method: 0,
            amount,
            from: [3; 20].into(),
            block,
        },
    })
    .unwrap();
    keep(&world, &acme(), &bill, 1, 1).await;
    cashier(&world).await;
    changed(&world, &acme(), 1).await;
    world.restart().await;
    world.hub(whole()).await;
    assert_eq!(sent(&world.store).await, [FIRST, FIRST + 1]);
    let next = [FIRST + 1];
    branch.extend(&world.store, &next, world.now_us()).await;
    world.hub(whole()).await;
    let causes = &world.store.caused;
    let led = causes.causes_of(NAME, &[FIRST + 2; 32]).await.unwrap();
    let led: Vec<_> = led.iter().map(|cause| cause.workflow.as_str()).collect();
    assert_eq!(led, ["echo", "paid", "echo"]);
    let strangers = causes.causes_of(NAME, &[1; 32]).await.unwrap();
    assert_eq!(strangers, []);
}

/// Each event causes a run of either tenant, each of which makes an event.
#[tokio::test]
async fn a_loop_of_two_tenants_ends_too_and_tells_neither_of_the_other() {
    let workflows = [(acme(), echo("echo")), (other(), echo("secret"))];
    let (mut world, mut branch) = begun(&workflows).await;
    for _ in 0..MOST + 2 {
        world.hub(whole()).await;
        hop(&world, &mut branch).await;
    }
    for (tenant, own, others) in [(acme(), "echo", "secret"), (other(), "secret", "echo")] {
        let runs = world.runs(&tenant).await;
        assert_eq!(count(&runs, Progress::Done), 1 + 2 + 4 + 8);
        assert_eq!(count(&runs, Progress::Failed), 16);
        let whys = runs.iter().filter_map(|run| run.error.as_deref());
        let whys: Vec<_> = whys.collect();
        assert!(
            whys.iter().all(|why| why.starts_with("not started: ")),
            "{whys:?}"
        );
        assert!(whys.iter().any(|why| why.contains("another tenant")));
        assert!(
            whys.iter()
                .any(|why| why.contains(&format!("{own} → {own}. ")))
        );
        assert!(!whys.iter().any(|why| why.contains(others)), "{whys:?}");
    }
}
