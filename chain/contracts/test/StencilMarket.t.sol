// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors, IERC721Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {StencilMarket} from "../src/StencilMarket.sol";
import {Estate} from "./support/Estate.sol";
import {ContractWallet} from "./support/Recipients.sol";
import {Signing} from "./support/World.sol";
import {vm} from "./support/Vm.sol";

/// Sales, and listings that can't be bought.
contract StencilMarketTest is Estate {
    function _approveBuyer() private {
        vm.prank(buyer);
        dollar.approve(address(market), type(uint256).max);
    }

    function _buy(StencilMarket.Listing memory listing, bytes memory signature) private {
        vm.prank(buyer);
        market.buy{value: listing.token == NATIVE ? listing.price : 0}(listing, signature);
    }

    function test_a_passport_is_sold_for_dollars_and_the_royalty_is_paid() public {
        StencilMarket.Listing memory listing = _listed(address(dollar), 100e6);
        bytes memory signature = _sign(listing);
        _approveBuyer();
        uint256 before = dollar.balanceOf(seller);
        vm.expectEmit(address(market));
        emit StencilMarket.Sold(
            address(passports), device, seller, buyer, address(dollar), 100e6, 97.5e6, artist, 2.5e6, 1
        );
        _buy(listing, signature);
        vm.assertEq(passports.ownerOf(device), buyer, "owner");
        vm.assertEq(dollar.balanceOf(seller) - before, 97.5e6, "seller");
        vm.assertEq(dollar.balanceOf(artist), 1 + 2.5e6, "royalty");
        vm.assertEq(dollar.balanceOf(buyer), 1_000_000e6 - 100e6, "buyer");
        vm.assertEq(dollar.balanceOf(address(market)), 0, "nothing stays");
        vm.assertEq(uint256(market.stateOf(seller, 1)), uint256(StencilMarket.State.Sold), "state");
    }

    function test_a_passport_is_sold_for_coin() public {
        StencilMarket.Listing memory listing = _listed(NATIVE, 2 ether);
        bytes memory signature = _sign(listing);
        uint256 before = seller.balance;
        _buy(listing, signature);
        vm.assertEq(passports.ownerOf(device), buyer, "owner");
        vm.assertEq(seller.balance - before, 1.95 ether, "seller");
        vm.assertEq(artist.balance, 1.05 ether, "royalty");
        vm.assertEq(address(market).balance, 0, "nothing stays");
    }

    function test_a_right_is_sold_and_its_buyer_uses_it() public {
        vm.prank(issuer);
        uint256 tokenId = rights.issue(seller, device, uint64(NOW + 30 days));
        vm.prank(seller);
        rights.setApprovalForAll(address(market), true);
        StencilMarket.Listing memory listing = _listing(address(rights), tokenId, NATIVE, 1 ether);
        listing.proceeds = listing.price;
        _buy(listing, _sign(listing));
        vm.assertEq(rights.userOf(tokenId), buyer, "user");
    }

    function test_a_contract_wallet_sells() public {
        address wallet = address(new ContractWallet(payer));
        vm.prank(issuer);
        uint256 tokenId = rights.issue(payer, device, uint64(NOW + 30 days));
        vm.prank(payer);
        rights.transferFrom(payer, wallet, tokenId);
        vm.prank(wallet);
        rights.approve(address(market), tokenId);
        StencilMarket.Listing memory listing = _listing(address(rights), tokenId, address(dollar), 100e6);
        listing.seller = wallet;
        bytes memory signature = abi.encodePacked(uint8(7), _sign(listing));
        _approveBuyer();
        _buy(listing, signature);
        vm.assertEq(rights.ownerOf(tokenId), buyer, "owner");
        vm.assertEq(dollar.balanceOf(wallet), 100e6, "seller");
    }

    function test_a_contract_wallet_that_did_not_sign_sells_nothing() public {
        address wallet = address(new ContractWallet(address(0x99)));
        vm.prank(issuer);
        uint256 tokenId = rights.issue(payer, device, uint64(NOW + 30 days));
        vm.prank(payer);
        rights.transferFrom(payer, wallet, tokenId);
        StencilMarket.Listing memory listing = _listing(address(rights), tokenId, address(dollar), 100e6);
        listing.seller = wallet;
        bytes memory signature = abi.encodePacked(uint8(7), _sign(listing));
        vm.expectRevert(
            abi.encodeWithSelector(StencilMarket.InvalidSignature.selector, wallet, market.digestOf(listing))
        );
        _buy(listing, signature);
    }

    function test_a_listing_is_bought_once() public {
        StencilMarket.Listing memory listing = _listed(NATIVE, 2 ether);
        bytes memory signature = _sign(listing);
        _buy(listing, signature);
        // Even when the token is the seller's again.
        vm.prank(buyer);
        passports.transferFrom(buyer, seller, device);
        vm.expectRevert(
            abi.encodeWithSelector(StencilMarket.NotOpen.selector, seller, 1, StencilMarket.State.Sold)
        );
        _buy(listing, signature);
    }

    function test_a_cancelled_listing_is_not_bought() public {
        StencilMarket.Listing memory listing = _listed(NATIVE, 2 ether);
        bytes memory signature = _sign(listing);
        vm.prank(seller);
        vm.expectEmit(address(market));
        emit StencilMarket.Cancelled(seller, 1);
        market.cancel(1);
        bytes memory refusal =
            abi.encodeWithSelector(StencilMarket.NotOpen.selector, seller, 1, StencilMarket.State.Cancelled);
        vm.expectRevert(refusal);
        _buy(listing, signature);
        vm.prank(seller);
        vm.expectRevert(refusal);
        market.cancel(1);
    }

    function test_another_s_cancellation_changes_nothing() public {
        StencilMarket.Listing memory listing = _listed(NATIVE, 2 ether);
        bytes memory signature = _sign(listing);
        vm.prank(relayer);
        market.cancel(1);
        _buy(listing, signature);
        vm.assertEq(passports.ownerOf(device), buyer, "owner");
    }

    function test_a_listing_ends_with_its_time() public {
        StencilMarket.Listing memory listing = _listed(NATIVE, 2 ether);
        bytes memory signature = _sign(listing);
        vm.warp(listing.expires);
        vm.expectRevert(abi.encodeWithSelector(StencilMarket.Expired.selector, listing.expires, listing.expires));
        _buy(listing, signature);
        vm.warp(NOW);
        // Milliseconds.
        listing.expires *= 1000;
        signature = _sign(listing);
        vm.expectRevert(
            abi.encodeWithSelector(StencilMarket.ExpiryTooFar.selector, listing.expires, NOW + market.MAX_TIME())
        );
        _buy(listing, signature);
    }

    function test_a_listing_for_another_chain_or_market_is_no_listing() public {
        StencilMarket.Listing memory listing = _listed(NATIVE, 2 ether);
        uint256 here = block.chainid;
        vm.chainId(7);
        bytes memory elsewhere = _sign(listing);
        vm.chainId(here);
        bytes memory refusal =
            abi.encodeWithSelector(StencilMarket.InvalidSignature.selector, seller, market.digestOf(listing));
        vm.expectRevert(refusal);
        _buy(listing, elsewhere);
        bytes memory otherMarket = Signing.sign(PAYER_KEY, new StencilMarket().digestOf(listing));
        vm.expectRevert(refusal);
        _buy(listing, otherMarket);
        vm.expectRevert(refusal);
        _buy(listing, "");
    }

    /// Whatever is changed after the signature, it is not what was signed.
    function test_a_changed_listing_is_no_listing() public {
        StencilMarket.Listing memory signed = _listed(address(dollar), 100e6);
        bytes memory signature = _sign(signed);
        _approveBuyer();
        for (uint256 i = 0; i < 6; i++) {
            StencilMarket.Listing memory listing = _copy(signed);
            if (i == 0) listing.price -= 1;
            if (i == 1) listing.token = address(token);
            if (i == 2) listing.tokenId += 1;
            if (i == 3) listing.proceeds -= 1;
            if (i == 4) listing.expires += 1;
            if (i == 5) listing.nonce += 1;
            vm.expectRevert(
                abi.encodeWithSelector(StencilMarket.InvalidSignature.selector, seller, market.digestOf(listing))
            );
            _buy(listing, signature);
        }
        _buy(signed, signature);
    }

    function _copy(StencilMarket.Listing memory listing) private pure returns (StencilMarket.Listing memory) {
        return abi.decode(abi.encode(listing), (StencilMarket.Listing));
    }

    function test_only_what_is_the_seller_s_is_sold() public {
        StencilMarket.Listing memory listing = _listed(NATIVE, 2 ether);
        bytes memory signature = _sign(listing);
        vm.prank(seller);
        passports.transferFrom(seller, payee, device);
        vm.expectRevert(abi.encodeWithSelector(StencilMarket.NotTheOwner.selector, payee, seller));
        _buy(listing, signature);
    }

    function test_without_an_approval_nothing_is_sold_and_nothing_paid() public {
        uint256 tokenId = _issue();
        StencilMarket.Listing memory listing = _listing(address(passports), tokenId, NATIVE, 2 ether);
        bytes memory signature = _sign(listing);
        vm.expectRevert(
            abi.encodeWithSelector(IERC721Errors.ERC721InsufficientApproval.selector, address(market), tokenId)
        );
        _buy(listing, signature);
        vm.assertEq(buyer.balance, 1_000 ether, "buyer");
    }

    function test_without_an_allowance_nothing_is_bought() public {
        StencilMarket.Listing memory listing = _listed(address(dollar), 100e6);
        bytes memory signature = _sign(listing);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(market), 0, 2.5e6)
        );
        _buy(listing, signature);
    }

    function test_the_coin_sent_along_is_the_price() public {
        StencilMarket.Listing memory listing = _listed(NATIVE, 2 ether);
        bytes memory signature = _sign(listing);
        vm.prank(buyer);
        vm.expectRevert(abi.encodeWithSelector(StencilMarket.WrongValue.selector, 2 ether, 1 ether));
        market.buy{value: 1 ether}(listing, signature);
        listing.token = address(dollar);
        vm.prank(buyer);
        vm.expectRevert(abi.encodeWithSelector(StencilMarket.WrongValue.selector, 0, 1));
        market.buy{value: 1}(listing, signature);
    }

    function test_what_can_t_be_meant_is_refused() public {
        StencilMarket.Listing memory listing = _listed(NATIVE, 2 ether);
        listing.price = 0;
        vm.expectRevert(StencilMarket.ZeroPrice.selector);
        _buy(listing, "");
        listing.price = 1;
        vm.prank(seller);
        vm.expectRevert(abi.encodeWithSelector(StencilMarket.OwnListing.selector, seller));
        market.buy{value: 1}(listing, "");
        listing.collection = payee;
        vm.expectRevert(abi.encodeWithSelector(StencilMarket.NotAContract.selector, payee));
        _buy(listing, "");
        listing.collection = address(passports);
        listing.token = payee;
        vm.expectRevert(abi.encodeWithSelector(StencilMarket.NotAContract.selector, payee));
        _buy(listing, "");
    }

    function testFuzz_the_price_is_divided_without_a_rest(uint256 price, bool native) public {
        price = price % 1e12 + 1;
        StencilMarket.Listing memory listing = _listed(native ? NATIVE : address(dollar), price);
        bytes memory signature = _sign(listing);
        _approveBuyer();
        uint256 sellers = _balance(listing.token, seller);
        uint256 artists = _balance(listing.token, artist);
        uint256 buyers = _balance(listing.token, buyer);
        _buy(listing, signature);
        uint256 royalty = price * ROYALTY / 10_000;
        vm.assertEq(_balance(listing.token, artist) - artists, royalty, "royalty");
        vm.assertEq(_balance(listing.token, seller) - sellers, price - royalty, "seller");
        vm.assertEq(buyers - _balance(listing.token, buyer), price, "buyer");
    }

    /// The signature of any other key is of no use.
    function testFuzz_only_the_seller_s_signature_counts(uint256 key) public {
        key = key % 1e60 + 1;
        vm.assume(key != PAYER_KEY);
        StencilMarket.Listing memory listing = _listed(NATIVE, 1 ether);
        bytes32 digest = market.digestOf(listing);
        vm.expectRevert(abi.encodeWithSelector(StencilMarket.InvalidSignature.selector, seller, digest));
        _buy(listing, Signing.sign(key, digest));
    }
}
