//! Events of contracts, with reorganisations and deaths at every place.

use proptest::prelude::*;
use stencil_protocol::command::State;
use stencil_store::{Progress, TurnKind};

use super::chain::Branch;
use super::fuse::Fuse;
use super::world::{SECOND_US, WHOLE, World, acme, other};

/// A locker opens with three confirmations and closes after ten seconds without its cause.
fn locker(finality: &str, patience: &str) -> String {
    format!(
        "id: opened\nversion: 1\n\
         on: {{ chain: {{ name: local, address: '0x{address}', event: 'Opened(uint8 locker)' }} }}\n\
         steps:\n\
         - {{ id: note, use: content.upsert, finality: included, with: {{ collection: lockers, \
         key: 'locker-{{{{ event.args.locker }}}}', set: {{ seen: 'in {{{{ event.block }}}}' }} }} }}\n\
         - {{ id: open, use: device.command, finality: {finality}, \
         undo: {{ command: close, patience: {patience} }}, \
         with: {{ device: 'locker-{{{{ event.args.locker }}}}', command: open, expires: 30s }} }}\n\
         - {{ id: page, use: content.publish, with: {{ collection: lockers, \
         key: 'locker-{{{{ event.args.locker }}}}' }} }}\n",
        address = "aa".repeat(20),
    )
}

fn whole() -> Fuse {
    Fuse::new(WHOLE, false)
}

/// The kinds of what happened to a run's cause, with the step's index.
async fn told(world: &World) -> Vec<(TurnKind, Option<u32>)> {
    let run = &world.runs(&acme()).await[0];
    let turns = world.store.caused.turns(&acme(), &run.id).await.unwrap();
    turns.iter().map(|turn| (turn.kind, turn.step)).collect()
}

#[tokio::test]
async fn a_locker_waits_opens_closes_and_opens_again() {
    let mut world = World::new().await;
    world
        .put(&acme(), &locker("{ confirmations: 3 }", "10s"))
        .await;
    let mut branch = Branch::default();
    branch.extend(&world.store, &[], world.now_us()).await;
    branch.extend(&world.store, &[7], world.now_us()).await;
    world.hub(whole()).await;
    let run = &world.runs(&acme()).await[0];
    assert_eq!(run.state, Progress::Waiting);
    assert_eq!(run.event["args"]["locker"], "7");
    let steps: Vec<_> = run
        .steps
        .iter()
        .map(|step| (&*step.id, step.state))
        .collect();
    assert_eq!(
        steps,
        [("note", Progress::Done), ("open", Progress::Waiting)]
    );
    assert!(world.commands().await.is_empty());

    branch.extend(&world.store, &[], world.now_us()).await;
    world.hub(whole()).await;
    assert!(world.commands().await.is_empty(), "two confirmations");
    branch.extend(&world.store, &[], world.now_us()).await;
    world.hub(whole()).await;
    assert_eq!(world.commands().await.len(), 1, "three");
    world.devices(State::Done).await;
    world.hub(whole()).await;
    let run = &world.runs(&acme()).await[0];
    assert_eq!(
        run.state,
        Progress::Waiting,
        "the page waits until it is final"
    );

    // Gone, and back in time: nothing is done.
    branch.leave(&world.store, 3, world.now_us()).await;
    world.hub(whole()).await;
    assert_eq!(world.commands().await.len(), 1);
    branch.extend(&world.store, &[], world.now_us()).await;
    world.clock.advance(9 * SECOND_US);
    branch.leave(&world.store, 1, world.now_us()).await;
    branch.extend(&world.store, &[7], world.now_us()).await;
    world.hub(whole()).await;
    world.clock.advance(20 * SECOND_US);
    world.hub(whole()).await;
    assert_eq!(world.commands().await.len(), 1, "it stayed open");

    // Gone for longer than it is waited.
    branch.leave(&world.store, 1, world.now_us()).await;
    world.hub(whole()).await;
    world.clock.advance(11 * SECOND_US);
    world.hub(whole()).await;
    world.devices(State::Done).await;
    assert_eq!(world.done().await["locker-7"], ["open", "close"]);

    // And there again.
    branch.extend(&world.store, &[7], world.now_us()).await;
    branch.extend(&world.store, &[], world.now_us()).await;
    world.hub(whole()).await;
    assert_eq!(world.commands().await.len(), 2, "not deep enough");
    branch.extend(&world.store, &[], world.now_us()).await;
    branch.finalize(&world.store, 0, world.now_us()).await;
    world.hub(whole()).await;
    world.devices(State::Done).await;
    world.hub(whole()).await;
    assert_eq!(world.done().await["locker-7"], ["open", "close", "open"]);
    let runs = world.runs(&acme()).await;
    assert_eq!((runs.len(), runs[0].state), (1, Progress::Done));
    let (note, open) = (Some(0), Some(1));
    let told = told(&world).await;
    let of_open: Vec<_> = told
        .iter()
        .filter(|(_, step)| *step == open)
        .map(|(kind, _)| *kind)
        .collect();
    use TurnKind::{Act, Deep, Final, Included, Retracted, Undo};
    assert_eq!(of_open, [Deep, Act, Undo, Deep, Act]);
    let of_cause: Vec<_> = told
        .iter()
        .filter(|(_, step)| step.is_none())
        .map(|(kind, _)| *kind)
        .collect();
    assert_eq!(
        of_cause,
        [Included, Retracted, Included, Retracted, Included, Final]
    );
    assert!(told.contains(&(Deep, note)));
}

