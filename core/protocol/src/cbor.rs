//! Reading and writing CBOR without an allocator, and what can be wrong with it.
//!
//! Only definite lengths are read: a microcontroller without an allocator and
//! the hub then accept exactly the same bytes.

use minicbor::data::Type;
use minicbor::encode::write::{Cursor, EndOfSlice};
use minicbor::{Decoder, Encoder};

/// What was wrong with bytes that were to be decoded, or why something could
/// not be encoded. `at` is the offset from the start of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes end inside of a value.
    #[error("the bytes end at offset {at}, inside of a value")]
    End {
        /// Where more was expected.
        at: usize,
    },
    /// A value of another kind was expected.
    #[error("expected {expected} at offset {at}")]
    Unexpected {
        /// Where the value starts.
        at: usize,
        /// What should be there.
        expected: &'static str,
    },
    /// A field that has to be there is not.
    #[error("the field `{field}` is missing")]
    Missing {
        /// The field's name.
        field: &'static str,
    },
    /// A field is there twice.
    #[error("the field `{field}` is there twice")]
    Twice {
        /// The field's name.
        field: &'static str,
    },
    /// A text, byte string or list is longer than allowed.
    #[error("`{field}` is longer than {max}")]
    TooLong {
        /// The field's name.
        field: &'static str,
        /// The limit: bytes, or entries of a list.
        max: usize,
    },
    /// A value that is of the right kind, but makes no sense there.
    #[error("`{field}` {why}")]
    Invalid {
        /// The field's name.
        field: &'static str,
        /// What is wrong, or what would be right.
        why: &'static str,
    },
    /// More bytes follow where the message should have ended.
    #[error("the message ends at offset {at}, but more bytes follow")]
    Trailing {
        /// Where the message ends.
        at: usize,
    },
    /// The output buffer is too small (encoding only).
    #[error("the output buffer is too small")]
    Space,
}

impl From<minicbor::encode::Error<EndOfSlice>> for Error {
    fn from(_: minicbor::encode::Error<EndOfSlice>) -> Self {
        Error::Space
    }
}

/// An encoder into a caller's buffer.
pub(crate) type Writer<'b> = Encoder<Cursor<&'b mut [u8]>>;

pub(crate) fn writer(out: &mut [u8]) -> Writer<'_> {
    Encoder::new(Cursor::new(out))
}

pub(crate) fn written(writer: &Writer<'_>) -> usize {
    writer.writer().position()
}

