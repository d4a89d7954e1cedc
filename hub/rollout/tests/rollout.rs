//! The life of a roll-out, one thing at a time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use stencil_protocol::id::{DeviceId, GatewayId};
use stencil_rollout::{
    Changes, Counts, Digest, Event, Fleet, Id, Image, Notice, Pause, Phase, Plan, Portion, Refusal,
    Report, Rollout, Skip, Status,
};

const OLD: Digest = Digest([1; 32]);
const NEW: Digest = Digest([2; 32]);
const ID: Id = Id([9; 16]);
const SECOND: i64 = 1_000_000;

fn device(n: usize) -> DeviceId {
    DeviceId::parse(&format!("freezer-{n}")).unwrap()
}

fn plan() -> Plan {
    let image = Image {
        digest: NEW,
        sequence: 2,
        class: "freezer".into(),
    };
    Plan {
        canary: Portion::Devices(2),
        per_gateway: 100,
        ..Plan::new(image, "freezer-*")
    }
}

/// A fleet with one roll-out to so many devices, of which the first `on` are on.
struct Bench {
    fleet: Fleet,
    changes: Changes,
    now_us: i64,
}

impl Bench {
    fn new(plan: Plan, devices: usize, on: usize) -> Self {
        let mut rollout = Rollout::new(ID, plan).unwrap();
        for n in 0..devices {
            let report = report(n, OLD, false);
            rollout
                .expect(&device(n), None, n < on, Some(&report), 0)
                .unwrap();
        }
        let (mut fleet, mut changes) = (Fleet::default(), Changes::default());
        fleet.add(rollout, 0, &mut changes).unwrap();
        Self {
            fleet,
            changes,
            now_us: 0,
        }
    }

    fn happens(&mut self, event: Event) {
        self.fleet.apply(&event, self.now_us, &mut self.changes);
    }

    fn says(&mut self, n: usize, digest: Digest, trial: bool) {
        self.happens(Event::Report(report(n, digest, trial)));
    }

    fn fails(&mut self, n: usize) {
        self.happens(Event::Failed {
            device: device(n),
            digest: NEW,
            reason: "it does not verify".into(),
        });
    }

    fn passes(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.now_us += SECOND;
            self.happens(Event::Tick);
        }
    }

    fn phase(&self, n: usize) -> Phase {
        self.rollout().member(&device(n)).unwrap().phase.clone()
    }

    fn rollout(&self) -> &Rollout {
        self.fleet.rollout(&ID).unwrap()
    }

    fn status(&self) -> Status {
        self.rollout().head().status
    }

    fn counts(&self) -> Counts {
        self.rollout().counts()
    }

    /// Who is to install the image now.
    fn at_it(&self, devices: usize) -> Vec<usize> {
        (0..devices)
            .filter(|n| self.fleet.wanted(&device(*n)).is_some())
            .collect()
    }

    fn told(&mut self) -> Vec<Notice> {
        let told = std::mem::take(&mut self.changes).notices;
        told.into_iter().map(|(_, _, notice)| notice).collect()
    }
}

fn report(n: usize, digest: Digest, trial: bool) -> Report {
    Report {
        device: device(n),
        gateway: None,
        digest,
        sequence: if digest == OLD { 1 } else { 2 },
        class: "freezer".into(),
        trial,
    }
}

#[test]
fn the_canary_first_then_waves_then_all() {
    let mut bench = Bench::new(plan(), 40, 40);
    let first = bench.at_it(40);
    assert_eq!(first.len(), 2);
    bench.happens(Event::Progress {
        device: device(first[0]),
        digest: NEW,
        percent: 40,
    });
    assert_eq!(bench.phase(first[0]), Phase::Downloading { percent: 40 });
    bench.says(first[0], NEW, true);
    assert_eq!(
        bench.phase(first[0]),
        Phase::Installed,
        "it may still fall back"
    );
    bench.says(first[0], NEW, false);
    assert_eq!(bench.phase(first[0]), Phase::Done);
    assert_eq!(bench.at_it(40), [first[1]], "the canary is not over");
    bench.says(first[1], NEW, false);
    assert_eq!(bench.told(), [Notice::CanaryGood, Notice::Wave { wave: 1 }]);
    let wave = bench.at_it(40);
    assert_eq!(wave.len(), 8, "a quarter of 40, with the canary");
    for n in wave {
        bench.says(n, NEW, false);
    }
    assert_eq!(bench.told(), [Notice::Wave { wave: 2 }]);
    let rest = bench.at_it(40);
    assert_eq!(rest.len(), 30);
    for n in rest {
        bench.says(n, NEW, false);
    }
    assert_eq!(bench.told(), [Notice::Finished]);
    assert_eq!(
        (bench.counts().done, bench.status()),
        (40, Status::Finished)
    );
    assert_eq!(bench.fleet.let_go(), [ID]);
    assert!(bench.fleet.is_empty());
}