#[tokio::test]
async fn what_undoes_waits_for_what_it_undoes_also_after_the_run() {
    let mut world = World::new().await;
    let shallow = locker("included", "0s").replace(
        "use: content.publish,",
        "use: content.publish, finality: included,",
    );
    world.put(&acme(), &shallow).await;
    let mut branch = Branch::default();
    branch.extend(&world.store, &[], world.now_us()).await;
    branch.extend(&world.store, &[7], world.now_us()).await;
    world.hub(whole()).await;
    branch.leave(&world.store, 1, world.now_us()).await;
    world.hub(whole()).await;
    let names = |commands: Vec<stencil_store::StoredCommand>| -> Vec<String> {
        commands.into_iter().map(|command| command.name).collect()
    };
    assert_eq!(
        names(world.commands().await),
        ["open"],
        "it may be doing it"
    );
    world.devices(State::Done).await;
    world.hub(whole()).await;
    assert_eq!(names(world.commands().await), ["open", "close"]);
    // While that is under way the cause comes and goes: once it is closed, it stays so.
    branch.extend(&world.store, &[7], world.now_us()).await;
    branch.leave(&world.store, 1, world.now_us()).await;
    world.hub(whole()).await;
    assert_eq!(names(world.commands().await), ["open", "close"]);
    branch.extend(&world.store, &[7], world.now_us()).await;
    world.hub(whole()).await;
    assert_eq!(names(world.commands().await), ["open", "close"]);
    world.devices(State::Done).await;
    world.hub(whole()).await;
    world.devices(State::Done).await;
    world.hub(whole()).await;
    assert_eq!(names(world.commands().await), ["open", "close", "open"]);
    assert_eq!(world.runs(&acme()).await[0].state, Progress::Done);
    branch.leave(&world.store, 1, world.now_us()).await;
    world.hub(whole()).await;
    assert_eq!(
        names(world.commands().await).last().unwrap(),
        "close",
        "after the run's end"
    );
}

#[tokio::test]
async fn what_was_not_begun_is_undone_only_if_it_turns_out_to_be_done() {
    let mut world = World::new().await;
    world.put(&acme(), &locker("included", "0s")).await;
    let mut branch = Branch::default();
    branch.extend(&world.store, &[], world.now_us()).await;
    branch.extend(&world.store, &[7], world.now_us()).await;
    world.hub(whole()).await;
    world.devices(State::Expired).await;
    branch.leave(&world.store, 1, world.now_us()).await;
    world.hub(whole()).await;
    assert_eq!(world.commands().await.len(), 1, "there is nothing to undo");
    assert!(told(&world).await.contains(&(TurnKind::Spared, Some(1))));
    // Its word was under way all the time.
    world.devices(State::Done).await;
    world.hub(whole()).await;
    world.devices(State::Done).await;
    assert_eq!(world.done().await["locker-7"], ["open", "close"]);
}

