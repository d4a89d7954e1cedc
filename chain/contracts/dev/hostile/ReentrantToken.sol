// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DevDollar} from "../DevDollar.sol";

/// @title A token that calls somebody in the middle of a transfer
/// @notice As hooks of ERC-777 let a payer or a payee do. For tests alone.
contract ReentrantToken is DevDollar {
    address private _target;
    bytes private _call;

    /// @notice Whether the call in the middle went through, and what it gave.
    bool public entered;
    bytes public answer;

    /// @notice Has the next transfer call `target` with `call_`.
    function arm(address target, bytes calldata call_) external {
        _target = target;
        _call = call_;
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        address target = _target;
        if (target != address(0)) {
            _target = address(0);
            (entered, answer) = target.call(_call);
        }
    }
}
