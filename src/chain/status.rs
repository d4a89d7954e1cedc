//! `stencil chain status`.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::json;
use stencil_store::{BlockMark, Chains as _};

use super::{DATA, DATABASE, Kept};
use crate::output;

/// How far followers are: from what they keep, whether or not one runs. A hub's chains are another
/// matter: `stencil chain list`.
///
/// `behind` is the number of blocks that are not final yet; `stopped` says why a follower goes no
/// further by itself, and is a dash where nothing is wrong.
#[derive(clap::Args)]
pub(super) struct Status {
    #[command(flatten)]
    kept: Kept,
}

pub(super) async fn run(args: Status) -> anyhow::Result<ExitCode> {
    let folder = args.kept.data.unwrap_or_else(|| DATA.into());
    let file = folder.join(DATABASE);
    if !file.is_file() {
        bail!(
            "there is no {}: `stencil chain follow --data {}` makes it",
            file.display(),
            folder.display()
        );
    }
    let store = stencil_store::sqlite::open(&file).await?;
    let mut rows = Vec::new();
    for state in store.chains().await? {
        let (_, watches) = store.chain_watches(&state.chain).await?;
        let mark = |mark: Option<BlockMark>| {
            mark.map(|mark| {
                json!({
                    "number": mark.number,
                    "hash": format!("0x{}", hex::encode(mark.hash)),
                })
            })
        };
        let behind = state
            .cursor
            .map(|cursor| cursor.number - state.finalized.map_or(0, |mark| mark.number));
        rows.push(json!({
            "chain": state.chain,
            "chain_id": state.chain_id,
            "cursor": mark(state.cursor),
            "final": mark(state.finalized),
            "behind": behind,
            "watches": watches.len(),
            "entries": state.last_entry,
            "stopped": state.stopped,
            "changed_us": state.changed_us,
        }));
    }
    store.close().await;
    output::items(
        args.kept.output,
        &rows,
        &[
            "chain",
            "chain_id",
            "cursor.number",
            "final.number",
            "behind",
            "watches",
            "entries",
            "stopped",
            "changed_us",
        ],
    )?;
    Ok(ExitCode::SUCCESS)
}
