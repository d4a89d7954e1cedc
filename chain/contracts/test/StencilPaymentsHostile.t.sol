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
import {StencilPayments} from "../src/StencilPayments.sol";
import {Reenterer} from "./support/Recipients.sol";
import {World} from "./support/World.sol";
import {vm} from "./support/Vm.sol";

/// Payments in tokens that misbehave, and to payees that do.
contract StencilPaymentsHostileTest is World {
    function test_a_token_that_takes_a_fee_counts_as_what_arrived() public {
        FeeToken fee = new FeeToken(100);
        fee.mint(payer, 2_000e6);
        _approve(address(fee), address(payments));
        vm.expectEmit(address(payments));
        emit StencilPayments.Paid(INVOICE, payer, address(fee), 1_000e6, 990e6);
        vm.prank(payer);
        payments.pay(INVOICE, address(fee), 1_000e6);
        vm.assertEq(fee.balanceOf(payee), 990e6, "payee");

        // By an authorisation it is transferred twice, and pays twice.
        Authorization memory authorization =
            _authorize(fee, address(payments), 1_000e6, payments.authorizationNonce(INVOICE, 0));
        vm.expectEmit(address(payments));
        emit StencilPayments.Paid(INVOICE, payer, address(fee), 1_000e6, 980.1e6);
        payments.payWithAuthorization(INVOICE, 0, address(fee), payer, 1_000e6, authorization);
        vm.assertEq(fee.balanceOf(payee), 990e6 + 980.1e6, "payee");
        vm.assertEq(fee.balanceOf(address(payments)), 0, "nothing stays");
    }

    function test_a_token_that_takes_all_is_refused() public {
        FeeToken fee = new FeeToken(10_000);
        fee.mint(payer, 1_000e6);
        _approve(address(fee), address(payments));
        vm.prank(payer);
        vm.expectRevert(abi.encodeWithSelector(StencilPayments.NothingReceived.selector, address(fee)));
        payments.pay(INVOICE, address(fee), 1_000e6);
    }

    function test_a_token_without_return_values_pays() public {
        NoReturnToken noReturn = new NoReturnToken();
        noReturn.mint(payer, 100e6);
        _approve(address(noReturn), address(payments));
        vm.expectEmit(address(payments));
        emit StencilPayments.Paid(INVOICE, payer, address(noReturn), 100e6, 100e6);
        vm.prank(payer);
        payments.pay(INVOICE, address(noReturn), 100e6);
        vm.assertEq(noReturn.balanceOf(payee), 100e6, "payee");
    }

    function test_a_token_that_returns_false_is_refused() public {
        FalseToken no = new FalseToken(false);
        vm.prank(payer);
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(no)));
        payments.pay(INVOICE, address(no), 1e6);
    }

    function test_a_token_that_lies_is_refused() public {
        FalseToken liar = new FalseToken(true);
        vm.prank(payer);
        vm.expectRevert(abi.encodeWithSelector(StencilPayments.NothingReceived.selector, address(liar)));
        payments.pay(INVOICE, address(liar), 1e6);

        Authorization memory authorization =
            _authorize(liar, address(payments), 1e6, payments.authorizationNonce(INVOICE, 0));
        vm.expectRevert(abi.encodeWithSelector(StencilPayments.NothingReceived.selector, address(liar)));
        payments.payWithAuthorization(INVOICE, 0, address(liar), payer, 1e6, authorization);
    }

    /// In the middle of the first payment its token asks for a second one; both would be measured by the
    /// same balance.
    function test_a_payment_within_a_payment_is_refused() public {
        ReentrantToken reentrant = _reentrant();
        reentrant.arm(
            address(payments), abi.encodeCall(StencilPayments.pay, (OTHER_INVOICE, address(reentrant), 5e6))
        );
        vm.prank(payer);
        payments.pay(INVOICE, address(reentrant), 1e6);
        _requireShut(reentrant);
        vm.assertEq(reentrant.balanceOf(payee), 1e6, "one payment");
    }

    /// While an authorisation's money is on its way, it lies in the contract for a moment.
    function test_a_sweep_within_a_payment_is_refused() public {
        ReentrantToken reentrant = _reentrant();
        reentrant.arm(address(payments), abi.encodeCall(StencilPayments.sweep, (address(reentrant))));
        Authorization memory authorization =
            _authorize(reentrant, address(payments), 1e6, payments.authorizationNonce(INVOICE, 0));
        payments.payWithAuthorization(INVOICE, 0, address(reentrant), payer, 1e6, authorization);
        _requireShut(reentrant);
        vm.assertEq(reentrant.balanceOf(payee), 1e6, "one payment");
    }

    /// A payment through another contract to the same payee, in the middle of this one: the other
    /// counts it, and so this one must not.
    function test_what_another_contract_counts_is_not_counted_again() public {
        ReentrantToken reentrant = _reentrant();
        StencilPayments second = new StencilPayments(payee);
        reentrant.mint(address(reentrant), 5e6);
        vm.prank(address(reentrant));
        reentrant.approve(address(second), 5e6);
        reentrant.arm(
            address(second), abi.encodeCall(StencilPayments.pay, (OTHER_INVOICE, address(reentrant), 5e6))
        );
        vm.expectEmit(address(second));
        emit StencilPayments.Paid(OTHER_INVOICE, address(reentrant), address(reentrant), 5e6, 5e6);
        vm.expectEmit(address(payments));
        emit StencilPayments.Paid(INVOICE, payer, address(reentrant), 1e6, 1e6);
        vm.prank(payer);
        payments.pay(INVOICE, address(reentrant), 1e6);
        vm.assertTrue(reentrant.entered(), "the second payment went through");
        vm.assertEq(reentrant.balanceOf(payee), 6e6, "what both counted");
    }

    function test_a_payee_that_calls_back_is_refused() public {
        Reenterer reenterer = new Reenterer();
        StencilPayments back = new StencilPayments(address(reenterer));
        reenterer.arm(address(back), abi.encodeCall(StencilPayments.sweep, (NATIVE)));
        vm.prank(payer);
        back.payNative{value: 1 ether}(INVOICE);
        vm.assertTrue(reenterer.called(), "called");
        vm.assertEq(reenterer.entered(), false, "not let in");
        vm.assertEq(
            reenterer.answer(),
            abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector),
            "why"
        );
    }

    function test_a_token_that_is_paused_or_blocks_says_so() public {
        BlockingToken blocking = new BlockingToken();
        blocking.mint(payer, 10e6);
        _approve(address(blocking), address(payments));
        blocking.setPaused(true);
        vm.prank(payer);
        vm.expectRevert(BlockingToken.Paused.selector);
        payments.pay(INVOICE, address(blocking), 1e6);
        blocking.setPaused(false);
        blocking.setBlocked(payee, true);
        vm.prank(payer);
        vm.expectRevert(abi.encodeWithSelector(BlockingToken.Blocked.selector, payee));
        payments.pay(INVOICE, address(blocking), 1e6);
        blocking.setBlocked(payee, false);
        vm.prank(payer);
        payments.pay(INVOICE, address(blocking), 1e6);
        vm.assertEq(blocking.balanceOf(payee), 1e6, "payee");
    }

    function testFuzz_what_counts_is_what_the_payee_has_more(uint256 amount, uint256 feeBasisPoints) public {
        feeBasisPoints = feeBasisPoints % 10_000;
        amount = amount % 1_000_000e6 + 10_000;
        FeeToken fee = new FeeToken(feeBasisPoints);
        fee.mint(payer, amount);
        _approve(address(fee), address(payments));
        uint256 received = amount - amount * feeBasisPoints / 10_000;
        vm.expectEmit(address(payments));
        emit StencilPayments.Paid(INVOICE, payer, address(fee), amount, received);
        vm.prank(payer);
        payments.pay(INVOICE, address(fee), amount);
        vm.assertEq(fee.balanceOf(payee), received, "payee");
    }

    function _reentrant() private returns (ReentrantToken reentrant) {
        reentrant = new ReentrantToken();
        reentrant.mint(payer, 100e6);
        _approve(address(reentrant), address(payments));
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
