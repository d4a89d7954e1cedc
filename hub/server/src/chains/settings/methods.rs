//! The methods of new invoices.

use stencil_payments::invoice::{MAX_METHODS, Method, Price};

use super::{PaymentSettings, Resolved};
use crate::chains::Chains;
use crate::chains::rates::RateSource;

impl PaymentSettings {
    /// Whether the chains of a new invoice's ways to pay can be paid on by now: by one of them somebody can pay
    /// now. One whose chain was not reached yet, or is stopped, is waited for only where it is named: for how long,
    /// nobody knows, and meanwhile the others do.
    ///
    /// # Errors
    /// Which chain can't, and why.
    pub(crate) fn check_ready(
        &self,
        chains: &Chains,
        price: &Price,
        named: Option<&[String]>,
    ) -> Result<(), String> {
        let (mut can, mut why_not) = (false, None);
        for way in &self.methods {
            let of_chain = |name: &String| name.split('/').next() == Some(&way.chain);
            if named.is_some_and(|all| !all.iter().any(of_chain)) {
                continue;
            }
            let Some(chain) = chains.by_name(&way.chain) else {
                let why = format!(
                    "the hub does not follow the chain {} any more: `[chains.{}]` is missing in its settings",
                    way.chain, way.chain
                );
                why_not.get_or_insert(why);
                continue;
            };
            let is_priced = match price {
                Price::Token { asset, .. } => asset.chain == chain.id(),
                Price::Fiat(_) => true,
            };
            if !is_priced {
                continue;
            }
            if named.is_some() {
                chain.ready()?;
            }
            // One that is not ready can't be used either.
            match chain.usable() {
                Ok(()) => can = true,
                Err(why) => {
                    why_not.get_or_insert(why);
                }
            }
        }
        match why_not {
            Some(why) if !can => Err(why),
            _ => Ok(()),
        }
    }

    /// Why a chain is left out of new invoices that name no ways to pay: the first one's reason. What can't be paid
    /// without it may be payable by it.
    pub(crate) fn left_out(&self, chains: &Chains) -> Option<String> {
        let mut all = self.methods.iter();
        all.find_map(|way| chains.by_name(&way.chain)?.ready().err())
    }

    /// The methods of a new invoice: those that are named, or all that the price can be paid with on chains that
    /// are followed and were reached.
    pub(crate) async fn methods(
        &self,
        chains: &Chains,
        price: &Price,
        named: Option<&[String]>,
        rates: &dyn RateSource,
        now_us: i64,
    ) -> Result<Vec<Method>, (&'static str, String)> {
        let ways = self.ways(chains);
        let known = || {
            let names: Vec<_> = ways.iter().map(|way| format!("`{}`", way.name)).collect();
            match names.is_empty() {
                true => "the tenant has set none: see PUT /api/v1/payments/settings".to_owned(),
                false => format!("there are {}", names.join(", ")),
            }
        };
        if named.is_some_and(<[String]>::is_empty) {
            let why = format!("name at least one way to pay, or leave it out: {}", known());
            return Err(("methods", why));
        }
        if let Some(unknown) = named
            .into_iter()
            .flatten()
            .find(|name| !ways.iter().any(|way| way.name == **name))
        {
            let unknown: String = unknown.chars().take(128).collect();
            return Err((
                "methods",
                format!("there is no way to pay `{unknown}`: {}", known()),
            ));
        }
        let is_ready = |chain: u64| chains.by_id(chain).is_some_and(|it| it.ready().is_ok());
        let wanted = |way: &Resolved| match named {
            Some(all) => all.contains(&way.name),
            None => is_ready(way.token.asset().chain),
        };
        let mut methods = Vec::new();
        let mut without = Vec::new();
        for way in ways.iter().filter(|way| wanted(way)) {
            let rate = match price {
                Price::Token { asset, .. } if *asset != way.token.asset() => {
                    without.push(way.name.clone());
                    continue;
                }
                Price::Token { .. } => None,
                Price::Fiat(fiat) => {
                    let Some(rate) = rates.rate(&way.token, fiat.currency(), now_us).await else {
                        without.push(way.name.clone());
                        continue;
                    };
                    Some(rate)
                }
            };
            let token = way.token.clone();
            let method = Method::priced(price, token, rate, way.payee, way.way, way.needs)
                .map_err(|error| ("amount", error.to_string()))?;
            methods.push(method);
        }
        match (named, price) {
            (Some(_), Price::Fiat(fiat)) if !without.is_empty() => {
                let why = format!(
                    "the hub has no rate in {} for {}: add it to `[[rates]]` in the hub's settings",
                    fiat.currency(),
                    without.join(", ")
                );
                return Err(("methods", why));
            }
            (Some(_), Price::Token { .. }) if !without.is_empty() => {
                let why = format!(
                    "the price is in another token than that of {}: a price in a token is paid with it",
                    without.join(", ")
                );
                return Err(("methods", why));
            }
            _ if methods.is_empty() => {
                let why = match price {
                    _ if ways.is_empty() => format!("nothing can be paid: {}", known()),
                    Price::Fiat(fiat) => format!(
                        "the hub has no rate in {} for any way to pay of the tenant: add one to \
                         `[[rates]]` in the hub's settings",
                        fiat.currency()
                    ),
                    Price::Token { .. } => {
                        format!("no way to pay of the tenant takes this token: {}", known())
                    }
                };
                return Err(("methods", why));
            }
            _ => {}
        }
        if methods.len() > MAX_METHODS {
            let why = format!(
                "{} ways to pay are too many for one invoice: name at most {MAX_METHODS}",
                methods.len()
            );
            return Err(("methods", why));
        }
        Ok(methods)
    }
}
