// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {LowLevelCall} from "@openzeppelin/contracts/utils/LowLevelCall.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {Authorization, Eip3009} from "./Eip3009.sol";

/// @title Payments of invoices to one payee
/// @notice Passes a payment on to the payee in the transaction in which it is made, and says in an
/// event for which invoice it was and what arrived. It keeps nothing, has no owner and can't be
/// changed: who the payee is was said when it was deployed.
///
/// An invoice may be paid in several parts, and more than once: what that means is the hub's to say,
/// by what arrived. Amounts are in the smallest unit of the token, or in wei.
///
/// What the payee must not do is pass tokens on while it receives them (from a hook): what arrived is
/// measured by its balance.
contract StencilPayments is ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @notice What stands for the native coin where a token is named.
    address public constant NATIVE = address(0);

    /// @notice What an EIP-3009 nonce for this contract is the hash of; see {authorizationNonce}.
    bytes32 public constant NONCE_TYPEHASH =
        keccak256("StencilPayment(uint256 chainId,address payments,bytes32 invoiceId,uint256 attempt)");

    /// @notice Who gets what is paid here.
    address public immutable payee;

    /// @notice A payment went to the payee.
    /// @param invoiceId The invoice that the payer named, or signed.
    /// @param payer Whose money it was: the sender, or the signer of the authorisation.
    /// @param token The token, or {NATIVE}.
    /// @param amount What was asked to be transferred.
    /// @param received What the payee has more by it: never above `amount`, and less where the token
    /// takes a fee. This is what counts.
    event Paid(
        bytes32 indexed invoiceId, address indexed payer, address indexed token, uint256 amount, uint256 received
    );

    /// @notice What lay here without an invoice, sent by mistake, went to the payee.
    event Swept(address indexed token, uint256 amount);

    /// @notice The payee is the zero address or this contract.
    error InvalidPayee(address payee);
    /// @notice The invoice id is zero, as that of a form that was not filled in.
    error ZeroInvoice();
    /// @notice Nothing is to be paid.
    error ZeroAmount();
    /// @notice There is no contract at this address: a wrong address, or the wrong chain.
    error NotAToken(address token);
    /// @notice The token reported success, and nothing arrived.
    error NothingReceived(address token);
    /// @notice The payee is a contract that does not take the native coin.
    error PayeeRefused(address payee);

    constructor(address payee_) {
        if (payee_ == address(0) || payee_ == address(this)) revert InvalidPayee(payee_);
        payee = payee_;
    }

    /// @notice Pays `amount` of `token`, which the sender has approved to this contract before.
    function pay(bytes32 invoiceId, address token, uint256 amount) external nonReentrant {
        _requirePayment(invoiceId, amount);
        _requireToken(token);
        uint256 received = _passOn(token, msg.sender, amount);
        emit Paid(invoiceId, msg.sender, token, amount, received);
    }

    /// @notice Pays with what is sent along of the native coin.
    function payNative(bytes32 invoiceId) external payable nonReentrant {
        _requirePayment(invoiceId, msg.value);
        emit Paid(invoiceId, msg.sender, NATIVE, msg.value, msg.value);
        _sendNative(msg.value);
    }

    /// @notice Pays by an EIP-3009 authorisation (`ReceiveWithAuthorization`) to this contract whose
    /// nonce is {authorizationNonce} of the invoice. Anybody may bring it in: the signature fits this
    /// invoice alone, and the token gives the money to this contract alone.
    /// @param attempt Which of several payments of this payer for the invoice it is, from 0: a nonce
    /// is good for one.
    function payWithAuthorization(
        bytes32 invoiceId,
        uint256 attempt,
        address token,
        address payer,
        uint256 amount,
        Authorization calldata authorization
    ) external nonReentrant {
        _requirePayment(invoiceId, amount);
        _requireToken(token);
        uint256 before = IERC20(token).balanceOf(address(this));
        Eip3009.receiveAuthorized(token, payer, amount, authorizationNonce(invoiceId, attempt), authorization);
        uint256 received = _passOn(token, address(this), _arrived(token, address(this), before, amount));
        emit Paid(invoiceId, payer, token, amount, received);
    }

    /// @notice Passes on to the payee what lies here: this contract holds nothing for anybody, so that
    /// it can only have been sent by mistake. Anybody may ask for it.
    function sweep(address token) external nonReentrant {
        // That nothing is there is compared for a clear error alone; whoever sends something has it
        // passed on.
        // slither-disable-start incorrect-equality
        uint256 amount;
        if (token == NATIVE) {
            amount = address(this).balance;
            if (amount == 0) revert ZeroAmount();
            emit Swept(token, amount);
            _sendNative(amount);
        } else {
            _requireToken(token);
            amount = IERC20(token).balanceOf(address(this));
            if (amount == 0) revert ZeroAmount();
            emit Swept(token, amount);
            IERC20(token).safeTransfer(payee, amount);
        }
        // slither-disable-end incorrect-equality
    }

    /// @notice The nonce with which an authorisation pays this invoice: it names chain, contract,
    /// invoice and attempt, and so fits no other.
    function authorizationNonce(bytes32 invoiceId, uint256 attempt) public view returns (bytes32) {
        return keccak256(abi.encode(NONCE_TYPEHASH, block.chainid, address(this), invoiceId, attempt));
    }

    /// @dev Moves tokens from `from` (the sender, or this contract) to the payee; gives what arrived.
    function _passOn(address token, address from, uint256 amount) private returns (uint256) {
        uint256 before = IERC20(token).balanceOf(payee);
        if (from == address(this)) {
            IERC20(token).safeTransfer(payee, amount);
        } else {
            IERC20(token).safeTransferFrom(msg.sender, payee, amount);
        }
        return _arrived(token, payee, before, amount);
    }

    /// @dev What `account` has more of `token` than `before`; at most `amount`, since more can only
    /// have come from elsewhere, while the token called somebody, and may be counted there.
    function _arrived(address token, address account, uint256 before, uint256 amount) private view returns (uint256) {
        uint256 balance = IERC20(token).balanceOf(account);
        if (balance <= before) revert NothingReceived(token);
        return Math.min(balance - before, amount);
    }

    function _sendNative(uint256 amount) private {
        if (!LowLevelCall.callNoReturn(payee, amount, "")) revert PayeeRefused(payee);
    }

    function _requirePayment(bytes32 invoiceId, uint256 amount) private pure {
        if (invoiceId == 0) revert ZeroInvoice();
        if (amount == 0) revert ZeroAmount();
    }

    function _requireToken(address token) private view {
        if (token.code.length == 0) revert NotAToken(token);
    }
}