/// Opened, its cause gone, and being closed.
async fn closing() -> (World, Branch) {
    let mut world = World::new().await;
    world.put(&acme(), &locker("included", "0s")).await;
    let mut branch = Branch::default();
    branch.extend(&world.store, &[], world.now_us()).await;
    branch.extend(&world.store, &[7], world.now_us()).await;
    world.hub(whole()).await;
    world.devices(State::Done).await;
    world.hub(whole()).await;
    branch.leave(&world.store, 1, world.now_us()).await;
    world.hub(whole()).await;
    assert_eq!(closes(&world).await, 1);
    (world, branch)
}

/// How often the device was told to close.
async fn closes(world: &World) -> usize {
    let commands = world.commands().await;
    let closes = commands.iter().filter(|command| command.name == "close");
    closes.count()
}

/// What was said of what was not undone.
async fn not_undone(world: &World) -> Vec<String> {
    let run = &world.runs(&acme()).await[0];
    let turns = world.store.caused.turns(&acme(), &run.id).await.unwrap();
    let of_it = turns
        .into_iter()
        .filter(|turn| turn.kind == TurnKind::NotUndone);
    of_it.filter_map(|turn| turn.detail).collect()
}

#[tokio::test]
async fn what_did_not_undo_it_is_told_again_and_then_shown() {
    let (mut world, _) = closing().await;
    for (tries, wait_s) in [(1, 30), (2, 60), (3, 120), (4, 240), (5, 480)] {
        world.devices(State::Failed).await;
        world.hub(whole()).await;
        let said = not_undone(&world).await;
        assert_eq!(said.len(), tries);
        let ends = format!("it is told again in {wait_s} s");
        assert!(said[tries - 1].ends_with(&ends), "{said:?}");
        world.clock.advance((wait_s - 1) * SECOND_US);
        world.hub(whole()).await;
        assert_eq!(closes(&world).await, tries, "not before its time");
        world.clock.advance(SECOND_US);
        world.hub(whole()).await;
        assert_eq!(closes(&world).await, tries + 1);
    }
    world.devices(State::Failed).await;
    world.hub(whole()).await;
    let said = not_undone(&world).await;
    assert!(
        said[5].ends_with("it was told 6 times: somebody has to look"),
        "{said:?}"
    );
    world.clock.advance(86_400 * SECOND_US);
    world.hub(whole()).await;
    assert_eq!(closes(&world).await, 6);
}

#[tokio::test]
async fn what_is_told_again_ends_when_it_is_undone_or_its_cause_is_back() {
    let (mut world, _) = closing().await;
    world.devices(State::Failed).await;
    world.hub(whole()).await;
    world.clock.advance(31 * SECOND_US);
    world.hub(whole()).await;
    world.devices(State::Done).await;
    world.hub(whole()).await;
    world.clock.advance(86_400 * SECOND_US);
    world.hub(whole()).await;
    assert_eq!(world.done().await["locker-7"], ["open", "close"]);
    assert_eq!(closes(&world).await, 2);

    // The device had not begun to close: it is open still.
    let (mut world, mut branch) = closing().await;
    world.devices(State::Expired).await;
    world.hub(whole()).await;
    branch.extend(&world.store, &[7], world.now_us()).await;
    world.hub(whole()).await;
    world.clock.advance(3_600 * SECOND_US);
    world.hub(whole()).await;
    assert_eq!(world.done().await["locker-7"], ["open"]);
    assert_eq!(closes(&world).await, 1);
    // It had closed all the time, as it says now: it opens once more.
    world.devices(State::Done).await;
    world.hub(whole()).await;
    world.devices(State::Done).await;
    world.hub(whole()).await;
    assert_eq!(world.done().await["locker-7"], ["open", "close", "open"]);

    // The same where the hub hears of its cause first.
    let (mut world, mut branch) = closing().await;
    world.devices(State::Expired).await;
    branch.extend(&world.store, &[7], world.now_us()).await;
    world.hub(whole()).await;
    assert_eq!(world.commands().await.len(), 2, "open is what it is still");
    assert_eq!(world.done().await["locker-7"], ["open"]);
}

