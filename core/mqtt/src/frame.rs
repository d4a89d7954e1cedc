//! Cuts the byte stream into packets and checks what can be seen without
//! decoding them (MQTT 5 and 3.1.1 §2.1): bounds, types, flags.
//!
//! The protocol engine would cut packets too, but it reserves the announced
//! size at once and ignores reserved flags.

use crate::reason::{Code, Fault};

/// What the buffer of a half-received packet may keep when it is empty.
const KEPT_BYTES: usize = 4 * 1024;

/// Collects bytes into packets.
#[derive(Debug)]
pub(crate) struct Framer {
    partial: Vec<u8>,
    complete: bool,
    bound: Bound,
}

/// What is taken.
#[derive(Debug, Clone, Copy)]
struct Bound {
    max_packet_bytes: usize,
    /// Only a CONNECT; so who speaks another protocol is told at once.
    connect_only: bool,
}

impl Framer {
    /// For a stranger, who may send a CONNECT.
    pub(crate) fn new(max_connect_bytes: usize) -> Self {
        Self {
            partial: Vec::new(),
            complete: false,
            bound: Bound {
                max_packet_bytes: max_connect_bytes,
                connect_only: true,
            },
        }
    }

    /// For a client that was let in, which may send any packet.
    pub(crate) fn admit(&mut self, max_packet_bytes: usize) {
        self.bound = Bound {
            max_packet_bytes,
            connect_only: false,
        };
    }

    /// Takes one packet from the front of `input`, checked, or all of `input`
    /// when it doesn't complete one.
    pub(crate) fn take<'f, 'i: 'f>(
        &'f mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<&'f [u8]>, Fault> {
        if self.complete {
            self.complete = false;
            self.partial.clear();
            self.partial.shrink_to(KEPT_BYTES);
        }
        if self.partial.is_empty() {
            if let Some(total) = packet_bytes(input, self.bound)?
                && input.len() >= total
            {
                let (packet, rest) = input.split_at(total);
                *input = rest;
                check(packet)?;
                return Ok(Some(packet));
            }
            self.partial.extend_from_slice(input);
            *input = &[];
            return Ok(None);
        }
        loop {
            let wanted = match packet_bytes(&self.partial, self.bound)? {
                Some(total) => total - self.partial.len(),
                None => 1,
            };
            if wanted == 0 {
                self.complete = true;
                check(&self.partial)?;
                return Ok(Some(&self.partial));
            }
            if input.is_empty() {
                return Ok(None);
            }
            let (bytes, rest) = input.split_at(wanted.min(input.len()));
            self.partial.extend_from_slice(bytes);
            *input = rest;
        }
    }
}

/// The size of the packet that starts here, once its header is complete.
fn packet_bytes(bytes: &[u8], bound: Bound) -> Result<Option<usize>, Fault> {
    let max = bound.max_packet_bytes;
    if let Some(first) = bytes.first() {
        if bound.connect_only && *first != CONNECT << 4 {
            return Err(Fault::protocol("the first packet must be CONNECT"));
        }
        check_flags(*first)?;
    }
    let mut remaining = 0usize;
    for (index, byte) in bytes.iter().skip(1).take(4).enumerate() {
        remaining |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let total = 2 + index + remaining;
            if total > max {
                return Err(Fault::new(
                    Code::PACKET_TOO_LARGE,
                    format!("a packet of {total} bytes is larger than the allowed {max}"),
                ));
            }
            return Ok(Some(total));
        }
    }
    if bytes.len() >= 5 {
        return Err(Fault::malformed(
            "the remaining length has more than four bytes",
        ));
    }
    Ok(None)
}

/// The body of a packet: what follows its remaining length.
pub(crate) fn body(packet: &[u8]) -> &[u8] {
    let header = packet
        .iter()
        .skip(1)
        .take(4)
        .position(|byte| byte & 0x80 == 0)
        .map_or(packet.len(), |index| index + 2);
    packet.get(header..).unwrap_or_default()
}

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const PUBREL: u8 = 6;
const PUBCOMP: u8 = 7;
const SUBSCRIBE: u8 = 8;
const UNSUBSCRIBE: u8 = 10;

/// The type of a packet (§2.1.2).
fn packet_type(packet: &[u8]) -> u8 {
    packet.first().map_or(0, |byte| byte >> 4)
}

/// What the first byte tells.
fn check_flags(first: u8) -> Result<(), Fault> {
    let (kind, flags) = (first >> 4, first & 0x0f);
    let wanted = match kind {
        0 => return Err(Fault::malformed("packet type 0 is reserved")),
        PUBLISH => {
            let qos = (flags >> 1) & 3;
            if qos == 3 {
                return Err(Fault::malformed("PUBLISH: QoS 3 doesn't exist"));
            }
            if qos == 0 && flags & 0x08 != 0 {
                return Err(Fault::malformed("PUBLISH: DUP is set with QoS 0"));
            }
            return Ok(());
        }
        PUBREL | SUBSCRIBE | UNSUBSCRIBE => 2,
        _ => 0,
    };
    if flags == wanted {
        return Ok(());
    }
    Err(Fault::malformed(format!(
        "the flags of packet type {kind} must be {wanted}, not {flags}"
    )))
}

