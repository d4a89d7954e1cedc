//! What data says by the types of a signature. Pure.
//!
//! Strangers write data, and offsets in it may lead to one place as often as they like: a few kilobytes of
//! lists of lists would be gigabytes once they are read, and so would a type be that has many empty places.
//! So what is read is counted, and nothing is made before it is read.

use alloy_dyn_abi::{DynSolType, DynToken};
use alloy_primitives::B256;
use serde_json::{Value, json};

use crate::event::shown;

/// The most values that a log or an answer is read as; a list, a tuple, and each value in them is one.
pub(crate) const MAX_VALUES: usize = 10_000;
/// How deep types are nested at the most.
const MAX_NESTING: usize = 16;
const WORD: usize = 32;

/// What can't be read of a type, whatever the data says.
pub(crate) fn check(ty: &DynSolType) -> Result<(), String> {
    let depth = ty.nesting_depth();
    if depth > MAX_NESTING {
        return Err(format!(
            "lists and tuples are nested {depth} deep in it; {MAX_NESTING} is the most"
        ));
    }
    if holds_nothing(ty) {
        return Err("there is a tuple or a list in it that can hold nothing".to_owned());
    }
    let least = ty.minimum_words();
    if least > MAX_VALUES {
        return Err(format!("it holds {least} values; {MAX_VALUES} is the most"));
    }
    Ok(())
}

/// Whether a part of it takes no place, however many there are.
fn holds_nothing(ty: &DynSolType) -> bool {
    match ty {
        DynSolType::Array(of) => holds_nothing(of),
        DynSolType::FixedArray(of, size) => *size == 0 || holds_nothing(of),
        DynSolType::Tuple(types) => types.is_empty() || types.iter().any(holds_nothing),
        _ => false,
    }
}

/// What a topic says of an indexed parameter: of what is no single word it is the hash.
pub(crate) fn topic(ty: &DynSolType, topic: [u8; 32]) -> Option<Value> {
    let is_hash = matches!(
        ty,
        DynSolType::Array(_)
            | DynSolType::FixedArray(..)
            | DynSolType::Tuple(_)
            | DynSolType::Bytes
            | DynSolType::String
    );
    match is_hash {
        true => Some(json!(B256::from(topic))),
        false => one(ty, DynToken::Word(topic.into())),
    }
}

/// The values of these types, in their order: integers as decimal text, bytes and addresses as `0x…`.
/// `None`: the data is not of these types, is more than [`MAX_VALUES`] values, or tells bytes of it more than
/// once as the contents of texts.
pub(crate) fn values(types: &[DynSolType], data: &[u8]) -> Option<Vec<Value>> {
    let least = types.iter().map(DynSolType::minimum_words);
    let least = least.fold(0, usize::saturating_add);
    if data.len() / WORD < least {
        return None;
    }
    let mut left = Left {
        values: MAX_VALUES,
        bytes: data.len(),
    };
    sequence(types.iter(), data, &mut left)
}

/// What may still be read.
struct Left {
    values: usize,
    /// Of the contents of `bytes` and `string`.
    bytes: usize,
}

/// One after another; offsets among them count from where they begin.
fn sequence<'t>(
    types: impl Iterator<Item = &'t DynSolType>,
    zone: &[u8],
    left: &mut Left,
) -> Option<Vec<Value>> {
    let mut rest = zone;
    types.map(|ty| value(ty, zone, &mut rest, left)).collect()
}

fn value(ty: &DynSolType, zone: &[u8], rest: &mut &[u8], left: &mut Left) -> Option<Value> {
    left.values = left.values.checked_sub(1)?;
    if ty.is_dynamic() {
        return elsewhere(ty, zone.get(size(word(rest)?)?..)?, left);
    }
    let all = match ty {
        DynSolType::FixedArray(of, size) => (0..*size)
            .map(|_| value(of, zone, rest, left))
            .collect::<Option<_>>()?,
        DynSolType::Tuple(types) => types
            .iter()
            .map(|ty| value(ty, zone, rest, left))
            .collect::<Option<_>>()?,
        _ => return one(ty, DynToken::Word(word(rest)?)),
    };
    Some(Value::Array(all))
}

