// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {ERC2981} from "@openzeppelin/contracts/token/common/ERC2981.sol";
import {IERC2981} from "@openzeppelin/contracts/interfaces/IERC2981.sol";
import {IERC721Receiver} from "@openzeppelin/contracts/token/ERC721/IERC721Receiver.sol";

/// A collection without royalties, whose transfers can be made to do nothing.
contract LazyCollection is ERC721("Lazy", "LAZY") {
    bool private _lazy;

    function mint(address to, uint256 tokenId) external {
        _mint(to, tokenId);
    }

    function setLazy(bool lazy) external {
        _lazy = lazy;
    }

    function transferFrom(address from, address to, uint256 tokenId) public override {
        if (!_lazy) super.transferFrom(from, to, tokenId);
    }
}

/// A collection that says whatever it is told about royalties.
contract GreedyCollection is LazyCollection, ERC2981 {
    address private _receiver;
    uint256 private _amount;

    function setRoyalty(address receiver, uint256 amount) external {
        _receiver = receiver;
        _amount = amount;
    }

    function royaltyInfo(uint256, uint256) public view override returns (address, uint256) {
        return (_receiver, _amount);
    }

    function supportsInterface(bytes4 id) public view override(ERC721, ERC2981) returns (bool) {
        return id == type(IERC2981).interfaceId || super.supportsInterface(id);
    }
}

/// A buyer that is a contract, and calls somebody when it is given a token.
contract ReenteringBuyer is IERC721Receiver {
    address private _target;
    bytes private _call;
    bool public called;
    bool public entered;
    bytes public answer;

    receive() external payable {}

    function arm(address target, bytes calldata call_) external {
        _target = target;
        _call = call_;
    }

    function call(address target, uint256 value, bytes calldata data) external returns (bool ok) {
        (ok,) = target.call{value: value}(data);
    }

    function onERC721Received(address, address, uint256, bytes calldata) external returns (bytes4) {
        if (_target != address(0)) {
            called = true;
            (entered, answer) = _target.call(_call);
        }
        return IERC721Receiver.onERC721Received.selector;
    }
}
