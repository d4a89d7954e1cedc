//! `stencil verify`: checks a proof of data, alone or inside of a page, without a hub.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use serde::Serialize;
use serde_json::{Value, json};
use stencil_proof::document::{Trusted, check};
use stencil_proof::page::{self, Found, MAX_PAGE_BYTES};
use stencil_protocol::moment;

use crate::output::{self, Format, escaped, note, say};

/// The longest file with a certificate.
const MAX_CERTIFICATE: usize = 64 << 10;
/// How long a page or a node may take.
const LIMIT: Duration = Duration::from_secs(20);
/// The most bytes of a node's answer.
const MAX_ANSWER: usize = 1 << 20;

/// Checks that a figure is what a device's gateway took in, without asking a hub.
///
/// FILE or URL is a proof (`GET /api/v1/devices/{device}/proof`), or a published page or entry with
/// proofs inside; of a page also each figure is compared with what was measured.
///
/// What is proven is the figure that is printed, with its unit, device and time: not how a page is drawn.
/// Its styles and scripts can hide a figure, and show another one: compare what is printed with what you
/// see.
///
/// What is believed is what you name, and nothing else:
///
///   --gateway-key  the gateway that you trust: its certificate (PEM), or the SHA-256 of that or of its
///                  public key, as `stencil gateways show` and the console's page of the gateway tell
///                  it, best by another way than the page
///   --block-hash   the hash of the block that has the anchor, from a node or an explorer of your choice
///   --rpc          in its place a node that is asked for it
///
/// Without a key it is not known whose signature that is; without a block it is not known that the
/// anchor is on the chain, and so since when the data cannot have been changed. Both are told.
///
/// Exit codes: 0 the reading is verified, up to what is said not to be checked; 1 something is wrong, and it says what; 2 it could not be read;
/// 3 nothing is wrong in itself, but a key or a block was not named, so it proves nothing yet.
///
/// Example: stencil verify https://example.org/p/acme/notices/freezer-07 --gateway-key gw-1.pem --rpc
/// https://…
#[derive(Parser)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// A file, `-` for standard input, or an http(s) URL.
    #[arg(value_name = "FILE|URL")]
    source: String,
    /// A gateway that is trusted; may be given again.
    #[arg(long, value_name = "FILE|SHA-256")]
    gateway_key: Vec<String>,
    /// The hash of a block that is on the chain; may be given again.
    #[arg(long, value_name = "0x…")]
    block_hash: Vec<String>,
    /// A node that is asked for the block (JSON-RPC).
    #[arg(long, value_name = "URL", conflicts_with = "block_hash")]
    rpc: Option<String>,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

/// Whom and what to believe.
#[derive(Debug, Clone, Default)]
pub(crate) struct Belief {
    /// Gateways.
    pub(crate) trusted: Trusted,
    /// Hashes of blocks.
    pub(crate) blocks: Vec<[u8; 32]>,
    /// A node that is asked for blocks.
    pub(crate) rpc: Option<String>,
}

/// How a proof stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stands {
    /// It is verified, up to what is told as not checked.
    Verified,
    /// Nothing is wrong in itself, but what it stands on was not named.
    Unfounded,
    /// Something is wrong.
    Wrong,
}

