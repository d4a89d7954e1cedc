//! From a desired state's texts to what the gateway runs with, or what is wrong with them.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use serde_json::{Value as Json, json};
use stencil_desired::{Flaw, MAX_FLAWS, Section, Settings, Value};
use stencil_field::mapping::Errors;

use crate::Options;

/// The group of settings that is not one of [`Options`].
const LEVEL: &str = "log.level";

/// What the gateway runs with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Effective {
    /// Its own settings, with those of the hub in their place.
    pub(crate) options: Options,
    /// How much is logged; `None`: as it was started.
    pub(crate) level: Option<String>,
    /// What it reads over field protocols, where the hub says so.
    pub(crate) mapping: Option<Arc<str>>,
}

impl Effective {
    /// What the gateway's own files say.
    pub(crate) fn own(options: Options) -> Self {
        Self {
            options,
            level: None,
            mapping: None,
        }
    }

    /// What follows from these texts, over the gateway's own settings. Blocks.
    pub(crate) fn of(own: &Options, texts: &BTreeMap<Section, String>) -> Result<Self, Vec<Flaw>> {
        let mut flaws: Vec<Flaw> = texts
            .iter()
            .flat_map(|(section, text)| check(*section, text, &own.field.files))
            .collect();
        if !flaws.is_empty() {
            flaws.truncate(MAX_FLAWS);
            return Err(flaws);
        }
        let text = |section| texts.get(&section).map(|text| Arc::from(text.as_str()));
        let settings = match texts.get(&Section::Settings) {
            Some(text) => Settings::parse(text)?,
            None => Settings::default(),
        };
        let options = over(own, &settings).map_err(|what| {
            // Each by itself is within its bounds: together they make no sense.
            vec![Flaw::new(Some(Section::Settings), 1, 1, what)]
        })?;
        let level = match settings.get(LEVEL) {
            Some(Value::Text(level)) => Some(level.clone()),
            _ => None,
        };
        Ok(Self {
            options,
            level,
            mapping: text(Section::Mapping),
        })
    }
}

/// What is wrong with a section, as far as it can be known without trying it. Who reads a section
/// adds here what it finds. A mapping names files in this folder only. Blocks.
fn check(section: Section, text: &str, files: &Path) -> Vec<Flaw> {
    let flaws = stencil_desired::check(section, text);
    match section {
        Section::Mapping if flaws.is_empty() => {
            match stencil_field::mapping::parse_from_afar(text, files) {
                Ok(_) => Vec::new(),
                Err(errors) => self::flaws(errors),
            }
        }
        Section::Settings | Section::Mapping => flaws,
    }
}

/// What is wrong with a mapping, as the hub is told.
pub(super) fn flaws(errors: Errors) -> Vec<Flaw> {
    let errors = errors.0.into_iter().take(MAX_FLAWS);
    errors
        .map(|error| {
            let what = format!("{}; {}", error.what, error.right);
            let section = Some(Section::Mapping);
            Flaw::new(section, error.at.line, error.at.column, what)
        })
        .collect()
}

