// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice Content identifiers (CIDv1) as text: what a document is, rather than where it lies. Whoever
/// has the document can check that it is the one that is named.
library Cid {
    /// @dev RFC 4648's, lower case, without padding: multibase `b`.
    bytes32 private constant ALPHABET = "abcdefghijklmnopqrstuvwxyz234567";
    /// @dev CID version 1, codec raw (0x55), hash SHA-256 (0x12) of 32 bytes (0x20).
    bytes4 private constant PREFIX = 0x01551220;
    /// @dev 36 bytes in digits of five bits each.
    uint256 private constant DIGITS = 58;

    /// @dev The URI `ipfs://b…` of the document with this SHA-256, in one raw block. It can't name
    /// anything else: neither a server nor a document without a hash.
    function uri(bytes32 sha256_) internal pure returns (string memory) {
        bytes memory content = abi.encodePacked(PREFIX, sha256_);
        bytes memory digits = new bytes(DIGITS);
        uint256 bits = 0;
        uint256 waiting = 0;
        uint256 next = 0;
        for (uint256 i = 0; i < content.length; i++) {
            bits = (bits << 8) | uint8(content[i]);
            waiting += 8;
            while (waiting >= 5) {
                waiting -= 5;
                digits[next++] = ALPHABET[(bits >> waiting) & 31];
            }
        }
        // 288 bits are 57 digits and three bits.
        digits[next] = ALPHABET[(bits << (5 - waiting)) & 31];
        return string.concat("ipfs://b", string(digits));
    }
}
