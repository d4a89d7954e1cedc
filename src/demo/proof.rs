//! The part of the story in which a figure is published with its proof.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use reqwest::Method;
use serde_json::json;
use stencil_proof::document::Trusted;

use super::chain::Chain;
use super::layout::{GATEWAYS, Layout, TENANT};
use super::story::Narrator;
use crate::api::Client;
use crate::verify::{Belief, Stands, Verdict, verify};

const WORKFLOW: &str = include_str!("workflows/proven-figure.yaml");
/// The page that is published.
const PAGE: &str = "figures/freezer-02";
/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// How long it may take until the page is there: sealed, anchored, final.
const LIMIT: Duration = Duration::from_secs(60);

/// A page is published with a figure; its proof verifies, and a changed figure does not.
pub(crate) async fn play(
    layout: &Layout,
    chain: &Chain,
    narrator: &Narrator,
) -> anyhow::Result<String> {
    let client = Client::with(&layout.base(), &layout.token)?;
    let workflow = ("application/yaml", WORKFLOW.as_bytes().to_vec());
    let path = "/api/v1/workflows/proven-figure";
    client.call(Method::PUT, path, Some(workflow)).await?;
    // One anchor is enough, and each costs gas: the first is made when the figure is sealed.
    let sealed = tokio::time::timeout(LIMIT, sealed(&client)).await;
    sealed.context("the figure is not sealed; see /api/v1/seals")??;
    narrator.tell("the first temperature of freezer-02 is sealed by its gateway");
    let anchoring = json!({ "chain": chain.name, "interval_s": 3_600 }).to_string();
    let anchoring = ("application/json", anchoring.into_bytes());
    client
        .call(Method::PUT, "/api/v1/anchoring", Some(anchoring))
        .await?;

    let path = format!("/p/{TENANT}/{PAGE}");
    let looking = async {
        loop {
            let (status, page) = client.public(&path).await?;
            if status == 200 {
                return anyhow::Ok(page);
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let page = tokio::time::timeout(LIMIT, looking).await.context(
        "the page with the proof is not published; see /api/v1/seals and /api/v1/anchoring",
    )??;
    narrator.tell("a page is published with the proof of its figure inside");

    // As a reader does who trusts the gateways' keys and a node, and not the hub.
    let mut gateways = Vec::new();
    for gateway in GATEWAYS {
        let pem = std::fs::read_to_string(layout.path(gateway).join(format!("{gateway}.pem")))?;
        let der = stencil_crypto::authority::first_of(&pem)?;
        gateways.push(stencil_crypto::authority::Description::of(&der)?.fingerprint);
    }
    let belief = Belief {
        trusted: Trusted { gateways },
        blocks: Vec::new(),
        rpc: Some(format!("http://{}", layout.ports.chain)),
    };
    let verdict = one(&page, &belief).await?;
    ensure!(
        verdict.stands == Stands::Verified,
        "the page is not verified: {:?}, {:?}",
        verdict.wrong,
        verdict.unchecked
    );
    let shown = verdict.reading["value"]["number"].as_str();
    let shown = shown.context("the figure is no number")?.to_owned();

    // Somebody changes the figure, on the page and then in the proof as well.
    let begin = "<data data-proof=\"proof\">";
    let (before, rest) = page.split_once(begin).context("no figure is marked")?;
    let (_, behind) = rest.split_once('<').context("the figure has no end")?;
    let changed = format!("{before}{begin}-4.0<{behind}");
    let wrong = one(&changed, &belief).await?;
    let why = wrong.wrong.context("a changed figure is verified")?;
    ensure!(why.contains("the figure was changed"), "{why}");
    let both = changed.replace(
        &format!("{{\"number\":\"{shown}\"}}"),
        "{\"number\":\"-4.0\"}",
    );
    let wrong = one(&both, &belief).await?;
    let why = wrong.wrong.context("a changed proof is verified")?;
    ensure!(why.contains("is not what freezer-02 said"), "{why}");
    narrator.tell("its proof is verified without the hub, and a changed figure is found");
    Ok(format!(
        "{shown} of freezer-02 is verified by the gateway's key and a block of the chain; changed to -4.0 \
         it is not"
    ))
}

/// Returns when the reading that the workflow waits for is sealed.
async fn sealed(client: &Client) -> anyhow::Result<()> {
    loop {
        let runs = client.list("/api/v1/runs?limit=1000").await?;
        let run = runs.iter().find(|run| run["workflow"] == "proven-figure");
        if let Some(event) = run.map(|run| &run["event"]) {
            let (boot, seq) = (&event["boot"], &event["seq"]);
            let path = format!("/api/v1/devices/freezer-02/proof?boot={boot}&number={seq}");
            if client.get(&path).await.is_ok() {
                return Ok(());
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn one(page: &str, belief: &Belief) -> anyhow::Result<Verdict> {
    let mut verdicts = verify(page.as_bytes(), belief).await?;
    ensure!(
        verdicts.len() == 1,
        "the page has {} proofs",
        verdicts.len()
    );
    verdicts.pop().context("no proof")
}
