//! The chains of a hub's settings: `[chains.NAME]`.

use std::sync::Arc;

use anyhow::Context as _;
use stencil_chain::connection::{Connection, Options};
use stencil_payments::port::Chain;
use stencil_server::Error;
use stencil_store::Store;

use crate::when;

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
