// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {LowLevelCall} from "@openzeppelin/contracts/utils/LowLevelCall.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {Authorization, Eip3009} from "./Eip3009.sol";

/// @title Money held until a device has acted
/// @notice A payer's money lies here while a device does what can't be undone. The operator that the
/// terms name (the hub) releases it to the payee before the deadline, whole or in part, or refunds it;
/// from the deadline on it can only be refunded, and anybody may bring that about. Exactly one of the
/// two ever happens. Nobody else has a say: there is no owner, no fee, no pause and no upgrade.
///
/// A hold is known by the hash of its terms. Terms are not stored: who calls brings them along, and
/// the event {Held} has them all. So an id can't be taken by somebody else with other terms, and an
/// authorisation by EIP-3009, whose nonce is that hash, can't be used for other terms.
///
/// Amounts are in the smallest unit of the token, or in wei. Tokens that take a fee when they are
/// transferred are refused; those whose balances change by themselves must not be used.
contract StencilEscrow is ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @notice What payer, payee and operator agree on.
    struct Terms {
        /// What the payment is for, by the hub's number; never zero.
        bytes32 invoiceId;
        /// Whose money it is, and who gets back what is not captured.
        address payer;
        /// Who gets what is captured.
        address payee;
        /// Who says whether the device has acted.
        address operator;
        /// The token, or zero for the native coin.
        address token;
        /// How much is held; never zero.
        uint256 amount;
        /// Before this time, in seconds since 1970, it can be released; from then on only refunded.
        uint64 deadline;
    }

    /// @notice Where a hold is: each goes from none to held, and from there to one of the others.
    enum State {
        None,
        Held,
        Released,
        Refunded
    }

    /// @notice What stands for the native coin where a token is named.
    address public constant NATIVE = address(0);

    /// @notice The longest time from a hold to its deadline. A deadline in milliseconds is beyond it.
    uint256 public constant MAX_HOLD = 90 days;

    /// @notice What a hold's id is the hash of; see {holdIdOf}.
    bytes32 public constant HOLD_TYPEHASH = keccak256(
        "StencilHold(uint256 chainId,address escrow,bytes32 invoiceId,address payer,address payee,address operator,address token,uint256 amount,uint64 deadline)"
    );

    /// @dev What a recipient of the native coin may use of gas: enough for a wallet that is a
    /// contract, too little to make a release dear.
    uint256 private constant NATIVE_GAS = 30_000;

    /// @notice Where the hold with this id is.
    mapping(bytes32 holdId => State) public stateOf;

    /// @notice What could not be sent to whom it belongs (a recipient that refuses the native coin, or
    /// is blocked by the token), and waits for {withdraw}.
    mapping(address token => mapping(address account => uint256)) public owed;

    /// @notice Money is held.
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
    /// @notice The device has acted: `captured` is the payee's, `returned` the payer's again.
    event Released(bytes32 indexed holdId, bytes32 indexed invoiceId, uint256 captured, uint256 returned);
    /// @notice All is the payer's again.
    event Refunded(bytes32 indexed holdId, bytes32 indexed invoiceId, uint256 amount);
    /// @notice A recipient could not be paid; `amount` waits for it.
    event Deferred(bytes32 indexed holdId, address indexed account, address indexed token, uint256 amount);
    /// @notice What waited for `account` went to `to`.
    event Withdrawn(address indexed account, address indexed token, address to, uint256 amount);

    /// @notice The invoice id is zero.
    error ZeroInvoice();
    /// @notice Nothing is to be held, or captured; to capture nothing is a refund.
    error ZeroAmount();
    /// @notice An address of the terms can't have this part: it is zero, or this contract.
    error InvalidParty(address party);
    /// @notice There is no contract at this address: a wrong address, or the wrong chain.
    error NotAToken(address token);
    /// @notice The deadline is not after this block's time, or later than {MAX_HOLD} allows.
    error InvalidDeadline(uint64 deadline, uint256 earliest, uint256 latest);
    /// @notice Only the payer can place a hold without a signature.
    error NotThePayer(address payer, address sender);
    /// @notice Only the operator that the terms name can release.
    error NotTheOperator(address operator, address sender);
    /// @notice A hold with these terms was there before, whatever became of it.
    error AlreadyHeld(bytes32 holdId, State state);
    /// @notice There is nothing held under these terms: never was, or it is settled.
    error NotHeld(bytes32 holdId, State state);
    /// @notice What was sent of the native coin is not what the terms say (nothing, with a token).
    error WrongValue(uint256 expected, uint256 sent);
    /// @notice What arrived of the token is not what the terms say: it takes a fee, or lies.
    error WrongAmountReceived(uint256 expected, uint256 received);
    /// @notice More is to be captured than is held.
    error CaptureTooLarge(uint256 held, uint256 asked);
    /// @notice It can't be released any more, only refunded.
    error DeadlinePassed(uint64 deadline);
    /// @notice Before the deadline only the operator can refund.
    error DeadlineNotReached(uint64 deadline);
    /// @notice Native coin can't be held by an authorisation.
    error NativeNotAuthorizable();
    /// @notice Nothing waits for this account.
    error NothingOwed(address token, address account);
    /// @notice The recipient does not take the native coin.
    error RecipientRefused(address to);

    /// @notice Holds the sender's money: the native coin that is sent along, or tokens that were
    /// approved to this contract before.
    /// @return holdId The id under which it is held.
    function hold(Terms calldata terms) external payable nonReentrant returns (bytes32 holdId) {
        if (msg.sender != terms.payer) revert NotThePayer(terms.payer, msg.sender);
        holdId = _open(terms);
        uint256 expected = terms.token == NATIVE ? terms.amount : 0;
        if (msg.value != expected) revert WrongValue(expected, msg.value);
        if (terms.token != NATIVE) {
            uint256 before = IERC20(terms.token).balanceOf(address(this));
            IERC20(terms.token).safeTransferFrom(msg.sender, address(this), terms.amount);
            _requireArrived(terms, before);
        }
    }

    /// @notice Holds the payer's money by an EIP-3009 authorisation (`ReceiveWithAuthorization`) to this
    /// contract over the whole amount, whose nonce is {holdIdOf} of the terms. Anybody may bring it in:
    /// the signature fits these terms alone.
    /// @return holdId The id under which it is held.
    function holdWithAuthorization(Terms calldata terms, Authorization calldata authorization)
        external
        nonReentrant
        returns (bytes32 holdId)
    {
        if (terms.token == NATIVE) revert NativeNotAuthorizable();
        holdId = _open(terms);
        uint256 before = IERC20(terms.token).balanceOf(address(this));
        Eip3009.receiveAuthorized(terms.token, terms.payer, terms.amount, holdId, authorization);
        _requireArrived(terms, before);
    }

    /// @notice The device has acted: pays `amount` to the payee, and the rest back to the payer. By the
    /// operator, before the deadline.
    function release(Terms calldata terms, uint256 amount) external nonReentrant {
        if (msg.sender != terms.operator) revert NotTheOperator(terms.operator, msg.sender);
        // Holds are for minutes and more; who makes a block can shift its time by seconds.
        // slither-disable-next-line timestamp
        if (block.timestamp >= terms.deadline) revert DeadlinePassed(terms.deadline);
        if (amount == 0) revert ZeroAmount();
        if (amount > terms.amount) revert CaptureTooLarge(terms.amount, amount);
        bytes32 holdId = _close(terms, State.Released);
        uint256 rest = terms.amount - amount;
        emit Released(holdId, terms.invoiceId, amount, rest);
        _send(holdId, terms.token, terms.payee, amount);
        if (rest > 0) _send(holdId, terms.token, terms.payer, rest);
    }

    /// @notice The device has not acted: pays all back to the payer. By the operator at any time, by
    /// anybody from the deadline on.
    function refund(Terms calldata terms) external nonReentrant {
        // slither-disable-next-line timestamp
        if (msg.sender != terms.operator && block.timestamp < terms.deadline) {
            revert DeadlineNotReached(terms.deadline);
        }
        bytes32 holdId = _close(terms, State.Refunded);
        emit Refunded(holdId, terms.invoiceId, terms.amount);
        _send(holdId, terms.token, terms.payer, terms.amount);
    }

    /// @notice Sends what waits for the sender to `to`.
    function withdraw(address token, address to) external nonReentrant {
        if (to == address(0) || to == address(this)) revert InvalidParty(to);
        uint256 amount = owed[token][msg.sender];
        if (amount == 0) revert NothingOwed(token, msg.sender);
        owed[token][msg.sender] = 0;
        emit Withdrawn(msg.sender, token, to, amount);
        if (token == NATIVE) {
            if (!LowLevelCall.callNoReturn(to, amount, "")) revert RecipientRefused(to);
        } else {
            IERC20(token).safeTransfer(to, amount);
        }
    }

    /// @notice The id of a hold with these terms, on this chain, in this contract; and the nonce of
    /// the authorisation that pays it.
    function holdIdOf(Terms calldata terms) public view returns (bytes32) {
        return keccak256(abi.encode(HOLD_TYPEHASH, block.chainid, address(this), terms));
    }

    /// @dev Checks the terms, and takes their id for good.
    function _open(Terms calldata terms) private returns (bytes32 holdId) {
        if (terms.invoiceId == 0) revert ZeroInvoice();
        if (terms.amount == 0) revert ZeroAmount();
        _requireParty(terms.payer);
        _requireParty(terms.payee);
        _requireParty(terms.operator);
        if (terms.token != NATIVE && terms.token.code.length == 0) revert NotAToken(terms.token);
        // slither-disable-next-line timestamp
        if (terms.deadline <= block.timestamp || terms.deadline > block.timestamp + MAX_HOLD) {
            revert InvalidDeadline(terms.deadline, block.timestamp + 1, block.timestamp + MAX_HOLD);
        }
        holdId = holdIdOf(terms);
        State state = stateOf[holdId];
        if (state != State.None) revert AlreadyHeld(holdId, state);
        stateOf[holdId] = State.Held;
        emit Held(
            holdId,
            terms.invoiceId,
            terms.payer,
            terms.payee,
            terms.operator,
            terms.token,
            terms.amount,
            terms.deadline
        );
    }

    /// @dev Settles a hold for good, before any money moves.
    function _close(Terms calldata terms, State settled) private returns (bytes32 holdId) {
        holdId = holdIdOf(terms);
        State state = stateOf[holdId];
        if (state != State.Held) revert NotHeld(holdId, state);
        stateOf[holdId] = settled;
    }

    /// @dev Pays a recipient, or keeps it for it: the settlement stands whatever the recipient does. What
    /// it returns is not looked at, so that it can't fill memory.
    // Who is paid is in the terms, whose hash was held, and the state is settled before: no recipient
    // comes in again (nonReentrant), and what is owed to one is added to after the other was called.
    // slither-disable-next-line assembly
    function _send(bytes32 holdId, address token, address to, uint256 amount) private {
        bool sent;
        if (token == NATIVE) {
            assembly ("memory-safe") {
                sent := call(NATIVE_GAS, to, amount, 0, 0, 0, 0)
            }
        } else {
            sent = IERC20(token).trySafeTransfer(to, amount);
        }
        if (!sent) {
            owed[token][to] += amount;
            emit Deferred(holdId, to, token, amount);
        }
    }

    function _requireArrived(Terms calldata terms, uint256 before) private view {
        uint256 balance = IERC20(terms.token).balanceOf(address(this));
        uint256 received = balance < before ? 0 : balance - before;
        if (received != terms.amount) revert WrongAmountReceived(terms.amount, received);
    }

    function _requireParty(address party) private view {
        if (party == address(0) || party == address(this)) revert InvalidParty(party);
    }
}
