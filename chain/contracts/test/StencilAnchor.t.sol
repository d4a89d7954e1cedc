// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {StencilAnchor} from "../src/StencilAnchor.sol";
import {World} from "./support/World.sol";
import {Vm, vm} from "./support/Vm.sol";

contract StencilAnchorTest is World {
    bytes32 private constant SERIES = keccak256("acme/gateway-1");
    bytes32 private constant ROOT = keccak256("root");
    StencilAnchor private anchor;

    function setUp() public override {
        super.setUp();
        anchor = new StencilAnchor();
    }

    function _append(bytes32 previous, uint256 start, uint256 end) private returns (bytes32) {
        vm.prank(operator);
        return anchor.append(SERIES, previous, ROOT, uint64(start), uint64(end));
    }

    function test_roots_follow_one_another_and_each_names_the_one_before() public {
        bytes32 first = anchor.linkOf(operator, SERIES, 1, 0, ROOT, uint64(NOW - 200), uint64(NOW - 100));
        vm.expectEmit(address(anchor));
        emit StencilAnchor.Anchored(operator, SERIES, ROOT, 1, uint64(NOW - 200), uint64(NOW - 100), 0, first);
        vm.assertEq(_append(0, NOW - 200, NOW - 100), first, "first");
        bytes32 second = _append(first, NOW - 100, NOW);
        vm.assertEq(
            second, anchor.linkOf(operator, SERIES, 2, first, ROOT, uint64(NOW - 100), uint64(NOW)), "second"
        );
        StencilAnchor.Head memory head = anchor.headOf(operator, SERIES);
        vm.assertEq(head.link, second, "head");
        vm.assertEq(head.count, 2, "count");
        vm.assertEq(head.end, NOW, "end");
        vm.assertEq(anchor.blockOf(first), block.number, "block");
        vm.assertEq(anchor.blockOf(keccak256("never said")), 0, "no block");
    }

    /// Nothing of what is said can be changed without another link coming of it.
    function test_a_link_binds_all_that_was_said() public {
        bytes32 link = anchor.linkOf(operator, SERIES, 1, 0, ROOT, 1, 2);
        vm.assertEq(
            link,
            keccak256(
                abi.encode(
                    keccak256(
                        "StencilAnchor(uint256 chainId,address anchor,address publisher,bytes32 series,uint64 number,bytes32 previous,bytes32 root,uint64 start,uint64 end)"
                    ),
                    block.chainid,
                    address(anchor),
                    operator,
                    SERIES,
                    1,
                    bytes32(0),
                    ROOT,
                    1,
                    2
                )
            ),
            "by hand"
        );
        vm.assertTrue(link != anchor.linkOf(other, SERIES, 1, 0, ROOT, 1, 2), "publisher");
        vm.assertTrue(link != anchor.linkOf(operator, ROOT, 1, 0, ROOT, 1, 2), "series");
        vm.assertTrue(link != anchor.linkOf(operator, SERIES, 2, 0, ROOT, 1, 2), "number");
        vm.assertTrue(link != anchor.linkOf(operator, SERIES, 1, ROOT, ROOT, 1, 2), "previous");
        vm.assertTrue(link != anchor.linkOf(operator, SERIES, 1, 0, SERIES, 1, 2), "root");
        vm.assertTrue(link != anchor.linkOf(operator, SERIES, 1, 0, ROOT, 0, 2), "start");
        vm.assertTrue(link != anchor.linkOf(operator, SERIES, 1, 0, ROOT, 1, 3), "end");
        vm.chainId(7);
        vm.assertTrue(link != anchor.linkOf(operator, SERIES, 1, 0, ROOT, 1, 2), "chain");
    }

    function test_the_same_root_twice_or_out_of_order_is_refused() public {
        bytes32 first = _append(0, NOW - 200, NOW - 100);
        vm.expectRevert(abi.encodeWithSelector(StencilAnchor.NotTheHead.selector, first, bytes32(0)));
        _append(0, NOW - 200, NOW - 100);
        vm.expectRevert(
            abi.encodeWithSelector(StencilAnchor.Overlaps.selector, uint64(NOW - 101), uint64(NOW - 100))
        );
        _append(first, NOW - 101, NOW);
        // A gap is no overlap: a gateway may have been off.
        _append(first, NOW - 50, NOW);
    }

    function test_what_can_t_be_meant_is_refused() public {
        vm.expectRevert(StencilAnchor.ZeroRoot.selector);
        anchor.append(SERIES, 0, 0, 1, 2);
        vm.expectRevert(abi.encodeWithSelector(StencilAnchor.InvalidInterval.selector, uint64(2), uint64(2)));
        anchor.append(SERIES, 0, ROOT, 2, 2);
        vm.expectRevert(abi.encodeWithSelector(StencilAnchor.NotOver.selector, uint64(NOW + 1), NOW));
        anchor.append(SERIES, 0, ROOT, 2, uint64(NOW + 1));
    }

    function test_nobody_adds_to_another_s_series() public {
        bytes32 first = _append(0, 1, 2);
        vm.prank(other);
        vm.expectRevert(abi.encodeWithSelector(StencilAnchor.NotTheHead.selector, bytes32(0), first));
        anchor.append(SERIES, first, ROOT, 2, 3);
        vm.prank(other);
        anchor.append(SERIES, 0, ROOT, 1, 2);
        vm.assertEq(anchor.headOf(operator, SERIES).link, first, "the operator's is what it was");
    }

    function testFuzz_intervals_never_overlap(uint32[8] calldata bounds) public {
        uint64 end;
        bytes32 link;
        for (uint256 i = 0; i < 8; i += 2) {
            uint64 from = uint64(bounds[i]) % 1000;
            uint64 to = uint64(bounds[i + 1]) % 1000;
            vm.prank(operator);
            try anchor.append(SERIES, link, ROOT, from, to) returns (bytes32 next) {
                vm.assertTrue(from >= end && from < to, "in order");
                (link, end) = (next, to);
            } catch {
                vm.assertTrue(from < end || from >= to, "refused without a reason");
            }
        }
    }
}

