//! A payer's wallet beside the browser: it has a key and really signs. The page sees its provider
//! alone (`wallets.inject.js`), whose questions the test takes from there and answers.

use serde_json::{Value, json};
use stencil_payer::{Authorization, Call, Domain, Listing, Wallet as Key};
use stencil_payments::{Address, B256, U256};

use crate::Visit;
use crate::shop::{CHAIN_ID, Chain};
use crate::support::wait_for;

/// EIP-1193 and EIP-3085 name these.
const REJECTED: i64 = 4001;
const UNKNOWN_CHAIN: i64 = 4902;
/// JSON-RPC's for a method that is not there.
const NO_METHOD: i64 = -32_601;

/// A wallet with one account.
pub(crate) struct Wallet<'c> {
    chain: &'c Chain,
    key: Key,
    /// Which chain it is on.
    pub(crate) on: u64,
    /// Which it can change to.
    pub(crate) knows: Vec<u64>,
    /// The chains that it was told of.
    pub(crate) added: Vec<Value>,
    /// What its owner says no to.
    pub(crate) refuses: Option<&'static str>,
    /// What its owner has not decided yet.
    pub(crate) leaves_open: Option<&'static str>,
    /// The transactions that it has sent.
    pub(crate) sent: Vec<Value>,
    /// What it was asked, and by which of the two providers.
    pub(crate) asked: Vec<(String, String)>,
    /// The parameters of what is left open.
    pub(crate) open: Vec<Value>,
}

/// A code and a message.
pub(crate) struct Refused(i64, String);

impl<'c> Wallet<'c> {
    /// That of an account of the chain.
    pub(crate) fn new(chain: &'c Chain, account: usize) -> Self {
        Self {
            chain,
            key: Key::new(&chain.account(account).0, CHAIN_ID).unwrap(),
            on: CHAIN_ID,
            knows: vec![CHAIN_ID],
            added: Vec::new(),
            refuses: None,
            leaves_open: None,
            sent: Vec::new(),
            asked: Vec::new(),
            open: Vec::new(),
        }
    }

    pub(crate) fn address(&self) -> Address {
        self.key.address()
    }

    /// Signs a text, as a wallet on another device does.
    pub(crate) fn signs(&self, text: &str) -> String {
        let signature = self.key.sign_message(text.as_bytes()).unwrap();
        format!("0x{}", hex::encode(signature))
    }

    /// How often it was asked this.
    pub(crate) fn times(&self, method: &str) -> usize {
        self.asked
            .iter()
            .filter(|(_, asked)| asked == method)
            .count()
    }

    /// Answers what the page asks until there is something.
    pub(crate) fn until<T>(
        &mut self,
        visit: &Visit,
        what: &str,
        mut look: impl FnMut(&Self) -> Option<T>,
    ) -> T {
        wait_for(what, || {
            self.serves(visit);
            look(self)
        })
    }

    /// Answers what the page asks until it shows these words there.
    pub(crate) fn until_shown(&mut self, visit: &Visit, css: &str, words: &str) {
        let script = "return [...document.querySelectorAll(arguments[0])]
            .some((e) => e.checkVisibility() && e.innerText.includes(arguments[1]))";
        self.until(visit, &format!("«{words}» in {css}"), |_| {
            let shown = visit.browser.run_with(script, json!([css, words]));
            (shown == true).then_some(())
        });
    }

    fn serves(&mut self, visit: &Visit) {
        let asked = visit.browser.run("return testWallets.take()");
        for call in asked.as_array().expect("a list") {
            let method = call["method"].as_str().expect("a method").to_owned();
            let by = call["wallet"].as_str().expect("a wallet").to_owned();
            self.asked.push((by, method.clone()));
            if self.leaves_open == Some(method.as_str()) {
                self.open.push(call["params"].clone());
                continue;
            }
            let (result, error) = match self.answer(&method, &call["params"]) {
                Ok(result) => (result, Value::Null),
                Err(Refused(code, message)) => {
                    (Value::Null, json!({ "code": code, "message": message }))
                }
            };
            let script = "testWallets.answer(arguments[0], arguments[1], arguments[2])";
            visit
                .browser
                .run_with(script, json!([call["id"], result, error]));
        }
    }