#[test]
fn a_bad_canary_is_where_it_ends() {
    let mut bench = Bench::new(plan(), 40, 40);
    let first = bench.at_it(40);
    bench.says(first[0], NEW, false);
    bench.says(first[1], NEW, true);
    bench.says(first[1], OLD, false);
    assert!(matches!(bench.phase(first[1]), Phase::Failed { reason } if reason.contains("back")));
    let told = Notice::Paused {
        failed: 1,
        finished: 2,
        canary: true,
    };
    assert_eq!(bench.told(), [told]);
    let pause = Pause::Failures {
        failed: 1,
        finished: 2,
    };
    assert_eq!(bench.rollout().head().pause, Some(pause));
    assert_eq!(bench.at_it(40), [] as [usize; 0]);
    // Nobody gets past it by resuming.
    let (at_us, changes) = (bench.now_us, &mut bench.changes);
    assert_eq!(
        bench.fleet.resume(&ID, at_us, changes),
        Err(Refusal::CanaryFailed)
    );
    bench.fleet.retry(&ID, at_us, changes).unwrap();
    let again = bench.at_it(40);
    assert_eq!(again.len(), 1, "one more has its turn");
    bench.says(again[0], NEW, false);
    assert_eq!(bench.told(), [Notice::CanaryGood, Notice::Wave { wave: 1 }]);
}

#[test]
fn who_was_off_gets_it_later_and_no_time_runs_out_before() {
    let mut plan = plan();
    plan.progress_timeout_s = 60;
    let mut bench = Bench::new(plan, 3, 2);
    for n in bench.at_it(3) {
        bench.says(n, NEW, false);
    }
    assert_eq!(bench.at_it(3), [] as [usize; 0], "the third is off");
    bench.passes(10_000);
    assert_eq!(
        (bench.phase(2), bench.status()),
        (Phase::Waiting, Status::Running)
    );
    let gateway = GatewayId::parse("gw-2").ok();
    bench.happens(Event::Heard {
        device: device(2),
        gateway,
    });
    assert_eq!(bench.phase(2), Phase::Offered);
    // Off in the middle: what counts is the time that it was on.
    bench.passes(40);
    bench.happens(Event::GatewayGone { gateway: None });
    bench.passes(10_000);
    assert_eq!(bench.phase(2), Phase::Offered);
    bench.says(2, OLD, false);
    bench.passes(19);
    assert_eq!(bench.phase(2), Phase::Offered);
    bench.passes(1);
    assert_eq!(bench.phase(2), Phase::TimedOut);
    assert_eq!(bench.fleet.wanted(&device(2)), None);
}

#[test]
fn progress_is_a_higher_share_and_a_hub_that_stood_still_is_no_time_out() {
    let mut plan = plan();
    plan.progress_timeout_s = 100;
    let mut bench = Bench::new(plan, 1, 1);
    let have = |bench: &mut Bench, percent| {
        bench.happens(Event::Progress {
            device: device(0),
            digest: NEW,
            percent,
        });
    };
    bench.passes(99);
    have(&mut bench, 10);
    bench.passes(99);
    have(&mut bench, 10);
    assert_eq!(bench.phase(0), Phase::Downloading { percent: 10 });
    bench.passes(1);
    assert_eq!(bench.phase(0), Phase::TimedOut);
    // It runs it in the end: that is what it is about.
    bench.says(0, NEW, false);
    assert_eq!(bench.phase(0), Phase::Done);

    let mut plan = self::plan();
    plan.progress_timeout_s = 100;
    let mut bench = Bench::new(plan, 1, 1);
    bench.passes(30);
    bench.now_us += 86_400 * SECOND;
    bench.happens(Event::Tick);
    assert_eq!(
        bench.phase(0),
        Phase::Offered,
        "a day without a hub counts as a minute"
    );
}

