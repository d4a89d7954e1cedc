//! What the pages that sell and buy tell their scripts of chains.

use serde_json::{Value, json};
use stencil_payments::port::Chain;

use crate::chains::checkout::add_chain;
use crate::chains::ownership::market::{COIN_DECIMALS, coin};
use crate::http::State;

/// Each chain that the hub follows, by its EIP-155 id: what it is called, what a wallet that does not know it is
/// told, and what can be paid with there, the coin first.
pub(super) fn chains(state: &State) -> String {
    let chains = state.control.cashier().chains();
    let chains = chains.iter().map(|chain| of(chain.as_ref()));
    Value::from_iter(chains).to_string()
}

fn of(chain: &dyn Chain) -> Value {
    let coin = json!({ "contract": null, "symbol": coin(chain), "decimals": COIN_DECIMALS });
    let tokens = chain.tokens().iter().filter_map(|known| {
        let contract = known.token.asset().contract?.to_checksum(None);
        let (symbol, decimals) = (known.token.symbol(), known.token.decimals());
        Some(json!({ "contract": contract, "symbol": symbol, "decimals": decimals }))
    });
    json!({
        "id": chain.id(),
        "name": chain.name(),
        "add_chain": add_chain(chain),
        "tokens": std::iter::once(coin).chain(tokens).collect::<Vec<_>>(),
    })
}
