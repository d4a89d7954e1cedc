use std::fmt;

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::Error;

/// How a certificate names its holder, in a URI of its subject alternative name:
/// `stencil:tenant/{tenant}/gateway/{gateway}` or `stencil:tenant/{tenant}/device/{device}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A gateway.
    Gateway {
        /// Whose gateway.
        tenant: String,
        /// The gateway's id.
        gateway: String,
    },
    /// A device that speaks to the hub itself.
    Device {
        /// Whose device.
        tenant: String,
        /// The device's id.
        device: String,
    },
}

/// Longest id in bytes.
const ID_MAX_BYTES: usize = 48;

impl Subject {
    /// Reads the subject from a certificate in DER.
    ///
    /// The certificate must have been verified against the authority's root: this
    /// reads and doesn't check a signature.
    ///
    /// # Errors
    /// [`Error::Certificate`] if it is none; [`Error::NoSubject`] if it names neither
    /// gateway nor device, or more than one.
    pub fn of(der: &[u8]) -> Result<Self, Error> {
        let (rest, certificate) = X509Certificate::from_der(der)
            .map_err(|error| Error::Certificate(error.to_string()))?;
        if !rest.is_empty() {
            return Err(Error::Certificate(
                "bytes follow the certificate".to_owned(),
            ));
        }
        let names = certificate
            .subject_alternative_name()
            .map_err(|error| Error::Certificate(error.to_string()))?;
        let mut ours = names
            .iter()
            .flat_map(|names| &names.value.general_names)
            .filter_map(|name| match name {
                GeneralName::URI(uri) if uri.starts_with("stencil:") => Some(*uri),
                _ => None,
            });
        match (ours.next(), ours.next()) {
            (Some(uri), None) => Self::parse(uri),
            (None, _) => Err(Error::NoSubject("it has no stencil: URI".to_owned())),
            (Some(_), Some(_)) => Err(Error::NoSubject(
                "it has more than one stencil: URI".to_owned(),
            )),
        }
    }

    /// Reads the URI form.
    ///
    /// # Errors
    /// [`Error::NoSubject`] or [`Error::Id`].
    pub fn parse(uri: &str) -> Result<Self, Error> {
        let mut parts = uri.split('/');
        let subject = match (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) {
            (Some("stencil:tenant"), Some(tenant), Some("gateway"), Some(gateway), None) => {
                Self::Gateway {
                    tenant: tenant.to_owned(),
                    gateway: gateway.to_owned(),
                }
            }
            (Some("stencil:tenant"), Some(tenant), Some("device"), Some(device), None) => {
                Self::Device {
                    tenant: tenant.to_owned(),
                    device: device.to_owned(),
                }
            }
            _ => {
                return Err(Error::NoSubject(format!(
                    "{uri:?} is no subject of a fleet"
                )));
            }
        };
        subject.check()?;
        Ok(subject)
    }

    /// The tenant that the holder belongs to.
    #[must_use]
    pub fn tenant(&self) -> &str {
        match self {
            Self::Gateway { tenant, .. } | Self::Device { tenant, .. } => tenant,
        }
    }

    /// The id of the gateway or device.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Gateway { gateway: id, .. } | Self::Device { device: id, .. } => id,
        }
    }

    /// Checks both ids against the grammar `[A-Za-z0-9][A-Za-z0-9._-]{0,47}`, which no
    /// slash or control character passes.
    pub(super) fn check(&self) -> Result<(), Error> {
        check_id(self.tenant())?;
        check_id(self.id())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway { tenant, gateway } => {
                write!(f, "stencil:tenant/{tenant}/gateway/{gateway}")
            }
            Self::Device { tenant, device } => write!(f, "stencil:tenant/{tenant}/device/{device}"),
        }
    }
}

fn check_id(id: &str) -> Result<(), Error> {
    let starts_well = id.starts_with(|first: char| first.is_ascii_alphanumeric());
    let goes_on_well = id
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if starts_well && goes_on_well && id.len() <= ID_MAX_BYTES {
        Ok(())
    } else {
        Err(Error::Id(id.chars().take(2 * ID_MAX_BYTES).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uri_form_is_read_back() {
        for uri in [
            "stencil:tenant/demo/gateway/gw-1",
            "stencil:tenant/a.b/device/Freezer_07",
        ] {
            assert_eq!(Subject::parse(uri).unwrap().to_string(), uri);
        }
        let subject = Subject::parse("stencil:tenant/demo/gateway/gw-1").unwrap();
        assert_eq!((subject.tenant(), subject.id()), ("demo", "gw-1"));
    }

    #[test]
    fn what_could_reach_into_another_tenant_is_refused() {
        for uri in [
            "stencil:tenant/demo/gateway/gw-1/device/x",
            "stencil:tenant/demo/gateway/",
            "stencil:tenant//gateway/gw",
            "stencil:tenant/demo/gateway/../x",
            "stencil:tenant/demo/gateway/.x",
            "stencil:tenant/demo/gateway/a b",
            "stencil:tenant/demo/gateway/é",
            "stencil:tenant/demo/hub/x",
            "spiffe://tenant/demo/gateway/x",
            "stencil:tenant/demo",
            "",
        ] {
            assert!(Subject::parse(uri).is_err(), "{uri}");
        }
        let long = format!("stencil:tenant/demo/device/{}", "x".repeat(49));
        assert!(matches!(Subject::parse(&long), Err(Error::Id(_))));
    }
}
