//! The EVM: what a transaction or a call comes to on a state.

use std::convert::Infallible;

use alloy_consensus::{Transaction as _, Typed2718 as _};
use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256};
use revm::bytecode::Bytecode;
use revm::context::result::{EVMError, InvalidTransaction, ResultAndState};
use revm::context::{BlockEnv, CfgEnv, Context, TxEnv};
use revm::context_interface::block::BlobExcessGasAndPrice;
use revm::database_interface::{DatabaseRef, WrapDatabaseRef};
use revm::primitives::hardfork::SpecId;
use revm::state::AccountInfo;
use revm::{Database, ExecuteEvm as _, MainBuilder as _, MainContext as _};

use crate::history::History;
use crate::pool::Signed;
use crate::world::{Account, Mark, World};

/// The rules that the chain goes by.
const RULES: SpecId = SpecId::OSAKA;

/// A state to execute on: now, or as it was at a mark.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State<'a> {
    pub(crate) world: &'a World,
    pub(crate) history: &'a History,
    pub(crate) at: Option<Mark>,
}

impl State<'_> {
    pub(crate) fn account(&self, address: Address) -> Account {
        self.world.account(self.at, address).unwrap_or_default()
    }

    pub(crate) fn code(&self, address: Address) -> Bytecode {
        let hash = self.account(address).code_hash;
        self.world.code(hash).cloned().unwrap_or_default()
    }

    pub(crate) fn slot(&self, address: Address, key: U256) -> U256 {
        self.world.slot(self.at, address, key)
    }
}

impl DatabaseRef for State<'_> {
    type Error = Infallible;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        Ok(self
            .world
            .account(self.at, address)
            .map(|account| AccountInfo {
                balance: account.balance,
                nonce: account.nonce,
                code_hash: account.code_hash,
                // Read by its hash when it is needed; the default is that there is none.
                code: None,
                ..AccountInfo::default()
            }))
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, Infallible> {
        if hash == KECCAK256_EMPTY {
            return Ok(Bytecode::default());
        }
        Ok(self.world.code(hash).cloned().unwrap_or_default())
    }

    fn storage_ref(&self, address: Address, key: U256) -> Result<U256, Infallible> {
        Ok(self.slot(address, key))
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, Infallible> {
        Ok(self.history.hash(number).unwrap_or_default())
    }
}

/// What a transaction sees of its block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings {
    pub(crate) chain_id: u64,
    pub(crate) number: u64,
    pub(crate) timestamp: u64,
    pub(crate) gas_limit: u64,
    pub(crate) base_fee: u64,
    pub(crate) mix_hash: B256,
}

impl Surroundings {
    fn block(&self) -> BlockEnv {
        BlockEnv {
            number: U256::from(self.number),
            beneficiary: Address::ZERO,
            timestamp: U256::from(self.timestamp),
            gas_limit: self.gas_limit,
            basefee: self.base_fee,
            difficulty: U256::ZERO,
            prevrandao: Some(self.mix_hash),
            blob_excess_gas_and_price: Some(BlobExcessGasAndPrice {
                excess_blob_gas: 0,
                blob_gasprice: 1,
            }),
            ..BlockEnv::default()
        }
    }
}

/// The error of an execution that did not begin.
pub(crate) type Invalid = EVMError<Infallible, InvalidTransaction>;

/// Executes a signed transaction.
pub(crate) fn transaction(
    database: impl Database<Error = Infallible>,
    around: &Surroundings,
    signed: &Signed,
) -> Result<ResultAndState, Invalid> {
    let transaction = &*signed.transaction;
    let environment = TxEnv {
        tx_type: transaction.ty(),
        caller: signed.from,
        gas_limit: transaction.gas_limit(),
        gas_price: transaction.max_fee_per_gas(),
        kind: transaction.kind(),
        value: transaction.value(),
        data: transaction.input().clone(),
        nonce: transaction.nonce(),
        chain_id: transaction.chain_id(),
        access_list: transaction.access_list().cloned().unwrap_or_default(),
        gas_priority_fee: transaction.max_priority_fee_per_gas(),
        blob_hashes: Vec::new(),
        max_fee_per_blob_gas: 0,
        authorization_list: Vec::new(),
    };
    let mut rules = CfgEnv::new_with_spec(RULES);
    rules.chain_id = around.chain_id;
    Context::mainnet()
        .with_db(database)
        .with_cfg(rules)
        .with_block(around.block())
        .build_mainnet()
        .transact(environment)
}

/// Executes a call that nobody signed: its nonce, its sender's code and a missing fee do not
/// matter, as in `eth_call`.
pub(crate) fn call(
    state: State<'_>,
    around: &Surroundings,
    mut environment: TxEnv,
) -> Result<ResultAndState, Invalid> {
    let mut rules = CfgEnv::new_with_spec(RULES);
    rules.chain_id = around.chain_id;
    rules.disable_nonce_check = true;
    rules.disable_eip3607 = true;
    rules.disable_base_fee = true;
    rules.tx_gas_limit_cap = Some(u64::MAX);
    environment.chain_id = Some(around.chain_id);
    Context::mainnet()
        .with_db(WrapDatabaseRef(state))
        .with_cfg(rules)
        .with_block(around.block())
        .build_mainnet()
        .transact(environment)
}
