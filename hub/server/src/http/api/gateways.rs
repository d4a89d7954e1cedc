//! Gateways: what runs where, and what each shall be like.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Request, State as Shared};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use stencil_desired::{Flaw, MAX_FLAWS, Section};
use stencil_protocol::id::GatewayId;
use stencil_store::{
    DesiredOf, DesiredState, Gateway, GatewayCertificate, GatewayFlaw, GatewayVerdict, Page,
};

use crate::http::input::{self, Paging, Path, Query};
use crate::http::problem::{Kind, Problem};
use crate::http::{Caller, State};

/// The longest body that sets a desired state, in bytes: its texts as JSON.
const MAX_DESIRED_BYTES: usize = 4 * 1024 * 1024;

/// Which gateways.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Which {
    /// Those of this group.
    group: Option<String>,
    /// The cursor: `next` of the page before.
    after: Option<String>,
    /// Items at most, 100 if it is not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// A gateway.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ShownGateway {
    #[serde(flatten)]
    pub(in crate::http) gateway: Gateway,
    /// Whether it is connected now.
    pub(in crate::http) connected: bool,
}

/// A group of gateways.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ShownGroup {
    /// Its name.
    #[schema(value_type = String)]
    group: GatewayId,
    /// How many gateways are in it.
    gateways: u64,
}

/// The groups of a gateway.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Groups {
    /// Their names, at most 8, in the order in which they are asked for a section.
    #[schema(value_type = Vec<String>)]
    groups: Vec<GatewayId>,
}

/// What a gateway, or all of a group, shall be like. A section that is not given is left to the
/// gateway's groups, and where none has it, to the gateway's own files.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewDesired {
    /// The version that it replaces: `version` of what is there; 0: nothing is there.
    replaces: u64,
    /// Settings, as YAML.
    #[schema(max_length = 1_048_576)]
    settings: Option<String>,
    /// What it reads over field protocols, as YAML.
    #[schema(max_length = 1_048_576)]
    mapping: Option<String>,
}

/// What was asked for.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ShownDesired {
    /// It counts the changes; 0: nothing was ever asked for.
    pub(in crate::http) version: u64,
    /// When it last changed.
    pub(in crate::http) changed_us: Option<i64>,
    /// Who changed it.
    pub(in crate::http) changed_by: Option<String>,
    /// Settings.
    pub(in crate::http) settings: Option<String>,
    /// What is read over field protocols.
    pub(in crate::http) mapping: Option<String>,
    /// What follows for the gateway with its groups, and what became of it; `null` for a group, or
    /// where nothing was ever asked for.
    pub(in crate::http) effective: Option<ShownEffective>,
}

/// What follows for a gateway.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ShownEffective {
    /// Its number: the gateway judges each once.
    pub(in crate::http) revision: u64,
    /// Since when.
    pub(in crate::http) since_us: Option<i64>,
    /// Its sections.
    pub(in crate::http) sections: Vec<ShownSection>,
    /// What the gateway runs with; `null`: as its own files say.
    pub(in crate::http) applied_revision: Option<u64>,
    /// The last that it has judged, and how.
    pub(in crate::http) last: Option<GatewayVerdict>,
}

/// A section of that.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ShownSection {
    /// `settings` or `mapping`.
    pub(in crate::http) section: String,
    /// The group that it comes from; `null`: it is the gateway's own.
    pub(in crate::http) group: Option<String>,
    /// The SHA-256 of its text.
    pub(in crate::http) sha256: String,
    /// The length of its text.
    pub(in crate::http) bytes: u32,
}

/// What runs where: the gateways that have connected, have keys of devices, or shall be like
/// something.
#[utoipa::path(
    get,
    path = "/api/v1/gateways",
    tag = "gateways",
    params(Which), responses((status = 200, body = Page<ShownGateway>))
)]
pub(in crate::http) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Json<Page<ShownGateway>>, Problem> {
    let limit = input::list_limit(which.limit)?;
    let group = which.group.as_deref().map(named).transpose()?;
    let gateways = &state.store.gateways;
    let page = gateways.gateways(
        &caller.tenant,
        group.as_ref(),
        which.after.as_deref(),
        limit,
    );
    Ok(Json(page.await?.map(|it| shown(&state, &caller, it))))
}

/// One gateway.
#[utoipa::path(
    get,
    path = "/api/v1/gateways/{gateway}",
    tag = "gateways",
    responses((status = 200, body = ShownGateway))
)]
pub(in crate::http) async fn one(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(gateway): Path<String>,
) -> Result<Json<ShownGateway>, Problem> {
    let gateway = named(&gateway)?;
    known(&state, &caller, &gateway).await.map(Json)
}

/// A gateway's certificates, the newest first: which of them let it in, and which did.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct Certificates {
    /// At most 64; what is over is forgotten first.
    pub(in crate::http) items: Vec<GatewayCertificate>,
}

