//! Named points at which a test may kill the process.
