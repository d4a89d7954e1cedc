//! The vectors of the reference implementation: see `vectors/README.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use serde_json::Value;
use stencil_wallet::{Message, Moment, Part, Signed, Terms, signed_by};

type Vectors = BTreeMap<String, Value>;

fn vectors(text: &str) -> Vectors {
    serde_json::from_str(text).unwrap()
}

fn text(fields: &Value, name: &str) -> Option<String> {
    fields[name].as_str().map(str::to_owned)
}

/// The fields as a message says them, as far as they can be said.
fn message(fields: &Value) -> Option<Message> {
    let moment = |name: &str| match text(fields, name) {
        Some(text) => Moment::parse(&text).map(Some),
        None => Some(None),
    };
    let address = text(fields, "address")?;
    let parsed = address.parse().ok()?;
    if text(fields, "version")? != "1" {
        return None;
    }
    let message = Message {
        scheme: text(fields, "scheme"),
        domain: text(fields, "domain")?,
        address: parsed,
        is_checksummed: true,
        statement: text(fields, "statement"),
        uri: text(fields, "uri")?,
        chain_id: fields["chainId"].as_u64()?,
        nonce: text(fields, "nonce")?,
        issued_at: moment("issuedAt")??,
        expiration_time: moment("expirationTime")?,
        not_before: moment("notBefore")?,
        request_id: text(fields, "requestId"),
        resources: fields["resources"]
            .as_array()
            .map(|all| {
                all.iter()
                    .map(|it| it.as_str().unwrap().to_owned())
                    .collect()
            })
            .unwrap_or_default(),
    };
    let written = message.text().ok()?;
    // The address as the fields have it, not as it would be right.
    written.contains(&address).then_some(message)
}

#[test]
fn messages_are_read_and_written() {
    let all = vectors(include_str!("vectors/parsing_positive.json"));
    assert_eq!(all.len(), 19);
    for (name, vector) in &all {
        let text = vector["message"].as_str().unwrap();
        let read = Message::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let fields = message(&vector["fields"]).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(read, fields, "{name}");
        assert_eq!(read.text().unwrap(), text, "{name}");
    }
}

#[test]
fn what_is_no_message_is_told_by_its_part() {
    let all = vectors(include_str!("vectors/parsing_negative.json"));
    assert_eq!(all.len(), 29);
    for (name, vector) in &all {
        let read = Message::parse(vector.as_str().unwrap());
        if name == "address not EIP-55" {
            // In small letters there is no checksum that could be wrong: it is told, and the reference
            // takes it today, too.
            assert!(!read.unwrap().is_checksummed);
            continue;
        }
        let error = read.expect_err(name);
        let part = match name.as_str() {
            "domain not RFC4501 authority" | "missing domain" => Part::Domain,
            "missing address" => Part::Address,
            "statement has line break" => Part::Statement,
            "uri is non-RFC 3986" | "missing uri" | "out of order uri" => Part::Uri,
            "version not 1" | "missing version" | "out of order version" => Part::Version,
            "not a valid chainId" | "missing chainId" | "out of order chainId" => Part::ChainId,
            "nonce with less then 8 chars" | "missing nonce" | "out of order nonce" => Part::Nonce,
            "non-ISO 8601 issuedAt" | "missing issuedAt" | "out of order issuedAt" => {
                Part::IssuedAt
            }
            "non-ISO 8601 expirationTime" => Part::ExpirationTime,
            "non-ISO 8601 notBefore" => Part::NotBefore,
            _ if name.contains("resource") && !name.starts_with("out of") => Part::Resources,
            _ => Part::Message,
        };
        assert_eq!(error.part, part, "{name}: {error}");
    }
}

#[test]
fn no_message_is_made_of_wrong_fields() {
    let all = vectors(include_str!("vectors/parsing_negative_objects.json"));
    assert!(all.len() > 10);
    for (name, fields) in &all {
        assert_eq!(message(fields), None, "{name}");
    }
}

/// Whether all of it holds: what the reference's `verify` looks at.
fn holds(fields: &Value) -> Result<(), String> {
    let message = message(fields).ok_or("no message can be made of it")?;
    let domain = text(fields, "domainBinding").unwrap_or_else(|| message.domain.clone());
    let nonce = text(fields, "matchNonce").unwrap_or_else(|| message.nonce.clone());
    let terms = Terms {
        scheme: "https",
        domain: &domain,
        statement: message.statement.as_deref(),
        uri: &message.uri,
        chain_id: message.chain_id,
        nonce: &nonce,
    };
    message
        .agrees(&terms)
        .map_err(|refused| refused.to_string())?;
    let time = text(fields, "time").or_else(|| text(fields, "issuedAt"));
    let now_us = Moment::parse(&time.unwrap()).unwrap().us();
    message
        .holds_at(now_us, 0)
        .map_err(|refused| refused.to_string())?;
    let signature = text(fields, "signature").unwrap();
    let signature = hex::decode(signature.trim_start_matches("0x"));
    let signature = signature.map_err(|error| error.to_string())?;
    match signed_by(&message.text().unwrap(), message.address, &signature) {
        Ok(Signed::ByPayer) => Ok(()),
        Ok(other) => Err(format!("{other:?}")),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn what_was_signed_holds() {
    let all = vectors(include_str!("vectors/verification_positive.json"));
    assert_eq!(all.len(), 4);
    for (name, fields) in &all {
        holds(fields).unwrap_or_else(|why| panic!("{name}: {why}"));
    }
}

#[test]
fn what_does_not_hold_is_told_for_its_own_reason() {
    let all = vectors(include_str!("vectors/verification_negative.json"));
    assert_eq!(all.len(), 10);
    for (name, fields) in &all {
        let why = holds(fields).expect_err(name);
        let right = match name.as_str() {
            "expired message" | "custom time" => "it has expired",
            "domain binding" => "domain: `login.xyz` is said, `example.com` was asked for",
            "custom nonce" => "Nonce: `bTyXgcQxn2htgkjJn` is said, `6548asdgf` was asked for",
            "malformed signature" => "Odd number of digits",
            "wrong signature" => "ByAnother",
            "not yet valid" => "it does not hold before",
            _ => "no message can be made of it",
        };
        assert!(why.contains(right), "{name}: {why}");
    }
}
