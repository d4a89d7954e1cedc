//! Whatever happens in whatever order: what must always hold, holds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;
use stencil_protocol::id::{DeviceId, GatewayId};
use stencil_rollout::{
    Changes, Counts, Digest, Event, Fleet, Head, Id, Image, Member, Phase, Plan, Portion, Refusal,
    Report, Rollout, Status, Window,
};

const DEVICES: usize = 12;
const GATEWAYS: usize = 3;

fn device(n: usize) -> DeviceId {
    DeviceId::parse(&format!("d-{n}")).unwrap()
}

fn gateway(n: usize) -> Option<GatewayId> {
    (n > 0).then(|| GatewayId::parse(&format!("g-{n}")).unwrap())
}

/// Images 0 and 1 are rolled out, image 2 is what devices had, image 3 is of another class.
fn image(n: u8) -> Image {
    Image {
        digest: Digest([n; 32]),
        sequence: [5, 6, 1, 9][usize::from(n)],
        class: if n == 3 { "other" } else { "freezer" }.into(),
    }
}

#[derive(Debug, Clone)]
enum Step {
    Happens(Event),
    Pause(u8),
    Resume(u8),
    Retry(u8),
    Abort(u8),
    Forget(DeviceId),
}

fn step() -> impl Strategy<Value = Step> {
    let whose = || (0..DEVICES).prop_map(device);
    let behind = || (0..GATEWAYS).prop_map(gateway);
    let report = (whose(), behind(), 0..4_u8, prop::bool::weighted(0.3)).prop_map(
        |(device, gateway, n, trial)| {
            let Image {
                digest,
                sequence,
                class,
            } = image(n);
            Event::Report(Report {
                device,
                gateway,
                digest,
                sequence,
                class,
                trial,
            })
        },
    );
    let digest = || (0..2_u8).prop_map(|n| image(n).digest);
    let event = prop_oneof![
        4 => (whose(), behind()).prop_map(|(device, gateway)| Event::Heard { device, gateway }),
        2 => whose().prop_map(|device| Event::Gone { device }),
        1 => prop::option::of((1..GATEWAYS).prop_map(|n| gateway(n).unwrap()))
            .prop_map(|gateway| Event::GatewayGone { gateway }),
        10 => report,
        4 => (whose(), digest(), 0..=120_u8).prop_map(|(device, digest, percent)| {
            Event::Progress { device, digest, percent }
        }),
        3 => (whose(), digest()).prop_map(|(device, digest)| Event::Installed { device, digest }),
        2 => (whose(), digest()).prop_map(|(device, digest)| Event::Failed {
            device, digest, reason: "no room".into(),
        }),
        1 => whose().prop_map(|device| Event::Revoked { device }),
        1 => whose().prop_map(|device| Event::Admitted { device }),
        8 => Just(Event::Tick),
    ];
    prop_oneof![
        30 => event.prop_map(Step::Happens),
        1 => (0..2_u8).prop_map(Step::Pause),
        2 => (0..2_u8).prop_map(Step::Resume),
        2 => (0..2_u8).prop_map(Step::Retry),
        1 => (0..2_u8).prop_map(Step::Abort),
        1 => (0..DEVICES).prop_map(|n| Step::Forget(device(n))),
    ]
}

prop_compose! {
    fn plan(n: u8)(
        canary in prop_oneof![
            (1..4_u32).prop_map(Portion::Devices),
            (1..60_u8).prop_map(Portion::Percent),
        ],
        waves in prop::sample::subsequence(vec![20_u8, 40, 60], 0..3),
        max_failed_percent in 0..60_u8,
        min_finished in 1..4_u32,
        progress_timeout_s in 1..10_u32,
        window in prop::option::of(prop::sample::select(vec!["00:00-00:02Z", "23:59-00:01+00:01"])),
        per_gateway in 1..4_u32,
        gateways in prop::sample::subsequence(vec![1_usize, 2], 0..2),
    ) -> Plan {
        Plan {
            canary,
            waves: waves.into_iter().chain([100]).collect(),
            max_failed_percent,
            min_finished,
            progress_timeout_s,
            window: window.map(|text| text.parse::<Window>().unwrap()),
            per_gateway,
            gateways: gateways.into_iter().map(|n| gateway(n).unwrap()).collect(),
            ..Plan::new(image(n), "d-*")
        }
    }
}

/// What a store keeps, in the form in which it keeps it.
#[derive(Debug, Default, Clone)]
struct Kept {
    plans: BTreeMap<Id, Plan>,
    heads: BTreeMap<Id, String>,
    members: BTreeMap<(Id, DeviceId), String>,
}

