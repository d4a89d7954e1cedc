//! What devices, gateways and the hub say to each other.
