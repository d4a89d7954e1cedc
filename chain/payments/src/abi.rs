//! What contracts say and are told: the one place where their interface is written down.
//!
//! `StencilPayments` and `StencilEscrow` are in `chain/contracts`; ERC-20 and EIP-3009 are the
//! tokens' own. Amounts are base units, and the zero address stands for the native coin where a
//! token is named.

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::{SolEvent as _, SolValue as _, sol};

use crate::cause;
use crate::invoice;

pub mod calls;

sol! {
    /// ERC-20: a transfer.
    #[derive(Debug, PartialEq, Eq)]
    event Transfer(address indexed from, address indexed to, uint256 value);

    /// EIP-3009: an authorisation was used.
    #[derive(Debug, PartialEq, Eq)]
    event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);

    /// EIP-3009: an authorisation was cancelled by its payer, and can't be used any more.
    #[derive(Debug, PartialEq, Eq)]
    event AuthorizationCanceled(address indexed authorizer, bytes32 indexed nonce);

    /// ERC-20.
    function transfer(address to, uint256 value) external returns (bool);

    /// ERC-20: lets a contract take as much.
    function approve(address spender, uint256 value) external returns (bool);

    /// ERC-20.
    function balanceOf(address account) external view returns (uint256);

    /// EIP-1271: `0x1626ba7e` where a contract wallet takes a signature as its own.
    function isValidSignature(bytes32 hash, bytes signature) external view returns (bytes4);

    /// EIP-3009: brings an authorisation that anybody may bring.
    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;

    /// EIP-3009: whether a nonce was used or cancelled.
    function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);

    /// `StencilPayments`: a payment went to the payee; `received` is what counts.
    #[derive(Debug, PartialEq, Eq)]
    event Paid(
        bytes32 indexed invoiceId,
        address indexed payer,
        address indexed token,
        uint256 amount,
        uint256 received
    );

    /// `StencilPayments`: who is paid.
    function payee() external view returns (address);

    /// `StencilPayments`: pays with a token that was approved before.
    function pay(bytes32 invoiceId, address token, uint256 amount) external;

    /// `StencilPayments`: pays with the native coin.
    function payNative(bytes32 invoiceId) external payable;

    /// What a payer signed for a contract of ours, beside payer, amount and nonce.
    #[derive(Debug, PartialEq, Eq)]
    struct Signed {
        uint256 validAfter;
        uint256 validBefore;
        bytes signature;
    }

    /// `StencilPayments`: pays by a `ReceiveWithAuthorization` to the contract, whose nonce is
    /// [`payment_nonce`].
    function payWithAuthorization(
        bytes32 invoiceId,
        uint256 attempt,
        address token,
        address payer,
        uint256 amount,
        Signed authorization
    ) external;

    /// What payer, payee and operator of a hold agree on.
    #[derive(Debug, PartialEq, Eq)]
    struct Terms {
        bytes32 invoiceId;
        address payer;
        address payee;
        address operator;
        address token;
        uint256 amount;
        uint64 deadline;
    }

    /// `StencilEscrow`: holds the sender's money.
    function hold(Terms terms) external payable returns (bytes32 holdId);

    /// `StencilEscrow`: holds money by a `ReceiveWithAuthorization` to the contract over the whole
    /// amount, whose nonce is [`Terms::hold_id`].
    function holdWithAuthorization(Terms terms, Signed authorization)
        external
        returns (bytes32 holdId);

    /// `StencilEscrow`: pays `amount` to the payee and the rest back, by the operator before the
    /// deadline.
    function release(Terms terms, uint256 amount) external;

    /// `StencilEscrow`: pays all back, by the operator, or by anybody from the deadline on.
    function refund(Terms terms) external;

    /// `StencilEscrow`: 0 none, 1 held, 2 released, 3 refunded.
    function stateOf(bytes32 holdId) external view returns (uint8);

    /// `StencilEscrow`: money is held.
    #[derive(Debug, PartialEq, Eq)]
    event Held(
        bytes32 indexed holdId,
        bytes32 indexed invoiceId,
        address indexed payer,
        address payee,
        address operator,
        address token,
        uint256 amount,
        uint64 deadline
    );

    /// `StencilEscrow`: what was held went to the payee.
    #[derive(Debug, PartialEq, Eq)]
    event Released(
        bytes32 indexed holdId, bytes32 indexed invoiceId, uint256 captured, uint256 returned
    );

    /// `StencilEscrow`: what was held went back to the payer.
    #[derive(Debug, PartialEq, Eq)]
    event Refunded(bytes32 indexed holdId, bytes32 indexed invoiceId, uint256 amount);
}