    fn answer(&mut self, method: &str, params: &Value) -> Result<Value, Refused> {
        if self.refuses == Some(method) {
            return Err(Refused(REJECTED, "User rejected the request.".to_owned()));
        }
        let own = self.address().to_checksum(None);
        match method {
            "eth_requestAccounts" => Ok(json!([own.to_lowercase()])),
            "eth_chainId" => Ok(json!(format!("{:#x}", self.on))),
            "wallet_switchEthereumChain" => {
                let id = params[0]["chainId"].as_str().expect("a chain");
                let id = u64::from_str_radix(id.strip_prefix("0x").unwrap(), 16).unwrap();
                if !self.knows.contains(&id) {
                    return Err(Refused(UNKNOWN_CHAIN, "Unrecognized chain ID.".to_owned()));
                }
                self.on = id;
                Ok(Value::Null)
            }
            // Without a change to it, as EIP-3085 allows.
            "wallet_addEthereumChain" => {
                let id = params[0]["chainId"].as_str().expect("a chain");
                let id = u64::from_str_radix(id.strip_prefix("0x").unwrap(), 16).unwrap();
                self.added.push(params[0].clone());
                self.knows.push(id);
                Ok(Value::Null)
            }
            "eth_sendTransaction" => self.send(&params[0]),
            "eth_signTypedData_v4" => {
                assert_eq!(
                    params[0].as_str().unwrap().to_lowercase(),
                    own.to_lowercase()
                );
                let typed: Value =
                    serde_json::from_str(params[1].as_str().expect("a text")).unwrap();
                Ok(json!(format!("0x{}", hex::encode(self.authorize(&typed)))))
            }
            "personal_sign" => {
                assert_eq!(
                    params[1].as_str().unwrap().to_lowercase(),
                    own.to_lowercase()
                );
                let text = params[0].as_str().unwrap().strip_prefix("0x").unwrap();
                let text = String::from_utf8(hex::decode(text).unwrap()).unwrap();
                Ok(json!(self.signs(&text)))
            }
            "eth_call" | "eth_getBalance" | "eth_getTransactionReceipt" => self
                .chain
                .try_call(method, params)
                .map_err(|why| Refused(-32_000, why)),
            other => Err(Refused(NO_METHOD, format!("no method {other}"))),
        }
    }

    /// Signs what is asked, whoever may have asked it, and gives it to the chain.
    pub(crate) fn send(&mut self, asked: &Value) -> Result<Value, Refused> {
        let text = |name: &str| asked[name].as_str().unwrap_or_default();
        assert_eq!(
            text("from").to_lowercase(),
            self.address().to_string().to_lowercase()
        );
        assert_eq!(
            text("chainId"),
            format!("{:#x}", self.on),
            "for another chain"
        );
        let own = json!([self.address(), "pending"]);
        let nonce = self.chain.call("eth_getTransactionCount", &own);
        let nonce = nonce.as_str().unwrap().trim_start_matches("0x");
        let call = Call {
            to: text("to").parse::<Address>().unwrap().into(),
            input: text("data").parse().unwrap(),
            value: text("value").parse::<U256>().unwrap(),
            gas_limit: 300_000,
        };
        let raw = self
            .key
            .sign(u64::from_str_radix(nonce, 16).unwrap(), &call)
            .unwrap();
        let hash = self.chain.try_call("eth_sendRawTransaction", &json!([raw]));
        let hash = hash.map_err(|why| Refused(-32_000, why))?;
        self.sent.push(asked.clone());
        Ok(hash)
    }

    /// Signs typed data (EIP-712) that is a listing of a market, or what EIP-3009 says; a wallet shows it to its owner.
    fn authorize(&self, typed: &Value) -> [u8; 65] {
        if let Some(listing) = Listing::asked(typed) {
            assert_eq!(listing.seller, self.address());
            assert_eq!(listing.chain_id, self.on, "for another chain");
            return self.key.list(&listing).unwrap();
        }
        assert_eq!(typed["primaryType"], "TransferWithAuthorization", "{typed}");
        let fields = |name: &str| -> Vec<String> {
            let all = typed["types"][name].as_array().expect("a type").iter();
            all.map(|it| {
                format!(
                    "{} {}",
                    it["type"].as_str().unwrap(),
                    it["name"].as_str().unwrap()
                )
            })
            .collect()
        };
        assert_eq!(
            fields("TransferWithAuthorization"),
            [
                "address from",
                "address to",
                "uint256 value",
                "uint256 validAfter",
                "uint256 validBefore",
                "bytes32 nonce"
            ]
        );
        assert_eq!(
            fields("EIP712Domain"),
            [
                "string name",
                "string version",
                "uint256 chainId",
                "address verifyingContract"
            ]
        );
        let (domain, message) = (&typed["domain"], &typed["message"]);
        let text = |of: &Value, name: &str| of[name].as_str().expect("a text").to_owned();
        let id = domain["chainId"].as_u64().expect("a chain");
        assert_eq!(id, self.on, "a wallet signs for the chain that it is on");
        let domain = Domain {
            name: text(domain, "name"),
            version: text(domain, "version"),
            chain_id: id,
            token: text(domain, "verifyingContract").parse().unwrap(),
        };
        let authorization = Authorization {
            from: text(message, "from").parse().unwrap(),
            to: text(message, "to").parse().unwrap(),
            value: text(message, "value").parse().unwrap(),
            valid_after: text(message, "validAfter").parse().unwrap(),
            valid_before: text(message, "validBefore").parse().unwrap(),
            nonce: text(message, "nonce").parse::<B256>().unwrap(),
        };
        assert_eq!(authorization.from, self.address());
        self.key.authorize(&authorization, &domain).unwrap()
    }
}
