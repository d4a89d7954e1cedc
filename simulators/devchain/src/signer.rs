//! Signing for the chain's own accounts: `eth_sendTransaction`, and `anvil_reorg` with transactions
//! that nobody signed.

use std::collections::HashMap;

use alloy_consensus::{SignableTransaction as _, TypedTransaction};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, Bytes, TxKind};
use alloy_rpc_types_eth::TransactionRequest;
use alloy_signer::SignerSync as _;

use crate::node::Node;
use crate::rpc::{Code, Error};

/// Signs, and counts nonces on.
pub(crate) struct Signer<'a> {
    node: &'a Node,
    block: u64,
    nonces: HashMap<Address, u64>,
}

impl<'a> Signer<'a> {
    pub(crate) fn new(node: &'a Node, block: u64) -> Self {
        Self {
            node,
            block,
            nonces: HashMap::new(),
        }
    }

    /// Fills in what is missing, and signs.
    pub(crate) fn sign(&mut self, mut request: TransactionRequest) -> Result<Bytes, Error> {
        let chain = self.node.read();
        let from = request
            .from
            .ok_or_else(|| Error::params("from is missing: an account of the chain is wanted"))?;
        let account = chain
            .accounts()
            .iter()
            .find(|account| account.address == from)
            .and_then(crate::accounts::Account::signer)
            .ok_or_else(|| Error::new(Code::Server, "unknown account"))?;
        let around = chain.next_surroundings(self.node.now());
        let newest = self.block >= chain.head();
        let nonce = request.nonce.unwrap_or_else(|| {
            *self.nonces.entry(from).or_insert_with(|| {
                if newest {
                    chain.pending_nonce(from)
                } else {
                    chain
                        .state_after(self.block)
                        .map_or(0, |state| state.account(from).nonce)
                }
            })
        });
        self.nonces.insert(from, nonce.saturating_add(1));
        request.nonce = Some(nonce);
        request.chain_id = Some(request.chain_id.unwrap_or(around.chain_id));
        request.to = Some(request.to.unwrap_or(TxKind::Create));
        if request.gas.is_none() {
            // On another branch the state is not there yet to be asked.
            request.gas = Some(if newest {
                chain.estimate(chain.state(), &around, &request)?
            } else {
                1_000_000
            });
        }
        if request.gas_price.is_none() {
            let tip = request
                .max_priority_fee_per_gas
                .unwrap_or_else(|| chain.suggested_tip());
            request.max_priority_fee_per_gas = Some(tip);
            request.max_fee_per_gas = Some(
                request
                    .max_fee_per_gas
                    .unwrap_or_else(|| u128::from(around.base_fee) * 2 + tip),
            );
        }
        drop(chain);
        let transaction = request
            .build_consensus_tx()
            .map_err(|error| Error::params(format!("not a transaction: {}", error.error)))?;
        encode(transaction, &account)
    }
}

fn encode(
    transaction: TypedTransaction,
    account: &alloy_signer_local::PrivateKeySigner,
) -> Result<Bytes, Error> {
    let internal = |error: alloy_signer::Error| Error::new(Code::Internal, error.to_string());
    let hash = transaction.signature_hash();
    let signature = account.sign_hash_sync(&hash).map_err(internal)?;
    let envelope: alloy_consensus::TxEnvelope = transaction.into_signed(signature).into();
    Ok(envelope.encoded_2718().into())
}
