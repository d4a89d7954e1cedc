//! `stencil user`: the people of a tenant.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};
use stencil_protocol::moment;
use stencil_store::Role;

use crate::api::{self, Client, Hub};
use crate::output::{self, Format, note, say};

/// Makes, lists, changes and deletes users, who sign in to the console.
///
/// A user sets their own password: making one prints a one-time link to hand to them, and
/// `user link` prints a new one for who has forgotten theirs. A viewer reads, an editor also
/// changes workflows and sends commands, an admin also makes users and tokens. All of this needs
/// an admin's token.
#[derive(Parser)]
pub(crate) struct Args {
    #[command(flatten)]
    hub: Hub,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text", global = true)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists users.
    List,
    /// Makes a user and prints the one-time link by which they set a password.
    Add {
        /// By which they sign in: a-z 0-9 . _ - + @
        name: String,
        /// What they may do.
        #[arg(long, default_value = "viewer", value_parser = role)]
        role: Role,
    },
    /// Gives a user another role. They have to sign in again.
    SetRole {
        /// The user.
        name: String,
        /// What they may do from now on.
        #[arg(value_parser = role)]
        role: Role,
    },
    /// Shuts a user out: their sessions end at once, and they can't sign in.
    Disable {
        /// The user.
        name: String,
    },
    /// Lets a user in again who was shut out.
    Enable {
        /// The user.
        name: String,
    },
    /// Deletes a user; their sessions end at once.
    Delete {
        /// The user.
        name: String,
    },
    /// Prints a one-time link by which a user sets a new password; one before it opens nothing
    /// any more.
    Link {
        /// The user.
        name: String,
    },
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.hub)?;
    let format = args.output;
    match args.command {
        Command::List => {
            let items = client.list("/api/v1/users").await?;
            let columns = [
                "name",
                "role",
                "has_password",
                "signed_in_us",
                "disabled_us",
            ];
            output::items(format, &items, &columns)?;
        }
        Command::Add { name, role } => {
            let body = json!({ "name": name, "role": role });
            tell_link(format, &client.post("/api/v1/users", &body).await?)?;
        }
        Command::SetRole { name, role } => {
            let user = change(&client, &name, &json!({ "role": role })).await?;
            tell(format, &user, &format!("{name} is {}", role.as_str()))?;
        }
        Command::Disable { name } => {
            let user = change(&client, &name, &json!({ "disabled": true })).await?;
            tell(format, &user, &format!("{name} is shut out"))?;
        }
        Command::Enable { name } => {
            let user = change(&client, &name, &json!({ "disabled": false })).await?;
            tell(format, &user, &format!("{name} may sign in"))?;
        }
        Command::Delete { name } => {
            client.call(Method::DELETE, &path(&name), None).await?;
            let deleted = json!({ "name": name, "deleted": true });
            tell(format, &deleted, &format!("deleted {name}"))?;
        }
        Command::Link { name } => {
            let path = format!("{}/link", path(&name));
            tell_link(format, &client.post(&path, &json!({})).await?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A role by its name.
pub(crate) fn role(name: &str) -> Result<Role, String> {
    Role::parse(name).ok_or_else(|| "viewer, editor and admin are the roles".to_owned())
}

/// Prints what holds a one-time link.
pub(crate) fn tell_link(format: Format, made: &Value) -> anyhow::Result<()> {
    match format {
        Format::Json => output::json(made)?,
        // Alone on the line of standard output, to be handed on.
        Format::Text => {
            say!("{}", made["link"].as_str().unwrap_or_default());
            if let Some(until_us) = made["link_expires_us"].as_i64() {
                note!("works once, until {} UTC", moment::utc(until_us));
            }
        }
    }
    Ok(())
}

async fn change(client: &Client, name: &str, change: &Value) -> anyhow::Result<Value> {
    let body = ("application/json", change.to_string().into_bytes());
    client.call(Method::PATCH, &path(name), Some(body)).await
}

/// The address of a user, whatever they are called.
fn path(name: &str) -> String {
    format!("/api/v1/users/{}", api::segment(name))
}

fn tell(format: Format, value: &Value, text: &str) -> anyhow::Result<()> {
    match format {
        Format::Json => output::json(value),
        Format::Text => {
            say!("{}", output::escaped(text));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_asks_for_its_user_and_for_nothing_else() {
        assert_eq!(path("ann@acme.org"), "/api/v1/users/ann%40acme.org");
        assert_eq!(path("../tokens?x#"), "/api/v1/users/..%2Ftokens%3Fx%23");
    }

    #[test]
    fn roles_are_known_by_name() {
        let set = |role| Args::try_parse_from(["user", "set-role", "ann", role]);
        assert!(matches!(
            set("editor").unwrap().command,
            Command::SetRole { name, role: Role::Editor } if name == "ann"
        ));
        let error = set("root").err().unwrap().to_string();
        assert!(error.contains("viewer, editor and admin"), "{error}");
    }
}
