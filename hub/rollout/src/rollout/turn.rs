//! Whose turn it is.

use super::{Pause, Rollout, Scene, Status};
use crate::member::Quiet;
use crate::{Notice, Phase};
use stencil_protocol::id::{DeviceId, GatewayId};

impl Rollout {
    /// Offers the image to those whose turn it is, and judges those that have had theirs.
    pub(crate) fn advance(&mut self, scene: &mut Scene<'_>) {
        while self.head.status == Status::Running {
            self.offer(scene);
            if !self.judge(scene) {
                return;
            }
        }
    }

    /// Pauses when too many have failed since somebody last looked.
    pub(super) fn watch_failures(&mut self, scene: &mut Scene<'_>) {
        let (failed, finished) = self.unseen();
        if self.head.status == Status::Running
            && finished >= self.plan.min_finished
            && self.plan.is_too_bad(failed, finished)
        {
            self.fail(failed, finished, scene);
        }
    }

    /// The canary has come to its end.
    pub(super) fn canary_is_over(&self) -> bool {
        self.head.stage == 0
            && self.counts.started() > 0
            && self.counts.started() >= self.turn()
            && self.counts.active() == 0
    }

    /// Somebody runs the image, and not too many have failed.
    pub(super) fn canary_is_good(&self) -> bool {
        let (failed, finished) = (self.counts.failures(), self.counts.finished());
        self.counts.done > 0 && !self.plan.is_too_bad(failed, finished)
    }

    fn offer(&mut self, scene: &mut Scene<'_>) {
        let is_open = self
            .plan
            .window
            .is_none_or(|window| window.is_open(scene.at_us));
        while is_open && self.counts.started() < self.turn() {
            let Some(device) = self.next(scene) else {
                return;
            };
            let clock_us = self.head.clock_us;
            self.change(&device, scene, |member| {
                member.phase = Phase::Offered;
                member.offers = member.offers.saturating_add(1);
                member.quiet = Quiet::Since(clock_us);
            });
        }
    }

    /// The first of those that wait, are on, and whose gateway has a place.
    fn next(&self, scene: &Scene<'_>) -> Option<DeviceId> {
        let has_place = |gateway: &Option<GatewayId>| {
            self.at_work.get(gateway).copied().unwrap_or(0) < self.plan.per_gateway
        };
        self.ready
            .iter()
            .filter(|(gateway, _)| has_place(gateway))
            .filter_map(|(_, ready)| {
                ready
                    .iter()
                    .find(|(_, device)| !scene.busy.contains_key(device))
            })
            .min()
            .map(|(_, device)| device.clone())
    }

    /// Whether it went on to the next stage.
    fn judge(&mut self, scene: &mut Scene<'_>) -> bool {
        let counts = self.counts;
        if self.head.stage == 0 {
            if !self.canary_is_over() {
                return self.finish_if_nobody_is_left(scene);
            }
            if !self.canary_is_good() {
                self.fail(counts.failures(), counts.finished(), scene);
                return false;
            }
            self.tell(Notice::CanaryGood, scene);
            return self.next_stage(scene);
        }
        if self.finish_if_nobody_is_left(scene) {
            return false;
        }
        let is_last = usize::try_from(self.head.stage).is_ok_and(|at| at >= self.plan.waves.len());
        if is_last || counts.started() < self.turn() || self.at_work() > 0 {
            return false;
        }
        let (failed, finished) = self.unseen();
        if self.plan.is_too_bad(failed, finished) {
            self.fail(failed, finished, scene);
            return false;
        }
        // Who went off in the middle may be lost: that counts, but does not hold up a large wave.
        let missing = counts.active();
        if self.plan.is_too_bad(failed + missing, finished + missing) {
            return false;
        }
        self.next_stage(scene)
    }

    fn next_stage(&mut self, scene: &mut Scene<'_>) -> bool {
        self.head.stage += 1;
        self.head_changed(scene);
        let wave = self.head.stage;
        self.tell(Notice::Wave { wave }, scene);
        true
    }

    fn finish_if_nobody_is_left(&mut self, scene: &mut Scene<'_>) -> bool {
        let counts = self.counts;
        if counts.all() == 0 || counts.waiting > 0 || counts.active() > 0 {
            return false;
        }
        self.head.status = Status::Finished;
        self.head_changed(scene);
        self.tell(Notice::Finished, scene);
        false
    }

    fn fail(&mut self, failed: u32, finished: u32, scene: &mut Scene<'_>) {
        self.stop(Pause::Failures { failed, finished }, scene);
        let canary = self.head.stage == 0;
        let notice = Notice::Paused {
            failed,
            finished,
            canary,
        };
        self.tell(notice, scene);
    }

    /// Failures and ends since somebody last looked.
    fn unseen(&self) -> (u32, u32) {
        let failed = self.counts.failures().saturating_sub(self.head.seen.failed);
        let finished = self
            .counts
            .finished()
            .saturating_sub(self.head.seen.finished);
        (failed, finished)
    }
}

#[cfg(test)]
mod tests {
    use super::super::rank;
    use super::*;
    use crate::Id;

    #[test]
    fn similar_names_do_not_stand_together() {
        let names: Vec<DeviceId> = (0..100)
            .map(|n| DeviceId::parse(&format!("freezer-{n:03}")).unwrap())
            .collect();
        let mut ordered = names.clone();
        ordered.sort_by_key(|device| rank(&Id([1; 16]), device));
        let neighbours = ordered
            .windows(2)
            .filter(|two| names.windows(2).any(|pair| pair == *two))
            .count();
        assert!(neighbours < 10, "{neighbours}");
        let mut other = names.clone();
        other.sort_by_key(|device| rank(&Id([2; 16]), device));
        assert_ne!(ordered, other, "not always the same devices are first");
    }
}
