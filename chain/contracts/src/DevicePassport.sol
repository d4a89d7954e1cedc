// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {IERC4906} from "@openzeppelin/contracts/interfaces/IERC4906.sol";
import {IERC165} from "@openzeppelin/contracts/interfaces/IERC165.sol";
import {ERC2981} from "@openzeppelin/contracts/token/common/ERC2981.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";

import {Cid} from "./Cid.sol";

/// @title Passports of devices
/// @notice Who owns a device: one token a device, whose id is the hash of the device's DID, so that
/// there can be no second one. Issuers, whom the administrator names, make passports and can't take
/// one away, move it, or change what it says by themselves.
///
/// What a passport says is a document named by its content: a new one takes the issuer's proposal and
/// the owner's consent, and each change is an event. Royalties (ERC-2981) are what was said when the
/// contract was deployed, for ever.
contract DevicePassport is ERC721, ERC2981, AccessControl, IERC4906 {
    /// @notice Who may issue passports and propose what they say.
    bytes32 public constant ISSUER_ROLE = keccak256("ISSUER_ROLE");

    /// @notice The highest royalty, in hundredths of a per cent of a price.
    uint96 public constant MAX_ROYALTY = 1_000;

    /// @notice The longest DID, in bytes.
    uint256 public constant MAX_DID = 2_048;

    /// @notice The SHA-256 of the document that a passport's {tokenURI} names.
    mapping(uint256 tokenId => bytes32) public metadataOf;

    /// @notice How often what a passport says was changed.
    mapping(uint256 tokenId => uint256) public revisionOf;

    /// @notice The document that the issuer has proposed, or zero.
    mapping(uint256 tokenId => bytes32) public proposalOf;

    /// @notice A device has its passport.
    /// @param tokenId {tokenIdOf} of `did`.
    event Issued(uint256 indexed tokenId, address indexed to, string did, bytes32 metadata);
    /// @notice An issuer proposes another document; nothing has changed yet.
    event Proposed(uint256 indexed tokenId, address indexed issuer, bytes32 metadata);
    /// @notice The owner has agreed to it.
    event Revised(uint256 indexed tokenId, uint256 indexed revision, bytes32 previous, bytes32 metadata);

    /// @notice It does not begin with `did:`, or is longer than {MAX_DID}.
    error InvalidDid(string did);
    /// @notice The device has its passport already.
    error AlreadyIssued(uint256 tokenId);
    /// @notice The hash of the document is zero, as that of a form that was not filled in.
    error NoMetadata();
    /// @notice It is what the passport says already.
    error SameMetadata(bytes32 metadata);
    /// @notice The issuer has proposed another document, or none.
    error NotProposed(bytes32 proposed, bytes32 metadata);
    /// @notice Only the passport's owner can agree.
    error NotTheOwner(address owner, address sender);
    /// @notice An administrator is needed, or nobody could ever issue.
    error NoAdministrator();
    /// @notice A royalty is above {MAX_ROYALTY}, or has nobody to go to.
    error InvalidRoyalty(address receiver, uint96 royalty);

    /// @param administrator Names issuers, and is one.
    /// @param royalty In hundredths of a per cent of each price; zero with the receiver zero for none.
    constructor(
        string memory name_,
        string memory symbol_,
        address administrator,
        address royaltyReceiver,
        uint96 royalty
    ) ERC721(name_, symbol_) {
        if (administrator == address(0)) revert NoAdministrator();
        if (royalty > MAX_ROYALTY || (royalty == 0) != (royaltyReceiver == address(0))) {
            revert InvalidRoyalty(royaltyReceiver, royalty);
        }
        _grantRole(DEFAULT_ADMIN_ROLE, administrator);
        _grantRole(ISSUER_ROLE, administrator);
        if (royalty > 0) _setDefaultRoyalty(royaltyReceiver, royalty);
    }

    /// @notice Makes the passport of the device with this DID.
    /// @param metadata The SHA-256 of the document that says what the device is.
    /// @return tokenId The passport.
    function issue(address to, string calldata did, bytes32 metadata)
        external
        onlyRole(ISSUER_ROLE)
        returns (uint256 tokenId)
    {
        tokenId = tokenIdOf(did);
        if (_ownerOf(tokenId) != address(0)) revert AlreadyIssued(tokenId);
        if (metadata == 0) revert NoMetadata();
        metadataOf[tokenId] = metadata;
        emit Issued(tokenId, to, did, metadata);
        _safeMint(to, tokenId);
    }

    /// @notice Proposes another document. It takes the place of an earlier proposal; zero takes it back.
    function propose(uint256 tokenId, bytes32 metadata) external onlyRole(ISSUER_ROLE) {
        _requireOwned(tokenId);
        if (metadata == metadataOf[tokenId]) revert SameMetadata(metadata);
        proposalOf[tokenId] = metadata;
        emit Proposed(tokenId, msg.sender, metadata);
    }

    /// @notice The owner agrees to what the issuer has proposed.
    /// @param metadata What the owner has read: if the proposal is another one by now, nothing changes.
    function accept(uint256 tokenId, bytes32 metadata) external {
        address owner = _requireOwned(tokenId);
        if (msg.sender != owner) revert NotTheOwner(owner, msg.sender);
        bytes32 proposed = proposalOf[tokenId];
        if (metadata == 0 || proposed != metadata) revert NotProposed(proposed, metadata);
        bytes32 previous = metadataOf[tokenId];
        delete proposalOf[tokenId];
        metadataOf[tokenId] = metadata;
        emit Revised(tokenId, ++revisionOf[tokenId], previous, metadata);
        emit MetadataUpdate(tokenId);
    }

    /// @notice The passport of the device with this DID, whether it was issued or not.
    function tokenIdOf(string calldata did) public pure returns (uint256) {
        bytes calldata text = bytes(did);
        if (text.length < 5 || text.length > MAX_DID || bytes4(text[0:4]) != "did:") revert InvalidDid(did);
        return uint256(keccak256(text));
    }

    /// @notice `ipfs://` and the content identifier of the document.
    function tokenURI(uint256 tokenId) public view override returns (string memory) {
        _requireOwned(tokenId);
        return Cid.uri(metadataOf[tokenId]);
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId)
        public
        view
        override(ERC721, ERC2981, AccessControl, IERC165)
        returns (bool)
    {
        // ERC-4906 has events alone, and the number that it asks for.
        return interfaceId == bytes4(0x49064906) || super.supportsInterface(interfaceId);
    }
}
