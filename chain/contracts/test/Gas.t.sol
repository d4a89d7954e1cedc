// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Authorization} from "../src/Eip3009.sol";
import {AccessRight} from "../src/AccessRight.sol";
import {DevicePassport} from "../src/DevicePassport.sol";
import {StencilAnchor} from "../src/StencilAnchor.sol";
import {StencilEscrow} from "../src/StencilEscrow.sol";
import {StencilMarket} from "../src/StencilMarket.sol";
import {StencilPayments} from "../src/StencilPayments.sol";
import {Estate} from "./support/Estate.sol";
import {vm} from "./support/Vm.sol";

/// What each transaction costs, its base price included, in the usual case: a payee that holds the
/// token already, and an allowance that was given before. Written to `gas/` and compared from then on.
contract GasTest is Estate {
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

    /// Each in a test of its own: what lies in the memory before makes the next one dearer here.
    function test_gas_of_deployment_of_passports() public {
        uint256 left = gasleft();
        new DevicePassport("Passports", "PASS", issuer, artist, ROYALTY);
        vm.snapshotValue("DevicePassport", "deployment", left - gasleft() - CREATE);
    }

    function test_gas_of_deployment_of_rights() public {
        uint256 left = gasleft();
        new AccessRight("Rights", "RIGHT", issuer, METADATA);
        vm.snapshotValue("AccessRight", "deployment", left - gasleft() - CREATE);
    }

    function test_gas_of_deployment_of_the_market() public {
        uint256 left = gasleft();
        new StencilMarket();
        vm.snapshotValue("StencilMarket", "deployment", left - gasleft() - CREATE);
    }

    function test_gas_of_deployment_of_the_anchor() public {
        uint256 left = gasleft();
        new StencilAnchor();
        vm.snapshotValue("StencilAnchor", "deployment", left - gasleft() - CREATE);
    }

    function test_gas_of_passports() public {
        uint256 tokenId = _issue();
        vm.snapshotGasLastCall("DevicePassport", "`issue`");
        vm.prank(seller);
        passports.transferFrom(seller, buyer, tokenId);
        vm.snapshotGasLastCall("DevicePassport", "`transferFrom`");
        vm.prank(issuer);
        passports.propose(tokenId, OTHER_METADATA);
        vm.snapshotGasLastCall("DevicePassport", "`propose`");
        vm.prank(buyer);
        passports.accept(tokenId, OTHER_METADATA);
        vm.snapshotGasLastCall("DevicePassport", "`accept`");
    }

    function test_gas_of_rights() public {
        vm.prank(issuer);
        rights.issue(seller, device, uint64(NOW + 1 days));
        vm.prank(issuer);
        uint256 tokenId = rights.issue(seller, device, uint64(NOW + 1 days));
        vm.snapshotGasLastCall("AccessRight", "`issue`");
        vm.prank(seller);
        rights.setUser(tokenId, buyer, uint64(NOW + 1 hours));
        vm.snapshotGasLastCall("AccessRight", "`setUser`");
        vm.prank(seller);
        rights.transferFrom(seller, buyer, tokenId);
        vm.snapshotGasLastCall("AccessRight", "`transferFrom`");
    }

    function test_gas_of_sales() public {
        StencilMarket.Listing memory listing = _listed(address(dollar), 100e6);
        bytes memory signature = _sign(listing);
        vm.prank(buyer);
        dollar.approve(address(market), type(uint256).max);
        vm.prank(buyer);
        market.buy(listing, signature);
        vm.snapshotGasLastCall("StencilMarket", "`buy` of a passport with an ERC-20 token, with a royalty");
        vm.prank(seller);
        market.cancel(2);
        vm.snapshotGasLastCall("StencilMarket", "`cancel`");
    }

    function test_gas_of_a_sale_for_coin() public {
        StencilMarket.Listing memory listing = _listed(NATIVE, 1 ether);
        bytes memory signature = _sign(listing);
        vm.prank(buyer);
        market.buy{value: 1 ether}(listing, signature);
        vm.snapshotGasLastCall("StencilMarket", "`buy` of a passport with native coin, with a royalty");
    }

    function test_gas_of_anchors() public {
        StencilAnchor anchor = new StencilAnchor();
        vm.prank(operator);
        bytes32 link = anchor.append(INVOICE, 0, METADATA, 1, 2);
        vm.prank(operator);
        anchor.append(INVOICE, link, OTHER_METADATA, 2, 3);
        vm.snapshotGasLastCall("StencilAnchor", "`append`");
    }
}
