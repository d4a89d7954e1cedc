// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {StencilEscrow} from "../src/StencilEscrow.sol";
import {Burner, Refuser} from "./support/Recipients.sol";
import {World} from "./support/World.sol";
import {vm} from "./support/Vm.sol";

/// Holds by the payer's own transaction, and what becomes of them.
contract StencilEscrowTest is World {
    uint256 private constant AMOUNT = 25e6;

    function test_a_hold_takes_the_money_and_tells_its_terms() public {
        StencilEscrow.Terms memory terms = _terms(address(dollar), AMOUNT);
        bytes32 holdId = escrow.holdIdOf(terms);
        _approve(address(dollar), address(escrow));
        vm.expectEmit(address(escrow));
        emit StencilEscrow.Held(
            holdId, INVOICE, payer, payee, operator, address(dollar), AMOUNT, uint64(NOW + 1 hours)
        );
        vm.prank(payer);
        bytes32 returned = escrow.hold(terms);
        vm.assertEq(returned, holdId, "id");
        vm.assertEq(dollar.balanceOf(address(escrow)), AMOUNT, "held");
        _requireState(holdId, StencilEscrow.State.Held);
    }

    function test_the_id_names_chain_contract_and_all_terms() public {
        StencilEscrow.Terms memory terms = _terms(address(dollar), AMOUNT);
        bytes32 id = escrow.holdIdOf(terms);
        vm.assertEq(
            id,
            keccak256(
                abi.encode(
                    keccak256(
                        "StencilHold(uint256 chainId,address escrow,bytes32 invoiceId,address payer,address payee,address operator,address token,uint256 amount,uint64 deadline)"
                    ),
                    block.chainid,
                    address(escrow),
                    INVOICE,
                    payer,
                    payee,
                    operator,
                    address(dollar),
                    AMOUNT,
                    uint64(NOW + 1 hours)
                )
            ),
            "as the README says"
        );
        vm.assertTrue(id != new StencilEscrow().holdIdOf(terms), "contract");
        StencilEscrow.Terms[7] memory changed;
        for (uint256 i = 0; i < 7; i++) {
            changed[i] = _terms(address(dollar), AMOUNT);
        }
        changed[0].invoiceId = OTHER_INVOICE;
        changed[1].payer = other;
        changed[2].payee = other;
        changed[3].operator = other;
        changed[4].token = address(token);
        changed[5].amount = AMOUNT + 1;
        changed[6].deadline += 1;
        for (uint256 i = 0; i < 7; i++) {
            vm.assertTrue(id != escrow.holdIdOf(changed[i]), "terms");
        }
        vm.chainId(block.chainid + 1);
        vm.assertTrue(id != escrow.holdIdOf(terms), "chain");
    }

    function test_release_pays_the_payee() public {
        (StencilEscrow.Terms memory terms, bytes32 holdId) = _hold(address(dollar), AMOUNT);
        vm.expectEmit(address(escrow));
        emit StencilEscrow.Released(holdId, INVOICE, AMOUNT, 0);
        vm.prank(operator);
        escrow.release(terms, AMOUNT);
        vm.assertEq(dollar.balanceOf(payee), 1 + AMOUNT, "payee");
        vm.assertEq(dollar.balanceOf(address(escrow)), 0, "nothing stays");
        _requireState(holdId, StencilEscrow.State.Released);
    }

    function test_release_in_part_returns_the_rest() public {
        (StencilEscrow.Terms memory terms, bytes32 holdId) = _hold(address(dollar), AMOUNT);
        uint256 before = dollar.balanceOf(payer);
        vm.expectEmit(address(escrow));
        emit StencilEscrow.Released(holdId, INVOICE, 10e6, 15e6);
        vm.prank(operator);
        escrow.release(terms, 10e6);
        vm.assertEq(dollar.balanceOf(payee), 1 + 10e6, "payee");
        vm.assertEq(dollar.balanceOf(payer) - before, 15e6, "payer");
        vm.assertEq(dollar.balanceOf(address(escrow)), 0, "nothing stays");
    }

    function test_native_coin_is_held_released_and_refunded() public {
        (StencilEscrow.Terms memory terms,) = _hold(NATIVE, 3 ether);
        vm.assertEq(address(escrow).balance, 3 ether, "held");
        vm.prank(operator);
        escrow.release(terms, 1 ether);
        vm.assertEq(payee.balance, 2 ether, "payee");
        vm.assertEq(payer.balance, 999 ether, "payer");

        terms.invoiceId = OTHER_INVOICE;
        vm.prank(payer);
        escrow.hold{value: 3 ether}(terms);
        vm.prank(operator);
        escrow.refund(terms);
        vm.assertEq(payer.balance, 999 ether, "payer, all back");
        vm.assertEq(address(escrow).balance, 0, "nothing stays");
    }

    function test_the_operator_can_refund_at_any_time() public {
        (StencilEscrow.Terms memory terms, bytes32 holdId) = _hold(address(dollar), AMOUNT);
        vm.expectEmit(address(escrow));
        emit StencilEscrow.Refunded(holdId, INVOICE, AMOUNT);
        vm.prank(operator);
        escrow.refund(terms);
        vm.assertEq(dollar.balanceOf(payer), 1_000_000e6, "payer");
        _requireState(holdId, StencilEscrow.State.Refunded);
    }

    function test_from_the_deadline_on_the_payer_is_sure_of_a_refund() public {
        (StencilEscrow.Terms memory terms,) = _hold(address(dollar), AMOUNT);
        vm.warp(terms.deadline - 1);
        vm.prank(payer);
        vm.expectRevert(abi.encodeWithSelector(StencilEscrow.DeadlineNotReached.selector, terms.deadline));
        escrow.refund(terms);

        vm.warp(terms.deadline);
        vm.prank(operator);
        vm.expectRevert(abi.encodeWithSelector(StencilEscrow.DeadlinePassed.selector, terms.deadline));
        escrow.release(terms, AMOUNT);
        vm.prank(payer);
        escrow.refund(terms);
        vm.assertEq(dollar.balanceOf(payer), 1_000_000e6, "payer");
    }

    /// A payer who has paid by an authorisation may have no coin for gas.
    function test_after_the_deadline_anybody_can_bring_the_payer_s_money_back() public {
        (StencilEscrow.Terms memory terms,) = _hold(address(dollar), AMOUNT);
        vm.warp(terms.deadline);
        vm.prank(other);
        escrow.refund(terms);
        vm.assertEq(dollar.balanceOf(payer), 1_000_000e6, "payer");
        vm.assertEq(dollar.balanceOf(other), 0, "who asked gets nothing");
    }

    function test_release_until_the_last_second() public {
        (StencilEscrow.Terms memory terms,) = _hold(address(dollar), AMOUNT);
        vm.warp(terms.deadline - 1);
        vm.prank(operator);
        escrow.release(terms, AMOUNT);
        vm.assertEq(dollar.balanceOf(payee), 1 + AMOUNT, "payee");
    }

    function test_a_hold_is_settled_once() public {
        (StencilEscrow.Terms memory terms, bytes32 holdId) = _hold(address(dollar), AMOUNT);
        // Others' money is there to be taken.
        dollar.mint(address(escrow), 10 * AMOUNT);
        vm.prank(operator);
        escrow.release(terms, 1);
        _requireSettled(terms, holdId, StencilEscrow.State.Released);
        vm.prank(payer);
        vm.expectRevert(
            abi.encodeWithSelector(
                StencilEscrow.AlreadyHeld.selector, holdId, StencilEscrow.State.Released
            )
        );
        escrow.hold(terms);

        terms.invoiceId = OTHER_INVOICE;
        vm.prank(payer);
        holdId = escrow.hold(terms);
        vm.prank(operator);
        escrow.refund(terms);
        _requireSettled(terms, holdId, StencilEscrow.State.Refunded);
        vm.assertEq(dollar.balanceOf(address(escrow)), 10 * AMOUNT, "others' money");
    }

    function test_terms_that_were_never_held_can_t_be_settled() public {
        (StencilEscrow.Terms memory terms,) = _hold(address(dollar), AMOUNT);
        dollar.mint(address(escrow), 10 * AMOUNT);
        terms.amount = 2 * AMOUNT;
        bytes32 holdId = escrow.holdIdOf(terms);
        vm.prank(operator);
        vm.expectRevert(
            abi.encodeWithSelector(StencilEscrow.NotHeld.selector, holdId, StencilEscrow.State.None)
        );
        escrow.release(terms, 2 * AMOUNT);
        terms.amount = AMOUNT;
        // Whoever makes themselves the operator has other terms.
        terms.operator = other;
        holdId = escrow.holdIdOf(terms);
        vm.prank(other);
        vm.expectRevert(
            abi.encodeWithSelector(StencilEscrow.NotHeld.selector, holdId, StencilEscrow.State.None)
        );
        escrow.refund(terms);
    }

    function test_only_the_operator_releases() public {
        (StencilEscrow.Terms memory terms,) = _hold(address(dollar), AMOUNT);
        address[3] memory senders = [payer, payee, other];
        for (uint256 i = 0; i < 3; i++) {
            vm.prank(senders[i]);
            vm.expectRevert(
                abi.encodeWithSelector(StencilEscrow.NotTheOperator.selector, operator, senders[i])
            );
            escrow.release(terms, AMOUNT);
        }
    }

    function test_not_more_than_is_held_and_not_nothing() public {
        (StencilEscrow.Terms memory terms,) = _hold(address(dollar), AMOUNT);
        dollar.mint(address(escrow), 10 * AMOUNT);
        vm.prank(operator);
        vm.expectRevert(abi.encodeWithSelector(StencilEscrow.CaptureTooLarge.selector, AMOUNT, AMOUNT + 1));
        escrow.release(terms, AMOUNT + 1);
        vm.prank(operator);
        vm.expectRevert(StencilEscrow.ZeroAmount.selector);
        escrow.release(terms, 0);
    }

    function test_only_the_payer_holds() public {
        _approve(address(dollar), address(escrow));
        vm.prank(other);
        vm.expectRevert(abi.encodeWithSelector(StencilEscrow.NotThePayer.selector, payer, other));
        escrow.hold(_terms(address(dollar), AMOUNT));
    }

    function test_the_same_terms_are_held_once() public {
        (StencilEscrow.Terms memory terms, bytes32 holdId) = _hold(address(dollar), AMOUNT);
        vm.prank(payer);
        vm.expectRevert(
            abi.encodeWithSelector(StencilEscrow.AlreadyHeld.selector, holdId, StencilEscrow.State.Held)
        );
        escrow.hold(terms);
    }

    /// Somebody who holds a little for the same invoice, under terms of their own, is in nobody's way.
    function test_an_invoice_can_t_be_squatted() public {
        StencilEscrow.Terms memory theirs = _terms(NATIVE, 1);
        theirs.payer = other;
        theirs.operator = other;
        vm.deal(other, 1);
        vm.prank(other);
        escrow.hold{value: 1}(theirs);
        (StencilEscrow.Terms memory terms,) = _hold(address(dollar), AMOUNT);
        vm.prank(operator);
        escrow.release(terms, AMOUNT);
        vm.assertEq(dollar.balanceOf(payee), 1 + AMOUNT, "payee");
    }

    function test_terms_that_make_no_sense_are_refused() public {
        StencilEscrow.Terms memory terms = _terms(address(dollar), AMOUNT);
        terms.invoiceId = 0;
        _refused(terms, abi.encodeWithSelector(StencilEscrow.ZeroInvoice.selector));
        _refused(_terms(address(dollar), 0), abi.encodeWithSelector(StencilEscrow.ZeroAmount.selector));
        _refused(
            _terms(address(0xdead), AMOUNT),
            abi.encodeWithSelector(StencilEscrow.NotAToken.selector, address(0xdead))
        );
        address[2] memory parties = [address(0), address(escrow)];
        for (uint256 i = 0; i < 2; i++) {
            bytes memory invalid = abi.encodeWithSelector(StencilEscrow.InvalidParty.selector, parties[i]);
            terms = _terms(address(dollar), AMOUNT);
            terms.payee = parties[i];
            _refused(terms, invalid);
            terms = _terms(address(dollar), AMOUNT);
            terms.operator = parties[i];
            _refused(terms, invalid);
        }
    }

    function test_deadlines_that_are_past_or_in_milliseconds_are_refused() public {
        uint64[3] memory deadlines = [uint64(NOW), uint64(NOW + 90 days + 1), uint64(NOW * 1000)];
        for (uint256 i = 0; i < 3; i++) {
            StencilEscrow.Terms memory terms = _terms(address(dollar), AMOUNT);
            terms.deadline = deadlines[i];
            _refused(
                terms,
                abi.encodeWithSelector(
                    StencilEscrow.InvalidDeadline.selector, deadlines[i], NOW + 1, NOW + 90 days
                )
            );
        }
        // The outermost that are taken.
        _approve(address(dollar), address(escrow));
        StencilEscrow.Terms memory short = _terms(address(dollar), AMOUNT);
        short.deadline = uint64(NOW + 1);
        vm.prank(payer);
        escrow.hold(short);
        short.deadline = uint64(NOW + 90 days);
        vm.prank(payer);
        escrow.hold(short);
    }

    function test_coin_and_terms_have_to_agree() public {
        StencilEscrow.Terms memory terms = _terms(NATIVE, 1 ether);
        vm.prank(payer);
        vm.expectRevert(abi.encodeWithSelector(StencilEscrow.WrongValue.selector, 1 ether, 0.5 ether));
        escrow.hold{value: 0.5 ether}(terms);
        vm.prank(payer);
        vm.expectRevert(abi.encodeWithSelector(StencilEscrow.WrongValue.selector, 1 ether, 2 ether));
        escrow.hold{value: 2 ether}(terms);
        terms = _terms(address(dollar), AMOUNT);
        vm.prank(payer);
        vm.expectRevert(abi.encodeWithSelector(StencilEscrow.WrongValue.selector, 0, 1));
        escrow.hold{value: 1}(terms);
        vm.prank(payer);
        (bool ok,) = address(escrow).call{value: 1}("");
        vm.assertEq(ok, false, "plain transfer");
    }

    function test_without_an_allowance_nothing_is_held() public {
        StencilEscrow.Terms memory terms = _terms(address(dollar), AMOUNT);
        _refused(
            terms,
            abi.encodeWithSelector(
                IERC20Errors.ERC20InsufficientAllowance.selector, address(escrow), 0, AMOUNT
            )
        );
        _requireState(escrow.holdIdOf(terms), StencilEscrow.State.None);
    }

    function test_a_recipient_that_refuses_the_coin_does_not_stop_the_settlement() public {
        Refuser refuser = new Refuser();
        StencilEscrow.Terms memory terms = _terms(NATIVE, 1 ether);
        terms.payer = address(refuser);
        vm.deal(address(refuser), 1 ether);
        refuser.call(address(escrow), 1 ether, abi.encodeCall(StencilEscrow.hold, (terms)));
        bytes32 holdId = escrow.holdIdOf(terms);
        vm.expectEmit(address(escrow));
        emit StencilEscrow.Deferred(holdId, address(refuser), NATIVE, 0.4 ether);
        vm.prank(operator);
        escrow.release(terms, 0.6 ether);
        vm.assertEq(payee.balance, 1.6 ether, "payee");
        vm.assertEq(escrow.owed(NATIVE, address(refuser)), 0.4 ether, "waits");

        bytes memory toItself = abi.encodeCall(StencilEscrow.withdraw, (NATIVE, address(refuser)));
        vm.expectRevert(abi.encodeWithSelector(StencilEscrow.RecipientRefused.selector, address(refuser)));
        refuser.call(address(escrow), 0, toItself);
        vm.expectEmit(address(escrow));
        emit StencilEscrow.Withdrawn(address(refuser), NATIVE, other, 0.4 ether);
        refuser.call(address(escrow), 0, abi.encodeCall(StencilEscrow.withdraw, (NATIVE, other)));
        vm.assertEq(other.balance, 0.4 ether, "fetched");
        vm.expectRevert(abi.encodeWithSelector(StencilEscrow.NothingOwed.selector, NATIVE, address(refuser)));
        refuser.call(address(escrow), 0, abi.encodeCall(StencilEscrow.withdraw, (NATIVE, other)));
    }

    function test_withdrawals_that_lead_nowhere_are_refused() public {
        vm.expectRevert(abi.encodeWithSelector(StencilEscrow.InvalidParty.selector, address(0)));
        escrow.withdraw(NATIVE, address(0));
        vm.expectRevert(abi.encodeWithSelector(StencilEscrow.InvalidParty.selector, address(escrow)));
        escrow.withdraw(NATIVE, address(escrow));
        vm.prank(other);
        vm.expectRevert(abi.encodeWithSelector(StencilEscrow.NothingOwed.selector, address(dollar), other));
        escrow.withdraw(address(dollar), other);
    }

    /// What a recipient can burn is bounded, and so is what a release costs the operator.
    function test_a_recipient_can_t_make_a_release_dear() public {
        Burner burner = new Burner();
        (StencilEscrow.Terms memory terms,) = _holdFor(address(burner), NATIVE, 1 ether);
        vm.prank(operator);
        uint256 before = gasleft();
        escrow.release(terms, 1 ether);
        vm.assertLe(before - gasleft(), 150_000, "gas");
        vm.assertEq(escrow.owed(NATIVE, address(burner)), 1 ether, "waits");
    }

    function testFuzz_what_is_held_is_what_comes_out(uint256 amount, uint256 captured, bool native) public {
        amount = amount % 1_000 ether + 1;
        captured = captured % amount + 1;
        address asset = native ? NATIVE : address(token);
        uint256 payerBefore = _balance(asset, payer);
        uint256 payeeBefore = _balance(asset, payee);
        (StencilEscrow.Terms memory terms,) = _hold(asset, amount);
        vm.assertEq(payerBefore - _balance(asset, payer), amount, "held");
        vm.prank(operator);
        escrow.release(terms, captured);
        vm.assertEq(_balance(asset, payee) - payeeBefore, captured, "payee");
        vm.assertEq(payerBefore - _balance(asset, payer), captured, "payer");
        vm.assertEq(_balance(asset, address(escrow)), 0, "nothing stays");
    }

    function testFuzz_at_each_time_exactly_one_way_out_is_the_payers_or_the_operators(uint256 later) public {
        (StencilEscrow.Terms memory terms,) = _hold(address(dollar), AMOUNT);
        later = later % 2 hours;
        vm.warp(NOW + later);
        bool early = block.timestamp < terms.deadline;
        vm.prank(operator);
        (bool released,) = address(escrow).call(abi.encodeCall(StencilEscrow.release, (terms, AMOUNT)));
        vm.assertEq(released, early, "release before the deadline alone");
        vm.prank(payer);
        (bool refunded,) = address(escrow).call(abi.encodeCall(StencilEscrow.refund, (terms)));
        vm.assertEq(refunded, !early, "refund by the payer from then on");
    }

    function _hold(address asset, uint256 amount) private returns (StencilEscrow.Terms memory, bytes32) {
        return _holdFor(payee, asset, amount);
    }

    function _holdFor(address to, address asset, uint256 amount)
        private
        returns (StencilEscrow.Terms memory terms, bytes32 holdId)
    {
        terms = _terms(asset, amount);
        terms.payee = to;
        if (asset == NATIVE) {
            vm.prank(payer);
            holdId = escrow.hold{value: amount}(terms);
        } else {
            _approve(asset, address(escrow));
            vm.prank(payer);
            holdId = escrow.hold(terms);
        }
    }

    function _refused(StencilEscrow.Terms memory terms, bytes memory why) private {
        vm.prank(payer);
        vm.expectRevert(why);
        escrow.hold(terms);
    }

    function _requireState(bytes32 holdId, StencilEscrow.State state) private view {
        vm.assertEq(uint256(escrow.stateOf(holdId)), uint256(state), "state");
    }

    function _requireSettled(StencilEscrow.Terms memory terms, bytes32 holdId, StencilEscrow.State state)
        private
    {
        bytes memory settled = abi.encodeWithSelector(StencilEscrow.NotHeld.selector, holdId, state);
        vm.prank(operator);
        vm.expectRevert(settled);
        escrow.release(terms, 1);
        vm.prank(operator);
        vm.expectRevert(settled);
        escrow.refund(terms);
        vm.warp(terms.deadline);
        vm.prank(payer);
        vm.expectRevert(settled);
        escrow.refund(terms);
        vm.warp(NOW);
    }
}
