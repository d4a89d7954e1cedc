// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DevDollar} from "../DevDollar.sol";

/// @title A token that moves nothing, and says so, or lies
/// @notice For tests alone.
contract FalseToken is DevDollar {
    /// @notice What a transfer returns, though it moves nothing.
    bool public immutable answer;

    constructor(bool answer_) {
        answer = answer_;
    }

    function transfer(address, uint256) public view override returns (bool) {
        return answer;
    }

    function transferFrom(address, address, uint256) public view override returns (bool) {
        return answer;
    }

    function _transferWithAuthorization(address, address, uint256, uint256, uint256, bytes32)
        internal
        pure
        override
    {}
}
