//! Rounds of payments on a chain that turns, with endpoints that fail and a reader that is killed:
//! `cargo xtask faults chain` builds it and runs this.
//!
//! The dev chain is in this process, with an endpoint that tells the truth, for payers and for the
//! oracle, and two that fail as each round says, for the process under test. What happens follows from
//! the seed; when exactly a process is killed does not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a load tool"
)]

mod chance;
mod follow;
mod oracle;
mod round;
mod world;

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::chance::Chance;
use crate::follow::Follow;
use crate::round::Tally;
use crate::world::World;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [stencil, folder, rounds, seed, control] = arguments.as_slice() else {
        panic!("faults_chain STENCIL FOLDER ROUNDS SEED sound|control");
    };
    let (stencil, folder) = (PathBuf::from(stencil), PathBuf::from(folder));
    let rounds: u32 = rounds.parse().expect("rounds");
    let seed: u64 = seed.parse().expect("a seed");
    let report = play(stencil, folder, rounds, seed, control == "control").await;
    println!("{}", serde_json::to_string_pretty(&report).unwrap());
}

async fn play(stencil: PathBuf, folder: PathBuf, rounds: u32, seed: u64, control: bool) -> Value {
    let mut chance = Chance::new(seed);
    let mut world = World::start(seed).await;
    let mut follow = Follow::new(stencil, folder, &world);
    let mut tally = Tally::default();
    for number in 1..=rounds {
        let before = tally.problems.len();
        if control {
            follow.forget_one();
        }
        round::play(&mut world, &mut follow, &mut chance, &mut tally).await;
        let (found, problems) = follow.check(&world, world.round_from).await;
        tally.take(number, problems);
        eprintln!(
            "round {number:3}: block {}, {found} logs stand, {} reorganisations, {} kills, {} problems",
            world.head(),
            tally.reorgs,
            tally.kills + follow.ended_at_a_point,
            tally.problems.len() - before
        );
    }
    // Once more all of it.
    let (logs, problems) = follow.check(&world, 0).await;
    tally.take(0, problems);
    follow.stop();
    let canonical = oracle::canonical(&world.truth, 0).await;
    let credits = oracle::credits(&world.watched(), &canonical);
    tally.take(0, world.compare(&credits).await);
    let counts = follow.counts();
    // Rounds in which nothing happened show nothing.
    let something = !credits.is_empty()
        && tally.reorgs > rounds / 2
        && (rounds < 10 || counts.retracted > 0)
        && (rounds < 20 || counts.retracted_final > 0);
    json!({
        "held": tally.problems.is_empty() && something,
        "seed": seed,
        "rounds": rounds,
        "blocks": world.head(),
        "reorgs": tally.reorgs,
        "deepest_reorg": tally.deepest,
        "kills": tally.kills,
        "ended_at_a_crash_point": follow.ended_at_a_point,
        "faulty_rounds": tally.faulty,
        "payments_sent": world.sent.len(),
        "payments_sent_again": tally.again,
        "payments_that_stand": credits.len(),
        "units_that_stand": world.units(&credits).to_string(),
        "logs_that_stand": logs,
        "entries": counts.entries,
        "observed": counts.observed,
        "retracted": counts.retracted,
        "retracted_after_final": counts.retracted_final,
        "final": counts.finals,
        "told_again": follow.told_again(),
        "problems": tally.problems,
    })
}