#[tokio::test]
async fn a_cause_that_never_comes_back_is_waited_for_a_week() {
    let mut world = World::new().await;
    world.put(&acme(), &locker("final", "0s")).await;
    let mut branch = Branch::default();
    branch.extend(&world.store, &[], world.now_us()).await;
    branch.extend(&world.store, &[7, 8], world.now_us()).await;
    world.hub(whole()).await;
    branch.leave(&world.store, 1, world.now_us()).await;
    world.hub(whole()).await;
    let day_us = 86_400 * SECOND_US;
    world.clock.advance(6 * day_us);
    // One of the two comes back in time.
    branch.extend(&world.store, &[8], world.now_us()).await;
    world.hub(whole()).await;
    let states = async |world: &World| {
        let runs = world.runs(&acme()).await.into_iter();
        let states = runs.map(|run| {
            let locker = run.event["args"]["locker"].as_str().unwrap().to_owned();
            (locker, (run.state, run.error))
        });
        states.collect::<std::collections::BTreeMap<_, _>>()
    };
    for (locker, (state, error)) in states(&world).await {
        assert!(!state.is_final(), "{locker}: {error:?}");
    }
    world.clock.advance(day_us);
    world.hub(whole()).await;
    world.hub(whole()).await;
    let now = states(&world).await;
    let (state, error) = &now["7"];
    assert_eq!(*state, Progress::Failed);
    let error = error.as_deref().unwrap();
    assert!(
        error.contains("not included again within 7 days"),
        "{error}"
    );
    assert!(!now["8"].0.is_final(), "it waits until it is final");
    assert!(world.commands().await.is_empty());
    // What is there goes on as ever.
    branch.finalize(&world.store, 0, world.now_us()).await;
    world.hub(whole()).await;
    let commands = world.commands().await;
    assert_eq!(commands.len(), 1);
    assert_eq!(commands[0].device.to_string(), "locker-8");
}

#[tokio::test]
async fn what_was_done_late_is_not_done_again_when_its_cause_is_back() {
    let mut world = World::new().await;
    world.put(&acme(), &locker("included", "0s")).await;
    let mut branch = Branch::default();
    branch.extend(&world.store, &[], world.now_us()).await;
    branch.extend(&world.store, &[7], world.now_us()).await;
    world.hub(whole()).await;
    world.devices(State::Expired).await;
    branch.leave(&world.store, 1, world.now_us()).await;
    world.hub(whole()).await;
    // The hub hears of both at once: that the cause is back, and that the device did it after all.
    branch.extend(&world.store, &[7], world.now_us()).await;
    world.devices(State::Done).await;
    world.hub(whole()).await;
    world.devices(State::Done).await;
    assert_eq!(world.done().await["locker-7"], ["open"]);
}

#[tokio::test]
async fn what_is_of_another_starts_nothing() {
    let mut world = World::new().await;
    let mut branch = Branch::default();
    // Before it is watched by anybody who has a workflow.
    branch.extend(&world.store, &[1], world.now_us()).await;
    world.put(&acme(), &locker("included", "0s")).await;
    let elsewhere = locker("included", "0s").replace(&"aa".repeat(20), &"bb".repeat(20));
    world.put(&other(), &elsewhere).await;
    branch.extend(&world.store, &[2], world.now_us()).await;
    world.hub(whole()).await;
    let runs = world.runs(&acme()).await;
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].event["args"]["locker"], "2");
    assert!(world.runs(&other()).await.is_empty());
    assert_eq!(
        world
            .store
            .caused
            .turns(&other(), &runs[0].id)
            .await
            .unwrap(),
        []
    );
}

