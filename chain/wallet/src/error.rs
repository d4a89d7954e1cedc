//! What is wrong with a message, and where.

use std::fmt;

/// A part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Part {
    /// The whole of it.
    Message,
    /// `scheme://` before the domain.
    Scheme,
    /// Who asks, in the first line.
    Domain,
    /// The account, in the second line.
    Address,
    /// What is agreed to, in words.
    Statement,
    /// `URI`.
    Uri,
    /// `Version`.
    Version,
    /// `Chain ID`.
    ChainId,
    /// `Nonce`.
    Nonce,
    /// `Issued At`.
    IssuedAt,
    /// `Expiration Time`.
    ExpirationTime,
    /// `Not Before`.
    NotBefore,
    /// `Request ID`.
    RequestId,
    /// `Resources`.
    Resources,
}

impl Part {
    /// What it is called in a message.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Scheme => "scheme",
            Self::Domain => "domain",
            Self::Address => "address",
            Self::Statement => "statement",
            Self::Uri => "URI",
            Self::Version => "Version",
            Self::ChainId => "Chain ID",
            Self::Nonce => "Nonce",
            Self::IssuedAt => "Issued At",
            Self::ExpirationTime => "Expiration Time",
            Self::NotBefore => "Not Before",
            Self::RequestId => "Request ID",
            Self::Resources => "Resources",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that is no message of EIP-4361.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part} (line {line}): {why}")]
pub struct Error {
    /// What of it.
    pub part: Part,
    /// In which line, from 1.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub why: String,
}
