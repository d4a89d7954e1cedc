//! Function signatures as people write them, what is sent to call one, and what it returned. Pure.

use alloy_dyn_abi::{DynSolType, DynSolValue, JsonAbiExt as _, Specifier as _};
use alloy_json_abi::Function;
use alloy_primitives::Bytes;
use serde_json::Value;
use stencil_payments::port;

use crate::decode;
use crate::event::{canonical, split};

/// The longest signature, in bytes.
const MAX_SIGNATURE: usize = 1_024;
/// The most values in one list of an argument.
const MAX_LIST: usize = 256;

/// A function, e.g. `stateOf(bytes32 holdId) returns (uint8)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    function: Function,
    /// What it returns.
    outputs: Vec<DynSolType>,
}

impl Signature {
    /// Reads a signature in Solidity's form. The word `function`, words such as `external view`, and the
    /// parameters' names may be left out; what it returns is written as `returns (…)`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let told = |why: &str| {
            let text: String = text.chars().take(200).collect();
            format!("function {text:?}: {why}")
        };
        let fail = |why: &str| Err(told(why));
        if text.len() > MAX_SIGNATURE {
            return fail("longer than 1024 bytes");
        }
        let trimmed = text.trim().trim_end_matches(';').trim_end();
        let trimmed = trimmed
            .strip_prefix("function ")
            .unwrap_or(trimmed)
            .trim_start();
        let Some((name, rest)) = trimmed.split_once('(') else {
            return fail("no parameters; `transfer(address,uint256) returns (bool)` is right");
        };
        let name = name.trim_end();
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '$')
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$');
        if !is_name {
            return fail("its name is letters, digits, `_` and `$`, not beginning with a digit");
        }
        let Some((inputs, after)) = closed(rest) else {
            return fail("`)` is missing");
        };
        let outputs = match after.trim_start().find("returns") {
            None => "",
            Some(at) => {
                let list = after.trim_start()[at + "returns".len()..].trim();
                match list.strip_prefix('(').and_then(closed) {
                    Some((outputs, rest)) if rest.trim().is_empty() => outputs,
                    _ => return fail("what it returns is written as `returns (uint256)`"),
                }
            }
        };
        let parameters = |list: &str, what: &str| -> Result<String, String> {
            if list.trim().is_empty() {
                return Ok(String::new());
            }
            let mut written = Vec::new();
            for (place, parameter) in split(list).into_iter().enumerate() {
                // Where data lies is no part of the signature.
                let words: Vec<&str> = parameter
                    .split_whitespace()
                    .filter(|word| !matches!(*word, "memory" | "calldata"))
                    .collect();
                let parameter = canonical(&words.join(" ")).and_then(|parameter| {
                    if parameter.split_whitespace().any(|word| word == "indexed") {
                        return Err("`indexed` is for events".to_owned());
                    }
                    Ok(parameter)
                });
                written.push(parameter.map_err(|why| format!("{what} {}: {why}", place + 1))?);
            }
            Ok(written.join(","))
        };
        let inputs = parameters(inputs, "parameter").map_err(|why| told(&why))?;
        let outputs = parameters(outputs, "return value").map_err(|why| told(&why))?;
        let mut written = format!("function {name}({inputs})");
        if !outputs.is_empty() {
            written = format!("{written} returns ({outputs})");
        }
        let function = Function::parse(&written).map_err(|error| told(&error.to_string()))?;
        let outputs = function.outputs.iter().map(|output| output.resolve());
        let outputs: Result<Vec<_>, _> = outputs.collect();
        let outputs = outputs.map_err(|error| told(&error.to_string()))?;
        Ok(Self { function, outputs })
    }
}

impl port::Function for Signature {
    fn encode(&self, arguments: &[Value]) -> Result<Bytes, String> {
        let inputs = &self.function.inputs;
        if arguments.len() != inputs.len() {
            return Err(format!(
                "there are {} arguments; {} has {}",
                arguments.len(),
                self.function.signature(),
                inputs.len()
            ));
        }
        let mut values = Vec::with_capacity(inputs.len());
        for (place, (input, argument)) in inputs.iter().zip(arguments).enumerate() {
            let ty = input.resolve().map_err(|error| error.to_string())?;
            let value = value(&ty, argument)
                .map_err(|why| format!("argument {} ({}): {why}", place + 1, input.ty))?;
            values.push(value);
        }
        let data = self.function.abi_encode_input(&values);
        data.map(Bytes::from).map_err(|error| error.to_string())
    }

    fn decode(&self, returned: &[u8]) -> Option<Vec<Value>> {
        decode::values(&self.outputs, returned)
    }
}

/// What stands before the parenthesis that closes, and what after it.
fn closed(text: &str) -> Option<(&str, &str)> {
    let mut depth = 1_u32;
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((&text[..at], &text[at + 1..]));
        }
    }
    None
}

