//! One roll-out: its state, and what can be asked of it.

mod events;
mod operator;
mod turn;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use stencil_protocol::id::{DeviceId, GatewayId};
use stencil_rules::Pattern;

use crate::fleet::Changes;
use crate::member::Quiet;
use crate::plan::MAX_MEMBERS;
use crate::{Counts, Error, Id, Image, Member, Notice, Phase, Plan, Report, Skip};

/// Where a roll-out stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Devices get the image as their turn comes.
    Running,
    /// No further device gets it; those that are at it go on.
    Paused,
    /// Every device has come to its end.
    Finished,
    /// No further device gets it.
    Aborted,
}

impl Status {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Finished => "finished",
            Self::Aborted => "aborted",
        }
    }
}

/// Why it is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Pause {
    /// Somebody asked for it.
    Operator,
    /// Too many have failed.
    Failures {
        /// Failed or timed out.
        failed: u32,
        /// Finished.
        finished: u32,
    },
}

/// What is kept of a roll-out besides its plan and its devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Where it stands.
    pub status: Status,
    /// Why it is paused, if it is.
    pub pause: Option<Pause>,
    /// Whose turn it is: 0 the canary's, 1 the first wave's after it.
    pub stage: u32,
    /// Time of the roll-out's own, µs: it stands still while the hub does.
    clock_us: u64,
    /// The tick before, µs since the Unix epoch.
    ticked_us: Option<i64>,
    /// Failures and ends that somebody has seen and gone on after.
    seen: Seen,
    /// When status or stage last changed, µs since the Unix epoch.
    changed_us: i64,
}

impl Head {
    /// When status or stage last changed, µs since the Unix epoch; 0: not since it began.
    pub fn changed_us(&self) -> i64 {
        self.changed_us
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    failed: u32,
    finished: u32,
}

/// One roll-out.
#[derive(Clone, Debug)]
pub struct Rollout {
    id: Id,
    plan: Plan,
    pattern: Pattern,
    head: Head,
    members: BTreeMap<DeviceId, Member>,
    counts: Counts,
    /// Those that could be offered the image now, by gateway, in their order.
    ready: BTreeMap<Option<GatewayId>, BTreeSet<(u64, DeviceId)>>,
    /// How many are at it and on, by gateway.
    at_work: HashMap<Option<GatewayId>, u32>,
    /// Those that are on and at it, or have never said what they run, by when they last showed
    /// progress, or came on.
    timers: BTreeSet<(u64, DeviceId)>,
}

/// What a change is made with.
pub(crate) struct Scene<'a> {
    pub(crate) at_us: i64,
    /// Devices that are to install an image, and by which roll-out.
    pub(crate) busy: &'a mut HashMap<DeviceId, Id>,
    pub(crate) changes: &'a mut Changes,
}

impl Rollout {
    /// A new one, without devices.
    ///
    /// # Errors
    /// [`Error::Field`] names what makes no sense in the plan.
    pub fn new(id: Id, plan: Plan) -> Result<Self, Error> {
        let head = Head {
            status: Status::Running,
            pause: None,
            stage: 0,
            clock_us: 0,
            ticked_us: None,
            seen: Seen::default(),
            changed_us: 0,
        };
        Self::restore(id, plan, head, [])
    }

    /// One as it was kept.
    ///
    /// # Errors
    /// As for [`Rollout::new`]; [`Error::TooManyDevices`].
    pub fn restore(
        id: Id,
        plan: Plan,
        head: Head,
        members: impl IntoIterator<Item = (DeviceId, Member)>,
    ) -> Result<Self, Error> {
        plan.check()?;
        let pattern = plan.pattern()?;
        let mut rollout = Self {
            id,
            plan,
            pattern,
            head,
            members: BTreeMap::new(),
            counts: Counts::default(),
            ready: BTreeMap::new(),
            at_work: HashMap::new(),
            timers: BTreeSet::new(),
        };
        for (device, member) in members {
            if rollout.members.len() >= MAX_MEMBERS {
                return Err(Error::TooManyDevices);
            }
            rollout.enter(&device, &member);
            rollout.members.insert(device, member);
        }
        Ok(rollout)
    }

