//! What a tenant sells, and for how much.

use serde::{Deserialize, Serialize};
use stencil_payments::Address;
use stencil_payments::observation::Needs;
use stencil_payments::x402::{MAX_ACCEPTS, Timing};
use stencil_protocol::command::Command;
use stencil_protocol::id::{CommandId, DeviceId};
use stencil_protocol::sample::OwnedValue;

use super::price::{Price, Priced};
use crate::chains::Chains;
use crate::chains::settings::Wrong;

/// The longest span of a series that is sold at once: 10 years.
const MAX_SPAN_S: u64 = 10 * 366 * 86_400;
/// For how long a command may be valid: longer ones hold a payer's money for nothing.
const MAX_COMMAND_S: u64 = 3_600;
/// How long a request waits for its settlement at most: less than a connection may be silent for.
pub(crate) const MAX_SETTLE_S: u64 = 45;
/// For how long the same payment may be answered again.
const MAX_REPEAT_S: u64 = 86_400;
/// How much clocks may differ, and a request may take.
const SLACK_S: u64 = 15;
/// The longest description, in bytes.
const MAX_DESCRIPTION: usize = 256;
/// The deepest that anything has to be in a chain.
const MAX_CONFIRMATIONS: u32 = 1_000;

/// An offer, as a tenant sets it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Offer {
    /// What is sold.
    pub(crate) sells: Sells,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub(crate) description: Option<String>,
    /// What it costs: any one of these.
    #[schema(min_items = 1, max_items = 16)]
    pub(crate) prices: Vec<Price>,
    /// How deep a payment has to be in its chain before data goes out, or before a command is counted
    /// as paid: `{"confirmations": 1}` (it is in a block, the default), `"safe"` or `"finalized"`.
    #[serde(default = "included")]
    #[schema(value_type = stencil_store::schema::Json)]
    pub(crate) needs: Needs,
    /// For how long a request waits until a payment is settled, seconds. What is not by then is asked
    /// for again with the same payment.
    #[serde(default = "settle_s")]
    #[schema(minimum = 1, maximum = 45)]
    pub(crate) settle_s: u64,
    /// For how long the same payment gives the same answer again, seconds from the first one. Whoever
    /// reads the chain can repeat a payment that was settled, too.
    #[serde(default = "repeat_s")]
    #[schema(minimum = 0, maximum = 86_400)]
    pub(crate) repeat_s: u64,
}

/// What is sold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Sells {
    /// A span of a time series.
    Series(Series),
    /// What an endpoint of the data API answers.
    Endpoint(Endpoint),
    /// That a device does something.
    Command(Does),
}

/// A span of a time series: each purchase names its own, `from_us` and `to_us`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Series {
    /// Whose.
    #[schema(value_type = String)]
    pub(crate) device: DeviceId,
    /// Which series.
    pub(crate) name: String,
    /// The longest span that one payment buys, seconds.
    #[schema(minimum = 1)]
    pub(crate) longest_span_s: u64,
}

/// An endpoint of the data API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Endpoint {
    /// `/api/v1/devices/{device}`, `/api/v1/devices/{device}/latest`,
    /// `/api/v1/devices/{device}/series` or `/api/v1/content/{collection}/{key}`, with names in place
    /// of the brackets.
    pub(crate) path: String,
}

/// An endpoint by its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Served {
    /// A device.
    Device(DeviceId),
    /// Its newest values.
    Latest(DeviceId),
    /// The names of its series.
    Names(DeviceId),
    /// An entry of a collection.
    Entry(String, String),
}

/// A command to a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Does {
    /// Which device.
    #[schema(value_type = String)]
    pub(crate) device: DeviceId,
    /// What it does.
    #[schema(min_length = 1, max_length = 32)]
    pub(crate) name: String,
    /// With what.
    #[serde(default)]
    pub(crate) argument: Argument,
    /// For how long the device may begin it, seconds.
    #[serde(default = "expires_in_s")]
    #[schema(minimum = 1, maximum = 3_600)]
    pub(crate) expires_in_s: u64,
    /// What undoes it. Without it, it can't be undone: then it has to be paid by money that the escrow
    /// contract holds, since an authorisation is a promise that its payer can break.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) undo: Option<Undo>,
}

/// With what a command is given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Argument {
    /// With nothing.
    #[default]
    None,
    /// With what whoever pays names: a boolean, a number or a text.
    Given,
    /// With this.
    #[schema(value_type = stencil_store::schema::Scalar)]
    Fixed(OwnedValue),
}

