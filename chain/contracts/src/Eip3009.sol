// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC3009} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";

/// @notice The form of `receiveWithAuthorization` that takes a signature as bytes. Tokens that have
/// it (USDC since its version 2.2) ask a contract wallet by ERC-1271 whether the signature is its own.
interface IERC3009Bytes {
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes memory signature
    ) external;
}

/// @notice What a payer signed, beside payer, amount and nonce.
struct Authorization {
    /// Valid after this time, in seconds since 1970.
    uint256 validAfter;
    /// Valid before this time, in seconds since 1970.
    uint256 validBefore;
    /// 65 bytes (r, s, v) of an account, or what a contract wallet takes for its signature (ERC-1271),
    /// where the token knows that.
    bytes signature;
}

/// @notice Takes a payment that its payer authorised by EIP-3009, into the contract that calls.
library Eip3009 {
    /// @dev The length of the signature of an ordinary account: r, s, v.
    uint256 private constant ACCOUNT_SIGNATURE = 65;

    /// @dev Asks the token to bring `value` from `from` to this contract. Whether the authorisation
    /// is genuine, in its time and unused is the token's to say; it reverts where it is not.
    /// Every token of EIP-3009 knows (v, r, s), and so 65 bytes go that way, with a `v` of 0 or 1,
    /// as some hardware wallets give it, made 27 or 28. Anything else can only be a contract
    /// wallet's, and goes to the form with bytes.
    function receiveAuthorized(
        address token,
        address from,
        uint256 value,
        bytes32 nonce,
        Authorization calldata authorization
    ) internal {
        bytes calldata signature = authorization.signature;
        if (signature.length == ACCOUNT_SIGNATURE) {
            uint8 v = uint8(signature[64]);
            IERC3009(token).receiveWithAuthorization(
                from,
                address(this),
                value,
                authorization.validAfter,
                authorization.validBefore,
                nonce,
                v < 27 ? v + 27 : v,
                bytes32(signature[0:32]),
                bytes32(signature[32:64])
            );
        } else {
            IERC3009Bytes(token).receiveWithAuthorization(
                from,
                address(this),
                value,
                authorization.validAfter,
                authorization.validBefore,
                nonce,
                signature
            );
        }
    }
}
