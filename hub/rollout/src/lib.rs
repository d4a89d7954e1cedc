//! Roll-outs of firmware images: which device is to run which image, and when.
//!
//! A [`Rollout`] brings one image to a cohort of devices, few at first:
//!
//! ```text
//! canary: the first n devices that are on ── good ──→ wave 25 % ──→ … ──→ all
//!              │                                        │
//!              └── too many failures ──→ paused ←───────┘
//! ```
//!
//! A device waits until its turn has come and it is on, is offered the image, downloads it, has it
//! installed on trial, and is *done* when it says that it runs the image, and keeps it. Nothing
//! else makes it done. Who is off when the turn comes gets the image when it is on; while it is
//! off no time runs out for it.
//!
//! # What it is
//! State machines without a clock, a disk or a network: what devices say and what time it is comes
//! in as an [`Event`], and [`Changes`] says what that changed: states to keep, devices whose
//! wanted image is another one, and [`Notice`]s for people. The same events give the same states,
//! and a state that was saved at any step goes on as if nothing had been.
//!
//! A [`Fleet`] holds the roll-outs of one tenant that are not over, and sees to it that a device is
//! never to install two images at once.
//!
//! ```
//! use stencil_protocol::id::DeviceId;
//! use stencil_rollout::{Changes, Digest, Event, Fleet, Id, Image, Phase, Plan, Report, Rollout};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (old, new) = (Digest([1; 32]), Digest([2; 32]));
//! let image = Image { digest: new, sequence: 2, class: "freezer".into() };
//! let plan = Plan::new(image, "freezer-*");
//! let (mut fleet, mut changes) = (Fleet::default(), Changes::default());
//! let id = Id([7; 16]);
//! fleet.add(Rollout::new(id, plan)?, 0, &mut changes)?;
//! let device = DeviceId::parse("freezer-1")?;
//! let runs = |digest, sequence| Event::Report(Report {
//!     device: device.clone(), gateway: None, digest, sequence, class: "freezer".into(), trial: false,
//! });
//! fleet.apply(&runs(old, 1), 1_000, &mut changes);
//! assert_eq!(fleet.wanted(&device), Some((id, new)));
//! fleet.apply(&runs(new, 2), 2_000, &mut changes);
//! assert_eq!(fleet.wanted(&device), None);
//! assert_eq!(fleet.rollout(&id).unwrap().member(&device).unwrap().phase, Phase::Done);
//! # Ok(()) }
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod counts;
mod error;
mod event;
mod fleet;
mod id;
mod member;
mod plan;
mod rollout;
mod window;

pub use counts::Counts;
pub use error::{Error, Refusal};
pub use event::{Event, Notice, Report};
pub use fleet::{Changes, Fleet, MAX_RUNNING};
pub use id::{Digest, Id};
pub use member::{Member, Phase, Skip};
pub use plan::{Image, MAX_MEMBERS, MAX_WAVES, Plan, Portion};
pub use rollout::{Head, Pause, Rollout, Status};
pub use window::Window;
