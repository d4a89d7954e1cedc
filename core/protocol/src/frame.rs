//! The bytes of a link on TCP or a serial line.
//!
//! ```text
//! body  = kind (1 byte) ‖ payload ‖ CRC-32C of both, little-endian
//! frame = 0x00 ‖ COBS(body) ‖ 0x00
//! ```
//! COBS (Cheshire and Baker, 1999) takes the zeros out of the body, so that a
//! 0x00 is always a boundary. The one in front ends what noise or a frame that
//! was cut off left open, so that neither costs the frame after it; the one
//! behind ends the frame without waiting for the next. Empty frames are nothing.
//!
//! The handshake's two long messages go in [`crate::fragment`]s, so the longest
//! frame is that of a record.

/// The longest payload in bytes: a record with the longest message.
pub const MAX_PAYLOAD: usize = 1088;
/// The longest frame in bytes, with its zeros in front and behind.
pub const MAX_FRAME: usize = MAX_BODY + MAX_BODY / 254 + 3;

const CRC_BYTES: usize = 4;
const MAX_BODY: usize = 1 + MAX_PAYLOAD + CRC_BYTES;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The first message of version 1 of the handshake, which no side speaks
    /// any more: a gateway refuses it by name.
    OldHello = 1,
    /// An encrypted record.
    Record = 3,
    /// The gateway refuses the link: one byte that says why.
    Refused = 4,
    /// What the device offers, from the device.
    Open = 5,
    /// What the gateway chose, and its cookie.
    Challenge = 6,
    /// A part of a long message ([`crate::fragment`]): of the device's hello
    /// or the gateway's answer.
    Fragment = 7,
    /// Which fragments have come.
    Received = 8,
    /// The device takes up an earlier session's secret.
    Resume = 9,
    /// The gateway does too.
    Resumed = 10,
}

impl Kind {
    /// The kind of this code.
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Kind::OldHello),
            3 => Some(Kind::Record),
            4 => Some(Kind::Refused),
            5 => Some(Kind::Open),
            6 => Some(Kind::Challenge),
            7 => Some(Kind::Fragment),
            8 => Some(Kind::Received),
            9 => Some(Kind::Resume),
            10 => Some(Kind::Resumed),
            _ => None,
        }
    }
}

/// What was wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The frame is longer than [`MAX_FRAME`], or the payload than [`MAX_PAYLOAD`].
    #[error("the frame's payload is longer than {MAX_PAYLOAD} bytes")]
    TooLong,
    /// The frame is too short to hold a kind and a checksum.
    #[error("the frame is too short")]
    TooShort,
    /// The byte stuffing is broken: the frame was cut or bytes were lost.
    #[error("the frame's byte stuffing is broken")]
    Stuffing,
    /// The checksum does not match.
    #[error("the frame's checksum does not match")]
    Checksum,
    /// The kind is unknown.
    #[error("frames of kind {0} are unknown")]
    Kind(u8),
    /// The output buffer is too small (encoding only).
    #[error("the output buffer is too small")]
    Space,
}

/// Writes a frame; says how many bytes it has: at most [`MAX_FRAME`].
pub fn encode(kind: Kind, payload: &[u8], out: &mut [u8]) -> Result<usize, Error> {
    if payload.len() > MAX_PAYLOAD {
        return Err(Error::TooLong);
    }
    let kind = [kind as u8];
    let checksum = !crc32c(crc32c(!0, &kind), payload);
    let body = kind
        .iter()
        .chain(payload)
        .copied()
        .chain(checksum.to_le_bytes());
    // COBS: each block is its length and up to 254 bytes that are not zero.
    *out.first_mut().ok_or(Error::Space)? = 0;
    let mut code_at = 1;
    let mut at = 2;
    let mut code = 1u8;
    for byte in body {
        // A full block is closed only when more follows.
        if code == 0xff {
            *out.get_mut(code_at).ok_or(Error::Space)? = code;
            (code_at, at, code) = (at, at + 1, 1);
        }
        if byte == 0 {
            *out.get_mut(code_at).ok_or(Error::Space)? = code;
            (code_at, at, code) = (at, at + 1, 1);
        } else {
            *out.get_mut(at).ok_or(Error::Space)? = byte;
            (at, code) = (at + 1, code + 1);
        }
    }
    *out.get_mut(code_at).ok_or(Error::Space)? = code;
    *out.get_mut(at).ok_or(Error::Space)? = 0;
    Ok(at + 1)
}

