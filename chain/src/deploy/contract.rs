//! What can be deployed, as it is committed.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{Eip712Domain, SolValue as _, eip712_domain};
use serde::Deserialize;

use super::Error;

pub(super) const PAYMENTS: &str = include_str!("../../contracts/artifacts/StencilPayments.json");
pub(super) const ESCROW: &str = include_str!("../../contracts/artifacts/StencilEscrow.json");
pub(super) const PASSPORT: &str = include_str!("../../contracts/artifacts/DevicePassport.json");
pub(super) const ACCESS_RIGHT: &str = include_str!("../../contracts/artifacts/AccessRight.json");
pub(super) const MARKET: &str = include_str!("../../contracts/artifacts/StencilMarket.json");
pub(super) const ANCHOR: &str = include_str!("../../contracts/artifacts/StencilAnchor.json");

pub(super) const DOLLAR: &str = include_str!("../../contracts/artifacts/dev/DevDollar.json");

/// Ids of chains that nodes for development make by themselves: nothing on them is worth anything.
pub(super) const DEV_CHAINS: [u64; 2] = [31_337, 1_337];

/// The name and the version of the dollar's EIP-712 domain.
const DOLLAR_DOMAIN: (&str, &str) = ("Dev Dollar", "2");
/// The name and the version of the market's EIP-712 domain.
const MARKET_DOMAIN: (&str, &str) = ("Stencil Market", "1");

/// A contract with its constructor's arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contract {
    /// `StencilPayments`: passes payments on to this payee, for ever.
    Payments {
        /// Who gets what is paid.
        payee: Address,
    },
    /// `StencilEscrow`: holds money, for whomever.
    Escrow,
    /// `DevicePassport`: who owns which device.
    Passport {
        /// The collection's name.
        name: String,
        /// The collection's short name.
        symbol: String,
        /// Who names issuers, and is one.
        administrator: Address,
        /// Who gets royalties; zero for none.
        royalty_to: Address,
        /// Hundredths of a per cent of each price.
        royalty: u16,
    },
    /// `AccessRight`: rights to use a device for a time.
    AccessRight {
        /// The collection's name.
        name: String,
        /// The collection's short name.
        symbol: String,
        /// Who names issuers, and is one.
        administrator: Address,
        /// SHA-256 of the document that says what holders may do.
        terms: B256,
    },
    /// `StencilMarket`: sales by signed listings, for whomever.
    Market,
    /// `StencilAnchor`: roots of data, of whomever.
    Anchor,
    /// `DevDollar`: a token that takes EIP-3009 authorisations and that anybody mints, for dev chains.
    DevDollar,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Artifact {
    bytecode: Bytes,
    pub(super) deployed_bytecode: Bytes,
    pub(super) immutable_references: Vec<Vec<Place>>,
}

/// Where an immutable stands in the code that runs.
#[derive(Deserialize)]
pub(super) struct Place {
    pub(super) start: usize,
    pub(super) length: usize,
}

impl Contract {
    /// Its name in the sources.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Payments { .. } => "StencilPayments",
            Self::Escrow => "StencilEscrow",
            Self::Passport { .. } => "DevicePassport",
            Self::AccessRight { .. } => "AccessRight",
            Self::Market => "StencilMarket",
            Self::Anchor => "StencilAnchor",
            Self::DevDollar => "DevDollar",
        }
    }

    /// Whether it may be on a chain: what anybody mints is for dev chains alone.
    pub fn may_be_on(&self, chain_id: u64) -> bool {
        *self != Self::DevDollar || DEV_CHAINS.contains(&chain_id)
    }

    /// The code that deploys it, its arguments at the end.
    pub fn creation(&self) -> Result<Bytes, Error> {
        let mut code = self.artifact()?.bytecode.to_vec();
        code.extend_from_slice(&self.arguments());
        Ok(code.into())
    }

    /// The code that then runs at this address of this chain, with each immutable in its place.
    pub fn runtime(&self, chain_id: u64, address: Address) -> Result<Bytes, Error> {
        let artifact = self.artifact()?;
        let mut code = artifact.deployed_bytecode.to_vec();
        let immutables = self.immutables(chain_id, address);
        if artifact.immutable_references.len() != immutables.len() {
            return Err(self.damaged("it has other immutables"));
        }
        for (places, word) in artifact.immutable_references.iter().zip(&immutables) {
            for place in places {
                let end = place.start.saturating_add(place.length);
                code.get_mut(place.start..end)
                    .filter(|at| at.len() == word.len())
                    .ok_or_else(|| self.damaged("an immutable is outside of the code"))?
                    .copy_from_slice(word.as_slice());
            }
        }
        Ok(code.into())
    }

    /// The constructor's arguments by the ABI.
    fn arguments(&self) -> Vec<u8> {
        match self {
            Self::Payments { payee } => payee.abi_encode(),
            Self::Passport {
                name,
                symbol,
                administrator,
                royalty_to,
                royalty,
            } => (
                name,
                symbol,
                administrator,
                royalty_to,
                U256::from(*royalty),
            )
                .abi_encode_params(),
            Self::AccessRight {
                name,
                symbol,
                administrator,
                terms,
            } => (name, symbol, administrator, terms).abi_encode_params(),
            Self::Escrow | Self::Market | Self::Anchor | Self::DevDollar => Vec::new(),
        }
    }

    /// What the constructor keeps in the code, in the order of the sources.
    fn immutables(&self, chain_id: u64, address: Address) -> Vec<B256> {
        match self {
            Self::Payments { payee } => vec![payee.into_word()],
            Self::AccessRight { terms, .. } => vec![*terms],
            Self::Market | Self::DevDollar => {
                // OpenZeppelin's EIP712: separator, chain, contract, hashes of name and version, and both as
                // short strings.
                let (name, version) = match self {
                    Self::DevDollar => DOLLAR_DOMAIN,
                    _ => MARKET_DOMAIN,
                };
                vec![
                    domain(name, version, chain_id, address).separator(),
                    B256::from(U256::from(chain_id)),
                    address.into_word(),
                    keccak256(name),
                    keccak256(version),
                    short_string(name),
                    short_string(version),
                ]
            }
            Self::Escrow | Self::Passport { .. } | Self::Anchor => Vec::new(),
        }
    }

    fn artifact(&self) -> Result<Artifact, Error> {
        let text = match self {
            Self::Payments { .. } => PAYMENTS,
            Self::Escrow => ESCROW,
            Self::Passport { .. } => PASSPORT,
            Self::AccessRight { .. } => ACCESS_RIGHT,
            Self::Market => MARKET,
            Self::Anchor => ANCHOR,
            Self::DevDollar => DOLLAR,
        };
        serde_json::from_str(text).map_err(|error| self.damaged(&error.to_string()))
    }

    fn damaged(&self, why: &str) -> Error {
        Error::Artifact {
            contract: self.name(),
            why: why.to_owned(),
        }
    }
}

