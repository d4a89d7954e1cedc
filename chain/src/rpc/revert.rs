//! Why a contract reverted, as far as its bytes say: `Error(string)`, `Panic(uint256)`, and custom errors
//! whose names are known. Pure.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use alloy_dyn_abi::ErrorExt as _;
use alloy_json_abi::Error;
use alloy_primitives::Bytes;
use alloy_sol_types::{Panic, Revert as Said, SolError as _};
use serde_json::Value;
use serde_json::value::RawValue;

use super::failure::cut;
use crate::event::shown;

/// The most bytes that are looked at, and kept to compare.
const MAX_DATA: usize = 4 * 1024;
/// The most bytes of an error that nobody knows that are shown.
const SHOWN: usize = 68;
/// The longest text, in characters.
const MAX_TEXT: usize = 300;

/// Errors of our contracts, of OpenZeppelin's tokens (ERC-6093) and of what these use.
const KNOWN: [&str; 87] = [
    // ERC-20, and how it is called.
    "ERC20InsufficientAllowance(address spender,uint256 allowance,uint256 needed)",
    "ERC20InsufficientBalance(address sender,uint256 balance,uint256 needed)",
    "ERC20InvalidApprover(address approver)",
    "ERC20InvalidReceiver(address receiver)",
    "ERC20InvalidSender(address sender)",
    "ERC20InvalidSpender(address spender)",
    "ERC2612ExpiredSignature(uint256 deadline)",
    "ERC2612InvalidSigner(address signer,address owner)",
    "ERC3009InvalidAuthorizationTime(uint256 validAfter,uint256 validBefore)",
    "ERC3009InvalidSignature()",
    "ERC3009UsedAuthorization(address authorizer,bytes32 nonce)",
    "SafeERC20FailedOperation(address token)",
    // ERC-721 and ERC-2981.
    "ERC721IncorrectOwner(address sender,uint256 tokenId,address owner)",
    "ERC721InsufficientApproval(address operator,uint256 tokenId)",
    "ERC721InvalidApprover(address approver)",
    "ERC721InvalidOperator(address operator)",
    "ERC721InvalidOwner(address owner)",
    "ERC721InvalidReceiver(address receiver)",
    "ERC721InvalidSender(address sender)",
    "ERC721NonexistentToken(uint256 tokenId)",
    "ERC2981InvalidDefaultRoyalty(uint256 numerator,uint256 denominator)",
    "ERC2981InvalidDefaultRoyaltyReceiver(address receiver)",
    "ERC2981InvalidTokenRoyalty(uint256 tokenId,uint256 numerator,uint256 denominator)",
    "ERC2981InvalidTokenRoyaltyReceiver(uint256 tokenId,address receiver)",
    // What contracts of OpenZeppelin are built on.
    "AccessControlBadConfirmation()",
    "AccessControlUnauthorizedAccount(address account,bytes32 neededRole)",
    "ECDSAInvalidSignature()",
    "ECDSAInvalidSignatureLength(uint256 length)",
    "ECDSAInvalidSignatureS(bytes32 s)",
    "EnforcedPause()",
    "InvalidShortString()",
    "OwnableUnauthorizedAccount(address account)",
    "Paused()",
    "ReentrancyGuardReentrantCall()",
    "SafeCastOverflowedUintDowncast(uint8 bits,uint256 value)",
    "StringTooLong(string str)",
    // StencilPayments and StencilEscrow.
    "AlreadyHeld(bytes32 holdId,uint8 state)",
    "CaptureTooLarge(uint256 held,uint256 asked)",
    "DeadlineNotReached(uint64 deadline)",
    "DeadlinePassed(uint64 deadline)",
    "InvalidDeadline(uint64 deadline,uint256 earliest,uint256 latest)",
    "InvalidParty(address party)",
    "InvalidPayee(address payee)",
    "NativeNotAuthorizable()",
    "NotAToken(address token)",
    "NotHeld(bytes32 holdId,uint8 state)",
    "NotTheOperator(address operator,address sender)",
    "NotThePayer(address payer,address sender)",
    "NothingOwed(address token,address account)",
    "NothingReceived(address token)",
    "PayeeRefused(address payee)",
    "RecipientRefused(address to)",
    "WrongAmountReceived(uint256 expected,uint256 received)",
    "WrongValue(uint256 expected,uint256 sent)",
    "ZeroAmount()",
    "ZeroInvoice()",
    // DevicePassport, AccessRight and StencilMarket; StencilAnchor.
    "NotMoney(address token)",
    "AlreadyIssued(uint256 tokenId)",
    "Expired(uint64 expires,uint256 time)",
    "ExpiryTooFar(uint64 expires,uint256 latest)",
    "InvalidDid(string did)",
    "InvalidEnd(uint64 ends,uint256 earliest,uint256 latest)",
    "InvalidExpiry(uint64 expires,uint256 earliest,uint64 ends)",
    "NoAdministrator()",
    "NoDevice()",
    "NoTerms()",
    "NotAllowed(uint256 tokenId,address sender)",
    "InvalidRoyalty(address receiver,uint96 royalty)",
    "NoMetadata()",
    "NotProposed(bytes32 proposed,bytes32 metadata)",
    "NotTheOwner(address owner,address sender)",
    "SameMetadata(bytes32 metadata)",
    "InvalidInterval(uint64 start,uint64 end)",
    "NotOver(uint64 end,uint256 time)",
    "NotTheHead(bytes32 head,bytes32 previous)",
    "Overlaps(uint64 start,uint64 end)",
    "ZeroRoot()",
    "InvalidSignature(address seller,bytes32 digest)",
    "NotAContract(address account)",
    "NotDelivered(address collection,uint256 tokenId)",
    "NotOpen(address seller,uint256 nonce,uint8 state)",
    "OwnListing(address seller)",
    "ProceedsTooLow(uint256 proceeds,uint256 received)",
    "RoyaltyTooHigh(uint256 price,uint256 royalty)",
    "ZeroPrice()",
    "Blocked(address account)",
    "AllowanceNotZero()",
];

