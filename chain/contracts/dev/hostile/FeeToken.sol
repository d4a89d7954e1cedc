// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DevDollar} from "../DevDollar.sol";

/// @title A token that keeps a part of each transfer
/// @notice What arrives is less than what was sent. For tests alone.
contract FeeToken is DevDollar {
    uint256 private constant BASIS = 10_000;

    /// @notice The part that is kept, in hundredths of a percent.
    uint256 public immutable feeBasisPoints;

    constructor(uint256 feeBasisPoints_) {
        feeBasisPoints = feeBasisPoints_;
    }

    function _update(address from, address to, uint256 value) internal override {
        if (from != address(0) && to != address(0)) {
            uint256 fee = value * feeBasisPoints / BASIS;
            super._update(from, address(0), fee);
            value -= fee;
        }
        super._update(from, to, value);
    }
}
