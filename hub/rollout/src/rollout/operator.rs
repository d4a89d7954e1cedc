//! What people ask of a roll-out.

use super::{Pause, Rollout, Scene, Seen, Status};
use crate::{Phase, Refusal, Skip};
use stencil_protocol::id::DeviceId;

impl Rollout {
    /// No further device gets the image; those that are at it go on.
    pub(crate) fn pause(&mut self, scene: &mut Scene<'_>) -> Result<(), Refusal> {
        match self.head.status {
            Status::Running => {
                self.stop(Pause::Operator, scene);
                Ok(())
            }
            // It stays so, now because somebody wants it.
            Status::Paused => {
                self.head.pause = Some(Pause::Operator);
                self.head_changed(scene);
                Ok(())
            }
            Status::Finished | Status::Aborted => Err(Refusal::Over),
        }
    }

    /// Goes on. The failures up to now are seen: it takes as many new ones to pause again. A
    /// canary that has failed is not gone past.
    pub(crate) fn resume(&mut self, scene: &mut Scene<'_>) -> Result<(), Refusal> {
        match self.head.status {
            Status::Paused => {}
            Status::Running => return Err(Refusal::NotPaused),
            Status::Finished | Status::Aborted => return Err(Refusal::Over),
        }
        if self.canary_is_over() && !self.canary_is_good() {
            return Err(Refusal::CanaryFailed);
        }
        self.go_on(scene);
        Ok(())
    }

    /// Has those that failed try again, and goes on if it was paused.
    pub(crate) fn retry(&mut self, scene: &mut Scene<'_>) -> Result<(), Refusal> {
        if matches!(self.head.status, Status::Finished | Status::Aborted) {
            return Err(Refusal::Over);
        }
        let failed = self.devices(|phase| phase.has_failed());
        if failed.is_empty() {
            return Err(Refusal::NothingFailed);
        }
        for device in failed {
            self.change(&device, scene, |member| {
                member.phase = Phase::Waiting;
                // It is offered what it was offered before.
                member.known = true;
            });
        }
        self.go_on(scene);
        Ok(())
    }

    /// Ends it: no device is to get the image any more. One that has it installed says itself
    /// whether it keeps it.
    pub(crate) fn abort(&mut self, scene: &mut Scene<'_>) -> Result<(), Refusal> {
        if matches!(self.head.status, Status::Finished | Status::Aborted) {
            return Err(Refusal::Over);
        }
        let without = self.devices(|phase| {
            matches!(
                phase,
                Phase::Waiting | Phase::Offered | Phase::Downloading { .. }
            )
        });
        for device in without {
            let why = Skip::Aborted;
            self.change(&device, scene, |member| {
                member.phase = Phase::Skipped { why }
            });
        }
        self.head.status = Status::Aborted;
        self.head.pause = None;
        self.head_changed(scene);
        Ok(())
    }

    pub(super) fn stop(&mut self, why: Pause, scene: &mut Scene<'_>) {
        self.head.status = Status::Paused;
        self.head.pause = Some(why);
        self.head_changed(scene);
    }

    fn go_on(&mut self, scene: &mut Scene<'_>) {
        self.head.status = Status::Running;
        self.head.pause = None;
        self.head.seen = Seen {
            failed: self.counts.failures(),
            finished: self.counts.finished(),
        };
        self.head_changed(scene);
    }

    fn devices(&self, which: impl Fn(&Phase) -> bool) -> Vec<DeviceId> {
        self.members
            .iter()
            .filter(|(_, member)| which(&member.phase))
            .map(|(device, _)| device.clone())
            .collect()
    }
}
