//! What the hub remembers: control plane and time series.