/// What a whole packet tells.
fn check(packet: &[u8]) -> Result<(), Fault> {
    let kind = packet_type(packet);
    match kind {
        CONNECT => check_connect(body(packet)),
        PUBACK..=PUBCOMP | SUBSCRIBE | UNSUBSCRIBE if body(packet).starts_with(&[0, 0]) => Err(
            Fault::malformed(format!("packet type {kind}: packet identifier 0")),
        ),
        _ => Ok(()),
    }
}

/// Connect flags (§3.1.2.3), as far as protocol levels 4 and 5 agree on them.
fn check_connect(body: &[u8]) -> Result<(), Fault> {
    let Some((4 | 5, flags)) = body.get(6).copied().zip(body.get(7).copied()) else {
        return Ok(());
    };
    if flags & 0x01 != 0 {
        return Err(Fault::malformed("CONNECT: the reserved flag is set"));
    }
    let will_qos = (flags >> 3) & 3;
    if flags & 0x04 == 0 && (will_qos != 0 || flags & 0x20 != 0) {
        return Err(Fault::malformed("CONNECT: will QoS or retain without will"));
    }
    if will_qos == 3 {
        return Err(Fault::malformed("CONNECT: will QoS 3 doesn't exist"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All packets of a stream that comes in pieces, until the first fault.
    fn cut<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, max: usize) -> (Vec<Vec<u8>>, bool) {
        let mut framer = Framer::new(max);
        framer.admit(max);
        let mut packets = Vec::new();
        for mut piece in pieces {
            loop {
                match framer.take(&mut piece) {
                    Ok(Some(packet)) => packets.push(packet.to_vec()),
                    Ok(None) => break,
                    Err(_) => return (packets, true),
                }
            }
        }
        (packets, false)
    }

    #[test]
    fn refuses_what_is_too_large_before_it_came() {
        let (packets, fault) = cut([&[0x30, 0xff, 0xff, 0x7f][..]], 1000);
        assert!(packets.is_empty());
        assert!(fault);
    }

    #[test]
    fn refuses_a_stranger_by_the_first_byte() {
        let mut framer = Framer::new(1000);
        assert!(framer.take(&mut &b"GET / HTTP/1.1\r\n"[..]).is_err());
        assert_eq!(framer.take(&mut &[0x10][..]), Ok(None));
    }

    #[test]
    fn refuses_reserved_flags() {
        for packet in [
            &[0x00, 0x00][..],
            &[0x36, 0x00],
            &[0x38, 0x03, 0, 1, b'a'],
            &[0x80, 0x02, 0, 1],
            &[0x82, 0x02, 0, 0],
            &[0xc1, 0x00],
            &[0x42, 0x02, 0, 1],
            &[0x40, 0x02, 0, 0],
            &[0xc0, 0x80, 0x80, 0x80, 0x80, 0x00],
            b"\x10\x0c\0\x04MQTT\x04\x03\0\x3c\0\0",
            b"\x10\x0c\0\x04MQTT\x05\x22\0\x3c\0\0",
            b"\x10\x0c\0\x04MQTT\x04\x1e\0\x3c\0\0",
        ] {
            assert!(cut([packet], 1000).1, "{packet:02x?}");
        }
        assert!(!cut([&b"\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0"[..]], 1000).1);
    }

    proptest! {
        /// However a stream is cut into reads, the same packets come out.
        #[test]
        fn reads_do_not_matter(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
            cuts in prop::collection::vec(1usize..50, 1..20),
        ) {
            let mut stream = Vec::new();
            let mut wanted = Vec::new();
            for body in &bodies {
                let mut packet = vec![0x30];
                if body.len() < 128 {
                    packet.push(u8::try_from(body.len()).unwrap());
                } else {
                    packet.push(u8::try_from(body.len() % 128).unwrap() | 0x80);
                    packet.push(u8::try_from(body.len() / 128).unwrap());
                }
                packet.extend_from_slice(body);
                stream.extend_from_slice(&packet);
                wanted.push(packet);
            }
            let mut pieces = Vec::new();
            let mut rest = &stream[..];
            for size in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*size).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            let (packets, fault) = cut(pieces, 1000);
            prop_assert!(!fault);
            prop_assert_eq!(packets, wanted);
        }

        /// Any bytes are cut or refused; nothing is kept beyond the bound.
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut framer = Framer::new(100);
            framer.admit(100);
            for mut piece in bytes.chunks(7) {
                loop {
                    match framer.take(&mut piece) {
                        Ok(Some(packet)) => prop_assert!(packet.len() <= 100),
                        Ok(None) => break,
                        Err(_) => return Ok(()),
                    }
                }
                prop_assert!(framer.partial.len() <= 100);
            }
        }
    }
}
