//! DIDs and their documents, as a stranger names and serves them: what was read says the same, and a document is that of
//! the DID it was asked for. The first line is the DID, the rest the document.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stencil_identity::did::Did;
use stencil_identity::document::{Document, Purpose};

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (line, rest) = (parts.next().unwrap_or_default(), parts.next());
    let Ok(text) = std::str::from_utf8(line) else {
        return;
    };
    let did = match Did::parse(text) {
        Ok(did) => did,
        Err(error) => {
            assert!(error.to_string().len() < 2_048, "{error}");
            return;
        }
    };
    assert_eq!(Did::parse(did.as_str()).as_ref(), Ok(&did));
    if let Some(web) = did.as_web() {
        assert!(web.url().starts_with("https://"), "{}", web.url());
    }
    if let Some(own) = Document::of(&did) {
        assert_eq!(own.did(), &did);
        let text = own.as_value().to_string();
        Document::parse(&did, text.as_bytes()).expect("its own document is one");
    }
    if let Some(Ok(document)) = rest.map(|rest| Document::parse(&did, rest)) {
        assert_eq!(document.did(), &did);
        for name in ["key", &did.url("key")] {
            let _ = document.key(name, Purpose::Assertion);
        }
    }
});
