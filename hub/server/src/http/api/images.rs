//! Firmware images, and who may sign them.

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State as Shared};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use stencil_rollout::Digest;
use stencil_store::{Image, Page, UpdateTrust};
use stencil_update::Refusal;
use stencil_update::envelope::{self, Envelope, Verified};
use stencil_update::header::MAX_IMAGE_BYTES;
use stencil_update::id::Id;
use stencil_update::succession::Succession;
use stencil_update::trust::{MAX_FILE_BYTES, Trust};

use super::rollouts::parsed;
use crate::http::input::{self, Paging, Path, Query};
use crate::http::problem::{Kind, Problem};
use crate::http::{Caller, State};
use crate::rollout::Receiving;

/// The media type of what is pushed: the manifest's length in 4 bytes, the manifest, the image.
const MEDIA_TYPE: &str = "application/octet-stream";
/// As many kinds of devices as may be named.
const MAX_CLASSES: usize = 100;
/// The longest body that sets who may sign.
const MAX_TRUST_BYTES: usize = 2 * MAX_FILE_BYTES;
/// How long a push may take, in seconds.
const MAX_PUSH_S: u64 = 600;

/// An image.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ShownImage {
    /// The SHA-256 of its payload.
    #[schema(value_type = String)]
    pub(in crate::http) digest: Digest,
    /// Who makes the devices that it is for, as a UUID.
    pub(in crate::http) vendor: String,
    /// Which of those, as a UUID.
    pub(in crate::http) class: String,
    /// Its place in the order of the class's images.
    pub(in crate::http) sequence: u64,
    /// What people call it.
    pub(in crate::http) version: String,
    /// The payload's length.
    pub(in crate::http) bytes: u32,
    /// When it was pushed.
    pub(in crate::http) pushed_us: i64,
}

/// Who may sign a tenant's updates.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Signers {
    /// The public keys: the text of `trust.keys`, which `stencil update keygen` writes.
    #[schema(max_length = 16_384)]
    keys: String,
    /// The devices that updates may be for; none: any.
    #[serde(default)]
    classes: Vec<Class>,
    /// That the keys which are trusted until now have signed these: the text of `succession`, which
    /// `stencil update succeed` writes. Gateways that trust those change over by themselves; without it
    /// they have to be given the new keys by hand. Only taken, never shown.
    #[serde(default, skip_serializing)]
    #[schema(max_length = 16_384)]
    succession: Option<String>,
}

/// A kind of devices.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Class {
    /// The vendor's UUID.
    vendor: String,
    /// The class's UUID.
    class: String,
}

/// Who may sign.
#[utoipa::path(
    get,
    path = "/api/v1/update-trust",
    tag = "images",
    responses(
        (status = 200, body = Signers),
        (status = 404, description = "Nobody is trusted to sign updates yet"),
    )
)]
pub(in crate::http) async fn trust(
    Shared(state): Shared<State>,
    caller: Caller,
) -> Result<Json<Signers>, Problem> {
    let trust = state.store.rollouts.trust(&caller.tenant).await?;
    let trust = trust.ok_or_else(|| Problem::not_found("trust in keys", "for updates"))?;
    let shown = |(vendor, class): ([u8; 16], [u8; 16])| Class {
        vendor: Id(vendor).to_string(),
        class: Id(class).to_string(),
    };
    Ok(Json(Signers {
        keys: trust.keys,
        classes: trust.classes.into_iter().map(shown).collect(),
        succession: None,
    }))
}

