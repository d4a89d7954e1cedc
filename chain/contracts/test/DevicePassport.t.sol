// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IERC721Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {DevicePassport} from "../src/DevicePassport.sol";
import {Estate} from "./support/Estate.sol";
import {Refuser} from "./support/Recipients.sol";
import {vm} from "./support/Vm.sol";

contract DevicePassportTest is Estate {
    function test_a_passport_is_issued_by_the_issuer_under_the_hash_of_the_did() public {
        vm.expectEmit(address(passports));
        emit DevicePassport.Issued(uint256(keccak256(bytes(DID))), seller, DID, METADATA);
        uint256 tokenId = _issue();
        vm.assertEq(tokenId, uint256(keccak256(bytes(DID))), "id");
        vm.assertEq(passports.ownerOf(tokenId), seller, "owner");
        vm.assertEq(passports.metadataOf(tokenId), METADATA, "metadata");
        vm.assertEq(passports.revisionOf(tokenId), 0, "revision");
    }

    /// The identifier is that which `ipfs add --cid-version 1 --raw-leaves` gives for `hello`.
    function test_the_uri_is_the_content_identifier() public {
        uint256 tokenId = _issue();
        vm.assertEq(
            bytes(passports.tokenURI(tokenId)),
            "ipfs://bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq",
            "URI"
        );
    }

    function test_others_issue_and_propose_nothing() public {
        bytes memory refusal = abi.encodeWithSelector(
            IAccessControl.AccessControlUnauthorizedAccount.selector, seller, passports.ISSUER_ROLE()
        );
        vm.prank(seller);
        vm.expectRevert(refusal);
        passports.issue(seller, DID, METADATA);
        uint256 tokenId = _issue();
        vm.prank(seller);
        vm.expectRevert(refusal);
        passports.propose(tokenId, OTHER_METADATA);
    }

    function test_an_issuer_is_named_and_dismissed_by_the_administrator_alone() public {
        bytes32 role = passports.ISSUER_ROLE();
        vm.prank(issuer);
        passports.grantRole(role, other);
        vm.prank(other);
        passports.issue(seller, DID, METADATA);
        vm.prank(other);
        vm.expectRevert(
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, other, bytes32(0))
        );
        passports.grantRole(role, payee);
        vm.prank(issuer);
        passports.revokeRole(role, other);
        vm.prank(other);
        vm.expectRevert(abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, other, role));
        passports.issue(seller, "did:web:hub.example:another", METADATA);
    }

    function test_a_device_has_one_passport() public {
        uint256 tokenId = _issue();
        vm.prank(issuer);
        vm.expectRevert(abi.encodeWithSelector(DevicePassport.AlreadyIssued.selector, tokenId));
        passports.issue(other, DID, OTHER_METADATA);
    }

    function test_what_is_no_did_has_no_passport() public {
        string[3] memory texts = ["", "did:", "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66"];
        for (uint256 i = 0; i < 3; i++) {
            vm.prank(issuer);
            vm.expectRevert(abi.encodeWithSelector(DevicePassport.InvalidDid.selector, texts[i]));
            passports.issue(seller, texts[i], METADATA);
        }
        bytes memory long = new bytes(passports.MAX_DID() + 1);
        long[0] = "d";
        long[1] = "i";
        long[2] = "d";
        long[3] = ":";
        vm.prank(issuer);
        vm.expectRevert(abi.encodeWithSelector(DevicePassport.InvalidDid.selector, string(long)));
        passports.issue(seller, string(long), METADATA);
        vm.prank(issuer);
        vm.expectRevert(DevicePassport.NoMetadata.selector);
        passports.issue(seller, DID, 0);
    }

    /// A contract that can't hold tokens would hold the device for ever.
    function test_a_contract_that_takes_no_tokens_gets_none() public {
        address refuser = address(new Refuser());
        vm.prank(issuer);
        vm.expectRevert(abi.encodeWithSelector(IERC721Errors.ERC721InvalidReceiver.selector, refuser));
        passports.issue(refuser, DID, METADATA);
    }

    function test_a_document_is_replaced_by_proposal_and_consent() public {
        uint256 tokenId = _issue();
        vm.prank(issuer);
        vm.expectEmit(address(passports));
        emit DevicePassport.Proposed(tokenId, issuer, OTHER_METADATA);
        passports.propose(tokenId, OTHER_METADATA);
        vm.assertEq(passports.metadataOf(tokenId), METADATA, "nothing has changed yet");
        vm.prank(seller);
        vm.expectEmit(address(passports));
        emit DevicePassport.Revised(tokenId, 1, METADATA, OTHER_METADATA);
        passports.accept(tokenId, OTHER_METADATA);
        vm.assertEq(passports.metadataOf(tokenId), OTHER_METADATA, "changed");
        vm.assertEq(passports.proposalOf(tokenId), 0, "the proposal is done with");
    }

    function test_neither_side_changes_a_document_alone() public {
        uint256 tokenId = _issue();
        vm.prank(seller);
        vm.expectRevert(abi.encodeWithSelector(DevicePassport.NotProposed.selector, bytes32(0), OTHER_METADATA));
        passports.accept(tokenId, OTHER_METADATA);
        vm.prank(seller);
        vm.expectRevert(abi.encodeWithSelector(DevicePassport.NotProposed.selector, bytes32(0), bytes32(0)));
        passports.accept(tokenId, 0);
        vm.prank(issuer);
        passports.propose(tokenId, OTHER_METADATA);
        vm.prank(issuer);
        vm.expectRevert(abi.encodeWithSelector(DevicePassport.NotTheOwner.selector, seller, issuer));
        passports.accept(tokenId, OTHER_METADATA);
        // What the owner has read is no longer what is proposed.
        vm.prank(issuer);
        passports.propose(tokenId, keccak256("another"));
        vm.prank(seller);
        vm.expectRevert(
            abi.encodeWithSelector(DevicePassport.NotProposed.selector, keccak256("another"), OTHER_METADATA)
        );
        passports.accept(tokenId, OTHER_METADATA);
        vm.prank(issuer);
        vm.expectRevert(abi.encodeWithSelector(DevicePassport.SameMetadata.selector, METADATA));
        passports.propose(tokenId, METADATA);
    }

    function test_a_passport_that_is_not_there_is_said_to_be_not_there() public {
        bytes memory missing = abi.encodeWithSelector(IERC721Errors.ERC721NonexistentToken.selector, device);
        vm.expectRevert(missing);
        passports.tokenURI(device);
        vm.prank(issuer);
        vm.expectRevert(missing);
        passports.propose(device, METADATA);
        vm.prank(seller);
        vm.expectRevert(missing);
        passports.accept(device, METADATA);
    }

    function test_royalties_are_what_was_said_at_deployment() public {
        uint256 tokenId = _issue();
        (address receiver, uint256 royalty) = passports.royaltyInfo(tokenId, 1_000_000);
        vm.assertEq(receiver, artist, "receiver");
        vm.assertEq(royalty, 25_000, "royalty");
        DevicePassport none = new DevicePassport("Passports", "PASS", issuer, address(0), 0);
        (receiver, royalty) = none.royaltyInfo(tokenId, 1_000_000);
        vm.assertEq(royalty, 0, "none");
    }

    function test_a_deployment_that_nobody_can_mean_is_refused() public {
        vm.expectRevert(DevicePassport.NoAdministrator.selector);
        new DevicePassport("Passports", "PASS", address(0), address(0), 0);
        vm.expectRevert(abi.encodeWithSelector(DevicePassport.InvalidRoyalty.selector, artist, uint96(1_001)));
        new DevicePassport("Passports", "PASS", issuer, artist, 1_001);
        vm.expectRevert(abi.encodeWithSelector(DevicePassport.InvalidRoyalty.selector, address(0), uint96(5)));
        new DevicePassport("Passports", "PASS", issuer, address(0), 5);
        vm.expectRevert(abi.encodeWithSelector(DevicePassport.InvalidRoyalty.selector, artist, uint96(0)));
        new DevicePassport("Passports", "PASS", issuer, artist, 0);
    }

    function test_the_interfaces_are_told() public view {
        bytes4[5] memory ids = [
            bytes4(0x01ffc9a7), // ERC-165
            bytes4(0x80ac58cd), // ERC-721
            bytes4(0x5b5e139f), // ERC-721 with metadata
            bytes4(0x2a55205a), // ERC-2981
            bytes4(0x49064906) // ERC-4906
        ];
        for (uint256 i = 0; i < 5; i++) {
            vm.assertTrue(passports.supportsInterface(ids[i]), "interface");
        }
        vm.assertTrue(!passports.supportsInterface(0xffffffff), "none");
    }

    function testFuzz_each_did_has_a_passport_of_its_own(string calldata left, string calldata right) public {
        vm.assume(keccak256(bytes(left)) != keccak256(bytes(right)));
        vm.assume(bytes(left).length < 2_000 && bytes(right).length < 2_000);
        string memory a = string.concat("did:x", left);
        string memory b = string.concat("did:x", right);
        vm.prank(issuer);
        uint256 first = passports.issue(seller, a, METADATA);
        vm.prank(issuer);
        uint256 second = passports.issue(buyer, b, METADATA);
        vm.assertTrue(first != second, "two passports");
        vm.assertEq(passports.ownerOf(first), seller, "first");
    }
}
