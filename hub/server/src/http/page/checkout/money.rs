//! Amounts as payers read them.

use crate::chains::checkout::{Checkout, Payable};
use crate::chains::view::{PriceView, Shown};

/// Digits after the point that stay, also where they are zeros.
const LEAST_DECIMALS: usize = 2;

/// Without the zeros at the end that say nothing.
pub(super) fn short(amount: &str) -> &str {
    let Some((whole, decimals)) = amount.split_once('.') else {
        return amount;
    };
    let said = decimals.trim_end_matches('0').len().max(LEAST_DECIMALS);
    let end = whole.len() + 1 + said.min(decimals.len());
    amount.get(..end).unwrap_or(amount)
}

/// `2.50 EUR`
pub(super) fn price(price: &PriceView) -> String {
    let unit = match (&price.currency, &price.token) {
        (Some(currency), _) => currency.as_str(),
        (None, Some(token)) => token.symbol.as_str(),
        (None, None) => "",
    };
    format!("{} {unit}", short(&price.amount.amount))
}

/// `2.50 USDC`, in the token of a method.
pub(super) fn of_method(view: &Checkout, method: &str, amount: &Shown) -> String {
    format!("{} {}", short(&amount.amount), symbol(view, method))
}

/// What still has to come, if the rest is paid by this method.
pub(super) fn open(way: &Payable) -> String {
    format!(
        "{} {}",
        short(&way.method.open.amount),
        way.method.token.symbol
    )
}

fn symbol<'v>(view: &'v Checkout, method: &str) -> &'v str {
    let mut all = view.methods.iter();
    let found = all.find(|way| way.method.name == method);
    found.map_or("", |way| &way.method.token.symbol)
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn zeros_that_say_nothing_are_left_out() {
        for (long, said) in [
            ("2.500000", "2.50"),
            ("2.500001", "2.500001"),
            ("0.001000000000000000", "0.001"),
            ("3.000000", "3.00"),
            ("3.0", "3.0"),
            ("100", "100"),
        ] {
            assert_eq!(short(long), said);
        }
    }
}