fn domain(
    name: &'static str,
    version: &'static str,
    chain_id: u64,
    address: Address,
) -> Eip712Domain {
    eip712_domain! {
        name: name,
        version: version,
        chain_id: chain_id,
        verifying_contract: address,
    }
}

/// A text of up to 31 bytes in one word, its length in the last.
fn short_string(text: &str) -> B256 {
    let mut word = B256::ZERO;
    for (to, byte) in word.iter_mut().zip(text.bytes()) {
        *to = byte;
    }
    word[31] = u8::try_from(text.len()).unwrap_or(u8::MAX);
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: u64 = 31_337;
    const AT: Address = Address::repeat_byte(0xaa);

    fn count(code: &[u8], word: B256) -> usize {
        code.windows(32)
            .filter(|part| *part == word.as_slice())
            .count()
    }

    #[test]
    fn arguments_are_at_the_end_of_the_creation_and_in_the_code_that_runs() {
        let payee = Address::repeat_byte(0x9a);
        let word = payee.into_word();
        let payments = Contract::Payments { payee };
        assert!(payments.creation().unwrap().ends_with(word.as_slice()));
        let runtime = payments.runtime(CHAIN, AT).unwrap();
        assert!(count(&runtime, word) > 0);
        let other = Contract::Payments {
            payee: Address::repeat_byte(0x9b),
        };
        let other = other.runtime(CHAIN, AT).unwrap();
        assert_ne!(other, runtime);
        assert_eq!(count(&other, word), 0);
    }

    #[test]
    fn contracts_without_immutables_run_as_they_were_built() {
        for contract in [Contract::Escrow, Contract::Anchor, passport()] {
            let creation = contract.creation().unwrap();
            let runtime = contract.runtime(CHAIN, AT).unwrap();
            assert!(creation.len() > runtime.len());
            assert!(
                creation
                    .windows(runtime.len())
                    .any(|part| part == &runtime[..])
            );
        }
    }

    fn passport() -> Contract {
        Contract::Passport {
            name: "Passports".to_owned(),
            symbol: "PASS".to_owned(),
            administrator: Address::repeat_byte(1),
            royalty_to: Address::repeat_byte(2),
            royalty: 250,
        }
    }

    #[test]
    fn texts_are_behind_the_other_arguments() {
        let creation = passport().creation().unwrap();
        let words: Vec<&[u8]> = creation[creation.len() - 9 * 32..].chunks(32).collect();
        assert_eq!(words[0], U256::from(5 * 32).to_be_bytes::<32>());
        assert_eq!(words[2], Address::repeat_byte(1).into_word().as_slice());
        assert_eq!(words[4], U256::from(250).to_be_bytes::<32>());
        assert_eq!(words[5], U256::from(9).to_be_bytes::<32>());
        assert!(words[6].starts_with(b"Passports\0"));
        assert!(words[8].starts_with(b"PASS\0"));
    }

    #[test]
    fn the_market_s_code_is_of_one_chain_and_one_place() {
        let here = Contract::Market.runtime(CHAIN, AT).unwrap();
        assert_eq!(count(&here, AT.into_word()), 1);
        assert_eq!(count(&here, short_string("Stencil Market")), 1);
        assert_ne!(Contract::Market.runtime(1, AT).unwrap(), here);
        let elsewhere = Contract::Market.runtime(CHAIN, Address::repeat_byte(0xab));
        assert_ne!(elsewhere.unwrap(), here);
    }

    #[test]
    fn what_anybody_mints_is_on_dev_chains_alone() {
        assert!(Contract::DevDollar.may_be_on(CHAIN) && !Contract::DevDollar.may_be_on(1));
        assert!(Contract::Escrow.may_be_on(1));
        let code = Contract::DevDollar.runtime(CHAIN, AT).unwrap();
        assert_eq!(count(&code, short_string("Dev Dollar")), 1);
        assert_eq!(count(&code, AT.into_word()), 1);
    }

    #[test]
    fn the_terms_of_a_right_are_in_its_code() {
        let terms = B256::repeat_byte(0x77);
        let rights = Contract::AccessRight {
            name: "Rights".to_owned(),
            symbol: "R".to_owned(),
            administrator: Address::repeat_byte(1),
            terms,
        };
        assert_eq!(count(&rights.runtime(CHAIN, AT).unwrap(), terms), 2);
    }
}
