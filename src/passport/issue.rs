//! `stencil passport issue`.

use std::process::ExitCode;

use alloy_primitives::{Address, B256};
use anyhow::Context as _;
use reqwest::Method;
use serde_json::{Value, json};
use stencil_chain::single::{Call, Endpoint};
use stencil_ownership::issue::Passport;

use super::document::Document;
use super::errand::{Errand, answered, sent_lines};
use super::text;
use crate::api::{Client, Hub, Refused, segment};
use crate::chain::sending::{self, Sending, account};
use crate::output::{Format, escaped};

/// Issues the passport of a device: whoever owns the token controls the device.
///
///   stencil passport issue --contract 0x… --owner 0x… \
///       --document locker-7.json --device locker-7 --chain-id 137 --rpc https://… \
///       --keystore issuer.json --password-file issuer.password
///
/// It calls `issue` of `DevicePassport` with an issuer's key: the administrator's, which
/// `stencil chain deploy passport` was told, or that of an account which the administrator has
/// made an issuer. The token is the Keccak-256 of the DID, so that a device has one passport.
///
/// The document says what the device is: JSON, text or a picture of at most 64 KiB, named by its
/// SHA-256. With --device the hub is asked, too, with an admin's token: it tells the device's DID,
/// keeps the document, serves it to anybody, and gives the passport to the device, as `stencil
/// passport give` does. Without it, name the DID (--did did:web:…, which `stencil device show`
/// tells), upload the document (`POST /api/v1/documents`) and give the passport yourself. A device
/// that has a passport gets another one only with --replace.
///
/// What the contract would refuse is said before anything is sent; --dry-run sends nothing at
/// all. The owner controls the device when the block is final by the chain's policy.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Issue {
    /// The contract of passports, whose address `stencil chain deploy passport` has told.
    #[arg(long, value_name = "0x…")]
    contract: String,
    /// Who owns the device: an account whose key somebody has.
    #[arg(long, value_name = "0x…")]
    owner: String,
    /// The device's DID; with --device it is what the hub has, unless it is given.
    #[arg(long, required_unless_present = "device")]
    did: Option<String>,
    #[command(flatten)]
    document: Document,
    /// Has the hub keep the document and give the passport to this device. Needs an admin's token.
    #[arg(long)]
    device: Option<String>,
    /// Gives it to the device also where that has another passport, whose owner controls it no more then.
    #[arg(long, requires = "device")]
    replace: bool,
    #[command(flatten)]
    sending: Sending,
}

