//! From registers and bits to a value.

use stencil_protocol::sample::{MAX_TEXT, OwnedValue};

use super::address::{Format, Order};
use crate::Fault;

/// The value in these registers, as many as the format takes.
pub(super) fn registers(words: &[u16], format: Format, order: Order) -> Result<OwnedValue, Fault> {
    let missing = || Fault::Nonsense("it is shorter than what was asked for".to_owned());
    let first = || {
        words
            .first()
            .map(|word| swapped(*word, order))
            .ok_or_else(missing)
    };
    let two = || two(words, order).ok_or_else(missing);
    let four = || four(words, order).ok_or_else(missing);
    Ok(match format {
        Format::Bool => OwnedValue::Bool(first()? != 0),
        Format::Bit(bit) => OwnedValue::Bool(first()? >> bit.min(15) & 1 == 1),
        Format::Bits { from, count } => {
            let mask = u16::MAX >> (16 - count.clamp(1, 16));
            OwnedValue::Integer(i64::from(first()? >> from.min(15) & mask))
        }
        Format::U16 => OwnedValue::Integer(first()?.into()),
        Format::I16 => OwnedValue::Integer(first()?.cast_signed().into()),
        Format::U32 => OwnedValue::Integer(two()?.into()),
        Format::I32 => OwnedValue::Integer(two()?.cast_signed().into()),
        Format::U64 => {
            let value = four()?;
            OwnedValue::Integer(i64::try_from(value).map_err(|_| Fault::TooLarge(value))?)
        }
        Format::I64 => OwnedValue::Integer(four()?.cast_signed()),
        Format::F32 => finite(f32::from_bits(two()?).into())?,
        Format::F64 => finite(f64::from_bits(four()?))?,
        Format::Text(bytes) => OwnedValue::Text(text(words, bytes, order)?),
    })
}

/// A value of 64 bits without sign, for who scales it.
pub(super) fn unsigned(words: &[u16], order: Order) -> Option<u64> {
    four(words, order)
}

fn finite(value: f64) -> Result<OwnedValue, Fault> {
    if value.is_finite() {
        Ok(OwnedValue::Number(value))
    } else {
        Err(Fault::NotFinite(value))
    }
}

const fn swapped(word: u16, order: Order) -> u16 {
    if order.bytes_swapped() {
        word.swap_bytes()
    } else {
        word
    }
}

fn two(words: &[u16], order: Order) -> Option<u32> {
    let (first, second) = (*words.first()?, *words.get(1)?);
    let (high, low) = if order.low_word_first() {
        (second, first)
    } else {
        (first, second)
    };
    Some(u32::from(swapped(high, order)) << 16 | u32::from(swapped(low, order)))
}

fn four(words: &[u16], order: Order) -> Option<u64> {
    let words = words.get(..4)?;
    let fold = |value: u64, word: &u16| value << 16 | u64::from(swapped(*word, order));
    Some(if order.low_word_first() {
        words.iter().rev().fold(0, fold)
    } else {
        words.iter().fold(0, fold)
    })
}

/// A text ends with its bytes, or with the first zero; spaces that fill it up are no part of it.
fn text(words: &[u16], bytes: u16, order: Order) -> Result<String, Fault> {
    let mut held: Vec<u8> = words
        .iter()
        .flat_map(|word| swapped(*word, order).to_be_bytes())
        .take(usize::from(bytes).min(MAX_TEXT))
        .collect();
    if let Some(end) = held.iter().position(|byte| *byte == 0) {
        held.truncate(end);
    }
    let text = String::from_utf8(held).map_err(|error| {
        Fault::NotText(format!(
            "they are not UTF-8 from byte {} on",
            error.utf8_error().valid_up_to()
        ))
    })?;
    if let Some(control) = text.chars().find(|character| character.is_control()) {
        return Err(Fault::NotText(format!("there is {control:?} in them")));
    }
    Ok(text.trim_end_matches(' ').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(words: &[u16], format: Format, order: Order) -> OwnedValue {
        registers(words, format, order).unwrap()
    }

    #[test]
    fn orders_of_bytes() {
        // 1234.5 as IEEE 754, 32 bits: 44 9A 50 00.
        for (order, words) in [
            (Order::Abcd, [0x449a, 0x5000]),
            (Order::Cdab, [0x5000, 0x449a]),
            (Order::Badc, [0x9a44, 0x0050]),
            (Order::Dcba, [0x0050, 0x9a44]),
        ] {
            assert_eq!(
                value(&words, Format::F32, order),
                OwnedValue::Number(1234.5)
            );
            let as_u32 = OwnedValue::Integer(0x449a_5000);
            assert_eq!(value(&words, Format::U32, order), as_u32, "{order:?}");
        }
        let words = [1, 2, 3, 4];
        let four = |order| value(&words, Format::I64, order);
        assert_eq!(
            four(Order::Abcd),
            OwnedValue::Integer(0x0001_0002_0003_0004)
        );
        assert_eq!(
            four(Order::Cdab),
            OwnedValue::Integer(0x0004_0003_0002_0001)
        );
        assert_eq!(
            four(Order::Badc),
            OwnedValue::Integer(0x0100_0200_0300_0400)
        );
    }

    #[test]
    fn signs_bits_and_texts() {
        let abcd = Order::Abcd;
        assert_eq!(value(&[0xffff], Format::I16, abcd), OwnedValue::Integer(-1));
        assert_eq!(
            value(&[0xffff], Format::U16, abcd),
            OwnedValue::Integer(65_535)
        );
        assert_eq!(
            value(&[0xffff, 0xfffe], Format::I32, abcd),
            OwnedValue::Integer(-2)
        );
        assert_eq!(
            value(&[0b1000], Format::Bit(3), abcd),
            OwnedValue::Bool(true)
        );
        assert_eq!(
            value(&[0b1000], Format::Bit(2), abcd),
            OwnedValue::Bool(false)
        );
        let bits = Format::Bits { from: 4, count: 3 };
        assert_eq!(
            value(&[0b1101_0000], bits, abcd),
            OwnedValue::Integer(0b101)
        );
        let all = Format::Bits { from: 0, count: 16 };
        assert_eq!(value(&[0xffff], all, abcd), OwnedValue::Integer(0xffff));
        let words = [0x4142, 0x4320, 0x0000];
        assert_eq!(
            value(&words, Format::Text(6), abcd),
            OwnedValue::Text("ABC".into())
        );
        assert_eq!(
            value(&words, Format::Text(1), abcd),
            OwnedValue::Text("A".into())
        );
    }

    #[test]
    fn what_is_no_value_is_a_fault() {
        let nan = f32::NAN.to_bits();
        let words = [(nan >> 16) as u16, (nan & 0xffff) as u16];
        assert!(matches!(
            registers(&words, Format::F32, Order::Abcd),
            Err(Fault::NotFinite(_))
        ));
        assert!(matches!(
            registers(&[0xffff; 4], Format::U64, Order::Abcd),
            Err(Fault::TooLarge(u64::MAX))
        ));
        assert!(matches!(
            registers(&[0x07ff], Format::Text(2), Order::Abcd),
            Err(Fault::NotText(_))
        ));
        for format in [Format::U16, Format::F64, Format::U32] {
            assert!(matches!(
                registers(&[], format, Order::Abcd),
                Err(Fault::Nonsense(_))
            ));
        }
    }
}
