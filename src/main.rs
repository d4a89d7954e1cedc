//! The `stencil` command: wires the parts, holds no logic of its own.
//!
//! Each part is a subcommand and a process of its own: `hub`, `gateway`, `sim`. `demo` starts
//! them all on loopback and tells the story; the rest are an operator's and an integrator's
//! tools, which talk to a running hub over its public API.
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::output::note;

mod alarm;
mod api;
mod audit;
mod backup;
mod bounded;
mod completions;
mod config;
mod demo;
mod device;
mod field;
mod gateway;
mod gateways;
mod hub;
mod image;
mod logging;
mod notify;
mod openapi;
mod output;
mod ports;
mod publish;
mod query;
mod reconcile;
mod retention;
mod rollout;
mod rule;
mod series;
mod session;
mod shutdown;
mod sim;
mod tenant;
mod tls;
mod token;
mod update;
mod user;
mod when;
mod workflow;

/// The IoT, edge and workflow hub: from a sensor's pin to a published page, nothing lost.
///
/// Start with `stencil demo`: it runs a hub, two gateways and a simulated fleet on this machine
/// and prints the address of a live page. `stencil hub init` begins an installation of your own.
#[derive(Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
struct Stencil {
    #[command(subcommand)]
    command: Command,
    /// What to log, e.g. `info`, `debug`, `stencil_mqtt=debug,warn`.
    #[arg(long, global = true, env = "STENCIL_LOG", default_value = "info")]
    log: String,
}

// Without comments of their own: `help` would show those, and not what the arguments' types teach.
#[derive(Subcommand)]
enum Command {
    Hub(hub::Args),
    Gateway(gateway::Args),
    Gateways(gateways::Args),
    Sim(sim::Args),
    Demo(demo::Args),
    Reconcile(reconcile::Args),
    Backup(backup::BackupArgs),
    Restore(backup::RestoreArgs),
    Pub(publish::Args),
    Token(token::Args),
    User(user::Args),
    Session(session::Args),
    Audit(audit::Args),
    Tenant(tenant::Args),
    Workflow(workflow::Args),
    Rule(rule::Args),
    Retention(retention::Args),
    Series(series::Args),
    Device(query::DeviceArgs),
    Update(update::Args),
    Image(image::Args),
    Rollout(rollout::Args),
    Alarm(alarm::Args),
    Quarantine(query::QuarantineArgs),
    Run(query::RunArgs),
    Openapi(openapi::Args),
    Completions(completions::Args),
}

/// The command line as `clap` knows it.
fn command() -> clap::Command {
    Stencil::command()
}

fn main() -> ExitCode {
    let stencil = Stencil::parse();
    if let Err(error) = logging::start(&stencil.log, matches!(stencil.command, Command::Gateway(_)))
    {
        note!("stencil: {error:#}");
        return ExitCode::from(2);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            note!("stencil: can't start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        match stencil.command {
            Command::Hub(args) => hub::run(args).await,
            Command::Gateway(args) => gateway::run(args, &stencil.log).await,
            Command::Gateways(args) => gateways::run(args).await,
            Command::Sim(args) => sim::run(args).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Reconcile(args) => reconcile::run(args).await,
            Command::Backup(args) => backup::backup(args).await,
            Command::Restore(args) => backup::restore(args).await,
            Command::Pub(args) => publish::run(args).await,
            Command::Token(args) => token::run(args).await,
            Command::User(args) => user::run(args).await,
            Command::Session(args) => session::run(args).await,
            Command::Audit(args) => audit::run(args).await,
            Command::Tenant(args) => tenant::run(args).await,
            Command::Workflow(args) => workflow::run(args).await,
            Command::Rule(args) => rule::run(args).await,
            Command::Retention(args) => retention::run(args).await,
            Command::Series(args) => series::run(args).await,
            Command::Device(args) => query::device(args).await,
            Command::Image(args) => image::run(args).await,
            Command::Rollout(args) => rollout::run(args).await,
            Command::Update(args) => update::run(&args),
            Command::Alarm(args) => alarm::run(args).await,
            Command::Quarantine(args) => query::quarantine(args).await,
            Command::Run(args) => query::runs(args).await,
            Command::Openapi(args) => openapi::run(&args),
            Command::Completions(args) => completions::run(&args, command()),
        }
    });
    let outcome = outcome.and_then(|code| match output::failure() {
        Some(error) => Err(anyhow::anyhow!(
            "standard output can't be written, the answer is not whole: {error}"
        )),
        None => Ok(code),
    });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            note!("stencil: {}", told(&error));
            ExitCode::from(2)
        }
    }
}

/// An error with its causes; what one has said in its own words already is not said again.
fn told(error: &anyhow::Error) -> String {
    let mut said = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.contains(&cause) {
            said.push_str(": ");
            said.push_str(&cause);
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    #[test]
    fn the_command_line_is_free_of_contradictions() {
        super::command().debug_assert();
    }

    #[test]
    fn help_teaches_what_each_part_says_of_itself() {
        for (part, taught) in [
            ("hub", "STENCIL_HUB_HTTP__LISTEN"),
            ("gateway", "STENCIL_GATEWAY_HUB__ADDRESS"),
            ("reconcile", "Exits 0 when"),
            ("pub", "X25519MLKEM768"),
            ("token", "printed once"),
            ("user", "one-time link"),
            ("session", "signed in"),
            ("audit", "who changed what"),
            ("tenant", "stencil hub add-operator"),
            ("update", "never copy the folder"),
        ] {
            let mut command = super::command();
            let part = command.find_subcommand_mut(part).unwrap();
            assert!(part.get_about().is_some());
            let help = part.render_long_help().to_string();
            assert!(help.contains(taught), "{help}");
        }
    }

    #[test]
    fn each_cause_is_told_once() {
        let disk = std::io::Error::other("no room");
        let error = Err::<(), _>(disk)
            .with_context(|| "log: no room")
            .context("the hub");
        assert_eq!(super::told(&error.unwrap_err()), "the hub: log: no room");
    }
}
