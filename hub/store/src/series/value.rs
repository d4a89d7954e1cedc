//! A value as CBOR: the simple types stand for themselves.

use std::convert::Infallible;

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};
use stencil_protocol::sample::OwnedValue;

use crate::Error;

/// Appends `value` to `out`.
pub(crate) fn encode(out: &mut Vec<u8>, value: &OwnedValue) {
    let mut encoder = Encoder::new(out);
    written(match value {
        OwnedValue::Number(n) => encoder.f64(*n),
        OwnedValue::Integer(n) => encoder.i64(*n),
        OwnedValue::Bool(b) => encoder.bool(*b),
        OwnedValue::Text(text) => encoder.str(text),
    });
}

/// Writing to a Vec cannot fail: its error has no values.
pub(super) fn written<T>(result: Result<T, minicbor::encode::Error<Infallible>>) {
    debug_assert!(result.is_ok());
}

/// The value alone as bytes.
pub(crate) fn to_bytes(value: &OwnedValue) -> Vec<u8> {
    let mut out = Vec::with_capacity(9);
    encode(&mut out, value);
    out
}

/// The value that `bytes` hold.
pub(crate) fn from_bytes(bytes: &[u8]) -> Result<OwnedValue, Error> {
    decode(&mut Decoder::new(bytes)).map_err(|error| Error::corrupt("value", error))
}

/// The next value.
pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Result<OwnedValue, minicbor::decode::Error> {
    Ok(match decoder.datatype()? {
        Type::F16 | Type::F32 | Type::F64 => OwnedValue::Number(decoder.f64()?),
        Type::Bool => OwnedValue::Bool(decoder.bool()?),
        Type::String => OwnedValue::Text(decoder.str()?.to_owned()),
        _ => OwnedValue::Integer(decoder.i64()?),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn any_value() -> impl Strategy<Value = OwnedValue> {
        prop_oneof![
            prop::num::f64::NORMAL.prop_map(OwnedValue::Number),
            Just(OwnedValue::Number(-0.0)),
            any::<i64>().prop_map(OwnedValue::Integer),
            any::<bool>().prop_map(OwnedValue::Bool),
            "\\PC{0,40}".prop_map(OwnedValue::Text),
        ]
    }

    /// Also numbers of which only the bits can be compared.
    pub(crate) fn any_bits() -> impl Strategy<Value = OwnedValue> {
        let number = |bits| OwnedValue::Number(f64::from_bits(bits));
        let not_a_number = any::<u64>().prop_map(|payload| payload | 0x7ff0 << 48);
        prop_oneof![
            4 => any_value(),
            1 => any::<u64>().prop_map(number),
            1 => not_a_number.prop_map(number),
            1 => any::<f32>().prop_map(|short| OwnedValue::Number(f64::from(short))),
        ]
    }

    proptest! {
        #[test]
        fn comes_back_as_it_was(value in any_value()) {
            prop_assert_eq!(from_bytes(&to_bytes(&value)).unwrap(), value);
        }
    }
}
