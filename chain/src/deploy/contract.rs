//! What can be deployed, as it is committed.

use alloy_primitives::{Address, Bytes};
use serde::Deserialize;

use super::Error;

const PAYMENTS: &str = include_str!("../../contracts/artifacts/StencilPayments.json");
const ESCROW: &str = include_str!("../../contracts/artifacts/StencilEscrow.json");

/// A contract with its constructor's arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contract {
    /// `StencilPayments`: passes payments on to this payee, for ever.
    Payments {
        /// Who gets what is paid.
        payee: Address,
    },
    /// `StencilEscrow`: holds money, for whomever.
    Escrow,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Artifact {
    bytecode: Bytes,
    deployed_bytecode: Bytes,
    immutable_references: Vec<Vec<Place>>,
}

/// Where an immutable stands in the code that runs.
#[derive(Deserialize)]
struct Place {
    start: usize,
    length: usize,
}

impl Contract {
    /// Its name in the sources.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Payments { .. } => "StencilPayments",
            Self::Escrow => "StencilEscrow",
        }
    }

    /// The code that deploys it, its arguments at the end.
    pub fn creation(&self) -> Result<Bytes, Error> {
        let mut code = self.artifact()?.bytecode.to_vec();
        for word in self.arguments() {
            code.extend_from_slice(&word);
        }
        Ok(code.into())
    }

    /// The code that then runs. Each argument is kept there as an immutable, in their order.
    pub fn runtime(&self) -> Result<Bytes, Error> {
        let artifact = self.artifact()?;
        let mut code = artifact.deployed_bytecode.to_vec();
        let arguments = self.arguments();
        if artifact.immutable_references.len() != arguments.len() {
            return Err(self.damaged("it has other immutables"));
        }
        for (places, word) in artifact.immutable_references.iter().zip(&arguments) {
            for place in places {
                let end = place.start.saturating_add(place.length);
                code.get_mut(place.start..end)
                    .filter(|at| at.len() == word.len())
                    .ok_or_else(|| self.damaged("an immutable is outside of the code"))?
                    .copy_from_slice(word);
            }
        }
        Ok(code.into())
    }

    /// The constructor's arguments by the ABI: a word each.
    fn arguments(&self) -> Vec<[u8; 32]> {
        match self {
            Self::Payments { payee } => vec![payee.into_word().0],
            Self::Escrow => Vec::new(),
        }
    }

    fn artifact(&self) -> Result<Artifact, Error> {
        let text = match self {
            Self::Payments { .. } => PAYMENTS,
            Self::Escrow => ESCROW,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_at_the_end_of_the_creation_and_in_the_code_that_runs() {
        let payee = Address::repeat_byte(0x9a);
        let word = payee.into_word();
        let payments = Contract::Payments { payee };
        assert!(payments.creation().unwrap().ends_with(word.as_slice()));
        let runtime = payments.runtime().unwrap();
        let count = |code: &[u8]| {
            code.windows(32)
                .filter(|part| *part == word.as_slice())
                .count()
        };
        assert!(count(&runtime) > 0);
        let other = Contract::Payments {
            payee: Address::repeat_byte(0x9b),
        };
        assert_ne!(other.runtime().unwrap(), runtime);
        assert_eq!(count(&other.runtime().unwrap()), 0);
    }

    #[test]
    fn the_escrow_has_no_arguments() {
        let escrow = Contract::Escrow;
        let creation = escrow.creation().unwrap();
        let runtime = escrow.runtime().unwrap();
        assert!(creation.len() > runtime.len());
        assert!(
            creation
                .windows(runtime.len())
                .any(|part| part == &runtime[..])
        );
    }
}