    /// Adds a device that is known before the roll-out begins: with its report, if it has said
    /// what it runs. Says whether it is one of those that are meant.
    ///
    /// # Errors
    /// [`Error::TooManyDevices`].
    pub fn expect(
        &mut self,
        device: &DeviceId,
        gateway: Option<&GatewayId>,
        on: bool,
        report: Option<&Report>,
        at_us: i64,
    ) -> Result<bool, Error> {
        if self.members.contains_key(device) || !self.plan.is_meant(&self.pattern, device, gateway)
        {
            return Ok(false);
        }
        if self.members.len() >= MAX_MEMBERS {
            return Err(Error::TooManyDevices);
        }
        let mut member = stranger(gateway, on, at_us, self.head.clock_us);
        if let Some(report) = report {
            meet(&mut member, report, &self.plan.image, at_us);
        }
        self.enter(device, &member);
        self.members.insert(device.clone(), member);
        Ok(true)
    }

    /// A device that is known before the roll-out begins is let in no more.
    pub fn leave_out(&mut self, device: &DeviceId, at_us: i64) {
        let Some(before) = self.members.remove(device) else {
            return;
        };
        self.leave(device, &before);
        let member = Member {
            phase: Phase::Skipped { why: Skip::Revoked },
            since_us: at_us,
            on: false,
            ..before
        };
        self.enter(device, &member);
        self.members.insert(device.clone(), member);
    }

    /// Its id.
    pub fn id(&self) -> Id {
        self.id
    }

    /// What was asked for.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Where it stands.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// How many devices have come how far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// One of its devices.
    pub fn member(&self, device: &DeviceId) -> Option<&Member> {
        self.members.get(device)
    }

    /// Its devices.
    pub fn members(&self) -> impl Iterator<Item = (&DeviceId, &Member)> {
        self.members.iter()
    }

    /// Nothing happens to it any more.
    pub fn is_over(&self) -> bool {
        let ended = matches!(self.head.status, Status::Finished | Status::Aborted);
        ended && self.counts.active() == 0
    }

    /// How many devices may have begun by now.
    pub fn turn(&self) -> u32 {
        let stage = usize::try_from(self.head.stage).unwrap_or(usize::MAX);
        self.plan.turn(stage, self.counts.eligible())
    }

    /// Changes a device, and keeps what follows from its state.
    fn change(&mut self, device: &DeviceId, scene: &mut Scene<'_>, how: impl FnOnce(&mut Member)) {
        let Some(before) = self.members.get(device) else {
            return;
        };
        let mut member = before.clone();
        how(&mut member);
        if member == *before {
            return;
        }
        let before = before.clone();
        let key = (before.phase.as_str(), before.phase.is_active());
        if key.0 != member.phase.as_str() {
            member.since_us = scene.at_us;
        }
        self.leave(device, &before);
        self.enter(device, &member);
        if key.1 != member.phase.is_active() {
            if member.phase.is_active() {
                scene.busy.insert(device.clone(), self.id);
            } else if scene.busy.get(device) == Some(&self.id) {
                scene.busy.remove(device);
            }
        }
        let (was, is) = (key.1, member.phase.is_active());
        if was != is || (is && before.gateway != member.gateway) {
            for gateway in [&before.gateway, &member.gateway] {
                scene.changes.gateways.insert(gateway.clone());
            }
        }
        self.recount(&before.phase, &member.phase, scene);
        self.members.insert(device.clone(), member);
        scene.changes.members.insert((self.id, device.clone()));
    }

    /// Why it is paused goes on to be true when more come to their end.
    fn recount(&mut self, was: &Phase, is: &Phase, scene: &mut Scene<'_>) {
        let ended = |phase: &Phase| {
            (
                u32::from(phase.has_failed()),
                u32::from(phase.is_finished()),
            )
        };
        let (was, is) = (ended(was), ended(is));
        if was != is
            && let Some(Pause::Failures { failed, finished }) = &mut self.head.pause
        {
            *failed = (*failed + is.0).saturating_sub(was.0);
            *finished = (*finished + is.1).saturating_sub(was.1);
            scene.changes.heads.insert(self.id);
        }
    }

