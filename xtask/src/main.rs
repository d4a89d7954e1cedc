//! The chores: test, bench, tools.
fn main() {}
