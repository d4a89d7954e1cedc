// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DevWallet} from "../dev/DevWallet.sol";
import {HostileWallet} from "../dev/hostile/HostileWallet.sol";
import {vm} from "./support/Vm.sol";

/// What contract wallets answer when they are asked for their signature.
contract DevWalletTest {
    uint256 private constant KEY = 7;
    bytes4 private constant MAGIC = 0x1626ba7e;

    function test_its_own_signature_is_taken_and_no_other(bytes32 hash, uint128 other) public {
        DevWallet wallet = new DevWallet(vm.addr(KEY));
        vm.assertTrue(wallet.isValidSignature(hash, _signed(KEY, hash)) == MAGIC, "its own");
        uint256 key = uint256(other) + KEY + 1;
        vm.assertTrue(wallet.isValidSignature(hash, _signed(key, hash)) != MAGIC, "another key's");
        bytes32 altered = keccak256(abi.encode(hash));
        vm.assertTrue(wallet.isValidSignature(altered, _signed(KEY, hash)) != MAGIC, "of something else");
        vm.assertTrue(wallet.isValidSignature(hash, "") != MAGIC, "none");
        vm.assertTrue(wallet.isValidSignature(hash, new bytes(65)) != MAGIC, "zeros");
    }

    function test_it_has_an_owner() public {
        vm.expectRevert("no owner");
        new DevWallet(address(0));
    }

    function test_hostile_ones_answer_badly() public {
        bytes memory question = abi.encodeCall(HostileWallet.isValidSignature, (bytes32(0), ""));
        (bool ok,) = address(new HostileWallet(0)).staticcall(question);
        vm.assertTrue(!ok, "reverts");
        (ok,) = address(new HostileWallet(1)).staticcall{gas: 100_000}(question);
        vm.assertTrue(!ok, "never ends");
        bytes memory returned;
        (ok, returned) = address(new HostileWallet(2)).staticcall(question);
        vm.assertTrue(ok && returned.length == 1 << 20, "returns a mebibyte");
        (ok, returned) = address(new HostileWallet(3)).staticcall(question);
        vm.assertTrue(!ok && returned.length == 1 << 20, "reverts with a mebibyte");
    }

    function _signed(uint256 key, bytes32 hash) private pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, hash);
        return abi.encodePacked(r, s, v);
    }
}
