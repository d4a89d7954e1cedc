//! What a payer sees of an invoice: what is due, and all that a wallet needs for it.

use serde::Serialize;
use serde_json::{Value, json};
use stencil_payments::abi::{self, calls};
use stencil_payments::eip712::Domain;
use stencil_payments::invoice::{Facets, Invoice, Method, State, Underpaid, Way};
use stencil_payments::matching::{MAX_ATTEMPTS, nonce};
use stencil_payments::money::Amount;
use stencil_payments::port::Chain;
use stencil_payments::uri::Link;
use stencil_payments::{Address, B256};

use super::Chains;
use super::cashier::{At, word};
use super::view::{self, MethodView, PaymentView, PriceView, Shown};

/// What a payer sees. Nothing else of the tenant's is in it.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct Checkout {
    /// Its id, which opens this invoice and nothing else.
    pub(crate) id: String,
    /// Grows with each change.
    pub(crate) version: u64,
    /// `new`, `seen`, `confirming`, `settled`, `expired` or `cancelled`.
    pub(crate) state: String,
    /// What else is to be said.
    #[schema(value_type = view::FacetsView)]
    pub(crate) facets: Facets,
    /// What it costs.
    pub(crate) price: PriceView,
    /// What is bought, in a line.
    pub(crate) title: Option<String>,
    /// The same at length.
    pub(crate) description: Option<String>,
    /// Where the payer goes afterwards.
    pub(crate) return_url: Option<String>,
    /// Until when it can be paid, µs since the epoch.
    pub(crate) expires_us: i64,
    /// The hub's time, by which the payer's clock can be told to be wrong.
    pub(crate) now_us: i64,
    /// Whether it can be paid now: it is open, and there is a way by which it can.
    pub(crate) payable: bool,
    /// Whether its time is not over and something is due, whether or not there is a way now.
    #[serde(skip)]
    pub(crate) is_open: bool,
    /// How.
    pub(crate) methods: Vec<Payable>,
    /// What has come.
    pub(crate) payments: Vec<Seen>,
    /// Payments that a reorganisation has taken out of their chains, and that may come back.
    pub(crate) lost: Vec<PaymentView>,
    /// What goes back or went.
    pub(crate) refunds: Vec<RefundSeen>,
}

/// A payment, and how deep it is.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct Seen {
    #[serde(flatten)]
    pub(crate) payment: PaymentView,
    /// Blocks from its own to the newest that was read, both counted.
    pub(crate) confirmations: u64,
}

/// Money that goes back.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct RefundSeen {
    /// Which refund: 64 hexadecimal digits.
    pub(crate) id: String,
    #[serde(flatten)]
    pub(crate) amount: Shown,
    /// Of which method.
    pub(crate) method: String,
    /// `due`, `sent`, `confirmed` or `withdrawn`.
    pub(crate) status: String,
    /// Where it goes; null: nobody has said so yet.
    pub(crate) to: Option<String>,
    /// The transaction, once it is known.
    pub(crate) tx: Option<String>,
    /// What a payer signs to say where it goes (EIP-191 `personal_sign`), with `{address}` in place of
    /// the address; null where it is said, or on its way. It is there again where sending it failed.
    pub(crate) confirm: Option<String>,
}

/// A way to pay, with all that a wallet needs.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct Payable {
    #[serde(flatten)]
    pub(crate) method: MethodView,
    /// Whether the invoice can be paid by it now.
    pub(crate) payable: bool,
    /// Why it can't be used now, whatever is due; there is nothing here to pay it with then, not even an address.
    /// What is paid on its chain is not seen at the moment (what was sent already counts once the chain is there
    /// again), or a part was paid, and what is missing can't be told by its amount.
    pub(crate) unusable: Option<String>,
    /// A link of EIP-681 that pays what is open; null where a link can't, and where nothing is to be paid any more.
    pub(crate) link: Option<String>,
    /// Transactions that pay what is open, in order, as `eth_sendTransaction` takes them but for `from`.
    #[schema(value_type = Vec<stencil_store::schema::Json>)]
    pub(crate) transactions: Vec<Value>,
    /// What is signed by `eth_signTypedData_v4`, with null in place of what the wallet and the payer fill
    /// in: `from` and `validBefore`.
    #[schema(value_type = Option<stencil_store::schema::Json>)]
    pub(crate) typed_data: Option<Value>,
    /// Which of the authorisations of one payer this is, from 0.
    pub(crate) attempt: Option<u8>,
    /// Its nonce, and those of the attempts after it: one that has come to nothing is not tried again.
    pub(crate) nonces: Vec<String>,
    /// Whether the hub brings the authorisation to the chain and pays for the gas. Not so where the tenant's limit
    /// leaves no room for it now, or too many for this invoice have failed.
    pub(crate) hub_pays_gas: bool,
    /// What a wallet that does not know the chain is told by `wallet_addEthereumChain` (EIP-3085); null
    /// where nobody has said it, and where the way can't be used now.
    #[schema(value_type = Option<stencil_store::schema::Json>)]
    pub(crate) add_chain: Option<Value>,
}

