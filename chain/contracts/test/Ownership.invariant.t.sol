// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";

import {DevDollar} from "../dev/DevDollar.sol";
import {AccessRight, IERC4907} from "../src/AccessRight.sol";
import {DevicePassport} from "../src/DevicePassport.sol";
import {StencilMarket} from "../src/StencilMarket.sol";
import {Signing} from "./support/World.sol";
import {Estate} from "./support/Estate.sol";
import {Vm, vm} from "./support/Vm.sol";

/// Issues, lends, lists, cancels, sells, gives away and proposes in any order, while time passes; and keeps
/// books by the events alone.
contract OwnershipHandler {
    DevicePassport private immutable _passports;
    AccessRight private immutable _rights;
    StencilMarket private immutable _market;
    DevDollar private immutable _dollar;
    address private immutable _issuer;

    uint256[3] private _keys = [uint256(0x11), 0x22, 0x33];
    StencilMarket.Listing[] private _listings;
    bytes[] private _signatures;

    uint256[] public passports;
    uint256[] public rights;
    /// What the events say.
    mapping(address collection => mapping(uint256 tokenId => address)) public ownerBy;
    mapping(uint256 tokenId => address) public userBy;
    mapping(uint256 tokenId => uint64) public expiresBy;
    mapping(uint256 tokenId => bytes32) public metadataBy;
    mapping(uint256 tokenId => uint64) public endsBy;
    mapping(address account => uint256) public paidBy;
    mapping(address account => uint256) public earnedBy;
    mapping(address seller => mapping(uint256 nonce => uint256)) private _ends;
    uint256 public mostEnds;
    uint256 public sales;
    uint256 public cancellations;
    uint256 public revisions;
    uint256 public minted;

    constructor(
        DevicePassport passports_,
        AccessRight rights_,
        StencilMarket market,
        DevDollar dollar,
        address issuer
    ) {
        (_passports, _rights, _market, _dollar, _issuer) = (passports_, rights_, market, dollar, issuer);
        for (uint256 i = 0; i < 3; i++) {
            vm.prank(account(i));
            passports_.setApprovalForAll(address(market), true);
            vm.prank(account(i));
            rights_.setApprovalForAll(address(market), true);
            vm.prank(account(i));
            dollar.approve(address(market), type(uint256).max);
        }
    }

    function account(uint256 party) public view returns (address) {
        return vm.addr(_keys[party % 3]);
    }

    function counts() external view returns (uint256, uint256) {
        return (passports.length, rights.length);
    }

    function issuePassport(uint256 party, uint256 number, bytes32 metadata) external {
        string memory did = string.concat("did:web:x", string(abi.encodePacked(uint8(97 + number % 8))));
        _do(_issuer, address(_passports), abi.encodeCall(DevicePassport.issue, (account(party), did, metadata)));
    }

    function issueRight(uint256 party, uint256 device, uint64 seconds_) external {
        _do(
            _issuer,
            address(_rights),
            abi.encodeCall(
                AccessRight.issue, (account(party), device, uint64(block.timestamp + seconds_ % 2 hours))
            )
        );
    }

    /// By anybody, of whatever right, for any time.
    function lend(uint256 which, uint256 by, uint256 to, uint64 seconds_) external {
        if (rights.length == 0) return;
        _do(
            account(by),
            address(_rights),
            abi.encodeCall(
                AccessRight.setUser,
                (rights[which % rights.length], account(to), uint64(block.timestamp + seconds_ % 3 hours))
            )
        );
    }

    function give(uint256 which, uint256 by, uint256 to, bool right) external {
        (address collection, uint256 tokenId) = _token(which, right);
        if (collection == address(0)) return;
        address owner = IERC721(collection).ownerOf(tokenId);
        _do(account(by), collection, abi.encodeCall(IERC721.transferFrom, (owner, account(to), tokenId)));
    }

    function propose(uint256 which, uint256 by, bytes32 metadata) external {
        if (passports.length == 0) return;
        uint256 tokenId = passports[which % passports.length];
        _do(_issuer, address(_passports), abi.encodeCall(DevicePassport.propose, (tokenId, metadata)));
        _do(account(by), address(_passports), abi.encodeCall(DevicePassport.accept, (tokenId, metadata)));
    }

    function list(uint256 which, uint256 by, uint256 price, uint256 nonce, bool right) external {
        (address collection, uint256 tokenId) = _token(which, right);
        if (collection == address(0)) return;
        price = price % 1e9 + 1;
        StencilMarket.Listing memory listing = StencilMarket.Listing({
            seller: account(by),
            collection: collection,
            tokenId: tokenId,
            token: address(_dollar),
            price: price,
            proceeds: 0,
            expires: uint64(block.timestamp + 1 hours),
            nonce: nonce % 6
        });
        _listings.push(listing);
        _signatures.push(Signing.sign(_keys[by % 3], _market.digestOf(listing)));
    }

    function buy(uint256 which, uint256 by) external {
        if (_listings.length == 0) return;
        which = which % _listings.length;
        _dollar.mint(account(by), _listings[which].price);
        _do(
            account(by),
            address(_market),
            abi.encodeCall(StencilMarket.buy, (_listings[which], _signatures[which]))
        );
    }

    function cancel(uint256 by, uint256 nonce) external {
        _do(account(by), address(_market), abi.encodeCall(StencilMarket.cancel, (nonce % 6)));
    }

    function passTime(uint256 seconds_) external {
        vm.warp(block.timestamp + seconds_ % 30 minutes);
    }

    function _token(uint256 which, bool right) private view returns (address, uint256) {
        uint256[] storage ids = right ? rights : passports;
        if (ids.length == 0) return (address(0), 0);
        return (right ? address(_rights) : address(_passports), ids[which % ids.length]);
    }

    function _do(address sender, address target, bytes memory data) private {
        vm.recordLogs();
        vm.prank(sender);
        (bool ok,) = target.call(data);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        if (!ok) return;
        for (uint256 i = 0; i < logs.length; i++) {
            _book(logs[i]);
        }
    }

    function _book(Vm.Log memory log) private {
        bytes32 kind = log.topics[0];
        if (kind == IERC721.Transfer.selector && log.topics.length == 4) {
            uint256 tokenId = uint256(log.topics[3]);
            if (log.topics[1] == 0) {
                minted++;
                (log.emitter == address(_passports) ? passports : rights).push(tokenId);
            }
            ownerBy[log.emitter][tokenId] = address(uint160(uint256(log.topics[2])));
        } else if (kind == IERC4907.UpdateUser.selector) {
            userBy[uint256(log.topics[1])] = address(uint160(uint256(log.topics[2])));
            expiresBy[uint256(log.topics[1])] = abi.decode(log.data, (uint64));
        } else if (kind == AccessRight.Issued.selector) {
            endsBy[uint256(log.topics[1])] = abi.decode(log.data, (uint64));
        } else if (kind == DevicePassport.Issued.selector) {
            (, metadataBy[uint256(log.topics[1])]) = abi.decode(log.data, (string, bytes32));
        } else if (kind == DevicePassport.Revised.selector) {
            revisions++;
            (, metadataBy[uint256(log.topics[1])]) = abi.decode(log.data, (bytes32, bytes32));
        } else if (kind == StencilMarket.Sold.selector) {
            _bookSale(log);
        } else if (kind == StencilMarket.Cancelled.selector) {
            cancellations++;
            _ended(address(uint160(uint256(log.topics[1]))), uint256(log.topics[2]));
        }
    }

    function _bookSale(Vm.Log memory log) private {
        sales++;
        (
            address buyer,
            ,
            uint256 price,
            uint256 received,
            address royaltyReceiver,
            uint256 royalty,
            uint256 nonce
        ) = abi.decode(log.data, (address, address, uint256, uint256, address, uint256, uint256));
        address seller = address(uint160(uint256(log.topics[3])));
        require(received + royalty == price, "something stays");
        paidBy[buyer] += price;
        earnedBy[seller] += received;
        earnedBy[royaltyReceiver] += royalty;
        _ended(seller, nonce);
    }

    function _ended(address seller, uint256 nonce) private {
        uint256 times = ++_ends[seller][nonce];
        if (times > mostEnds) mostEnds = times;
    }
}

