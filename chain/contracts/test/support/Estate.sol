// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessRight} from "../../src/AccessRight.sol";
import {DevicePassport} from "../../src/DevicePassport.sol";
import {StencilMarket} from "../../src/StencilMarket.sol";
import {Signing, World} from "./World.sol";
import {vm} from "./Vm.sol";

/// A tenant that issues passports and rights, an owner (the payer of the other tests sells, the other buys),
/// and the market.
abstract contract Estate is World {
    string internal constant DID = "did:web:hub.example:tenants:acme:devices:locker-7";
    // SHA-256 of `hello`, written out: a call of the hash would use up a prank.
    bytes32 internal constant METADATA = 0x2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824;
    // SHA-256 of `hello again`, written out: a call of the hash would use up a prank.
    bytes32 internal constant OTHER_METADATA = 0x3908c567feda72bc0dbdb2dff040fe0d3470dcd51b942374378a476930dbf6b3;
    uint96 internal constant ROYALTY = 250;

    address internal issuer = address(0x155);
    address internal artist = address(0xa27157);
    address internal seller = payer;
    address internal buyer = other;

    DevicePassport internal passports;
    AccessRight internal rights;
    StencilMarket internal market;
    uint256 internal device;

    function setUp() public virtual override {
        super.setUp();
        passports = new DevicePassport("Passports", "PASS", issuer, artist, ROYALTY);
        rights = new AccessRight("Rights", "RIGHT", issuer, METADATA);
        market = new StencilMarket();
        device = passports.tokenIdOf(DID);
        dollar.mint(artist, 1);
        dollar.mint(buyer, 1_000_000e6);
        vm.deal(buyer, 1_000 ether);
        vm.deal(artist, 1 ether);
        vm.label(issuer, "issuer");
        vm.label(artist, "artist");
    }

    function _issue() internal returns (uint256) {
        vm.prank(issuer);
        return passports.issue(seller, DID, METADATA);
    }

    /// The seller's passport is issued and approved to the market; what is listed of it.
    function _listed(address token_, uint256 price) internal returns (StencilMarket.Listing memory) {
        uint256 tokenId = _issue();
        vm.prank(seller);
        passports.approve(address(market), tokenId);
        return _listing(address(passports), tokenId, token_, price);
    }

    function _listing(address collection, uint256 tokenId, address token_, uint256 price)
        internal
        view
        returns (StencilMarket.Listing memory)
    {
        return StencilMarket.Listing({
            seller: seller,
            collection: collection,
            tokenId: tokenId,
            token: token_,
            price: price,
            proceeds: price - price * ROYALTY / 10_000,
            expires: uint64(block.timestamp + 1 days),
            nonce: 1
        });
    }

    function _sign(StencilMarket.Listing memory listing) internal view returns (bytes memory) {
        return Signing.sign(PAYER_KEY, market.digestOf(listing));
    }
}
