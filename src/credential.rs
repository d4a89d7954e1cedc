//! `stencil credential`: what a tenant says of somebody or something, provably.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use clap::{Parser, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};
use stencil_protocol::moment;

use crate::api::{Client, Hub, segment};
use crate::output::{self, Format, say};

/// The longest file with claims, a schema or a credential, in bytes.
const MAX_FILE: usize = 120 * 1024;

/// Issues credentials, checks and revokes them.
///
/// A credential says something of a device or of somebody else, such as when a sensor was calibrated or
/// what was delivered. It is signed by the tenant's keys, with Ed25519 and ML-DSA-44, so that others
/// can check it without this hub; they ask the tenant's status list whether it still holds.
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
    /// Issues one: `issue CalibrationCertificate --device freezer-07 --claim deviation=0.05`. Needs an
    /// editor's token.
    Issue(Issue),
    /// Lists those that were issued, the newest first.
    List {
        /// The most to show.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// One credential: what it says, and how it stands. With `--output json` it is the credential itself, as it is
    /// given to others.
    Show {
        /// Its id, from `credential list`.
        id: String,
    },
    /// Revokes one, for good. Needs an editor's token.
    Revoke {
        /// Its id, from `credential list`.
        id: String,
    },
    /// Suspends one until it is resumed. Needs an editor's token.
    Suspend {
        /// Its id, from `credential list`.
        id: String,
    },
    /// Lets one hold again that was suspended. Needs an editor's token.
    Resume {
        /// Its id, from `credential list`.
        id: String,
    },
    /// Has the hub check a credential or a presentation; needs no token. Exits with 1 if it is not right.
    Verify(Verify),
}

#[derive(clap::Args)]
struct Issue {
    /// Of which kind it is: letters and digits.
    kind: String,
    /// The device that it is about.
    #[arg(long, required_unless_present = "subject", conflicts_with = "subject")]
    device: Option<String>,
    /// Whom else it is about, a DID or another URI.
    #[arg(long)]
    subject: Option<String>,
    /// What is said, as NAME=VALUE; may be given again. A value that is JSON is taken as such.
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    claims: Vec<String>,
    /// A JSON file with more of that.
    #[arg(long, value_name = "FILE")]
    claims_file: Option<PathBuf>,
    /// What it is called, for people.
    #[arg(long)]
    name: Option<String>,
    /// For how many days it holds; without it for ever.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=36_500))]
    days: Option<u64>,
    /// A JSON schema that it has to follow, as URL=FILE.
    #[arg(long, value_name = "URL=FILE")]
    schema: Option<String>,
    /// As a token (vc+jwt, ML-DSA-65) instead of with proofs.
    #[arg(long)]
    token_form: bool,
}