/// Whatever is done by whomever: what the events say is so, nothing stays at the market, and no nonce ends
/// twice. The hub goes by these events alone.
contract OwnershipInvariants is Estate {
    OwnershipHandler private _handler;

    function setUp() public override {
        super.setUp();
        _handler = new OwnershipHandler(passports, rights, market, dollar, issuer);
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function invariant_owners_and_documents_are_those_of_the_events() public view {
        (uint256 count,) = _handler.counts();
        for (uint256 i = 0; i < count; i++) {
            uint256 tokenId = _handler.passports(i);
            vm.assertEq(passports.ownerOf(tokenId), _handler.ownerBy(address(passports), tokenId), "owner");
            vm.assertEq(passports.metadataOf(tokenId), _handler.metadataBy(tokenId), "document");
            for (uint256 j = 0; j < i; j++) {
                vm.assertTrue(_handler.passports(j) != tokenId, "a device has one passport");
            }
        }
    }

    function invariant_users_are_those_of_the_events_until_their_time_and_never_after_the_end() public view {
        (, uint256 count) = _handler.counts();
        for (uint256 i = 0; i < count; i++) {
            uint256 tokenId = _handler.rights(i);
            uint64 expires = _handler.expiresBy(tokenId);
            vm.assertEq(rights.ownerOf(tokenId), _handler.ownerBy(address(rights), tokenId), "owner");
            vm.assertEq(
                rights.userOf(tokenId),
                block.timestamp <= expires ? _handler.userBy(tokenId) : address(0),
                "user"
            );
            vm.assertLe(expires, _handler.endsBy(tokenId), "not beyond the end");
            vm.assertEq(rights.rightOf(tokenId).ends, _handler.endsBy(tokenId), "the end stays");
        }
    }

    function invariant_the_market_has_nothing() public view {
        vm.assertEq(dollar.balanceOf(address(market)), 0, "dollars");
        vm.assertEq(address(market).balance, 0, "coin");
        vm.assertEq(passports.balanceOf(address(market)), 0, "passports");
        vm.assertEq(rights.balanceOf(address(market)), 0, "rights");
    }

    function invariant_no_nonce_ends_twice() public view {
        vm.assertLe(_handler.mostEnds(), 1, "ends");
    }

    function invariant_what_was_paid_was_earned() public view {
        uint256 paid;
        uint256 earned = _handler.earnedBy(artist);
        for (uint256 i = 0; i < 3; i++) {
            paid += _handler.paidBy(_handler.account(i));
            earned += _handler.earnedBy(_handler.account(i));
        }
        vm.assertEq(paid, earned, "sum");
        vm.assertEq(dollar.balanceOf(artist), 1 + _handler.earnedBy(artist), "royalties");
    }

    /// The handler comes to all that the invariants are about.
    function test_the_handler_reaches_every_event() public {
        _handler.issuePassport(0, 0, METADATA);
        _handler.issuePassport(1, 0, METADATA);
        _handler.issuePassport(1, 1, METADATA);
        _handler.issueRight(0, 1, 3600);
        vm.assertEq(_handler.minted(), 3, "minted");
        _handler.lend(0, 0, 2, 1800);
        vm.assertEq(_handler.userBy(1), _handler.account(2), "lent");
        _handler.lend(0, 1, 1, 1800);
        vm.assertEq(_handler.userBy(1), _handler.account(2), "not by a stranger");
        _handler.propose(0, 0, OTHER_METADATA);
        vm.assertEq(_handler.revisions(), 1, "revised");
        _handler.list(0, 0, 1_000_000, 1, false);
        _handler.list(0, 0, 1_000_000, 2, true);
        _handler.list(1, 1, 1_000_000, 3, false);
        _handler.buy(0, 1);
        _handler.buy(0, 2);
        _handler.buy(1, 1);
        _handler.cancel(1, 3);
        _handler.buy(2, 0);
        vm.assertEq(_handler.sales(), 2, "sales");
        vm.assertEq(_handler.cancellations(), 1, "cancellations");
        vm.assertEq(_handler.userBy(1), _handler.account(1), "the buyer uses it");
        _handler.give(0, 1, 0, false);
        vm.assertEq(passports.ownerOf(_handler.passports(0)), _handler.account(0), "given");
        vm.assertGt(_handler.earnedBy(artist), 0, "royalties");
    }
}
