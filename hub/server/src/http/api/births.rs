//! Devices that a factory has made, for who runs the hub.

use axum::extract::{Request, State as Shared};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use stencil_protocol::id::DeviceId;
use stencil_store::{Birth, Born, Operator, Page};

use super::enrolment::{hub_key, is_reserved, room, stopped_after};
use crate::http::State;
use crate::http::bulk::{Answers, Row, RowResult, Rows, Wrong};
use crate::http::input::{Paging, Query};
use crate::http::problem::Problem;
use crate::registry::{self, RowProblem};

/// The columns of a birth.
const FIELDS: &[&str] = &["identity", "code_sha256", "sealed_psk"];

/// A birth that could be read: identity, digest of the claim code, sealed key.
type Read = (DeviceId, [u8; 32], Vec<u8>);

/// Makes devices known that a factory has made, by the thousand: an answer a row.
///
/// CSV (`text/csv`, its first line names the columns) or a JSON array of objects, with `identity`
/// (the name by which the device speaks), `code_sha256` (64 hexadecimal digits) and `sealed_psk`
/// (base64), as `stencil device birth` writes them. At most 8 MiB and 10,000 rows. The same row
/// again changes nothing.
#[utoipa::path(
    post,
    path = "/api/v1/operator/births",
    tag = "births",
    request_body(content = String, content_type = "text/csv"),
    responses(
        (status = 200, body = Answers),
        (status = 415, description = "The body is neither `text/csv` nor `application/json`"),
    )
)]
pub(in crate::http) async fn create(
    Shared(state): Shared<State>,
    Extension(operator): Extension<Operator>,
    request: Request,
) -> Result<Json<Answers>, Problem> {
    let _room = room(&state)?;
    let keys = hub_key(&state)?;
    let mut rows = Rows::open(request, FIELDS).await?;
    let mut answers = Answers::default();
    loop {
        let portion = rows
            .next()
            .await
            .map_err(|error| stopped_after(&answers, error))?;
        if portion.is_empty() {
            break;
        }
        let columns = rows.columns();
        let read: Vec<Result<Read, Wrong>> = portion.iter().map(birth).collect();
        let good: Vec<Read> = read
            .iter()
            .filter_map(|row| row.as_ref().ok().cloned())
            .collect();
        let now_us = state.clock.now_us();
        let born = registry::born(state.store.registry.as_ref(), &keys, &good, now_us).await;
        let born = born.map_err(|error| stopped_after(&answers, error.into()))?;
        let mut born = born.into_iter();
        for (row, read) in portion.iter().zip(read) {
            let result = match read {
                Err(wrong) => Err(wrong),
                Ok(_) => match born.next() {
                    Some(Ok(born)) => answer(born),
                    Some(Err(RowProblem { field, what })) => Err(wrong(field, what)),
                    None => Err(wrong("identity", "it was not looked at")),
                },
            };
            answers.add(&columns, row, row.get(0), result);
        }
    }
    tracing::info!(
        births = answers.made(),
        by = operator.name,
        "devices were born"
    );
    Ok(Json(answers))
}

/// Births, by identity.
#[utoipa::path(
    get,
    path = "/api/v1/operator/births",
    tag = "births",
    params(Paging), responses((status = 200, body = Page<Birth>))
)]
pub(in crate::http) async fn list(
    Shared(state): Shared<State>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Birth>>, Problem> {
    let limit = paging.limit()?;
    let registry = &state.store.registry;
    Ok(Json(registry.births(paging.after.as_deref(), limit).await?))
}

fn birth(row: &Row) -> Result<Read, Wrong> {
    if let Some(what) = &row.broken {
        return Err(Wrong {
            field: None,
            what: what.clone(),
        });
    }
    let identity = row
        .get(0)
        .ok_or_else(|| wrong("identity", "it is missing"))?;
    let identity =
        DeviceId::parse(identity).map_err(|error| wrong("identity", error.to_string()))?;
    if is_reserved(&identity) {
        return Err(wrong("identity", "no device may have this name"));
    }
    let digest = row
        .get(1)
        .ok_or_else(|| wrong("code_sha256", "it is missing"))?;
    let mut code = [0; 32];
    hex::decode_to_slice(digest, &mut code)
        .map_err(|_| wrong("code_sha256", "it has to be 64 hexadecimal digits"))?;
    let sealed = row
        .get(2)
        .ok_or_else(|| wrong("sealed_psk", "it is missing"))?;
    let sealed = base64(sealed).ok_or_else(|| wrong("sealed_psk", "it is not base64"))?;
    Ok((identity, code, sealed))
}

/// Base64, of either alphabet.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let url_safe = URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
    STANDARD.decode(text).or(url_safe).ok()
}

fn answer(born: Born) -> Result<RowResult, Wrong> {
    match born {
        Born::Made => Ok(RowResult::Made),
        Born::Known | Born::Claimed => Ok(RowResult::Unchanged),
        Born::Differs => Err(wrong(
            "identity",
            "a device of this name was born with another code, or another device with this code; \
             give each device a name and a code of its own",
        )),
    }
}

pub(super) fn wrong(field: &'static str, what: impl Into<String>) -> Wrong {
    Wrong {
        field: Some(field),
        what: what.into(),
    }
}
