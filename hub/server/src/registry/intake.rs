//! From what somebody sends to what is kept: births, claims, enrolments, new keys.

use stencil_crypto::Psk;
use stencil_crypto::claim::ClaimCode;
use stencil_crypto::seal::{Place, Purpose};
use stencil_protocol::id::{DeviceId, GatewayId, TenantId};
use stencil_store::{
    Born, ByCode, Enrolled, Enrolment, Error, NewBirth, NewKey, Registry, Renewal, Renewed,
};

use super::MAX_GATEWAY_DEVICES;
use super::hub_key::{self, Keys};

/// How a device's key comes.
#[derive(Clone)]
pub(crate) enum Given {
    /// As it is.
    Open(Psk),
    /// Sealed to the hub, for this tenant and device.
    Sealed(Vec<u8>),
    /// By the claim code of a device that was born.
    Code(ClaimCode),
}

/// A device that a tenant wants to take in.
pub(crate) struct Wanted {
    pub(crate) device: DeviceId,
    pub(crate) gateway: GatewayId,
    pub(crate) key: Given,
}

/// What is wrong with a row that could be read: in which field, what, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowProblem {
    pub(crate) field: &'static str,
    pub(crate) what: String,
}

impl RowProblem {
    pub(crate) fn new(field: &'static str, what: impl Into<String>) -> Self {
        Self {
            field,
            what: what.into(),
        }
    }
}

/// A device that was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claimed {
    pub(crate) device: DeviceId,
    pub(crate) identity: DeviceId,
}

/// Why a claim came to nothing.
#[derive(Debug)]
pub(crate) enum ClaimRefused {
    /// The code opens nothing: it is unknown, or was used. Nobody is told which.
    NoSuchCode,
    /// The device cannot be taken in so.
    Conflict(String),
    Store(Error),
}

