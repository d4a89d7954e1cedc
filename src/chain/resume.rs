//! `stencil chain resume`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use serde_json::json;
use stencil_store::Chains as _;

use super::DATABASE;
use crate::api::{self, Client, Hub};
use crate::output::{self, Format, escaped, say};
use crate::when;

/// Has a chain go on that was stopped, as a reorganisation went deeper than the blocks that are kept.
///
/// That is right where the endpoints were wrong, and are not any more. It goes on from the block where it
/// stood, and looks first whether the chain has it, or one of those that are kept below: if none of them is
/// part of the chain it stops again, and nothing changes. Then what was observed has to be compared with the
/// chain, and the chain be followed under another name from a block that is sure.
///
/// A hub is asked with an operator's token, which `stencil hub add-operator` makes, and what has become of
/// the chain is shown by `stencil chain list`. With --data it is a follower of `stencil chain follow`, which
/// has to be started again afterwards.
#[derive(clap::Args)]
pub(super) struct Resume {
    /// The chain's name: in the hub's settings, or as it is followed.
    name: String,
    /// The folder of a follower, in place of a hub.
    #[arg(long)]
    data: Option<PathBuf>,
    #[command(flatten)]
    hub: Hub,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

pub(super) async fn run(args: Resume) -> anyhow::Result<ExitCode> {
    let resumed = match &args.data {
        Some(folder) => of_follower(folder, &args.name).await?,
        None => {
            let client = Client::new(&args.hub)?;
            let path = format!(
                "/api/v1/operator/chains/{}/resume",
                api::segment(&args.name)
            );
            client.post(&path, &json!({})).await?
        }
    };
    match args.output {
        Format::Json => output::json(&resumed)?,
        Format::Text => {
            let text = |key: &str| escaped(resumed[key].as_str().unwrap_or("-"));
            // Some reasons begin with the chain's name.
            let (chain, why) = (text("chain"), text("was_stopped"));
            let why = why.strip_prefix(&format!("{chain}: ")).unwrap_or(&why);
            say!("{chain} was stopped: {why}");
            let cursor = &resumed["cursor"];
            say!(
                "it goes on after block {} ({})",
                cursor["number"],
                escaped(cursor["hash"].as_str().unwrap_or("-"))
            );
            say!("{}", text("means"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn of_follower(folder: &std::path::Path, name: &str) -> anyhow::Result<serde_json::Value> {
    let file = folder.join(DATABASE);
    if !file.is_file() {
        bail!(
            "there is no {}: --data is the folder that was given to `stencil chain follow`",
            file.display()
        );
    }
    let store = stencil_store::sqlite::open(&file).await?;
    let Some(state) = store.chain(name).await? else {
        let known = store.chains().await?;
        let known: Vec<_> = known.iter().map(|it| escaped(&it.chain)).collect();
        bail!(
            "{} has no chain `{}`; it has {}",
            file.display(),
            escaped(name),
            match known.is_empty() {
                true => "none".to_owned(),
                false => known.join(", "),
            }
        );
    };
    let Some(was_stopped) = state.stopped else {
        bail!(
            "the chain `{}` was not stopped: it goes on by itself",
            escaped(name)
        );
    };
    store.stop_chain(name, None, when::now_us()).await?;
    store.close().await;
    let cursor = state.cursor.map(
        |mark| json!({ "number": mark.number, "hash": format!("0x{}", hex::encode(mark.hash)) }),
    );
    Ok(json!({
        "chain": name,
        "was_stopped": was_stopped,
        "cursor": cursor,
        "means": "`stencil chain follow` goes on from this block: it looks first whether the chain has it, or one \
                  of those that are kept below, and stops again where none of them is part of the chain",
    }))
}
