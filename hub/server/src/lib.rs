//! The hub: pipeline, HTTP API, live page, composition.
