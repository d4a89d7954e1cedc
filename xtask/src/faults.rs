//! Faults: real processes are killed, cut off and started again, under load, and must hold what they
//! have promised.

use clap::Subcommand;

mod books;
mod chain;
mod check;
mod device;
mod hub;
mod ingest;
mod plan;

pub(crate) use ingest::Options as IngestOptions;

/// What shall fail.
#[derive(Subcommand)]
pub(crate) enum Faults {
    /// Kills the hub at random moments under load, and lets its disk fail, tear and delay writes.
    ///
    /// After each round a sound hub is started on the same data: each number that was acknowledged
    /// must be stored (or in the loss ledger with a reason), each reading that fires a rule must
    /// have come about once at the receiver and in the content, and a hub whose disk had failed
    /// must not have acknowledged anything after that. Exits 1 when something did not hold.
    Ingest(IngestOptions),
    /// Kills a follower of a chain at random moments and points, while payments are made, branches of up
    /// to 12 blocks are replaced, and its two endpoints lag, lie and drop.
    ///
    /// After each round what it has told must come to what the chain has: each log of the token and the
    /// payment contract once, by its block, and final; numbers without gaps, and nothing told twice in
    /// other words. At the end each payment must stand as its receipt says. Exits 1 when something did
    /// not hold.
    Chain(chain::Options),
}

/// A few rounds as a test, and that they would find a loss.
pub(crate) fn short() -> anyhow::Result<()> {
    ingest::run(&IngestOptions::short(true))?;
    ingest::run(&IngestOptions::short(false))
}

/// Runs it.
pub(crate) fn run(faults: &Faults) -> anyhow::Result<()> {
    match faults {
        Faults::Ingest(options) => ingest::run(options),
        Faults::Chain(options) => chain::run(options),
    }
}