/// Which certificates a gateway has and had.
///
/// A gateway renews its certificate by itself. It is let in with the `current` one and with those
/// that are `issued` and not used yet; the first use of one ends those before it.
#[utoipa::path(
    get,
    path = "/api/v1/gateways/{gateway}/certificates",
    tag = "gateways",
    responses((status = 200, body = Certificates))
)]
pub(in crate::http) async fn certificates(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(gateway): Path<String>,
) -> Result<Json<Certificates>, Problem> {
    let gateway = named(&gateway)?;
    known(&state, &caller, &gateway).await?;
    let certificates = &state.store.certificates;
    let items = certificates.certificates(&caller.tenant, &gateway).await?;
    Ok(Json(Certificates { items }))
}

/// Revokes a gateway, such as one that was stolen.
///
/// When this answers, none of its certificates lets anybody in or can be renewed, its connection has
/// ended, and no keys are sealed to it any more. What it has brought stays, and so do its devices'
/// registrations: whoever has it has the keys of those that it let in, and they have to be given new
/// ones (`rotate` after they were moved to another gateway, else `replace`) or be revoked. A gateway of
/// the same name is let in again once it was made anew with `stencil hub add-gateway`; the revoked
/// certificates stay out.
#[utoipa::path(
    post,
    path = "/api/v1/gateways/{gateway}/revoke",
    operation_id = "revoke",
    tag = "gateways",
    responses((status = 200, body = ShownGateway))
)]
pub(in crate::http) async fn revoke(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(gateway): Path<String>,
) -> Result<Json<ShownGateway>, Problem> {
    let gateway = named(&gateway)?;
    let tenant = &caller.tenant;
    if state.control.revoke_gateway(tenant, &gateway).await? {
        tracing::info!(%tenant, %gateway, by = caller.who, "a gateway was revoked");
    }
    known(&state, &caller, &gateway).await.map(Json)
}

/// Removes a gateway that is no more: from the lists, with what it was to be like and what it said of
/// itself. What its devices measured stays.
///
/// None of its certificates lets anybody in from then on, as with `revoke`; made anew with `stencil hub
/// add-gateway` it is a new one of the same name. One that is connected has to be stopped or revoked first,
/// and devices that are let in by it have to be moved or revoked.
#[utoipa::path(
    delete,
    path = "/api/v1/gateways/{gateway}",
    operation_id = "remove",
    tag = "gateways",
    responses(
        (status = 204, description = "It is gone"),
        (status = 409, description = "It is connected, or lets devices in"),
    )
)]
pub(in crate::http) async fn remove(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(gateway): Path<String>,
) -> Result<StatusCode, Problem> {
    let gateway = named(&gateway)?;
    let tenant = &caller.tenant;
    let there = known(&state, &caller, &gateway).await?;
    if there.connected && there.gateway.revoked_us.is_none() {
        return Err(Problem::new(
            Kind::Conflict,
            format!(
                "gateway {gateway} is connected: stop it first, or revoke it, if it is not yours any \
                 more"
            ),
        ));
    }
    if there.gateway.devices > 0 {
        return Err(Problem::new(
            Kind::Conflict,
            format!(
                "{} devices are let in by gateway {gateway}: move them to another one (`stencil device \
                 move`) or revoke them first",
                there.gateway.devices
            ),
        ));
    }
    match state.control.revoke_gateway(tenant, &gateway).await {
        // It was only ever named.
        Ok(_) | Err(crate::Error::Store(stencil_store::Error::NotFound { .. })) => {}
        Err(error) => return Err(error.into()),
    }
    let gateways = &state.store.gateways;
    if !gateways.remove_gateway(tenant, &gateway).await? {
        return Err(no_such(&state, &caller, &gateway).await);
    }
    state.control.groups_changed(tenant);
    tracing::info!(%tenant, %gateway, by = caller.who, "a gateway was removed");
    Ok(StatusCode::NO_CONTENT)
}

/// What was asked for of a gateway, what follows for it with its groups, and what became of that.
///
/// For editors: a mapping may hold passwords.
#[utoipa::path(
    get,
    path = "/api/v1/gateways/{gateway}/desired-state",
    tag = "gateways",
    responses((status = 200, body = ShownDesired))
)]
pub(in crate::http) async fn desired(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(gateway): Path<String>,
) -> Result<Json<ShownDesired>, Problem> {
    let gateway = named(&gateway)?;
    known(&state, &caller, &gateway).await?;
    of_gateway(&state, &caller, &gateway).await.map(Json)
}

