//! The `stencil` command.
fn main() {}
