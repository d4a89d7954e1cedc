//! `did:pkh`: an account on a chain (did:pkh Method Specification; CAIP-10), of EVM chains.

use std::fmt;

use alloy_primitives::Address;

use super::Error;
use crate::text::shown;

/// An account of an EVM chain: `eip155:1:0x…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// The chain's number.
    pub chain: u64,
    /// The address.
    pub address: Address,
}

fn wrong(part: &'static str, text: &str, wrong: &'static str) -> Error {
    Error::Pkh {
        part,
        text: shown(text),
        wrong,
    }
}

impl Account {
    /// Reads what follows on `did:pkh:`, which is an account as CAIP-10 writes it.
    ///
    /// # Errors
    /// [`Error::Pkh`]: another kind of chain, a number that is none, an address whose letters do not
    /// match its checksum (one in a single case has none).
    pub fn parse(id: &str) -> Result<Self, Error> {
        let mut parts = id.split(':');
        let (namespace, chain, address) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        if parts.next().is_some() {
            return Err(wrong("id", id, "it is NAMESPACE:CHAIN:ADDRESS"));
        }
        if namespace != "eip155" {
            return Err(wrong(
                "namespace",
                namespace,
                "accounts of EVM chains, eip155, are known",
            ));
        }
        let number = Some(chain)
            .filter(|text| {
                !text.starts_with('0')
                    && text.len() <= 19
                    && text.bytes().all(|b| b.is_ascii_digit())
            })
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| wrong("chain", chain, "it is a number, such as 1"))?;
        let digits = address
            .strip_prefix("0x")
            .filter(|digits| digits.len() == 40 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .ok_or_else(|| wrong("address", address, "it is 0x and 40 hexadecimal digits"))?;
        let mixed = digits.bytes().any(|b| b.is_ascii_uppercase())
            && digits.bytes().any(|b| b.is_ascii_lowercase());
        let parsed: Address = digits
            .parse()
            .map_err(|_| wrong("address", address, "it is 0x and 40 hexadecimal digits"))?;
        if mixed && Address::parse_checksummed(address, None).is_err() {
            return Err(wrong(
                "address",
                address,
                "its capital letters are not those of its checksum (ERC-55): a digit is wrong",
            ));
        }
        Ok(Self {
            chain: number,
            address: parsed,
        })
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "eip155:{}:{}",
            self.chain,
            self.address.to_checksum(None)
        )
    }
}

#[cfg(test)]
mod tests {
    use crate::did::{Did, Method};

    /// The method's own example.
    const DID: &str = "did:pkh:eip155:1:0xb9c5714089478a327f09197987f16f9e5d936e8a";

    #[test]
    fn an_account_keeps_the_case_that_it_was_written_in() {
        let did = Did::parse(DID).expect("an account");
        assert_eq!(did.as_str(), DID);
        let Method::Pkh(account) = did.method() else {
            panic!("{did:?}");
        };
        assert_eq!(account.chain, 1);
        let made = Did::from_account(*account);
        assert_eq!(made.as_str().to_lowercase(), DID);
        assert_eq!(Did::parse(made.as_str()).as_ref(), Ok(&made));
    }

    #[test]
    fn what_names_no_account() {
        for (did, wrong) in [
            ("did:pkh:solana:x:y", "eip155, are known"),
            ("did:pkh:eip155:1", "40 hexadecimal digits"),
            (
                "did:pkh:eip155:01:0xb9c5714089478a327f09197987f16f9e5d936e8a",
                "it is a number",
            ),
            (
                "did:pkh:eip155:99999999999999999999:0xb9c5714089478a327f09197987f16f9e5d936e8a",
                "it is a number",
            ),
            (
                "did:pkh:eip155:1:0xB9c5714089478a327f09197987f16f9e5d936e8a",
                "checksum",
            ),
            (
                "did:pkh:eip155:1:0xb9c5714089478a327f09197987f16f9e5d936e8a:1",
                "NAMESPACE:CHAIN:ADDRESS",
            ),
        ] {
            let error = Did::parse(did).expect_err(did).to_string();
            assert!(error.contains(wrong), "{did}: {error}");
        }
    }
}