#[test]
fn who_needs_no_image_or_cannot_use_it_is_left_out() {
    let mut plan = plan();
    plan.canary = Portion::Percent(100);
    let mut rollout = Rollout::new(ID, plan).unwrap();
    for n in 0..5 {
        let mut report = report(n, OLD, false);
        match n {
            1 => report.digest = NEW,
            2 => report.class = "lock".into(),
            3 => report.sequence = 7,
            _ => {}
        }
        // The last has never said what it runs.
        let report = (n < 4).then_some(&report);
        assert!(rollout.expect(&device(n), None, true, report, 0).unwrap());
    }
    let lock = DeviceId::parse("lock-1").unwrap();
    assert!(!rollout.expect(&lock, None, true, None, 0).unwrap());
    let mut bench = Bench {
        fleet: Fleet::default(),
        changes: Changes::default(),
        now_us: 0,
    };
    bench.fleet.add(rollout, 0, &mut bench.changes).unwrap();
    let skipped = |why| Phase::Skipped { why };
    assert_eq!(bench.phase(0), Phase::Offered);
    assert_eq!(bench.phase(1), skipped(Skip::Running));
    assert_eq!(bench.phase(2), skipped(Skip::Incompatible));
    assert_eq!(bench.phase(3), skipped(Skip::Newer));
    assert_eq!(bench.phase(4), Phase::Waiting);
    bench.says(4, OLD, false);
    assert_eq!(bench.phase(4), Phase::Offered, "now it is known");
    // One that nobody knew before, and one that is not meant.
    bench.says(5, OLD, false);
    assert_eq!(bench.phase(5), Phase::Offered);
    let mut other = report(0, OLD, false);
    other.device = lock.clone();
    bench.happens(Event::Report(other));
    assert!(bench.rollout().member(&lock).is_none());
}

#[test]
fn a_gateway_has_so_many_at_a_time() {
    let mut plan = plan();
    plan.canary = Portion::Percent(100);
    plan.per_gateway = 3;
    let mut rollout = Rollout::new(ID, plan).unwrap();
    let gateways = [
        GatewayId::parse("gw-1").unwrap(),
        GatewayId::parse("gw-2").unwrap(),
    ];
    for n in 0..20 {
        let report = report(n, OLD, false);
        rollout
            .expect(&device(n), Some(&gateways[n % 2]), true, Some(&report), 0)
            .unwrap();
    }
    let (mut fleet, mut changes) = (Fleet::default(), Changes::default());
    fleet.add(rollout, 0, &mut changes).unwrap();
    let at_it = |fleet: &Fleet, of: usize| -> Vec<usize> {
        (0..20)
            .filter(|n| n % 2 == of && fleet.wanted(&device(*n)).is_some())
            .collect()
    };
    assert_eq!([at_it(&fleet, 0).len(), at_it(&fleet, 1).len()], [3, 3]);
    let one = at_it(&fleet, 0)[0];
    let mut done = report(one, NEW, false);
    done.gateway = Some(gateways[0].clone());
    fleet.apply(&Event::Report(done), 0, &mut changes);
    assert_eq!([at_it(&fleet, 0).len(), at_it(&fleet, 1).len()], [3, 3]);
    assert!(!at_it(&fleet, 0).contains(&one));
}