/// Sets who may sign, and for which devices. Images that are there stay.
#[utoipa::path(
    put,
    path = "/api/v1/update-trust",
    tag = "images",
    request_body = Signers,
    responses(
        (status = 204, description = "It is so from now on"),
        (status = 409, description = "`succession` is not signed by the keys that are trusted now"),
    )
)]
pub(in crate::http) async fn set_trust(
    Shared(state): Shared<State>,
    caller: Caller,
    input::Json(signers): input::Json<Signers, MAX_TRUST_BYTES>,
) -> Result<StatusCode, Problem> {
    let trust = Trust::from_text(&signers.keys)
        .map_err(|error| Problem::invalid(format!("`keys`: {error}")))?;
    if signers.classes.len() > MAX_CLASSES {
        let detail = format!("`classes` may be at most {MAX_CLASSES}");
        return Err(Problem::invalid(detail));
    }
    let mut classes = Vec::with_capacity(signers.classes.len());
    for Class { vendor, class } in &signers.classes {
        classes.push((uuid("vendor", vendor)?.0, uuid("class", class)?.0));
    }
    let trust = UpdateTrust {
        keys: trust.to_text(),
        classes,
        changed_us: state.clock.now_us(),
    };
    let rollouts = &state.store.rollouts;
    match &signers.succession {
        None => rollouts.set_trust(&caller.tenant, &trust).await?,
        Some(text) => {
            let by = followed(&state, &caller, text, &trust).await?;
            let text = by.to_text();
            rollouts
                .succeed_trust(&caller.tenant, by.before(), &text, &trust)
                .await?;
            state.control.trust_followed(&caller.tenant).await?;
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// That the keys which are trusted now have signed that `trust` follows them.
async fn followed(
    state: &State,
    caller: &Caller,
    text: &str,
    trust: &UpdateTrust,
) -> Result<Succession, Problem> {
    let succession = Succession::from_text(text)
        .map_err(|error| Problem::invalid(format!("`succession`: {error}")))?;
    if succession.claims().to_text() != trust.keys {
        let detail = "`succession` names other keys than `keys` does: both have to come from one \
                      folder of `stencil update succeed`";
        return Err(Problem::invalid(detail));
    }
    let now = state.store.rollouts.trust(&caller.tenant).await?;
    let now = now.ok_or_else(|| {
        let detail = "nobody is trusted to sign updates yet, so that nobody can be followed: leave \
                      `succession` out";
        Problem::new(Kind::Conflict, detail)
    })?;
    let now = Trust::from_text(&now.keys).map_err(Problem::internal)?;
    succession
        .verify(&now)
        .map_err(|error| Problem::new(Kind::Conflict, format!("`succession`: {error}")))?;
    Ok(succession)
}

/// Images, the one that was pushed last at first.
#[utoipa::path(
    get,
    path = "/api/v1/images",
    tag = "images",
    params(Paging), responses((status = 200, body = Page<ShownImage>))
)]
pub(in crate::http) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<ShownImage>>, Problem> {
    let (limit, after) = (paging.limit()?, paging.after.as_deref());
    let page = state.store.rollouts.images(&caller.tenant, after, limit);
    Ok(Json(page.await?.map(ShownImage::from)))
}

/// One image.
#[utoipa::path(
    get,
    path = "/api/v1/images/{image}",
    tag = "images",
    responses((status = 200, body = ShownImage))
)]
pub(in crate::http) async fn one(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(image): Path<String>,
) -> Result<Json<ShownImage>, Problem> {
    let digest: Digest = parsed(&image)?;
    let found = state
        .store
        .rollouts
        .image(&caller.tenant, &digest.0)
        .await?;
    let found = found.ok_or_else(|| Problem::not_found("image", digest))?;
    Ok(Json(found.into()))
}

