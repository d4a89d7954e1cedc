//! What this gateway itself keeps secret, by its exact values: so that they are found wherever they
//! stand, and nothing has to be guessed.

use std::{
    borrow::Cow,
    collections::HashMap,
    fs,
    path::{Component, Path, PathBuf},
};

use stencil_crypto::keyfile;
use stencil_field::mapping;
use zeroize::Zeroizing;

use super::redact::HIDDEN;
use crate::{Options, identity, mqtt};

/// The most files that are looked into.
const MAX_FILES: usize = 20_000;
/// The longest of them.
const MAX_BYTES: u64 = 64 << 10;
/// The least of a password that is looked for: what is shorter stands in every other word.
const MIN_PASSWORD: usize = 4;
/// And of a line of a key or hash.
const MIN_LINE: usize = 12;
/// As much of a value is looked up first.
const HEAD: usize = MIN_PASSWORD;

/// Where they are.
#[derive(Clone, Debug)]
pub(crate) struct Keepers {
    folders: Vec<(PathBuf, &'static str)>,
    files: Vec<PathBuf>,
    mapping: Option<PathBuf>,
    /// Of mappings that the hub sent.
    desired: PathBuf,
    /// What those name is in here.
    named: PathBuf,
}

/// Values that are secret.
#[derive(Default)]
pub(crate) struct Secrets {
    /// By their first bytes, the longest first.
    values: HashMap<[u8; HEAD], Vec<Zeroizing<String>>>,
}

impl Keepers {
    /// Those of a gateway with these settings.
    pub(crate) fn of(options: &Options) -> Self {
        let data = &options.data_dir;
        let renewed = [identity::CURRENT, identity::NEXT];
        let mut files = vec![options.hub.key.clone()];
        files.extend(renewed.iter().map(|name| identity::path(data, name)));
        Self {
            folders: vec![
                (options.psk_dir.clone(), "psk"),
                (options.mqtt.clients.clone(), "mqtt"),
                (mqtt::authority(data), "key"),
            ],
            files,
            mapping: options.field.mapping.clone(),
            desired: data.join("desired"),
            named: options.field.files.clone(),
        }
    }

    /// Reads them. What cannot be read is not there. Blocks.
    pub(crate) fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::default();
        let mut keys = self.files.clone();
        for (folder, extension) in &self.folders {
            keys.extend(files(folder, extension));
        }
        let mut passwords = Vec::new();
        let mappings = self.mapping.iter().cloned();
        for path in mappings.chain(files(&self.desired, "yaml")) {
            let text = keyfile::open(&path).and_then(|file| {
                std::io::read_to_string(std::io::Read::take(file, mapping::MAX_BYTES as u64))
            });
            if let Ok(text) = text {
                // With it those that end so, such as `user-key`.
                keys.extend(named(&text, "key").map(|it| self.named.join(it)));
                passwords.extend(named(&text, "password-file").map(|it| self.named.join(it)));
            }
        }
        for path in keys.iter().take(MAX_FILES) {
            for line in text(path).lines().map(str::trim) {
                if !line.starts_with("-----") && line.len() >= MIN_LINE {
                    secrets.add(line);
                }
            }
        }
        for path in passwords.iter().take(MAX_FILES) {
            let text = text(path);
            let password = text.lines().next().unwrap_or_default();
            if password.len() >= MIN_PASSWORD {
                secrets.add(password);
            }
        }
        secrets.sort();
        secrets
    }
}

/// The files that a mapping names so, whether it can be used or not.
fn named<'a>(mapping: &'a str, name: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
    mapping.match_indices(name).filter_map(move |(at, _)| {
        let is_whole = !mapping[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
        let behind = mapping[at + name.len()..].trim_start_matches(['"', '\'', ' ']);
        let value = behind.strip_prefix(':').filter(|_| is_whole)?;
        let ends = |c: char| ",}\n\r".contains(c);
        let path = value.split(ends).next()?.trim().trim_matches(['"', '\'']);
        let climbs = Path::new(path)
            .components()
            .any(|part| part == Component::ParentDir);
        (!path.is_empty() && !climbs).then(|| PathBuf::from(path))
    })
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths
        .filter(|path| path.extension().is_some_and(|it| it == extension))
        .take(MAX_FILES)
        .collect()
}

/// A secret file's text, or nothing. Who else may read it does not matter here.
fn text(path: &Path) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::new());
    if let Ok(file) = keyfile::open(path) {
        // What is no text is not logged as such either.
        let _ = std::io::Read::read_to_string(&mut std::io::Read::take(file, MAX_BYTES), &mut text);
    }
    text
}

impl Secrets {
    /// Those of one file alone, for tests.
    #[cfg(test)]
    pub(crate) fn these(values: &[&str]) -> Self {
        let mut secrets = Self::default();
        values.iter().for_each(|value| secrets.add(value));
        secrets.sort();
        secrets
    }

