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

mod api;
// The same device that the whole-system tests have.
#[allow(dead_code, reason = "tests use more of it")]
#[path = "../../../../tests/support/board.rs"]
mod board;
mod books;
mod chance;
mod doors;
mod follow;
mod hub;
mod oracle;
mod process;
mod round;
mod shop;
mod subject;
mod world;

use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value, json};

use crate::chance::Chance;
use crate::follow::Follow;
use crate::hub::Hub;
use crate::round::Tally;
use crate::subject::Subject;
use crate::world::World;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [of, stencil, folder, rounds, seed, control] = arguments.as_slice() else {
        panic!("faults_chain follower|hub STENCIL FOLDER ROUNDS SEED sound|control");
    };
    let rounds: u32 = rounds.parse().expect("rounds");
    let seed: u64 = seed.parse().expect("a seed");
    let mut world = World::start(seed).await;
    let (stencil, folder) = (PathBuf::from(stencil), PathBuf::from(folder));
    let subject = match of.as_str() {
        "hub" => {
            let mut hub = Hub::new(stencil, folder, &world);
            hub.prepare(&world).await;
            Subject::Hub(Box::new(hub))
        }
        _ => Subject::Follow(Follow::new(stencil, folder, &world)),
    };
    let report = play(subject, &mut world, rounds, seed, control == "control").await;
    println!("{}", serde_json::to_string_pretty(&report).unwrap());
}

async fn play(
    mut subject: Subject,
    world: &mut World,
    rounds: u32,
    seed: u64,
    control: bool,
) -> Value {
    let began = Instant::now();
    let mut chance = Chance::new(seed);
    let mut tally = Tally::default();
    let mut played_rounds = 0;
    for number in 1..=rounds {
        if control {
            subject.lose_one();
        }
        let began = Instant::now();
        round::play(world, &mut subject, chance.fork(), &mut tally).await;
        let played = began.elapsed();
        let (found, problems) = subject.check(world, false).await;
        tally.take(number, problems);
        eprintln!(
            "round {number:3}: block {}, {found} stand, {} reorganisations, {} kills, {} problems, \
             {} ms and {} ms until all was right",
            world.head(),
            tally.reorgs,
            tally.kills + subject.ended_at_a_point(),
            tally.problems.len(),
            played.as_millis(),
            (began.elapsed() - played).as_millis(),
        );
        played_rounds = number;
        // What is wrong stays wrong.
        if !tally.problems.is_empty() {
            break;
        }
    }
    // Once more all of it.
    let (_, problems) = subject.check(world, true).await;
    tally.take(0, problems);
    subject.kill();
    let canonical = oracle::canonical(&world.truth, 0).await;
    let credits = oracle::credits(&world.watched(), &canonical);
    tally.take(0, world.compare(&credits).await);
    let (counts, enough) = subject.counts(played_rounds);
    // Rounds in which nothing happened show nothing.
    let enough = enough && !credits.is_empty() && tally.reorgs > played_rounds / 2;
    let mut report = json!({
        "held": tally.problems.is_empty() && enough,
        "enough_happened": enough,
        "seed": seed,
        "rounds": played_rounds,
        "seconds": began.elapsed().as_secs(),
        "blocks": world.head(),
        "reorgs": tally.reorgs,
        "deepest_reorg": tally.deepest,
        "kills": tally.kills,
        "ended_at_a_crash_point": subject.ended_at_a_point(),
        "faulty_rounds": tally.faulty,
        "payments_sent": world.sent.len(),
        "payments_sent_again": tally.again,
        "payments_that_stand": credits.len(),
        "units_that_stand": world.units(&credits).to_string(),
        "problems": tally.problems,
    });
    if let (Value::Object(report), Value::Object(counts)) = (&mut report, counts) {
        report.extend(counts);
    }
    report
}
