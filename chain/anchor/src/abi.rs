//! The interface of `StencilAnchor`.

use alloy_primitives::{Address, B256};
use alloy_sol_types::{SolCall as _, SolValue as _, sol};

sol! {
    #[allow(missing_docs, clippy::too_many_arguments)]
    contract StencilAnchor {
        struct HeadOf {
            bytes32 link;
            uint64 count;
            uint64 end;
        }
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
        function append(bytes32 series, bytes32 previous, bytes32 root, uint64 start, uint64 end)
            external
            returns (bytes32 link);
        function headOf(address publisher, bytes32 series) external view returns (HeadOf memory);
    }
}

pub(crate) use StencilAnchor::Anchored as Event;

/// What a link's hash begins with: the contract's `LINK_TYPEHASH`.
const LINK: &[u8] = b"StencilAnchor(uint256 chainId,address anchor,address publisher,bytes32 series,uint64 number,bytes32 previous,bytes32 root,uint64 start,uint64 end)";

/// A root that is added to a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Append {
    /// The series.
    pub series: B256,
    /// The series' newest link, or zero.
    pub previous: B256,
    /// The root.
    pub root: B256,
    /// The interval's first second.
    pub start: u64,
    /// The second after its last.
    pub end: u64,
}

impl Append {
    /// Calldata.
    #[must_use]
    pub fn call(&self) -> Vec<u8> {
        StencilAnchor::appendCall {
            series: self.series,
            previous: self.previous,
            root: self.root,
            start: self.start,
            end: self.end,
        }
        .abi_encode()
    }

    /// The link that it makes, as `linkOf` of the contract.
    #[must_use]
    pub fn link(&self, chain_id: u64, contract: Address, publisher: Address, number: u64) -> B256 {
        let words = (
            alloy_primitives::keccak256(LINK),
            alloy_primitives::U256::from(chain_id),
            contract,
            publisher,
            self.series,
            alloy_primitives::U256::from(number),
            self.previous,
            self.root,
            alloy_primitives::U256::from(self.start),
            alloy_primitives::U256::from(self.end),
        );
        alloy_primitives::keccak256(words.abi_encode_params())
    }
}

/// Where a series is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The newest link, or zero.
    pub link: B256,
    /// How many roots there are.
    pub count: u64,
    /// Where the newest one's interval ends.
    pub end: u64,
}

/// Calldata that asks where a series is.
#[must_use]
pub fn head_of(publisher: Address, series: B256) -> Vec<u8> {
    StencilAnchor::headOfCall { publisher, series }.abi_encode()
}

/// What the contract answers to that; `None`: that is no answer of `StencilAnchor`.
#[must_use]
pub fn read_head(returned: &[u8]) -> Option<Head> {
    let head = StencilAnchor::headOfCall::abi_decode_returns(returned).ok()?;
    Some(Head {
        link: head.link,
        count: head.count,
        end: head.end,
    })
}
