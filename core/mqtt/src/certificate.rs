//! The one fact about a certificate that the endpoint shows: how it is signed.

/// The name of the algorithm by which a certificate (DER) is signed, or its
/// object identifier in dotted form. None when the bytes are no certificate.
pub(crate) fn signature_algorithm(der: &[u8]) -> Option<String> {
    // Certificate ::= SEQUENCE { tbs SEQUENCE, algorithm SEQUENCE { OID, … }, … }
    let (certificate, _) = element(der, 0x30)?;
    let (_, rest) = element(certificate, 0x30)?;
    let (algorithm, _) = element(rest, 0x30)?;
    let (oid, _) = element(algorithm, 0x06)?;
    let dotted = dotted(oid)?;
    let known = match dotted.as_str() {
        "2.16.840.1.101.3.4.3.17" => "ML-DSA-44",
        "2.16.840.1.101.3.4.3.18" => "ML-DSA-65",
        "2.16.840.1.101.3.4.3.19" => "ML-DSA-87",
        "1.2.840.10045.4.3.2" => "ECDSA-SHA256",
        "1.2.840.10045.4.3.3" => "ECDSA-SHA384",
        "1.2.840.10045.4.3.4" => "ECDSA-SHA512",
        "1.3.101.112" => "Ed25519",
        "1.2.840.113549.1.1.11" => "RSA-SHA256",
        "1.2.840.113549.1.1.12" => "RSA-SHA384",
        "1.2.840.113549.1.1.13" => "RSA-SHA512",
        _ => return Some(dotted),
    };
    Some(known.to_owned())
}

/// The content of the DER element with this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.split_first()?;
    if first != tag {
        return None;
    }
    let (&length, mut rest) = rest.split_first()?;
    let mut bytes = usize::from(length);
    if length & 0x80 != 0 {
        let count = usize::from(length & 0x7f);
        if count == 0 || count > 4 {
            return None;
        }
        let (length, after) = rest.split_at_checked(count)?;
        bytes = length.iter().fold(0, |sum, b| sum << 8 | usize::from(*b));
        rest = after;
    }
    rest.split_at_checked(bytes)
}

fn dotted(oid: &[u8]) -> Option<String> {
    let mut arcs: Vec<u64> = Vec::new();
    let mut arc = 0u64;
    for byte in oid.iter().take(32) {
        arc = arc.checked_mul(128)? + u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if arcs.is_empty() {
                let first = (arc / 40).min(2);
                arcs.extend([first, arc - first * 40]);
            } else {
                arcs.push(arc);
            }
            arc = 0;
        }
    }
    let arcs: Vec<String> = arcs.iter().map(ToString::to_string).collect();
    (!arcs.is_empty()).then(|| arcs.join("."))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_the_algorithm() {
        for (algorithm, name) in [
            (&rcgen::PKCS_ML_DSA_65, "ML-DSA-65"),
            (&rcgen::PKCS_ECDSA_P256_SHA256, "ECDSA-SHA256"),
            (&rcgen::PKCS_ED25519, "Ed25519"),
        ] {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let certificate = rcgen::CertificateParams::new(["localhost".to_owned()])
                .unwrap()
                .self_signed(&key)
                .unwrap();
            assert_eq!(
                signature_algorithm(certificate.der()).as_deref(),
                Some(name)
            );
        }
    }

    #[test]
    fn unknown_ones_are_dotted() {
        let der = [
            0x30, 0x09, 0x30, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2a, 0x86, 0x48,
        ];
        assert_eq!(signature_algorithm(&der).as_deref(), Some("1.2.840"));
        assert_eq!(signature_algorithm(&der[..10]), None);
    }

    proptest! {
        #[test]
        fn any_bytes(der in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = signature_algorithm(&der);
        }
    }
}
