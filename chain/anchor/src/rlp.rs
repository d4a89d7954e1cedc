//! The items of a list in RLP.

use alloy_rlp::Header;

/// The payloads of a list's items, each with whether it is a list itself; `None`: the bytes are no list
/// that fills them.
pub(crate) fn list(bytes: &[u8]) -> Option<Vec<(bool, &[u8])>> {
    let mut rest = bytes;
    let payload = Header::decode_bytes(&mut rest, true).ok()?;
    if !rest.is_empty() {
        return None;
    }
    items(payload)
}

/// The items in a list's payload.
pub(crate) fn items(mut payload: &[u8]) -> Option<Vec<(bool, &[u8])>> {
    let mut items = Vec::new();
    while !payload.is_empty() {
        let header = Header::decode(&mut payload).ok()?;
        let (item, behind) = payload.split_at_checked(header.payload_length)?;
        items.push((header.list, item));
        payload = behind;
    }
    Some(items)
}

/// A number; `None`: it is longer than 8 bytes or begins with zero.
pub(crate) fn number(bytes: &[u8]) -> Option<u64> {
    if bytes.len() > 8 || bytes.first() == Some(&0) {
        return None;
    }
    Some(
        bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)),
    )
}