impl Kept {
    fn take(&mut self, fleet: &Fleet, changes: &Changes) {
        for id in &changes.heads {
            let rollout = fleet.rollout(id).unwrap();
            self.plans.insert(*id, rollout.plan().clone());
            let head = serde_json::to_string(rollout.head()).unwrap();
            self.heads.insert(*id, head);
        }
        for key in &changes.members {
            let member = fleet.rollout(&key.0).unwrap().member(&key.1).unwrap();
            let member = serde_json::to_string(member).unwrap();
            self.members.insert(key.clone(), member);
        }
    }

    fn fleet(&self) -> Fleet {
        let mut fleet = Fleet::default();
        for (id, plan) in &self.plans {
            let head: Head = serde_json::from_str(&self.heads[id]).unwrap();
            let members =
                self.members
                    .iter()
                    .filter(|((of, _), _)| of == id)
                    .map(|((_, device), member)| {
                        let member: Member = serde_json::from_str(member).unwrap();
                        (device.clone(), member)
                    });
            let rollout = Rollout::restore(*id, plan.clone(), head, members).unwrap();
            if !rollout.is_over() {
                fleet.restore(rollout);
            }
        }
        fleet
    }
}

/// What the test knows by itself.
#[derive(Debug, Default)]
struct World {
    /// Devices that have said that they run an image and keep it.
    told: BTreeSet<(DeviceId, Digest)>,
    on: HashMap<DeviceId, Option<GatewayId>>,
}

impl World {
    fn take(&mut self, event: &Event) {
        match event {
            Event::Heard { device, gateway } => {
                self.on.insert(device.clone(), gateway.clone());
            }
            Event::Report(report) => {
                self.on
                    .insert(report.device.clone(), report.gateway.clone());
                if !report.trial {
                    self.told.insert((report.device.clone(), report.digest));
                }
            }
            Event::Gone { device } | Event::Revoked { device } => {
                self.on.remove(device);
            }
            Event::GatewayGone { gateway } => match gateway {
                None => self.on.clear(),
                some => self.on.retain(|_, through| through != some),
            },
            _ => {}
        }
    }
}

fn take_step(
    fleet: &mut Fleet,
    step: &Step,
    at_us: i64,
    changes: &mut Changes,
) -> Result<(), Refusal> {
    let id = |n: &u8| Id([*n; 16]);
    match step {
        Step::Happens(event) => {
            fleet.apply(event, at_us, changes);
            Ok(())
        }
        Step::Pause(n) => fleet.pause(&id(n), at_us, changes),
        Step::Resume(n) => fleet.resume(&id(n), at_us, changes),
        Step::Retry(n) => fleet.retry(&id(n), at_us, changes),
        Step::Abort(n) => fleet.abort(&id(n), at_us, changes),
        Step::Forget(device) => {
            fleet.forget(device);
            Ok(())
        }
    }
}