/// An argument of a type.
fn value(ty: &DynSolType, argument: &Value) -> Result<DynSolValue, String> {
    let list = |element: &DynSolType| -> Result<Vec<DynSolValue>, String> {
        let items = argument.as_array().ok_or("it is a list")?;
        if items.len() > MAX_LIST {
            return Err(format!(
                "it has {} values; {MAX_LIST} is the most",
                items.len()
            ));
        }
        items.iter().map(|item| value(element, item)).collect()
    };
    match ty {
        DynSolType::Array(element) => Ok(DynSolValue::Array(list(element)?)),
        DynSolType::FixedArray(element, size) => {
            let values = list(element)?;
            if values.len() != *size {
                return Err(format!("it has {} values, not {size}", values.len()));
            }
            Ok(DynSolValue::FixedArray(values))
        }
        DynSolType::Tuple(types) => {
            let items = argument
                .as_array()
                .ok_or("it is a list, one value a member")?;
            if items.len() != types.len() {
                return Err(format!(
                    "it has {} values, not {}",
                    items.len(),
                    types.len()
                ));
            }
            let values: Result<_, String> = types
                .iter()
                .zip(items)
                .map(|(ty, item)| value(ty, item))
                .collect();
            Ok(DynSolValue::Tuple(values?))
        }
        DynSolType::Bool => match argument {
            Value::Bool(bit) => Ok(DynSolValue::Bool(*bit)),
            Value::String(text) if text == "true" || text == "false" => {
                Ok(DynSolValue::Bool(text == "true"))
            }
            _ => Err("it is true or false".to_owned()),
        },
        DynSolType::String => match argument {
            Value::String(text) => Ok(DynSolValue::String(text.clone())),
            _ => Err("it is a text".to_owned()),
        },
        DynSolType::Uint(_) | DynSolType::Int(_) => {
            let text = match argument {
                Value::Number(number) if !number.is_f64() => number.to_string(),
                Value::String(text) => text.clone(),
                _ => String::new(),
            };
            // Nothing but digits: what a library reads as well, such as `1 ether`, is a guess here.
            let digits = text.strip_prefix('-').unwrap_or(&text);
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err("it is a whole number, as a number or as decimal digits".to_owned());
            }
            ty.coerce_str(&text)
                .map_err(|_| format!("{text} is beyond what a {ty} holds"))
        }
        DynSolType::Address => match argument {
            Value::String(text) => {
                crate::address(text).map(|address| DynSolValue::Address(address.into()))
            }
            _ => Err("it is an address: `0x` and 40 hexadecimal digits".to_owned()),
        },
        DynSolType::FixedBytes(size) => match argument {
            Value::String(text) if text.starts_with("0x") && text.len() == 2 + 2 * size => ty
                .coerce_str(text)
                .map_err(|_| "it is `0x` and hexadecimal digits".to_owned()),
            _ => Err(format!("it is `0x` and {} hexadecimal digits", 2 * size)),
        },
        DynSolType::Bytes => match argument {
            Value::String(text) if text.starts_with("0x") => ty
                .coerce_str(text)
                .map_err(|_| "it is `0x` and hexadecimal digits, two a byte".to_owned()),
            _ => Err("it is `0x` and hexadecimal digits".to_owned()),
        },
        _ => Err("no such argument can be given here".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stencil_payments::port::Function as _;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        hex::encode(bytes)
    }

    #[test]
    fn a_call_is_written_as_solidity_writes_it() {
        let transfer =
            Signature::parse("function transfer(address to, uint amount) external returns (bool);")
                .unwrap();
        let to = "0x5FbDB2315678afecb367f032d93F642f64180aa3";
        let data = transfer.encode(&[json!(to), json!("2500000")]).unwrap();
        // keccak256("transfer(address,uint256)") begins with a9059cbb.
        let expected = format!(
            "a9059cbb{:0>64}{:0>64}",
            to[2..].to_lowercase(),
            format!("{:x}", 2_500_000)
        );
        assert_eq!(hex(&data), expected);
        assert_eq!(transfer.decode(&word(1)), Some(vec![json!(true)]));
        assert_eq!(transfer.decode(&[1]), None);
        let pairs = Signature::parse("set((address who, uint8 level)[] all)").unwrap();
        let data = pairs.encode(&[json!([[to, 3]])]).unwrap();
        assert_eq!(data.len(), 4 + 4 * 32);
    }

    fn word(last: u8) -> [u8; 32] {
        let mut word = [0; 32];
        word[31] = last;
        word
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, expected) in [
            ("transfer", "no parameters"),
            ("transfer(address", "`)` is missing"),
            ("9(address)", "not beginning with a digit"),
            ("f(adress)", "no type of Solidity"),
            ("f(address indexed who)", "`indexed` is for events"),
            ("f() returns uint256", "returns (uint256)"),
        ] {
            let error = Signature::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let f = Signature::parse("f(uint8,address,bytes32,bool,uint256[2])").unwrap();
        let address = "0x5fbdb2315678afecb367f032d93f642f64180aa3";
        let hash = format!("0x{}", "ab".repeat(32));
        let good = [
            json!(1),
            json!(address),
            json!(hash),
            json!(true),
            json!([1, "2"]),
        ];
        f.encode(&good).unwrap();
        for (place, wrong, expected) in [
            (0, json!(256), "beyond what a uint8 holds"),
            (0, json!(-1), "beyond what a uint8 holds"),
            (0, json!("1 ether"), "whole number"),
            (0, json!(1.5), "whole number"),
            (1, json!("0x12"), "here are 2"),
            (2, json!("0xab"), "64 hexadecimal digits"),
            (3, json!("yes"), "true or false"),
            (4, json!([1]), "1 values, not 2"),
        ] {
            let mut arguments = good.clone();
            arguments[place] = wrong;
            let error = f.encode(&arguments).unwrap_err();
            assert!(error.contains(expected), "{place}: {error}");
            assert!(
                error.contains(&format!("argument {}", place + 1)),
                "{error}"
            );
        }
        assert!(f.encode(&[]).unwrap_err().contains("has 5"));
    }
}
