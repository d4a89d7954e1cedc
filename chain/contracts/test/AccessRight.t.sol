// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IERC721Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {AccessRight, IERC4907} from "../src/AccessRight.sol";
import {Estate} from "./support/Estate.sol";
import {vm} from "./support/Vm.sol";

contract AccessRightTest is Estate {
    uint64 private constant ENDS = uint64(NOW + 30 days);
    address private guest = address(0x60e57);

    function _right() private returns (uint256) {
        vm.prank(issuer);
        return rights.issue(seller, device, ENDS);
    }

    function test_who_gets_a_right_uses_it_until_its_end() public {
        vm.expectEmit(address(rights));
        emit AccessRight.Issued(1, device, seller, ENDS);
        uint256 tokenId = _right();
        vm.assertEq(tokenId, 1, "numbered from 1");
        vm.assertEq(rights.userOf(tokenId), seller, "user");
        vm.assertEq(rights.userExpires(tokenId), ENDS, "expires");
        vm.assertEq(rights.rightOf(tokenId).device, device, "device");
        vm.assertEq(rights.rightOf(tokenId).ends, ENDS, "ends");
        vm.warp(ENDS);
        vm.assertEq(rights.userOf(tokenId), seller, "the last second counts");
        vm.warp(uint256(ENDS) + 1);
        vm.assertEq(rights.userOf(tokenId), address(0), "over");
        vm.assertEq(rights.userExpires(tokenId), ENDS, "what it was stays");
        vm.assertEq(rights.ownerOf(tokenId), seller, "and whose");
    }

    function test_the_owner_lends_it_for_a_time() public {
        uint256 tokenId = _right();
        vm.prank(seller);
        vm.expectEmit(address(rights));
        emit IERC4907.UpdateUser(tokenId, guest, uint64(NOW + 1 hours));
        rights.setUser(tokenId, guest, uint64(NOW + 1 hours));
        vm.assertEq(rights.userOf(tokenId), guest, "guest");
        vm.warp(NOW + 1 hours + 1);
        vm.assertEq(rights.userOf(tokenId), address(0), "nobody, until the owner says who");
        vm.prank(seller);
        rights.setUser(tokenId, seller, ENDS);
        vm.assertEq(rights.userOf(tokenId), seller, "the owner again");
        vm.prank(seller);
        vm.expectEmit(address(rights));
        emit IERC4907.UpdateUser(tokenId, address(0), 0);
        rights.setUser(tokenId, address(0), 12345);
        vm.assertEq(rights.userOf(tokenId), address(0), "nobody");
    }

    function test_whom_the_owner_has_approved_says_who_uses_it() public {
        uint256 tokenId = _right();
        vm.prank(seller);
        rights.approve(other, tokenId);
        vm.prank(other);
        rights.setUser(tokenId, guest, ENDS);
        vm.assertEq(rights.userOf(tokenId), guest, "guest");
    }

    function test_neither_user_nor_issuer_nor_a_stranger_says_who_uses_it() public {
        uint256 tokenId = _right();
        vm.prank(seller);
        rights.setUser(tokenId, guest, ENDS);
        address[3] memory others = [guest, issuer, other];
        for (uint256 i = 0; i < 3; i++) {
            vm.prank(others[i]);
            vm.expectRevert(abi.encodeWithSelector(AccessRight.NotAllowed.selector, tokenId, others[i]));
            rights.setUser(tokenId, others[i], ENDS);
        }
    }

    function test_nobody_uses_it_longer_than_the_right_lasts() public {
        uint256 tokenId = _right();
        vm.prank(seller);
        vm.expectRevert(abi.encodeWithSelector(AccessRight.InvalidExpiry.selector, ENDS + 1, NOW, ENDS));
        rights.setUser(tokenId, guest, ENDS + 1);
        vm.prank(seller);
        vm.expectRevert(abi.encodeWithSelector(AccessRight.InvalidExpiry.selector, uint64(NOW - 1), NOW, ENDS));
        rights.setUser(tokenId, guest, uint64(NOW - 1));
    }

    function test_who_buys_it_gets_it_without_the_seller_s_guest() public {
        uint256 tokenId = _right();
        vm.prank(seller);
        rights.setUser(tokenId, guest, uint64(NOW + 1 hours));
        vm.prank(seller);
        vm.expectEmit(address(rights));
        emit IERC4907.UpdateUser(tokenId, buyer, ENDS);
        rights.transferFrom(seller, buyer, tokenId);
        vm.assertEq(rights.userOf(tokenId), buyer, "buyer");
        vm.assertEq(rights.userExpires(tokenId), ENDS, "to the end");
        vm.prank(seller);
        vm.expectRevert(abi.encodeWithSelector(AccessRight.NotAllowed.selector, tokenId, seller));
        rights.setUser(tokenId, seller, ENDS);
    }

    function test_only_issuers_issue_and_only_for_a_time_that_can_be_meant() public {
        bytes32 role = rights.ISSUER_ROLE();
        vm.prank(seller);
        vm.expectRevert(abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, seller, role));
        rights.issue(seller, device, ENDS);
        uint256 latest = NOW + rights.MAX_TIME();
        // The second is an end in milliseconds.
        uint64[2] memory ends = [uint64(NOW - 1), ENDS * 1000];
        for (uint256 i = 0; i < 2; i++) {
            vm.prank(issuer);
            vm.expectRevert(abi.encodeWithSelector(AccessRight.InvalidEnd.selector, ends[i], NOW, latest));
            rights.issue(seller, device, ends[i]);
        }
        vm.prank(issuer);
        vm.expectRevert(AccessRight.NoDevice.selector);
        rights.issue(seller, 0, ENDS);
        vm.expectRevert(AccessRight.NoAdministrator.selector);
        new AccessRight("Rights", "RIGHT", address(0), METADATA);
        vm.expectRevert(AccessRight.NoTerms.selector);
        new AccessRight("Rights", "RIGHT", issuer, 0);
    }

    function test_a_right_that_is_not_there_is_said_to_be_not_there() public {
        bytes memory missing = abi.encodeWithSelector(IERC721Errors.ERC721NonexistentToken.selector, uint256(7));
        vm.expectRevert(missing);
        rights.userOf(7);
        vm.expectRevert(missing);
        rights.userExpires(7);
        vm.expectRevert(missing);
        rights.rightOf(7);
        vm.expectRevert(missing);
        rights.tokenURI(7);
        vm.expectRevert(missing);
        rights.setUser(7, guest, ENDS);
    }

    function test_the_interfaces_and_the_terms_are_told() public {
        vm.assertTrue(rights.supportsInterface(0xad092b5c), "ERC-4907");
        vm.assertTrue(rights.supportsInterface(0x80ac58cd), "ERC-721");
        vm.assertTrue(rights.supportsInterface(0x7965db0b), "roles");
        vm.assertTrue(!rights.supportsInterface(0xffffffff), "none");
        uint256 tokenId = _right();
        vm.assertEq(
            bytes(rights.tokenURI(tokenId)),
            "ipfs://bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq",
            "terms"
        );
    }

    function testFuzz_a_user_has_a_right_exactly_up_to_its_last_second(uint64 expires, uint64 later) public {
        uint256 tokenId = _right();
        expires = uint64(NOW + expires % (30 days + 1));
        vm.prank(seller);
        rights.setUser(tokenId, guest, expires);
        uint256 time = NOW + later % 60 days;
        vm.warp(time);
        vm.assertEq(rights.userOf(tokenId), time <= expires ? guest : address(0), "user");
    }
}
