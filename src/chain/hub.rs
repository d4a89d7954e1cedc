//! The chains of a hub's settings: `[chains.NAME]`.

use std::sync::Arc;

use anyhow::Context as _;
use stencil_chain::config::Preset;
use stencil_chain::connection::{Connection, Options};
use stencil_payments::port::Chain;
use stencil_server::Error;
use stencil_store::Store;

use crate::when;

/// The settings as they may be shown: of endpoints the host only, as the rest of an address may be a key.
pub(crate) fn shown(hub: &stencil_server::Options) -> stencil_server::Options {
    let mut shown = hub.clone();
    for chain in shown.chains.values_mut() {
        if let Some(remote) = chain.pointer_mut("/account/remote") {
            show(remote);
        }
        let Some(follow) = chain.get_mut("follow") else {
            continue;
        };
        for key in ["endpoints", "wake"] {
            match follow.get_mut(key) {
                Some(serde_json::Value::Array(all)) => all.iter_mut().for_each(show),
                Some(one) => show(one),
                None => {}
            }
        }
    }
    shown
}

fn show(endpoint: &mut serde_json::Value) {
    if let Some(address) = endpoint.as_str() {
        *endpoint = stencil_chain::config::shown(address).into();
    }
}

/// Reads the settings, unlocks what signs, and gives what makes the chains once the store is open.
pub(crate) async fn of(
    hub: &stencil_server::Options,
) -> anyhow::Result<impl FnOnce(&Store) -> Result<Vec<Arc<dyn Chain>>, Error> + use<>> {
    let mut chains = Vec::new();
    for (name, value) in &hub.chains {
        let options: Options = serde_path_to_error::deserialize(value).map_err(|error| {
            let path = error.path().to_string();
            anyhow::anyhow!("chains.{name}.{path}: {}", error.inner())
        })?;
        let signer = match options.account.clone() {
            None => None,
            Some(account) => {
                // A keystore takes a second and 256 MiB.
                let unlocked = tokio::task::spawn_blocking(move || account.unlock()).await?;
                Some(unlocked.with_context(|| format!("chains.{name}"))?)
            }
        };
        chains.push((name.clone(), options, signer));
    }
    for rate in &hub.rates {
        let mut all = chains.iter().map(|(_, options, _)| options);
        if !all.any(|options| has(options, &rate.token)) {
            let (token, currency) = (&rate.token, &rate.currency);
            tracing::warn!(
                token,
                currency,
                "a rate is for a token that no chain of the settings has: nothing is priced by it, but a coin that a \
                 tenant's way to pay calls so"
            );
        }
    }
    Ok(move |store: &Store| {
        let made = chains.into_iter().map(|(name, options, signer)| {
            let chain = Connection::new(&name, &options, signer, store, when::now_us);
            let chain = chain.map_err(|error| Error::Option {
                key: format!("chains.{name}"),
                why: error.to_string(),
            })?;
            Ok(Arc::new(chain) as Arc<dyn Chain>)
        });
        made.collect()
    })
}

/// Whether a chain has a token that a rate names, by its symbol or as `eip155:CHAIN/…`.
fn has(chain: &Options, named: &str) -> bool {
    let id = chain.follow.chain_id.or(match chain.follow.preset {
        Some(Preset::Ethereum) => Some(1),
        Some(Preset::Polygon) => Some(137),
        _ => None,
    });
    let of_chain = |what: &str| id.map(|id| format!("eip155:{id}/{what}"));
    let is = |name: Option<String>| name.is_some_and(|name| name.eq_ignore_ascii_case(named));
    is(of_chain("native"))
        || chain.tokens.iter().any(|token| {
            let contract = token.address.as_ref();
            token.symbol.eq_ignore_ascii_case(named)
                || is(contract.and_then(|contract| of_chain(&format!("erc20:{contract}"))))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_for_a_token_that_is_not_there_is_found_out() {
        let chain: Options = serde_json::from_value(serde_json::json!({
            "follow": { "preset": "polygon" },
            "tokens": [{
                "symbol": "USDC", "decimals": 6,
                "address": "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359",
            }],
        }))
        .unwrap();
        for (named, is_there) in [
            ("usdc", true),
            ("eip155:137/native", true),
            (
                "eip155:137/erc20:0x3c499c542cef5e3811e1192ce70d8cc03d5c3359",
                true,
            ),
            ("USCD", false),
            ("eip155:1/native", false),
        ] {
            assert_eq!(has(&chain, named), is_there, "{named}");
        }
    }

    #[test]
    fn no_key_of_an_endpoint_is_shown() {
        let follow = serde_json::json!({
            "chain_id": 1,
            "endpoints": ["https://user:hunter2@a.example/hunter2", "https://b.example/v2?key=hunter2"],
            "wake": "wss://c.example/hunter2",
        });
        let mut hub = stencil_server::Options::default();
        let chain = serde_json::json!({ "follow": follow, "payments": "0x01",
            "account": { "remote": "https://d.example/hunter2" } });
        hub.chains.insert("main".to_owned(), chain);
        let shown = serde_json::to_string(&shown(&hub)).unwrap();
        assert!(!shown.contains("hunter2"), "{shown}");
        for kept in ["a.example", "b.example", "c.example", "d.example", "0x01"] {
            assert!(shown.contains(kept), "{shown}");
        }
    }
}
