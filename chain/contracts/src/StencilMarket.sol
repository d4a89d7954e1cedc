// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC2981} from "@openzeppelin/contracts/interfaces/IERC2981.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {ERC165Checker} from "@openzeppelin/contracts/utils/introspection/ERC165Checker.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {LowLevelCall} from "@openzeppelin/contracts/utils/LowLevelCall.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

/// @title Sales of tokens by signed listings
/// @notice An owner signs what it sells and for how much (EIP-712); whoever brings the listing and the
/// money has the token in the same transaction, and the seller the money. The market holds neither at
/// any time, has no owner and takes no fee. Royalties (ERC-2981) are paid out of the price.
///
/// The seller approves the token to this contract before. A listing ends by a sale, by {cancel}, by its
/// time, and while somebody else has the token; if the token comes back to the seller within the time, it
/// is good again, so cancel what is no longer meant.
///
/// Amounts are in the smallest unit of the payment token, or in wei.
contract StencilMarket is EIP712, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @notice What a seller signs.
    struct Listing {
        /// Who sells, and signs: an account, or a contract wallet that knows the signature (ERC-1271).
        address seller;
        /// The contract of the token that is sold (ERC-721), and its id.
        address collection;
        uint256 tokenId;
        /// What is paid with: a token (ERC-20), or zero for the native coin.
        address token;
        /// What the buyer pays; never zero.
        uint256 price;
        /// What the seller gets at least, after royalties and what the payment token keeps; else there
        /// is no sale.
        uint256 proceeds;
        /// It can be bought before this time, in seconds since 1970.
        uint64 expires;
        /// A number of the seller's choice, good for one sale.
        uint256 nonce;
    }

    /// @notice What became of a seller's nonce.
    enum State {
        Open,
        Sold,
        Cancelled
    }

    /// @notice What stands for the native coin where a token is named.
    address public constant NATIVE = address(0);

    /// @notice The longest time before its end at which a listing can be bought. An end in milliseconds is beyond it.
    uint256 public constant MAX_TIME = 366 days;

    /// @notice EIP-712's type of a listing.
    bytes32 public constant LISTING_TYPEHASH = keccak256(
        "Listing(address seller,address collection,uint256 tokenId,address token,uint256 price,uint256 proceeds,uint64 expires,uint256 nonce)"
    );

    /// @notice What became of each nonce of a seller.
    mapping(address seller => mapping(uint256 nonce => State)) public stateOf;

    /// @notice A token was sold.
    /// @param price What the buyer paid.
    /// @param received What the seller has more by it.
    /// @param royalty What went to `royaltyReceiver` out of the price.
    event Sold(
        address indexed collection,
        uint256 indexed tokenId,
        address indexed seller,
        address buyer,
        address token,
        uint256 price,
        uint256 received,
        address royaltyReceiver,
        uint256 royalty,
        uint256 nonce
    );
    /// @notice No listing with this nonce can be bought any more.
    event Cancelled(address indexed seller, uint256 indexed nonce);

    /// @notice Nothing is to be paid.
    error ZeroPrice();
    /// @notice The listing's time is over.
    error Expired(uint64 expires, uint256 time);
    /// @notice The listing's time is further away than {MAX_TIME}.
    error ExpiryTooFar(uint64 expires, uint256 latest);
    /// @notice The nonce is used up, by a sale or by its seller.
    error NotOpen(address seller, uint256 nonce, State state);
    /// @notice The seller did not sign this, for this market, on this chain.
    error InvalidSignature(address seller, bytes32 digest);
    /// @notice The token is not the seller's any more, or never was.
    error NotTheOwner(address owner, address seller);
    /// @notice The seller can't buy from itself.
    error OwnListing(address seller);
    /// @notice There is no contract at this address: a wrong address, or the wrong chain.
    error NotAContract(address account);
    /// @notice What is to be paid with is no money: tokens of an ERC-721 collection move by the same call, and the
    /// "price" would be one of the buyer's.
    error NotMoney(address token);
    /// @notice What was sent of the native coin is not the price (nothing, with a token).
    error WrongValue(uint256 expected, uint256 sent);
    /// @notice The seller would get less than it signed for: royalties rose, or the token takes a fee.
    error ProceedsTooLow(uint256 proceeds, uint256 received);
    /// @notice The collection asks for more than the price.
    error RoyaltyTooHigh(uint256 price, uint256 royalty);
    /// @notice A recipient does not take the native coin.
    error RecipientRefused(address to);
    /// @notice The collection reported success, and the buyer does not have the token.
    error NotDelivered(address collection, uint256 tokenId);

    constructor() EIP712("Stencil Market", "1") {}

    /// @notice Buys what is listed, for the sender: the native coin is sent along, or the price was
    /// approved to this contract before.
    function buy(Listing calldata listing, bytes calldata signature) external payable nonReentrant {
        if (msg.sender == listing.seller) revert OwnListing(listing.seller);
        _requireForm(listing, msg.value);
        _requireOpen(listing, signature);
        stateOf[listing.seller][listing.nonce] = State.Sold;
        (address royaltyReceiver, uint256 royalty) = royaltyOf(listing.collection, listing.tokenId, listing.price);
        if (royalty > listing.price) revert RoyaltyTooHigh(listing.price, royalty);
        uint256 received = _pay(listing, royaltyReceiver, royalty);
        if (received < listing.proceeds) revert ProceedsTooLow(listing.proceeds, received);
        emit Sold(
            listing.collection,
            listing.tokenId,
            listing.seller,
            msg.sender,
            listing.token,
            listing.price,
            received,
            royaltyReceiver,
            royalty,
            listing.nonce
        );
        IERC721(listing.collection).safeTransferFrom(listing.seller, msg.sender, listing.tokenId);
        if (IERC721(listing.collection).ownerOf(listing.tokenId) != msg.sender) {
            revert NotDelivered(listing.collection, listing.tokenId);
        }
    }

    /// @notice Takes back the sender's listings with this nonce, whoever has them.
    function cancel(uint256 nonce) external {
        State state = stateOf[msg.sender][nonce];
        if (state != State.Open) revert NotOpen(msg.sender, nonce, state);
        stateOf[msg.sender][nonce] = State.Cancelled;
        emit Cancelled(msg.sender, nonce);
    }

    /// @notice What the seller signs: EIP-712's hash of the listing for this market on this chain.
    function digestOf(Listing calldata listing) public view returns (bytes32) {
        return _hashTypedDataV4(
            keccak256(
                abi.encode(
                    LISTING_TYPEHASH,
                    listing.seller,
                    listing.collection,
                    listing.tokenId,
                    listing.token,
                    listing.price,
                    listing.proceeds,
                    listing.expires,
                    listing.nonce
                )
            )
        );
    }

    /// @notice What goes to whom out of a price by ERC-2981; nothing where the collection does not know it.
    function royaltyOf(address collection, uint256 tokenId, uint256 price)
        public
        view
        returns (address receiver, uint256 royalty)
    {
        if (ERC165Checker.supportsInterface(collection, type(IERC2981).interfaceId)) {
            (receiver, royalty) = IERC2981(collection).royaltyInfo(tokenId, price);
        }
        if (receiver == address(0) || royalty == 0) (receiver, royalty) = (address(0), 0);
    }

    /// @dev What can be said by the listing alone, and the coin that was sent along.
    function _requireForm(Listing calldata listing, uint256 sent) private view {
        uint256 expected = listing.token == NATIVE ? listing.price : 0;
        if (sent != expected) revert WrongValue(expected, sent);
        if (listing.price == 0) revert ZeroPrice();
        // Listings are for minutes and more; who makes a block can shift its time by seconds.
        // slither-disable-start timestamp
        if (block.timestamp >= listing.expires) revert Expired(listing.expires, block.timestamp);
        if (listing.expires > block.timestamp + MAX_TIME) {
            revert ExpiryTooFar(listing.expires, block.timestamp + MAX_TIME);
        }
        // slither-disable-end timestamp
        if (listing.collection.code.length == 0) revert NotAContract(listing.collection);
        if (listing.token == NATIVE) return;
        if (listing.token.code.length == 0) revert NotAContract(listing.token);
        // ERC-20 has a `transferFrom` of the same selector, and asks for no answer of `supportsInterface`.
        if (ERC165Checker.supportsInterface(listing.token, type(IERC721).interfaceId)) revert NotMoney(listing.token);
    }

    /// @dev Whether the seller has signed it, still means it, and still has the token.
    function _requireOpen(Listing calldata listing, bytes calldata signature) private view {
        State state = stateOf[listing.seller][listing.nonce];
        if (state != State.Open) revert NotOpen(listing.seller, listing.nonce, state);
        bytes32 digest = digestOf(listing);
        if (!SignatureChecker.isValidSignatureNowCalldata(listing.seller, digest, signature)) {
            revert InvalidSignature(listing.seller, digest);
        }
        address owner = IERC721(listing.collection).ownerOf(listing.tokenId);
        if (owner != listing.seller) revert NotTheOwner(owner, listing.seller);
    }

    /// @dev Pays royalty and seller out of the price; gives what the seller has more by its part.
    function _pay(Listing calldata listing, address royaltyReceiver, uint256 royalty) private returns (uint256) {
        uint256 rest = listing.price - royalty;
        if (listing.token == NATIVE) {
            _sendNative(royaltyReceiver, royalty);
            _sendNative(listing.seller, rest);
            return rest;
        }
        IERC20 token = IERC20(listing.token);
        if (royalty > 0) token.safeTransferFrom(msg.sender, royaltyReceiver, royalty);
        if (rest == 0) return 0;
        uint256 before = token.balanceOf(listing.seller);
        token.safeTransferFrom(msg.sender, listing.seller, rest);
        uint256 balance = token.balanceOf(listing.seller);
        uint256 received = balance < before ? 0 : balance - before;
        // More can only have come from elsewhere, while the token called somebody.
        return received < rest ? received : rest;
    }

    /// @dev What the recipient returns is not looked at, so that it can't fill memory.
    function _sendNative(address to, uint256 amount) private {
        if (amount > 0 && !LowLevelCall.callNoReturn(to, amount, "")) revert RecipientRefused(to);
    }
}
