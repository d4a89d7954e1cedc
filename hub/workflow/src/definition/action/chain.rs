//! The `with` of `chain.call` and `chain.send`.

use serde_json::Value;
use stencil_payments::money::Amount;
use stencil_yaml::{Content, Error, Fields, Node, Place, integer, shown, text};

use super::super::input::{self, Input};
use super::super::names::Before;
use super::super::source::{chain_name, read_address, signature};
use super::{EffectError, checked, template};
use crate::effect::{ChainCall, ChainSend, Invalid};
use crate::template::{Scope, Template};

/// The most arguments of a function.
pub const MAX_ARGUMENTS: usize = 64;
/// The least and the most gas of a transaction.
const GAS: std::ops::RangeInclusive<i64> = 21_000..=30_000_000;
/// The gas of a transaction that says none.
const DEFAULT_GAS: i64 = 200_000;

/// A function of a contract, with what it is called with.
#[derive(Debug, PartialEq)]
pub struct FunctionTemplates {
    /// Its signature, which the chain reads.
    pub signature: String,
    /// Where that stands, for who can read it.
    pub at: Place,
    /// The arguments, in their order.
    pub arguments: Vec<Input>,
}

/// A call with its expressions.
#[derive(Debug, PartialEq)]
pub struct CallTemplates {
    /// The chain's name in the hub's settings.
    pub chain: String,
    /// Where that stands, for who knows the chains.
    pub chain_at: Place,
    /// The contract.
    pub address: Template,
    /// What is called.
    pub function: FunctionTemplates,
}

/// A transaction with its expressions.
#[derive(Debug, PartialEq)]
pub struct SendTemplates {
    /// The chain's name in the hub's settings.
    pub chain: String,
    /// Where that stands, for who knows the chains.
    pub chain_at: Place,
    /// Who is called or paid.
    pub address: Template,
    /// What is called; `None`: the coin is sent, and nothing else.
    pub function: Option<FunctionTemplates>,
    /// The chain's own coin that goes along, in wei.
    pub value: Input,
    /// The most gas.
    pub gas: u64,
    /// Whether the step waits until the transaction is final, else until it is in a block.
    pub until_final: bool,
}

impl FunctionTemplates {
    /// The arguments, if there is no expression in them.
    pub fn literals(&self) -> Option<Vec<Value>> {
        let literal = |input: &Input| match input {
            Input::Text(text) => text.literal().map(|text| Value::String(text.to_owned())),
            Input::Literal(value) => Some(value.clone()),
            Input::List(_) | Input::Map(_) => None,
        };
        self.arguments.iter().map(literal).collect()
    }

    fn render(&self, scope: &Scope) -> Result<Vec<Value>, EffectError> {
        let each = self.arguments.iter().map(|input| input.render(scope));
        each.collect::<Result<_, _>>()
            .map_err(|error| EffectError::Template {
                field: "arguments",
                error,
            })
    }
}

fn address(
    template: &Template,
    scope: &Scope,
) -> Result<stencil_payments::port::Address, EffectError> {
    let rendered = template.text(scope);
    let text = rendered.map_err(|error| EffectError::Template {
        field: "address",
        error,
    })?;
    Ok(read_address(&text).map_err(|(what, right)| Invalid { what, right })?)
}

impl CallTemplates {
    pub(super) fn render(&self, scope: &Scope) -> Result<ChainCall, EffectError> {
        Ok(ChainCall {
            chain: self.chain.clone(),
            address: address(&self.address, scope)?,
            function: self.function.signature.clone(),
            arguments: self.function.render(scope)?,
        })
    }
}

impl SendTemplates {
    pub(super) fn render(&self, scope: &Scope) -> Result<ChainSend, EffectError> {
        let value = self.value.render(scope);
        let value = value.map_err(|error| EffectError::Template {
            field: "value",
            error,
        })?;
        let function = match &self.function {
            None => None,
            Some(function) => Some((function.signature.clone(), function.render(scope)?)),
        };
        Ok(ChainSend {
            chain: self.chain.clone(),
            address: address(&self.address, scope)?,
            function,
            value: wei(&value)?,
            gas: self.gas,
            until_final: self.until_final,
        })
    }
}

/// An amount of wei: a whole number, or decimal digits.
fn wei(value: &Value) -> Result<Amount, Invalid> {
    let digits = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    digits.parse().map_err(|_| Invalid {
        what: format!(
            "`value` is {:?}",
            digits.chars().take(60).collect::<String>()
        ),
        right: "write wei as decimal digits, for example \"1000000000000000\"".to_owned(),
    })
}