#[derive(clap::Args)]
struct Verify {
    /// The file: a credential, a presentation, a token, or what `credential show --output json` printed.
    file: PathBuf,
    /// Whose credentials are accepted, a DID; may be given again. Without it anybody's.
    #[arg(long = "issuer", value_name = "DID")]
    issuers: Vec<String>,
    /// Of which kind it has to be.
    #[arg(long)]
    kind: Option<String>,
    /// Whom it has to be about.
    #[arg(long)]
    subject: Option<String>,
    /// Of a presentation: what its holder was given.
    #[arg(long, requires = "domain")]
    challenge: Option<String>,
    /// Of a presentation: for whom it is.
    #[arg(long, requires = "challenge")]
    domain: Option<String>,
    /// Accepts a token (vc+jwt), which is by ML-DSA-65 alone.
    #[arg(long)]
    tokens: bool,
    /// Accepts it where it is not known whether it is revoked.
    #[arg(long)]
    accept_unknown_status: bool,
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Command::Verify(verify) = &args.command {
        let client = Client::for_anybody(&args.hub)?;
        let verdict = client
            .post("/api/v1/credentials/verify", &verify.asked()?)
            .await?;
        return told(args.output, &verdict);
    }
    let client = Client::new(&args.hub)?;
    match args.command {
        Command::Issue(issue) => {
            let issued = client.post("/api/v1/credentials", &issue.body()?).await?;
            answer(args.output, &issued)?;
        }
        Command::List { limit } => {
            let path = format!("/api/v1/credentials?limit={}", limit.min(1_000));
            let items = client.newest(&path, usize::try_from(limit)?).await?;
            let columns = ["issued_us", "kind", "standing", "subject", "id"];
            output::items(args.output, &items, &columns)?;
        }
        Command::Show { id } => {
            let shown = client.get(&path(&id)).await?;
            match args.output {
                Format::Json => output::json(&shown["credential"])?,
                Format::Text => {
                    answer(args.output, &shown)?;
                    output::fields(&said_fields(&shown["credential"]));
                }
            }
        }
        Command::Revoke { id } => answer(args.output, &change(&client, &id, "revoke").await?)?,
        Command::Suspend { id } => answer(args.output, &change(&client, &id, "suspend").await?)?,
        Command::Resume { id } => answer(args.output, &change(&client, &id, "resume").await?)?,
        Command::Verify(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}

impl Issue {
    fn body(&self) -> anyhow::Result<Value> {
        let mut claims = match &self.claims_file {
            None => Map::new(),
            Some(file) => match read(file)? {
                Value::Object(claims) => claims,
                _ => bail!("{} holds no JSON object", file.display()),
            },
        };
        for claim in &self.claims {
            let (name, value) = claim
                .split_once('=')
                .with_context(|| format!("{} is not NAME=VALUE", output::escaped(claim)))?;
            let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
            ensure!(
                claims.insert(name.to_owned(), value).is_none(),
                "the claim {} is given twice",
                output::escaped(name)
            );
        }
        let mut body = json!({ "kind": self.kind, "claims": claims, "token": self.token_form });
        for (name, value) in [
            ("device", &self.device),
            ("subject", &self.subject),
            ("name", &self.name),
        ] {
            if let Some(value) = value {
                body[name] = value.clone().into();
            }
        }
        if let Some(days) = self.days {
            body["valid_for_s"] = (days * 86_400).into();
        }
        if let Some(schema) = &self.schema {
            let (url, file) = schema.rsplit_once('=').context(
                "--schema is URL=FILE, such as https://example.org/calibration=schema.json",
            )?;
            body["schema"] = json!({ "id": url, "document": read(Path::new(file))? });
        }
        Ok(body)
    }
}

impl Verify {
    fn asked(&self) -> anyhow::Result<Value> {
        let text = crate::bounded::text(&self.file, MAX_FILE)?;
        let text = text.trim();
        let value = match serde_json::from_str(text) {
            Ok(value) => value,
            // A token is no JSON.
            Err(_) if !text.starts_with('{') => Value::from(text),
            Err(error) => bail!("{} is no JSON: {error}", self.file.display()),
        };
        let is_presentation = value["type"]
            .as_array()
            .is_some_and(|kinds| kinds.contains(&json!("VerifiablePresentation")))
            || value["type"] == "VerifiablePresentation";
        let what = if is_presentation {
            "presentation"
        } else {
            "credential"
        };
        let mut asked = json!({
            what: value, "accept_unknown_status": self.accept_unknown_status,
            "tokens": self.tokens,
        });
        if !self.issuers.is_empty() {
            asked["issuers"] = json!(self.issuers);
        }
        for (name, value) in [
            ("kind", &self.kind),
            ("subject", &self.subject),
            ("challenge", &self.challenge),
            ("domain", &self.domain),
        ] {
            if let Some(value) = value {
                asked[name] = value.clone().into();
            }
        }
        Ok(asked)
    }
}

fn read(file: &Path) -> anyhow::Result<Value> {
    let text = crate::bounded::text(file, MAX_FILE)?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))
}

fn path(id: &str) -> String {
    format!("/api/v1/credentials/{}", segment(id))
}

async fn change(client: &Client, id: &str, what: &str) -> anyhow::Result<Value> {
    let path = format!("{}/{what}", path(id));
    client.call(Method::POST, &path, None).await
}

fn answer(format: Format, issued: &Value) -> anyhow::Result<()> {
    if format == Format::Json {
        return output::json(issued);
    }
    let text = |name: &str| output::escaped(issued[name].as_str().unwrap_or_default());
    say!("{} {}", text("kind"), text("id"));
    say!("about     {}", text("subject"));
    say!("standing  {}", text("standing"));
    let until = issued["valid_until_us"].as_i64();
    say!(
        "valid     {}",
        until.map_or_else(
            || "for ever".to_owned(),
            |until| format!("until {}", moment::utc(until))
        )
    );
    Ok(())
}