#[test]
fn failures_pause_a_wave_and_only_new_ones_pause_it_again() {
    let mut plan = plan();
    plan.canary = Portion::Devices(1);
    plan.waves = vec![100];
    plan.min_finished = 5;
    plan.max_failed_percent = 20;
    let mut bench = Bench::new(plan, 30, 30);
    let first = bench.at_it(30)[0];
    bench.says(first, NEW, false);
    let wave = bench.at_it(30);
    assert_eq!(wave.len(), 29);
    bench.told();
    for n in &wave[..3] {
        bench.fails(*n);
    }
    assert_eq!(
        bench.status(),
        Status::Running,
        "too few are finished to say"
    );
    bench.fails(wave[3]);
    let told = Notice::Paused {
        failed: 4,
        finished: 5,
        canary: false,
    };
    assert_eq!(bench.told(), [told]);
    // Those that are at it go on, also to their end.
    bench.says(wave[4], NEW, false);
    assert_eq!(bench.phase(wave[4]), Phase::Done);
    let (at_us, changes) = (bench.now_us, &mut bench.changes);
    bench.fleet.resume(&ID, at_us, changes).unwrap();
    assert_eq!(
        bench.fleet.resume(&ID, at_us, changes),
        Err(Refusal::NotPaused)
    );
    for n in &wave[5..9] {
        bench.fails(*n);
        assert_eq!(bench.status(), Status::Running);
    }
    bench.fails(wave[9]);
    assert_eq!(bench.status(), Status::Paused);
}

#[test]
fn aborted_it_takes_the_image_from_those_that_do_not_have_it() {
    let mut bench = Bench::new(plan(), 10, 10);
    let first = bench.at_it(10);
    bench.says(first[0], NEW, true);
    let (at_us, changes) = (bench.now_us, &mut bench.changes);
    bench.fleet.abort(&ID, at_us, changes).unwrap();
    assert_eq!(bench.fleet.abort(&ID, at_us, changes), Err(Refusal::Over));
    assert_eq!(
        bench.at_it(10),
        [first[0]],
        "it runs it, and says itself whether it keeps it"
    );
    assert_eq!(bench.counts().skipped, 9);
    assert!(!bench.rollout().is_over());
    bench.says(first[0], NEW, false);
    assert_eq!(bench.counts().done, 1);
    assert!(bench.rollout().is_over());
}

#[test]
fn one_device_gets_one_image_at_a_time() {
    let mut bench = Bench::new(plan(), 2, 2);
    let later = Image {
        digest: Digest([3; 32]),
        sequence: 3,
        class: "freezer".into(),
    };
    let mut other = Rollout::new(Id([8; 16]), Plan::new(later, "*")).unwrap();
    for n in 0..2 {
        let report = report(n, OLD, false);
        other
            .expect(&device(n), None, true, Some(&report), 0)
            .unwrap();
    }
    bench.fleet.add(other, 0, &mut bench.changes).unwrap();
    assert_eq!(bench.fleet.wanted(&device(0)), Some((ID, NEW)));
    bench.says(0, NEW, false);
    assert_eq!(
        bench.fleet.wanted(&device(0)),
        Some((Id([8; 16]), Digest([3; 32]))),
        "then the other one"
    );
}

#[test]
fn nothing_is_offered_outside_of_the_window() {
    let mut plan = plan();
    plan.window = Some("00:10-00:20Z".parse().unwrap());
    let mut bench = Bench::new(plan, 2, 2);
    bench.passes(9 * 60 + 59);
    assert_eq!(bench.at_it(2), [] as [usize; 0]);
    bench.passes(1);
    assert_eq!(bench.at_it(2).len(), 2);
}

/// A fleet of devices that are on, of which the first `speak` say what they run.
fn half_silent(devices: usize, speak: usize) -> Bench {
    let plan = Plan {
        progress_timeout_s: 20,
        ..plan()
    };
    let mut rollout = Rollout::new(ID, plan).unwrap();
    for n in 0..devices {
        let said = report(n, OLD, false);
        let said = (n < speak).then_some(&said);
        rollout.expect(&device(n), None, true, said, 0).unwrap();
    }
    let (mut fleet, mut changes) = (Fleet::default(), Changes::default());
    fleet.add(rollout, 0, &mut changes).unwrap();
    Bench {
        fleet,
        changes,
        now_us: 0,
    }
}

fn detail(bench: &Bench, n: usize) -> String {
    let member = bench.rollout().member(&device(n)).unwrap();
    member.detail().unwrap_or_default().to_owned()
}

