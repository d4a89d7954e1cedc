//! A durable segmented log with group commit.