/// What was found of a proof.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    /// Its name in the page; empty for a document alone.
    pub(crate) name: String,
    /// How it stands.
    pub(crate) stands: Stands,
    /// What was checked, and is right.
    pub(crate) checked: Vec<String>,
    /// What was not checked, and what that means.
    pub(crate) unchecked: Vec<String>,
    /// What is wrong.
    pub(crate) wrong: Option<String>,
    /// The reading.
    pub(crate) reading: Value,
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let read = async {
        let belief = Belief {
            trusted: Trusted {
                gateways: keys(&args.gateway_key)?,
            },
            blocks: args
                .block_hash
                .iter()
                .map(|text| digest(text))
                .collect::<Result<_, _>>()?,
            rpc: args.rpc.as_deref().map(node).transpose()?,
        };
        anyhow::Ok((source(&args.source).await?, belief))
    };
    let (bytes, belief) = match read.await {
        Ok(read) => read,
        Err(error) => {
            note!("stencil: {}", escaped(&format!("{error:#}")));
            return Ok(ExitCode::from(2));
        }
    };
    let verdicts = match verify(&bytes, &belief).await {
        Ok(verdicts) => verdicts,
        // What could be read, and is not what it says.
        Err(error) if is_false(&error) => {
            let why = format!("{error:#}");
            match args.output {
                Format::Json => output::json(
                    &json!({ "source": args.source, "proofs": Vec::<Verdict>::new(), "wrong": why }),
                )?,
                Format::Text => say!("WRONG: {}", escaped(&why)),
            }
            return Ok(ExitCode::from(1));
        }
        Err(error) => {
            let said = format!("{} cannot be verified: {error:#}", args.source);
            note!("stencil: {}", escaped(&said));
            return Ok(ExitCode::from(2));
        }
    };
    match args.output {
        Format::Json => {
            output::json(&json!({ "source": args.source, "proofs": verdicts, "wrong": null }))?;
        }
        Format::Text => {
            let lines = verdicts.iter().flat_map(told);
            // A stranger has written the proof: nothing of it may pass for a line of ours.
            lines.for_each(|line| say!("{}", escaped(&line)));
        }
    }
    let any = |stands| verdicts.iter().any(|verdict| verdict.stands == stands);
    Ok(if any(Stands::Wrong) {
        ExitCode::from(1)
    } else if any(Stands::Unfounded) {
        ExitCode::from(3)
    } else {
        ExitCode::SUCCESS
    })
}

fn is_false(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<page::Error>()
        .is_some_and(page::Error::is_false)
}

/// Checks all proofs in a document or a page.
pub(crate) async fn verify(bytes: &[u8], belief: &Belief) -> anyhow::Result<Vec<Verdict>> {
    let mut verdicts = Vec::new();
    for found in page::find(bytes)? {
        verdicts.push(one(&found, belief).await?);
    }
    Ok(verdicts)
}

async fn one(found: &Found, belief: &Belief) -> anyhow::Result<Verdict> {
    let document = &found.document;
    let mut verdict = Verdict {
        name: found.name.clone(),
        stands: Stands::Verified,
        checked: Vec::new(),
        unchecked: Vec::new(),
        wrong: None,
        reading: serde_json::to_value(&document.reading)?,
    };
    if let Err(why) = steps(found, belief, &mut verdict).await? {
        verdict.stands = Stands::Wrong;
        verdict.wrong = Some(why);
    }
    Ok(verdict)
}

/// Each step from the page up to the chain; the outer error is one of what is asked, not of the proof.
async fn steps(
    found: &Found,
    belief: &Belief,
    verdict: &mut Verdict,
) -> anyhow::Result<Result<(), String>> {
    let document = &found.document;
    let sealed = match check(document, &belief.trusted) {
        Ok(sealed) => sealed,
        Err(fault) => return Ok(Err(fault.to_string())),
    };
    let seal = &document.seal;
    verdict.checked.push(format!(
        "{} said it as number {} of boot {}: it leads to the root of its chunk and of the seal",
        document.reading.device, document.reading.number, document.reading.boot
    ));
    verdict.checked.push(format!(
        "gateway {} of {} has signed seal {} ({}), by the key with SHA-256 {}",
        seal.gateway,
        seal.tenant,
        seal.number,
        seal.algorithm,
        hex::encode(sealed.key)
    ));
    if sealed.trusted {
        verdict
            .checked
            .push("the key is one that you trust".to_owned());
    } else {
        verdict.stands = Stands::Unfounded;
        verdict.unchecked.push(
            "whose key that is: anybody can make one, name the gateway's by --gateway-key"
                .to_owned(),
        );
    }
    if let Err(mismatch) = found.figures_match() {
        return Ok(Err(mismatch.to_string()));
    }
    if found.in_page {
        verdict
            .checked
            .push("what the page marks as this figure is what was measured".to_owned());
    }
    match &document.anchor {
        None if belief.rpc.is_some() || !belief.blocks.is_empty() => {
            return Ok(Err("a block was named, and the proof has no anchor".to_owned()));
        }
        None => verdict.unchecked.push(
            "since when it cannot have been changed: it is not anchored, so it is the gateway's word \
             alone"
                .to_owned(),
        ),
        Some(anchor) => {
            let anchored = match stencil_anchor::check(anchor) {
                Ok(anchored) => anchored,
                Err(fault) => return Ok(Err(fault.to_string())),
            };
            let block = anchored.block_number;
            let time_us = i64::try_from(anchored.block_time_s.saturating_mul(1_000_000));
            let time = moment::utc(time_us.unwrap_or(i64::MAX));
            verdict.checked.push(format!(
                "it is anchored in block {block} of chain {} ({time}), by {:#x} in contract {:#x}",
                anchored.chain_id, anchored.publisher, anchored.contract
            ));
            verdict.unchecked.push(
                "the anchor's `transaction` and `seals`: which transaction of the block it was and how many \
                 seals there were beside this one, which nothing that was hashed says"
                    .to_owned(),
            );
            match on_chain(&anchored, belief).await? {
                Block::Named => verdict
                    .checked
                    .push("that block's hash is one that you have named".to_owned()),
                Block::Asked => verdict
                    .checked
                    .push("the node that you have named has that block on its chain".to_owned()),
                Block::Unknown => {
                    verdict.stands = Stands::Unfounded;
                    verdict.unchecked.push(format!(
                        "whether block {:#x} is on the chain: compare that hash, or name it by \
                         --block-hash, or a node by --rpc",
                        anchored.block_hash
                    ));
                }
                Block::Not(why) => return Ok(Err(why)),
            }
        }
    }
    if found.in_page {
        verdict.unchecked.push(
            "how the page is drawn, and all else on it: styles and scripts can hide this figure and show \
             another one, so compare what is printed here with what you see"
                .to_owned(),
        );
    }
    verdict.unchecked.push(
        "what the sensor measured, and what its gateway was told before it sealed: a proof shows \
         that nothing was changed after that"
            .to_owned(),
    );
    Ok(Ok(()))
}

