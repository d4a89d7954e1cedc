//! Checks that a block has the anchor that a document says.

use alloy_primitives::{Address, B256, Bytes, keccak256};
use alloy_sol_types::SolEvent as _;
use stencil_proof::document::AnchorForm;

use crate::abi::{Append, Event};
use crate::receipts::{key, receipts_root};
use crate::rlp;

/// What a block shows of an anchor. It is true if the block is one of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchored {
    /// The chain.
    pub chain_id: u64,
    /// The contract.
    pub contract: Address,
    /// Who anchored.
    pub publisher: Address,
    /// The block's number.
    pub block_number: u64,
    /// The block's hash.
    pub block_hash: B256,
    /// The block's time, in seconds since 1970: the data was there by then.
    pub block_time_s: u64,
}

/// What an anchor does not show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// An address is none.
    #[error("the anchor's {0} is no address of 20 bytes")]
    Address(&'static str),
    /// The header is not that of the block.
    #[error("the header in the proof does not give the block's hash {0}")]
    Header(B256),
    /// The block is another one.
    #[error("the header is of block {held}, and the proof says {said}")]
    Number {
        /// The number in the header.
        held: u64,
        /// The number in the document.
        said: u64,
    },
    /// The path does not lead to a receipt.
    #[error("the path in the proof does not lead from the block's root of receipts to a receipt")]
    Path,
    /// The transaction was reverted.
    #[error("the transaction in the block was reverted: it has anchored nothing")]
    Reverted,
    /// The receipt has no such event.
    #[error(
        "the transaction has no event `Anchored` of this contract, publisher, series, number, interval \
         and root"
    )]
    Event,
}

/// Checks an anchor against its own block. Whether the block is one of the chain only somebody says who
/// has that: compare [`Anchored::block_hash`].
///
/// # Errors
/// The first [`Fault`], from the block downwards.
pub fn check(form: &AnchorForm) -> Result<Anchored, Fault> {
    let contract = address(&form.contract).ok_or(Fault::Address("contract"))?;
    let publisher = address(&form.publisher).ok_or(Fault::Address("publisher"))?;
    let block = B256::from(form.block_hash);
    if keccak256(&form.header) != block {
        return Err(Fault::Header(block));
    }
    let fields = rlp::list(&form.header).ok_or(Fault::Header(block))?;
    let number = |place: usize| {
        let (_, bytes) = fields.get(place)?;
        rlp::number(bytes)
    };
    let held = number(8).ok_or(Fault::Header(block))?;
    let block_time_s = number(11).ok_or(Fault::Header(block))?;
    if held != form.block_number {
        return Err(Fault::Number {
            held,
            said: form.block_number,
        });
    }
    let root = receipts_root(&form.header).ok_or(Fault::Header(block))?;
    let receipt = receipt(form, root).ok_or(Fault::Path)?;
    let said = Said::of(&receipt).ok_or(Fault::Path)?;
    if !said.succeeded {
        return Err(Fault::Reverted);
    }
    let append = Append {
        series: form.series.into(),
        previous: form.previous.into(),
        root: form.root.into(),
        start: form.start,
        end: form.end,
    };
    let expected = Event {
        publisher,
        series: append.series,
        root: append.root,
        number: form.number,
        start: form.start,
        end: form.end,
        previous: append.previous,
        // What the contract says of the chain that it is on.
        link: append.link(form.chain_id, contract, publisher, form.number),
    };
    let expected = expected.encode_log_data();
    let is_it = |log: &(Address, Vec<B256>, &[u8])| {
        log.0 == contract && log.1 == expected.topics() && log.2 == expected.data.as_ref()
    };
    if !said.logs.iter().any(is_it) {
        return Err(Fault::Event);
    }
    Ok(Anchored {
        chain_id: form.chain_id,
        contract,
        publisher,
        block_number: held,
        block_hash: block,
        block_time_s,
    })
}

fn address(text: &str) -> Option<Address> {
    let digits = text.strip_prefix("0x")?;
    let bytes = hex::decode(digits).ok()?;
    (bytes.len() == 20).then(|| Address::from_slice(&bytes))
}

/// The receipt at the end of the path, if it leads there.
fn receipt(form: &AnchorForm, root: B256) -> Option<Vec<u8>> {
    let last = rlp::list(form.receipt_path.last()?)?;
    // A leaf is a list of the rest of its key and its value.
    let [_, (false, value)] = last.as_slice() else {
        return None;
    };
    let nodes: Vec<Bytes> = form.receipt_path.iter().cloned().map(Bytes::from).collect();
    let key = key(form.transaction_index);
    alloy_trie::proof::verify_proof(root, key, Some(value.to_vec()), &nodes).ok()?;
    Some(value.to_vec())
}

/// What a receipt says.
struct Said<'a> {
    succeeded: bool,
    logs: Vec<(Address, Vec<B256>, &'a [u8])>,
}

impl<'a> Said<'a> {
    fn of(receipt: &'a [u8]) -> Option<Self> {
        // One of a type has that before its list (EIP-2718).
        let list = match receipt.split_first()? {
            (kind, rest) if *kind < 0x80 => rest,
            _ => receipt,
        };
        let fields = rlp::list(list)?;
        let (_, status) = fields.first()?;
        let (true, logs) = *fields.get(3)? else {
            return None;
        };
        let logs = rlp::items(logs)?.into_iter().map(|(is_list, log)| {
            let parts = is_list.then(|| rlp::items(log))??;
            let [(false, address), (true, topics), (false, data)] = parts.as_slice() else {
                return None;
            };
            let topics = rlp::items(topics)?
                .into_iter()
                .map(|(_, topic)| (topic.len() == 32).then(|| B256::from_slice(topic)));
            if address.len() != 20 {
                return None;
            }
            let topics: Option<Vec<B256>> = topics.collect();
            Some((Address::from_slice(address), topics?, *data))
        });
        Some(Self {
            succeeded: *status == [1],
            logs: logs.collect::<Option<_>>()?,
        })
    }
}