/// Runs it.
pub(super) async fn run(args: Issue, hub: &Hub, format: Format) -> anyhow::Result<ExitCode> {
    let contract: Address = account("--contract", &args.contract)?.into();
    let owner: Address = account("--owner", &args.owner)?.into();
    let document = args.document.read()?;
    let did = match (&args.did, &args.device) {
        (None, Some(device)) => {
            let did = super::did_of(&Client::new(hub)?, device).await;
            did.context("nothing was sent")?
        }
        (did, _) => did.clone().unwrap_or_default(),
    };
    let passport = Passport::new(owner, &did, document.cid.0)?;
    // Before the transaction, so that what the hub refuses costs nothing.
    let given = match &args.device {
        Some(device) => Some(Given::ready(hub, device, passport.token(), args.replace).await?),
        None => None,
    };
    let signer = args.sending.signer().await?;
    let errand = Errand {
        endpoint: Endpoint::new(args.sending.options()?)?,
        contract,
        call: Call::To(contract, passport.call()),
    };
    let plan = errand.plan("DevicePassport", &signer).await?;
    let mut answer = args.sending.planned(&plan);
    answer["contract"] = json!(contract.to_checksum(None));
    answer["token"] = json!(passport.token().to_string());
    answer["did"] = json!(did);
    answer["owner"] = json!(owner.to_checksum(None));
    answer["document"] = json!({
        "sha256": document.cid.0.to_string(),
        "cid": document.cid.to_string(),
        "uri": document.cid.uri(),
        "kept": false,
    });
    answer["issued"] = Value::Null;
    answer["device"] = Value::Null;
    if args.sending.dry_run {
        answered(format, &answer, passport_text)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let (Some(given), Some(body)) = (&given, &document.body) {
        given.keep(body).await?;
        answer["document"]["kept"] = json!(true);
    }
    let sent = errand.send(&plan, &signer).await?;
    if !passport.is_issued(contract, &sent.logs) {
        return Err(errand.silent(&sent, "DevicePassport"));
    }
    answer["issued"] = sending::sent(&sent);
    let mut failed = None;
    if let Some(given) = &given {
        match given.give(&did).await {
            Ok(()) => answer["device"] = json!(given.device),
            Err(why) => failed = Some(why),
        }
    }
    answered(format, &answer, passport_text)?;
    match (failed, given) {
        // It is issued all the same.
        (Some(why), Some(given)) => Err(why.context(format!(
            "the passport is issued, but not given to {device}: `stencil passport give {device} --did {}` does that",
            escaped(&did),
            device = escaped(&given.device),
        ))),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// A device of a hub that gets the passport.
struct Given {
    client: Client,
    device: String,
}

impl Given {
    /// Whether the hub knows the device, lets the caller give it something, and that takes nothing from anybody.
    async fn ready(hub: &Hub, device: &str, token: B256, replace: bool) -> anyhow::Result<Self> {
        let client = Client::new(hub)?;
        let asked = || {
            let device = escaped(device);
            format!("the hub is asked about {device}, and nothing was sent")
        };
        let me = client.get("/api/v1/me").await.with_context(asked)?;
        let role = me["role"].as_str().unwrap_or_default();
        anyhow::ensure!(
            role == "admin",
            "the hub's token has the role {}, and who gives a passport to a device has to be an admin: nothing was sent",
            escaped(role)
        );
        let path = format!("/api/v1/devices/{}", segment(device));
        client.get(&path).await.with_context(asked)?;
        match client.get(&format!("{path}/passport")).await {
            Ok(had) => {
                let other = had["passport"] != json!(token.to_string());
                anyhow::ensure!(
                    replace || !other,
                    "{} has a passport already, {}, whose owner ({}) would control it no more: --replace gives it \
                     this one all the same; nothing was sent",
                    escaped(device),
                    text(&had, "passport"),
                    had["owner"]
                        .as_str()
                        .map_or("nobody that is known".into(), escaped),
                );
            }
            // It has none, or no policy says whose tokens count.
            Err(error)
                if error
                    .downcast_ref::<Refused>()
                    .is_some_and(Refused::is_final) => {}
            Err(error) => return Err(error.context(asked())),
        }
        Ok(Self {
            client,
            device: device.to_owned(),
        })
    }

    /// Has the hub keep the document.
    async fn keep(&self, (kind, body): &(&'static str, Vec<u8>)) -> anyhow::Result<()> {
        let body = Some((*kind, body.clone()));
        let kept = self
            .client
            .call(Method::POST, "/api/v1/documents", body)
            .await;
        kept.map(drop)
            .context("the hub does not take the document, and nothing was sent to the chain")
    }

    async fn give(&self, did: &str) -> anyhow::Result<()> {
        let path = format!("/api/v1/devices/{}/passport", segment(&self.device));
        let body = super::json(&json!({ "did": did }));
        self.client.call(Method::PUT, &path, body).await.map(drop)
    }
}

fn passport_text(answer: &Value) -> Vec<String> {
    let document = &answer["document"];
    let mut lines = vec![
        format!("passport     {}", text(answer, "token")),
        format!("DID          {}", text(answer, "did")),
        format!("owner        {}", text(answer, "owner")),
        format!("document     {}", text(document, "uri")),
    ];
    lines.extend(sent_lines(answer));
    if answer["issued"].is_null() {
        return lines;
    }
    match answer["device"].as_str() {
        Some(device) => lines.push(format!("device       {device}")),
        None => lines.push(format!(
            "next         `stencil passport give DEVICE --did {}` says which device it is",
            text(answer, "did")
        )),
    }
    if document["kept"] == false {
        lines.push(
            "next         upload the document, so that the hub serves it: POST /api/v1/documents"
                .to_owned(),
        );
    }
    lines.push("its owner controls the device when the block is final".to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_to_do_is_said() {
        let mut answer = json!({
            "token": "0x01", "did": "did:web:x", "owner": "0xab", "gas_estimated": 7,
            "cost_at_most_wei": "14", "document": { "uri": "ipfs://bafkrei", "kept": false },
            "issued": null, "device": null,
        });
        let told = passport_text(&answer).join("\n");
        assert!(
            told.ends_with("gas          about 7: at most 14 wei\nnothing was sent"),
            "{told}"
        );
        answer["issued"] = json!({
            "tx": "0x02", "block": 3, "block_hash": "0x03", "gas_used": 6, "fee_wei": "12",
        });
        let told = passport_text(&answer).join("\n");
        for part in [
            "transaction  0x02",
            "block        3 (0x03)",
            "gas          6, 12 wei",
            "give DEVICE --did did:web:x`",
            "POST /api/v1/documents",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        answer["device"] = json!("locker-7");
        answer["document"]["kept"] = json!(true);
        let told = passport_text(&answer).join("\n");
        assert!(told.contains("device       locker-7"), "{told}");
        assert!(!told.contains("next"), "{told}");
    }
}
