//! JSON that means one thing only, and its canonical form (RFC 8785).
//!
//! A signature is over the canonical form, so two texts with one canonical form are one document to
//! it. What would let two readers see different documents in such a text is refused: names that
//! occur twice, and whole numbers that a double does not hold (RFC 7493).

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deep arrays and objects may lie in each other.
pub const MAX_DEPTH: usize = 32;

/// The largest whole number of which each smaller one is a double, too.
const MAX_EXACT: u64 = (1 << 53) - 1;

/// Why a text is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is too long to be looked at.
    #[error("it has {bytes} bytes; at most {max_bytes} are read")]
    TooLong {
        /// How long it is.
        bytes: usize,
        /// The most that is read.
        max_bytes: usize,
    },
    /// It is no JSON, or such that two readers may understand it differently.
    #[error("it is not the JSON that a signature can cover: {0}")]
    Syntax(#[from] serde_json::Error),
    /// It has a whole number that readers may take for another.
    #[error(
        "the whole number {0} is beyond ±{MAX_EXACT}, so that readers may take it for another; write \
         it as a string"
    )]
    Inexact(String),
    /// It is JSON, but no object.
    #[error("it is {0}, where an object is expected")]
    NoObject(&'static str),
}

/// Reads a text of at most `max_bytes`.
///
/// # Errors
/// [`Error::TooLong`]; [`Error::Syntax`] for what is no JSON, nested deeper than [`MAX_DEPTH`], or names
/// a member twice; [`Error::Inexact`] for a whole number beyond ±(2⁵³−1).
pub fn parse(text: &[u8], max_bytes: usize) -> Result<Value, Error> {
    if text.len() > max_bytes {
        return Err(Error::TooLong {
            bytes: text.len(),
            max_bytes,
        });
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Strict { depth: 0 }.deserialize(&mut reader)?;
    reader.end()?;
    match inexact(text) {
        None => Ok(value),
        Some(number) => Err(Error::Inexact(crate::text::shown(number))),
    }
}

/// The first whole number of a JSON text that is beyond ±(2⁵³−1). By its digits: a parser makes a
/// double of what no integer of its holds, and tells nobody.
fn inexact(text: &[u8]) -> Option<&str> {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => at = after_string(text, at),
            b'-' | b'0'..=b'9' => {
                let length = text[at..].iter().take_while(|byte| is_of_number(**byte));
                let number = &text[at..at + length.count()];
                at += number.len();
                if is_inexact(number) {
                    return std::str::from_utf8(number).ok();
                }
            }
            _ => at += 1,
        }
    }
    None
}

/// Where a string's closing quote is passed.
fn after_string(text: &[u8], open: usize) -> usize {
    let mut at = open + 1;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

fn is_of_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
}

fn is_inexact(number: &[u8]) -> bool {
    let digits = number.strip_prefix(b"-").unwrap_or(number);
    let held = || std::str::from_utf8(digits).ok()?.parse::<u64>().ok();
    digits.iter().all(u8::is_ascii_digit) && held().is_none_or(|number| number > MAX_EXACT)
}

/// Reads an object of at most `max_bytes`.
///
/// # Errors
/// As [`parse`], and [`Error::NoObject`].
pub fn parse_object(text: &[u8], max_bytes: usize) -> Result<Map<String, Value>, Error> {
    match parse(text, max_bytes)? {
        Value::Object(map) => Ok(map),
        other => Err(Error::NoObject(kind(&other))),
    }
}

/// The canonical form, UTF-8.
///
/// # Errors
/// [`Error::Syntax`]: the value has a whole number beyond ±(2⁵³−1), which cannot come from [`parse`].
pub fn canonical<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    Ok(serde_json_canonicalizer::to_vec(value)?)
}