/// What undoes a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Undo {
    /// The command.
    #[schema(min_length = 1, max_length = 32)]
    pub(crate) name: String,
    /// With what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<stencil_store::schema::Scalar>)]
    pub(crate) argument: Option<OwnedValue>,
}

fn included() -> Needs {
    Needs::Confirmations(1)
}

fn settle_s() -> u64 {
    30
}

fn repeat_s() -> u64 {
    600
}

fn expires_in_s() -> u64 {
    30
}

impl Offer {
    /// Checks it against the chains that there are.
    ///
    /// # Errors
    /// Which field is wrong, and what would be right.
    pub(crate) fn check(&self, chains: &Chains) -> Result<(), Wrong> {
        self.sells.check()?;
        within("settle_s", self.settle_s, 1, MAX_SETTLE_S)?;
        within("repeat_s", self.repeat_s, 0, MAX_REPEAT_S)?;
        if let Needs::Confirmations(deep) = self.needs {
            let (deep, most) = (u64::from(deep), u64::from(MAX_CONFIRMATIONS));
            within("needs.confirmations", deep, 1, most)?;
        }
        let description = self.description.as_deref().unwrap_or("-");
        if description.is_empty()
            || description.len() > MAX_DESCRIPTION
            || description.chars().any(char::is_control)
        {
            let why = format!("`description` is a line of 1 to {MAX_DESCRIPTION} bytes");
            return Err(Wrong::at("/description", why));
        }
        if self.prices.is_empty() || self.prices.len() > MAX_ACCEPTS {
            let why = format!(
                "`prices` are {}, they have to be 1 to {MAX_ACCEPTS}",
                self.prices.len()
            );
            return Err(Wrong::at("/prices", why));
        }
        let mut seen = Vec::with_capacity(self.prices.len());
        for (at, price) in self.prices.iter().enumerate() {
            let wrong = |(field, why): (&str, String)| {
                Wrong::at(
                    format!("/prices/{at}/{field}"),
                    format!("`prices[{at}]`: {why}"),
                )
            };
            let priced = price.resolve(chains, self.timing()).map_err(wrong)?;
            let key = (priced.way.domain.chain, priced.way.domain.token);
            if seen.contains(&key) {
                return Err(wrong(("token", "this token is there already".to_owned())));
            }
            seen.push(key);
            self.sells.takes(&priced).map_err(wrong)?;
        }
        Ok(())
    }

    /// Why a chain of its prices can't be paid on yet, or now.
    pub(crate) fn not_ready(&self, chains: &Chains) -> Option<String> {
        let mut chains = self
            .prices
            .iter()
            .filter_map(|price| chains.by_name(&price.chain));
        chains.find_map(|chain| chain.usable().err())
    }

    /// The prices of which the hub has the chain, in their order.
    pub(crate) fn priced(&self, chains: &Chains) -> Vec<Priced> {
        let all = self.prices.iter();
        all.filter_map(|price| price.resolve(chains, self.timing()).ok())
            .collect()
    }

    /// Where each of its prices is paid: chain id and address, by its place among them.
    pub(crate) fn paid_at(&self, chains: &Chains) -> Vec<(usize, (u64, Address))> {
        let all = self.prices.iter().enumerate();
        let places = all.filter_map(|(at, price)| {
            let priced = price.resolve(chains, self.timing()).ok()?;
            Some((at, (priced.way.domain.chain, priced.way.pay_to)))
        });
        places.collect()
    }

    /// Where it is paid, by EIP-155 chain id: no other tenant can be paid there.
    pub(crate) fn payees(&self, chains: &Chains) -> Vec<(u64, [u8; 20])> {
        let all = self.priced(chains).into_iter();
        all.map(|priced| (priced.way.domain.chain, priced.way.pay_to.0.0))
            .collect()
    }

    fn timing(&self) -> Timing {
        Timing {
            act_s: match &self.sells {
                Sells::Command(does) => does.expires_in_s,
                Sells::Series(_) | Sells::Endpoint(_) => 0,
            },
            settle_s: self.settle_s,
            slack_s: SLACK_S,
        }
    }
}

