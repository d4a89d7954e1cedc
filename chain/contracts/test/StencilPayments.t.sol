// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {StencilPayments} from "../src/StencilPayments.sol";
import {World} from "./support/World.sol";
import {Refuser} from "./support/Recipients.sol";
import {vm} from "./support/Vm.sol";

/// Payments by the payer's own transaction.
contract StencilPaymentsTest is World {
    function test_a_payment_goes_to_the_payee_and_says_for_which_invoice() public {
        _approve(address(dollar), address(payments));
        uint256 before = dollar.balanceOf(payee);
        vm.expectEmit(address(payments));
        emit StencilPayments.Paid(INVOICE, payer, address(dollar), 25e6, 25e6);
        vm.prank(payer);
        payments.pay(INVOICE, address(dollar), 25e6);
        vm.assertEq(dollar.balanceOf(payee) - before, 25e6, "payee");
        vm.assertEq(dollar.balanceOf(payer), 1_000_000e6 - 25e6, "payer");
        vm.assertEq(dollar.balanceOf(address(payments)), 0, "nothing stays");
    }

    function test_native_coin_goes_to_the_payee() public {
        uint256 before = payee.balance;
        vm.expectEmit(address(payments));
        emit StencilPayments.Paid(INVOICE, payer, NATIVE, 2 ether, 2 ether);
        vm.prank(payer);
        payments.payNative{value: 2 ether}(INVOICE);
        vm.assertEq(payee.balance - before, 2 ether, "payee");
        vm.assertEq(address(payments).balance, 0, "nothing stays");
    }

    function test_an_invoice_can_be_paid_in_parts() public {
        _approve(address(dollar), address(payments));
        for (uint256 part = 1; part <= 3; part++) {
            vm.expectEmit(address(payments));
            emit StencilPayments.Paid(INVOICE, payer, address(dollar), part, part);
            vm.prank(payer);
            payments.pay(INVOICE, address(dollar), part);
        }
        vm.assertEq(dollar.balanceOf(payee), 1 + 6, "payee");
    }

    /// The unit is the token's own: a number meant for 18 decimals is 10^12 times too much for 6, and
    /// is moved as it is or not at all. What a number is worth is the hub's to know.
    function test_amounts_are_in_the_tokens_own_unit() public {
        _approve(address(dollar), address(payments));
        _approve(address(token), address(payments));
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, payer, 1_000_000e6, 25e18)
        );
        vm.prank(payer);
        payments.pay(INVOICE, address(dollar), 25e18);

        vm.expectEmit(address(payments));
        emit StencilPayments.Paid(INVOICE, payer, address(token), 25e6, 25e6);
        vm.prank(payer);
        payments.pay(INVOICE, address(token), 25e6);
    }

    function test_without_an_allowance_nothing_moves() public {
        vm.prank(payer);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(payments), 0, 25e6)
        );
        payments.pay(INVOICE, address(dollar), 25e6);
    }

    /// An allowance that somebody gave is of no use to anybody else: there is no `from` to name.
    function test_another_s_allowance_is_of_no_use() public {
        _approve(address(dollar), address(payments));
        vm.prank(other);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(payments), 0, 25e6)
        );
        payments.pay(INVOICE, address(dollar), 25e6);
        vm.assertEq(dollar.balanceOf(payer), 1_000_000e6, "payer");
    }

    function test_nothing_and_no_invoice_are_refused() public {
        vm.expectRevert(StencilPayments.ZeroAmount.selector);
        payments.pay(INVOICE, address(dollar), 0);
        vm.expectRevert(StencilPayments.ZeroAmount.selector);
        payments.payNative(INVOICE);
        vm.expectRevert(StencilPayments.ZeroInvoice.selector);
        payments.pay(0, address(dollar), 1);
        vm.prank(payer);
        vm.expectRevert(StencilPayments.ZeroInvoice.selector);
        payments.payNative{value: 1}(0);
    }

    function test_a_token_that_is_not_on_this_chain_is_refused() public {
        vm.prank(payer);
        vm.expectRevert(abi.encodeWithSelector(StencilPayments.NotAToken.selector, address(0xdead)));
        payments.pay(INVOICE, address(0xdead), 1);
        vm.expectRevert(abi.encodeWithSelector(StencilPayments.NotAToken.selector, NATIVE));
        payments.pay(INVOICE, NATIVE, 1);
    }

    function test_the_payee_can_pay_nothing_to_itself() public {
        dollar.mint(payee, 10);
        vm.prank(payee);
        dollar.approve(address(payments), 10);
        vm.prank(payee);
        vm.expectRevert(abi.encodeWithSelector(StencilPayments.NothingReceived.selector, address(dollar)));
        payments.pay(INVOICE, address(dollar), 10);
    }

    function test_a_payee_that_refuses_the_coin_costs_the_payer_nothing() public {
        Refuser refuser = new Refuser();
        StencilPayments toRefuser = new StencilPayments(address(refuser));
        vm.prank(payer);
        vm.expectRevert(abi.encodeWithSelector(StencilPayments.PayeeRefused.selector, address(refuser)));
        toRefuser.payNative{value: 1 ether}(INVOICE);
        vm.assertEq(payer.balance, 1_000 ether, "payer");
    }

    function test_coin_sent_without_an_invoice_is_refused() public {
        vm.prank(payer);
        (bool ok,) = address(payments).call{value: 1 ether}("");
        vm.assertEq(ok, false, "plain transfer");
    }

    function test_a_payee_that_can_t_be_paid_is_refused_at_deployment() public {
        vm.expectRevert(abi.encodeWithSelector(StencilPayments.InvalidPayee.selector, address(0)));
        new StencilPayments(address(0));
    }

    function test_what_was_sent_by_mistake_goes_to_the_payee() public {
        dollar.mint(address(payments), 5);
        vm.expectEmit(address(payments));
        emit StencilPayments.Swept(address(dollar), 5);
        vm.prank(other);
        payments.sweep(address(dollar));
        vm.assertEq(dollar.balanceOf(payee), 1 + 5, "payee");

        // As from a contract that destroys itself, or a block's reward.
        vm.deal(address(payments), 7);
        vm.prank(other);
        payments.sweep(NATIVE);
        vm.assertEq(payee.balance, 1 ether + 7, "payee's coin");

        vm.expectRevert(StencilPayments.ZeroAmount.selector);
        payments.sweep(NATIVE);
        vm.expectRevert(StencilPayments.ZeroAmount.selector);
        payments.sweep(address(dollar));
        vm.expectRevert(abi.encodeWithSelector(StencilPayments.NotAToken.selector, address(0xdead)));
        payments.sweep(address(0xdead));
    }

    function testFuzz_what_is_paid_is_what_arrives(bytes32 invoiceId, uint256 amount) public {
        vm.assume(invoiceId != 0);
        amount = amount % (1_000_000e18) + 1;
        _approve(address(token), address(payments));
        vm.expectEmit(address(payments));
        emit StencilPayments.Paid(invoiceId, payer, address(token), amount, amount);
        vm.prank(payer);
        payments.pay(invoiceId, address(token), amount);
        vm.assertEq(token.balanceOf(payee), 1 + amount, "payee");
        vm.assertEq(token.balanceOf(payer), 1_000_000e18 - amount, "payer");
    }

    function testFuzz_native_coin_arrives(bytes32 invoiceId, uint256 amount) public {
        vm.assume(invoiceId != 0);
        amount = amount % 1_000 ether + 1;
        vm.prank(payer);
        payments.payNative{value: amount}(invoiceId);
        vm.assertEq(payee.balance, 1 ether + amount, "payee");
    }
}
