//! `stencil gateways`: what runs where, and what each gateway shall be like.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::{Parser, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};
use stencil_protocol::desired::MAX_SECTION_BYTES;

use crate::api::{Client, Hub, Refused, segment};
use crate::gateways_log::{self, Level, Logs};
use crate::output::{self, Format, say};
use crate::{bounded, when};

/// Between two looks at what becomes of a desired state.
const LOOK: Duration = Duration::from_millis(500);
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
    /// One gateway: how it is, what it shall be like, and what became of that; and the fingerprint of its
    /// certificate, which `stencil verify --gateway-key` takes.
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
    /// Lists the certificates that a gateway has and had, the newest first, with their fingerprints
    /// (SHA-256), which `stencil verify --gateway-key` takes.
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
    /// Removes a gateway that is no more, with what it was to be like; what its devices measured stays.
    /// Needs an admin's token.
    ///
    /// None of its certificates lets anybody in from then on. One that is connected has to be stopped
    /// or revoked first, and devices that are let in by it have to be moved or revoked.
    Remove {
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
    /// Tries sections again that are not named and were rolled back or refused.
    #[arg(long)]
    again: bool,
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
            let mut items = client.list(&path).await?;
            if format == Format::Text {
                for item in &mut items {
                    let state = standing(item);
                    item["state"] = json!(state);
                }
            }
            let columns = [
                "gateway",
                "state",
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
            let path = format!("/api/v1/gateways/{}", segment(&gateway));
            let mut found = client.get(&path).await?;
            let certificates = client.get(&format!("{path}/certificates")).await?;
            found["fingerprint"] = fingerprint(&certificates);
            match format {
                Format::Json => output::json(&found)?,
                Format::Text => say!("{}", told(&found, when::now_us())),
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
                Format::Text => say!("{}", told(&found, when::now_us())),
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
                "fingerprint",
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
        Command::Remove { gateway } => {
            let path = format!("/api/v1/gateways/{}", segment(&gateway));
            client.call(Method::DELETE, &path, None).await?;
            match format {
                Format::Json => output::json(&json!({ "removed": gateway }))?,
                Format::Text => say!("{} is removed", output::escaped(&gateway)),
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
            // A group begins with the first that is asked of it.
            Err(error) if self.of.group.is_some() && is_not_found(&error) => {
                json!({ "version": 0 })
            }
            Err(error) => return Err(error),
        };
        let given = [self.settings.is_some(), self.mapping.is_some()];
        let carried = SECTIONS.iter().zip(given).filter(|(section, given)| {
            !given && !self.without.iter().any(|without| without == *section)
        });
        let carried: Vec<&str> = carried
            .map(|(section, _)| *section)
            .filter(|section| present[*section].is_string())
            .collect();
        // With the same again what was not taken is tried again, and that is what is asked for then.
        let is_change = given.contains(&true) || !self.without.is_empty();
        if let Some(why) = not_taken(&present, &carried).filter(|_| is_change && !self.again) {
            bail!("{why}");
        }
        let mut body = Map::new();
        let version = self.replaces.or(present["version"].as_u64());
        body.insert("replaces".into(), json!(version.unwrap_or_default()));
        for (section, file) in SECTIONS.iter().zip([&self.settings, &self.mapping]) {
            let text = match file {
                Some(file) => Some(bounded::regular_text(file, MAX_SECTION_BYTES)?),
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

fn is_not_found(error: &anyhow::Error) -> bool {
    let refused = error.downcast_ref::<Refused>();
    refused.is_some_and(|refused| refused.status() == 404)
}

/// What is in the way of carrying these sections over: the gateway has not taken them as they are
/// asked for, so that they would be tried again beside what is meant.
fn not_taken(present: &Value, carried: &[&str]) -> Option<String> {
    let effective = &present["effective"];
    let last = &effective["last"];
    let verdict = last["verdict"].as_str()?;
    if carried.is_empty()
        || last["revision"] != effective["revision"]
        || !["refused", "rolled_back"].contains(&verdict)
    {
        return None;
    }
    // A flaw that is in sections that are replaced says nothing of those that stay.
    let flaws = last["why"].as_array().cloned().unwrap_or_default();
    let concerns = |flaw: &&Value| {
        flaw["section"]
            .as_str()
            .is_none_or(|section| carried.contains(&section))
    };
    let why = flaws.iter().find(concerns)?;
    let verdict = verdict.replace('_', " ");
    let names = carried.join(" and ");
    let flag = carried.first()?;
    Some(format!(
        "revision {} was {verdict}, and the {names} in it would be tried again with this: {}\nGive \
         others (--{flag} FILE), leave them to the gateway's groups or its own files (--without \
         {flag}), or try them again (--again)",
        last["revision"],
        output::escaped(why["what"].as_str().unwrap_or_default()),
    ))
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

/// Whether it is there, in a word or two.
fn standing(gateway: &Value) -> &'static str {
    match gateway["connected"].as_bool() {
        _ if gateway["revoked_us"].is_i64() => "revoked",
        Some(true) => "connected",
        _ if gateway["said_us"].is_i64() || gateway["registered_us"].is_i64() => "cut off",
        _ => "never connected",
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
fn told(gateway: &Value, now_us: i64) -> String {
    let text = |name: &str| {
        gateway[name]
            .as_str()
            .map_or("?".to_owned(), output::escaped)
    };
    let mut told = format!("{}: ", text("gateway"));
    told.push_str(standing(gateway));
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
            let ago_s = now_us.saturating_sub(at_us).max(0) / 1_000_000;
            told.push_str(&format!(
                "\nSpool, {ago_s} s ago: {} bytes, {} of these bytes wait for the hub; {} devices are linked",
                number("spool_bytes"),
                number("waiting_bytes"),
                number("links"),
            ));
            if let Some(devices) = gateway["field_devices"].as_u64().filter(|it| *it > 0) {
                told.push_str(&format!("\nField devices: {devices}"));
                told.push_str(&few(&gateway["silent"], "silent"));
            }
            told.push_str(&few(
                &gateway["unused_keys"],
                "have a key of their own and are in the mapping, too: the keys are not used",
            ));
            if let Some(end) = gateway["certificate_end_us"].as_i64() {
                let end = stencil_protocol::moment::utc(end);
                told.push_str(&format!("\nCertificate valid until {end} UTC"));
            }
        }
    }
    if let Some(fingerprint) = gateway["fingerprint"].as_str() {
        let fingerprint = output::escaped(fingerprint);
        told.push_str(&format!("\nFingerprint {fingerprint}"));
    }
    if let Some(groups) = gateway["groups"].as_array().filter(|it| !it.is_empty()) {
        let groups = groups.iter().filter_map(Value::as_str);
        let groups: Vec<_> = groups.map(output::escaped).collect();
        told.push_str(&format!("\nGroups: {}", groups.join(", ")));
    }
    told.push_str(&judgement(
        &gateway["desired_revision"],
        &gateway["applied_revision"],
        &gateway["last"],
    ));
    told
}

/// The SHA-256 of the certificate that it uses, or else of the newest that it is to use.
fn fingerprint(certificates: &Value) -> Value {
    let items = certificates["items"].as_array();
    let of = |state: &str| items?.iter().find(|it| it["state"] == state);
    let one = of("current").or_else(|| of("issued"));
    one.map_or(Value::Null, |it| it["fingerprint"].clone())
}

/// How many of its devices are so, and which; nothing for none.
fn few(few: &Value, are: &str) -> String {
    let count = few["count"].as_u64().unwrap_or_default();
    if count == 0 {
        return String::new();
    }
    let first = few["first"].as_array().into_iter().flatten();
    let first: Vec<_> = first
        .filter_map(Value::as_str)
        .map(output::escaped)
        .collect();
    let more = match count.saturating_sub(first.len() as u64) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("\n  {count} {are}: {}{more}", first.join(", "))
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
            "field_devices": 20, "silent": { "count": 3, "first": ["press-1", "press-2"] },
            "unused_keys": { "count": 1, "first": ["press-3"] },
            "fingerprint": "5f3a", "groups": ["cold", "north"], "desired_revision": 7, "applied_revision": 6,
            "last": { "revision": 7, "verdict": "rolled_back", "why": [
                { "section": "settings", "line": 2, "column": 3, "what": "no" },
                { "section": null, "line": null, "column": null, "what": "not reached" },
            ] },
        });
        assert_eq!(
            told(&gateway, 1_386_018_942_000_000),
            "gw-1: connected\nHeard 2013-12-02 21:15:00 UTC, version 0.1.0\n\
             Spool, 42 s ago: 10 bytes, 2 of these bytes wait for the hub; 3 devices are linked\nField devices: 20\n  \
             3 silent: press-1, press-2 and 1 more\n  \
             1 have a key of their own and are in the mapping, too: the keys are not used: press-3\n\
             Fingerprint 5f3a\nGroups: cold, north\n\
             Revision 7 is desired, it runs with 6; revision 7: rolled back\n  \
             settings, line 2, column 3: no\n  not reached"
        );
    }

    #[test]
    fn the_fingerprint_is_of_the_certificate_that_is_used() {
        let one =
            |state: &str, fingerprint: &str| json!({ "state": state, "fingerprint": fingerprint });
        let of = |items: &[Value]| fingerprint(&json!({ "items": items }));
        let all = [
            one("issued", "03"),
            one("current", "02"),
            one("superseded", "01"),
        ];
        assert_eq!(of(&all), "02");
        assert_eq!(of(&all[..1]), "03");
        assert_eq!(of(&all[2..]), Value::Null);
    }

    #[test]
    fn what_was_rolled_back_is_not_carried_along() {
        let present = |verdict: &str, section: Value| {
            json!({ "settings": "a", "effective": { "revision": 7, "last": {
                "revision": 7, "verdict": verdict,
                "why": [{ "section": section, "what": "the hub was not reached" }],
            } } })
        };
        let said = not_taken(&present("rolled_back", Value::Null), &["settings"]).unwrap();
        assert!(
            said.starts_with("revision 7 was rolled back, and the settings in it"),
            "{said}"
        );
        assert!(said.contains("the hub was not reached"), "{said}");
        // Where nothing is carried, where it was taken, and where only what is replaced was wrong.
        let applied = present("applied", Value::Null);
        assert_eq!(not_taken(&applied, &["settings"]), None);
        let refused = present("refused", json!("mapping"));
        assert_eq!(not_taken(&refused, &["settings"]), None);
        let other = present("rolled_back", Value::Null);
        assert_eq!(not_taken(&other, &[]), None);
    }

    #[test]
    fn how_it_stands_is_said_in_a_word() {
        let of = |text: &str| standing(&serde_json::from_str(text).unwrap());
        assert_eq!(of(r#"{"connected": true}"#), "connected");
        assert_eq!(of(r#"{"connected": false, "said_us": 1}"#), "cut off");
        assert_eq!(
            of(r#"{"connected": false, "said_us": null}"#),
            "never connected"
        );
        assert_eq!(
            of(r#"{"connected": false, "said_us": 1, "revoked_us": 2}"#),
            "revoked"
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
