//! The rule engine: pure, deterministic, in event time.