#[tokio::test]
async fn what_no_workflow_needs_is_watched_no_more() {
    let world = World::new().await;
    world.put(&acme(), &locker("included", "0s")).await;
    let triggers = world.triggers(&world.store);
    triggers.step(&super::chain::Local).await.unwrap();
    let watched = async || {
        let chains = &world.store.chains;
        chains.chain_watches("local").await.unwrap().1.len()
    };
    assert_eq!(watched().await, 1);
    let second = locker("included", "0s")
        .replace("id: opened", "id: second")
        .replace("version: 1", "version: 4");
    world.put(&acme(), &second).await;
    triggers.changed().await;
    let workflows = &world.store.workflows;
    workflows
        .activate(&acme(), "opened", None, 1)
        .await
        .unwrap();
    triggers.changed().await;
    assert_eq!(watched().await, 1, "the other one needs it");
    workflows
        .activate(&acme(), "second", None, 1)
        .await
        .unwrap();
    triggers.changed().await;
    assert_eq!(watched().await, 0);
}

#[derive(Debug, Clone)]
enum Op {
    Block(Vec<u8>),
    Leave(u64),
    Finalize(u64),
    Wait(i64),
    Devices(bool),
    Hub,
    Dies { after: i64, keeps: bool },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => prop::collection::vec(0..3_u8, 0..3).prop_map(Op::Block),
        2 => (1..6_u64).prop_map(Op::Leave),
        1 => (0..5_u64).prop_map(Op::Finalize),
        1 => (1..15_i64).prop_map(Op::Wait),
        2 => any::<bool>().prop_map(Op::Devices),
        2 => Just(Op::Hub),
        3 => (0..9_i64, any::<bool>()).prop_map(|(after, keeps)| Op::Dies { after, keeps }),
    ];
    prop::collection::vec(op, 1..30)
}

async fn play(ops: &[Op], finality: &str, patience: &str) {
    let mut world = World::new().await;
    world.put(&acme(), &locker(finality, patience)).await;
    let mut branch = Branch::default();
    branch.extend(&world.store, &[], world.now_us()).await;
    for op in ops {
        let now_us = world.now_us();
        match op {
            Op::Block(lockers) => {
                let mut lockers = lockers.clone();
                lockers.dedup();
                branch.extend(&world.store, &lockers, now_us).await;
            }
            Op::Leave(depth) => branch.leave(&world.store, *depth, now_us).await,
            Op::Finalize(lag) => branch.finalize(&world.store, *lag, now_us).await,
            Op::Wait(seconds) => world.clock.advance(seconds * SECOND_US),
            Op::Devices(true) => world.devices(State::Done).await,
            Op::Devices(false) => world.devices(State::Expired).await,
            Op::Hub => world.hub(whole()).await,
            Op::Dies { after, keeps } => world.hub(Fuse::new(*after, *keeps)).await,
        }
    }
    // The chain goes on, devices say what they did, and the hub lives.
    for _ in 0..3 {
        branch.extend(&world.store, &[], world.now_us()).await;
    }
    branch.finalize(&world.store, 0, world.now_us()).await;
    for _ in 0..8 {
        world.clock.advance(20 * SECOND_US);
        world.hub(whole()).await;
        world.devices(State::Done).await;
    }
    let done = world.done().await;
    for number in 0..3_u8 {
        let device = format!("locker-{number}");
        let did = done.get(&device).cloned().unwrap_or_default();
        let should: Vec<&str> = (0..did.len())
            .map(|at| if at % 2 == 0 { "open" } else { "close" })
            .collect();
        assert_eq!(did, should, "{device} opens and closes by turns");
        let is_open = did.len() % 2 == 1;
        assert_eq!(is_open, branch.has(number), "{device}: {did:?}");
    }
    let runs = world.runs(&acme()).await;
    assert!(runs.len() <= 3, "one run a cause");
    for run in runs {
        let number: u8 = run.event["args"]["locker"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        if branch.has(number) {
            assert!(run.state.is_final(), "{run:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// What lockers did is what the canonical chain says, each once.
    #[test]
    fn what_devices_do_is_what_the_chain_says(
        ops in ops(),
        finality in prop::sample::select(vec!["included", "{ confirmations: 2 }", "{ confirmations: 4 }", "final"]),
        patience in prop::sample::select(vec!["0s", "5s"]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(&ops, finality, patience));
    }
}
