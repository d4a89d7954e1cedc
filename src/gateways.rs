//! `stencil gateways`: what runs where, and what each gateway shall be like.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::{Parser, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::api::{Client, Hub, segment};
use crate::gateways_log::{self, Level, Logs};
use crate::output::{self, Format, say};
use crate::{bounded, when};

/// Between two looks at what becomes of a desired state.
const LOOK: Duration = Duration::from_millis(500);
/// The most bytes of one section's file; a hub takes no more.
const MAX_SECTION: usize = 256 * 1024;
const SECTIONS: [&str; 2] = ["settings", "mapping"];

/// Shows the gateways of a hub, and says what each shall be like.
///
/// `stencil gateway` runs one; this asks the hub. What a gateway shall be like has two sections,
/// each a YAML file: settings (those that can be set from afar), and mapping (what it reads over
/// field protocols). A section comes from the gateway itself, else from the first of its groups
/// that has it, else from its own files. The gateway checks all of it and tries it; what would keep
/// it from the hub is undone by itself.
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
    /// Lists gateways: what runs where.
    List {
        /// Those of this group.
        #[arg(long)]
        group: Option<String>,
    },
    /// One gateway: how it is, what it shall be like, and what became of that.
    Show {
        /// The gateway.
        gateway: String,
    },
    /// What was asked for: of a gateway, or of all of a group. Needs an editor's token.
    Desired {
        #[command(flatten)]
        of: Of,
        /// Prints the text of one section alone.
        #[arg(long, value_parser = SECTIONS)]
        section: Option<String>,
    },
    /// Asks for something else; sections that are not named stay. Needs an admin's token.
    ///
    /// With the same again, what was rolled back is tried again.
    Set(Set),
    /// Puts a gateway into these groups and no others, in this order. Needs an admin's token.
    Group {
        /// The gateway.
        gateway: String,
        /// The groups; none: it is in none.
        groups: Vec<String>,
    },
    /// Lists the groups that have gateways, or a desired state.
    Groups,
    /// Lists the certificates that a gateway has and had, the newest first.
    Certificates {
        /// The gateway.
        gateway: String,
    },
    /// Revokes a gateway, such as one that was stolen: it is cut off at once, and none of its
    /// certificates lets anybody in any more. Needs an admin's token.
    ///
    /// `stencil hub add-gateway` makes it anew under the same name; what was revoked stays out.
    Revoke {
        /// The gateway.
        gateway: String,
    },
    /// The newest lines of a gateway's log, asked of it now. Needs an admin's token.
    ///
    /// The gateway holds the newest 2000 lines of its last start, and leaves secrets out.
    Logs(Logs),
    /// What a gateway counts and measures, asked of it now. Needs an admin's token.
    Metrics {
        /// The gateway.
        gateway: String,
    },
    /// Has a gateway log more, or less, for a while. Needs an admin's token.
    LogLevel(Level),
}

/// Whose desired state.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Of {
    /// A gateway.
    gateway: Option<String>,
    /// All gateways of a group.
    #[arg(long)]
    group: Option<String>,
}

