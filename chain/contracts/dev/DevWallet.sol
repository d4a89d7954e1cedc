// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title A contract wallet for dev chains and tests
/// @notice One key signs for it, and it can do nothing but say so (EIP-1271).
contract DevWallet is IERC1271 {
    /// @notice Whose signatures it takes as its own.
    address public immutable owner;

    constructor(address owner_) {
        require(owner_ != address(0), "no owner");
        owner = owner_;
    }

    /// @inheritdoc IERC1271
    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4) {
        // The third only says what was wrong with a signature.
        // slither-disable-next-line unused-return
        (address signer, ECDSA.RecoverError failure,) = ECDSA.tryRecover(hash, signature);
        bool own = failure == ECDSA.RecoverError.NoError && signer == owner;
        return own ? this.isValidSignature.selector : bytes4(0xffffffff);
    }
}