fn function(
    fields: &Fields<'_>,
    node: &Node,
    before: Before<'_>,
) -> Result<FunctionTemplates, Error> {
    let arguments = match fields.get("arguments") {
        None => Vec::new(),
        Some(list) => {
            let Content::List(items) = &list.content else {
                let what = format!("`arguments` is {}", list.kind());
                let right = "write a list, for example `arguments: [\"{{ event.reference }}\", 7]`";
                return Err(Error::new(list.at, what, right));
            };
            if items.len() > MAX_ARGUMENTS {
                let what = format!("there are {} arguments", items.len());
                return Err(Error::new(
                    list.at,
                    what,
                    format!("write at most {MAX_ARGUMENTS}"),
                ));
            }
            let items = items.iter().map(|item| input::read(item, before));
            items.collect::<Result<_, _>>()?
        }
    };
    Ok(FunctionTemplates {
        signature: signature(node, "function")?,
        at: node.at,
        arguments,
    })
}

fn to(fields: &Fields<'_>, before: Before<'_>) -> Result<Template, Error> {
    let node = fields.need("address", "\"0x5FbDB2315678afecb367f032d93F642f64180aa3\"")?;
    let address = template(node, "address", before)?;
    checked(&address, node, |text| {
        let read = read_address(text).map(drop);
        read.map_err(|(what, right)| Invalid { what, right })
    })?;
    Ok(address)
}

pub(super) fn call(with: &Node, before: Before<'_>) -> Result<CallTemplates, Error> {
    let known = ["chain", "address", "function", "arguments"];
    let fields = Fields::of(with, "the `with` of chain.call", &known)?;
    let chain = fields.need("chain", "local")?;
    let node = fields.need("function", "\"balanceOf(address) returns (uint256)\"")?;
    Ok(CallTemplates {
        chain: chain_name(chain)?,
        chain_at: chain.at,
        address: to(&fields, before)?,
        function: function(&fields, node, before)?,
    })
}

pub(super) fn send(with: &Node, before: Before<'_>) -> Result<SendTemplates, Error> {
    let known = [
        "chain",
        "address",
        "function",
        "arguments",
        "value",
        "gas",
        "until",
    ];
    let fields = Fields::of(with, "the `with` of chain.send", &known)?;
    let chain = fields.need("chain", "local")?;
    let called = fields.get("function");
    let called = called
        .map(|node| function(&fields, node, before))
        .transpose()?;
    if called.is_none()
        && let Some(node) = fields.get("arguments")
    {
        let right = "add the function, for example `function: \"open(uint256)\"`";
        return Err(Error::new(
            node.at,
            "there are `arguments` and no `function`",
            right,
        ));
    }
    let value = match fields.get("value") {
        Some(node) => {
            let value = input::read(node, before)?;
            let literal = match &value {
                Input::Literal(value) => Some(value.clone()),
                Input::Text(text) => text.literal().map(|text| Value::String(text.to_owned())),
                Input::List(_) | Input::Map(_) => Some(Value::Null),
            };
            if let Some(literal) = literal {
                wei(&literal).map_err(|error| Error::new(node.at, error.what, error.right))?;
            }
            value
        }
        None if called.is_some() => Input::Literal(0.into()),
        None => {
            let what = "the `with` of chain.send has neither `function` nor `value`";
            let right = "add one, for example `value: \"1000000000000000\"` (wei)";
            return Err(Error::new(fields.at, what, right));
        }
    };
    let gas = match fields.get("gas") {
        Some(node) => integer(node, "gas", *GAS.start(), *GAS.end())?,
        None => DEFAULT_GAS,
    };
    let until_final = match fields.get("until") {
        None => false,
        Some(node) => match text(node, "until")? {
            "included" => false,
            "final" => true,
            other => {
                let what = format!("`until` is {}", shown(other));
                let right = "write included (until it is in a block) or final";
                return Err(Error::new(node.at, what, right));
            }
        },
    };
    Ok(SendTemplates {
        chain: chain_name(chain)?,
        chain_at: chain.at,
        address: to(&fields, before)?,
        function: called,
        value,
        gas: u64::try_from(gas).unwrap_or(u64::MAX),
        until_final,
    })
}
