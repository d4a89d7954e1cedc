//! `stencil openapi`: the HTTP API's description.

use std::process::ExitCode;

use clap::Parser;

use crate::output;

/// Prints the description of the hub's HTTP API (OpenAPI 3.1, JSON).
///
/// It is that of this version of the command, and needs no running hub: for generating clients,
/// and for reading. `docs/guides/api.md` says how to use the API.
#[derive(Parser)]
pub(crate) struct Args {}

/// Runs it.
pub(crate) fn run(_: &Args) -> anyhow::Result<ExitCode> {
    output::text(&stencil_server::http::openapi());
    Ok(ExitCode::SUCCESS)
}