fn check(
    before: &Fleet,
    after: &Fleet,
    step: &Step,
    at_us: i64,
    world: &World,
) -> Result<(), TestCaseError> {
    let mut active: HashMap<&DeviceId, Id> = HashMap::new();
    for rollout in after.rollouts() {
        let id = rollout.id();
        // Counts add up.
        let mut counts = Counts::default();
        for (device, member) in rollout.members() {
            match &member.phase {
                Phase::Waiting => counts.waiting += 1,
                Phase::Offered => counts.offered += 1,
                Phase::Downloading { percent } => {
                    prop_assert!(*percent <= 100);
                    counts.downloading += 1;
                }
                Phase::Installed => counts.installed += 1,
                Phase::Done => counts.done += 1,
                Phase::Failed { .. } => counts.failed += 1,
                Phase::TimedOut => counts.timed_out += 1,
                Phase::Skipped { .. } => counts.skipped += 1,
            }
            if member.phase.is_active() {
                // Never two images at once.
                prop_assert_eq!(active.insert(device, id), None, "{} has two", device);
                prop_assert_eq!(
                    after.wanted(device),
                    Some((id, rollout.plan().image.digest))
                );
            }
            if member.phase == Phase::Done {
                let said = (device.clone(), rollout.plan().image.digest);
                prop_assert!(world.told.contains(&said), "{} is not done", device);
            }
            prop_assert_eq!(
                member.on,
                world.on.contains_key(device),
                "{} is on or off",
                device
            );
        }
        prop_assert_eq!(counts, rollout.counts());
        prop_assert_eq!(counts.all() as usize, rollout.members().count());

        let Some(old) = before.rollout(&id) else {
            continue;
        };
        let fresh: Vec<_> = rollout
            .members()
            .filter(|(device, member)| {
                let offers = old.member(device).map_or(0, |member| member.offers);
                member.offers > offers
            })
            .collect();
        let was_running = old.head().status == Status::Running;
        let asked_to = matches!(step, Step::Resume(_) | Step::Retry(_));
        prop_assert!(fresh.is_empty() || was_running || asked_to);
        for (device, member) in &fresh {
            prop_assert!(world.on.contains_key(*device), "{} is off", device);
            let open = rollout.plan().window.is_none_or(|it| it.is_open(at_us));
            prop_assert!(open, "the window is closed");
            let beside = rollout.members().filter(|(_, other)| {
                other.on && other.phase.is_active() && other.gateway == member.gateway
            });
            prop_assert!(beside.count() <= rollout.plan().per_gateway as usize);
        }
        if old.head().stage == 0 {
            if rollout.head().stage == 0 {
                // Never past the canary.
                prop_assert!(fresh.is_empty() || counts.started() <= rollout.turn());
            } else {
                // Judged by those that had begun before: all at their end, and well.
                let begun = rollout.members().filter(|(device, member)| {
                    let before = old.member(device).map_or(0, |member| member.offers);
                    before > 0 && member.offers == before && member.phase != Phase::Waiting
                });
                let begun: Vec<Phase> = begun.map(|(_, m)| m.phase.clone()).collect();
                let of = |which: fn(&Phase) -> bool| begun.iter().filter(|p| which(p)).count();
                let (done, failed) = (of(|p| *p == Phase::Done), of(Phase::has_failed));
                prop_assert_eq!(of(Phase::is_active), 0);
                prop_assert!(done > 0, "nobody of the canary runs it");
                prop_assert!(
                    failed * 100
                        <= usize::from(rollout.plan().max_failed_percent) * (done + failed)
                );
            }
        }
        for (device, member) in rollout.members() {
            let was = old.member(device);
            if member.phase == Phase::TimedOut
                && was.is_some_and(|was| was.phase != Phase::TimedOut)
            {
                prop_assert!(was.unwrap().on, "{} was off", device);
            }
        }
    }
    for n in 0..DEVICES {
        if !active.contains_key(&device(n)) {
            prop_assert_eq!(after.wanted(&device(n)), None);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_must_hold_holds(
        plans in (plan(0), plan(1)),
        known in prop::collection::vec((0..DEVICES, prop::option::of(2..3_u8)), 0..DEVICES),
        steps in prop::collection::vec((step(), 0..4_000_000_i64), 1..150),
    ) {
        let (mut fleet, mut kept, mut at_us) = (Fleet::default(), Kept::default(), 0);
        let mut world = World::default();
        for (n, plan) in (0..2_u8).zip([plans.0, plans.1]) {
            let mut rollout = Rollout::new(Id([n; 16]), plan).unwrap();
            for (d, runs) in &known {
                let report = runs.map(|n| {
                    let Image { digest, sequence, class } = image(n);
                    Report { device: device(*d), gateway: None, digest, sequence, class, trial: false }
                });
                rollout.expect(&device(*d), gateway(d % GATEWAYS).as_ref(), false, report.as_ref(), 0)
                    .unwrap();
            }
            let mut changes = Changes::default();
            let all: Vec<DeviceId> = rollout.members().map(|(d, _)| d.clone()).collect();
            let id = rollout.id();
            fleet.add(rollout, at_us, &mut changes).unwrap();
            changes.members.extend(all.into_iter().map(|d| (id, d)));
            kept.take(&fleet, &changes);
        }
        for (step, later_us) in steps {
            at_us += later_us;
            let before = fleet.clone();
            // What goes on from what was kept does the same as what never stopped.
            let mut again = kept.fleet();
            let (mut changes, mut other) = (Changes::default(), Changes::default());
            match &step {
                Step::Happens(event) => world.take(event),
                Step::Forget(device) => {
                    world.on.remove(device);
                    kept.members.retain(|(_, of), _| of != device);
                }
                _ => {}
            }
            let done = take_step(&mut fleet, &step, at_us, &mut changes);
            prop_assert_eq!(done, take_step(&mut again, &step, at_us, &mut other));
            prop_assert_eq!(&changes, &other);
            prop_assert!(done.is_ok() || changes.is_empty(), "a refusal changes nothing");
            check(&before, &fleet, &step, at_us, &world)?;
            kept.take(&fleet, &changes);
            for id in changes.heads.iter().chain(changes.members.iter().map(|(id, _)| id)) {
                let (a, b) = (fleet.rollout(id).unwrap(), again.rollout(id).unwrap());
                prop_assert_eq!(a.head(), b.head());
                prop_assert!(a.members().eq(b.members()));
            }
            fleet.let_go();
        }
    }
}
