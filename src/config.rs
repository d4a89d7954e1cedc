//! Layered settings: defaults, then a TOML file, then the environment, then flags.

use std::path::Path;

use anyhow::Context as _;
use figment::providers::{Env, Format as _, Serialized, Toml};
use figment::value::{Dict, Map};
use figment::{Figment, Metadata, Profile, Provider};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads a component's options.
///
/// `environment` is the prefix of its variables, e.g. `STENCIL_HUB_`: two underscores go one
/// level down, so `STENCIL_HUB_HTTP__LISTEN` is `http.listen`. Unknown keys are refused, with
/// the place they stand in.
pub(crate) fn load<T>(
    environment: &'static str,
    file: Option<&Path>,
    flags: &impl Serialize,
) -> anyhow::Result<T>
where
    T: Default + Serialize + DeserializeOwned,
{
    let mut figment = Figment::from(Serialized::defaults(T::default()));
    if let Some(file) = file {
        anyhow::ensure!(
            file.is_file(),
            "there is no configuration file {}",
            file.display()
        );
        figment = figment.merge(Toml::file_exact(file));
    }
    figment
        .merge(Variables(environment))
        .merge(Serialized::defaults(flags))
        .extract()
        .context("the configuration can't be used; --dump-config shows every key")
}

/// The whole configuration as TOML, in the form that `--config` reads.
pub(crate) fn dump(options: &impl Serialize) -> anyhow::Result<String> {
    toml::to_string_pretty(options).context("the configuration can't be written as TOML")
}

/// The environment variables with a prefix; a mistake is told by the variable's own name.
struct Variables(&'static str);

impl Provider for Variables {
    fn metadata(&self) -> Metadata {
        let prefix = self.0;
        Metadata::named("the environment").interpolater(move |_, keys| {
            format!("{prefix}{}", keys.join("__").to_ascii_uppercase())
        })
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        // `STENCIL_HUB_URL` tells the tools where a hub is; it is no setting of the hub.
        Env::prefixed(self.0).ignore(&["url"]).split("__").data()
    }
}
