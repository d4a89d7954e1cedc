//! Browsers that somebody has signed in with before: a signed cookie says so, and attempts at that
//! user's password from them are counted apart. So guesses from elsewhere, however many, do not keep
//! somebody out who comes with a browser of theirs (OWASP: "Slow Down Online Guessing Attacks with
//! Device Cookies").
//!
//! The cookie holds an expiry, a random name of the browser, and a MAC (HMAC-SHA-256) of both with
//! tenant and user. It opens nothing: who steals it may guess at that one user's password, as slowly
//! as anybody.

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderValue};
use rand_core::Rng as _;
use sha2::Sha256;
use stencil_protocol::id::TenantId;
use zeroize::Zeroizing;

use super::cookies::Way;
use super::problem::Problem;
use super::{State, cookies};

/// The cookie of a browser.
const COOKIE: &str = "stencil_device";
/// For how long a browser is known after the last time that somebody signed in with it.
const LIFE_S: i64 = 180 * 24 * 3_600;
const LABEL: &[u8] = b"stencil device cookie 1\0";
const NAME_BYTES: usize = 16;
/// Bytes of the key.
pub(crate) const KEY_BYTES: usize = 32;

/// Who makes and knows the cookies.
pub(super) struct Devices {
    key: Zeroizing<[u8; KEY_BYTES]>,
}

impl Devices {
    /// With a key that was kept: browsers are known beyond a restart.
    pub(super) fn with(key: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self { key }
    }

    /// With a key that ends with this process.
    pub(super) fn random() -> Self {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        stencil_crypto::rng::Os.fill_bytes(key.as_mut());
        Self { key }
    }

    /// The name of the browser that shows this cookie, if this user has signed in with it.
    fn known(
        &self,
        shown: Option<&str>,
        tenant: &TenantId,
        user: &str,
        now_us: i64,
    ) -> Option<String> {
        let mut parts = shown?.split('.');
        let (expires, name, tag) = (parts.next()?, parts.next()?, parts.next()?);
        let expires_s: i64 = expires.parse().ok()?;
        let now_s = now_us.div_euclid(1_000_000);
        // What was not made here is not looked at any further: a name is as long as ours are.
        if parts.next().is_some() || name.len() != 2 * NAME_BYTES || expires_s <= now_s {
            return None;
        }
        let mut found = [0; 32];
        hex::decode_to_slice(tag, &mut found).ok()?;
        let right = self.mac(tenant, user, expires_s, name)?;
        // In constant time.
        right.verify_slice(&found).ok()?;
        Some(name.to_owned())
    }

    /// The cookie's value for a browser that this user has signed in with now.
    fn value(
        &self,
        shown: Option<&str>,
        tenant: &TenantId,
        user: &str,
        now_us: i64,
    ) -> Option<String> {
        let name = self.known(shown, tenant, user, now_us);
        let name = name.unwrap_or_else(|| {
            let mut name = [0; NAME_BYTES];
            stencil_crypto::rng::Os.fill_bytes(&mut name);
            hex::encode(name)
        });
        let expires_s = now_us.div_euclid(1_000_000).saturating_add(LIFE_S);
        let tag = self.mac(tenant, user, expires_s, &name)?.finalize();
        Some(format!(
            "{expires_s}.{name}.{}",
            hex::encode(tag.into_bytes())
        ))
    }

    fn mac(
        &self,
        tenant: &TenantId,
        user: &str,
        expires_s: i64,
        name: &str,
    ) -> Option<Hmac<Sha256>> {
        // A key of any length is taken.
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.as_slice()).ok()?;
        mac.update(LABEL);
        for part in [tenant.as_str(), user, name] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.update(&expires_s.to_be_bytes());
        Some(mac)
    }
}

impl std::fmt::Debug for Devices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Devices").finish_non_exhaustive()
    }
}

/// The name of the browser that a request comes from, if this user has signed in with it.
pub(super) fn known(
    state: &State,
    headers: &HeaderMap,
    tenant: &TenantId,
    user: &str,
) -> Option<String> {
    let shown = Way::of(state, headers).find(headers, COOKIE);
    state
        .devices()
        .known(shown, tenant, user, state.clock.now_us())
}

/// The cookie for a browser that this user has signed in with now.
pub(super) fn cookie(
    state: &State,
    headers: &HeaderMap,
    tenant: &TenantId,
    user: &str,
) -> Result<HeaderValue, Problem> {
    let shown = Way::of(state, headers).find(headers, COOKIE);
    let value = state
        .devices()
        .value(shown, tenant, user, state.clock.now_us());
    let value = value.ok_or_else(|| Problem::internal("no MAC could be made"))?;
    let value = format!("{value}; Max-Age={LIFE_S}");
    cookies::set(state, headers, COOKIE, &value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_US: i64 = 1_700_000_000_000_000;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    #[test]
    fn a_cookie_is_its_users_and_nobody_elses() {
        let devices = Devices::random();
        let acme = tenant("acme");
        let value = devices.value(None, &acme, "ann", NOW_US).unwrap();
        let shown = Some(value.as_str());
        let known = |devices: &Devices, tenant: &TenantId, user: &str, now_us| {
            devices.known(shown, tenant, user, now_us)
        };
        let name = known(&devices, &acme, "ann", NOW_US).unwrap();
        assert!(value.contains(&name));
        assert_eq!(known(&devices, &acme, "ben", NOW_US), None);
        assert_eq!(known(&devices, &tenant("rival"), "ann", NOW_US), None);
        assert_eq!(known(&Devices::random(), &acme, "ann", NOW_US), None);
        let end_us = NOW_US + LIFE_S * 1_000_000;
        assert!(known(&devices, &acme, "ann", end_us - 1).is_some());
        assert_eq!(known(&devices, &acme, "ann", end_us), None);
        // The next time it is the same browser, for longer.
        let later_us = NOW_US + 1_000_000;
        let next = devices.value(shown, &acme, "ann", later_us).unwrap();
        assert_ne!(next, value);
        let again = devices.known(Some(&next), &acme, "ann", end_us);
        assert_eq!(again, Some(name));
        // Whoever else signs in with it gets a name of their own.
        let other = devices.value(shown, &acme, "ben", NOW_US).unwrap();
        let bens = devices.known(Some(&other), &acme, "ben", NOW_US);
        assert!(bens.is_some() && bens != known(&devices, &acme, "ann", NOW_US));
    }

    #[test]
    fn what_was_changed_or_is_no_cookie_is_unknown() {
        let devices = Devices::random();
        let acme = tenant("acme");
        let value = devices.value(None, &acme, "ann", NOW_US).unwrap();
        let known = |value: &str| devices.known(Some(value), &acme, "ann", NOW_US);
        assert!(known(&value).is_some());
        for (at, byte) in value.bytes().enumerate() {
            let mut changed = value.clone().into_bytes();
            changed[at] = if byte == b'1' { b'2' } else { b'1' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(known(&changed), None, "{changed}");
        }
        let long = "9".repeat(5_000);
        for wrong in ["", ".", "..", "...", "a.b.c", &long, &format!("{value}.1")] {
            assert_eq!(known(wrong), None, "{wrong}");
        }
    }
}
