//! Whose an id is: of a device that links by a key, or of one that the mapping reads. Never of both,
//! as the hub would take their values for those of one device.
//!
//! Whoever came first holds: a mapping that takes the id of a device with a key is refused, and a key
//! that comes for a device of the mapping is not used, which the hub is told.

use std::collections::HashSet;

use stencil_field::mapping::{self, Errors, Mapping};
use stencil_protocol::id::DeviceId;

use crate::{
    Error, Options,
    managed::{self, Managed},
    psk::KeyRing,
};

/// Where the key of a device is from.
enum Key {
    Hub,
    File(String),
}

impl KeyRing {
    /// Refuses a mapping that takes the id of a device whose key is used. Blocks.
    pub(crate) fn refuse_taken(&self, yaml: &str) -> Result<(), Errors> {
        mapping::refuse_ids(yaml, |device| {
            if self.managed.is_mapped(device) {
                return None;
            }
            let key = if self.managed.has(device) {
                Key::Hub
            } else {
                let file = self.file(device);
                file.is_file()
                    .then(|| Key::File(file.display().to_string()))?
            };
            Some(refusal(device, &key))
        })
    }

    /// The ids of this mapping's devices are its own from now on; `yaml` is refused where one is
    /// taken. Blocks.
    pub(crate) fn claim(&self, mapping: &Mapping, yaml: &str) -> Result<(), Refused> {
        let turn = self.managed.turn();
        self.refuse_taken(yaml).map_err(Refused::Mapping)?;
        Ok(self.managed.read_by_mapping(ids(mapping), &turn)?)
    }

    /// The same for a mapping that was in force before: who has come since gives way. Blocks.
    pub(crate) fn claim_again(&self, mapping: &Mapping) -> Result<(), Refused> {
        let turn = self.managed.turn();
        let mapped = ids(mapping);
        for device in mapped.iter().filter(|device| self.file(device).is_file()) {
            tracing::error!(
                %device,
                file = %self.file(device).display(),
                "the mapping reads a device of this id: the key in the file is not used"
            );
        }
        Ok(self.managed.read_by_mapping(mapped, &turn)?)
    }
}

/// Why a mapping is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    Mapping(Errors),
    #[error(transparent)]
    Keys(#[from] managed::Error),
}

/// Whether a mapping takes the id of a device that links to the gateway with these settings: as it
/// would be refused at its start. Blocks.
///
/// # Errors
/// [`Error::Keys`]: the keys that are there cannot be read.
pub fn check_ids(options: &Options, yaml: &str) -> Result<Result<(), Errors>, Error> {
    let keys = Managed::look(&options.data_dir).map_err(|error| Error::Keys(error.to_string()))?;
    Ok(mapping::refuse_ids(yaml, |device| {
        if keys.contains(device) {
            return Some(refusal(device, &Key::Hub));
        }
        let file = options.psk_dir.join(format!("{device}.psk"));
        file.is_file()
            .then(|| refusal(device, &Key::File(file.display().to_string())))
    }))
}

fn refusal(device: &DeviceId, key: &Key) -> (String, String) {
    match key {
        Key::Hub => (
            format!("`{device}` has a key of its own, given by the hub"),
            format!(
                "give this one another id, or revoke that one (`stencil device revoke {device}`)"
            ),
        ),
        Key::File(file) => (
            format!("`{device}` has a key of its own, {file}"),
            "give this one another id, or remove that file".to_owned(),
        ),
    }
}

fn ids(mapping: &Mapping) -> HashSet<DeviceId> {
    mapping.devices().map(|device| device.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use stencil_protocol::id::{GatewayId, TenantId};

    use super::*;
    use crate::psk::{Missing, add_device};

    fn id(text: &str) -> DeviceId {
        DeviceId::parse(text).unwrap()
    }

    fn ring(folder: &Path) -> KeyRing {
        let tenant = TenantId::parse("acme").unwrap();
        let gateway = GatewayId::parse("gw-1").unwrap();
        let managed = Managed::open(folder, tenant, gateway).unwrap();
        KeyRing::new(folder.join("psk"), Arc::new(managed))
    }

    fn mapping(devices: &[&str]) -> (Mapping, String) {
        let mut yaml = "version: 1\nconnections: { hall: { modbus-tcp: '127.0.0.1:9' } }\n\
                        devices:\n"
            .to_owned();
        for device in devices {
            yaml.push_str(&format!(
                "  {device}: {{ connection: hall, points: {{ t: {{ holding: 0, type: i16 }} }} }}\n"
            ));
        }
        (mapping::parse(&yaml).unwrap(), yaml)
    }

    #[tokio::test]
    async fn a_mapping_takes_no_id_of_a_device_with_a_key() {
        let folder = tempfile::tempdir().unwrap();
        add_device(&folder.path().join("psk"), &id("freezer-07")).unwrap();
        let keys = ring(folder.path());
        let (before, yaml) = mapping(&["press-1"]);
        keys.claim(&before, &yaml).unwrap();

        let (taking, yaml) = mapping(&["press-2", "freezer-07"]);
        let error = keys.claim(&taking, &yaml).unwrap_err().to_string();
        assert!(
            error.starts_with("line 5, column 3: `freezer-07` has a key of its own"),
            "{error}"
        );
        assert!(error.contains("remove that file"), "{error}");
        // Nothing has changed: the device links, and what was read is read.
        assert!(keys.known(&id("freezer-07")).await.is_ok());
        assert!(keys.managed.is_mapped(&id("press-1")));

        let options = Options {
            data_dir: folder.path().to_owned(),
            psk_dir: folder.path().join("psk"),
            ..Options::default()
        };
        let checked = check_ids(&options, &yaml).unwrap().unwrap_err();
        assert_eq!((checked.0.len(), checked.0[0].at.line), (1, 5));
    }

    #[tokio::test]
    async fn a_key_that_is_added_for_a_device_of_the_mapping_opens_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let keys = ring(folder.path());
        let (mapping, yaml) = mapping(&["press-1"]);
        keys.claim(&mapping, &yaml).unwrap();
        add_device(&folder.path().join("psk"), &id("press-1")).unwrap();
        assert!(matches!(
            keys.known(&id("press-1")).await,
            Err(Missing::Mapped)
        ));
        assert!(!keys.has(&id("press-1")) && keys.devices().is_empty());
        // The mapping holds its ids when it is read again, and when the parts start anew.
        keys.claim(&mapping, &yaml).unwrap();
        let again = ring(folder.path());
        again.managed.inherit(&keys.managed);
        again.claim(&mapping, &yaml).unwrap();
        // A process that starts cannot know who came first.
        assert!(ring(folder.path()).claim(&mapping, &yaml).is_err());
    }
}
