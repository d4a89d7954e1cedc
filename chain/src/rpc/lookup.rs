//! What a transaction that anybody has sent has done.

use alloy_primitives::{Address, B256, Bytes, U64, U256};
use serde::Deserialize;
use stencil_payments::abi::TRANSFER;
use stencil_payments::money::Amount;
use stencil_payments::observation::VALUE;
use stencil_payments::port::{Looked, Moved, Outcome};

use super::{Endpoint, Failure, Quorum, Trouble};

/// A receipt, as far as it shows where money went.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Receipt {
    block_hash: Option<B256>,
    block_number: Option<U64>,
    #[serde(default)]
    status: Option<U64>,
    #[serde(default)]
    logs: Vec<Log>,
}

#[derive(Deserialize)]
struct Log {
    address: Address,
    topics: Vec<B256>,
    data: Bytes,
}

/// Who has sent a transaction, and what of the coin itself.
#[derive(Deserialize)]
struct Sent {
    from: Address,
    nonce: U64,
    #[serde(default)]
    to: Option<Address>,
    #[serde(default)]
    value: U256,
}

impl Endpoint {
    async fn look_up(&self, tx: B256) -> Result<Option<Looked>, Failure> {
        let receipt: Option<Receipt> = self.call("eth_getTransactionReceipt", [tx]).await?;
        let Some(Receipt {
            block_hash: Some(block_hash),
            block_number: Some(number),
            status,
            logs,
        }) = receipt
        else {
            return Ok(None);
        };
        let succeeded = status.is_none_or(|status| !status.is_zero());
        let outcome = Outcome {
            tx,
            block: number.to(),
            block_hash,
            succeeded,
        };
        let sent: Option<Sent> = self.call("eth_getTransactionByHash", [tx]).await?;
        let sent = sent.ok_or_else(|| Failure::Missing(format!("transaction {tx}")))?;
        let mut looked = Looked {
            outcome,
            sender: sent.from,
            nonce: sent.nonce.to(),
            moves: Vec::new(),
        };
        if !succeeded {
            return Ok(Some(looked));
        }
        let coin = sent.to.filter(|_| !sent.value.is_zero()).map(|to| Moved {
            ordinal: VALUE,
            token: None,
            from: sent.from,
            to,
            amount: Amount(sent.value),
        });
        let of_tokens = (0..VALUE)
            .zip(&logs)
            .filter_map(|(ordinal, log)| transfer(ordinal, log));
        looked.moves = coin.into_iter().chain(of_tokens).collect();
        Ok(Some(looked))
    }
}

/// A transfer by ERC-20. One of a thing (ERC-721) names that in a topic of its own, and is none.
fn transfer(ordinal: u32, log: &Log) -> Option<Moved> {
    let [first, from, to] = log.topics[..] else {
        return None;
    };
    let amount = <[u8; 32]>::try_from(&log.data[..]).ok()?;
    (first == TRANSFER).then(|| Moved {
        ordinal,
        token: Some(log.address),
        from: Address::from_word(from),
        to: Address::from_word(to),
        amount: Amount(U256::from_be_bytes(amount)),
    })
}

impl Quorum {
    /// Where a transaction is and what it has moved, as enough endpoints say; `None`: as many say that it is in no
    /// block.
    pub(crate) async fn look_up(&self, tx: B256) -> Result<Option<Looked>, Trouble> {
        self.agreed(
            &format!("what transaction {tx} has done"),
            |endpoint| endpoint.look_up(tx),
            |found| match found {
                Some(Looked { outcome, moves, .. }) => format!(
                    "{} movements in block {} ({})",
                    moves.len(),
                    outcome.block,
                    outcome.block_hash
                ),
                None => "in no block".to_owned(),
            },
        )
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_of_a_token_is_known_from_one_of_a_thing() {
        let [from, to] = [0x0a, 0x0b].map(Address::repeat_byte);
        let mut log = Log {
            address: Address::repeat_byte(0x70),
            topics: vec![TRANSFER, from.into_word(), to.into_word()],
            data: U256::from(7).to_be_bytes_vec().into(),
        };
        let moved = Moved {
            ordinal: 3,
            token: Some(log.address),
            from,
            to,
            amount: Amount::from(7_u64),
        };
        assert_eq!(transfer(3, &log), Some(moved));
        log.topics.push(B256::with_last_byte(7));
        log.data = Bytes::new();
        assert_eq!(transfer(3, &log), None);
        log.topics.truncate(3);
        assert_eq!(transfer(3, &log), None, "without an amount");
        log.data = U256::from(7).to_be_bytes_vec().into();
        log.topics[0] = B256::repeat_byte(1);
        assert_eq!(transfer(3, &log), None, "another event");
    }
}
