//! What a way to pay comes out as over the hub's chains.

use stencil_payments::invoice::Way;
use stencil_payments::money::{Asset, Token};
use stencil_payments::observation::Needs;
use stencil_payments::port::Chain;

use super::{MAX_CONFIRMATIONS, Resolved, WayName, WayToPay, address, name, named_token};
use crate::chains::Chains;

impl WayToPay {
    pub(super) fn resolve(&self, chains: &Chains) -> Result<Resolved, (&'static str, String)> {
        let chain = chains.by_name(&self.chain).ok_or_else(|| {
            let names: Vec<_> = chains
                .iter()
                .map(|chain| format!("`{}`", chain.name()))
                .collect();
            let why = match names.is_empty() {
                true => {
                    "the hub follows no chain: set one in its settings (`[chains.NAME]`)".to_owned()
                }
                false => format!(
                    "the hub follows no such chain; it follows {}",
                    names.join(", ")
                ),
            };
            ("chain", why)
        })?;
        let payee = address(&self.payee).map_err(|why| ("payee", why))?;
        let token = self.token(chain.as_ref())?;
        let way = self.way(chain.as_ref(), &token)?;
        let needs = match self.confirmations {
            None => Needs::Finalized,
            Some(wanted) if (1..=MAX_CONFIRMATIONS).contains(&wanted) => {
                Needs::Confirmations(wanted)
            }
            Some(wanted) => {
                let why = format!("{wanted}: 1 to {MAX_CONFIRMATIONS} are right");
                return Err(("confirmations", why));
            }
        };
        Ok(Resolved {
            name: name(chain.name(), token.symbol(), self.way),
            token,
            payee,
            way,
            needs,
        })
    }

    fn token(&self, chain: &dyn Chain) -> Result<Token, (&'static str, String)> {
        let known = chain
            .tokens()
            .iter()
            .find(|it| it.token.asset().contract.is_none());
        // What the operator calls the chain's own coin goes for all.
        if let (true, Some(coin), None) = (self.token == "native", known, &self.symbol) {
            return Ok(coin.token.clone());
        }
        if self.token == "native" && known.is_none() {
            let symbol = self.symbol.as_deref().unwrap_or("ETH");
            let token = Token::new(Asset::native(chain.id()), 18, symbol);
            return token.map_err(|error| ("symbol", error.to_string()));
        }
        if self.symbol.is_some() {
            return Err((
                "symbol",
                "the hub's settings say what it is called".to_owned(),
            ));
        }
        named_token(chain, &self.token).map_err(|why| ("token", why))
    }

    fn way(&self, chain: &dyn Chain, token: &Token) -> Result<Way, (&'static str, String)> {
        if self.way != WayName::Contract && self.contract.is_some() {
            let why = "it is for the way `contract` only".to_owned();
            return Err(("contract", why));
        }
        match self.way {
            WayName::UniqueAmount => Ok(Way::UniqueAmount),
            WayName::Authorization => {
                let asset = token.asset();
                let known = chain
                    .tokens()
                    .iter()
                    .find(|known| known.token.asset() == asset);
                if known.is_some_and(|known| known.domain.is_some()) {
                    return Ok(Way::Authorization);
                }
                let why = format!(
                    "{} takes no authorisations (EIP-3009): take `contract` or `unique_amount`",
                    token.symbol()
                );
                Err(("way", why))
            }
            WayName::Contract => match (&self.contract, chain.payments()) {
                (Some(contract), _) => {
                    let contract = address(contract).map_err(|why| ("contract", why))?;
                    Ok(Way::Contract(contract))
                }
                (None, Some(contract)) => Ok(Way::Contract(contract)),
                (None, None) => {
                    let why = format!(
                        "the hub's settings of {} name no payment contract: say which, after \
                         `stencil chain deploy`",
                        chain.name()
                    );
                    Err(("contract", why))
                }
            },
        }
    }
}