/// What kind of JSON `value` is, for messages.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Builds a value, at some depth.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format_args!(
                "arrays and objects lie more than {MAX_DEPTH} deep in each other"
            )));
        }
        Ok(Self {
            depth: self.depth + 1,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number is larger than a double holds"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if map.contains_key(&name) {
                return Err(de::Error::custom(format_args!(
                    "the member “{}” occurs twice",
                    crate::text::shown(&name)
                )));
            }
            let value = members.next_value_seed(inner)?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical_of(text: &str) -> String {
        let value = parse(text.as_bytes(), 1 << 20).expect(text);
        String::from_utf8(canonical(&value).expect("a canonical form")).expect("UTF-8")
    }

    fn refusal(text: &str) -> String {
        parse(text.as_bytes(), 1 << 20)
            .expect_err("is refused")
            .to_string()
    }

    /// RFC 8785, appendix B: bits of a double, and its text.
    #[test]
    fn numbers_are_written_as_rfc_8785_says() {
        for (bits, text) in [
            (0x0000_0000_0000_0000_u64, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0x41b3_de43_5555_5554, "333333333.33333325"),
            (0x41b3_de43_5555_5555, "333333333.3333333"),
            (0x41b3_de43_5555_5556, "333333333.3333334"),
            (0x41b3_de43_5555_5557, "333333333.33333343"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
        ] {
            let number = Number::from_f64(f64::from_bits(bits)).expect("finite");
            let written = canonical(&Value::Number(number)).expect("a canonical form");
            assert_eq!(String::from_utf8(written).expect("UTF-8"), text);
        }
        for bits in [0x7fff_ffff_ffff_ffff_u64, 0x7ff0_0000_0000_0000] {
            assert!(Number::from_f64(f64::from_bits(bits)).is_none());
        }
    }

    /// RFC 8785, section 3.2.2 and 3.2.3.
    #[test]
    fn the_examples_of_rfc_8785() {
        assert_eq!(
            canonical_of(
                r#"{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
                    "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
                    "literals": [null, true, false]}"#
            ),
            "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
             \"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}"
        );
        // By UTF-16 code units: the emoji comes before the Hebrew letter of U+FB33.
        assert_eq!(
            canonical_of(
                r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#
            ),
            "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}"
        );
        assert_eq!(canonical_of("-0"), "0");
    }

    #[test]
    fn what_two_readers_may_understand_differently_is_refused() {
        let twice = refusal(r#"{"a": {"b": 1, "b": 2}}"#);
        assert!(twice.contains("“b” occurs twice"), "{twice}");
        let escaped = refusal(r#"{"issuer": 1, "\u0069ssuer": 2}"#);
        assert!(escaped.contains("“issuer” occurs twice"), "{escaped}");
        for number in [
            "9007199254740993",
            "-9007199254740993",
            "18446744073709551615",
            // From here on no integer of a parser's holds them.
            "18446744073709551616",
            "-9223372036854775809",
            "100000000000000000000001",
            r#"{"a":["\\",{"\"1":100000000000000000000001}]}"#,
        ] {
            let inexact = refusal(number);
            assert!(inexact.contains("write it as a string"), "{inexact}");
        }
        let text = r#"{"a":"18446744073709551616","\"18446744073709551616":-1}"#;
        assert_eq!(
            canonical_of(text),
            r#"{"\"18446744073709551616":-1,"a":"18446744073709551616"}"#
        );
        assert_eq!(
            canonical_of("[1e23,-9007199254740991]"),
            "[1e+23,-9007199254740991]"
        );
        assert_eq!(canonical_of("9007199254740991"), "9007199254740991");
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(deep(MAX_DEPTH).as_bytes(), 1_000).is_ok());
        let refused = refusal(&deep(MAX_DEPTH + 1));
        assert!(refused.contains("more than 32 deep"), "{refused}");
        assert!(matches!(
            parse(b"[1,2]", 4),
            Err(Error::TooLong {
                bytes: 5,
                max_bytes: 4
            })
        ));
        assert!(matches!(
            parse_object(b"[1,2]", 5),
            Err(Error::NoObject("an array"))
        ));
        assert!(parse(b"{} {}", 9).is_err());
        assert!(parse(b"\"\xff\"", 9).is_err());
    }
}
