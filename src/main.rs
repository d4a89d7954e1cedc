//! The `stencil` command: wires the parts, holds no logic of its own.
//!
//! Each part is a subcommand and a process of its own: `hub`, `gateway`, `sim`. `demo` starts
//! them all on loopback and tells the story; the rest are an operator's and an integrator's
//! tools, which talk to a running hub over its public API.
//!
//! Without the feature `hub` only the gateway's commands are there: a binary for the edge.
#![cfg_attr(
    not(feature = "hub"),
    allow(
        dead_code,
        unused_imports,
        reason = "what an operator's tools use of the modules that all share"
    )
)]

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::output::note;

#[cfg(feature = "hub")]
mod access;
#[cfg(feature = "hub")]
mod alarm;
#[cfg(feature = "hub")]
mod api;
#[cfg(feature = "hub")]
mod audit;
#[cfg(feature = "hub")]
mod backup;
mod bounded;
#[cfg(feature = "hub")]
mod chain;
mod completions;
mod config;
#[cfg(feature = "hub")]
mod credential;
#[cfg(feature = "hub")]
mod demo;
#[cfg(feature = "hub")]
mod device;
#[cfg(feature = "gateway")]
mod field;
#[cfg(feature = "gateway")]
mod gateway;
#[cfg(feature = "hub")]
mod gateways;
#[cfg(feature = "hub")]
mod gateways_log;
#[cfg(feature = "hub")]
mod hub;
#[cfg(feature = "hub")]
mod image;
#[cfg(feature = "hub")]
mod invoices;
#[cfg(feature = "gateway")]
mod lan;
mod logging;
#[cfg(feature = "hub")]
mod market;
#[cfg(feature = "gateway")]
mod notify;
#[cfg(feature = "gateway")]
mod opcua;
#[cfg(feature = "hub")]
mod openapi;
mod output;
#[cfg(feature = "hub")]
mod passport;
#[cfg(feature = "hub")]
mod ports;
#[cfg(feature = "hub")]
mod publish;
#[cfg(feature = "hub")]
mod query;
#[cfg(feature = "hub")]
mod reconcile;
#[cfg(feature = "hub")]
mod retention;
#[cfg(feature = "hub")]
mod rollout;
#[cfg(feature = "hub")]
mod rule;
#[cfg(feature = "hub")]
mod series;
#[cfg(feature = "hub")]
mod session;
mod shutdown;
#[cfg(feature = "hub")]
mod sim;
#[cfg(feature = "hub")]
mod tenant;
#[cfg(feature = "hub")]
mod tls;
#[cfg(feature = "hub")]
mod token;
#[cfg(feature = "hub")]
mod update;
#[cfg(feature = "hub")]
mod user;
#[cfg(feature = "hub")]
mod verify;
#[cfg(feature = "hub")]
mod wallet;
#[cfg(feature = "hub")]
mod when;
#[cfg(feature = "hub")]
mod workflow;

