//! What devices say, and the passing of time.

use super::{Rollout, Scene, Status, meet};
use crate::member::Quiet;
use crate::{Digest, Event, Phase, Report, Skip};
use stencil_protocol::id::{DeviceId, GatewayId};

/// A hub that stood still for longer than this between two ticks does not know what devices did
/// meanwhile: no more than this counts.
const MAX_STEP_US: u64 = 60_000_000;

const FELL_BACK: &str = "it went back to the image before";
const OTHER_IMAGE: &str = "it runs another image, which is as new or newer";

impl Rollout {
    /// Takes in what happened. Says whether that was news.
    pub(crate) fn apply(&mut self, event: &Event, scene: &mut Scene<'_>) -> bool {
        match event {
            Event::Heard { device, gateway } => {
                return self.heard(device, gateway.as_ref(), scene);
            }
            Event::Gone { device } => self.gone(device, scene),
            Event::GatewayGone { gateway } => {
                let behind: Vec<DeviceId> = self
                    .members
                    .iter()
                    .filter(|(_, member)| {
                        member.on && (gateway.is_none() || member.gateway == *gateway)
                    })
                    .map(|(device, _)| device.clone())
                    .collect();
                for device in behind {
                    self.gone(&device, scene);
                }
            }
            Event::Report(report) => self.report(report, scene),
            Event::Progress {
                device,
                digest,
                percent,
            } => self.progress(device, digest, *percent, scene),
            Event::Installed { device, digest } => {
                if self.is_at(device, digest) {
                    let clock_us = self.head.clock_us;
                    self.change(device, scene, |member| {
                        if member.phase != Phase::Installed {
                            member.phase = Phase::Installed;
                            member.quiet = restarted(member.quiet, clock_us);
                        }
                    });
                }
            }
            Event::Failed {
                device,
                digest,
                reason,
            } => {
                if self.is_at(device, digest) {
                    self.failed(device, reason, scene);
                }
            }
            Event::Revoked { device } => self.revoked(device, scene),
            Event::Admitted { device } => self.admitted(device, scene),
            Event::Tick => self.tick(scene),
        }
        true
    }

    /// The device is at this roll-out's image, and that is the image meant.
    fn is_at(&self, device: &DeviceId, digest: &Digest) -> bool {
        *digest == self.plan.image.digest
            && self
                .members
                .get(device)
                .is_some_and(|member| member.phase.is_active())
    }

    fn heard(
        &mut self,
        device: &DeviceId,
        gateway: Option<&GatewayId>,
        scene: &mut Scene<'_>,
    ) -> bool {
        let Some(member) = self.members.get(device) else {
            return false;
        };
        if member.on && member.gateway.as_ref() == gateway {
            return false;
        }
        let clock_us = self.head.clock_us;
        self.change(device, scene, |member| {
            member.on = true;
            member.gateway = gateway.cloned();
            if let Quiet::For(us) = member.quiet {
                member.quiet = Quiet::Since(clock_us.saturating_sub(us));
            }
        });
        true
    }

    fn gone(&mut self, device: &DeviceId, scene: &mut Scene<'_>) {
        let clock_us = self.head.clock_us;
        self.change(device, scene, |member| {
            member.on = false;
            member.quiet = Quiet::For(member.quiet.for_us(clock_us));
        });
    }

    /// What it sends is taken no more, also that its link has ended.
    fn revoked(&mut self, device: &DeviceId, scene: &mut Scene<'_>) {
        self.gone(device, scene);
        self.change(device, scene, |member| {
            if matches!(member.phase, Phase::Waiting) || member.phase.is_active() {
                member.phase = Phase::Skipped { why: Skip::Revoked };
            }
        });
    }

    /// What it is now has said nothing yet.
    fn admitted(&mut self, device: &DeviceId, scene: &mut Scene<'_>) {
        if !matches!(self.head.status, Status::Running | Status::Paused) {
            return;
        }
        let clock_us = self.head.clock_us;
        self.change(device, scene, |member| {
            if member.phase == (Phase::Skipped { why: Skip::Revoked }) {
                member.phase = Phase::Waiting;
                (member.known, member.reported) = (false, false);
                member.quiet = match member.on {
                    true => Quiet::Since(clock_us),
                    false => Quiet::For(0),
                };
            }
        });
    }

