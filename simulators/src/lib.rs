//! Device fleets with physics and faults, and a replay of a real recording.
