//! The roll-outs of one tenant that are not over.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use stencil_protocol::id::{DeviceId, GatewayId};

use crate::rollout::Scene;
use crate::{Digest, Error, Event, Id, Notice, Refusal, Rollout};

/// How many roll-outs of a tenant may be under way.
pub const MAX_RUNNING: usize = 16;

/// What events changed. Grows until somebody takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Roll-outs whose [`crate::Head`] is to be kept anew.
    pub heads: BTreeSet<Id>,
    /// Devices of roll-outs that are to be kept anew.
    pub members: BTreeSet<(Id, DeviceId)>,
    /// Gateways with a device whose [`Fleet::wanted`] image, or whose way to it, has changed.
    pub gateways: BTreeSet<Option<GatewayId>>,
    /// What to tell people, in order: of which roll-out, when, and what.
    pub notices: Vec<(Id, i64, Notice)>,
}

impl Changes {
    /// Nothing has changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The roll-outs of one tenant that are not over.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    rollouts: BTreeMap<Id, Rollout>,
    /// Devices that are to install an image, and by which roll-out.
    busy: HashMap<DeviceId, Id>,
}

impl Fleet {
    /// Puts a roll-out in force, a new one or one as it was kept. One of this id that there is
    /// already stays as it is.
    ///
    /// # Errors
    /// [`Error::TooMany`].
    pub fn add(
        &mut self,
        rollout: Rollout,
        at_us: i64,
        changes: &mut Changes,
    ) -> Result<(), Error> {
        let id = rollout.id();
        if self.rollouts.contains_key(&id) {
            return Ok(());
        }
        let under_way = self.rollouts.values().filter(|it| !it.is_over());
        if under_way.count() >= MAX_RUNNING {
            return Err(Error::TooMany);
        }
        self.restore(rollout);
        changes.heads.insert(id);
        self.advance(at_us, changes);
        Ok(())
    }

    /// Puts a roll-out in force as it was kept, whatever there is.
    pub fn restore(&mut self, rollout: Rollout) {
        let id = rollout.id();
        let active = rollout
            .members()
            .filter(|(_, member)| member.phase.is_active());
        self.busy
            .extend(active.map(|(device, _)| (device.clone(), id)));
        self.rollouts.insert(id, rollout);
    }

    /// Takes in what happened.
    pub fn apply(&mut self, event: &Event, at_us: i64, changes: &mut Changes) {
        let mut scene = Scene {
            at_us,
            busy: &mut self.busy,
            changes,
        };
        let mut is_news = !matches!(event, Event::Heard { .. });
        // Nothing happens to what is over, whether or not it was let go of already.
        for rollout in self.rollouts.values_mut().filter(|it| !it.is_over()) {
            is_news |= rollout.apply(event, &mut scene);
        }
        // Mostly a device is heard that was heard a moment ago.
        if is_news {
            self.advance(at_us, changes);
        }
    }

    /// Forgets a device: all that was known of it is erased.
    pub fn forget(&mut self, device: &DeviceId) {
        self.busy.remove(device);
        for rollout in self.rollouts.values_mut() {
            rollout.forget(device);
        }
    }

    /// No further device gets the image of this roll-out until it is resumed; those that are at
    /// it go on.
    ///
    /// # Errors
    /// [`Refusal`] says why not.
    pub fn pause(&mut self, id: &Id, at_us: i64, changes: &mut Changes) -> Result<(), Refusal> {
        self.ask(id, at_us, changes, Rollout::pause)
    }

    /// Has a paused roll-out go on. The failures up to now no longer count, but nobody gets past
    /// a canary that has failed.
    ///
    /// # Errors
    /// [`Refusal`] says why not.
    pub fn resume(&mut self, id: &Id, at_us: i64, changes: &mut Changes) -> Result<(), Refusal> {
        self.ask(id, at_us, changes, Rollout::resume)
    }

    /// Has the devices that failed try again, and goes on if it was paused.
    ///
    /// # Errors
    /// [`Refusal`] says why not.
    pub fn retry(&mut self, id: &Id, at_us: i64, changes: &mut Changes) -> Result<(), Refusal> {
        self.ask(id, at_us, changes, Rollout::retry)
    }

    /// Ends a roll-out: no device is to get the image any more.
    ///
    /// # Errors
    /// [`Refusal`] says why not.
    pub fn abort(&mut self, id: &Id, at_us: i64, changes: &mut Changes) -> Result<(), Refusal> {
        self.ask(id, at_us, changes, Rollout::abort)
    }

    fn ask(
        &mut self,
        id: &Id,
        at_us: i64,
        changes: &mut Changes,
        what: impl FnOnce(&mut Rollout, &mut Scene<'_>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let rollout = self.rollouts.get_mut(id).ok_or(Refusal::Unknown)?;
        let mut scene = Scene {
            at_us,
            busy: &mut self.busy,
            changes,
        };
        what(rollout, &mut scene)?;
        self.advance(at_us, changes);
        Ok(())
    }

    fn advance(&mut self, at_us: i64, changes: &mut Changes) {
        let mut scene = Scene {
            at_us,
            busy: &mut self.busy,
            changes,
        };
        for rollout in self.rollouts.values_mut() {
            rollout.advance(&mut scene);
        }
    }

    /// The image that a device is to run, and by which roll-out; `None`: the one that it runs.
    pub fn wanted(&self, device: &DeviceId) -> Option<(Id, Digest)> {
        let id = self.busy.get(device)?;
        let rollout = self.rollouts.get(id)?;
        Some((*id, rollout.plan().image.digest))
    }

    /// One of the roll-outs.
    pub fn rollout(&self, id: &Id) -> Option<&Rollout> {
        self.rollouts.get(id)
    }

    /// All of them.
    pub fn rollouts(&self) -> impl Iterator<Item = &Rollout> {
        self.rollouts.values()
    }

    /// Lets go of those that are over, when what they changed is kept. Says which.
    pub fn let_go(&mut self) -> Vec<Id> {
        let over: Vec<Id> = self
            .rollouts
            .values()
            .filter(|rollout| rollout.is_over())
            .map(Rollout::id)
            .collect();
        for id in &over {
            self.rollouts.remove(id);
        }
        over
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.rollouts.is_empty()
    }
}
