// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {IERC3009, IERC3009Cancel} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";

import {Signing, World} from "./support/World.sol";
import {vm} from "./support/Vm.sol";

/// The dollar that other tests pay with is like the real one.
contract DevDollarTest is World {
    bytes32 private constant NONCE = keccak256("nonce");

    function test_hashes_are_those_of_the_standard() public view {
        vm.assertEq(
            Signing.TRANSFER, 0x7c7c6cdb67a18743f49ec6fa9b35f50d52ed05cbed4cc592e13b44501c1a2267, "transfer"
        );
        vm.assertEq(
            Signing.RECEIVE, 0xd099cc98ef71107a616c4f0f941f04c322d8e254fe26b3c6668db87aae413de8, "receive"
        );
        vm.assertEq(
            Signing.CANCEL, 0x158b0a9edf7a828aad02f63cd515c68ef2f50ba807396f6d12842833a1597429, "cancel"
        );
        vm.assertEq(
            dollar.DOMAIN_SEPARATOR(),
            keccak256(
                abi.encode(
                    keccak256(
                        "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                    ),
                    keccak256("Dev Dollar"),
                    keccak256("2"),
                    block.chainid,
                    address(dollar)
                )
            ),
            "domain"
        );
        vm.assertEq(dollar.decimals(), 6, "decimals");
        vm.assertEq(bytes(dollar.version()), "2", "version");
    }

    function test_a_transfer_by_signature_in_both_forms() public {
        bytes memory signature = _sign(Signing.TRANSFER, other, 5, NOW - 1, NOW + 1);
        vm.expectEmit(address(dollar));
        emit IERC3009.AuthorizationUsed(payer, NONCE);
        dollar.transferWithAuthorization(payer, other, 5, NOW - 1, NOW + 1, NONCE, signature);
        vm.assertEq(dollar.balanceOf(other), 5, "moved");
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, payer, NONCE));
        dollar.transferWithAuthorization(payer, other, 5, NOW - 1, NOW + 1, NONCE, signature);
        (uint8 v, bytes32 r, bytes32 s) = _split(signature);
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, payer, NONCE));
        dollar.transferWithAuthorization(payer, other, 5, NOW - 1, NOW + 1, NONCE, v, r, s);
    }

    function test_a_receipt_by_signature_is_the_recipient_s_alone() public {
        bytes memory signature = _sign(Signing.RECEIVE, other, 5, NOW - 1, NOW + 1);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        dollar.transferWithAuthorization(payer, other, 5, NOW - 1, NOW + 1, NONCE, signature);
        (uint8 v, bytes32 r, bytes32 s) = _split(signature);
        vm.prank(other);
        dollar.receiveWithAuthorization(payer, other, 5, NOW - 1, NOW + 1, NONCE, v, r, s);
        vm.assertEq(dollar.balanceOf(other), 5, "moved");
    }

    function test_only_the_signer_cancels() public {
        bytes32 structHash = keccak256(abi.encode(Signing.CANCEL, payer, NONCE));
        bytes memory forged = Signing.sign(OTHER_KEY, Signing.digest(dollar, structHash));
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        dollar.cancelAuthorization(payer, NONCE, forged);
        bytes memory signature = Signing.sign(PAYER_KEY, Signing.digest(dollar, structHash));
        vm.expectEmit(address(dollar));
        emit IERC3009Cancel.AuthorizationCanceled(payer, NONCE);
        dollar.cancelAuthorization(payer, NONCE, signature);
        vm.assertTrue(dollar.authorizationState(payer, NONCE), "used up");
    }

    function _sign(bytes32 typeHash, address to, uint256 value, uint256 validAfter, uint256 validBefore)
        private
        view
        returns (bytes memory)
    {
        bytes32 structHash =
            keccak256(abi.encode(typeHash, payer, to, value, validAfter, validBefore, NONCE));
        return Signing.sign(PAYER_KEY, Signing.digest(dollar, structHash));
    }

    function _split(bytes memory signature) private pure returns (uint8 v, bytes32 r, bytes32 s) {
        assembly {
            r := mload(add(signature, 32))
            s := mload(add(signature, 64))
            v := byte(0, mload(add(signature, 96)))
        }
    }
}