#[test]
fn devices_without_slots_are_skipped_when_their_time_is_over_and_the_roll_out_ends() {
    let mut bench = half_silent(4, 0);
    bench.passes(20);
    assert!(detail(&bench, 0).contains("a device without slots"));
    assert_eq!(bench.counts().waiting, 4);
    bench.passes(1);
    let why = Skip::Silent;
    assert_eq!(bench.phase(0), Phase::Skipped { why });
    assert_eq!(bench.status(), Status::Finished);

    // They take nobody's place, and don't count as failures.
    let mut bench = half_silent(4, 2);
    assert_eq!(bench.at_it(4), [0, 1]);
    bench.passes(15);
    for n in 0..2 {
        bench.says(n, NEW, false);
    }
    bench.passes(15);
    assert_eq!(bench.status(), Status::Finished);
    assert_eq!((bench.counts().done, bench.counts().skipped), (2, 2));
}

#[test]
fn time_runs_out_for_a_silent_device_while_it_is_on_and_it_may_speak_later() {
    let mut bench = half_silent(3, 0);
    bench.happens(Event::Gone { device: device(0) });
    bench.passes(100);
    assert_eq!(bench.phase(0), Phase::Waiting);
    assert_eq!(detail(&bench, 0), "it is off");
    assert_eq!(bench.counts().skipped, 2);
    // It was slow to say it.
    bench.says(1, OLD, false);
    assert_eq!(bench.phase(1), Phase::Offered);
    bench.happens(Event::Heard {
        device: device(0),
        gateway: None,
    });
    bench.passes(10);
    bench.says(0, OLD, false);
    assert!(bench.phase(0).is_active(), "{:?}", bench.phase(0));
}

#[test]
fn a_revoked_device_is_left_out_until_it_is_admitted_again() {
    let mut bench = Bench::new(plan(), 4, 4);
    let at_it = bench.at_it(4);
    let (busy, idle) = (at_it[0], (0..4).find(|n| !at_it.contains(n)).unwrap());
    for n in [busy, idle] {
        bench.happens(Event::Revoked { device: device(n) });
        let why = Skip::Revoked;
        assert_eq!(bench.phase(n), Phase::Skipped { why });
        assert_eq!(bench.fleet.wanted(&device(n)), None);
        // Nothing that it says counts.
        bench.says(n, NEW, false);
        assert_eq!(bench.phase(n), Phase::Skipped { why });
    }
    bench.happens(Event::Admitted {
        device: device(idle),
    });
    assert_eq!(bench.phase(idle), Phase::Waiting);
    bench.happens(Event::Gone {
        device: device(idle),
    });
    assert_eq!(detail(&bench, idle), "it is off");
    for n in (0..4).filter(|n| *n != busy && *n != idle) {
        bench.says(n, NEW, false);
    }
    assert_eq!(bench.status(), Status::Running);
    bench.says(idle, OLD, false);
    bench.says(idle, NEW, false);
    assert_eq!(bench.status(), Status::Finished);
    assert_eq!((bench.counts().done, bench.counts().skipped), (3, 1));

    let mut rollout = Rollout::new(ID, plan()).unwrap();
    rollout.expect(&device(0), None, true, None, 0).unwrap();
    rollout.leave_out(&device(0), 0);
    let (mut fleet, mut changes) = (Fleet::default(), Changes::default());
    fleet.add(rollout, 0, &mut changes).unwrap();
    assert_eq!(fleet.rollout(&ID).unwrap().head().status, Status::Finished);
}

#[test]
fn why_it_is_paused_counts_all_that_came_to_their_end() {
    let plan = Plan {
        canary: Portion::Devices(3),
        progress_timeout_s: 5,
        min_finished: 1,
        ..plan()
    };
    let mut bench = Bench::new(plan, 4, 4);
    let canary = bench.at_it(4);
    bench.told();
    bench.happens(Event::Gone {
        device: device(canary[0]),
    });
    bench.passes(7);
    let pause = |failed, finished| Some(Pause::Failures { failed, finished });
    assert_eq!(bench.rollout().head().pause, pause(2, 2));
    let told = Notice::Paused {
        failed: 2,
        finished: 2,
        canary: true,
    };
    assert_eq!(bench.told(), [told]);
    // One that was at it goes on, and ends well.
    bench.says(canary[0], NEW, false);
    assert_eq!(bench.rollout().head().pause, pause(2, 3));
    // And one that was given up had it after all.
    bench.says(canary[1], NEW, false);
    assert_eq!(bench.rollout().head().pause, pause(1, 3));
}
