//! What a workflow runs because of: `on`, and for telemetry `when`.

use std::fmt;

use stencil_payments::port::Address;
use stencil_rules::{Pattern, Rule};
use stencil_yaml::{Error, Fields, Node, Place, shown, text};

use super::rule;
use crate::event;

/// The longest signature of an event or a function, in bytes.
pub const MAX_SIGNATURE: usize = 512;

const KINDS: &[&str] = &["telemetry", "payment", "chain", "access", "seal"];

/// What a workflow runs because of.
#[derive(Debug, PartialEq)]
pub enum Source {
    /// A rule on what devices measure.
    Telemetry(Rule),
    /// An invoice is paid.
    Payment(Payment),
    /// A contract has emitted an event.
    Chain(ChainEvent),
    /// A gateway has admitted somebody whose right had been taken away, or has begun another chain of
    /// receipts.
    Access(AccessCause),
    /// A gateway's seal is not what the hub has.
    Seal(SealMismatch),
}

/// `on: { seal: { mismatch: "gw-*" } }`
#[derive(Debug, PartialEq, Eq)]
pub struct SealMismatch {
    /// The gateways: an id, or a pattern over ids.
    pub gateways: Pattern,
}

/// What of admissions at gateways.
#[derive(Debug, PartialEq, Eq)]
pub enum AccessCause {
    /// `on: { access: { conflict: "locker-*" } }`: of the devices with this id, or of this pattern over ids.
    Conflict(Pattern),
    /// `on: { access: { new_chain: "gw-*" } }`: of the gateways with this id, or of this pattern over ids.
    NewChain(Pattern),
}

/// `on: { payment: { reference: "locker-*" } }`
#[derive(Debug, PartialEq, Eq)]
pub struct Payment {
    /// The invoices: a reference, or a pattern over references.
    pub reference: Pattern,
}

/// `on: { chain: { name: …, address: …, event: … } }`
#[derive(Debug, PartialEq, Eq)]
pub struct ChainEvent {
    /// The chain's name in the hub's settings.
    pub name: String,
    /// The contract.
    pub address: Address,
    /// The event's signature, which the chain reads.
    pub event: String,
    /// Where the name stands, for who knows the chains.
    pub name_at: Place,
    /// Where the signature stands, for who can read it.
    pub event_at: Place,
}

impl Source {
    /// The rule on what devices measure.
    #[must_use]
    pub fn rule(&self) -> Option<&Rule> {
        match self {
            Self::Telemetry(rule) => Some(rule),
            Self::Payment(_) | Self::Chain(_) | Self::Access(_) | Self::Seal(_) => None,
        }
    }

    /// Whether it is something on a chain, which can be taken back.
    #[must_use]
    pub fn is_on_chain(&self) -> bool {
        matches!(self, Self::Payment(_) | Self::Chain(_))
    }

    /// The fields of `event` in templates.
    pub(super) fn fields(&self) -> &'static [&'static str] {
        match self {
            Self::Telemetry(_) => event::FIELDS,
            Self::Payment(_) => event::PAYMENT_FIELDS,
            Self::Chain(_) => event::CHAIN_FIELDS,
            Self::Access(AccessCause::Conflict(_)) => event::ACCESS_FIELDS,
            Self::Access(AccessCause::NewChain(_)) => event::NEW_CHAIN_FIELDS,
            Self::Seal(_) => event::SEAL_FIELDS,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Telemetry(rule) => rule.fmt(f),
            Self::Payment(payment) => {
                write!(f, "an invoice of {} is paid", payment.reference)
            }
            Self::Access(AccessCause::Conflict(devices)) => {
                write!(f, "an admission at {devices} that conflicts")
            }
            Self::Access(AccessCause::NewChain(gateways)) => {
                write!(f, "a new chain of receipts of {gateways}")
            }
            Self::Seal(of) => {
                write!(f, "a seal of {} that is not what the hub has", of.gateways)
            }
            Self::Chain(of) => {
                write!(f, "{} of {} on {}", of.event, of.address, of.name)
            }
        }
    }
}

/// Reads `on`, and what belongs to it.
pub(super) fn read(fields: &Fields<'_>) -> Result<Source, Error> {
    let example = "{ telemetry: { devices: \"freezer-*\", name: temperature } }";
    let on = fields.need("on", example)?;
    let kinds = Fields::of(on, "`on`", KINDS)?;
    let mut found = KINDS
        .iter()
        .filter_map(|kind| kinds.get(kind).map(|node| (*kind, node)));
    let Some((kind, node)) = found.next() else {
        return Err(Error::new(
            on.at,
            "`on` has no `telemetry`, `payment`, `chain`, `access` or `seal`",
            format!("add one, for example `on: {example}`"),
        ));
    };
    if let Some((other, second)) = found.next() {
        return Err(Error::new(
            second.at,
            format!("`on` has both `{kind}` and `{other}`"),
            "write one of them; two causes are two workflows",
        ));
    }
    if kind == "telemetry" {
        let when = fields.need("when", "{ above: -12.0, for: 3s }")?;
        return rule::read(node, when).map(Source::Telemetry);
    }
    for (key, why) in [
        ("when", "it is a cause by itself"),
        ("place", "gateways do not see it"),
        (
            "alarm",
            "an alarm is of a device whose condition holds; tell people by a step",
        ),
    ] {
        if let Some(node) = fields.get(key) {
            return Err(Error::new(
                node.at,
                format!("`{key}` does not go with `on: {{ {kind}: … }}`"),
                format!("leave it out: {why}"),
            ));
        }
    }
    match kind {
        "payment" => payment(node).map(Source::Payment),
        "access" => access(node).map(Source::Access),
        "seal" => seal(node).map(Source::Seal),
        _ => chain(node).map(Source::Chain),
    }
}