/// The IoT, edge and workflow hub: from a sensor's pin to a published page, nothing lost.
///
/// Start with `stencil demo`: it runs a hub, two gateways and a simulated fleet on this machine
/// and prints the address of a live page. `stencil hub init` begins an installation of your own.
#[cfg_attr(
    not(feature = "hub"),
    doc = "\nThis one was built for the edge: it has the gateway's commands only."
)]
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
    #[cfg(feature = "hub")]
    Hub(hub::Args),
    #[cfg(feature = "gateway")]
    Gateway(Box<gateway::Args>),
    #[cfg(feature = "hub")]
    Gateways(gateways::Args),
    #[cfg(feature = "hub")]
    Sim(sim::Args),
    #[cfg(feature = "hub")]
    Demo(demo::Args),
    #[cfg(feature = "hub")]
    Reconcile(reconcile::Args),
    #[cfg(feature = "hub")]
    Backup(backup::BackupArgs),
    #[cfg(feature = "hub")]
    Restore(backup::RestoreArgs),
    #[cfg(feature = "hub")]
    Pub(publish::Args),
    #[cfg(feature = "hub")]
    Token(token::Args),
    #[cfg(feature = "hub")]
    User(user::Args),
    #[cfg(feature = "hub")]
    Wallet(wallet::Args),
    #[cfg(feature = "hub")]
    Passport(passport::Args),
    #[cfg(feature = "hub")]
    Market(market::Args),
    #[cfg(feature = "hub")]
    Session(session::Args),
    #[cfg(feature = "hub")]
    Audit(audit::Args),
    #[cfg(feature = "hub")]
    Tenant(tenant::Args),
    #[cfg(feature = "hub")]
    Workflow(workflow::Args),
    #[cfg(feature = "hub")]
    Rule(rule::Args),
    #[cfg(feature = "hub")]
    Retention(retention::Args),
    #[cfg(feature = "hub")]
    Series(series::Args),
    #[cfg(feature = "hub")]
    Device(query::DeviceArgs),
    #[cfg(feature = "hub")]
    Update(update::Args),
    #[cfg(feature = "hub")]
    Image(image::Args),
    #[cfg(feature = "hub")]
    Rollout(rollout::Args),
    #[cfg(feature = "hub")]
    Alarm(alarm::Args),
    #[cfg(feature = "hub")]
    Chain(chain::Args),
    #[cfg(feature = "hub")]
    Access(access::Args),
    #[cfg(feature = "hub")]
    Credential(credential::Args),
    #[cfg(feature = "hub")]
    Verify(verify::Args),
    #[cfg(feature = "hub")]
    Invoices(invoices::Args),
    #[cfg(feature = "hub")]
    Quarantine(query::QuarantineArgs),
    #[cfg(feature = "hub")]
    Run(query::RunArgs),
    #[cfg(feature = "hub")]
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
            #[cfg(feature = "hub")]
            Command::Hub(args) => hub::run(args).await,
            #[cfg(feature = "gateway")]
            Command::Gateway(args) => gateway::run(*args, &stencil.log).await,
            #[cfg(feature = "hub")]
            Command::Gateways(args) => gateways::run(args).await,
            #[cfg(feature = "hub")]
            Command::Sim(args) => sim::run(args).await,
            #[cfg(feature = "hub")]
            Command::Demo(args) => demo::run(args).await,
            #[cfg(feature = "hub")]
            Command::Reconcile(args) => reconcile::run(args).await,
            #[cfg(feature = "hub")]
            Command::Backup(args) => backup::backup(args).await,
            #[cfg(feature = "hub")]
            Command::Restore(args) => backup::restore(args).await,
            #[cfg(feature = "hub")]
            Command::Pub(args) => publish::run(args).await,
            #[cfg(feature = "hub")]
            Command::Token(args) => token::run(args).await,
            #[cfg(feature = "hub")]
            Command::User(args) => user::run(args).await,
            #[cfg(feature = "hub")]
            Command::Wallet(args) => wallet::run(args).await,
            #[cfg(feature = "hub")]
            Command::Passport(args) => passport::run(args).await,
            #[cfg(feature = "hub")]
            Command::Market(args) => market::run(args).await,
            #[cfg(feature = "hub")]
            Command::Session(args) => session::run(args).await,
            #[cfg(feature = "hub")]
            Command::Audit(args) => audit::run(args).await,
            #[cfg(feature = "hub")]
            Command::Tenant(args) => tenant::run(args).await,
            #[cfg(feature = "hub")]
            Command::Workflow(args) => workflow::run(args).await,
            #[cfg(feature = "hub")]
            Command::Rule(args) => rule::run(args).await,
            #[cfg(feature = "hub")]
            Command::Retention(args) => retention::run(args).await,
            #[cfg(feature = "hub")]
            Command::Series(args) => series::run(args).await,
            #[cfg(feature = "hub")]
            Command::Device(args) => query::device(args).await,
            #[cfg(feature = "hub")]
            Command::Image(args) => image::run(args).await,
            #[cfg(feature = "hub")]
            Command::Rollout(args) => rollout::run(args).await,
            #[cfg(feature = "hub")]
            Command::Update(args) => update::run(&args),
            #[cfg(feature = "hub")]
            Command::Alarm(args) => alarm::run(args).await,
            #[cfg(feature = "hub")]
            Command::Chain(args) => chain::run(args).await,
            #[cfg(feature = "hub")]
            Command::Access(args) => access::run(args).await,
            #[cfg(feature = "hub")]
            Command::Credential(args) => credential::run(args).await,
            #[cfg(feature = "hub")]
            Command::Verify(args) => verify::run(args).await,
            #[cfg(feature = "hub")]
            Command::Invoices(args) => invoices::run(args).await,
            #[cfg(feature = "hub")]
            Command::Quarantine(args) => query::quarantine(args).await,
            #[cfg(feature = "hub")]
            Command::Run(args) => query::runs(args).await,
            #[cfg(feature = "hub")]
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
            note!("stencil: {}", output::escaped_lines(&told(&error)));
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

    /// An option of a command that is also one of all commands of its group would never be given.
    #[test]
    fn no_option_hides_another() {
        fn look(command: &clap::Command, outer: &[String], path: &str) {
            let path = format!("{path} {}", command.get_name());
            let mut global = outer.to_vec();
            for argument in command.get_arguments() {
                let Some(long) = argument.get_long() else {
                    continue;
                };
                assert!(!outer.iter().any(|it| it == long), "{path} --{long}");
                if argument.is_global_set() {
                    global.push(long.to_owned());
                }
            }
            for part in command.get_subcommands() {
                look(part, &global, &path);
            }
        }
        look(&super::command(), &[], "");
    }

    /// How a command answers is said once, at `--output`, and is text unless that says otherwise.
    #[test]
    fn no_help_says_that_an_answer_is_json_where_output_decides() {
        fn look(command: &clap::Command, decides: bool, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let output = command
                .get_arguments()
                .find(|it| it.get_long() == Some("output"));
            let decides = decides || output.is_some();
            let said = [command.get_about(), command.get_long_about()];
            for said in said.into_iter().flatten().map(ToString::to_string) {
                assert!(!(decides && said.contains("as JSON")), "{path}: {said}");
            }
            for part in command.get_subcommands() {
                look(part, decides, &path);
            }
        }
        look(&super::command(), false, "");
    }

    #[cfg(feature = "hub")]
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