/// The gateway's own settings with others in their place.
fn over(own: &Options, settings: &Settings) -> Result<Options, String> {
    let mut all = serde_json::to_value(own).map_err(|error| error.to_string())?;
    for (key, value) in settings.iter().filter(|(key, _)| *key != LEVEL) {
        let (group, name) = key.split_once('.').unwrap_or((key, ""));
        let value = match value {
            Value::Number(number) => json!(number),
            Value::Text(text) => json!(text),
        };
        let group = all.get_mut(group).and_then(Json::as_object_mut);
        let group = group.ok_or_else(|| format!("this version has no setting `{key}`"))?;
        group.insert(name.to_owned(), value);
    }
    // A setting that this version does not know is told of by its name.
    let options: Options = serde_json::from_value(all).map_err(|error| error.to_string())?;
    options.check()?;
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> BTreeMap<Section, String> {
        BTreeMap::from([(Section::Settings, text.to_owned())])
    }

    #[test]
    fn every_setting_of_the_table_is_one_of_this_version() {
        for setting in stencil_desired::SETTINGS {
            let (group, name) = setting.key.split_once('.').unwrap();
            let value = match setting.kind {
                stencil_desired::Kind::Number(_, max) => max.to_string(),
                stencil_desired::Kind::Address => "hub.example:1".to_owned(),
                stencil_desired::Kind::Name => "hub.example".to_owned(),
                stencil_desired::Kind::Level => "debug".to_owned(),
            };
            let text = format!("{group}: {{ {name}: '{value}' }}").replace(
                '\'',
                match setting.kind {
                    stencil_desired::Kind::Number(..) => "",
                    _ => "'",
                },
            );
            let own = Options::default();
            let effective = Effective::of(&own, &settings(&text)).unwrap();
            let is_level = setting.key == LEVEL;
            assert_eq!(effective.options == own, is_level, "{}", setting.key);
            assert_eq!(effective.level.is_some(), is_level);
        }
    }

    #[test]
    fn what_is_not_set_is_as_the_own_files_say() {
        let mut own = Options::default();
        own.spool.max_age_s = 77;
        own.link.idle_timeout_ms = 7_777;
        let effective = Effective::of(&own, &settings("spool: { max_age_s: 90 }")).unwrap();
        assert_eq!(effective.options.spool.max_age_s, 90);
        assert_eq!(effective.options.link.idle_timeout_ms, 7_777);
        assert_eq!(
            Effective::of(&own, &BTreeMap::new()).unwrap(),
            Effective::own(own)
        );
    }

    #[test]
    fn a_mapping_is_judged_by_who_reads_it() {
        let own = Options::default();
        let texts = |text: &str| BTreeMap::from([(Section::Mapping, text.to_owned())]);
        let good = "version: 1\nconnections: { hall: { modbus-tcp: '192.0.2.10:502' } }\n\
                    devices:\n  press-1:\n    connection: hall\n    unit: 1\n    points:\n      \
                    temperature: { holding: 0, type: i16, every: 1s }\n";
        if let Err(flaws) = Effective::of(&own, &texts(good)) {
            panic!("{flaws:?}");
        }
        let flaws = Effective::of(&own, &texts("version: 1\nnonsense: 2\n")).unwrap_err();
        let found = flaws.iter().any(|flaw| flaw.line == 2);
        assert!(found, "{flaws:?}");
        assert!(
            flaws
                .iter()
                .all(|flaw| flaw.section == Some(Section::Mapping))
        );
    }

    #[test]
    fn a_mapping_of_the_hubs_sends_no_file_of_the_gateway_as_a_password() {
        let folder = tempfile::tempdir().unwrap();
        let own = Options::in_folder(folder.path());
        let of = |password: &str| {
            let text = format!(
                "version: 1\nconnections:\n  s:\n    opcua: {{ url: \"opc.tcp://192.0.2.1\", \
                 server-certificate: s.pem, certificate: c.pem, key: c.key, user: ann, \
                 password-file: {password} }}\ndevices:\n  press-1:\n    connection: s\n    \
                 points:\n      t: {{ node: \"ns=2;s=T\" }}\n"
            );
            Effective::of(&own, &BTreeMap::from([(Section::Mapping, text)]))
        };
        if let Err(flaws) = of("ann.password") {
            panic!("{flaws:?}");
        }
        let (psk, keys) = (own.psk_dir.join("a.psk"), own.data_dir.join("keys.key"));
        for password in [psk, keys, "../data/keys.key".into()] {
            let flaws = of(&password.display().to_string()).unwrap_err();
            assert_eq!((flaws.len(), flaws[0].line), (1, 4), "{flaws:?}");
            assert!(flaws[0].what.contains("`password-file` is"), "{flaws:?}");
            assert!(flaws[0].what.contains("field.files"), "{flaws:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_and_nothing_is_taken() {
        let own = Options::default();
        let mut texts = settings("spool:\n  max_age_s: 1\n");
        texts.insert(Section::Mapping, "a: [".to_owned());
        let flaws = Effective::of(&own, &texts).unwrap_err();
        let sections: Vec<_> = flaws.iter().map(|flaw| flaw.section).collect();
        assert_eq!(sections, [Some(Section::Settings), Some(Section::Mapping)]);
        assert_eq!(flaws[0].line, 2);
    }
}