/// What a credential says, and by whom.
fn said_fields(credential: &Value) -> Vec<(&str, String)> {
    let text = |value: &Value| match value.as_str() {
        Some(text) => text.to_owned(),
        None => value.to_string(),
    };
    if credential.is_string() {
        let form = "a token (vc+jwt): `--output json` has it";
        return vec![("form", form.to_owned())];
    }
    let issuer = &credential["issuer"];
    let issuer = match &issuer["id"] {
        Value::Null => issuer,
        id => id,
    };
    let mut fields = vec![("said by", text(issuer))];
    let claims = credential["credentialSubject"].as_object();
    // Whom it is about is said already.
    let claims = claims
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name != "id");
    fields.extend(claims.map(|(name, value)| (name.as_str(), text(value))));
    fields
}

/// A verdict; 1 if it is not right, so that a script sees it.
fn told(format: Format, verdict: &Value) -> anyhow::Result<ExitCode> {
    let right = verdict["verified"] == true;
    match format {
        Format::Json => output::json(verdict)?,
        Format::Text if right => {
            if let Some(holder) = verdict["holder"].as_str() {
                let by: Vec<&str> = verdict["holder_proven_by"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                say!("shown by {}", output::escaped(holder));
                say!("signed by {}", output::escaped(&by.join(" and ")));
            }
            for credential in verdict["credentials"].as_array().into_iter().flatten() {
                let text = |value: &Value| output::escaped(value.as_str().unwrap_or_default());
                let by: Vec<&str> = credential["proven_by"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                say!("right: said by {}", text(&credential["issuer"]));
                say!("proven by {}", output::escaped(&by.join(" and ")));
                if credential["standing"] == "unknown" {
                    say!("it is not known whether it is revoked");
                }
            }
        }
        Format::Text => {
            let error = verdict["error"].as_str().unwrap_or("no reason was given");
            say!("not right: {}", output::escaped(error));
            if verdict["retry"] == true {
                say!("something that is needed was not there: try again later");
            }
        }
    }
    Ok(if right {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issue(words: &[&str]) -> anyhow::Result<Value> {
        let all = ["credential", "issue"].iter().chain(words).copied();
        match Args::try_parse_from(all)?.command {
            Command::Issue(issue) => issue.body(),
            _ => bail!("another command"),
        }
    }

    #[test]
    fn what_is_said_is_json_where_it_is_one() {
        let body = issue(&[
            "CalibrationCertificate",
            "--device",
            "freezer-07",
            "--claim",
            "deviation=0.05",
            "--claim",
            "by=Ann = Bob",
            "--days",
            "365",
        ]);
        assert_eq!(
            body.expect("a body"),
            json!({
                "kind": "CalibrationCertificate", "device": "freezer-07",
                "claims": { "deviation": 0.05, "by": "Ann = Bob" },
                "valid_for_s": 31_536_000, "token": false,
            })
        );
    }

    #[test]
    fn what_a_credential_says_is_told() {
        let credential = json!({
            "issuer": "did:web:hub.example:tenants:acme",
            "credentialSubject": { "id": "did:web:x", "deviation": 0.05, "by": "Ann\u{1b}" },
        });
        let told = output::fields_text(&said_fields(&credential));
        for line in [
            "said by    did:web:hub.example:tenants:acme\n",
            "deviation  0.05\n",
            "by         Ann\\u{1b}\n",
        ] {
            assert!(told.contains(line), "{told}");
        }
        assert!(!told.contains("did:web:x"), "{told}");
        let token = output::fields_text(&said_fields(&json!("eyJ")));
        assert!(token.contains("a token (vc+jwt)"), "{token}");
    }

    #[test]
    fn what_cannot_be_asked_is_refused_here() {
        for (words, wrong) in [
            (&["Receipt", "--claim", "a=1"][..], "--device"),
            (
                &["Receipt", "--device", "d", "--claim", "a"],
                "not NAME=VALUE",
            ),
            (
                &[
                    "Receipt", "--device", "d", "--claim", "a=1", "--claim", "a=2",
                ],
                "given twice",
            ),
            (
                &["Receipt", "--device", "d", "--subject", "urn:x:1"],
                "cannot be used with",
            ),
            (&["Receipt", "--device", "d", "--days", "0"], "--days"),
        ] {
            let error = format!("{:#}", issue(words).expect_err(wrong));
            assert!(error.contains(wrong), "{error}");
        }
    }
}