fn payment(node: &Node) -> Result<Payment, Error> {
    let fields = Fields::of(node, "`payment`", &["reference"])?;
    let reference = fields.need("reference", "\"locker-*\"")?;
    let pattern = Pattern::parse(text(reference, "reference")?).map_err(|error| {
        Error::new(
            reference.at,
            error.to_string().replacen("device pattern", "pattern", 1),
            "write an invoice's reference, or a pattern such as \"locker-*\"",
        )
    })?;
    Ok(Payment { reference: pattern })
}

fn access(node: &Node) -> Result<AccessCause, Error> {
    let fields = Fields::of(node, "`access`", &["conflict", "new_chain"])?;
    let pattern = |node: &Node, name: &str, what: &str, example: &str| {
        Pattern::parse(text(node, name)?).map_err(|error| {
            Error::new(
                node.at,
                error.to_string().replacen("device pattern", "pattern", 1),
                format!("write {what}, or a pattern such as {example}"),
            )
        })
    };
    match (fields.get("conflict"), fields.get("new_chain")) {
        (Some(_), Some(second)) => Err(Error::new(
            second.at,
            "`access` has both `conflict` and `new_chain`",
            "write one of them; two causes are two workflows",
        )),
        (None, Some(gateways)) => {
            pattern(gateways, "new_chain", "a gateway's id", "\"gw-*\"").map(AccessCause::NewChain)
        }
        _ => {
            let devices = fields.need("conflict", "\"locker-*\"")?;
            pattern(devices, "conflict", "a device's id", "\"locker-*\"").map(AccessCause::Conflict)
        }
    }
}

fn seal(node: &Node) -> Result<SealMismatch, Error> {
    let fields = Fields::of(node, "`seal`", &["mismatch"])?;
    let gateways = fields.need("mismatch", "\"gw-*\"")?;
    let pattern = Pattern::parse(text(gateways, "mismatch")?).map_err(|error| {
        Error::new(
            gateways.at,
            error.to_string().replacen("device pattern", "pattern", 1),
            "write a gateway's id, or a pattern such as \"gw-*\"",
        )
    })?;
    Ok(SealMismatch { gateways: pattern })
}

fn chain(node: &Node) -> Result<ChainEvent, Error> {
    let fields = Fields::of(node, "`chain`", &["name", "address", "event"])?;
    let name = fields.need("name", "local")?;
    let address = fields.need("address", "\"0x5FbDB2315678afecb367f032d93F642f64180aa3\"")?;
    let event = fields.need("event", "\"Opened(address indexed who, uint256 locker)\"")?;
    Ok(ChainEvent {
        name: chain_name(name)?,
        address: read_address(text(address, "address")?)
            .map_err(|(what, right)| Error::new(address.at, what, right))?,
        event: signature(event, "event")?,
        name_at: name.at,
        event_at: event.at,
    })
}

/// A chain's name.
pub(super) fn chain_name(node: &Node) -> Result<String, Error> {
    let name = text(node, "name")?;
    let good = (1..=stencil_store::MAX_CHAIN_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic());
    if good {
        return Ok(name.to_owned());
    }
    Err(Error::new(
        node.at,
        format!("the chain's `name` is {}", shown(name)),
        "write the name that the chain has in the hub's settings",
    ))
}

/// A signature, which is read by the chain: here only what no chain takes is refused.
pub(super) fn signature(node: &Node, name: &str) -> Result<String, Error> {
    let signature = text(node, name)?.trim();
    if signature.is_empty()
        || signature.len() > MAX_SIGNATURE
        || signature.chars().any(char::is_control)
    {
        return Err(Error::new(
            node.at,
            format!("`{name}` is {}", shown(signature)),
            format!("write a signature of at most {MAX_SIGNATURE} bytes on one line"),
        ));
    }
    Ok(signature.to_owned())
}

/// An address: `0x` and 40 hexadecimal digits; in mixed case they have to be the address's own
/// checksum (EIP-55). Else what is wrong, and what would be right.
pub(crate) fn read_address(text: &str) -> Result<Address, (String, String)> {
    let wrong = |right: &str| {
        let shown: String = text.chars().take(60).collect();
        (format!("the address is {shown:?}"), right.to_owned())
    };
    let digits = text
        .strip_prefix("0x")
        .ok_or_else(|| wrong("write 0x and 40 hexadecimal digits"))?;
    let mut bytes = [0; 20];
    hex::decode_to_slice(digits, &mut bytes)
        .map_err(|_| wrong("write 0x and 40 hexadecimal digits"))?;
    let address = Address::from(bytes);
    let upper = digits.bytes().any(|byte| byte.is_ascii_uppercase());
    let lower = digits.bytes().any(|byte| byte.is_ascii_lowercase());
    if upper && lower && address.to_checksum(None) != text {
        return Err(wrong(&format!(
            "its checksum (EIP-55) is wrong, so a digit may be; if none is, write {}",
            address.to_checksum(None)
        )));
    }
    Ok(address)
}
