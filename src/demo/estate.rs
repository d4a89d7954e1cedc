//! What of the demo's dev chain has to do with who owns a device: the tenant's passports, the market, and
//! three people with wallets.

use alloy_primitives::{Address, B256, Bytes, U256};
use anyhow::Context as _;
use stencil_chain::deploy::Contract;
use stencil_ownership::abi::{self, SolCall as _};
use stencil_payer::{Call, Wallet};

/// Hundredths of a per cent of a price that the tenant gets.
pub(crate) const ROYALTY: u16 = 250;
/// What the passport costs: 40 dollars, in base units. The buyer has no more.
pub(crate) const PRICE: u64 = 40_000_000;

/// Passports, a market, and who deals there.
pub(crate) struct Estate {
    /// The tenant, who issues passports and gets royalties.
    pub(crate) issuer: Wallet,
    /// Who owns a device first.
    pub(crate) seller: Wallet,
    /// Who buys it.
    pub(crate) collector: Wallet,
    /// The contract of passports.
    pub(crate) passports: Address,
    /// The market.
    pub(crate) market: Address,
}

impl Estate {
    /// With the keys of these three; and the transactions, in their order, that make the contracts.
    pub(crate) fn plan(keys: [&B256; 3], chain_id: u64) -> anyhow::Result<(Self, Vec<Bytes>)> {
        let [issuer, seller, collector] = keys.map(|key| Wallet::new(key, chain_id));
        let issuer = issuer?;
        let passport = Contract::Passport {
            name: "Demo devices".to_owned(),
            symbol: "DEMO".to_owned(),
            administrator: issuer.address(),
            royalty_to: issuer.address(),
            royalty: ROYALTY,
        };
        let mut made = Vec::new();
        for (nonce, contract) in (0..).zip([passport, Contract::Market]) {
            let code = contract.creation()?;
            made.push(issuer.sign(nonce, &Call::create(code))?);
        }
        let estate = Self {
            passports: issuer.address().create(0),
            market: issuer.address().create(1),
            issuer,
            seller: seller?,
            collector: collector?,
        };
        Ok((estate, made))
    }

    /// The tenant makes a device's passport, and gives it to its first owner.
    pub(crate) fn issue(&self, did: &str, document: &str) -> anyhow::Result<Bytes> {
        let call = abi::issueCall {
            to: self.seller.address(),
            did: did.to_owned(),
            metadata: document.parse().context("no hash of a document")?,
        };
        let call = Call {
            to: self.passports.into(),
            input: call.abi_encode().into(),
            value: U256::ZERO,
            gas_limit: 500_000,
        };
        // After the two contracts.
        Ok(self.issuer.sign(2, &call)?)
    }
}
