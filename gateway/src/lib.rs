//! The Linux edge: link server, spool, uplink.
