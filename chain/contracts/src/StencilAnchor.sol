// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Roots of data, in the order in which they were published
/// @notice A publisher says at a time that its data of an interval has this Merkle root. What was said
/// can't be changed, left out or put in between: each root names the one before, its interval begins
/// where that ended or later, and there is no function that removes. What the data is the root does
/// not say, and who the publisher is beyond its address neither.
contract StencilAnchor {
    /// @notice Where a series is.
    struct Head {
        /// The newest root's {linkOf}, or zero.
        bytes32 link;
        /// How many roots there are.
        uint64 count;
        /// Where the newest one's interval ends, in seconds since 1970.
        uint64 end;
    }

    /// @notice What a link is the hash of; see {linkOf}.
    bytes32 public constant LINK_TYPEHASH = keccak256(
        "StencilAnchor(uint256 chainId,address anchor,address publisher,bytes32 series,uint64 number,bytes32 previous,bytes32 root,uint64 start,uint64 end)"
    );

    /// @notice The number of the block in which a link was made, or zero. A proof of this slot under a
    /// block's state root shows a link without any node's word.
    mapping(bytes32 link => uint256) public blockOf;

    mapping(address publisher => mapping(bytes32 series => Head)) private _heads;

    /// @notice A root was added to a series.
    /// @param number Which one of the series it is, from 1.
    /// @param start The interval's first second, since 1970.
    /// @param end The second after its last.
    /// @param previous The link before, or zero for the first.
    event Anchored(
        address indexed publisher,
        bytes32 indexed series,
        bytes32 indexed root,
        uint64 number,
        uint64 start,
        uint64 end,
        bytes32 previous,
        bytes32 link
    );

    /// @notice The root is zero, as that of a form that was not filled in.
    error ZeroRoot();
    /// @notice The interval is empty or reversed.
    error InvalidInterval(uint64 start, uint64 end);
    /// @notice The interval is not over: a root can't be of data that is still to come.
    error NotOver(uint64 end, uint256 time);
    /// @notice The interval begins before the one before has ended.
    error Overlaps(uint64 start, uint64 end);
    /// @notice Another root was added meanwhile, or this one was already.
    error NotTheHead(bytes32 head, bytes32 previous);

    /// @notice Adds a root to the sender's series.
    /// @param series What the roots are of, by a name of the publisher's choice.
    /// @param previous The series' newest link, or zero where there is none: so that nothing is added
    /// twice, and none of two that were meant to follow one another is lost.
    /// @return link The new newest link.
    function append(bytes32 series, bytes32 previous, bytes32 root, uint64 start, uint64 end)
        external
        returns (bytes32 link)
    {
        if (root == 0) revert ZeroRoot();
        if (start >= end) revert InvalidInterval(start, end);
        // Intervals are of minutes and more; who makes a block can shift its time by seconds.
        // slither-disable-next-line timestamp
        if (end > block.timestamp) revert NotOver(end, block.timestamp);
        Head storage head = _heads[msg.sender][series];
        if (head.link != previous) revert NotTheHead(head.link, previous);
        if (start < head.end) revert Overlaps(start, head.end);
        uint64 number = head.count + 1;
        link = linkOf(msg.sender, series, number, previous, root, start, end);
        head.link = link;
        head.count = number;
        head.end = end;
        blockOf[link] = block.number;
        emit Anchored(msg.sender, series, root, number, start, end, previous, link);
    }

    /// @notice Where a publisher's series is.
    function headOf(address publisher, bytes32 series) external view returns (Head memory) {
        return _heads[publisher][series];
    }

    /// @notice What a root is known by: the hash of all that was said of it, and of the link before.
    function linkOf(
        address publisher,
        bytes32 series,
        uint64 number,
        bytes32 previous,
        bytes32 root,
        uint64 start,
        uint64 end
    ) public view returns (bytes32) {
        return keccak256(
            abi.encode(
                LINK_TYPEHASH, block.chainid, address(this), publisher, series, number, previous, root, start, end
            )
        );
    }
}
