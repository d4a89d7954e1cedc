// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {Authorization} from "../src/Eip3009.sol";
import {DevDollar} from "../dev/DevDollar.sol";
import {StencilEscrow} from "../src/StencilEscrow.sol";
import {ContractWallet} from "./support/Recipients.sol";
import {Signing, World} from "./support/World.sol";
import {vm} from "./support/Vm.sol";

/// Holds by an authorisation that somebody else brings in.
contract StencilEscrowAuthorizationTest is World {
    uint256 private constant AMOUNT = 25e6;

    function test_an_authorisation_holds_under_its_terms_whoever_brings_it() public {
        StencilEscrow.Terms memory terms = _terms(address(dollar), AMOUNT);
        bytes32 holdId = escrow.holdIdOf(terms);
        Authorization memory authorization = _sign(terms);
        vm.expectEmit(address(escrow));
        emit StencilEscrow.Held(
            holdId, INVOICE, payer, payee, operator, address(dollar), AMOUNT, terms.deadline
        );
        vm.prank(relayer);
        bytes32 returned = escrow.holdWithAuthorization(terms, authorization);
        vm.assertEq(returned, holdId, "id");
        vm.assertEq(dollar.balanceOf(address(escrow)), AMOUNT, "held");
        vm.prank(operator);
        escrow.release(terms, AMOUNT);
        vm.assertEq(dollar.balanceOf(payee), 1 + AMOUNT, "payee");
    }

    /// Who sees it before it is mined can change nothing of what it is for.
    function test_a_signature_fits_no_other_terms() public {
        Authorization memory authorization = _sign(_terms(address(dollar), AMOUNT));
        StencilEscrow.Terms[5] memory changed;
        for (uint256 i = 0; i < 5; i++) {
            changed[i] = _terms(address(dollar), AMOUNT);
        }
        changed[0].invoiceId = OTHER_INVOICE;
        changed[1].payee = other;
        changed[2].operator = other;
        changed[3].deadline += 1;
        changed[4].amount = AMOUNT - 1;
        for (uint256 i = 0; i < 5; i++) {
            _refused(changed[i], authorization, abi.encodeWithSelector(ERC3009.ERC3009InvalidSignature.selector));
        }
    }

    function test_it_can_t_be_replayed() public {
        StencilEscrow.Terms memory terms = _terms(address(dollar), AMOUNT);
        Authorization memory authorization = _sign(terms);
        bytes32 holdId = escrow.holdWithAuthorization(terms, authorization);
        _refused(
            terms,
            authorization,
            abi.encodeWithSelector(StencilEscrow.AlreadyHeld.selector, holdId, StencilEscrow.State.Held)
        );
        vm.prank(operator);
        escrow.refund(terms);
        _refused(
            terms,
            authorization,
            abi.encodeWithSelector(StencilEscrow.AlreadyHeld.selector, holdId, StencilEscrow.State.Refunded)
        );
    }

    /// Both ways of the same hold: the terms are held once, and paid once.
    function test_a_hold_and_an_authorisation_of_the_same_terms_pay_once() public {
        StencilEscrow.Terms memory terms = _terms(address(dollar), AMOUNT);
        Authorization memory authorization = _sign(terms);
        _approve(address(dollar), address(escrow));
        vm.prank(payer);
        bytes32 holdId = escrow.hold(terms);
        _refused(
            terms,
            authorization,
            abi.encodeWithSelector(StencilEscrow.AlreadyHeld.selector, holdId, StencilEscrow.State.Held)
        );
        vm.assertEq(dollar.balanceOf(address(escrow)), AMOUNT, "once");
    }

    function test_it_can_t_be_used_beside_the_contract() public {
        StencilEscrow.Terms memory terms = _terms(address(dollar), AMOUNT);
        Authorization memory authorization = _sign(terms);
        bytes32 nonce = escrow.holdIdOf(terms);
        vm.prank(other);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(escrow)));
        dollar.receiveWithAuthorization(
            payer,
            address(escrow),
            AMOUNT,
            authorization.validAfter,
            authorization.validBefore,
            nonce,
            authorization.signature
        );
    }

    function test_a_forged_one_is_refused() public {
        StencilEscrow.Terms memory terms = _terms(address(dollar), AMOUNT);
        Authorization memory forged = _authorize(
            dollar, OTHER_KEY, address(escrow), AMOUNT, NOW - 1, NOW + 1 hours, escrow.holdIdOf(terms)
        );
        _refused(terms, forged, abi.encodeWithSelector(ERC3009.ERC3009InvalidSignature.selector));
    }

    function test_one_for_another_token_is_refused() public {
        DevDollar second = new DevDollar();
        second.mint(payer, AMOUNT);
        Authorization memory authorization = _sign(_terms(address(dollar), AMOUNT));
        _refused(
            _terms(address(second), AMOUNT),
            authorization,
            abi.encodeWithSelector(ERC3009.ERC3009InvalidSignature.selector)
        );
    }

    function test_one_for_another_chain_is_refused() public {
        StencilEscrow.Terms memory terms = _terms(address(dollar), AMOUNT);
        Authorization memory authorization = _sign(terms);
        vm.chainId(block.chainid + 1);
        _refused(terms, authorization, abi.encodeWithSelector(ERC3009.ERC3009InvalidSignature.selector));
    }

    function test_one_for_another_escrow_is_refused() public {
        StencilEscrow.Terms memory terms = _terms(address(dollar), AMOUNT);
        Authorization memory authorization = _sign(terms);
        escrow = new StencilEscrow();
        _refused(terms, authorization, abi.encodeWithSelector(ERC3009.ERC3009InvalidSignature.selector));
    }

    function test_expired_and_future_dated_ones_are_refused() public {
        StencilEscrow.Terms memory terms = _terms(address(dollar), AMOUNT);
        bytes32 nonce = escrow.holdIdOf(terms);
        _refused(
            terms,
            _authorize(dollar, PAYER_KEY, address(escrow), AMOUNT, NOW - 100, NOW, nonce),
            abi.encodeWithSelector(ERC3009.ERC3009InvalidAuthorizationTime.selector, NOW - 100, NOW)
        );
        _refused(
            terms,
            _authorize(dollar, PAYER_KEY, address(escrow), AMOUNT, NOW, NOW + 100, nonce),
            abi.encodeWithSelector(ERC3009.ERC3009InvalidAuthorizationTime.selector, NOW, NOW + 100)
        );
        vm.assertEq(uint256(escrow.stateOf(nonce)), uint256(StencilEscrow.State.None), "state");
    }

    function test_a_cancelled_one_is_refused() public {
        StencilEscrow.Terms memory terms = _terms(address(dollar), AMOUNT);
        bytes32 nonce = escrow.holdIdOf(terms);
        Authorization memory authorization = _sign(terms);
        dollar.cancelAuthorization(
            payer,
            nonce,
            Signing.sign(PAYER_KEY, Signing.digest(dollar, keccak256(abi.encode(Signing.CANCEL, payer, nonce))))
        );
        _refused(
            terms, authorization, abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, payer, nonce)
        );
    }

    function test_native_coin_and_missing_tokens_are_refused() public {
        Authorization memory authorization = _sign(_terms(address(dollar), AMOUNT));
        _refused(
            _terms(NATIVE, AMOUNT),
            authorization,
            abi.encodeWithSelector(StencilEscrow.NativeNotAuthorizable.selector)
        );
        _refused(
            _terms(address(0xdead), AMOUNT),
            authorization,
            abi.encodeWithSelector(StencilEscrow.NotAToken.selector, address(0xdead))
        );
        _refused(_terms(address(token), AMOUNT), authorization, "");
    }

    function test_a_payer_of_zero_is_refused() public {
        StencilEscrow.Terms memory terms = _terms(address(dollar), AMOUNT);
        terms.payer = address(0);
        _refused(
            terms, _sign(terms), abi.encodeWithSelector(StencilEscrow.InvalidParty.selector, address(0))
        );
    }

    function test_a_contract_wallet_signs_by_erc_1271() public {
        ContractWallet wallet = new ContractWallet(payer);
        dollar.mint(address(wallet), AMOUNT);
        StencilEscrow.Terms memory terms = _terms(address(dollar), AMOUNT);
        terms.payer = address(wallet);
        bytes32 structHash = keccak256(
            abi.encode(
                Signing.RECEIVE,
                address(wallet),
                address(escrow),
                AMOUNT,
                NOW - 1,
                NOW + 1 hours,
                escrow.holdIdOf(terms)
            )
        );
        bytes memory signature = Signing.sign(PAYER_KEY, Signing.digest(dollar, structHash));
        Authorization memory authorization = Authorization({
            validAfter: NOW - 1, validBefore: NOW + 1 hours, signature: abi.encodePacked(uint8(1), signature)
        });
        escrow.holdWithAuthorization(terms, authorization);
        vm.assertEq(dollar.balanceOf(address(escrow)), AMOUNT, "held");
        vm.prank(operator);
        escrow.refund(terms);
        vm.assertEq(dollar.balanceOf(address(wallet)), AMOUNT, "back in the wallet");
    }

    function testFuzz_a_signature_holds_its_own_terms_alone(StencilEscrow.Terms memory terms, uint256 amount)
        public
    {
        terms.payer = payer;
        terms.token = address(dollar);
        terms.amount = amount % 1_000_000e6 + 1;
        terms.deadline = uint64(NOW + 1 + terms.deadline % 90 days);
        vm.assume(terms.invoiceId != 0);
        vm.assume(terms.payee != address(0) && terms.payee != address(escrow));
        vm.assume(terms.operator != address(0) && terms.operator != address(escrow));
        vm.assume(terms.payee != payer && terms.payee != payee);
        Authorization memory authorization =
            _authorize(dollar, address(escrow), terms.amount, escrow.holdIdOf(terms));
        uint256 before = dollar.balanceOf(terms.payee);
        escrow.holdWithAuthorization(terms, authorization);
        vm.prank(terms.operator);
        escrow.release(terms, terms.amount);
        vm.assertEq(dollar.balanceOf(terms.payee) - before, terms.amount, "payee");

        terms.payee = payee;
        _refused(terms, authorization, abi.encodeWithSelector(ERC3009.ERC3009InvalidSignature.selector));
    }

    function _sign(StencilEscrow.Terms memory terms) private view returns (Authorization memory) {
        return _authorize(dollar, address(escrow), terms.amount, escrow.holdIdOf(terms));
    }

    function _refused(
        StencilEscrow.Terms memory terms,
        Authorization memory authorization,
        bytes memory why
    ) private {
        vm.expectRevert(why);
        vm.prank(relayer);
        escrow.holdWithAuthorization(terms, authorization);
    }
}
