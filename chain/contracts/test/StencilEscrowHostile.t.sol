// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {Authorization} from "../src/Eip3009.sol";
import {BlockingToken} from "../dev/hostile/BlockingToken.sol";
import {DevDollar} from "../dev/DevDollar.sol";
import {FalseToken} from "../dev/hostile/FalseToken.sol";
import {FeeToken} from "../dev/hostile/FeeToken.sol";
import {NoReturnToken} from "../dev/hostile/NoReturnToken.sol";
import {ReentrantToken} from "../dev/hostile/ReentrantToken.sol";
import {StencilEscrow} from "../src/StencilEscrow.sol";
import {Reenterer} from "./support/Recipients.sol";
import {World} from "./support/World.sol";
import {vm} from "./support/Vm.sol";

/// Holds in tokens that misbehave, and parties that do.
contract StencilEscrowHostileTest is World {
    function test_a_token_that_takes_a_fee_can_t_be_held() public {
        FeeToken fee = new FeeToken(100);
        fee.mint(payer, 100e6);
        _approve(address(fee), address(escrow));
        StencilEscrow.Terms memory terms = _terms(address(fee), 100e6);
        bytes memory why =
            abi.encodeWithSelector(StencilEscrow.WrongAmountReceived.selector, 100e6, 99e6);
        vm.expectRevert(why);
        vm.prank(payer);
        escrow.hold(terms);
        Authorization memory authorization =
            _authorize(fee, address(escrow), 100e6, escrow.holdIdOf(terms));
        vm.expectRevert(why);
        escrow.holdWithAuthorization(terms, authorization);
    }

    function test_a_token_that_moves_nothing_can_t_be_held() public {
        FalseToken no = new FalseToken(false);
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(no)));
        vm.prank(payer);
        escrow.hold(_terms(address(no), 1e6));

        FalseToken liar = new FalseToken(true);
        bytes memory why = abi.encodeWithSelector(StencilEscrow.WrongAmountReceived.selector, 1e6, 0);
        StencilEscrow.Terms memory terms = _terms(address(liar), 1e6);
        vm.expectRevert(why);
        vm.prank(payer);
        escrow.hold(terms);
        Authorization memory authorization = _authorize(liar, address(escrow), 1e6, escrow.holdIdOf(terms));
        vm.expectRevert(why);
        escrow.holdWithAuthorization(terms, authorization);
    }

    function test_a_token_without_return_values_is_held_and_settled() public {
        NoReturnToken noReturn = new NoReturnToken();
        noReturn.mint(payer, 100e6);
        _approve(address(noReturn), address(escrow));
        StencilEscrow.Terms memory terms = _terms(address(noReturn), 100e6);
        vm.prank(payer);
        escrow.hold(terms);
        vm.prank(operator);
        escrow.release(terms, 60e6);
        vm.assertEq(noReturn.balanceOf(payee), 60e6, "payee");
        vm.assertEq(noReturn.balanceOf(payer), 40e6, "payer");
    }

    /// In the middle of a release its token asks for it again, for a refund, and for a new hold.
    function test_no_settlement_within_a_settlement() public {
        ReentrantToken reentrant = new ReentrantToken();
        reentrant.mint(payer, 100e6);
        _approve(address(reentrant), address(escrow));
        for (uint256 i = 0; i < 3; i++) {
            StencilEscrow.Terms memory terms = _terms(address(reentrant), 10e6);
            terms.invoiceId = bytes32(i + 1);
            // So that it would be the right sender.
            terms.operator = address(reentrant);
            vm.prank(payer);
            escrow.hold(terms);
            if (i == 0) {
                reentrant.arm(address(escrow), abi.encodeCall(StencilEscrow.release, (terms, 10e6)));
            } else if (i == 1) {
                reentrant.arm(address(escrow), abi.encodeCall(StencilEscrow.refund, (terms)));
            } else {
                reentrant.arm(
                    address(escrow), abi.encodeCall(StencilEscrow.withdraw, (address(reentrant), other))
                );
            }
            vm.prank(address(reentrant));
            escrow.release(terms, 10e6);
            _requireShut(reentrant);
            vm.assertEq(reentrant.balanceOf(payee), (i + 1) * 10e6, "once");
        }
    }

    /// A hold within a hold would have the first one counted twice.
    function test_no_hold_within_a_hold() public {
        ReentrantToken reentrant = new ReentrantToken();
        reentrant.mint(payer, 100e6);
        reentrant.mint(address(reentrant), 100e6);
        vm.prank(address(reentrant));
        reentrant.approve(address(escrow), 100e6);
        _approve(address(reentrant), address(escrow));
        StencilEscrow.Terms memory inner = _terms(address(reentrant), 10e6);
        inner.payer = address(reentrant);
        StencilEscrow.Terms memory outer = _terms(address(reentrant), 10e6);
        reentrant.arm(address(escrow), abi.encodeCall(StencilEscrow.hold, (inner)));
        vm.prank(payer);
        escrow.hold(outer);
        _requireShut(reentrant);
        vm.assertEq(reentrant.balanceOf(address(escrow)), 10e6, "one hold");
    }

    /// Money that is brought in beside the hold, in its middle, does not make up for what is missing.
    function test_what_comes_from_elsewhere_in_the_middle_is_refused() public {
        ReentrantToken reentrant = new ReentrantToken();
        reentrant.mint(payer, 100e6);
        reentrant.mint(address(reentrant), 5e6);
        _approve(address(reentrant), address(escrow));
        reentrant.arm(
            address(reentrant), abi.encodeCall(reentrant.transfer, (address(escrow), 5e6))
        );
        vm.expectRevert(abi.encodeWithSelector(StencilEscrow.WrongAmountReceived.selector, 10e6, 15e6));
        vm.prank(payer);
        escrow.hold(_terms(address(reentrant), 10e6));
    }

    function test_a_payee_that_calls_back_gets_its_money_once() public {
        Reenterer reenterer = new Reenterer();
        StencilEscrow.Terms memory terms = _terms(NATIVE, 1 ether);
        terms.payee = address(reenterer);
        terms.operator = address(reenterer);
        vm.prank(payer);
        escrow.hold{value: 1 ether}(terms);
        vm.deal(address(escrow), 5 ether);
        reenterer.arm(address(escrow), abi.encodeCall(StencilEscrow.refund, (terms)));
        vm.prank(address(reenterer));
        escrow.release(terms, 1 ether);
        // Its call is refused; keeping the reason takes more gas than it has. So it is owed.
        vm.assertEq(address(escrow).balance + address(reenterer).balance, 5 ether, "once");
        vm.assertEq(
            escrow.owed(NATIVE, address(reenterer)) + address(reenterer).balance, 1 ether, "its own"
        );
        uint256 before = payer.balance;
        vm.warp(terms.deadline);
        vm.expectRevert(
            abi.encodeWithSelector(
                StencilEscrow.NotHeld.selector, escrow.holdIdOf(terms), StencilEscrow.State.Released
            )
        );
        escrow.refund(terms);
        vm.assertEq(payer.balance, before, "payer");
    }

    function test_a_withdrawal_within_a_withdrawal_is_refused() public {
        Reenterer reenterer = new Reenterer();
        StencilEscrow.Terms memory terms = _terms(NATIVE, 1 ether);
        terms.payee = address(reenterer);
        vm.prank(payer);
        escrow.hold{value: 1 ether}(terms);
        // Armed, it needs more gas than a release gives.
        reenterer.arm(address(escrow), abi.encodeCall(StencilEscrow.withdraw, (NATIVE, address(reenterer))));
        vm.prank(operator);
        escrow.release(terms, 1 ether);
        vm.assertEq(escrow.owed(NATIVE, address(reenterer)), 1 ether, "owed");
        vm.deal(address(escrow), 5 ether);
        vm.prank(address(reenterer));
        escrow.withdraw(NATIVE, address(reenterer));
        vm.assertTrue(reenterer.called(), "called");
        vm.assertEq(reenterer.entered(), false, "not let in");
        vm.assertEq(
            reenterer.answer(),
            abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector),
            "why"
        );
        vm.assertEq(address(reenterer).balance, 1 ether, "once");
    }

    function test_a_payer_who_is_blocked_meanwhile_is_owed_and_the_payee_is_paid() public {
        BlockingToken blocking = new BlockingToken();
        blocking.mint(payer, 10e6);
        _approve(address(blocking), address(escrow));
        StencilEscrow.Terms memory terms = _terms(address(blocking), 10e6);
        vm.prank(payer);
        bytes32 holdId = escrow.hold(terms);
        blocking.setBlocked(payer, true);
        vm.expectEmit(address(escrow));
        emit StencilEscrow.Deferred(holdId, payer, address(blocking), 4e6);
        vm.prank(operator);
        escrow.release(terms, 6e6);
        vm.assertEq(blocking.balanceOf(payee), 6e6, "payee");
        vm.assertEq(escrow.owed(address(blocking), payer), 4e6, "owed");

        vm.prank(payer);
        vm.expectRevert(abi.encodeWithSelector(BlockingToken.Blocked.selector, payer));
        escrow.withdraw(address(blocking), payer);
        blocking.setBlocked(payer, false);
        vm.prank(payer);
        escrow.withdraw(address(blocking), payer);
        vm.assertEq(blocking.balanceOf(payer), 4e6, "payer");
        vm.assertEq(escrow.owed(address(blocking), payer), 0, "nothing owed");
    }

    /// The decision is in time though the token is paused over the deadline.
    function test_a_token_that_is_paused_does_not_stop_a_release() public {
        BlockingToken blocking = new BlockingToken();
        blocking.mint(payer, 10e6);
        _approve(address(blocking), address(escrow));
        StencilEscrow.Terms memory terms = _terms(address(blocking), 10e6);
        vm.prank(payer);
        escrow.hold(terms);
        blocking.setPaused(true);
        vm.prank(operator);
        escrow.release(terms, 10e6);
        vm.warp(terms.deadline);
        vm.prank(payer);
        vm.expectRevert(
            abi.encodeWithSelector(
                StencilEscrow.NotHeld.selector, escrow.holdIdOf(terms), StencilEscrow.State.Released
            )
        );
        escrow.refund(terms);
        blocking.setPaused(false);
        vm.prank(payee);
        escrow.withdraw(address(blocking), payee);
        vm.assertEq(blocking.balanceOf(payee), 10e6, "payee");
    }

    function _requireShut(ReentrantToken reentrant) private view {
        vm.assertEq(reentrant.entered(), false, "not let in");
        vm.assertEq(
            reentrant.answer(),
            abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector),
            "why"
        );
    }
}
