//! The hub: pipeline, HTTP API, live page, composition.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod error;
mod layout;
mod options;

pub use error::Error;
pub use layout::Layout;
pub use options::{
    DispatchOptions, HttpOptions, LiveOptions, LogOptions, MqttOptions, Options, PipelineOptions,
    WorkflowOptions,
};