/// What an offset leads to.
fn elsewhere(ty: &DynSolType, zone: &[u8], left: &mut Left) -> Option<Value> {
    let mut rest = zone;
    let all = match ty {
        DynSolType::Bytes | DynSolType::String => {
            let length = size(word(&mut rest)?)?;
            let bytes = rest.get(..length)?;
            left.bytes = left.bytes.checked_sub(length)?;
            return one(ty, DynToken::PackedSeq(bytes));
        }
        DynSolType::Array(of) => {
            let size = size(word(&mut rest)?)?;
            if rest.len() / WORD < of.minimum_words().checked_mul(size)? {
                return None;
            }
            sequence(std::iter::repeat_n(&**of, size), rest, left)?
        }
        DynSolType::FixedArray(of, size) => {
            sequence(std::iter::repeat_n(&**of, *size), zone, left)?
        }
        DynSolType::Tuple(types) => sequence(types.iter(), zone, left)?,
        _ => return None,
    };
    Some(Value::Array(all))
}

fn word(rest: &mut &[u8]) -> Option<B256> {
    let (word, after) = rest.split_at_checked(WORD)?;
    *rest = after;
    Some(B256::from_slice(word))
}

/// An offset or a length; `None`: beyond what any data has.
fn size(word: B256) -> Option<usize> {
    let (before, size) = word.split_last_chunk::<4>()?;
    let is_small = before.iter().all(|byte| *byte == 0);
    is_small
        .then(|| usize::try_from(u32::from_be_bytes(*size)).ok())
        .flatten()
}

/// A value that has no others in it.
fn one(ty: &DynSolType, token: DynToken<'_>) -> Option<Value> {
    ty.detokenize(token).ok().as_ref().map(shown)
}

#[cfg(test)]
mod tests {
    use alloy_dyn_abi::DynSolValue;
    use alloy_primitives::{I256, U256};
    use proptest::prelude::*;

    use super::*;

    fn types(all: &[&str]) -> Vec<DynSolType> {
        all.iter()
            .map(|ty| DynSolType::parse(ty).unwrap())
            .collect()
    }

    fn words(all: &[usize]) -> Vec<u8> {
        all.iter()
            .flat_map(|word| U256::from(*word).to_be_bytes::<32>())
            .collect()
    }

    /// Lists in lists: each has so many members, and all of them are one and the same.
    fn shared(levels: usize, members: usize) -> Vec<u8> {
        let mut all = vec![WORD];
        for level in 1..=levels {
            all.push(members);
            let member = if level == levels { 7 } else { members * WORD };
            all.extend(std::iter::repeat_n(member, members));
        }
        words(&all)
    }

    /// What the library that others use reads, without counting.
    fn by_library(types: &[DynSolType], data: &[u8]) -> Option<Vec<Value>> {
        let read = DynSolType::Tuple(types.to_vec()).abi_decode_sequence(data);
        Some(
            read.ok()?
                .as_tuple()
                .unwrap_or_default()
                .iter()
                .map(shown)
                .collect(),
        )
    }

    #[test]
    fn what_contracts_write_is_read() {
        let uint = |n: u64| DynSolValue::Uint(U256::from(n), 256);
        let bytes = |bytes: &[u8]| DynSolValue::Bytes(bytes.to_vec());
        let text = |text: &str| DynSolValue::String(text.to_owned());
        let many = |n: u64| DynSolValue::Array((0..n).map(uint).collect());
        for (ty, value) in [
            ("uint256[]", many(9_000)),
            ("bytes", bytes(&[7; 40_000])),
            ("string", text("Schließfach 7")),
            (
                "(address,uint256[],int8)",
                DynSolValue::Tuple(vec![
                    DynSolValue::Address([7; 20].into()),
                    many(3),
                    DynSolValue::Int(I256::MINUS_ONE, 8),
                ]),
            ),
            (
                "bytes[]",
                DynSolValue::Array((0..90).map(|n| bytes(&[n; 1_000])).collect()),
            ),
            (
                "string[]",
                DynSolValue::Array(vec![text("a"), text(""), text("b")]),
            ),
            (
                "uint256[][]",
                DynSolValue::Array((0..90).map(|_| many(90)).collect()),
            ),
            (
                "(bool,(uint256,bytes)[2])[]",
                DynSolValue::Array(vec![DynSolValue::Tuple(vec![
                    DynSolValue::Bool(true),
                    DynSolValue::FixedArray(vec![
                        DynSolValue::Tuple(vec![uint(1), bytes(b"x")]),
                        DynSolValue::Tuple(vec![uint(2), bytes(b"")]),
                    ]),
                ])]),
            ),
        ] {
            let types = types(&["bool", ty]);
            check(&types[1]).unwrap();
            let data = DynSolValue::Tuple(vec![DynSolValue::Bool(true), value]).abi_encode_params();
            let read = values(&types, &data);
            assert!(read.is_some(), "{ty}");
            assert_eq!(read, by_library(&types, &data), "{ty}");
        }
    }

