//! For whom an image is: the vendor and the class of devices, as UUIDs (RFC 9562).
//!
//! SUIT derives them from names (draft-ietf-suit-manifest, section 8.4.8.1): the vendor from its
//! domain in the DNS name space, the class from its name in the vendor's. Both are compared as
//! bytes; nothing is read out of them.

use core::fmt;

/// A UUID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub [u8; 16]);

/// Why text is not a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a UUID: expected 32 hexadecimal digits, as in fa6b4a53-d5ad-5fdf-be9d-e663e4d41ffe")]
pub struct Error;

impl Id {
    /// Reads a UUID, with or without its hyphens.
    ///
    /// # Errors
    /// [`Error`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let digits = text.bytes().filter(|byte| *byte != b'-').count();
        let hyphens = text.len() - digits;
        if digits != 32 || !(hyphens == 0 || (hyphens == 4 && hyphenated(text.as_bytes()))) {
            return Err(Error);
        }
        let mut id = [0; 16];
        for (at, byte) in text.bytes().filter(|byte| *byte != b'-').enumerate() {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                b'A'..=b'F' => byte - b'A' + 10,
                _ => return Err(Error),
            };
            id[at / 2] = id[at / 2] << 4 | digit;
        }
        Ok(Id(id))
    }

    /// The id of a vendor, from its domain: UUID version 5 in the name space of DNS.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn of_vendor(domain: &str) -> Self {
        Id(uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_DNS, domain.as_bytes()).into_bytes())
    }

    /// The id of a class of devices, from its name: UUID version 5 in the name space of `vendor`.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn of_class(vendor: Self, name: &str) -> Self {
        Id(uuid::Uuid::new_v5(&uuid::Uuid::from_bytes(vendor.0), name.as_bytes()).into_bytes())
    }
}

fn hyphenated(text: &[u8]) -> bool {
    [8, 13, 18, 23]
        .iter()
        .all(|at| text.get(*at) == Some(&b'-'))
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::str::FromStr for Id {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_of_suits_own_example() {
        // draft-ietf-suit-manifest, section 8.4.8.1 and the examples of its appendix B.
        let vendor = Id::of_vendor("arm.com");
        assert_eq!(vendor.to_string(), "fa6b4a53-d5ad-5fdf-be9d-e663e4d41ffe");
        let class = Id::of_class(vendor, "Foo");
        assert_eq!(class.to_string().len(), 36);
        assert_ne!(class, vendor);
    }

    #[test]
    fn text_is_read_back() {
        let text = "fa6b4a53-d5ad-5fdf-be9d-e663e4d41ffe";
        assert_eq!(Id::parse(text).unwrap().to_string(), text);
        assert_eq!(Id::parse(&text.replace('-', "")), Id::parse(text));
        for bad in [
            "",
            "fa6b4a53",
            "fa6b4a53-d5ad-5fdf-be9d-e663e4d41ff",
            "fa6b4a5-3d5ad-5fdf-be9d-e663e4d41ffe",
            "fa6b4a53-d5ad-5fdf-be9d-e663e4d41ffg",
            "fa6b4a53-d5ad-5fdf-be9de663e4d41ffe",
        ] {
            assert_eq!(Id::parse(bad), Err(Error), "{bad}");
        }
    }
}
