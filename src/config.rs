//! Layered settings: defaults, then a TOML file, then the environment, then flags.

use std::path::Path;

use anyhow::Context as _;
use figment::providers::{Env, Format as _, Serialized, Toml};
use figment::value::{Dict, Map, Value};
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
    load_beside(environment, file, flags, &[])
}

/// As [`load`]; `paths` names the keys whose relative paths start in the file's folder, when
/// there is a file. What the environment and flags say starts where the command is run.
pub(crate) fn load_beside<T>(
    environment: &'static str,
    file: Option<&Path>,
    flags: &impl Serialize,
    paths: &[&str],
) -> anyhow::Result<T>
where
    T: Default + Serialize + DeserializeOwned,
{
    let mut figment = Figment::from(Serialized::defaults(T::default()));
    if let Some(file) = file {
        anyhow::ensure!(
            !file.is_dir(),
            "{} is a folder: --config wants a TOML file",
            file.display()
        );
        anyhow::ensure!(
            file.is_file(),
            "there is no configuration file {}",
            file.display()
        );
        figment = figment.merge(Toml::file_exact(file));
        let file = std::path::absolute(file)?;
        let folder = file.parent().unwrap_or(&file);
        for key in paths {
            // A file that can't be read is told of below, with the place.
            if let Ok(Value::String(_, path)) = figment.find_value(key) {
                figment = figment.merge(Serialized::default(key, folder.join(path)));
            }
        }
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde::Deserialize;

    use super::*;

    #[derive(Default, Serialize, Deserialize)]
    struct Settings {
        near: PathBuf,
        inner: Inner,
    }

    #[derive(Default, Serialize, Deserialize)]
    struct Inner {
        far: PathBuf,
        other: String,
    }

    #[derive(Serialize)]
    struct Flags {
        #[serde(skip_serializing_if = "Option::is_none")]
        near: Option<PathBuf>,
    }

    #[test]
    fn paths_start_in_the_files_folder_and_those_of_flags_where_the_command_is_run() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("settings.toml");
        std::fs::write(
            &file,
            "near = 'data'\n[inner]\nfar = '/etc/far'\nother = 'data'\n",
        )
        .unwrap();
        let load = |flag: Option<&str>| -> Settings {
            let near = flag.map(PathBuf::from);
            let keys = ["near", "inner.far"];
            load_beside("STENCIL_NOBODY_SETS_", Some(&file), &Flags { near }, &keys).unwrap()
        };
        let settings = load(None);
        assert_eq!(settings.near, dir.path().join("data"));
        assert_eq!(settings.inner.far, Path::new("/etc/far"));
        assert_eq!(settings.inner.other, "data");
        assert_eq!(load(Some("here")).near, Path::new("here"));
    }

    #[test]
    fn a_folder_is_called_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let none = Flags { near: None };
        let error = load::<Settings>("STENCIL_NOBODY_SETS_", Some(dir.path()), &none);
        assert!(error.is_err_and(|error| error.to_string().contains("is a folder")));
    }
}
