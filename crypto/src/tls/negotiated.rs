use rustls::{CommonState, NamedGroup};
use x509_parser::prelude::{FromDer, X509Certificate};

/// What a TLS connection came out as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// The protocol version, such as `TLSv1_3`.
    pub version: String,
    /// The key exchange group, such as `X25519MLKEM768`.
    pub group: String,
    /// The cipher suite, such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher_suite: String,
    /// Whether the key exchange withstands a quantum computer: what is recorded today
    /// stays secret then. It says nothing about certificates; see
    /// [`signature`](Negotiated::signature).
    pub post_quantum: bool,
    /// The peer's own certificate in DER, verified, if it gave one.
    pub certificate: Option<Vec<u8>>,
    /// The algorithm of that certificate's key, with which the peer proved itself:
    /// `ML-DSA-65`, `ECDSA P-256`, or an object identifier.
    pub signature: Option<String>,
}

impl Negotiated {
    /// What `connection` negotiated; `None` while its handshake goes on.
    #[must_use]
    pub fn of(connection: &CommonState) -> Option<Self> {
        if connection.is_handshaking() {
            return None;
        }
        let group = connection.negotiated_key_exchange_group()?.name();
        let certificate = connection
            .peer_certificates()
            .and_then(|chain| chain.first())
            .map(|der| der.to_vec());
        Some(Self {
            version: format!("{:?}", connection.protocol_version()?),
            group: format!("{group:?}"),
            cipher_suite: format!("{:?}", connection.negotiated_cipher_suite()?.suite()),
            post_quantum: is_post_quantum(group),
            signature: certificate.as_deref().and_then(signature_of),
            certificate,
        })
    }
}

/// Whether a key exchange has an ML-KEM part.
pub(super) fn is_post_quantum(group: NamedGroup) -> bool {
    matches!(
        group,
        NamedGroup::X25519MLKEM768
            | NamedGroup::secp256r1MLKEM768
            | NamedGroup::MLKEM512
            | NamedGroup::MLKEM768
            | NamedGroup::MLKEM1024
    )
}

/// The name of the algorithm of a certificate's key.
fn signature_of(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let algorithm = &certificate.public_key().algorithm;
    let oid = algorithm.algorithm.to_id_string();
    Some(match oid.as_str() {
        "2.16.840.1.101.3.4.3.17" => "ML-DSA-44".to_owned(),
        "2.16.840.1.101.3.4.3.18" => "ML-DSA-65".to_owned(),
        "2.16.840.1.101.3.4.3.19" => "ML-DSA-87".to_owned(),
        "1.3.101.112" => "Ed25519".to_owned(),
        "1.2.840.113549.1.1.1" => "RSA".to_owned(),
        "1.2.840.10045.2.1" => {
            let curve = algorithm
                .parameters
                .as_ref()
                .and_then(|curve| curve.as_oid().ok());
            match curve.map(|curve| curve.to_id_string()).as_deref() {
                Some("1.2.840.10045.3.1.7") => "ECDSA P-256".to_owned(),
                Some("1.3.132.0.34") => "ECDSA P-384".to_owned(),
                _ => "ECDSA".to_owned(),
            }
        }
        _ => oid,
    })
}
