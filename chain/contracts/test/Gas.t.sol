// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Authorization} from "../src/Eip3009.sol";
import {StencilEscrow} from "../src/StencilEscrow.sol";
import {StencilPayments} from "../src/StencilPayments.sol";
import {World} from "./support/World.sol";
import {vm} from "./support/Vm.sol";

/// What each transaction costs, its base price included, in the usual case: a payee that holds the
/// token already, and an allowance that was given before. Written to `gas/` and compared from then on.
contract GasTest is World {
    uint256 private constant AMOUNT = 25e6;
    uint256 private constant CREATE = 32_000;

    function test_gas_of_payments() public {
        _approve(address(dollar), address(payments));
        vm.prank(payer);
        payments.pay(INVOICE, address(dollar), AMOUNT);
        vm.snapshotGasLastCall("StencilPayments", "`pay` with an ERC-20 token");

        vm.prank(payer);
        payments.payNative{value: 1 ether}(INVOICE);
        vm.snapshotGasLastCall("StencilPayments", "`payNative`");

        // Dollars have lain in the contract before: real tokens keep the slot, or clear it each time.
        Authorization memory authorization =
            _authorize(dollar, address(payments), AMOUNT, payments.authorizationNonce(INVOICE, 0));
        vm.prank(relayer);
        payments.payWithAuthorization(INVOICE, 0, address(dollar), payer, AMOUNT, authorization);
        vm.snapshotGasLastCall("StencilPayments", "`payWithAuthorization`");
    }

    function test_gas_of_holds() public {
        _approve(address(dollar), address(escrow));
        // Somebody else's hold, so that the contract's balance is not zero.
        StencilEscrow.Terms memory terms = _terms(address(dollar), AMOUNT);
        terms.invoiceId = OTHER_INVOICE;
        vm.prank(payer);
        escrow.hold(terms);

        terms = _terms(address(dollar), AMOUNT);
        vm.prank(payer);
        escrow.hold(terms);
        vm.snapshotGasLastCall("StencilEscrow", "`hold` with an ERC-20 token");
        vm.prank(operator);
        escrow.release(terms, AMOUNT);
        vm.snapshotGasLastCall("StencilEscrow", "`release` of all, ERC-20");

        terms.invoiceId = keccak256("in part");
        Authorization memory authorization = _authorize(dollar, address(escrow), AMOUNT, escrow.holdIdOf(terms));
        vm.prank(relayer);
        escrow.holdWithAuthorization(terms, authorization);
        vm.snapshotGasLastCall("StencilEscrow", "`holdWithAuthorization`");
        vm.prank(operator);
        escrow.release(terms, AMOUNT / 2);
        vm.snapshotGasLastCall("StencilEscrow", "`release` of a part, ERC-20");

        terms.invoiceId = keccak256("back");
        vm.prank(payer);
        escrow.hold(terms);
        vm.prank(operator);
        escrow.refund(terms);
        vm.snapshotGasLastCall("StencilEscrow", "`refund`, ERC-20");
    }

    function test_gas_of_native_holds() public {
        StencilEscrow.Terms memory terms = _terms(NATIVE, 1 ether);
        vm.prank(payer);
        escrow.hold{value: 1 ether}(terms);
        vm.snapshotGasLastCall("StencilEscrow", "`hold` of native coin");
        vm.prank(operator);
        escrow.release(terms, 1 ether);
        vm.snapshotGasLastCall("StencilEscrow", "`release` of all, native coin");

        terms.invoiceId = OTHER_INVOICE;
        vm.prank(payer);
        escrow.hold{value: 1 ether}(terms);
        vm.prank(operator);
        escrow.refund(terms);
        vm.snapshotGasLastCall("StencilEscrow", "`refund`, native coin");
    }

    /// What a creation takes is not in forge's last call; the gas that is left says it. The price of
    /// the instruction that creates comes on top here, and is not in a transaction of an account's.
    function test_gas_of_deployment() public {
        uint256 left = gasleft();
        new StencilPayments(payee);
        vm.snapshotValue("StencilPayments", "deployment", left - gasleft() - CREATE);
        left = gasleft();
        new StencilEscrow();
        vm.snapshotValue("StencilEscrow", "deployment", left - gasleft() - CREATE);
    }
}