/// What a contract that reverts leaves behind, or a call that ends otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revert {
    /// The bytes that it gave, cut; `None`: the endpoint has not said which.
    data: Option<Bytes>,
    /// It was not reverted, but ended otherwise: out of gas, out of coins.
    halted: bool,
    /// The endpoint's words.
    said: String,
}

impl Revert {
    /// Of an endpoint's error.
    pub(super) fn of(message: &str, data: Option<&RawValue>) -> Self {
        let data = data.and_then(bytes);
        Self {
            halted: data.is_none() && !message.to_lowercase().contains("revert"),
            said: cut(message),
            data,
        }
    }

    /// The bytes that it gave, cut to 4 KiB; `None`: the endpoint has not said which.
    pub fn data(&self) -> Option<&[u8]> {
        self.data.as_ref().map(|data| &data[..])
    }

    /// Whether both came to the same end, whatever words nodes have for it. One that does not tell the
    /// bytes contradicts nobody who does.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.halted == other.halted
            && match (&self.data, &other.data) {
                (Some(one), Some(other)) => one == other,
                _ => true,
            }
    }
}

impl std::fmt::Display for Revert {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.data.as_deref() {
            Some(data) if !data.is_empty() => f.write_str(&told(data)),
            _ => f.write_str(&self.said),
        }
    }
}

/// A string of hexadecimal digits, or an object that has one as `data`, as nodes write it.
fn bytes(data: &RawValue) -> Option<Bytes> {
    let data: Value = serde_json::from_str(data.get()).ok()?;
    let text = match &data {
        Value::String(text) => text,
        Value::Object(fields) => fields.get("data")?.as_str()?,
        _ => return None,
    };
    let digits = text.trim_start_matches("Reverted ").strip_prefix("0x")?;
    let most = digits.len().min(2 * MAX_DATA);
    hex::decode(digits.get(..most)?).ok().map(Bytes::from)
}

/// In words.
fn told(data: &[u8]) -> String {
    if let Ok(said) = Said::abi_decode(data) {
        return bounded(&said.reason);
    }
    if let Ok(panic) = Panic::abi_decode(data) {
        return bounded(&panic.to_string());
    }
    if let Some(told) = known(data) {
        return bounded(&told);
    }
    let shown = &data[..data.len().min(SHOWN)];
    let more = data.len() - shown.len();
    let rest = if more > 0 {
        format!("… and {more} bytes more")
    } else {
        String::new()
    };
    format!("custom error 0x{}{rest}", hex::encode(shown))
}

/// An error of which name and arguments are known: `DeadlinePassed(deadline: 7)`.
fn known(data: &[u8]) -> Option<String> {
    let selector: [u8; 4] = data.get(..4)?.try_into().ok()?;
    let error = BY_SELECTOR.get(&selector)?;
    let decoded = error.decode_error(data).ok()?;
    let arguments = error.inputs.iter().zip(&decoded.body);
    let arguments: Vec<String> = arguments
        .map(|(input, value)| match shown(value) {
            Value::String(text) => format!("{}: {text}", input.name),
            value => format!("{}: {value}", input.name),
        })
        .collect();
    Some(format!("{}({})", error.name, arguments.join(", ")))
}

static BY_SELECTOR: LazyLock<BTreeMap<[u8; 4], Error>> = LazyLock::new(|| {
    let errors = KNOWN
        .iter()
        .filter_map(|written| Error::parse(&format!("error {written}")).ok());
    errors.map(|error| (error.selector().0, error)).collect()
});