/// Adds in any order, by several publishers to several series, with right and wrong links.
contract AnchorHandler {
    StencilAnchor private immutable _anchor;
    uint256 public accepted;

    struct Said {
        address publisher;
        bytes32 series;
        bytes32 root;
        uint64 number;
        uint64 start;
        uint64 end;
        bytes32 previous;
        bytes32 link;
    }

    Said[] private _said;

    constructor(StencilAnchor anchor) {
        _anchor = anchor;
    }

    function append(uint256 party, uint256 series, bytes32 root, uint64 gap, uint64 length, bool stale) external {
        address publisher = address(uint160(0x1000 + party % 2));
        bytes32 name = bytes32(series % 2);
        StencilAnchor.Head memory head = _anchor.headOf(publisher, name);
        uint64 start = head.end + gap % 100;
        vm.recordLogs();
        vm.prank(publisher);
        (bool ok,) = address(_anchor).call(
            abi.encodeCall(
                StencilAnchor.append, (name, stale ? root : head.link, root, start, start + length % 1000)
            )
        );
        if (!ok) return;
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; i++) {
            (uint64 number, uint64 from, uint64 to, bytes32 previous, bytes32 link) =
                abi.decode(logs[i].data, (uint64, uint64, uint64, bytes32, bytes32));
            _said.push(
                Said(
                    address(uint160(uint256(logs[i].topics[1]))),
                    logs[i].topics[2],
                    logs[i].topics[3],
                    number,
                    from,
                    to,
                    previous,
                    link
                )
            );
            accepted++;
        }
    }

    /// Reads a series by its events alone: each must name the one before, with its number and times.
    function check(address publisher, bytes32 series) external view {
        bytes32 link;
        uint64 count;
        uint64 end;
        for (uint256 i = 0; i < _said.length; i++) {
            Said storage said = _said[i];
            if (said.publisher != publisher || said.series != series) continue;
            vm.assertEq(said.previous, link, "previous");
            vm.assertEq(said.number, ++count, "number");
            vm.assertTrue(said.start >= end && said.start < said.end, "interval");
            vm.assertEq(
                said.link,
                _anchor.linkOf(publisher, series, said.number, said.previous, said.root, said.start, said.end),
                "link"
            );
            vm.assertGt(_anchor.blockOf(said.link), 0, "block");
            link = said.link;
            end = said.end;
        }
        StencilAnchor.Head memory head = _anchor.headOf(publisher, series);
        vm.assertEq(head.link, link, "head");
        vm.assertEq(head.count, count, "count");
        vm.assertEq(head.end, end, "end");
    }
}

contract StencilAnchorInvariants is World {
    AnchorHandler private _handler;

    function setUp() public override {
        super.setUp();
        _handler = new AnchorHandler(new StencilAnchor());
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function invariant_the_events_are_the_whole_series() public view {
        for (uint160 party = 0; party < 2; party++) {
            for (uint256 series = 0; series < 2; series++) {
                _handler.check(address(0x1000 + party), bytes32(series));
            }
        }
    }

    function test_the_handler_adds_and_is_refused() public {
        _handler.append(0, 0, keccak256("a"), 0, 5, false);
        _handler.append(0, 0, keccak256("b"), 3, 5, false);
        _handler.append(0, 0, keccak256("c"), 3, 5, true);
        vm.assertEq(_handler.accepted(), 2, "accepted");
        _handler.check(address(0x1000), 0);
    }
}
