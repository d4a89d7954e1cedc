//! Packets as bytes, right ones and such as no client would send.

pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let byte = (length % 128) as u8;
        length /= 128;
        packet.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

pub fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// `flags` without that of the user name.
pub fn connect_v3(user: &str, client_id: &str, flags: u8, keep_alive_s: u16) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend([4, 0x80 | flags]);
    body.extend(keep_alive_s.to_be_bytes());
    body.extend(text(client_id));
    body.extend(text(user));
    packet(0x10, &body)
}

pub fn connect_v5(user: &str, client_id: &str, properties: &[u8]) -> Vec<u8> {
    connect_v5_with(user, client_id, 2, 60, properties, &[])
}

/// `will` is the encoded will, for flags that announce one.
pub fn connect_v5_with(
    user: &str,
    client_id: &str,
    flags: u8,
    keep_alive_s: u16,
    properties: &[u8],
    will: &[u8],
) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend([5, 0x80 | flags]);
    body.extend(keep_alive_s.to_be_bytes());
    body.push(properties.len() as u8);
    body.extend_from_slice(properties);
    body.extend(text(client_id));
    body.extend_from_slice(will);
    body.extend(text(user));
    packet(0x10, &body)
}

pub fn publish(
    v5: bool,
    first: u8,
    topic: &str,
    id: Option<u16>,
    properties: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let mut body = text(topic);
    if let Some(id) = id {
        body.extend(id.to_be_bytes());
    }
    if v5 {
        body.push(properties.len() as u8);
        body.extend_from_slice(properties);
    }
    body.extend_from_slice(payload);
    packet(first, &body)
}

/// A QoS 0 PUBLISH.
pub fn publish_0(v5: bool, topic: &str, payload: &[u8]) -> Vec<u8> {
    publish(v5, 0x30, topic, None, &[], payload)
}