/// Whether a block is on the chain.
enum Block {
    Named,
    Asked,
    Unknown,
    Not(String),
}

async fn on_chain(anchored: &stencil_anchor::Anchored, belief: &Belief) -> anyhow::Result<Block> {
    if !belief.blocks.is_empty() {
        if belief.blocks.contains(&anchored.block_hash.0) {
            return Ok(Block::Named);
        }
        return Ok(Block::Not(format!(
            "the anchor is in block {:#x}, which is none that you have named",
            anchored.block_hash
        )));
    }
    let Some(rpc) = &belief.rpc else {
        return Ok(Block::Unknown);
    };
    let number = format!("{:#x}", anchored.block_number);
    let chain = ask(rpc, "eth_chainId", json!([])).await?;
    let expected = format!("{:#x}", anchored.chain_id);
    if chain != expected.as_str() {
        return Ok(Block::Not(format!(
            "the node is on chain {chain}, and the anchor on {expected}"
        )));
    }
    let block = ask(rpc, "eth_getBlockByNumber", json!([number, false])).await?;
    let held = block["hash"].as_str().unwrap_or_default();
    let said = format!("{:#x}", anchored.block_hash);
    if held.eq_ignore_ascii_case(&said) {
        return Ok(Block::Asked);
    }
    let held = if held.is_empty() { "none" } else { held };
    Ok(Block::Not(format!(
        "block {} of the chain is {held}, and the anchor is in {said}, which is not on the chain (any \
         more)",
        anchored.block_number
    )))
}

async fn ask(rpc: &str, method: &str, params: Value) -> anyhow::Result<Value> {
    let question = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let asked = crate::tls::http()?.timeout(LIMIT).build()?;
    let answer = asked
        .post(rpc)
        .header("content-type", "application/json")
        .body(question.to_string())
        .send()
        .await
        .with_context(|| format!("the node does not answer {method}"))?;
    let bytes = bounded(answer, MAX_ANSWER).await?;
    let mut answer: Value = serde_json::from_slice(&bytes)
        .with_context(|| format!("what the node answers to {method} is no JSON"))?;
    ensure!(answer["error"].is_null(), "{method}: {}", answer["error"]);
    Ok(answer["result"].take())
}

