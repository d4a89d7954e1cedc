// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";

import {Cid} from "./Cid.sol";

/// @notice ERC-4907: a token has an owner, and a user until a time. Interface id `0xad092b5c`.
interface IERC4907 {
    /// @notice The user of a token was changed; the zero address stands for none.
    event UpdateUser(uint256 indexed tokenId, address indexed user, uint64 expires);

    /// @notice Sets the user, who uses the token up to and with the second `expires`.
    function setUser(uint256 tokenId, address user, uint64 expires) external;

    /// @notice The user, or zero where there is none or its time has passed.
    function userOf(uint256 tokenId) external view returns (address);

    /// @notice The last second of the user's time, since 1970; it stays when it has passed.
    function userExpires(uint256 tokenId) external view returns (uint256);
}

/// @title Rights to use a device for a time
/// @notice A right is for one device, and ends at a time; both are said when it is issued and never
/// change. Its owner says who uses it (ERC-4907), or sells it. Who gets it, by issue or by transfer,
/// is its user at once, and whom the owner before had set is not any more: who buys a right need do
/// nothing to use it, and buys no guest.
///
/// Issuers, whom the administrator names, make rights and can't take one back.
contract AccessRight is ERC721, AccessControl, IERC4907 {
    /// @notice What a right is for.
    struct Right {
        /// The device: its passport's token id, which is the hash of its DID.
        uint256 device;
        /// The last second at which anybody uses it, since 1970.
        uint64 ends;
    }

    /// @dev Who uses a right, and until when.
    struct User {
        address account;
        uint64 expires;
    }

    /// @notice Who may issue rights.
    bytes32 public constant ISSUER_ROLE = keccak256("ISSUER_ROLE");

    /// @notice The longest time for which a right is issued. An end in milliseconds is beyond it.
    uint256 public constant MAX_TIME = 3_660 days;

    /// @notice The right that was issued last; they are numbered from 1.
    uint256 public last;

    /// @notice The document that says what holders may do and on what terms: SHA-256 of it.
    bytes32 public immutable terms;

    mapping(uint256 tokenId => Right) private _rights;
    mapping(uint256 tokenId => User) private _users;

    /// @notice There is a right to use this device.
    event Issued(uint256 indexed tokenId, uint256 indexed device, address indexed to, uint64 ends);

    /// @notice An administrator is needed, or nobody could ever issue.
    error NoAdministrator();
    /// @notice The hash of the terms is zero.
    error NoTerms();
    /// @notice The device is zero, as that of a form that was not filled in.
    error NoDevice();
    /// @notice A right can't end then: it has passed, or is further away than {MAX_TIME}.
    error InvalidEnd(uint64 ends, uint256 earliest, uint256 latest);
    /// @notice The user's time would be over already, or is longer than the right.
    error InvalidExpiry(uint64 expires, uint256 earliest, uint64 ends);
    /// @notice Only the owner, or whom it has approved, says who the user is.
    error NotAllowed(uint256 tokenId, address sender);

    /// @param administrator Names issuers, and is one.
    constructor(string memory name_, string memory symbol_, address administrator, bytes32 terms_)
        ERC721(name_, symbol_)
    {
        if (administrator == address(0)) revert NoAdministrator();
        if (terms_ == 0) revert NoTerms();
        _grantRole(DEFAULT_ADMIN_ROLE, administrator);
        _grantRole(ISSUER_ROLE, administrator);
        terms = terms_;
    }

    /// @notice Makes a right to use `device` up to and with the second `ends`.
    /// @return tokenId The right.
    function issue(address to, uint256 device, uint64 ends)
        external
        onlyRole(ISSUER_ROLE)
        returns (uint256 tokenId)
    {
        if (device == 0) revert NoDevice();
        // Rights are for minutes and more; who makes a block can shift its time by seconds.
        // slither-disable-next-line timestamp
        if (ends < block.timestamp || ends > block.timestamp + MAX_TIME) {
            revert InvalidEnd(ends, block.timestamp, block.timestamp + MAX_TIME);
        }
        tokenId = ++last;
        _rights[tokenId] = Right({device: device, ends: ends});
        emit Issued(tokenId, device, to, ends);
        _safeMint(to, tokenId);
    }

    /// @inheritdoc IERC4907
    function setUser(uint256 tokenId, address user, uint64 expires) external {
        address owner = _requireOwned(tokenId);
        if (!_isAuthorized(owner, msg.sender, tokenId)) revert NotAllowed(tokenId, msg.sender);
        uint64 ends = _rights[tokenId].ends;
        if (user == address(0)) {
            expires = 0;
            // slither-disable-next-line timestamp
        } else if (expires < block.timestamp || expires > ends) {
            revert InvalidExpiry(expires, block.timestamp, ends);
        }
        _use(tokenId, user, expires);
    }

    /// @inheritdoc IERC4907
    function userOf(uint256 tokenId) external view returns (address) {
        _requireOwned(tokenId);
        User storage user = _users[tokenId];
        // slither-disable-next-line timestamp
        return block.timestamp <= user.expires ? user.account : address(0);
    }

    /// @inheritdoc IERC4907
    function userExpires(uint256 tokenId) external view returns (uint256) {
        _requireOwned(tokenId);
        return _users[tokenId].expires;
    }

    /// @notice What a right is for.
    function rightOf(uint256 tokenId) external view returns (Right memory) {
        _requireOwned(tokenId);
        return _rights[tokenId];
    }

    /// @notice `ipfs://` and the content identifier of the terms, which are the same for all.
    function tokenURI(uint256 tokenId) public view override returns (string memory) {
        _requireOwned(tokenId);
        return Cid.uri(terms);
    }

    /// @notice ERC-165.
    function supportsInterface(bytes4 interfaceId) public view override(ERC721, AccessControl) returns (bool) {
        return interfaceId == type(IERC4907).interfaceId || super.supportsInterface(interfaceId);
    }

    /// @dev Whoever gets it uses it.
    function _update(address to, uint256 tokenId, address auth) internal override returns (address from) {
        from = super._update(to, tokenId, auth);
        if (from != to) _use(tokenId, to, _rights[tokenId].ends);
    }

    function _use(uint256 tokenId, address user, uint64 expires) private {
        _users[tokenId] = User({account: user, expires: expires});
        emit UpdateUser(tokenId, user, expires);
    }
}