#[derive(clap::Args)]
struct Set {
    #[command(flatten)]
    of: Of,
    /// A YAML file with settings.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// A YAML file with what is read over field protocols.
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// Leaves a section to the groups, or to the gateway's own files; may be given more than once.
    #[arg(long, value_name = "SECTION", value_parser = SECTIONS)]
    without: Vec<String>,
    /// Only if this version is there; without it, whichever is there now is replaced.
    #[arg(long)]
    replaces: Option<u64>,
    /// Waits until the gateway has judged it, such as 5m; exits 1 if it was not applied by then.
    #[arg(long, value_parser = when::span_us, conflicts_with = "group")]
    wait: Option<i64>,
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.hub)?;
    let format = args.output;
    match args.command {
        Command::List { group } => {
            let mut path = "/api/v1/gateways?limit=1000".to_owned();
            if let Some(group) = group {
                path.push_str(&format!("&group={}", segment(&group)));
            }
            let items = client.list(&path).await?;
            let columns = [
                "gateway",
                "connected",
                "version",
                "desired_revision",
                "applied_revision",
                "last.verdict",
                "said_us",
                "waiting_bytes",
                "links",
                "certificate_end_us",
                "link.group",
            ];
            output::items(format, &items, &columns)?;
        }
        Command::Show { gateway } => {
            let found = client
                .get(&format!("/api/v1/gateways/{}", segment(&gateway)))
                .await?;
            match format {
                Format::Json => output::json(&found)?,
                Format::Text => say!("{}", told(&found)),
            }
        }
        Command::Desired { of, section } => {
            let found = client.get(&of.path()).await?;
            match (section, format) {
                (Some(section), _) => match found[section.as_str()].as_str() {
                    Some(text) => output::text(text),
                    None => bail!("it has no section {section} of its own"),
                },
                (None, Format::Json) => output::json(&found)?,
                (None, Format::Text) => say!("{}", asked(&found)),
            }
        }
        Command::Set(set) => return set.run(&client, format).await,
        Command::Group { gateway, groups } => {
            let path = format!("/api/v1/gateways/{}/groups", segment(&gateway));
            let body = ("application/json", json!({ "groups": groups }).to_string());
            let body = (body.0, body.1.into_bytes());
            let found = client.call(Method::PUT, &path, Some(body)).await?;
            match format {
                Format::Json => output::json(&found)?,
                Format::Text => say!("{}", told(&found)),
            }
        }
        Command::Groups => {
            let items = client.list("/api/v1/gateway-groups?limit=1000").await?;
            output::items(format, &items, &["group", "gateways"])?;
        }
        Command::Certificates { gateway } => {
            let path = format!("/api/v1/gateways/{}/certificates", segment(&gateway));
            let found = client.get(&path).await?;
            let items = found["items"].as_array().cloned().unwrap_or_default();
            let columns = [
                "serial",
                "state",
                "renewed",
                "not_before_us",
                "not_after_us",
                "used_us",
                "ended_us",
            ];
            output::items(format, &items, &columns)?;
        }
        Command::Revoke { gateway } => {
            let path = format!("/api/v1/gateways/{}/revoke", segment(&gateway));
            let found = client.call(Method::POST, &path, None).await?;
            match format {
                Format::Json => output::json(&found)?,
                Format::Text => say!("{}", revoked(&found)),
            }
        }
        Command::Logs(logs) => logs.run(&client, format).await?,
        Command::Metrics { gateway } => gateways_log::metrics(&client, &gateway, format).await?,
        Command::LogLevel(level) => level.run(&client, format).await?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Of {
    fn path(&self) -> String {
        match (&self.gateway, &self.group) {
            (_, Some(group)) => {
                format!("/api/v1/gateway-groups/{}/desired-state", segment(group))
            }
            (gateway, None) => {
                let gateway = gateway.as_deref().unwrap_or_default();
                format!("/api/v1/gateways/{}/desired-state", segment(gateway))
            }
        }
    }
}

impl Set {
    async fn run(&self, client: &Client, format: Format) -> anyhow::Result<ExitCode> {
        let path = self.of.path();
        let present = match client.get(&path).await {
            Ok(present) => present,
            // Nobody has spoken of it yet.
            Err(error) if error.to_string().contains("404") => json!({ "version": 0 }),
            Err(error) => return Err(error),
        };
        let mut body = Map::new();
        let version = self.replaces.or(present["version"].as_u64());
        body.insert("replaces".into(), json!(version.unwrap_or_default()));
        for (section, file) in SECTIONS.iter().zip([&self.settings, &self.mapping]) {
            let text = match file {
                Some(file) => Some(bounded::text(file, MAX_SECTION)?),
                None => present[section].as_str().map(str::to_owned),
            };
            if let Some(text) = text
                && !self.without.iter().any(|without| without == section)
            {
                body.insert((*section).to_owned(), json!(text));
            }
        }
        let body = Value::Object(body).to_string().into_bytes();
        let body = Some(("application/json", body));
        let mut set = client.call(Method::PUT, &path, body).await?;
        let mut is_applied = true;
        if let Some(wait_us) = self.wait {
            let wait = Duration::from_micros(u64::try_from(wait_us).unwrap_or(0));
            (set, is_applied) = judged(client, &path, set, wait).await?;
        }
        match format {
            Format::Json => output::json(&set)?,
            Format::Text => say!("{}", asked(&set)),
        }
        Ok(match is_applied {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}

/// Waits for the gateway's verdict; whether it is that it works by it.
async fn judged(
    client: &Client,
    path: &str,
    set: Value,
    wait: Duration,
) -> anyhow::Result<(Value, bool)> {
    let until = Instant::now() + wait;
    let revision = set["effective"]["revision"].clone();
    let mut set = set;
    loop {
        let effective = &set["effective"];
        let last = &effective["last"];
        if effective["revision"] != revision {
            bail!("somebody has asked for something else meanwhile");
        }
        if last["revision"] == revision && last["verdict"] != "trying" {
            let is_applied = last["verdict"] == "applied";
            return Ok((set, is_applied));
        }
        if Instant::now() >= until {
            return Ok((set, false));
        }
        tokio::time::sleep(LOOK).await;
        set = client.get(path).await?;
    }
}

/// What comes after a gateway was revoked.
fn revoked(gateway: &Value) -> String {
    let name = output::escaped(gateway["gateway"].as_str().unwrap_or_default());
    let mut told = format!(
        "{name} is revoked: it is cut off, and none of its certificates lets anybody in any more"
    );
    let devices = gateway["devices"].as_u64().unwrap_or_default();
    if devices > 0 {
        told.push_str(&format!(
            "\nWhoever has it has the keys of {devices} devices. For each (`stencil device \
             registrations --gateway {name}`):\n  \
             stencil device move DEVICE --gateway ANOTHER, then stencil device rotate DEVICE\n  \
             or, where its hardware is gone as well: stencil device revoke DEVICE"
        ));
    }
    told.push_str("\nTo make it anew: stencil hub add-gateway, on the hub's machine");
    told
}

/// A gateway in a few lines.
fn told(gateway: &Value) -> String {
    let text = |name: &str| {
        gateway[name]
            .as_str()
            .map_or("?".to_owned(), output::escaped)
    };
    let mut told = format!("{}: ", text("gateway"));
    told.push_str(match gateway["connected"].as_bool() {
        Some(true) => "connected",
        _ => "not connected",
    });
    if let Some(at) = gateway["revoked_us"].as_i64() {
        let at = stencil_protocol::moment::utc(at);
        told.push_str(&format!("\nRevoked {at} UTC"));
    }
    match gateway["said_us"].as_i64() {
        None => told.push_str("\nThe hub has not heard of it yet"),
        Some(at_us) => {
            let at = stencil_protocol::moment::utc(at_us);
            told.push_str(&format!("\nHeard {at} UTC, version {}", text("version")));
            let number = |name: &str| gateway[name].as_u64().unwrap_or_default();
            told.push_str(&format!(
                "\nSpool: {} bytes, {} wait; {} devices are linked",
                number("spool_bytes"),
                number("waiting_bytes"),
                number("links"),
            ));
            if let Some(end) = gateway["certificate_end_us"].as_i64() {
                let end = stencil_protocol::moment::utc(end);
                told.push_str(&format!("\nCertificate valid until {end} UTC"));
            }
        }
    }
    if let Some(groups) = gateway["groups"].as_array().filter(|it| !it.is_empty()) {
        let groups: Vec<_> = groups.iter().filter_map(Value::as_str).collect();
        told.push_str(&format!("\nGroups: {}", groups.join(", ")));
    }
    told.push_str(&judgement(
        &gateway["desired_revision"],
        &gateway["applied_revision"],
        &gateway["last"],
    ));
    told
}

/// What was asked for, in a few lines.
fn asked(desired: &Value) -> String {
    let mut asked = format!("Version {}", desired["version"]);
    if let (Some(at), Some(by)) = (
        desired["changed_us"].as_i64(),
        desired["changed_by"].as_str(),
    ) {
        let at = stencil_protocol::moment::utc(at);
        asked.push_str(&format!(", {at} UTC by {}", output::escaped(by)));
    }
    for section in SECTIONS {
        if let Some(text) = desired[section].as_str() {
            asked.push_str(&format!("\n  {section}: {} bytes", text.len()));
        }
    }
    let effective = &desired["effective"];
    if effective.is_object() {
        for section in effective["sections"].as_array().into_iter().flatten() {
            if let Some(group) = section["group"].as_str() {
                let name = section["section"].as_str().unwrap_or_default();
                asked.push_str(&format!("\n  {name}: of group {}", output::escaped(group)));
            }
        }
        asked.push_str(&judgement(
            &effective["revision"],
            &effective["applied_revision"],
            &effective["last"],
        ));
    }
    asked
}

fn judgement(desired: &Value, applied: &Value, last: &Value) -> String {
    if desired.as_u64().unwrap_or_default() == 0 {
        return "\nIt runs as its own files say".to_owned();
    }
    let applied = match applied.as_u64() {
        Some(applied) => format!("runs with {applied}"),
        None => "runs as its own files say".to_owned(),
    };
    let mut told = format!("\nRevision {desired} is desired, it {applied}");
    if let Some(verdict) = last["verdict"].as_str() {
        let verdict = output::escaped(&verdict.replace('_', " "));
        told.push_str(&format!("; revision {}: {verdict}", last["revision"]));
    }
    for flaw in last["why"].as_array().into_iter().flatten() {
        told.push_str("\n  ");
        if let Some(section) = flaw["section"].as_str() {
            told.push_str(&output::escaped(section));
            if let (Some(line), Some(column)) = (flaw["line"].as_u64(), flaw["column"].as_u64()) {
                told.push_str(&format!(", line {line}, column {column}"));
            }
            told.push_str(": ");
        }
        told.push_str(&output::escaped(flaw["what"].as_str().unwrap_or_default()));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_it_is_not_applied_is_told_with_its_place() {
        let gateway = json!({
            "gateway": "gw-1", "connected": true, "said_us": 1_386_018_900_000_000_i64,
            "version": "0.1.0", "spool_bytes": 10, "waiting_bytes": 2, "links": 3,
            "groups": ["cold", "north"], "desired_revision": 7, "applied_revision": 6,
            "last": { "revision": 7, "verdict": "rolled_back", "why": [
                { "section": "settings", "line": 2, "column": 3, "what": "no" },
                { "section": null, "line": null, "column": null, "what": "not reached" },
            ] },
        });
        assert_eq!(
            told(&gateway),
            "gw-1: connected\nHeard 2013-12-02 21:15:00 UTC, version 0.1.0\n\
             Spool: 10 bytes, 2 wait; 3 devices are linked\nGroups: cold, north\n\
             Revision 7 is desired, it runs with 6; revision 7: rolled back\n  \
             settings, line 2, column 3: no\n  not reached"
        );
    }

    #[test]
    fn it_is_of_a_gateway_or_of_a_group() {
        let of = |words: &[&str]| {
            let args = Args::try_parse_from(["gateways", "desired"].iter().chain(words).copied());
            match args.map_err(|error| error.to_string())?.command {
                Command::Desired { of, .. } => Ok(of.path()),
                _ => unreachable!(),
            }
        };
        let path: Result<String, String> = of(&["a/b"]);
        assert_eq!(path.unwrap(), "/api/v1/gateways/a%2Fb/desired-state");
        assert_eq!(
            of(&["--group", "cold"]).unwrap(),
            "/api/v1/gateway-groups/cold/desired-state"
        );
        assert!(of(&[]).is_err());
        assert!(of(&["a", "--group", "cold"]).is_err());
    }
}
