//! Exact money: whole base units of an asset, whole minor units of a currency, rates as fractions.
//!
//! Nothing here is a floating-point number. What is converted is rounded by less than one base
//! unit, always in favour of the payee: what is due is rounded up, what was paid is worth rounded
//! down. So a price is never undercut by rounding, and a payer never pays more than one base unit
//! too much.
//!
//! ```
//! use stencil_payments::money::{Asset, Currency, Fiat, Rate, Token};
//!
//! # fn main() -> Result<(), stencil_payments::money::Error> {
//! let usdc = Token::new(Asset::erc20(8453, [0x11; 20].into()), 6, "USDC")?;
//! let price = Fiat::parse("12.50", Currency::parse("EUR")?)?;
//! let rate = Rate::parse("0.92", price.currency(), &usdc, "table", 1_700_000_000_000_000)?;
//! let due = rate.due(&price)?; // 12.50 / 0.92 = 13.586956521…
//! assert_eq!(usdc.format(due), "13.586957");
//! assert_eq!(rate.worth(due)?.to_string(), "12.50 EUR");
//! # Ok(()) }
//! ```

mod amount;
mod asset;
mod currency;
mod error;
mod rate;
mod text;

pub use amount::{Amount, MAX_AMOUNT_BITS};
pub(crate) use asset::chain_id;
pub use asset::{Asset, MAX_DECIMALS, MAX_SYMBOL_BYTES, Token};
pub use currency::{Currency, Fiat};
pub use error::Error;
pub use rate::{MAX_RATE_DIGITS, MAX_SOURCE_BYTES, Rate};
