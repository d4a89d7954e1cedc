// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Authorization} from "../src/Eip3009.sol";
import {DevDollar} from "../dev/DevDollar.sol";
import {FeeToken} from "../dev/hostile/FeeToken.sol";
import {StencilPayments} from "../src/StencilPayments.sol";
import {Signing, World} from "./support/World.sol";
import {Vm, vm} from "./support/Vm.sol";

/// Pays in every way, in any order, and adds up what the events say.
contract PaymentsHandler {
    StencilPayments private immutable _payments;
    DevDollar private immutable _dollar;
    FeeToken private immutable _fee;
    uint256[3] private _keys = [uint256(0x11), 0x22, 0x33];

    /// What the events said that arrived, and what they said was asked for.
    mapping(address token => uint256) public received;
    mapping(address token => uint256) public asked;
    mapping(address token => uint256) public swept;
    mapping(bytes32 invoiceId => uint256) private _attempts;
    uint256 public calls;

    constructor(StencilPayments payments, DevDollar dollar, FeeToken fee) {
        _payments = payments;
        _dollar = dollar;
        _fee = fee;
    }

    function pay(uint256 payer, uint256 invoice, uint256 amount, bool withFee) external {
        DevDollar token = withFee ? DevDollar(_fee) : _dollar;
        address from = vm.addr(_keys[payer % 3]);
        amount = amount % 1e12 + 1;
        token.mint(from, amount);
        vm.prank(from);
        token.approve(address(_payments), amount);
        vm.recordLogs();
        vm.prank(from);
        _payments.pay(_invoice(invoice), address(token), amount);
        _count();
    }

    function payNative(uint256 payer, uint256 invoice, uint256 amount) external {
        address from = vm.addr(_keys[payer % 3]);
        amount = amount % 1e24 + 1;
        vm.deal(from, amount);
        vm.recordLogs();
        vm.prank(from);
        _payments.payNative{value: amount}(_invoice(invoice));
        _count();
    }

    function payWithAuthorization(uint256 payer, uint256 invoice, uint256 amount, bool withFee) external {
        DevDollar token = withFee ? DevDollar(_fee) : _dollar;
        uint256 key = _keys[payer % 3];
        amount = amount % 1e12 + 1;
        token.mint(vm.addr(key), amount);
        bytes32 invoiceId = _invoice(invoice);
        uint256 attempt = _attempts[invoiceId]++;
        bytes32 structHash = keccak256(
            abi.encode(
                Signing.RECEIVE,
                vm.addr(key),
                address(_payments),
                amount,
                uint256(0),
                type(uint256).max,
                _payments.authorizationNonce(invoiceId, attempt)
            )
        );
        Authorization memory authorization = Authorization({
            validAfter: 0,
            validBefore: type(uint256).max,
            signature: Signing.sign(key, Signing.digest(token, structHash))
        });
        vm.recordLogs();
        _payments.payWithAuthorization(invoiceId, attempt, address(token), vm.addr(key), amount, authorization);
        _count();
        // A second time it is worth nothing.
        (bool again,) = address(_payments).call(
            abi.encodeCall(
                StencilPayments.payWithAuthorization,
                (invoiceId, attempt, address(token), vm.addr(key), amount, authorization)
            )
        );
        require(!again, "replayed");
    }

    /// Money sent past the functions, and somebody who has it passed on.
    function sendByMistake(uint256 amount, bool withFee) external {
        DevDollar token = withFee ? DevDollar(_fee) : _dollar;
        amount = amount % 1e12 + 1;
        token.mint(address(_payments), amount);
        vm.recordLogs();
        _payments.sweep(address(token));
        _count();
    }

    function _invoice(uint256 number) private pure returns (bytes32) {
        return keccak256(abi.encode(number % 4));
    }

    function _count() private {
        calls++;
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; i++) {
            Vm.Log memory log = logs[i];
            if (log.emitter != address(_payments)) continue;
            if (log.topics[0] == StencilPayments.Paid.selector) {
                (uint256 amount, uint256 arrived) = abi.decode(log.data, (uint256, uint256));
                address token = address(uint160(uint256(log.topics[3])));
                asked[token] += amount;
                received[token] += arrived;
            } else if (log.topics[0] == StencilPayments.Swept.selector) {
                swept[address(uint160(uint256(log.topics[1])))] += abi.decode(log.data, (uint256));
            }
        }
    }
}

/// Whatever is paid by whomever: what the events say is what the payee has.
contract StencilPaymentsInvariants is World {
    PaymentsHandler private _handler;
    FeeToken private _fee;

    function setUp() public override {
        super.setUp();
        _fee = new FeeToken(250);
        _handler = new PaymentsHandler(payments, dollar, _fee);
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function invariant_the_payee_has_what_the_events_say() public view {
        vm.assertEq(
            dollar.balanceOf(payee),
            1 + _handler.received(address(dollar)) + _handler.swept(address(dollar)),
            "dollar"
        );
        vm.assertEq(payee.balance, 1 ether + _handler.received(NATIVE), "coin");
        // What is swept of a token with a fee arrives without it, and is credited to no invoice.
        vm.assertLe(
            _fee.balanceOf(payee),
            _handler.received(address(_fee)) + _handler.swept(address(_fee)),
            "fee token"
        );
        vm.assertLe(_handler.received(address(_fee)), _fee.balanceOf(payee), "fee token is there");
    }

    function invariant_nothing_stays_in_the_contract() public view {
        vm.assertEq(dollar.balanceOf(address(payments)), 0, "dollar");
        vm.assertEq(_fee.balanceOf(address(payments)), 0, "fee token");
        vm.assertEq(address(payments).balance, 0, "coin");
    }

    function invariant_no_more_arrives_than_was_asked_for() public view {
        vm.assertEq(_handler.received(address(dollar)), _handler.asked(address(dollar)), "dollar");
        vm.assertEq(_handler.received(NATIVE), _handler.asked(NATIVE), "coin");
        vm.assertLe(_handler.received(address(_fee)), _handler.asked(address(_fee)), "fee token");
    }

    /// So that the others are about something.
    function afterInvariant() public view {
        vm.assertGt(_handler.calls(), 0, "the handler was called");
    }
}