/// Asks for another state of a gateway.
///
/// All of it is checked here as far as it can be known, and by the gateway, which tries it: where
/// that keeps it from the hub, it goes back to the one before. What became of it is in `effective`.
/// The same again is a new revision: what was rolled back is tried again. A gateway that was added
/// (`stencil hub add-gateway`) may be set before it first connects.
#[utoipa::path(
    put,
    path = "/api/v1/gateways/{gateway}/desired-state",
    tag = "gateways",
    request_body = NewDesired,
    responses(
        (status = 200, description = "It is on its way", body = ShownDesired),
        (status = 404, description = "There is no such gateway"),
        (status = 409, description = "It replaces another version than it says"),
        (status = 422, description = "A section has errors; `errors` has where"),
    )
)]
pub(in crate::http) async fn set_desired(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(gateway): Path<String>,
    request: Request,
) -> Result<Json<ShownDesired>, Problem> {
    let gateway = named(&gateway)?;
    known(&state, &caller, &gateway).await?;
    let of = DesiredOf::Gateway(gateway.clone());
    set(&state, &caller, &of, request).await?;
    of_gateway(&state, &caller, &gateway).await.map(Json)
}

/// Puts a gateway into these groups and no others. A section that it does not set itself comes from
/// the first of them that does.
#[utoipa::path(
    put,
    path = "/api/v1/gateways/{gateway}/groups",
    tag = "gateways",
    request_body = Groups,
    responses(
        (status = 200, body = ShownGateway),
        (status = 404, description = "There is no such gateway"),
        (status = 409, description = "A group has as many gateways as it may"),
    )
)]
pub(in crate::http) async fn set_groups(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(gateway): Path<String>,
    input::Json(new): input::Json<Groups>,
) -> Result<Json<ShownGateway>, Problem> {
    let gateway = named(&gateway)?;
    known(&state, &caller, &gateway).await?;
    let gateways = &state.store.gateways;
    let now_us = state.clock.now_us();
    gateways
        .set_groups(&caller.tenant, &gateway, &new.groups, now_us)
        .await?;
    state.control.groups_changed(&caller.tenant);
    known(&state, &caller, &gateway).await.map(Json)
}

/// The groups that have gateways, or a desired state, by name.
#[utoipa::path(
    get,
    path = "/api/v1/gateway-groups",
    tag = "gateways",
    params(Paging), responses((status = 200, body = Page<ShownGroup>))
)]
pub(in crate::http) async fn groups(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<ShownGroup>>, Problem> {
    let (limit, after) = (paging.limit()?, paging.after.as_deref());
    let page = state
        .store
        .gateways
        .gateway_groups(&caller.tenant, after, limit);
    let shown = |(group, gateways)| ShownGroup { group, gateways };
    Ok(Json(page.await?.map(shown)))
}

/// What was asked for of all gateways of a group. For editors.
#[utoipa::path(
    get,
    path = "/api/v1/gateway-groups/{group}/desired-state",
    tag = "gateways",
    responses((status = 200, body = ShownDesired))
)]
pub(in crate::http) async fn desired_of_group(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(group): Path<String>,
) -> Result<Json<ShownDesired>, Problem> {
    let group = named(&group)?;
    of_group(&state, &caller, &group).await.map(Json)
}

/// Asks for another state of all gateways of a group, as for one gateway.
#[utoipa::path(
    put,
    path = "/api/v1/gateway-groups/{group}/desired-state",
    tag = "gateways",
    request_body = NewDesired,
    responses(
        (status = 200, description = "It is on its way", body = ShownDesired),
        (status = 409, description = "It replaces another version than it says, or there are too \
            many groups"),
        (status = 422, description = "A section has errors; `errors` has where"),
    )
)]
pub(in crate::http) async fn set_desired_of_group(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(group): Path<String>,
    request: Request,
) -> Result<Json<ShownDesired>, Problem> {
    let group = named(&group)?;
    set(&state, &caller, &DesiredOf::Group(group.clone()), request).await?;
    of_group(&state, &caller, &group).await.map(Json)
}

async fn set(
    state: &State,
    caller: &Caller,
    of: &DesiredOf,
    request: Request,
) -> Result<(), Problem> {
    let new: NewDesired = input::long_json(request, MAX_DESIRED_BYTES).await?;
    let given = [
        (Section::Settings, new.settings),
        (Section::Mapping, new.mapping),
    ];
    let sections: BTreeMap<Section, String> = given
        .into_iter()
        .filter_map(|(section, text)| Some((section, text?)))
        .collect();
    checked(&sections)?;
    let gateways = &state.store.gateways;
    let now_us = state.clock.now_us();
    gateways
        .set_desired(
            &caller.tenant,
            of,
            &sections,
            new.replaces,
            &caller.who,
            now_us,
        )
        .await?;
    state.control.desired_changed();
    Ok(())
}

