//! Whether settings make sense.

use std::collections::BTreeSet;

use stencil_payments::abi::calls;
use stencil_payments::invoice::Way;
use stencil_payments::port::{Called, Unknown};

use super::{MAX_WAYS, MAX_WINDOW_S, PaymentSettings, Resolved, Wrong, check_expires};
use crate::chains::Chains;
use crate::chains::known_contract::{by_code, why_no_payee};

impl PaymentSettings {
    /// Whether all of it makes sense, as far as that is known without asking a chain; `secrets` are the
    /// names of those that the tenant has.
    pub(crate) fn check(&self, chains: &Chains, secrets: &[&str]) -> Result<(), Wrong> {
        if self.methods.len() > MAX_WAYS {
            let why = format!("{} are too many: at most {MAX_WAYS}", self.methods.len());
            return Err(Wrong::at("/methods", why));
        }
        let mut names = BTreeSet::new();
        for (at, method) in self.methods.iter().enumerate() {
            if let Some(Err(why)) = chains.by_name(&method.chain).map(|chain| chain.ready()) {
                return Err(Wrong::unknown(format!("/methods/{at}/chain"), why));
            }
            let resolved = method
                .resolve(chains)
                .map_err(|(field, why)| Wrong::at(format!("/methods/{at}/{field}"), why))?;
            let payee = (resolved.token.asset().chain, resolved.payee);
            if let Some(why) = why_no_payee(chains, self, payee) {
                return Err(Wrong::at(format!("/methods/{at}/payee"), why));
            }
            if !names.insert(resolved.name.clone()) {
                let why = format!("`{}` is there already", resolved.name);
                return Err(Wrong::at(format!("/methods/{at}"), why));
            }
        }
        check_expires(self.expires_s).map_err(|why| Wrong::at("/expires_s", why))?;
        let policy = &self.policy;
        for (field, value, most) in [
            ("tolerance_bps", u32::from(policy.tolerance_bps), 9_999),
            (
                "overpaid_least_bps",
                u32::from(policy.overpaid_least_bps),
                10_000,
            ),
            ("late_within_s", policy.late_within_s, MAX_WINDOW_S),
            ("grace_s", policy.grace_s, MAX_WINDOW_S),
        ] {
            if value > most {
                let why = format!("{value} is too much: 0 to {most} is right");
                return Err(Wrong::at(format!("/policy/{field}"), why));
            }
        }
        if let Some(webhook) = &self.webhook {
            let url = webhook.url.parse::<http::Uri>().ok();
            let good = url.is_some_and(|url| {
                matches!(url.scheme_str(), Some("https" | "http")) && url.host().is_some()
            });
            if !good || webhook.url.len() > 2_048 {
                let why = "it has to begin with https:// (or http://), at most 2048 bytes";
                return Err(Wrong::at("/webhook/url", why));
            }
            if webhook.secret.is_empty() || webhook.secret.len() > 64 {
                return Err(Wrong::at("/webhook/secret", "1 to 64 bytes are right"));
            }
            if !secrets.contains(&webhook.secret.as_str()) {
                let known: Vec<_> = secrets.iter().map(|name| format!("`{name}`")).collect();
                let known = match known.is_empty() {
                    true => "there is none".to_owned(),
                    false => format!("there is {}", known.join(", ")),
                };
                let why = format!(
                    "the hub's settings have no such secret of the tenant's: {known}; who runs the \
                     hub adds one (`[[connect.secrets]]`)"
                );
                return Err(Wrong::at("/webhook/secret", why));
            }
        }
        Ok(())
    }

    /// Whether the chains say so, too: a payee is none of our contracts, and a payment contract pays who is to be paid.
    ///
    /// What was set before is not asked again, since it stays as it is: a chain that does not answer keeps nobody from
    /// changing what is of another one.
    pub(crate) async fn check_on_chain(&self, chains: &Chains, before: &Self) -> Result<(), Wrong> {
        let before = before.ways(chains);
        let place_of = |way: &Resolved| (way.token.asset().chain, way.payee);
        let mut asked: BTreeSet<_> = before.iter().map(place_of).collect();
        for (at, way) in self.ways(chains).into_iter().enumerate() {
            let place = place_of(&way);
            if asked.insert(place) {
                let pointer = format!("/methods/{at}/payee");
                match by_code(chains, place).await {
                    Ok(None) => {}
                    Ok(Some(why)) => return Err(Wrong::at(pointer, why)),
                    Err(unknown) => return Err(Wrong::unknown(pointer, not_answered(&unknown))),
                }
            }
            let Way::Contract(contract) = way.way else {
                continue;
            };
            let mut same = before.iter().filter(|was| place_of(was) == place);
            if same.any(|was| was.way == way.way) {
                continue;
            }
            let pointer = format!("/methods/{at}/contract");
            let chain = chains.by_id(way.token.asset().chain);
            let Some(chain) = chain else { continue };
            match chain.call(contract, calls::payee()).await {
                Ok(Called::Returned(bytes)) => match calls::returned_address(&bytes) {
                    Some(payee) if payee == way.payee => {}
                    Some(payee) => {
                        let why = format!(
                            "{contract:#x} pays {payee:#x}: make that the payee, or deploy another \
                             contract with `stencil chain deploy`"
                        );
                        return Err(Wrong::at(pointer, why));
                    }
                    None => {
                        let why = format!("{contract:#x} is no payment contract of the hub");
                        return Err(Wrong::at(pointer, why));
                    }
                },
                Ok(Called::Reverted(_)) => {
                    let why = format!("{contract:#x} is no payment contract of the hub");
                    return Err(Wrong::at(pointer, why));
                }
                Err(unknown) => return Err(Wrong::unknown(pointer, not_answered(&unknown))),
            }
        }
        Ok(())
    }
}

fn not_answered(unknown: &Unknown) -> String {
    format!("the chain does not answer: {unknown}")
}
