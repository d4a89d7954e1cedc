// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Authorization} from "../src/Eip3009.sol";
import {BlockingToken} from "../dev/hostile/BlockingToken.sol";
import {StencilEscrow} from "../src/StencilEscrow.sol";
import {Refuser} from "./support/Recipients.sol";
import {Signing, World} from "./support/World.sol";
import {Vm, vm} from "./support/Vm.sol";

/// Holds, releases, refunds and withdraws in any order and by anybody, in a token that now and then
/// blocks a party and in coin that a party refuses, while time passes; and keeps books by the events.
contract EscrowHandler {
    StencilEscrow private immutable _escrow;
    BlockingToken private immutable _token;
    address private constant NATIVE = address(0);
    address private constant OPERATOR = address(0x09e7a);

    uint256[3] private _keys = [uint256(0x11), 0x22, 0x33];
    address[3] private _payees;
    StencilEscrow.Terms[] private _holds;

    /// By token: what was put in, what is in open holds, and what waits for withdrawal, as the events say.
    mapping(address token => uint256) public putIn;
    mapping(address token => uint256) public open;
    mapping(address token => uint256) public waiting;
    mapping(address token => uint256) public captured;
    mapping(address token => uint256) public givenBack;
    /// How often each hold was settled.
    mapping(bytes32 holdId => uint256) public settlements;
    uint256 public most;
    uint256 public releases;
    uint256 public refunds;
    uint256 public deferrals;

    constructor(StencilEscrow escrow, BlockingToken token) {
        _escrow = escrow;
        _token = token;
        _payees = [address(0x9a1), address(0x9a2), address(new Refuser())];
    }

    function hold(uint256 party, uint256 amount, uint256 deadline, bool native) external {
        StencilEscrow.Terms memory terms = _terms(party, amount, deadline, native);
        vm.recordLogs();
        if (native) {
            vm.deal(terms.payer, terms.amount);
            vm.prank(terms.payer);
            _escrow.hold{value: terms.amount}(terms);
        } else {
            _mint(terms);
            vm.prank(terms.payer);
            _token.approve(address(_escrow), terms.amount);
            vm.prank(terms.payer);
            _escrow.hold(terms);
        }
        _book(terms);
        _holds.push(terms);
    }

    function holdWithAuthorization(uint256 party, uint256 amount, uint256 deadline) external {
        StencilEscrow.Terms memory terms = _terms(party, amount, deadline, false);
        _mint(terms);
        bytes32 structHash = keccak256(
            abi.encode(
                Signing.RECEIVE,
                terms.payer,
                address(_escrow),
                terms.amount,
                uint256(0),
                type(uint256).max,
                _escrow.holdIdOf(terms)
            )
        );
        Authorization memory authorization = Authorization({
            validAfter: 0,
            validBefore: type(uint256).max,
            signature: Signing.sign(_keys[party % 3], Signing.digest(_token, structHash))
        });
        vm.recordLogs();
        _escrow.holdWithAuthorization(terms, authorization);
        _book(terms);
        _holds.push(terms);
    }

    /// By the operator or by somebody else, of whatever hold, settled or not.
    function release(uint256 which, uint256 amount, bool byOperator) external {
        if (_holds.length == 0) return;
        StencilEscrow.Terms memory terms = _holds[which % _holds.length];
        amount = amount % (terms.amount + 2);
        _attempt(terms, byOperator ? OPERATOR : terms.payer, abi.encodeCall(StencilEscrow.release, (terms, amount)));
    }

    function refund(uint256 which, bool byOperator) external {
        if (_holds.length == 0) return;
        StencilEscrow.Terms memory terms = _holds[which % _holds.length];
        _attempt(terms, byOperator ? OPERATOR : terms.payer, abi.encodeCall(StencilEscrow.refund, (terms)));
    }

    function withdraw(uint256 party, bool asPayer, bool native) external {
        address account = asPayer ? vm.addr(_keys[party % 3]) : _payees[party % 3];
        address token = native ? NATIVE : address(_token);
        vm.recordLogs();
        vm.prank(account);
        (bool ok,) = address(_escrow).call(abi.encodeCall(StencilEscrow.withdraw, (token, address(0x777))));
        if (!ok) return;
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; i++) {
            if (logs[i].topics[0] != StencilEscrow.Withdrawn.selector) continue;
            (, uint256 amount) = abi.decode(logs[i].data, (address, uint256));
            waiting[token] -= amount;
        }
    }

    function setBlocked(uint256 party, bool asPayer, bool blocked) external {
        _token.setBlocked(asPayer ? vm.addr(_keys[party % 3]) : _payees[party % 3], blocked);
    }

    function passTime(uint256 seconds_) external {
        vm.warp(block.timestamp + seconds_ % 30 minutes);
    }

    function _attempt(StencilEscrow.Terms memory terms, address sender, bytes memory data) private {
        vm.recordLogs();
        vm.prank(sender);
        (bool ok,) = address(_escrow).call(data);
        if (ok) _book(terms);
    }

    /// Enters what the events of one call say. Nothing is reckoned from the terms.
    function _book(StencilEscrow.Terms memory terms) private {
        address token = terms.token;
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; i++) {
            Vm.Log memory log = logs[i];
            if (log.emitter != address(_escrow)) continue;
            if (log.topics[0] == StencilEscrow.Held.selector) {
                (,,, uint256 amount,) = abi.decode(log.data, (address, address, address, uint256, uint64));
                putIn[token] += amount;
                open[token] += amount;
            } else if (log.topics[0] == StencilEscrow.Released.selector) {
                (uint256 toPayee, uint256 toPayer) = abi.decode(log.data, (uint256, uint256));
                open[token] -= toPayee + toPayer;
                captured[token] += toPayee;
                givenBack[token] += toPayer;
                releases++;
                _settled(log.topics[1]);
            } else if (log.topics[0] == StencilEscrow.Refunded.selector) {
                uint256 amount = abi.decode(log.data, (uint256));
                open[token] -= amount;
                givenBack[token] += amount;
                refunds++;
                _settled(log.topics[1]);
            } else if (log.topics[0] == StencilEscrow.Deferred.selector) {
                waiting[token] += abi.decode(log.data, (uint256));
                deferrals++;
            }
        }
    }

    function _settled(bytes32 holdId) private {
        uint256 times = ++settlements[holdId];
        if (times > most) most = times;
    }

    function _terms(uint256 party, uint256 amount, uint256 deadline, bool native)
        private
        view
        returns (StencilEscrow.Terms memory)
    {
        return StencilEscrow.Terms({
            invoiceId: bytes32(_holds.length + 1),
            payer: vm.addr(_keys[party % 3]),
            payee: _payees[party / 3 % 3],
            operator: OPERATOR,
            token: native ? NATIVE : address(_token),
            amount: amount % 1e20 + 1,
            // Not beyond an hour, so that some pass.
            deadline: uint64(block.timestamp + 1 + deadline % 1 hours)
        });
    }

    function _mint(StencilEscrow.Terms memory terms) private {
        _token.setBlocked(terms.payer, false);
        _token.mint(terms.payer, terms.amount);
    }
}