    fn add(&mut self, value: &str) {
        let escaped: String = value.escape_debug().collect();
        let forms = [
            Zeroizing::new(value.to_owned()),
            // As it stands in quotes, and as digits may be written.
            Zeroizing::new(escaped),
            Zeroizing::new(value.to_ascii_uppercase()),
        ];
        for (n, form) in forms.into_iter().enumerate() {
            let is_hex = value.bytes().all(|byte| byte.is_ascii_hexdigit());
            if n == 2 && !is_hex {
                continue;
            }
            let head = form.as_bytes().first_chunk::<HEAD>().copied();
            let Some(head) = head else { continue };
            let of = self.values.entry(head).or_default();
            if !of.contains(&form) {
                of.push(form);
            }
        }
    }

    fn sort(&mut self) {
        for of in self.values.values_mut() {
            of.sort_by_key(|value| std::cmp::Reverse(value.len()));
        }
    }

    /// The text without them.
    pub(crate) fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut out = String::new();
        let (mut kept, mut at) = (0, 0);
        while let Some(rest) = text.get(at..).filter(|rest| rest.len() >= HEAD) {
            let head = rest.as_bytes().first_chunk::<HEAD>();
            let of = head.and_then(|head| self.values.get(head));
            let found = of
                .into_iter()
                .flatten()
                .find(|value| rest.starts_with(value.as_str()));
            match found {
                Some(value) => {
                    out.push_str(&text[kept..at]);
                    out.push_str(HIDDEN);
                    at += value.len();
                    kept = at;
                }
                None => at += rest.chars().next().map_or(1, char::len_utf8),
            }
        }
        if kept == 0 {
            return Cow::Borrowed(text);
        }
        out.push_str(&text[kept..]);
        Cow::Owned(out)
    }
}

#[cfg(test)]
mod tests {
    use stencil_crypto::{Psk, rng};
    use stencil_protocol::id::DeviceId;

    use super::*;

    #[test]
    fn exact_values_are_hidden_wherever_they_stand_and_nothing_else() {
        let secrets = Secrets::these(&["hunter2", "hunter2hunter2", "pä\"ss", "00ffee00ffee"]);
        for (text, is) in [
            ("", ""),
            ("hunter", "hunter"),
            ("hunter2", "***"),
            ("a hunter2hunter2.", "a ***."),
            ("xhunter2y hunter2", "x***y ***"),
            ("pä\"ss or \"pä\\\"ss\"", "*** or \"***\""),
            ("00FFEE00FFEE 00ffee00ffee 00ffee", "*** *** 00ffee"),
            ("ähunter2ä", "ä***ä"),
        ] {
            assert_eq!(secrets.hide(text), is);
        }
    }

    #[test]
    fn what_the_files_of_a_gateway_hold_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::in_folder(dir.path());
        let psk = dir.path().join("psk");
        keyfile::folder(&psk).unwrap();
        let key = Psk::generate(&mut rng::Os);
        key.save(psk.join("freezer-01.psk")).unwrap();
        let kept = fs::read_to_string(psk.join("freezer-01.psk")).unwrap();
        let plug = DeviceId::parse("plug-1").unwrap();
        mqtt::add_client(&options.mqtt.clients, &plug).unwrap();
        let hash = fs::read_to_string(options.mqtt.clients.join("plug-1.mqtt")).unwrap();
        let pem =
            "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0\n-----END PRIVATE KEY-----\n";
        keyfile::write(&options.hub.key, pem.as_bytes()).unwrap();
        let password = dir.path().join("password");
        keyfile::write(&password, b"hunter2\n").unwrap();
        let yaml = format!(
            "version: 1\nconnections:\n  s:\n    opcua: {{ url: \"opc.tcp://127.0.0.1:4840\", \
             security: Basic256Sha256, server-certificate: /a/s.pem, certificate: /a/c.pem, \
             key: /a/c.key, user: ann, password-file: {} }}\n",
            password.display()
        );
        fs::write(dir.path().join("mapping.yaml"), yaml).unwrap();
        // Of the hub's mappings, in their folder.
        let (desired, named) = (options.data_dir.join("desired"), &options.field.files);
        for folder in [&desired, named] {
            fs::create_dir_all(folder).unwrap();
        }
        keyfile::write(named.join("ben.password"), b"correct horse\n").unwrap();
        let yaml = "opcua: { user: ben, password-file: ben.password }\n";
        fs::write(desired.join("mapping.yaml"), yaml).unwrap();
        let mut options = options;
        options.field.mapping = Some(dir.path().join("mapping.yaml"));
        let secrets = Keepers::of(&options).secrets();
        for value in [
            kept.trim(),
            hash.trim(),
            "MIIEvQIBADANBgkqhkiG9w0",
            "hunter2",
            "correct horse",
        ] {
            assert_eq!(secrets.hide(&format!("<{value}>")), "<***>", "{value}");
        }
    }
}
