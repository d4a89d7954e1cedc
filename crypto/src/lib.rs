//! The post-quantum layer.