impl Sells {
    fn check(&self) -> Result<(), Wrong> {
        match self {
            Self::Series(series) => {
                if series.name.is_empty() || series.name.len() > 128 {
                    let why = "`sells.series.name` has 1 to 128 bytes";
                    return Err(Wrong::at("/sells/series/name", why));
                }
                let span = series.longest_span_s;
                within("sells.series.longest_span_s", span, 1, MAX_SPAN_S)
            }
            Self::Endpoint(endpoint) => {
                let served = endpoint.served().map(drop);
                served.map_err(|why| Wrong::at("/sells/endpoint/path", why))
            }
            Self::Command(does) => {
                let argument = match &does.argument {
                    Argument::Fixed(value) => Some(value),
                    Argument::None | Argument::Given => None,
                };
                command(&does.device, &does.name, argument).map_err(|why| {
                    Wrong::at("/sells/command", format!("`sells.command`: {why}"))
                })?;
                if let Some(undo) = &does.undo {
                    command(&does.device, &undo.name, undo.argument.as_ref()).map_err(|why| {
                        Wrong::at(
                            "/sells/command/undo",
                            format!("`sells.command.undo`: {why}"),
                        )
                    })?;
                }
                let expiry = does.expires_in_s;
                within("sells.command.expires_in_s", expiry, 1, MAX_COMMAND_S)
            }
        }
    }

    /// Which device it is of, if it is of one.
    pub(crate) fn device(&self) -> Option<DeviceId> {
        match self {
            Self::Series(series) => Some(series.device.clone()),
            Self::Command(does) => Some(does.device.clone()),
            Self::Endpoint(endpoint) => match endpoint.served().ok()? {
                Served::Device(id) | Served::Latest(id) | Served::Names(id) => Some(id),
                Served::Entry(..) => None,
            },
        }
    }

    /// Whether a price is one for this.
    fn takes(&self, priced: &Priced) -> Result<(), (&'static str, String)> {
        let undoable = match self {
            Self::Command(does) => does.undo.is_some(),
            Self::Series(_) | Self::Endpoint(_) => false,
        };
        let limit = |why: &str| Err(("loss_limit", why.to_owned()));
        match priced.loss_limit {
            Some(_) if !undoable => limit("`loss_limit` is for commands that can be undone"),
            None if undoable => {
                limit("`loss_limit` is missing: how much may one payer have under way and unpaid?")
            }
            Some(most) if most < priced.way.amount => {
                limit("`loss_limit` is less than the price: nobody could pay")
            }
            None if matches!(self, Self::Command(_)) && priced.chain.escrow().is_none() => {
                let why = format!(
                    "what can't be undone is paid into the escrow contract, and chain `{}` has none \
                     in the hub's settings; give `undo`, or have the operator set `escrow`",
                    priced.chain.name()
                );
                Err(("chain", why))
            }
            _ => Ok(()),
        }
    }
}

impl Endpoint {
    /// Its parts.
    ///
    /// # Errors
    /// What it would have to be.
    pub(crate) fn served(&self) -> Result<Served, String> {
        let wrong = || {
            format!(
                "`sells.endpoint.path` is `{}`, it has to be /api/v1/devices/{{device}}, \
                 /api/v1/devices/{{device}}/latest, /api/v1/devices/{{device}}/series or \
                 /api/v1/content/{{collection}}/{{key}}",
                self.path.chars().take(160).collect::<String>()
            )
        };
        let rest = self.path.strip_prefix("/api/v1/").ok_or_else(wrong)?;
        let parts: Vec<_> = rest.split('/').collect();
        let device = |id: &str| DeviceId::parse(id).map_err(|_| wrong());
        match parts[..] {
            ["devices", id] => Ok(Served::Device(device(id)?)),
            ["devices", id, "latest"] => Ok(Served::Latest(device(id)?)),
            ["devices", id, "series"] => Ok(Served::Names(device(id)?)),
            ["content", collection, key] if !collection.is_empty() && !key.is_empty() => {
                Ok(Served::Entry(collection.to_owned(), key.to_owned()))
            }
            _ => Err(wrong()),
        }
    }
}

fn within(name: &str, value: u64, least: u64, most: u64) -> Result<(), Wrong> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let why = format!("`{name}` is {value}, it has to be {least} to {most}");
    Err(Wrong::at(format!("/{}", name.replace('.', "/")), why))
}

/// Whether a device can be given a command.
pub(crate) fn command(
    device: &DeviceId,
    name: &str,
    argument: Option<&OwnedValue>,
) -> Result<(), String> {
    let draft = Command {
        id: CommandId([0; 16]),
        device: device.clone(),
        name,
        argument: argument.map(OwnedValue::as_ref),
        expires_us: 0,
    };
    draft.check().map_err(|error| error.to_string())
}
