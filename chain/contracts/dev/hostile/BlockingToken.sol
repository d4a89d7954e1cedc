// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DevDollar} from "../DevDollar.sol";

/// @title A token that can be paused, and that blocks accounts
/// @notice As USDC and USDT do by their issuers' word. For tests alone: anybody may.
contract BlockingToken is DevDollar {
    bool public paused;
    mapping(address account => bool) public blocked;

    error Paused();
    error Blocked(address account);

    function setPaused(bool paused_) external {
        paused = paused_;
    }

    function setBlocked(address account, bool blocked_) external {
        blocked[account] = blocked_;
    }

    function _update(address from, address to, uint256 value) internal override {
        if (paused) revert Paused();
        if (blocked[from]) revert Blocked(from);
        if (blocked[to]) revert Blocked(to);
        super._update(from, to, value);
    }
}
