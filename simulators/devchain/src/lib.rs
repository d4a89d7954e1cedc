//! A chain in one process, for the demo and for tests.
