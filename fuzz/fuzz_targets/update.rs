//! Envelopes, manifests, headers, files of trusted keys and of who follows them: what was read is written the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stencil_update::Header;
use stencil_update::envelope::Envelope;
use stencil_update::header::HEADER_BYTES;
use stencil_update::lms::PublicKey;
use stencil_update::manifest;
use stencil_update::succession::Succession;
use stencil_update::trust::Trust;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(envelope) = Envelope::decode(bytes) {
        assert_eq!(envelope.encode(), bytes);
    }
    if let Ok(header) = manifest::decode(bytes) {
        assert_eq!(manifest::encode(&header).expect("it was read"), bytes);
    }
    if let Some(head) = bytes.first_chunk::<HEADER_BYTES>()
        && let Ok(header) = Header::decode(head)
    {
        assert_eq!(header.encode().as_ref(), Ok(head));
        // A manifest says as much as a header.
        let manifest = manifest::encode(&header).expect("it was read");
        assert_eq!(manifest::decode(&manifest), Ok(header));
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(trust) = Trust::from_text(text)
    {
        assert_eq!(Trust::from_text(&trust.to_text()).as_ref(), Ok(&trust));
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(succession) = Succession::from_text(text)
    {
        let again = Succession::from_text(&succession.to_text());
        assert_eq!(again.as_ref(), Ok(&succession));
        let own = succession.claims();
        assert!(succession.verify(own).is_err(), "nobody signed this");
    }
    if let Some((key, signature)) = bytes.split_at_checked(60)
        && let Ok(key) = PublicKey::from_bytes(key)
    {
        assert!(key.verify(b"nobody signed this", signature).is_err());
    }
});
