// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {DevDollar} from "../dev/DevDollar.sol";
import {FalseToken} from "../dev/hostile/FalseToken.sol";
import {FeeToken} from "../dev/hostile/FeeToken.sol";
import {NoReturnToken} from "../dev/hostile/NoReturnToken.sol";
import {ReentrantToken} from "../dev/hostile/ReentrantToken.sol";
import {DevicePassport} from "../src/DevicePassport.sol";
import {StencilMarket} from "../src/StencilMarket.sol";
import {GreedyCollection, LazyCollection, ReenteringBuyer} from "./support/Collections.sol";
import {Estate} from "./support/Estate.sol";
import {Burner, Reenterer, Refuser} from "./support/Recipients.sol";
import {Signing} from "./support/World.sol";
import {vm} from "./support/Vm.sol";

/// Tokens, collections, buyers and recipients that misbehave.
contract StencilMarketHostileTest is Estate {
    function _paidIn(DevDollar token_) private returns (StencilMarket.Listing memory listing, bytes memory signature) {
        listing = _listed(address(token_), 100e6);
        signature = _sign(listing);
        token_.mint(buyer, 1_000e6);
        vm.prank(buyer);
        token_.approve(address(market), type(uint256).max);
    }

    /// An ordinary seller's token of a collection, approved to the market and listed.
    function _of(LazyCollection collection) private returns (StencilMarket.Listing memory listing) {
        collection.mint(seller, 5);
        vm.prank(seller);
        collection.approve(address(market), 5);
        listing = _listing(address(collection), 5, NATIVE, 2 ether);
    }

    function test_a_token_that_takes_a_fee_pays_only_sellers_that_signed_for_it() public {
        (StencilMarket.Listing memory listing, bytes memory signature) = _paidIn(new FeeToken(100));
        vm.prank(buyer);
        vm.expectRevert(
            abi.encodeWithSelector(StencilMarket.ProceedsTooLow.selector, 97.5e6, 97.5e6 - 97.5e6 / 100)
        );
        market.buy(listing, signature);
        listing.proceeds = 96e6;
        signature = _sign(listing);
        vm.prank(buyer);
        market.buy(listing, signature);
        vm.assertEq(passports.ownerOf(device), buyer, "owner");
        vm.assertEq(DevDollar(listing.token).balanceOf(seller), 97.5e6 - 97.5e6 / 100, "seller");
    }

    function test_a_token_that_lies_buys_nothing() public {
        FalseToken liar = new FalseToken(false);
        (StencilMarket.Listing memory listing, bytes memory signature) = _paidIn(liar);
        vm.prank(buyer);
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(liar)));
        market.buy(listing, signature);
    }

    function test_a_token_that_only_says_that_it_paid_buys_nothing() public {
        FalseToken liar = new FalseToken(true);
        (StencilMarket.Listing memory listing, bytes memory signature) = _paidIn(liar);
        vm.prank(buyer);
        vm.expectRevert(abi.encodeWithSelector(StencilMarket.ProceedsTooLow.selector, 97.5e6, 0));
        market.buy(listing, signature);
        vm.assertEq(passports.ownerOf(device), seller, "owner");
    }

    /// A collection's `transferFrom` is called as a token's is: the "price" would be the buyer's own passport.
    function test_a_passport_is_no_money() public {
        uint256 tokenId = _issue();
        vm.prank(seller);
        passports.transferFrom(seller, buyer, tokenId);
        vm.prank(buyer);
        passports.approve(address(market), tokenId);
        LazyCollection worthless = new LazyCollection();
        StencilMarket.Listing memory listing = _of(worthless);
        (listing.token, listing.price, listing.proceeds) = (address(passports), tokenId, 1);
        bytes memory signature = _sign(listing);
        vm.prank(buyer);
        vm.expectRevert(abi.encodeWithSelector(StencilMarket.NotMoney.selector, address(passports)));
        market.buy(listing, signature);
        vm.assertEq(passports.ownerOf(tokenId), buyer, "the buyer's passport");
    }

    function test_a_token_that_returns_nothing_pays() public {
        NoReturnToken plain = new NoReturnToken();
        StencilMarket.Listing memory listing = _listed(address(plain), 100);
        plain.mint(buyer, 1_000);
        vm.prank(buyer);
        plain.approve(address(market), 100);
        bytes memory signature = _sign(listing);
        vm.prank(buyer);
        market.buy(listing, signature);
        vm.assertEq(passports.ownerOf(device), buyer, "owner");
    }

    /// In the middle of the payment nobody buys a second time, by this listing or another.
    function test_a_token_that_calls_back_gets_nowhere() public {
        ReentrantToken hook = new ReentrantToken();
        (StencilMarket.Listing memory listing, bytes memory signature) = _paidIn(hook);
        hook.arm(address(market), abi.encodeCall(StencilMarket.buy, (listing, signature)));
        vm.prank(buyer);
        market.buy(listing, signature);
        vm.assertTrue(!hook.entered(), "entered");
        vm.assertEq(
            hook.answer(),
            abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector),
            "why"
        );
        vm.assertEq(passports.ownerOf(device), buyer, "owner");
    }

    /// A seller that takes the token away while it is being paid has not sold it, and is not paid.
    function test_a_seller_that_moves_the_token_away_meanwhile_is_not_paid() public {
        ReentrantToken hook = new ReentrantToken();
        (StencilMarket.Listing memory listing, bytes memory signature) = _paidIn(hook);
        vm.prank(seller);
        passports.setApprovalForAll(address(hook), true);
        hook.arm(address(passports), abi.encodeCall(IERC721.transferFrom, (seller, payee, device)));
        vm.prank(buyer);
        (bool ok,) = address(market).call(abi.encodeCall(StencilMarket.buy, (listing, signature)));
        vm.assertTrue(!ok, "bought");
        vm.assertEq(hook.balanceOf(seller), 0, "seller");
        vm.assertEq(passports.ownerOf(device), seller, "the whole transaction is undone");
    }

    function test_a_buyer_that_calls_back_gets_nowhere() public {
        StencilMarket.Listing memory listing = _listed(NATIVE, 2 ether);
        bytes memory signature = _sign(listing);
        ReenteringBuyer contractBuyer = new ReenteringBuyer();
        vm.deal(address(contractBuyer), 10 ether);
        bytes memory call = abi.encodeCall(StencilMarket.buy, (listing, signature));
        contractBuyer.arm(address(market), call);
        vm.assertTrue(contractBuyer.call(address(market), 2 ether, call), "bought");
        vm.assertTrue(contractBuyer.called(), "called");
        vm.assertTrue(!contractBuyer.entered(), "entered");
        vm.assertEq(passports.ownerOf(device), address(contractBuyer), "owner");
    }

    function test_a_buyer_that_can_t_hold_tokens_keeps_its_money() public {
        StencilMarket.Listing memory listing = _listed(NATIVE, 2 ether);
        bytes memory signature = _sign(listing);
        Refuser refuser = new Refuser();
        vm.deal(address(refuser), 10 ether);
        (bool ok,) = address(refuser).call(
            abi.encodeCall(
                Refuser.call, (address(market), 2 ether, abi.encodeCall(StencilMarket.buy, (listing, signature)))
            )
        );
        vm.assertTrue(!ok, "bought");
        vm.assertEq(address(refuser).balance, 10 ether, "money");
        vm.assertEq(passports.ownerOf(device), seller, "owner");
    }

    function test_a_collection_that_does_not_deliver_is_not_paid() public {
        LazyCollection lazy = new LazyCollection();
        StencilMarket.Listing memory listing = _of(lazy);
        bytes memory signature = _sign(listing);
        lazy.setLazy(true);
        vm.prank(buyer);
        vm.expectRevert(abi.encodeWithSelector(StencilMarket.NotDelivered.selector, address(lazy), 5));
        market.buy{value: 2 ether}(listing, signature);
        vm.assertEq(buyer.balance, 1_000 ether, "buyer");
    }

    function test_a_collection_without_royalties_is_sold_for_the_whole_price() public {
        StencilMarket.Listing memory listing = _of(new LazyCollection());
        listing.proceeds = 2 ether;
        bytes memory signature = _sign(listing);
        uint256 before = seller.balance;
        vm.prank(buyer);
        market.buy{value: 2 ether}(listing, signature);
        vm.assertEq(seller.balance - before, 2 ether, "seller");
    }

    function test_royalties_that_rose_after_the_signature_sell_nothing() public {
        GreedyCollection greedy = new GreedyCollection();
        StencilMarket.Listing memory listing = _of(greedy);
        bytes memory signature = _sign(listing);
        greedy.setRoyalty(artist, 1 ether);
        vm.prank(buyer);
        vm.expectRevert(abi.encodeWithSelector(StencilMarket.ProceedsTooLow.selector, 1.95 ether, 1 ether));
        market.buy{value: 2 ether}(listing, signature);
        greedy.setRoyalty(artist, 2 ether + 1);
        vm.prank(buyer);
        vm.expectRevert(abi.encodeWithSelector(StencilMarket.RoyaltyTooHigh.selector, 2 ether, 2 ether + 1));
        market.buy{value: 2 ether}(listing, signature);
        // Nobody to pay it to: none.
        greedy.setRoyalty(address(0), 1 ether);
        vm.prank(buyer);
        market.buy{value: 2 ether}(listing, signature);
        vm.assertEq(greedy.ownerOf(5), buyer, "owner");
    }

    function test_a_recipient_that_refuses_coin_ends_the_sale() public {
        GreedyCollection greedy = new GreedyCollection();
        StencilMarket.Listing memory listing = _of(greedy);
        bytes memory signature = _sign(listing);
        address refuser = address(new Refuser());
        greedy.setRoyalty(refuser, 0.01 ether);
        vm.prank(buyer);
        vm.expectRevert(abi.encodeWithSelector(StencilMarket.RecipientRefused.selector, refuser));
        market.buy{value: 2 ether}(listing, signature);
    }

    function test_what_a_recipient_returns_is_not_looked_at() public {
        GreedyCollection greedy = new GreedyCollection();
        StencilMarket.Listing memory listing = _of(greedy);
        bytes memory signature = _sign(listing);
        greedy.setRoyalty(address(new Burner()), 0.01 ether);
        vm.prank(buyer);
        market.buy{value: 2 ether}(listing, signature);
        vm.assertEq(greedy.ownerOf(5), buyer, "owner");
    }

    /// A recipient of royalties that buys, with that money, what is being sold.
    function test_a_recipient_that_calls_back_gets_nowhere() public {
        GreedyCollection greedy = new GreedyCollection();
        StencilMarket.Listing memory listing = _of(greedy);
        bytes memory signature = _sign(listing);
        Reenterer reenterer = new Reenterer();
        greedy.setRoyalty(address(reenterer), 0.01 ether);
        reenterer.arm(address(market), abi.encodeCall(StencilMarket.buy, (listing, signature)));
        vm.prank(buyer);
        market.buy{value: 2 ether}(listing, signature);
        vm.assertTrue(reenterer.called(), "called");
        vm.assertTrue(!reenterer.entered(), "entered");
    }
}