async fn source(source: &str) -> anyhow::Result<Vec<u8>> {
    if source == "-" {
        return crate::bounded::bytes(Path::new("/dev/stdin"), MAX_PAGE_BYTES);
    }
    match scheme(source).as_deref() {
        Some("http" | "https") => {}
        Some(other) if !Path::new(source).exists() => bail!(
            "{source:?} is an address of {other:?}; only http:// and https:// are fetched, everything else is \
             the name of a file"
        ),
        _ => return crate::bounded::bytes(Path::new(source), MAX_PAGE_BYTES),
    }
    let client = crate::tls::http()?.timeout(LIMIT).build()?;
    let answer = client.get(source).send().await;
    let answer = answer.with_context(|| format!("{source} cannot be fetched"))?;
    let status = answer.status();
    ensure!(status.is_success(), "{source} answers {status}");
    // In another encoding a browser reads another page than is read here.
    let kind = answer.headers().get("content-type");
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if let Some((_, charset)) = kind.to_ascii_lowercase().split_once("charset=") {
        let charset = charset.trim_matches(|c: char| c.is_ascii_whitespace() || "\"';".contains(c));
        ensure!(
            ["utf-8", "utf8", "us-ascii"].contains(&charset),
            "{source} is encoded as {charset:?}; only UTF-8 is read"
        );
    }
    bounded(answer, MAX_PAGE_BYTES).await
}

/// What a text begins with if it is an address, in small letters.
fn scheme(text: &str) -> Option<String> {
    let (scheme, _) = text.split_once("://")?;
    let is_of_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let is_one =
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(is_of_scheme);
    is_one.then(|| scheme.to_ascii_lowercase())
}

/// The address of a node.
fn node(text: &str) -> anyhow::Result<String> {
    let is_web = matches!(scheme(text).as_deref(), Some("http" | "https"));
    if !is_web || reqwest::Url::parse(text).is_err() {
        bail!("--rpc is {text:?}; it has to be the address of a node, http://… or https://…");
    }
    Ok(text.to_owned())
}

async fn bounded(mut answer: reqwest::Response, max_bytes: usize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(part) = answer.chunk().await? {
        ensure!(
            bytes.len() + part.len() <= max_bytes,
            "the answer is too long: at most {max_bytes} bytes are taken"
        );
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

/// The SHA-256 of what is named: a certificate in a file, or that itself.
fn keys(named: &[String]) -> anyhow::Result<Vec<[u8; 32]>> {
    let key = |text: &String| {
        if let Ok(digest) = digest(text) {
            return Ok(digest);
        }
        let path = Path::new(text);
        if !path.exists() {
            bail!("{text:?} is neither a file nor a SHA-256 of 64 hexadecimal digits");
        }
        let pem = crate::bounded::text(path, MAX_CERTIFICATE)?;
        let der = stencil_crypto::authority::first_of(&pem)
            .with_context(|| format!("{text} has no certificate in PEM"))?;
        let of = stencil_crypto::authority::Description::of(&der)?;
        Ok(of.fingerprint)
    };
    named.iter().map(key).collect()
}

fn digest(text: &str) -> anyhow::Result<[u8; 32]> {
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    let digits = digits.strip_prefix("0x").unwrap_or(&digits);
    let bytes = hex::decode(digits)
        .ok()
        .and_then(|bytes| bytes.try_into().ok());
    bytes.with_context(|| format!("{text:?} is no hash of 64 hexadecimal digits"))
}

/// For people: what was measured, and how far that is proven.
fn told(verdict: &Verdict) -> Vec<String> {
    let reading = &verdict.reading;
    let value = reading["value"]
        .as_object()
        .and_then(|value| value.values().next());
    let value = value.map_or_else(String::new, |value| match value {
        // What is proven is shown whole.
        Value::String(text) if verdict.wrong.is_none() => text.clone(),
        Value::String(text) => output::shown(text),
        other => output::shown(&other.to_string()),
    });
    let text = |name: &str| output::shown(reading[name].as_str().unwrap_or_default());
    let unit = match reading["unit"].is_string() {
        true => format!(" {}", text("unit")),
        false => String::new(),
    };
    let time = reading["time_us"]
        .as_str()
        .and_then(|text| text.parse().ok());
    let time = time.map(moment::utc).unwrap_or_default();
    let figure = format!(
        "{value}{unit}, {} of {} at {time} UTC",
        text("name"),
        text("device")
    );
    let checked = verdict.checked.iter();
    let unchecked = verdict.unchecked.iter();
    let mut lines = vec![figure];
    lines.extend(checked.map(|line| format!("  checked: {line}")));
    lines.extend(unchecked.map(|line| format!("  not checked: {line}")));
    lines.push(match (&verdict.wrong, verdict.stands) {
        (Some(why), _) => format!("  WRONG: {why}"),
        (None, Stands::Unfounded) => {
            "  not verified: nothing is wrong in itself, but it stands on nothing that you named"
                .to_owned()
        }
        (None, _) => "  verified: the figure that is printed above was measured so".to_owned(),
    });
    lines
}