/// Pushes an image with its signed manifest.
///
/// The body is the manifest's length (4 bytes, the highest first), the manifest, and the payload.
/// All signatures are verified before any of the payload is taken. Pushed again it is answered the
/// same.
#[utoipa::path(
    put,
    path = "/api/v1/images/{image}",
    tag = "images",
    request_body(content_type = "application/octet-stream"),
    responses(
        (status = 201, description = "It is verified and on disk", body = ShownImage),
        (status = 200, description = "It was there already", body = ShownImage),
        (status = 409, description = "An image of its class is as new or newer, or a leaf of the LMS \
            key has signed two updates"),
        (status = 422, description = "A signature is wrong, the image is for other devices, or \
            the payload is not the one that was signed"),
    )
)]
pub(in crate::http) async fn push(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(image): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let named: Digest = parsed(&image)?;
    let kind = request.headers().get(header::CONTENT_TYPE);
    if kind.is_none_or(|kind| kind != MEDIA_TYPE) {
        let detail = format!("the content type has to be `{MEDIA_TYPE}`");
        return Err(Problem::new(Kind::MediaType, detail));
    }
    let trust = state.store.rollouts.trust(&caller.tenant).await?;
    let trust = trust.ok_or_else(|| {
        let detail = "nobody is trusted to sign updates yet; an admin sets who is: \
                      `stencil image trust`";
        Problem::new(Kind::NotFound, detail)
    })?;
    let limit = std::time::Duration::from_secs(MAX_PUSH_S);
    // The image is put together in it: large beside other futures.
    let receiving = Box::pin(receive(&state, &trust, named, request.into_body()));
    let (verified, receiving) = tokio::time::timeout(limit, receiving)
        .await
        .map_err(|_| Problem::invalid(format!("the image did not come within {MAX_PUSH_S} s")))??;
    let envelope = verified.envelope();
    let (leaf, signature) = (envelope.lms_leaf(), envelope.lms_digest());
    let key = Trust::from_text(&trust.keys).map_err(Problem::internal)?;
    let key = Sha256::digest(key.lms().to_bytes()).into();
    let spent = &state.store.rollouts;
    let spent = spent.spend_leaf(&caller.tenant, &key, leaf, &signature);
    if let Err(error) = spent.await {
        tracing::error!(tenant = %caller.tenant, image = %named, %error, "an update is refused");
        return Err(error.into());
    }
    let header = verified.header();
    let image = Image {
        digest: header.digest,
        vendor: header.vendor.0,
        class: header.class.0,
        sequence: header.sequence,
        version: header.version.as_str().to_owned(),
        size: header.size,
        envelope: verified.envelope().encode(),
        pushed_us: state.clock.now_us(),
    };
    let turn = receiving.turn().await;
    let digest = header.digest;
    let received = tokio::task::spawn_blocking(move || receiving.finish(&digest, turn))
        .await
        .map_err(Problem::internal)??
        .map_err(|_| unsigned(Refusal::Digest))?;
    let put = state.store.rollouts.put_image(&caller.tenant, &image);
    let fresh = match put.await {
        Ok(fresh) => fresh,
        Err(error) => {
            let images = state.control.images();
            images.refused(&state.store, received).await;
            return Err(error.into());
        }
    };
    drop(received);
    let status = if fresh {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let there = state.store.rollouts.image(&caller.tenant, &digest).await?;
    let shown = ShownImage::from(there.unwrap_or(image));
    Ok((status, Json(shown)).into_response())
}

/// Takes a body: verifies the manifest as soon as it is there, then takes as many bytes as it says.
async fn receive(
    state: &State,
    trust: &UpdateTrust,
    named: Digest,
    body: Body,
) -> Result<(Verified, Receiving), Problem> {
    let mut stream = body.into_data_stream();
    let mut head: Vec<u8> = Vec::new();
    let mut taking: Option<(Verified, Receiving)> = None;
    while let Some(chunk) = stream.next().await {
        let chunk =
            chunk.map_err(|error| Problem::invalid(format!("the body broke off: {error}")))?;
        let rest = match &mut taking {
            Some(_) => chunk,
            None => {
                head.extend_from_slice(&chunk);
                let Some((verified, rest)) = opened(&head, trust)? else {
                    continue;
                };
                if verified.header().digest != named.0 {
                    let signed = Digest(verified.header().digest);
                    let detail = format!("the manifest is of the image {signed}, not of {named}");
                    return Err(Problem::new(Kind::InvalidImage, detail));
                }
                let images = state.control.images().clone();
                let receiving = tokio::task::spawn_blocking(move || images.receive());
                let receiving = receiving.await.map_err(Problem::internal)??;
                let rest = axum::body::Bytes::copy_from_slice(rest);
                head = Vec::new();
                taking = Some((verified, receiving));
                rest
            }
        };
        if let Some((verified, receiving)) = taking.take() {
            taking = Some(take(verified, receiving, rest).await?);
        }
    }
    let Some((verified, receiving)) = taking else {
        let detail = "the body ends before the manifest does";
        return Err(Problem::new(Kind::InvalidImage, detail));
    };
    let (have, size) = (receiving.bytes(), u64::from(verified.header().size));
    if have < size {
        return Err(unsigned(Refusal::Truncated { have, size }));
    }
    Ok((verified, receiving))
}

/// Takes the next bytes, if they are not too many.
async fn take(
    verified: Verified,
    mut receiving: Receiving,
    bytes: axum::body::Bytes,
) -> Result<(Verified, Receiving), Problem> {
    let max = u64::from(verified.header().size.min(MAX_IMAGE_BYTES));
    let size = receiving.bytes() + bytes.len() as u64;
    if size > max {
        return Err(unsigned(Refusal::Oversized { size, max }));
    }
    let took = tokio::task::spawn_blocking(move || {
        let took = receiving.take(&bytes);
        took.map(|()| receiving)
    });
    let receiving = took.await.map_err(Problem::internal)??;
    Ok((verified, receiving))
}

/// The verified manifest and what follows it; `None` while it is not all there.
fn opened<'a>(
    head: &'a [u8],
    trust: &UpdateTrust,
) -> Result<Option<(Verified, &'a [u8])>, Problem> {
    let Some((length, rest)) = head.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length > envelope::MAX_BYTES {
        let given = envelope::Error::TooLong { given: length };
        return Err(Problem::new(Kind::InvalidImage, given.to_string()));
    }
    let Some((manifest, payload)) = rest.split_at_checked(length) else {
        return Ok(None);
    };
    let refused = |error: envelope::Error| Problem::new(Kind::InvalidImage, error.to_string());
    let keys = Trust::from_text(&trust.keys).map_err(Problem::internal)?;
    let verified = Envelope::decode(manifest)
        .and_then(|envelope| envelope.verify(&keys))
        .map_err(refused)?;
    let header = verified.header();
    let device = (header.vendor.0, header.class.0);
    if !trust.classes.is_empty() && !trust.classes.contains(&device) {
        let known = trust.classes.iter().any(|(vendor, _)| *vendor == device.0);
        let what = if known { "class" } else { "vendor" };
        let detail = format!(
            "the image is for devices of vendor {} and class {}; this tenant has none of this {what}",
            header.vendor, header.class
        );
        return Err(Problem::new(Kind::InvalidImage, detail));
    }
    Ok(Some((verified, payload)))
}

fn unsigned(refusal: Refusal) -> Problem {
    Problem::new(Kind::InvalidImage, refusal.to_string())
}

fn uuid(field: &str, text: &str) -> Result<Id, Problem> {
    Id::parse(text).map_err(|error| Problem::invalid(format!("`classes`: `{field}`: {error}")))
}

impl From<Image> for ShownImage {
    fn from(image: Image) -> Self {
        Self {
            digest: Digest(image.digest),
            vendor: Id(image.vendor).to_string(),
            class: Id(image.class).to_string(),
            sequence: image.sequence,
            version: image.version,
            bytes: image.size,
            pushed_us: image.pushed_us,
        }
    }
}