/// Whatever is done by whomever: the books are the balances, and no hold is settled twice.
contract StencilEscrowInvariants is World {
    EscrowHandler private _handler;
    BlockingToken private _token;

    function setUp() public override {
        super.setUp();
        _token = new BlockingToken();
        _handler = new EscrowHandler(escrow, _token);
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function invariant_the_contract_has_what_is_open_and_what_waits() public view {
        vm.assertEq(
            _token.balanceOf(address(escrow)),
            _handler.open(address(_token)) + _handler.waiting(address(_token)),
            "token"
        );
        vm.assertEq(
            address(escrow).balance, _handler.open(NATIVE) + _handler.waiting(NATIVE), "coin"
        );
    }

    function invariant_what_came_in_is_captured_given_back_or_open() public view {
        address[2] memory assets = [address(_token), NATIVE];
        for (uint256 i = 0; i < 2; i++) {
            vm.assertEq(
                _handler.putIn(assets[i]),
                _handler.captured(assets[i]) + _handler.givenBack(assets[i]) + _handler.open(assets[i]),
                "sum"
            );
        }
    }

    function invariant_no_hold_is_settled_twice() public view {
        vm.assertLe(_handler.most(), 1, "settlements of one hold");
    }

    /// The handler comes to every way out; else the invariants would be about nothing.
    function test_the_handler_reaches_every_way_out() public {
        for (uint256 i = 0; i < 3; i++) {
            _handler.hold(i, 10, 1 hours - 1, false);
            _handler.holdWithAuthorization(i, 10, 1 hours - 1);
            // The third payee refuses coin.
            _handler.hold(i + 6, 10, 1 hours - 1, true);
        }
        _handler.release(0, 4, true);
        _handler.release(1, 4, false);
        _handler.release(2, 4, true);
        _handler.refund(3, true);
        _handler.passTime(30 minutes - 1);
        _handler.passTime(30 minutes - 1);
        _handler.passTime(2);
        _handler.refund(4, false);
        _handler.refund(4, true);
        vm.assertEq(_handler.releases(), 2, "releases");
        vm.assertEq(_handler.refunds(), 2, "refunds");
        vm.assertEq(_handler.deferrals(), 1, "deferrals");
        vm.assertEq(_handler.waiting(NATIVE), 4, "waits");
        vm.assertEq(_handler.most(), 1, "settlements of one hold");
        _handler.withdraw(2, false, true);
        vm.assertEq(_handler.waiting(NATIVE), 0, "fetched");
        vm.assertEq(_handler.open(address(_token)), 33, "three holds are open");
    }
}
