// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {Authorization} from "../src/Eip3009.sol";
import {DevDollar} from "../dev/DevDollar.sol";
import {StencilPayments} from "../src/StencilPayments.sol";
import {ContractWallet} from "./support/Recipients.sol";
import {Signing, World} from "./support/World.sol";
import {vm} from "./support/Vm.sol";

/// Payments by an authorisation that somebody else brings in.
contract StencilPaymentsAuthorizationTest is World {
    uint256 private constant AMOUNT = 25e6;

    function test_an_authorisation_pays_its_invoice_whoever_brings_it() public {
        Authorization memory authorization = _sign(INVOICE, 0);
        vm.expectEmit(address(payments));
        emit StencilPayments.Paid(INVOICE, payer, address(dollar), AMOUNT, AMOUNT);
        _bring(INVOICE, 0, authorization);
        vm.assertEq(dollar.balanceOf(payee), 1 + AMOUNT, "payee");
        vm.assertEq(dollar.balanceOf(address(payments)), 0, "nothing stays");
        vm.assertTrue(
            dollar.authorizationState(payer, payments.authorizationNonce(INVOICE, 0)), "the nonce is used"
        );
    }

    function test_the_nonce_names_chain_contract_invoice_and_attempt() public {
        bytes32 nonce = payments.authorizationNonce(INVOICE, 0);
        vm.assertEq(
            nonce,
            keccak256(
                abi.encode(
                    keccak256(
                        "StencilPayment(uint256 chainId,address payments,bytes32 invoiceId,uint256 attempt)"
                    ),
                    block.chainid,
                    address(payments),
                    INVOICE,
                    uint256(0)
                )
            ),
            "as the README says"
        );
        vm.assertTrue(nonce != payments.authorizationNonce(OTHER_INVOICE, 0), "invoice");
        vm.assertTrue(nonce != payments.authorizationNonce(INVOICE, 1), "attempt");
        vm.assertTrue(nonce != new StencilPayments(payee).authorizationNonce(INVOICE, 0), "contract");
        vm.chainId(block.chainid + 1);
        vm.assertTrue(nonce != payments.authorizationNonce(INVOICE, 0), "chain");
    }

    function test_it_can_t_be_replayed() public {
        Authorization memory authorization = _sign(INVOICE, 0);
        _bring(INVOICE, 0, authorization);
        bytes32 nonce = payments.authorizationNonce(INVOICE, 0);
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, payer, nonce));
        _bring(INVOICE, 0, authorization);
        vm.assertEq(dollar.balanceOf(payee), 1 + AMOUNT, "once");
    }

    function test_a_second_attempt_pays_again() public {
        _bring(INVOICE, 0, _sign(INVOICE, 0));
        _bring(INVOICE, 1, _sign(INVOICE, 1));
        vm.assertEq(dollar.balanceOf(payee), 1 + 2 * AMOUNT, "twice, as signed twice");
    }

    /// Who sees it before it is mined can't have it count for an invoice of their own.
    function test_it_can_t_be_turned_to_another_invoice() public {
        Authorization memory authorization = _sign(INVOICE, 0);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        _bring(OTHER_INVOICE, 0, authorization);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        _bring(INVOICE, 1, authorization);
    }

    /// Nor take it to the token beside the contract.
    function test_it_can_t_be_used_beside_the_contract() public {
        Authorization memory authorization = _sign(INVOICE, 0);
        bytes32 nonce = payments.authorizationNonce(INVOICE, 0);
        vm.prank(other);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(payments))
        );
        dollar.receiveWithAuthorization(
            payer,
            address(payments),
            AMOUNT,
            authorization.validAfter,
            authorization.validBefore,
            nonce,
            authorization.signature
        );
        vm.prank(other);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        dollar.transferWithAuthorization(
            payer,
            address(payments),
            AMOUNT,
            authorization.validAfter,
            authorization.validBefore,
            nonce,
            authorization.signature
        );
    }

    function test_a_forged_signature_is_refused() public {
        // By somebody else in the payer's name.
        Authorization memory authorization = _authorize(
            dollar,
            OTHER_KEY,
            address(payments),
            AMOUNT,
            NOW - 1,
            NOW + 1 hours,
            payments.authorizationNonce(INVOICE, 0)
        );
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        _bring(INVOICE, 0, authorization);
    }

    function test_another_amount_payer_or_time_than_signed_is_refused() public {
        Authorization memory authorization = _sign(INVOICE, 0);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        payments.payWithAuthorization(INVOICE, 0, address(dollar), payer, AMOUNT + 1, authorization);
        dollar.mint(other, AMOUNT);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        payments.payWithAuthorization(INVOICE, 0, address(dollar), other, AMOUNT, authorization);
        authorization.validBefore += 1;
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        _bring(INVOICE, 0, authorization);
    }

    function test_one_for_another_contract_is_refused() public {
        StencilPayments elsewhere = new StencilPayments(other);
        Authorization memory authorization = _sign(INVOICE, 0);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        elsewhere.payWithAuthorization(INVOICE, 0, address(dollar), payer, AMOUNT, authorization);
    }

    function test_one_for_another_token_is_refused() public {
        DevDollar second = new DevDollar();
        second.mint(payer, AMOUNT);
        Authorization memory authorization = _sign(INVOICE, 0);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        payments.payWithAuthorization(INVOICE, 0, address(second), payer, AMOUNT, authorization);
    }

    /// The same contracts at the same addresses, as on a second chain of the tenant's.
    function test_one_for_another_chain_is_refused() public {
        Authorization memory authorization = _sign(INVOICE, 0);
        vm.chainId(block.chainid + 1);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        _bring(INVOICE, 0, authorization);
    }

    function test_expired_and_future_dated_ones_are_refused() public {
        bytes32 nonce = payments.authorizationNonce(INVOICE, 0);
        Authorization memory expired =
            _authorize(dollar, PAYER_KEY, address(payments), AMOUNT, NOW - 100, NOW, nonce);
        vm.expectRevert(
            abi.encodeWithSelector(ERC3009.ERC3009InvalidAuthorizationTime.selector, NOW - 100, NOW)
        );
        _bring(INVOICE, 0, expired);

        Authorization memory later =
            _authorize(dollar, PAYER_KEY, address(payments), AMOUNT, NOW, NOW + 100, nonce);
        vm.expectRevert(
            abi.encodeWithSelector(ERC3009.ERC3009InvalidAuthorizationTime.selector, NOW, NOW + 100)
        );
        _bring(INVOICE, 0, later);
        vm.warp(NOW + 1);
        _bring(INVOICE, 0, later);
        vm.assertEq(dollar.balanceOf(payee), 1 + AMOUNT, "in its time it pays");
    }

    function test_a_cancelled_one_is_refused() public {
        Authorization memory authorization = _sign(INVOICE, 0);
        bytes32 nonce = payments.authorizationNonce(INVOICE, 0);
        dollar.cancelAuthorization(
            payer,
            nonce,
            Signing.sign(PAYER_KEY, Signing.digest(dollar, keccak256(abi.encode(Signing.CANCEL, payer, nonce))))
        );
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, payer, nonce));
        _bring(INVOICE, 0, authorization);
    }

    function test_what_is_not_there_is_refused() public {
        Authorization memory authorization = _sign(INVOICE, 0);
        vm.prank(payer);
        dollar.transfer(other, 1_000_000e6 - AMOUNT + 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                IERC20Errors.ERC20InsufficientBalance.selector, payer, AMOUNT - 1, AMOUNT
            )
        );
        _bring(INVOICE, 0, authorization);
    }

    function test_zero_and_wrong_places_are_refused() public {
        Authorization memory authorization = _sign(INVOICE, 0);
        vm.expectRevert(StencilPayments.ZeroInvoice.selector);
        _bring(0, 0, authorization);
        vm.expectRevert(StencilPayments.ZeroAmount.selector);
        payments.payWithAuthorization(INVOICE, 0, address(dollar), payer, 0, authorization);
        vm.expectRevert(abi.encodeWithSelector(StencilPayments.NotAToken.selector, address(0xdead)));
        payments.payWithAuthorization(INVOICE, 0, address(0xdead), payer, AMOUNT, authorization);
    }

    /// A token without EIP-3009 has no such function.
    function test_a_token_without_authorisations_is_refused() public {
        Authorization memory authorization = _sign(INVOICE, 0);
        vm.expectRevert(bytes(""));
        payments.payWithAuthorization(INVOICE, 0, address(token), payer, AMOUNT, authorization);
    }

    function test_a_recovery_id_of_0_or_1_is_taken_too() public {
        Authorization memory authorization = _sign(INVOICE, 0);
        authorization.signature[64] = bytes1(uint8(authorization.signature[64]) - 27);
        _bring(INVOICE, 0, authorization);
        vm.assertEq(dollar.balanceOf(payee), 1 + AMOUNT, "payee");
    }

    function test_signatures_of_other_lengths_are_refused() public {
        Authorization memory authorization = _sign(INVOICE, 0);
        authorization.signature = "";
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        _bring(INVOICE, 0, authorization);
        authorization.signature = new bytes(64);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        _bring(INVOICE, 0, authorization);
        authorization.signature = new bytes(10_000);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        _bring(INVOICE, 0, authorization);
    }

    function test_a_contract_wallet_signs_by_erc_1271() public {
        ContractWallet wallet = new ContractWallet(payer);
        dollar.mint(address(wallet), AMOUNT);
        bytes32 nonce = payments.authorizationNonce(INVOICE, 0);
        bytes32 structHash = keccak256(
            abi.encode(
                Signing.RECEIVE, address(wallet), address(payments), AMOUNT, NOW - 1, NOW + 1 hours, nonce
            )
        );
        bytes memory signature = Signing.sign(PAYER_KEY, Signing.digest(dollar, structHash));
        Authorization memory authorization = Authorization({
            validAfter: NOW - 1, validBefore: NOW + 1 hours, signature: abi.encodePacked(uint8(1), signature)
        });
        vm.expectEmit(address(payments));
        emit StencilPayments.Paid(INVOICE, address(wallet), address(dollar), AMOUNT, AMOUNT);
        payments.payWithAuthorization(INVOICE, 0, address(dollar), address(wallet), AMOUNT, authorization);

        // The wallet's word is asked for: another's signature is none.
        authorization.signature =
            abi.encodePacked(uint8(1), Signing.sign(OTHER_KEY, Signing.digest(dollar, structHash)));
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        payments.payWithAuthorization(OTHER_INVOICE, 0, address(dollar), address(wallet), AMOUNT, authorization);
    }

    function testFuzz_a_signature_fits_one_payment_alone(
        bytes32 invoiceId,
        uint256 attempt,
        bytes32 otherInvoice,
        uint256 otherAttempt,
        uint256 amount
    ) public {
        vm.assume(invoiceId != 0 && otherInvoice != 0);
        vm.assume(invoiceId != otherInvoice || attempt != otherAttempt);
        amount = amount % 1_000_000e6 + 1;
        Authorization memory authorization =
            _authorize(dollar, address(payments), amount, payments.authorizationNonce(invoiceId, attempt));
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        payments.payWithAuthorization(otherInvoice, otherAttempt, address(dollar), payer, amount, authorization);
        payments.payWithAuthorization(invoiceId, attempt, address(dollar), payer, amount, authorization);
        vm.assertEq(dollar.balanceOf(payee), 1 + amount, "payee");
    }

    function _sign(bytes32 invoiceId, uint256 attempt) private view returns (Authorization memory) {
        return _authorize(dollar, address(payments), AMOUNT, payments.authorizationNonce(invoiceId, attempt));
    }

    function _bring(bytes32 invoiceId, uint256 attempt, Authorization memory authorization) private {
        vm.prank(relayer);
        payments.payWithAuthorization(invoiceId, attempt, address(dollar), payer, AMOUNT, authorization);
    }
}
