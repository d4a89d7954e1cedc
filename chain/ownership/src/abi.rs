//! What the contracts of ownership say and are told: the one place where their interface is written
//! down. They are in `chain/contracts`.

use alloy_primitives::B256;
use alloy_sol_types::sol;
pub use alloy_sol_types::{SolCall, SolEvent};

sol! {
    /// ERC-721: a token has another owner; the zero address stands for nobody.
    #[derive(Debug, PartialEq, Eq)]
    event Transfer(address indexed from, address indexed to, uint256 indexed tokenId);

    /// ERC-4907: a token has another user, up to and with the second `expires`.
    #[derive(Debug, PartialEq, Eq)]
    event UpdateUser(uint256 indexed tokenId, address indexed user, uint64 expires);

    /// ERC-721.
    function ownerOf(uint256 tokenId) external view returns (address);

    /// ERC-721.
    function isApprovedForAll(address owner, address operator) external view returns (bool);

    /// ERC-721.
    function getApproved(uint256 tokenId) external view returns (address);

    /// ERC-165.
    function supportsInterface(bytes4 interfaceId) external view returns (bool);

    /// ERC-721 with metadata.
    function tokenURI(uint256 tokenId) external view returns (string);

    /// ERC-4907.
    function userOf(uint256 tokenId) external view returns (address);

    /// ERC-4907.
    function userExpires(uint256 tokenId) external view returns (uint256);

    /// ERC-4907: by the owner, or whom it has approved.
    function setUser(uint256 tokenId, address user, uint64 expires) external;

    /// What an access right is for.
    #[derive(Debug, PartialEq, Eq)]
    struct Right {
        uint256 device;
        uint64 ends;
    }

    /// `AccessRight`.
    function rightOf(uint256 tokenId) external view returns (Right right);

    /// `DevicePassport`: makes the passport of the device with this DID.
    function issue(address to, string did, bytes32 metadata) external returns (uint256 tokenId);

    /// `DevicePassport`: the SHA-256 of the document that a passport names.
    function metadataOf(uint256 tokenId) external view returns (bytes32);

    /// `AccessRight`: there is a right to use this device.
    #[derive(Debug, PartialEq, Eq)]
    event Issued(uint256 indexed tokenId, uint256 indexed device, address indexed to, uint64 ends);

    /// `StencilMarket`: what a seller signs.
    #[derive(Debug, PartialEq, Eq)]
    struct Listing {
        address seller;
        address collection;
        uint256 tokenId;
        address token;
        uint256 price;
        uint256 proceeds;
        uint64 expires;
        uint256 nonce;
    }

    /// `StencilMarket`: buys what is listed.
    function buy(Listing listing, bytes signature) external payable;

    /// `StencilMarket`: takes back the sender's listings with this nonce.
    function cancel(uint256 nonce) external;

    /// `StencilMarket`: what became of a nonce: 0 open, 1 sold, 2 cancelled.
    function stateOf(address seller, uint256 nonce) external view returns (uint8);

    /// `StencilMarket`: what the seller signs, by the contract.
    function digestOf(Listing listing) external view returns (bytes32);

    /// `StencilMarket`: what its listings are (EIP-712).
    function LISTING_TYPEHASH() external view returns (bytes32);

    /// `StencilMarket`: what goes to whom out of a price.
    function royaltyOf(address collection, uint256 tokenId, uint256 price)
        external
        view
        returns (address receiver, uint256 royalty);
}

/// What `DevicePassport` says when there is a passport: `AccessRight` has an event of the same name.
pub mod passport {
    alloy_sol_types::sol! {
        /// A device has its passport.
        #[derive(Debug, PartialEq, Eq)]
        event Issued(uint256 indexed tokenId, address indexed to, string did, bytes32 metadata);
    }
}

/// What `AccessRight` is told to make a right: `DevicePassport` has a function of the same name.
pub mod right {
    alloy_sol_types::sol! {
        /// Makes a right to use a device, which its passport's token names, up to and with the second `ends`.
        function issue(address to, uint256 device, uint64 ends) external returns (uint256 tokenId);
    }
}

/// Why both refuse to issue.
pub mod refused {
    alloy_sol_types::sol! {
        /// OpenZeppelin's `AccessControl`: the sender is no issuer.
        #[derive(Debug, PartialEq, Eq)]
        error AccessControlUnauthorizedAccount(address account, bytes32 neededRole);

        /// ERC-6093: the receiver is nobody, or a contract that takes no tokens.
        #[derive(Debug, PartialEq, Eq)]
        error ERC721InvalidReceiver(address receiver);

        /// `DevicePassport`: the device has its passport.
        #[derive(Debug, PartialEq, Eq)]
        error AlreadyIssued(uint256 tokenId);

        /// `AccessRight`: a right can't end then.
        #[derive(Debug, PartialEq, Eq)]
        error InvalidEnd(uint64 ends, uint256 earliest, uint256 latest);
    }
}

/// The first topic of [`Transfer`]. It is ERC-20's, too, which indexes one field less.
pub const TRANSFER: B256 = Transfer::SIGNATURE_HASH;
/// The first topic of [`UpdateUser`].
pub const UPDATE_USER: B256 = UpdateUser::SIGNATURE_HASH;
/// The first topic of [`Issued`].
pub const RIGHT_ISSUED: B256 = Issued::SIGNATURE_HASH;
/// ERC-165's id of ERC-721.
pub const ERC_721: [u8; 4] = [0x80, 0xac, 0x58, 0xcd];
/// ERC-165's id of ERC-4907.
pub const ERC_4907: [u8; 4] = [0xad, 0x09, 0x2b, 0x5c];