/// Finds frames in a stream of bytes, in a buffer of its own and without an
/// allocator.
#[derive(Clone)]
pub struct Decoder {
    body: [u8; MAX_BODY],
    used: usize,
    /// Bytes that are left of the current block.
    block: u8,
    /// A zero is due before the next block, if one follows.
    zero_due: bool,
    /// What is wrong with the frame that is being read.
    fault: Option<Error>,
    /// Anything since the last closing zero.
    begun: bool,
    bad_frames: u64,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Decoder")
            .field("used", &self.used)
            .field("bad_frames", &self.bad_frames)
            .finish_non_exhaustive()
    }
}

impl Decoder {
    /// A decoder that waits for a frame's first byte.
    pub const fn new() -> Self {
        Decoder {
            body: [0; MAX_BODY],
            used: 0,
            block: 0,
            zero_due: false,
            fault: None,
            begun: false,
            bad_frames: 0,
        }
    }

    /// Takes one byte; at the end of a frame gives its kind and payload, or
    /// what was wrong with it. After an error the next frame is read as usual.
    pub fn push(&mut self, byte: u8) -> Option<Result<(Kind, &[u8]), Error>> {
        let outcome = self.step(byte)?;
        Some(self.outcome(outcome))
    }

    /// Takes bytes from the front of `input` up to the end of a frame; `None`
    /// if all are taken and no frame has ended.
    pub fn feed(&mut self, input: &mut &[u8]) -> Option<Result<(Kind, &[u8]), Error>> {
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            if let Some(outcome) = self.step(byte) {
                return Some(self.outcome(outcome));
            }
        }
        None
    }

    /// What the frame that has just ended, good or bad, began with: the code of its
    /// kind, as far as it came.
    pub fn first_byte(&self) -> Option<u8> {
        self.body.get(..self.used)?.first().copied()
    }

    /// How many frames had something wrong with them.
    pub fn bad_frames(&self) -> u64 {
        self.bad_frames
    }

    fn outcome(&mut self, outcome: Result<Kind, Error>) -> Result<(Kind, &[u8]), Error> {
        match outcome {
            Ok(kind) => {
                let payload = self.body.get(1..self.used.saturating_sub(CRC_BYTES));
                Ok((kind, payload.unwrap_or_default()))
            }
            Err(error) => {
                self.bad_frames = self.bad_frames.saturating_add(1);
                Err(error)
            }
        }
    }

    fn step(&mut self, byte: u8) -> Option<Result<Kind, Error>> {
        if !self.begun {
            (self.used, self.block, self.zero_due, self.fault) = (0, 0, false, None);
        }
        if byte == 0 {
            return core::mem::take(&mut self.begun).then(|| self.close());
        }
        self.begun = true;
        if self.block == 0 {
            // The length of the next block.
            if self.zero_due {
                self.put(0);
            }
            self.block = byte - 1;
            self.zero_due = byte != 0xff;
        } else {
            self.block -= 1;
            self.put(byte);
        }
        None
    }

    fn put(&mut self, byte: u8) {
        match self.body.get_mut(self.used) {
            Some(slot) => {
                *slot = byte;
                self.used += 1;
            }
            None => self.fault = Some(Error::TooLong),
        }
    }

    fn close(&self) -> Result<Kind, Error> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.block > 0 {
            return Err(Error::Stuffing);
        }
        let body = self.body.get(..self.used).unwrap_or_default();
        let Some((inner, checksum)) = body.split_last_chunk::<CRC_BYTES>() else {
            return Err(Error::TooShort);
        };
        let Some(&code) = inner.first() else {
            return Err(Error::TooShort);
        };
        if !crc32c(!0, inner) != u32::from_le_bytes(*checksum) {
            return Err(Error::Checksum);
        }
        Kind::from_code(code).ok_or(Error::Kind(code))
    }
}

