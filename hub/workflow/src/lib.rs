//! Workflow definitions and durable runs.
