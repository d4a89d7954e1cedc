//! The certificates by which devices know this gateway: under a small authority of its own, whose
//! roots devices are given. The gateway's certificate for the hub is one of a client, which no
//! server may show.

use std::{
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use stencil_crypto::{
    authority::{Algorithm, Authority, ROOT_DAYS, Validity},
    keyfile,
    tls::{Identity, Roots, ServerIdentity},
};

/// Who the authority says that it is.
const NAME: &str = "Stencil gateway, MQTT devices";
/// A certificate that ends sooner is made anew at the start.
const RENEW_S: u64 = 60 * 86_400;

/// What a listener shows, and the root by which it is known.
pub(crate) struct Shown {
    pub(crate) server: ServerIdentity,
    pub(crate) roots: Roots,
}

/// The folder of the authority and its certificates.
pub(crate) fn folder(data: &Path) -> PathBuf {
    data.join("mqtt")
}

/// Opens the certificates for these names and addresses; makes what is missing, ends soon, or is
/// for others. Blocks.
///
/// # Errors
/// What cannot be made or read.
pub(crate) fn open(data: &Path, names: &[String]) -> Result<Shown, String> {
    let folder = folder(data);
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", folder.display());
    let authority = if folder.join("root.pem").exists() {
        Authority::open(&folder)
    } else {
        Authority::create(&folder, NAME)
    };
    let authority = authority.map_err(|error| told(&error))?;
    let wanted = names.join("\n");
    let kept = keyfile::read_public_text(folder.join("names.txt")).ok();
    let is_for_these = kept.as_deref().map(str::trim) == Some(wanted.as_str());
    let mut identities = Vec::new();
    for (algorithm, name) in [
        (Algorithm::MlDsa65, "server"),
        (Algorithm::EcdsaP256, "classical-server"),
    ] {
        let chain = folder.join(format!("{name}.pem"));
        let key = folder.join(format!("{name}.key"));
        let kept = Identity::load(&chain, &key).ok();
        let identity = match kept.filter(|kept| is_for_these && !ends_soon(kept)) {
            Some(kept) => kept,
            None => {
                let validity = Validity::days_from(SystemTime::now(), ROOT_DAYS);
                let issued = authority.issue_server_with(names, algorithm, validity);
                let issued = issued.map_err(|error| told(&error))?;
                issued.write(&chain, &key).map_err(|error| told(&error))?;
                Identity::load(&chain, &key).map_err(|error| told(&error))?
            }
        };
        identities.push(identity);
    }
    if !is_for_these {
        let written = keyfile::write_public(folder.join("names.txt"), wanted.as_bytes());
        written.map_err(|error| told(&error))?;
    }
    let classical = identities.pop();
    let post_quantum = identities.pop().ok_or("there is no certificate")?;
    Ok(Shown {
        server: ServerIdentity {
            post_quantum,
            classical,
        },
        roots: Roots::from_pem(authority.root_pem()).map_err(|error| told(&error))?,
    })
}

fn ends_soon(identity: &Identity) -> bool {
    let now_s = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let validity = identity.chain().first().map(|leaf| Validity::of(leaf));
    match validity {
        Some(Ok(validity)) => validity.not_after_s() < now_s.saturating_add(RENEW_S),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_kept_while_its_names_are_the_same() {
        let data = tempfile::tempdir().unwrap();
        let names = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let leaf = |list: &[&str]| {
            let shown = open(data.path(), &names(list)).unwrap();
            shown.server.post_quantum.chain()[0].as_ref().to_vec()
        };
        let first = leaf(&["localhost", "192.0.2.1"]);
        let root = std::fs::read(folder(data.path()).join("root.pem")).unwrap();
        assert_eq!(leaf(&["localhost", "192.0.2.1"]), first);
        assert_ne!(leaf(&["localhost", "gw.example"]), first);
        // Devices still know it.
        assert_eq!(
            std::fs::read(folder(data.path()).join("root.pem")).unwrap(),
            root
        );
        let error = open(data.path(), &names(&["not a name"]))
            .map(drop)
            .unwrap_err();
        assert!(error.contains("not a name"), "{error}");
    }
}