impl Checkout {
    /// `newest` are the newest blocks that were read, `full` the chains on which the tenant's limit has no room for
    /// an authorisation; both by EIP-155 chain id.
    pub(crate) fn of(
        at: &At,
        chains: &Chains,
        newest: &[(u64, u64)],
        full: &[u64],
        now_us: i64,
    ) -> Self {
        let invoice = &at.kept.invoice;
        let definition = invoice.definition();
        let about = &at.kept.about;
        let views = view::methods(invoice, chains);
        let is_open = payable(invoice, now_us);
        let methods = (0_u16..).zip(definition.methods.iter().zip(views));
        let methods: Vec<_> = methods
            .map(|(number, (method, view))| {
                Payable::of(invoice, number, method, view, chains, is_open)
            })
            .collect();
        let payments = view::payments(invoice, chains).into_iter();
        let keys = invoice.payments().map(|(key, _)| key.chain);
        let refunds = invoice.refunds().iter().map(|refund| {
            let method = definition.methods.get(usize::from(refund.method));
            let to = about.refunds_to.get(&refund.id);
            let waits = to.is_none_or(|to| to.is_worn_out(refund.failures))
                && refund.status() == stencil_payments::invoice::Status::Due;
            RefundSeen {
                id: refund.id.to_string(),
                amount: Shown {
                    amount: method
                        .map(|method| method.token.format(refund.amount))
                        .unwrap_or_default(),
                    units: refund.amount.to_string(),
                },
                method: method.map(|it| view::name(it, chains)).unwrap_or_default(),
                status: view::status(refund.status()).to_owned(),
                to: to.map(|to| to.address.to_checksum(None)),
                tx: refund.tx.map(|tx| format!("{tx:#x}")),
                confirm: waits.then(|| {
                    super::refund_address::statement(definition.id, refund.id, "{address}")
                }),
            }
        });
        Self {
            id: definition.id.to_string(),
            version: at.version,
            state: word(invoice.state()).to_owned(),
            facets: invoice.facets(),
            price: view::price(definition),
            title: about.title.clone(),
            description: about.description.clone(),
            return_url: about.return_url.clone(),
            expires_us: definition.expires_us,
            now_us,
            payable: is_open && methods.iter().any(|way| way.unusable.is_none()),
            is_open,
            methods: methods
                .into_iter()
                .map(|way| Payable {
                    payable: is_open && way.unusable.is_none(),
                    hub_pays_gas: way.hub_pays_gas
                        && about.brings()
                        && !full.contains(&way.method.chain_id),
                    ..way
                })
                .collect(),
            payments: keys
                .zip(payments)
                .map(|(chain, payment)| {
                    let newest = newest.iter().find(|(of, _)| *of == chain);
                    let blocks = newest.and_then(|(_, at)| at.checked_sub(payment.block));
                    Seen {
                        confirmations: blocks.map_or(1, |blocks| blocks.saturating_add(1)),
                        payment,
                    }
                })
                .collect(),
            lost: match invoice.state() {
                // What was paid instead is enough.
                State::Confirming | State::Settled => Vec::new(),
                _ => view::lost(invoice, chains),
            },
            refunds: refunds.collect(),
        }
    }
}

/// Whether it takes something now: its time is not over, and what is open finds a place.
pub(crate) fn payable(invoice: &Invoice, now_us: i64) -> bool {
    matches!(invoice.state(), State::New | State::Seen)
        && now_us <= invoice.definition().expires_us
        && (0_u16..)
            .zip(&invoice.definition().methods)
            .any(|(number, _)| invoice.takes(number, invoice.open(number).unwrap_or_default()))
}

/// Why what is open can't be paid by a method. A unique amount is known by being exactly that: any other is nobody's,
/// or that of another invoice. Nonces and the payment contract name the invoice, whatever is paid.
fn takes_no_rest(invoice: &Invoice, method: &Method, open: Amount) -> Option<String> {
    if method.way != Way::UniqueAmount || open == method.due {
        return None;
    }
    let without = match invoice.definition().policy.underpaid {
        Underpaid::Refund => "what has come goes back",
        Underpaid::Ask => "who has made the invoice decides what becomes of what has come",
    };
    Some(format!(
        "a part of the price was paid already, and what is missing can't be told by its amount; pay the rest by \
         another way. If it does not come until the time is over, {without}"
    ))
}