/// A contract's words are a stranger's.
fn bounded(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_TEXT)
        .collect()
}

#[cfg(test)]
mod tests {
    use alloy_sol_types::{SolCall as _, SolValue as _};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn raw(value: &Value) -> Box<RawValue> {
        serde_json::value::to_raw_value(value).unwrap()
    }

    fn reverted(data: &[u8]) -> Revert {
        let data = raw(&json!(format!("0x{}", hex::encode(data))));
        Revert::of("execution reverted", Some(&data))
    }

    /// Each error of each contract that we have.
    #[test]
    fn what_our_contracts_say_has_names() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/contracts/artifacts");
        let mut seen = 0;
        for folder in [folder.to_owned(), format!("{folder}/dev")] {
            for file in std::fs::read_dir(folder).unwrap() {
                let path = file.unwrap().path();
                if path.extension().is_none_or(|ext| ext != "json") {
                    continue;
                }
                let artifact: Value =
                    serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
                let abi: alloy_json_abi::JsonAbi =
                    serde_json::from_value(artifact["abi"].clone()).unwrap();
                for error in abi.errors() {
                    let known = BY_SELECTOR.get(&error.selector().0).map(Error::signature);
                    assert_eq!(known, Some(error.signature()), "{}", path.display());
                    seen += 1;
                }
            }
        }
        assert!(seen > 100, "{seen}");
        assert_eq!(BY_SELECTOR.len(), KNOWN.len(), "each can be read, and once");
    }

    #[test]
    fn errors_are_told_with_their_arguments() {
        alloy_sol_types::sol! {
            function ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed);
        }
        let call = ERC20InsufficientBalanceCall {
            sender: alloy_primitives::Address::repeat_byte(0xcc),
            balance: alloy_primitives::U256::from(5),
            needed: alloy_primitives::U256::from(10),
        };
        assert_eq!(
            reverted(&call.abi_encode()).to_string(),
            format!(
                "ERC20InsufficientBalance(sender: {}, balance: 5, needed: 10)",
                call.sender
            )
        );
        let said = Said::from("paused for now\u{1b}[2J".to_owned()).abi_encode();
        assert_eq!(reverted(&said).to_string(), "paused for now [2J");
        let panic = Panic::from(0x11_u64).abi_encode();
        assert!(reverted(&panic).to_string().contains("0x11"));
        // A name that is known, with bytes that are not its arguments.
        let broken = &call.abi_encode()[..40];
        assert!(reverted(broken).to_string().starts_with("custom error 0x"));
        let long = [vec![1, 2, 3, 4], ("x".repeat(5_000),).abi_encode()].concat();
        let told = reverted(&long).to_string();
        assert!(
            told.starts_with("custom error 0x01020304") && told.len() < 200,
            "{told}"
        );
        assert!(told.ends_with("bytes more"), "{told}");
        assert_eq!(reverted(&[]).to_string(), "execution reverted");
    }

    #[test]
    fn nodes_agree_by_what_happened_and_not_by_their_words() {
        let data = |data: Value| raw(&data);
        let geth = Revert::of("execution reverted", Some(&data(json!("0x01020304"))));
        let besu = Revert::of("Execution reverted (0x…)", Some(&data(json!("0x01020304"))));
        let parity = Revert::of(
            "VM execution error.",
            Some(&data(json!("Reverted 0x01020304"))),
        );
        let hardhat = Revert::of(
            "Error: VM Exception while processing transaction: reverted",
            Some(&data(json!({ "message": "…", "data": "0x01020304" }))),
        );
        let silent = Revert::of("execution reverted", None);
        let other = Revert::of("execution reverted", Some(&data(json!("0x05060708"))));
        let starved = Revert::of("out of gas", None);
        for same in [&besu, &parity, &hardhat, &silent] {
            assert!(geth.is_same(same) && same.is_same(&geth), "{same:?}");
        }
        for differs in [&other, &starved] {
            assert!(!geth.is_same(differs), "{differs:?}");
        }
        assert!(starved.is_same(&Revert::of("EVM error OutOfGas", None)));
    }

    proptest! {
        #[test]
        fn whatever_a_contract_says_is_told_within_bounds(data in proptest::collection::vec(any::<u8>(), 0..600), at in 0..KNOWN.len()) {
            let selector = BY_SELECTOR.keys().nth(at % BY_SELECTOR.len()).unwrap();
            for data in [data.clone(), [selector.as_slice(), data.as_slice()].concat()] {
                let told = reverted(&data).to_string();
                prop_assert!(told.chars().count() <= MAX_TEXT && !told.chars().any(char::is_control));
            }
        }
    }
}