    /// Adds a device that became known while the roll-out runs.
    fn join(&mut self, report: &Report, scene: &mut Scene<'_>) {
        let (device, gateway) = (&report.device, report.gateway.as_ref());
        if self.members.len() >= MAX_MEMBERS || !self.plan.is_meant(&self.pattern, device, gateway)
        {
            return;
        }
        let mut member = stranger(gateway, true, scene.at_us, self.head.clock_us);
        meet(&mut member, report, &self.plan.image, scene.at_us);
        self.enter(device, &member);
        self.members.insert(device.clone(), member);
        scene.changes.members.insert((self.id, device.clone()));
    }

    pub(crate) fn forget(&mut self, device: &DeviceId) {
        if let Some(member) = self.members.remove(device) {
            self.leave(device, &member);
        }
    }

    fn tell(&self, notice: Notice, scene: &mut Scene<'_>) {
        scene.changes.notices.push((self.id, scene.at_us, notice));
    }

    fn head_changed(&mut self, scene: &mut Scene<'_>) {
        self.head.changed_us = scene.at_us;
        scene.changes.heads.insert(self.id);
    }

    /// A device's part in what is counted and ordered.
    fn enter(&mut self, device: &DeviceId, member: &Member) {
        *self.counts.of(&member.phase) += 1;
        if is_ready(member) {
            let place = self.ready.entry(member.gateway.clone()).or_default();
            place.insert((rank(&self.id, device), device.clone()));
        }
        if member.on && member.phase.is_active() {
            *self.at_work.entry(member.gateway.clone()).or_default() += 1;
        }
        if let Some(since_us) = timed(member) {
            self.timers.insert((since_us, device.clone()));
        }
    }

    fn leave(&mut self, device: &DeviceId, member: &Member) {
        *self.counts.of(&member.phase) -= 1;
        if is_ready(member)
            && let Some(place) = self.ready.get_mut(&member.gateway)
        {
            place.remove(&(rank(&self.id, device), device.clone()));
            if place.is_empty() {
                self.ready.remove(&member.gateway);
            }
        }
        if member.on
            && member.phase.is_active()
            && let Some(at_work) = self.at_work.get_mut(&member.gateway)
        {
            *at_work -= 1;
            if *at_work == 0 {
                self.at_work.remove(&member.gateway);
            }
        }
        if let Some(since_us) = timed(member) {
            self.timers.remove(&(since_us, device.clone()));
        }
    }

    /// How many are at it and on.
    fn at_work(&self) -> u32 {
        self.at_work.values().sum()
    }
}

fn is_ready(member: &Member) -> bool {
    member.phase == Phase::Waiting && member.on && member.known
}

/// Since when time runs out for a device, if it does.
fn timed(member: &Member) -> Option<u64> {
    match member.quiet {
        Quiet::Since(since_us) if member.on => {
            (member.phase.is_active() || member.is_silent()).then_some(since_us)
        }
        Quiet::Since(_) | Quiet::For(_) => None,
    }
}

/// A device that has said nothing.
fn stranger(gateway: Option<&GatewayId>, on: bool, at_us: i64, clock_us: u64) -> Member {
    Member {
        phase: Phase::Waiting,
        since_us: at_us,
        gateway: gateway.cloned(),
        on,
        known: false,
        reported: false,
        offers: 0,
        quiet: match on {
            true => Quiet::Since(clock_us),
            false => Quiet::For(0),
        },
    }
}

/// What a report says of a device that waits.
fn meet(member: &mut Member, report: &Report, image: &Image, at_us: i64) {
    let why = if report.digest == image.digest {
        // On trial it may be another one in a moment: that will be told.
        (!report.trial).then_some(Skip::Running)
    } else if report.class != image.class {
        Some(Skip::Incompatible)
    } else if report.sequence >= image.sequence {
        Some(Skip::Newer)
    } else {
        None
    };
    member.known = why.is_none() && report.digest != image.digest;
    member.reported = true;
    if let Some(why) = why {
        member.phase = Phase::Skipped { why };
        member.since_us = at_us;
    }
}

/// The order in which devices have their turn: mixed, and the same for ever.
fn rank(id: &Id, device: &DeviceId) -> u64 {
    // FNV-1a, then the last step of splitmix64, so that similar names are far apart.
    let bytes = id.0.iter().chain(device.as_str().as_bytes());
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