/// CRC-32C (Castagnoli, reflected), four bits at a time: 64 bytes of table on
/// a microcontroller. Start with `!0`, complement the end.
fn crc32c(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |crc, &byte| {
        let crc = crc ^ u32::from(byte);
        let crc = (crc >> 4) ^ TABLE[(crc & 15) as usize];
        (crc >> 4) ^ TABLE[(crc & 15) as usize]
    })
}

const TABLE: [u32; 16] = table();

const fn table() -> [u32; 16] {
    let mut table = [0u32; 16];
    let mut index = 0u32;
    while index < 16 {
        let mut crc = index;
        let mut bit = 0;
        while bit < 4 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0x82f6_3b78
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[index as usize] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_as_in_rfc_3720_appendix_b4() {
        assert_eq!(!crc32c(!0, &[0; 32]), 0x8a91_36aa);
        assert_eq!(!crc32c(!0, &[0xff; 32]), 0x62a8_ab43);
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_disturbance_costs_one_frame() {
        let mut wire = [0u8; 3 * MAX_FRAME];
        let mut used = encode(Kind::Record, b"first", &mut wire).unwrap();
        wire[2] ^= 0x40;
        used += encode(Kind::Fragment, &[0; 300], &mut wire[used..]).unwrap();
        let mut input = &wire[..used];
        let mut decoder = Decoder::new();
        assert_eq!(decoder.feed(&mut input), Some(Err(Error::Checksum)));
        assert_eq!(
            decoder.feed(&mut input),
            Some(Ok((Kind::Fragment, &[0; 300][..])))
        );
        assert_eq!(decoder.feed(&mut input), None);
        assert_eq!(decoder.bad_frames(), 1);
    }

    #[test]
    fn what_was_cut_off_and_what_came_twice_cost_nothing_behind_them() {
        let mut frame = [0; MAX_FRAME];
        let used = encode(Kind::Record, b"whole", &mut frame).unwrap();
        for cut in 0..used {
            let wire = [&frame[..cut], &frame[..used], &frame[..used]].concat();
            let (mut input, mut decoder) = (&wire[..], Decoder::new());
            let mut whole = 0;
            while !input.is_empty() {
                whole +=
                    u32::from(decoder.feed(&mut input) == Some(Ok((Kind::Record, &b"whole"[..]))));
            }
            assert!(whole >= 2, "cut at {cut}: {whole}");
        }
    }

    #[test]
    fn the_longest_payload_fits_and_one_more_does_not() {
        let payload = [7u8; MAX_PAYLOAD + 1];
        let mut wire = [0u8; MAX_FRAME];
        let used = encode(Kind::Record, &payload[..MAX_PAYLOAD], &mut wire).unwrap();
        assert!(used <= MAX_FRAME);
        let mut decoder = Decoder::new();
        let mut input = &wire[..used];
        assert_eq!(
            decoder.feed(&mut input),
            Some(Ok((Kind::Record, &payload[..MAX_PAYLOAD])))
        );
        assert_eq!(
            encode(Kind::Record, &payload, &mut wire),
            Err(Error::TooLong)
        );
        // A stranger's endless frame is one error, and then all is well again.
        for _ in 0..10 * MAX_FRAME {
            assert!(decoder.push(7).is_none());
        }
        assert_eq!(decoder.push(0), Some(Err(Error::TooLong)));
        let mut input = &wire[..used];
        assert!(matches!(decoder.feed(&mut input), Some(Ok(_))));
    }
}
