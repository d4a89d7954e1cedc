//! The first half of a handshake, up to the hello, with a gateway that plays by the rules.
#![allow(dead_code)]

use rand_core::TryCryptoRng;
use stencil_crypto::kem::Kem;
use stencil_crypto::link::{
    CHALLENGE_BYTES, Cookies, HELLO_MAX_BYTES, Initiator, Offer, Open, Opening,
};
use stencil_crypto::{Psk, Suite};

/// Where all handshakes of these tests come from.
pub(crate) const PLACE: &[u8] = b"bench";

/// The challenge to a first message.
pub(crate) fn challenge(cookies: &Cookies, open: &[u8]) -> [u8; CHALLENGE_BYTES] {
    let open = Open::parse(open).unwrap();
    let suite = open.choose(Suite::ALL).unwrap();
    cookies.challenge(&open, suite, PLACE, 0).unwrap()
}

/// A device that has sent its hello, and the hello.
pub(crate) fn greet<K: Kem, R: TryCryptoRng>(
    offer: &Offer<'_>,
    psk: &Psk,
    cookies: &Cookies,
    rng: &mut R,
) -> (Initiator<K>, Vec<u8>) {
    let opening = Opening::start(offer, rng).unwrap();
    let challenge = challenge(cookies, opening.message());
    let mut hello = vec![0; HELLO_MAX_BYTES];
    let (device, sent) = opening
        .hello_with::<K, R>(&challenge, psk, rng, &mut hello)
        .unwrap();
    hello.truncate(sent);
    (device, hello)
}