/// A decoder that says in one word what it expected where.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    inner: Decoder<'a>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader {
            inner: Decoder::new(bytes),
        }
    }

    /// All that is read, from the beginning.
    pub(crate) fn input(&self) -> &'a [u8] {
        self.inner.input()
    }

    pub(crate) fn at(&self) -> usize {
        self.inner.position()
    }

    fn kind(&self, expected: &'static str) -> Result<Type, Error> {
        let at = self.at();
        self.inner.datatype().map_err(|e| fault(&e, at, expected))
    }

    pub(crate) fn array(&mut self, expected: &'static str) -> Result<u64, Error> {
        let at = self.at();
        match self.inner.array() {
            Ok(Some(n)) => Ok(n),
            Ok(None) => Err(Error::Unexpected {
                at,
                expected: "a list of definite length",
            }),
            Err(e) => Err(fault(&e, at, expected)),
        }
    }

    pub(crate) fn map(&mut self, expected: &'static str) -> Result<u64, Error> {
        let at = self.at();
        match self.inner.map() {
            Ok(Some(n)) => Ok(n),
            Ok(None) => Err(Error::Unexpected {
                at,
                expected: "a map of definite length",
            }),
            Err(e) => Err(fault(&e, at, expected)),
        }
    }

    pub(crate) fn u64(&mut self, expected: &'static str) -> Result<u64, Error> {
        let at = self.at();
        self.inner.u64().map_err(|e| fault(&e, at, expected))
    }

    pub(crate) fn u32(&mut self, expected: &'static str) -> Result<u32, Error> {
        let at = self.at();
        let wide = self.u64(expected)?;
        u32::try_from(wide).map_err(|_| Error::Unexpected { at, expected })
    }

    #[cfg(feature = "alloc")]
    pub(crate) fn u16(&mut self, expected: &'static str) -> Result<u16, Error> {
        let at = self.at();
        let wide = self.u64(expected)?;
        u16::try_from(wide).map_err(|_| Error::Unexpected { at, expected })
    }

    pub(crate) fn u8(&mut self, expected: &'static str) -> Result<u8, Error> {
        let at = self.at();
        let wide = self.u64(expected)?;
        u8::try_from(wide).map_err(|_| Error::Unexpected { at, expected })
    }

    pub(crate) fn i64(&mut self, expected: &'static str) -> Result<i64, Error> {
        let at = self.at();
        self.inner.i64().map_err(|e| fault(&e, at, expected))
    }

    pub(crate) fn bool(&mut self, expected: &'static str) -> Result<bool, Error> {
        let at = self.at();
        self.inner.bool().map_err(|e| fault(&e, at, expected))
    }

    pub(crate) fn str(&mut self, field: &'static str, max: usize) -> Result<&'a str, Error> {
        let text = self.text(field)?;
        if text.len() > max {
            Err(Error::TooLong { field, max })
        } else {
            Ok(text)
        }
    }

    fn text(&mut self, expected: &'static str) -> Result<&'a str, Error> {
        let at = self.at();
        self.inner.str().map_err(|e| fault(&e, at, expected))
    }

    pub(crate) fn bytes(&mut self, field: &'static str, max: usize) -> Result<&'a [u8], Error> {
        let at = self.at();
        let bytes = self.inner.bytes().map_err(|e| fault(&e, at, field))?;
        if bytes.len() > max {
            Err(Error::TooLong { field, max })
        } else {
            Ok(bytes)
        }
    }

    /// The key of a map's entry: `None` for a key of a kind that we never write.
    pub(crate) fn key(&mut self) -> Result<Option<u64>, Error> {
        match self.kind("a key")? {
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => self.u64("a key").map(Some),
            _ => self.skip().map(|()| None),
        }
    }

    /// Steps over a `null` if there is one.
    pub(crate) fn null(&mut self) -> Result<bool, Error> {
        if self.kind("a value")? != Type::Null {
            return Ok(false);
        }
        self.skip().map(|()| true)
    }

    /// Whether the next value is a text.
    pub(crate) fn is_text(&self) -> Result<bool, Error> {
        Ok(self.kind("a text")? == Type::String)
    }

    /// A number, truth value or text. What is well-formed but none of these is
    /// stepped over and comes back as `Scalar::Other`.
    pub(crate) fn scalar(&mut self) -> Result<Scalar<'a>, Error> {
        let at = self.at();
        let fail = |e: minicbor::decode::Error| fault(&e, at, "a number, true, false or a text");
        Ok(match self.kind("a value")? {
            Type::Bool => Scalar::Bool(self.inner.bool().map_err(fail)?),
            Type::U8
            | Type::U16
            | Type::U32
            | Type::U64
            | Type::I8
            | Type::I16
            | Type::I32
            | Type::I64
            | Type::Int => {
                let wide = i128::from(self.inner.int().map_err(fail)?);
                i64::try_from(wide).map_or(Scalar::Huge, Scalar::Integer)
            }
            Type::F16 => Scalar::Number(f64::from(self.half()?)),
            Type::F32 => Scalar::Number(f64::from(self.inner.f32().map_err(fail)?)),
            Type::F64 => Scalar::Number(self.inner.f64().map_err(fail)?),
            Type::String => Scalar::Text(self.inner.str().map_err(fail)?),
            _ => {
                self.skip()?;
                Scalar::Other
            }
        })
    }

    /// Half precision, RFC 8949 appendix D; we never write it, others do.
    fn half(&mut self) -> Result<f32, Error> {
        let at = self.at();
        let Some(&[_, high, low]) = self.inner.input().get(at..at.saturating_add(3)) else {
            return Err(Error::End {
                at: self.inner.input().len(),
            });
        };
        self.inner.set_position(at + 3);
        let bits = u16::from_be_bytes([high, low]);
        let sign = u32::from(bits >> 15) << 31;
        let exponent = u32::from(bits >> 10) & 0x1f;
        let fraction = u32::from(bits & 0x03ff);
        Ok(match exponent {
            0 => {
                // A multiple of 2^-24, exact in single precision.
                let size = f32::from(bits & 0x03ff) / 16_777_216.0;
                f32::from_bits(size.to_bits() | sign)
            }
            0x1f => f32::from_bits(sign | 0x7f80_0000 | (fraction << 13)),
            _ => f32::from_bits(sign | ((exponent + 112) << 23) | (fraction << 13)),
        })
    }

    /// Steps over one value of definite lengths. Each round eats at least one
    /// byte, so the input's length bounds the work; nothing recurses.
    pub(crate) fn skip(&mut self) -> Result<(), Error> {
        let mut open = 1u64;
        while open > 0 {
            let at = self.at();
            let fail = |e: minicbor::decode::Error| fault(&e, at, "a value");
            open -= 1;
            match self.kind("a value")? {
                Type::Array => open = open.saturating_add(self.array("a list")?),
                Type::Map => open = open.saturating_add(self.map("a map")?.saturating_mul(2)),
                Type::Tag => {
                    self.inner.tag().map_err(fail)?;
                    open += 1;
                }
                Type::ArrayIndef
                | Type::MapIndef
                | Type::BytesIndef
                | Type::StringIndef
                | Type::Break => {
                    return Err(Error::Unexpected {
                        at,
                        expected: "a value of definite length",
                    });
                }
                Type::Unknown(_) => {
                    return Err(Error::Unexpected {
                        at,
                        expected: "a value",
                    });
                }
                Type::F16 => {
                    self.half()?;
                }
                _ => self.inner.skip().map_err(fail)?,
            }
        }
        Ok(())
    }

    /// The message must end here.
    pub(crate) fn end(&self) -> Result<(), Error> {
        let at = self.at();
        if at == self.inner.input().len() {
            Ok(())
        } else {
            Err(Error::Trailing { at })
        }
    }
}

/// What [`Reader::scalar`] found.
pub(crate) enum Scalar<'a> {
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(&'a str),
    /// An integer beyond 64 bits with sign.
    Huge,
    /// Null, bytes, a list, a map.
    Other,
}

/// Sets a field that may be there only once.
pub(crate) fn once<T>(slot: &mut Option<T>, value: T, field: &'static str) -> Result<(), Error> {
    if slot.is_some() {
        return Err(Error::Twice { field });
    }
    *slot = Some(value);
    Ok(())
}

/// A field that has to be there.
pub(crate) fn need<T>(slot: Option<T>, field: &'static str) -> Result<T, Error> {
    slot.ok_or(Error::Missing { field })
}

fn fault(e: &minicbor::decode::Error, at: usize, expected: &'static str) -> Error {
    if e.is_end_of_input() {
        Error::End { at }
    } else {
        Error::Unexpected { at, expected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(bytes: &[u8]) -> f64 {
        match Reader::new(bytes).scalar().unwrap() {
            Scalar::Number(n) => n,
            _ => panic!("not a number"),
        }
    }

    #[test]
    fn half_precision_as_in_rfc_8949_appendix_a() {
        for (bytes, value) in [
            ([0xf9, 0x00, 0x00], 0.0),
            ([0xf9, 0x80, 0x00], -0.0),
            ([0xf9, 0x3c, 0x00], 1.0),
            ([0xf9, 0x3e, 0x00], 1.5),
            ([0xf9, 0x7b, 0xff], 65504.0),
            ([0xf9, 0x00, 0x01], 5.960464477539063e-8),
            ([0xf9, 0x04, 0x00], 0.00006103515625),
            ([0xf9, 0xc4, 0x00], -4.0),
            ([0xf9, 0x7c, 0x00], f64::INFINITY),
        ] {
            assert_eq!(number(&bytes).to_bits(), f64::to_bits(value), "{bytes:x?}");
        }
        assert!(number(&[0xf9, 0x7e, 0x00]).is_nan());
    }

    #[test]
    fn skip_is_bounded_by_the_input_and_takes_no_indefinite_lengths() {
        let mut deep = [0x81u8; 4096];
        deep[4095] = 0;
        let mut r = Reader::new(&deep);
        r.skip().unwrap();
        r.end().unwrap();
        // A list that claims 2^64-1 entries in nine bytes.
        let claim = [0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(Reader::new(&claim).skip(), Err(Error::End { at: 9 }));
        assert!(matches!(
            Reader::new(&[0x81, 0x9f, 0xff]).skip(),
            Err(Error::Unexpected { at: 1, .. })
        ));
    }
}