    fn report(&mut self, report: &Report, scene: &mut Scene<'_>) {
        let device = &report.device;
        if !self.members.contains_key(device) {
            if matches!(self.head.status, Status::Running | Status::Paused) {
                self.join(report, scene);
            }
            return;
        }
        self.heard(device, report.gateway.as_ref(), scene);
        let image = self.plan.image.clone();
        let clock_us = self.head.clock_us;
        let runs_it = report.digest == image.digest;
        let Some(phase) = self.members.get(device).map(|member| member.phase.clone()) else {
            return;
        };
        match phase {
            Phase::Skipped { why: Skip::Revoked } => {}
            // Nothing but this makes a device done. It may have been given up before.
            _ if runs_it && !report.trial => self.change(device, scene, |member| {
                member.phase = match member.offers {
                    // It has it from somewhere else.
                    0 => Phase::Skipped { why: Skip::Running },
                    _ => Phase::Done,
                };
            }),
            Phase::Waiting | Phase::Skipped { why: Skip::Silent } => {
                let at_us = scene.at_us;
                self.change(device, scene, |member| {
                    member.phase = Phase::Waiting;
                    meet(member, report, &image, at_us);
                });
            }
            Phase::Offered | Phase::Downloading { .. } if runs_it => {
                self.change(device, scene, |member| {
                    member.phase = Phase::Installed;
                    member.quiet = restarted(member.quiet, clock_us);
                });
            }
            Phase::Installed if !runs_it && !report.trial => {
                self.failed(device, FELL_BACK, scene);
            }
            Phase::Offered | Phase::Downloading { .. }
                if !report.trial && report.sequence >= image.sequence =>
            {
                self.failed(device, OTHER_IMAGE, scene);
            }
            Phase::Offered
            | Phase::Downloading { .. }
            | Phase::Installed
            | Phase::Done
            | Phase::Failed { .. }
            | Phase::TimedOut
            | Phase::Skipped { .. } => {}
        }
    }

    fn progress(&mut self, device: &DeviceId, digest: &Digest, percent: u8, scene: &mut Scene<'_>) {
        if !self.is_at(device, digest) {
            return;
        }
        let (percent, clock_us) = (percent.min(100), self.head.clock_us);
        self.change(device, scene, |member| {
            let further = match member.phase {
                Phase::Offered => true,
                Phase::Downloading { percent: before } => percent > before,
                _ => return,
            };
            member.phase = Phase::Downloading { percent };
            if further {
                member.quiet = restarted(member.quiet, clock_us);
            }
        });
    }

    fn failed(&mut self, device: &DeviceId, reason: &str, scene: &mut Scene<'_>) {
        self.change(device, scene, |member| {
            let reason = reason.to_owned();
            member.phase = Phase::Failed { reason };
        });
        self.watch_failures(scene);
    }

    fn tick(&mut self, scene: &mut Scene<'_>) {
        let passed = match self.head.ticked_us {
            Some(before) => u64::try_from(scene.at_us.saturating_sub(before)).unwrap_or(0),
            None => 0,
        };
        self.head.clock_us += passed.min(MAX_STEP_US);
        self.head.ticked_us = Some(scene.at_us);
        scene.changes.heads.insert(self.id);
        let timeout_us = self.plan.timeout_us();
        while let Some((since_us, device)) = self.timers.first().cloned() {
            if self.head.clock_us.saturating_sub(since_us) < timeout_us {
                break;
            }
            self.change(&device, scene, |member| {
                member.phase = match member.is_silent() {
                    true => Phase::Skipped { why: Skip::Silent },
                    false => Phase::TimedOut,
                };
            });
        }
        self.watch_failures(scene);
    }
}

/// Progress was shown.
fn restarted(quiet: Quiet, clock_us: u64) -> Quiet {
    match quiet {
        Quiet::Since(_) => Quiet::Since(clock_us),
        Quiet::For(_) => Quiet::For(0),
    }
}