/// What can be known here to be wrong.
fn checked(sections: &BTreeMap<Section, String>) -> Result<(), Problem> {
    let flaws = sections
        .iter()
        .flat_map(|(section, text)| stencil_desired::check(*section, text));
    let flaws: Vec<Flaw> = flaws.take(MAX_FLAWS).collect();
    let Some(first) = flaws.first() else {
        return Ok(());
    };
    let detail = match flaws.len() {
        1 => first.to_string(),
        more => format!("{first}; and {} more", more - 1),
    };
    let errors = flaws.into_iter().map(GatewayFlaw::from);
    let errors = errors.map(|flaw| serde_json::json!(flaw)).collect();
    Err(Problem::new(Kind::InvalidDesired, detail).with_errors(errors))
}

/// A gateway's or group's name out of a path.
pub(in crate::http) fn named(text: &str) -> Result<GatewayId, Problem> {
    GatewayId::parse(text)
        .map_err(|error| Problem::invalid(format!("the gateway or group: {error}")))
}

fn shown(state: &State, caller: &Caller, gateway: Gateway) -> ShownGateway {
    ShownGateway {
        connected: state.control.is_connected(&caller.tenant, &gateway.gateway),
        gateway,
    }
}

/// A gateway that something is known of.
pub(in crate::http) async fn known(
    state: &State,
    caller: &Caller,
    gateway: &GatewayId,
) -> Result<ShownGateway, Problem> {
    let found = state
        .store
        .gateways
        .gateway(&caller.tenant, gateway)
        .await?;
    match found {
        Some(found) => Ok(shown(state, caller, found)),
        None => Err(no_such(state, caller, gateway).await),
    }
}

/// That there is no such gateway, and which one may be meant.
async fn no_such(state: &State, caller: &Caller, gateway: &GatewayId) -> Problem {
    let problem = Problem::not_found("gateway", gateway);
    let gateways = &state.store.gateways;
    let page = gateways.gateways(&caller.tenant, None, None, stencil_store::MAX_PAGE);
    // The answer is right without it.
    let known = page.await.map(|page| page.items).unwrap_or_default();
    let names: Vec<&str> = known.iter().map(|it| it.gateway.as_str()).collect();
    match stencil_yaml::nearest(gateway.as_str(), &names) {
        Some(near) => problem.also(&format!("did you mean `{near}`?")),
        None => problem.also("`stencil hub add-gateway`, on the hub's machine, makes one"),
    }
}

async fn of_group(
    state: &State,
    caller: &Caller,
    group: &GatewayId,
) -> Result<ShownDesired, Problem> {
    let of = DesiredOf::Group(group.clone());
    let asked = state.store.gateways.desired(&caller.tenant, &of).await?;
    if asked.version == 0 {
        let members = state
            .store
            .gateways
            .gateways(&caller.tenant, Some(group), None, 1);
        if members.await?.items.is_empty() {
            return Err(Problem::not_found("group of gateways", group));
        }
    }
    Ok(shown_desired(asked, None))
}

/// What was asked for of a gateway, and what follows.
pub(in crate::http) async fn of_gateway(
    state: &State,
    caller: &Caller,
    gateway: &GatewayId,
) -> Result<ShownDesired, Problem> {
    let (gateways, tenant) = (&state.store.gateways, &caller.tenant);
    let own = gateways
        .desired(tenant, &DesiredOf::Gateway(gateway.clone()))
        .await?;
    let Some(effective) = gateways.effective(tenant, gateway).await? else {
        return Ok(shown_desired(own, None));
    };
    let known = known(state, caller, gateway).await?.gateway;
    let mut of_groups = Vec::new();
    for group in &known.groups {
        let of = DesiredOf::Group(group.clone());
        let asked = gateways.desired(tenant, &of).await?;
        of_groups.push((group, asked.sections));
    }
    let sections = effective.sections.into_iter().map(|it| {
        let of_group = || {
            let mut groups = of_groups.iter();
            groups.find(|(_, sections)| sections.contains_key(&it.section))
        };
        let group = match own.sections.contains_key(&it.section) {
            true => None,
            false => of_group().map(|(group, _)| group.to_string()),
        };
        ShownSection {
            section: it.section.name().to_owned(),
            group,
            sha256: hex::encode(it.digest),
            bytes: it.length,
        }
    });
    let effective = ShownEffective {
        revision: effective.revision.number,
        since_us: effective.since_us,
        sections: sections.collect(),
        applied_revision: known.applied_revision,
        last: known.last,
    };
    Ok(shown_desired(own, Some(effective)))
}

fn shown_desired(mut asked: DesiredState, effective: Option<ShownEffective>) -> ShownDesired {
    ShownDesired {
        version: asked.version,
        changed_us: asked.changed_us,
        changed_by: asked.changed_by,
        settings: asked.sections.remove(&Section::Settings),
        mapping: asked.sections.remove(&Section::Mapping),
        effective,
    }
}
