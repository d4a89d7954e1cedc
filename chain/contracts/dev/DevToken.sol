// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title A plain token for dev chains and tests
/// @notice Eighteen decimals, ERC-20 and nothing else. Anybody can mint it, so it is worth nothing.
contract DevToken is ERC20 {
    constructor() ERC20("Dev Token", "DEV") {}

    /// @notice Makes `amount` for `to`.
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}
