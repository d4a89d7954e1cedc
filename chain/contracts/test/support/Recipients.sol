// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// A contract that does not take the native coin, and can call somebody.
contract Refuser {
    error NoThanks();

    receive() external payable {
        revert NoThanks();
    }

    function call(address target, uint256 value, bytes calldata data) external payable returns (bytes memory) {
        (bool ok, bytes memory answer) = target.call{value: value}(data);
        if (!ok) {
            assembly {
                revert(add(answer, 32), mload(answer))
            }
        }
        return answer;
    }
}

/// A contract that burns whatever gas it gets when it is paid, and returns much.
contract Burner {
    receive() external payable {
        assembly {
            return(0, 1000000)
        }
    }
}

/// A contract that calls somebody when it is paid, and keeps what came of it.
contract Reenterer {
    address private _target;
    bytes private _call;
    bool public called;
    bool public entered;
    bytes public answer;

    function arm(address target, bytes calldata call_) external {
        _target = target;
        _call = call_;
    }

    receive() external payable {
        if (_target != address(0)) {
            called = true;
            (entered, answer) = _target.call(_call);
        }
    }
}

/// A wallet that is a contract: its owner signs for it, with a byte before, so that it is no
/// signature of an account's.
contract ContractWallet is IERC1271 {
    address private immutable _owner;

    constructor(address owner) {
        _owner = owner;
    }

    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4) {
        (address signer,,) = ECDSA.tryRecover(hash, signature[1:]);
        return signer == _owner ? IERC1271.isValidSignature.selector : bytes4(0xffffffff);
    }
}