    #[test]
    fn a_few_kilobytes_that_would_be_gigabytes_are_refused() {
        let lists = types(&["uint256[][][][]"]);
        // Few are read, also where they are one and the same.
        let few = shared(4, 9);
        assert_eq!(values(&lists, &few), by_library(&lists, &few));
        // 27 million values.
        let many = shared(4, 72);
        assert!(many.len() < 10_000);
        assert_eq!(values(&lists, &many), None);

        // One text of a megabyte, a thousand times.
        let (texts, length) = (1_000, 1_000_000);
        let mut data = words(&[WORD, texts]);
        data.extend(words(&vec![texts * WORD; texts]));
        data.extend(words(&[length]));
        data.resize(data.len() + length, b'x');
        assert_eq!(values(&types(&["string[]"]), &data), None);
    }

    #[test]
    fn types_that_are_large_by_themselves_are_refused() {
        for ty in [
            "uint256[4000000000]",
            "(uint256,bytes[200])[200]",
            "(uint256,()[4000000000])",
            "(uint256,())[]",
            "()[]",
        ] {
            // What is no type at all is refused as that.
            if let Ok(ty) = DynSolType::parse(ty) {
                check(&ty).expect_err(&ty.sol_type_name());
            }
        }
        // There may be none of these, and whatever is there has to be in the data.
        let none = words(&[WORD, 0]);
        let many = types(&["uint256[4000000000][]"]);
        check(&many[0]).unwrap();
        assert_eq!(values(&many, &none), Some(vec![json!([])]));
        check(&DynSolType::parse(&format!("uint256{}", "[]".repeat(17))).unwrap()).unwrap_err();
        check(&DynSolType::parse("(uint256[64],bytes32[1000])[]").unwrap()).unwrap();
    }

    proptest! {
        /// Mostly small numbers, of which many are offsets and lengths that lead somewhere.
        #[test]
        fn what_is_read_is_what_others_read(
            all in proptest::collection::vec(
                prop_oneof![4 => 0..12_usize, 2 => (0..12_usize).prop_map(|n| n * 32), 1 => any::<usize>()], 0..24),
            cut in 0..32_usize,
        ) {
            let mut data = words(&all);
            data.truncate(data.len().saturating_sub(cut));
            for ty in [
                "uint256[]", "bytes", "string[]", "uint8[][]", "(bool,bytes)[2]", "(address,uint256[],int8)",
                "(uint256,(bytes4,string)[])[]", "uint256[3][]", "bytes[2]",
            ] {
                let types = types(&["uint256", ty]);
                if let Some(read) = values(&types, &data) {
                    prop_assert_eq!(Some(read), by_library(&types, &data), "{}", ty);
                } else if let Some(read) = by_library(&types, &data) {
                    // Read more than once.
                    let told: usize = read.iter().map(length).sum();
                    prop_assert!(told > data.len(), "{}: {:?}", ty, read);
                }
            }
        }
    }

    /// Of what texts hold.
    fn length(value: &Value) -> usize {
        match value {
            Value::Array(all) => all.iter().map(length).sum(),
            Value::String(text) => text.len(),
            _ => 0,
        }
    }
}
