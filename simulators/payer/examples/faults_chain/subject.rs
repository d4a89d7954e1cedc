//! What is under test: a follower alone, or a hub.

use std::time::Duration;

use serde_json::Value;

use crate::chance::Chance;
use crate::follow::Follow;
use crate::hub::Hub;
use crate::world::World;

pub(crate) enum Subject {
    Follow(Follow),
    Hub(Box<Hub>),
}

impl Subject {
    /// Starts it where it does not run; it dies at a point of its own where one is named.
    pub(crate) fn start(&mut self, crash: Option<String>) {
        match self {
            Self::Follow(follow) => follow.start(crash),
            Self::Hub(hub) => hub.start(crash),
        }
    }

    /// Where it may be told to die.
    pub(crate) fn points(&self) -> &'static [&'static str] {
        match self {
            Self::Follow(_) => &["chain.before_commit", "chain.after_commit", "chain.printed"],
            Self::Hub(_) => Hub::POINTS,
        }
    }

    /// SIGKILL. Whether it ran.
    pub(crate) fn kill(&mut self) -> bool {
        match self {
            Self::Follow(follow) => follow.kill(),
            Self::Hub(hub) => hub.kill(),
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        match self {
            Self::Follow(follow) => follow.has_ended(),
            Self::Hub(hub) => hub.has_ended(),
        }
    }

    pub(crate) fn ended_at_a_point(&self) -> u32 {
        match self {
            Self::Follow(follow) => follow.ended_at_a_point,
            Self::Hub(hub) => hub.ended_at_a_point(),
        }
    }

    /// Somebody pays.
    pub(crate) async fn pay(&mut self, world: &mut World, chance: Chance) {
        match self {
            Self::Follow(_) => world.pay(chance).await,
            Self::Hub(hub) => hub.pay(world, chance).await,
        }
    }

    /// Waits for a while until it has seen what the chain has at the moment.
    pub(crate) async fn see(&mut self, world: &World, within: Duration) {
        match self {
            Self::Follow(follow) => follow.see(world, within).await,
            Self::Hub(hub) => hub.see(world, within).await,
        }
    }

    /// Waits until it comes to what the chain has; of this round, or of all. Gives how much that is,
    /// and what does not hold.
    pub(crate) async fn check(&mut self, world: &World, all: bool) -> (usize, Vec<String>) {
        match self {
            Self::Follow(follow) => {
                let from = if all { 0 } else { world.round_from };
                follow.check(world, from).await
            }
            Self::Hub(hub) => hub.check(world, all).await,
        }
    }

    /// Makes it lose something: shows that these checks can fail.
    pub(crate) fn lose_one(&mut self) {
        match self {
            Self::Follow(follow) => follow.lose_one(),
            Self::Hub(hub) => hub.lose_one(),
        }
    }

    /// What it counted, and whether so much happened that it says something.
    pub(crate) fn counts(&self, rounds: u32) -> (Value, bool) {
        match self {
            Self::Follow(follow) => follow.counts(rounds),
            Self::Hub(hub) => hub.counts(rounds),
        }
    }
}