/// Functions whose names others have too, with other arguments.
pub mod bytes_form {
    use alloy_sol_types::sol;

    sol! {
        /// EIP-3009 with a signature of any length, for contract wallets.
        function transferWithAuthorization(
            address from,
            address to,
            uint256 value,
            uint256 validAfter,
            uint256 validBefore,
            bytes32 nonce,
            bytes signature
        ) external;
    }
}

/// The first topic of [`Transfer`].
pub const TRANSFER: B256 = Transfer::SIGNATURE_HASH;
/// The first topic of [`AuthorizationUsed`].
pub const AUTHORIZATION_USED: B256 = AuthorizationUsed::SIGNATURE_HASH;
/// The first topic of [`Paid`].
pub const PAID: B256 = Paid::SIGNATURE_HASH;
/// The first topic of [`Released`].
pub const RELEASED: B256 = Released::SIGNATURE_HASH;

const NONCE_TYPE: &str =
    "StencilPayment(uint256 chainId,address payments,bytes32 invoiceId,uint256 attempt)";
const HOLD_TYPE: &str = "StencilHold(uint256 chainId,address escrow,bytes32 invoiceId,address payer,\
address payee,address operator,address token,uint256 amount,uint64 deadline)";

/// The 32 bytes by which contracts know an invoice: a hash, so that a chain's readers don't learn
/// the address of a checkout from it.
#[must_use]
pub fn invoice_id(id: invoice::Id) -> B256 {
    B256::from(cause::Key::of("stencil/contract-invoice", &[&id.0]).0)
}

/// The nonce of an authorisation for `StencilPayments`, as its `authorizationNonce` gives it.
#[must_use]
pub fn payment_nonce(chain: u64, payments: Address, invoice: B256, attempt: u64) -> B256 {
    let parts = (
        keccak256(NONCE_TYPE),
        U256::from(chain),
        payments,
        invoice,
        U256::from(attempt),
    );
    keccak256(parts.abi_encode())
}

impl Terms {
    /// The id of the hold in `StencilEscrow`, as its `holdIdOf` gives it, and the nonce of an
    /// authorisation that pays it.
    #[must_use]
    pub fn hold_id(&self, chain: u64, escrow: Address) -> B256 {
        let parts = (
            keccak256(HOLD_TYPE),
            U256::from(chain),
            escrow,
            self.invoiceId,
            self.payer,
            self.payee,
            self.operator,
            self.token,
            self.amount,
            self.deadline,
        );
        keccak256(parts.abi_encode())
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::b256;

    use super::*;

    /// The same by npm's viem.
    #[test]
    fn hashes_are_those_of_the_contracts() {
        let contract = Address::repeat_byte(0x11);
        let invoice = B256::repeat_byte(0x22);
        assert_eq!(
            payment_nonce(31_337, contract, invoice, 3),
            b256!("a7ebc421a90eb041815c454a6a2c5c8bf8b4e6068754882561935c58519ed9c7")
        );
        let terms = Terms {
            invoiceId: invoice,
            payer: Address::repeat_byte(0x33),
            payee: Address::repeat_byte(0x44),
            operator: Address::repeat_byte(0x55),
            token: Address::repeat_byte(0x66),
            amount: U256::from(1_000_000),
            deadline: 1_740_672_154,
        };
        assert_eq!(
            terms.hold_id(31_337, contract),
            b256!("225f61285fa535e1ad976d04631fa806a902ef910875fe1e058c216d958b48e4")
        );
    }

    #[test]
    fn what_is_named_is_bound() {
        let contract = Address::repeat_byte(1);
        let invoice = invoice_id(invoice::Id([7; 16]));
        let nonce = payment_nonce(1, contract, invoice, 0);
        for other in [
            payment_nonce(2, contract, invoice, 0),
            payment_nonce(1, Address::repeat_byte(2), invoice, 0),
            payment_nonce(1, contract, invoice_id(invoice::Id([8; 16])), 0),
            payment_nonce(1, contract, invoice, 1),
        ] {
            assert_ne!(other, nonce);
        }
    }
}