impl From<Error> for ClaimRefused {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

/// Keeps births whose keys were sealed to the hub: identity, digest of the claim code, sealed key.
/// An answer each, in order.
pub(crate) async fn born(
    registry: &dyn Registry,
    keys: &Keys<'_>,
    rows: &[(DeviceId, [u8; 32], Vec<u8>)],
    now_us: i64,
) -> Result<Vec<Result<Born, RowProblem>>, Error> {
    let mut births = Vec::with_capacity(rows.len());
    let mut answers = Vec::with_capacity(rows.len());
    for (identity, digest, sealed) in rows {
        let opened = keys
            .secret
            .open_one(Purpose::Birth, hub_key::born(identity), sealed);
        let locked = opened.and_then(|psk| keys.lock_born(identity, &psk));
        match locked {
            Ok(psk) => {
                births.push(NewBirth {
                    identity: identity.clone(),
                    code_tag: keys.code_tag(digest),
                    psk,
                });
                answers.push(None);
            }
            Err(_) => answers.push(Some(RowProblem::new("sealed_psk", NOT_SEALED_BIRTH))),
        }
    }
    let mut born = registry.bear(&births, now_us).await?.into_iter();
    Ok(answers
        .into_iter()
        .filter_map(|problem| match problem {
            Some(problem) => Some(Err(problem)),
            None => born.next().map(Ok),
        })
        .collect())
}

const NOT_SEALED_BIRTH: &str = "it was not sealed to this hub for this identity; make the birth with \
                                the hub's own public key (`keys/seal.pub` of its folder)";
const NOT_SEALED: &str = "it was not sealed to this hub for this tenant and device";

/// A device of a file, looked at.
pub(crate) enum Prepared {
    /// It is to be taken in.
    New(Enrolment),
    /// It was taken in before by this very code, and this is so.
    Known(Enrolled),
}

/// Looks at a device of a file: opens its key.
pub(crate) async fn prepare(
    registry: &dyn Registry,
    keys: &Keys<'_>,
    tenant: &TenantId,
    one: &Wanted,
) -> Result<Result<Prepared, RowProblem>, Error> {
    let opened = open(registry, keys, tenant, &one.device, &one.key).await?;
    let Opened {
        identity,
        psk,
        code_tag,
    } = match (opened, &one.key) {
        (Ok(opened), _) => opened,
        (Err(refused), Given::Code(code)) => {
            let tag = keys.code_tag(&code.digest());
            let used = registry.by_code(tenant, &tag).await?;
            return Ok(used.map_or(Err(refused), |used| again(one, used)));
        }
        (Err(problem), _) => return Ok(Err(problem)),
    };
    let Some(key) = new_key(keys, tenant, &one.device, 1, identity, &psk) else {
        return Ok(Err(RowProblem::new("psk", "it cannot be sealed")));
    };
    Ok(Ok(Prepared::New(Enrolment {
        device: one.device.clone(),
        gateway: one.gateway.clone(),
        key,
        code_tag,
    })))
}

/// A code that the tenant itself has used.
fn again(one: &Wanted, used: ByCode) -> Result<Prepared, RowProblem> {
    if used.device != one.device {
        return Err(code_used(&used.device));
    }
    Ok(Prepared::Known(if used.revoked {
        Enrolled::Revoked
    } else if used.replaced {
        Enrolled::OtherKey
    } else if used.gateway.as_ref() != Some(&one.gateway) {
        Enrolled::OtherGateway(used.gateway)
    } else {
        Enrolled::Unchanged
    }))
}

/// What is wrong with a code by which the tenant has taken in this device.
pub(crate) fn code_used(device: &DeviceId) -> RowProblem {
    RowProblem::new(
        "claim_code",
        format!("device {device} was taken in by this code; each takes in one device"),
    )
}

/// What is wrong with a gateway that the tenant does not have. Of those that it has, `known` are
/// the first.
pub(crate) fn no_such_gateway(gateway: &GatewayId, known: &[GatewayId]) -> String {
    let names: Vec<&str> = known.iter().map(GatewayId::as_str).collect();
    let listed = names.get(..10).unwrap_or(&names).join(", ");
    let more = match names.len().saturating_sub(10) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    match stencil_workflow::definition::nearest(gateway.as_str(), &names) {
        Some(near) => {
            format!("there is no gateway {gateway}; did you mean {near}? There are: {listed}{more}")
        }
        None if names.is_empty() => format!(
            "there is no gateway {gateway}, nor any other yet: add it first (`stencil hub \
             add-gateway`)"
        ),
        None => format!(
            "there is no gateway {gateway}. There are: {listed}{more}; a new one has to be added \
             first (`stencil hub add-gateway`)"
        ),
    }
}

/// Takes in the device that waits for this code, under the name that it is to have; its own where
/// none is given.
pub(crate) async fn claim(
    registry: &dyn Registry,
    keys: &Keys<'_>,
    tenant: &TenantId,
    code: &ClaimCode,
    name: Option<&DeviceId>,
    gateway: &GatewayId,
    now_us: i64,
) -> Result<Claimed, ClaimRefused> {
    let given = Given::Code(code.clone());
    let anyone = DeviceId::parse("any").map_err(|_| ClaimRefused::NoSuchCode)?;
    let opened = open(registry, keys, tenant, name.unwrap_or(&anyone), &given).await?;
    let Ok(Opened {
        identity,
        psk,
        code_tag,
    }) = opened
    else {
        return Err(ClaimRefused::NoSuchCode);
    };
    let device = name.unwrap_or(&identity).clone();
    let key = new_key(keys, tenant, &device, 1, identity.clone(), &psk);
    let key = key.ok_or(ClaimRefused::NoSuchCode)?;
    let enrolment = Enrolment {
        device: device.clone(),
        gateway: gateway.clone(),
        key,
        code_tag,
    };
    let answers = registry
        .enrol(tenant, &[enrolment], MAX_GATEWAY_DEVICES, now_us)
        .await?;
    match answers.into_iter().next() {
        Some(Enrolled::Made) => Ok(Claimed { device, identity }),
        Some(Enrolled::NoSuchCode) | None => Err(ClaimRefused::NoSuchCode),
        Some(other) => Err(ClaimRefused::Conflict(in_the_way(&device, &other).what)),
    }
}

/// Gives a device a new key: its own hardware under the identity that it has, or, by the claim code
/// of another one that was born, other hardware.
pub(crate) async fn renew(
    registry: &dyn Registry,
    keys: &Keys<'_>,
    tenant: &TenantId,
    device: &DeviceId,
    key: &Given,
    how: Renewal,
    now_us: i64,
) -> Result<Result<u64, RowProblem>, Error> {
    let known = registry.registration(tenant, device).await?;
    let known = known.ok_or_else(|| Error::NotFound {
        what: "registration of device",
        name: device.to_string(),
    })?;
    let opened = open(registry, keys, tenant, device, key).await?;
    let Opened {
        identity,
        psk,
        code_tag,
    } = match opened {
        Ok(opened) => opened,
        Err(problem) => return Ok(Err(problem)),
    };
    let identity = match key {
        Given::Code(_) => identity,
        // What was put into the hardware it keeps; other hardware that is made by hand is given the
        // device's name.
        Given::Open(_) | Given::Sealed(_) => match how {
            Renewal::Rotate => known.identity.unwrap_or(identity),
            Renewal::Replace => identity,
        },
    };
    let generation = known.generation + 1;
    let Some(key) = new_key(keys, tenant, device, generation, identity, &psk) else {
        return Ok(Err(RowProblem::new("psk", "it cannot be sealed")));
    };
    let renewed = Renewed {
        device: device.clone(),
        after: known.generation,
        key,
        how,
        code_tag,
    };
    match registry.renew(tenant, &renewed, now_us).await? {
        Enrolled::Made => Ok(Ok(generation)),
        other => Ok(Err(in_the_way(device, &other))),
    }
}

/// Why an enrolment was not made, and what would be right.
pub(crate) fn in_the_way(device: &DeviceId, why: &Enrolled) -> RowProblem {
    match why {
        Enrolled::Made | Enrolled::Unchanged => RowProblem::new("device", "nothing"),
        Enrolled::OtherKey => RowProblem::new(
            "psk",
            format!(
                "device {device} is enrolled with another key; to give it a new one, replace or \
                 rotate it (`stencil device replace {device}`)"
            ),
        ),
        Enrolled::OtherGateway(Some(gateway)) => RowProblem::new(
            "gateway",
            format!(
                "device {device} is enrolled at gateway {gateway}; to have it speak through another \
                 one, move it (`stencil device move {device} --gateway …`)"
            ),
        ),
        Enrolled::OtherGateway(None) => RowProblem::new(
            "gateway",
            format!(
                "device {device} is enrolled at no gateway; move it to one (`stencil device move \
                 {device} --gateway …`)"
            ),
        ),
        Enrolled::Revoked => RowProblem::new(
            "device",
            format!(
                "device {device} was revoked; to take it in again, replace it (`stencil device \
                 replace {device}`)"
            ),
        ),
        Enrolled::IdentityTaken(other) => RowProblem::new(
            "device",
            format!("device {other} speaks by this name already"),
        ),
        Enrolled::KeyTaken(other) => RowProblem::new(
            "psk",
            format!("it is a key of device {other}; no two may share one, and none comes back"),
        ),
        Enrolled::NoSuchCode => RowProblem::new("claim_code", NO_SUCH_CODE),
        Enrolled::NoSuchGateway => RowProblem::new("gateway", "there is no such gateway"),
        Enrolled::Full => RowProblem::new(
            "gateway",
            format!("the gateway has {MAX_GATEWAY_DEVICES} devices, which is the most"),
        ),
    }
}

/// Told of a code that opens nothing, whatever the reason.
pub(crate) const NO_SUCH_CODE: &str =
    "no device waits to be claimed with this code: look again, or it was claimed before";

struct Opened {
    identity: DeviceId,
    psk: Psk,
    code_tag: Option<[u8; 32]>,
}

async fn open(
    registry: &dyn Registry,
    keys: &Keys<'_>,
    tenant: &TenantId,
    device: &DeviceId,
    given: &Given,
) -> Result<Result<Opened, RowProblem>, Error> {
    let own = |psk| Opened {
        identity: device.clone(),
        psk,
        code_tag: None,
    };
    Ok(match given {
        Given::Open(psk) => Ok(own(psk.clone())),
        Given::Sealed(sealed) => {
            let place = Place {
                tenant: tenant.as_str(),
                device: device.as_str(),
                ..Place::default()
            };
            let opened = keys.secret.open_one(Purpose::Enrolment, place, sealed);
            opened
                .map(own)
                .map_err(|_| RowProblem::new("sealed_psk", NOT_SEALED))
        }
        Given::Code(code) => {
            let digest = code.digest();
            let tag = keys.code_tag(&digest);
            let refused = || RowProblem::new("claim_code", NO_SUCH_CODE);
            match registry.unclaimed(&tag).await? {
                Some(waits) => keys
                    .unlock_born(&waits.identity, &waits.psk)
                    .map(|psk| Opened {
                        identity: waits.identity,
                        psk,
                        code_tag: Some(tag),
                    })
                    .map_err(|_| refused()),
                None => Err(refused()),
            }
        }
    })
}

fn new_key(
    keys: &Keys<'_>,
    tenant: &TenantId,
    device: &DeviceId,
    generation: u64,
    identity: DeviceId,
    psk: &Psk,
) -> Option<NewKey> {
    Some(NewKey {
        identity,
        psk: keys.lock(tenant, device, generation, psk).ok()?,
        tag: keys.secret.psk_tag(psk),
    })
}
