//! Whether a message says what was asked for, and holds now.

use stencil_protocol::moment;

use crate::error::Part;
use crate::message::Message;

/// What a message has to say, to the letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms<'t> {
    /// The scheme of the origin that asks. A message may leave it out, and name no other.
    pub scheme: &'t str,
    /// Who asks.
    pub domain: &'t str,
    /// What is agreed to.
    pub statement: Option<&'t str>,
    /// What is signed in to.
    pub uri: &'t str,
    /// On which chain.
    pub chain_id: u64,
    /// The nonce that was given.
    pub nonce: &'t str,
}

/// Why a message is not taken, though it is one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part}: {why}")]
pub struct Refused {
    /// What of it.
    pub part: Part,
    /// What it says, and what would be right.
    pub why: String,
}

fn refused(part: Part, why: String) -> Refused {
    Refused { part, why }
}

impl Message {
    /// Whether it says what was asked for.
    ///
    /// # Errors
    /// The first part that says something else.
    pub fn agrees(&self, terms: &Terms<'_>) -> Result<(), Refused> {
        let same = |part, said: &str, right: &str| match said == right {
            true => Ok(()),
            false => Err(refused(
                part,
                format!("`{said}` is said, `{right}` was asked for"),
            )),
        };
        // Hosts are the same in any case (RFC 3986, section 3.2.2), and wallets compare them so.
        same(
            Part::Domain,
            &self.domain.to_ascii_lowercase(),
            &terms.domain.to_ascii_lowercase(),
        )?;
        if let Some(scheme) = &self.scheme {
            same(Part::Scheme, &scheme.to_ascii_lowercase(), terms.scheme)?;
        }
        same(Part::Uri, &self.uri, terms.uri)?;
        same(
            Part::ChainId,
            &self.chain_id.to_string(),
            &terms.chain_id.to_string(),
        )?;
        same(Part::Nonce, &self.nonce, terms.nonce)?;
        same(
            Part::Statement,
            self.statement.as_deref().unwrap_or_default(),
            terms.statement.unwrap_or_default(),
        )
    }

    /// Whether it holds at a time: after `Not Before`, which clocks that differ by `tolerance_us` may see
    /// earlier, and before `Expiration Time`, to the letter: who limits their word is held to it.
    ///
    /// # Errors
    /// It does not hold yet, or no more.
    pub fn holds_at(&self, now_us: i64, tolerance_us: i64) -> Result<(), Refused> {
        let now = || moment::rfc3339(now_us);
        if let Some(end) = &self.expiration_time
            && now_us >= end.us()
        {
            let why = format!("it has expired: {} is over at {}", end.as_str(), now());
            return Err(refused(Part::ExpirationTime, why));
        }
        if let Some(begin) = &self.not_before
            && now_us < begin.us().saturating_sub(tolerance_us)
        {
            let why = format!(
                "it does not hold before {}, and it is {}",
                begin.as_str(),
                now()
            );
            return Err(refused(Part::NotBefore, why));
        }
        Ok(())
    }

    /// Whether it was made within the last `longest_us`, by clocks that differ by `tolerance_us`.
    ///
    /// # Errors
    /// It is from the future, or too old.
    pub fn issued_within(
        &self,
        now_us: i64,
        longest_us: i64,
        tolerance_us: i64,
    ) -> Result<(), Refused> {
        let (at, now) = (&self.issued_at, || moment::rfc3339(now_us));
        if at.us() > now_us.saturating_add(tolerance_us) {
            let why = format!(
                "{} is in the future, by more than the {} s that clocks may differ: it is {}",
                at.as_str(),
                tolerance_us / 1_000_000,
                now()
            );
            return Err(refused(Part::IssuedAt, why));
        }
        let oldest_us = now_us
            .saturating_sub(longest_us)
            .saturating_sub(tolerance_us);
        if at.us() < oldest_us {
            let why = format!(
                "{} is more than {} s ago: it is {}",
                at.as_str(),
                longest_us.saturating_add(tolerance_us) / 1_000_000,
                now()
            );
            return Err(refused(Part::IssuedAt, why));
        }
        Ok(())
    }
}