impl Payable {
    fn of(
        invoice: &Invoice,
        number: u16,
        method: &Method,
        view: MethodView,
        chains: &Chains,
        is_open: bool,
    ) -> Self {
        let asset = method.token.asset();
        let id = invoice.definition().id;
        let open = invoice.open(number).unwrap_or_default();
        let unusable = chains.usable(asset.chain).err().or_else(|| {
            let why = takes_no_rest(invoice, method, open);
            why.filter(|_| is_open)
        });
        let chain = chains.by_id(asset.chain).map(AsRef::as_ref);
        let chain_id = format!("{:#x}", asset.chain);
        let transaction = |to: Address, value: Amount, data: &[u8]| {
            json!({
                "chainId": chain_id,
                "to": to.to_checksum(None),
                "value": format!("{:#x}", value.0),
                "data": format!("0x{}", hex::encode(data)),
            })
        };
        let mut this = Self {
            method: view,
            payable: false,
            unusable,
            link: None,
            transactions: Vec::new(),
            typed_data: None,
            attempt: None,
            nonces: Vec::new(),
            hub_pays_gas: false,
            add_chain: chain.and_then(add_chain),
        };
        // Nobody is sent to where what they pay is not seen, or not known to be the invoice's: a wallet that passes
        // over `unusable` finds nothing to pay to.
        if this.unusable.is_some() {
            (this.method.payee, this.method.contract, this.add_chain) = (None, None, None);
            return this;
        }
        // What is over, called off or given back is not to be paid, whatever is missing of its price.
        if !is_open || open.is_zero() {
            return this;
        }
        match (method.way, asset.contract) {
            (Way::UniqueAmount, token) => {
                this.link = Some(Link::payment(asset, method.payee, open).to_string());
                this.transactions.push(match token {
                    None => transaction(method.payee, open, &[]),
                    Some(token) => {
                        transaction(token, Amount::ZERO, &calls::transfer(method.payee, open))
                    }
                });
            }
            (Way::Contract(contract), token) => {
                let named = abi::invoice_id(id);
                this.link = Some(Link::contract(asset, contract, named, open).to_string());
                match token {
                    None => {
                        let data = calls::pay_native(named);
                        this.transactions.push(transaction(contract, open, &data));
                    }
                    Some(token) => {
                        let zero = Amount::ZERO;
                        let approve = calls::approve(contract, open);
                        this.transactions.push(transaction(token, zero, &approve));
                        let pay = calls::pay(named, token, open);
                        this.transactions.push(transaction(contract, zero, &pay));
                    }
                }
            }
            (Way::Authorization, Some(token)) => {
                let attempt = attempt(invoice, number);
                let of = |attempt| nonce(asset.chain, token, method.payee, id, attempt);
                let nonce = of(attempt);
                let nonces = (attempt..MAX_ATTEMPTS).map(|attempt| format!("{:#x}", of(attempt)));
                this.nonces = nonces.collect();
                let domain = chain.and_then(|chain| domain(chain, token));
                this.typed_data = domain.map(|domain| typed(domain, method.payee, open, nonce));
                this.attempt = Some(attempt);
                this.hub_pays_gas = chain.is_some_and(|chain| chain.account().is_some());
            }
            _ => {}
        }
        this
    }
}

/// What a wallet that does not know the chain is told by `wallet_addEthereumChain` (EIP-3085); `None` where
/// nobody has said it.
pub(crate) fn add_chain(chain: &dyn Chain) -> Option<Value> {
    let told = chain.for_wallets()?;
    Some(json!({
        "chainId": format!("{:#x}", chain.id()),
        "chainName": told.name,
        "nativeCurrency": { "name": told.coin, "symbol": told.coin, "decimals": 18 },
        "rpcUrls": told.rpc_urls,
        "blockExplorerUrls": told.explorer.as_ref().map(|explorer| vec![explorer]),
    }))
}

/// The EIP-712 domain of a token, as the operator has set it and the chain has confirmed it.
pub(crate) fn domain(chain: &dyn Chain, token: Address) -> Option<&Domain> {
    let known = chain.tokens().iter();
    let mut known = known.filter(|known| known.token.asset().contract == Some(token));
    known.next()?.domain.as_ref()
}

/// Which authorisation is next: a payer can use each nonce once.
pub(crate) fn attempt(invoice: &Invoice, method: u16) -> u8 {
    let used = invoice
        .payments()
        .filter(|(_, payment)| payment.method == method);
    u8::try_from(used.count())
        .unwrap_or(u8::MAX)
        .min(MAX_ATTEMPTS - 1)
}

fn typed(domain: &Domain, payee: Address, value: Amount, nonce: B256) -> Value {
    let field = |name: &str, kind: &str| json!({ "name": name, "type": kind });
    json!({
        "types": {
            "EIP712Domain": [
                field("name", "string"), field("version", "string"), field("chainId", "uint256"),
                field("verifyingContract", "address"),
            ],
            "TransferWithAuthorization": [
                field("from", "address"), field("to", "address"), field("value", "uint256"),
                field("validAfter", "uint256"), field("validBefore", "uint256"),
                field("nonce", "bytes32"),
            ],
        },
        "primaryType": "TransferWithAuthorization",
        "domain": {
            "name": domain.name,
            "version": domain.version,
            "chainId": domain.chain,
            "verifyingContract": domain.token.to_checksum(None),
        },
        "message": {
            "from": Value::Null,
            "to": payee.to_checksum(None),
            "value": value.to_string(),
            "validAfter": "0",
            "validBefore": Value::Null,
            "nonce": format!("{nonce:#x}"),
        },
    })
}
