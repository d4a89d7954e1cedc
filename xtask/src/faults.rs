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
    /// Kills a hub at random moments and points, while its invoices are paid, branches of up to 12
    /// blocks are replaced, and the two endpoints of its chain lag, lie and drop.
    ///
    /// After each round every invoice must hold what the chain has for it, each payment once, and be in
    /// the state that follows from that; what the hub has taken to bring must be brought; the journal must
    /// balance entry by entry, and the payee's wallet have what the chain says, to the unit; and devices
    /// must have acted once for each payment that is there, and for no other. All of it is looked at
    /// once more at the end. With `--of follower` it is `stencil chain follow` that is killed, and what it
    /// tells is compared with the chain log by log. Exits 1 when something did not hold.
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
