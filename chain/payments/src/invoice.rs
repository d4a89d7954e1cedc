//! What is to be paid, and what came of it.

mod id;

pub use id::Id;
