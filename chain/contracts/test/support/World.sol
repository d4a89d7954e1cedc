// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {BlockingToken} from "../../dev/hostile/BlockingToken.sol";
import {DevDollar} from "../../dev/DevDollar.sol";
import {DevToken} from "../../dev/DevToken.sol";
import {FalseToken} from "../../dev/hostile/FalseToken.sol";
import {FeeToken} from "../../dev/hostile/FeeToken.sol";
import {NoReturnToken} from "../../dev/hostile/NoReturnToken.sol";
import {ReentrantToken} from "../../dev/hostile/ReentrantToken.sol";
import {StencilEscrow} from "../../src/StencilEscrow.sol";
import {StencilPayments} from "../../src/StencilPayments.sol";
import {Authorization} from "../../src/Eip3009.sol";
import {vm} from "./Vm.sol";

/// What signs as EIP-712 says, for a domain of a token's.
library Signing {
    bytes32 internal constant RECEIVE = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    bytes32 internal constant TRANSFER = keccak256(
        "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    bytes32 internal constant CANCEL = keccak256("CancelAuthorization(address authorizer,bytes32 nonce)");

    function digest(DevDollar token, bytes32 structHash) internal view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash));
    }

    function sign(uint256 key, bytes32 hash) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, hash);
        return abi.encodePacked(r, s, v);
    }
}

/// The parties and contracts that the tests share. Names are those of the contracts' own terms.
abstract contract World {
    bool public constant IS_TEST = true;

    uint256 internal constant NOW = 1_800_000_000;
    uint256 internal constant PAYER_KEY = 0xa11ce;
    uint256 internal constant OTHER_KEY = 0xb0b;
    bytes32 internal constant INVOICE = keccak256("invoice 1");
    bytes32 internal constant OTHER_INVOICE = keccak256("invoice 2");
    address internal constant NATIVE = address(0);

    address internal payer = vm.addr(PAYER_KEY);
    address internal other = vm.addr(OTHER_KEY);
    address internal payee = address(0x9a4ee);
    address internal operator = address(0x09e7a);
    address internal relayer = address(0x7e1a4);

    StencilPayments internal payments;
    StencilEscrow internal escrow;
    DevDollar internal dollar;
    DevToken internal token;

    function setUp() public virtual {
        vm.warp(NOW);
        payments = new StencilPayments(payee);
        escrow = new StencilEscrow();
        dollar = new DevDollar();
        token = new DevToken();
        // A payee and an operator that have been about before: their slots are not empty.
        dollar.mint(payee, 1);
        token.mint(payee, 1);
        dollar.mint(payer, 1_000_000e6);
        token.mint(payer, 1_000_000e18);
        vm.deal(payer, 1_000 ether);
        vm.deal(payee, 1 ether);
        vm.label(payer, "payer");
        vm.label(other, "other");
        vm.label(payee, "payee");
        vm.label(operator, "operator");
        vm.label(relayer, "relayer");
    }

    function _approve(address token_, address spender) internal {
        vm.prank(payer);
        // Not by IERC20's approve, whose return value some tokens don't give.
        (bool ok,) = token_.call(abi.encodeCall(IERC20.approve, (spender, type(uint256).max)));
        vm.assertTrue(ok, "approve");
    }

    /// An authorisation of the payer's that is valid for an hour.
    function _authorize(DevDollar token_, address to, uint256 value, bytes32 nonce)
        internal
        view
        returns (Authorization memory)
    {
        return _authorize(token_, PAYER_KEY, to, value, block.timestamp - 1, block.timestamp + 1 hours, nonce);
    }

    function _authorize(
        DevDollar token_,
        uint256 key,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce
    ) internal view returns (Authorization memory) {
        bytes32 structHash =
            keccak256(abi.encode(Signing.RECEIVE, vm.addr(key), to, value, validAfter, validBefore, nonce));
        return Authorization({
            validAfter: validAfter,
            validBefore: validBefore,
            signature: Signing.sign(key, Signing.digest(token_, structHash))
        });
    }

    /// Terms over `amount` of `token_` that end in an hour.
    function _terms(address token_, uint256 amount) internal view returns (StencilEscrow.Terms memory) {
        return StencilEscrow.Terms({
            invoiceId: INVOICE,
            payer: payer,
            payee: payee,
            operator: operator,
            token: token_,
            amount: amount,
            deadline: uint64(block.timestamp + 1 hours)
        });
    }

    function _balance(address token_, address account) internal view returns (uint256) {
        return token_ == NATIVE ? account.balance : IERC20(token_).balanceOf(account);
    }
}
