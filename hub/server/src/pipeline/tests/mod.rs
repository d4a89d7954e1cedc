//! The pure middle of the pipeline, with a store in memory, killed and restarted at will.

mod alarms;
mod backtest;
mod harness;
mod interleaving;
mod lost_memory;
mod refused;
mod rejected;
mod replay;
mod rollouts;
mod seals;
mod ties;
