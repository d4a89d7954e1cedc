//! The chains that the hub follows, for who runs it: how each stands, and one that was stopped goes on.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Request, State as Shared};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use stencil_protocol::id::TenantId;
use stencil_store::{AuditOutcome, BlockMark, ChainState, Operator};

use super::Whole;
use crate::http::State;
use crate::http::audit::{self, Event, Target};
use crate::http::input::Path;
use crate::http::listener::Peer;
use crate::http::problem::{Kind, Problem};

/// What it means that a chain goes on.
const MEANS: &str = "the hub goes on from this block at once. First it looks whether the chain has it, \
                     or one of those that it keeps below: if so, what differs is retracted and read again; if \
                     none of them is part of the chain, it stops again and nothing changes. What was observed \
                     up to here stands as it is until then, payments and what they caused too";

/// A block.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct Block {
    /// Its number.
    number: u64,
    /// Its hash, as `0x…`.
    hash: String,
}

/// How a chain stands.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct Standing {
    /// Its name in the hub's settings.
    chain: String,
    /// EIP-155 chain id.
    chain_id: u64,
    /// Whether the settings have it still.
    followed: bool,
    /// The newest block that its endpoints have.
    head: Option<u64>,
    /// Its time, in seconds since the epoch.
    head_time_s: Option<u64>,
    /// The newest block that was looked at.
    cursor: Option<Block>,
    /// The newest block that is final by the chain's policy.
    r#final: Option<Block>,
    /// Why it goes no further until somebody has dealt with that.
    stopped: Option<String>,
    /// What is not well.
    trouble: Option<String>,
    /// When this changed, in microseconds since the epoch.
    changed_us: i64,
}

/// A chain that goes on.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct Resumed {
    /// Its name in the hub's settings.
    chain: String,
    /// Why it had been stopped.
    was_stopped: String,
    /// The block after which it goes on.
    cursor: Option<Block>,
    /// What that means.
    means: &'static str,
}

fn block(mark: BlockMark) -> Block {
    Block {
        number: mark.number,
        hash: format!("0x{}", hex::encode(mark.hash)),
    }
}

fn standing(state: &State, chain: ChainState) -> Standing {
    let cashier = state.control.cashier();
    let followed = cashier.chains().by_name(&chain.chain);
    let trouble = match followed {
        Some(chain) => chain.trouble(),
        None => {
            let mut absent = cashier.absent().iter();
            let absent = absent.find(|absent| absent.name == chain.chain);
            absent.map(crate::chains::Absent::why)
        }
    };
    let head = followed.and_then(|chain| chain.head());
    Standing {
        followed: followed.is_some(),
        trouble,
        head: head.map(|head| head.number),
        head_time_s: head.map(|head| head.time_s),
        cursor: chain.cursor.map(block),
        r#final: chain.finalized.map(block),
        chain: chain.chain,
        chain_id: chain.chain_id,
        stopped: chain.stopped,
        changed_us: chain.changed_us,
    }
}

/// How the chains stand that the hub follows, or followed before: by name.
#[utoipa::path(
    get,
    path = "/api/v1/operator/chains",
    tag = "operator",
    responses((status = 200, body = Whole<Standing>))
)]
pub(in crate::http) async fn chains(
    Shared(state): Shared<State>,
) -> Result<Json<Whole<Standing>>, Problem> {
    let known = state.store.chains.chains().await?;
    let all = known.into_iter().map(|chain| standing(&state, chain));
    Ok(Json(Whole::of(all.collect())))
}

/// Has a chain go on that was stopped because a reorganisation went deeper than the blocks that are kept.
///
/// That is right where the endpoints were wrong, and are not any more: the hub goes on from the block where it
/// stood, and looks first whether the chain has it, or one of those that it keeps below. If none of them is part
/// of the chain it stops again, and nothing changes: follow the chain under another name then, from a block that is
/// sure. It is noted in the audit log of each tenant that watches something on the chain.
#[utoipa::path(
    post,
    path = "/api/v1/operator/chains/{chain}/resume",
    tag = "operator",
    responses(
        (status = 200, body = Resumed),
        (status = 404, description = "There is no such chain"),
        (status = 409, description = "It was not stopped"),
    )
)]
pub(in crate::http) async fn resume_chain(
    Shared(state): Shared<State>,
    Extension(by): Extension<Operator>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let chains = &state.store.chains;
    let Some(chain) = chains.chain(&name).await? else {
        let name: String = name.chars().take(64).collect();
        let known = chains.chains().await?;
        let known: Vec<_> = known.iter().map(|it| it.chain.as_str()).collect();
        let known = match known.is_empty() {
            true => "the hub has followed none".to_owned(),
            false => format!("known: {}", known.join(", ")),
        };
        return Err(Problem::new(
            Kind::NotFound,
            format!("there is no chain `{name}`; {known}"),
        ));
    };
    let Some(was_stopped) = chain.stopped else {
        let detail = format!("the chain `{name}` was not stopped: it goes on by itself");
        return Err(Problem::new(Kind::Conflict, detail));
    };
    chains.stop_chain(&name, None, state.clock.now_us()).await?;
    state.control.cashier().chains().resumed();
    tracing::warn!(
        chain = name,
        by = by.name,
        was_stopped,
        "a chain that was stopped goes on"
    );
    let (_, watches) = chains.chain_watches(&name).await?;
    let owners: BTreeSet<String> = watches.into_iter().map(|it| it.watch.owner).collect();
    let action: Arc<str> = Arc::from("operator.resume_chain");
    for tenant in owners
        .iter()
        .filter_map(|owner| TenantId::parse(owner).ok())
    {
        let event = Event {
            who: format!("operator {}", by.name),
            action: Arc::clone(&action),
            target: Some(name.clone()),
            outcome: AuditOutcome::Done,
            detail: Some(format!("it was stopped: {was_stopped}")),
            address: Peer::address(request.extensions()),
            repeats: false,
        };
        audit::note(&state, &tenant, event).await;
    }
    // A chain is no tenant, also where one is called so.
    let target = Target(format!("chain {name}"));
    let resumed = Resumed {
        chain: name,
        was_stopped,
        cursor: chain.cursor.map(block),
        means: MEANS,
    };
    Ok((target, Json(resumed)).into_response())
}
