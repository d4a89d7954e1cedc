// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title A contract wallet that answers a question for its signature badly
/// @notice It reverts (0), never ends (1), returns a mebibyte that begins with the right word (2), or
/// reverts with a mebibyte (3).
contract HostileWallet {
    uint256 private constant MEBIBYTE = 1 << 20;
    /// @notice How it answers.
    uint8 public immutable mode;

    constructor(uint8 mode_) {
        mode = mode_;
    }

    /// @notice What EIP-1271 asks.
    function isValidSignature(bytes32, bytes calldata) external view returns (bytes4) {
        uint8 how = mode;
        require(how != 0, "no");
        while (how == 1) {}
        assembly ("memory-safe") {
            let at := mload(0x40)
            mstore(at, shl(224, 0x1626ba7e))
            if eq(how, 3) { revert(at, MEBIBYTE) }
            return(at, MEBIBYTE)
        }
    }
}
