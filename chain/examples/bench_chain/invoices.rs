//! The open invoices: a third by each way of paying.

use alloy_primitives::Address;
use stencil_payments::invoice::{Definition, Id, Method, Policy, Price, Way};
use stencil_payments::matching::Index;
use stencil_payments::money::{Amount, Asset, Token};
use stencil_payments::observation::Needs;

use crate::world::{CHAIN_ID, PAYEE, Plan, Told};

/// Five dollars.
const PRICE: u64 = 5_000_000;

/// An invoice as its payer has to know it.
pub(crate) struct Invoice {
    pub(crate) id: Id,
    pub(crate) way: Way,
    pub(crate) due: Amount,
}

/// All of them, and what finds them.
pub(crate) struct Invoices {
    pub(crate) index: Index,
    pub(crate) all: Vec<Invoice>,
}

impl Invoices {
    /// The same for the same plan and the same contracts.
    pub(crate) fn new(plan: &Plan, told: &Told) -> Self {
        let asset = Asset::erc20(CHAIN_ID, told.token);
        let mut index = Index::default();
        let mut all = Vec::new();
        for n in 0..plan.invoices {
            let (id, way) = (Id(u128::from(n).to_be_bytes()), way(n, told.contract));
            let amount = Amount::from(PRICE);
            let due = match way {
                Way::UniqueAmount => {
                    let most = plan.invoices as u32;
                    let step = Amount::from(1_u64);
                    index.unique(asset, PAYEE, amount, step, most).unwrap()
                }
                _ => amount,
            };
            let token = Token::new(asset, 6, "DUSD").unwrap();
            let price = Price::Token { asset, amount };
            let needs = Needs::Confirmations(12);
            let mut method = Method::priced(&price, token, None, PAYEE, way, needs).unwrap();
            method.due = due;
            let definition = Definition {
                id,
                tenant: "bench".parse().unwrap(),
                price,
                methods: vec![method],
                created_us: 0,
                expires_us: 1_000_000,
                policy: Policy::DEFAULT,
            };
            index.add(&definition, 2_000_000).unwrap();
            all.push(Invoice { id, way, due });
        }
        Self { index, all }
    }
}

fn way(n: u64, contract: Address) -> Way {
    match n % 3 {
        0 => Way::Authorization,
        1 => Way::Contract(contract),
        _ => Way::UniqueAmount,
    }
}
