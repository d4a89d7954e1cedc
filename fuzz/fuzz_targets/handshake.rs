//! Messages of a handshake and of a resumption, altered: none is taken but as it was said, and
//! none panics.
#![no_main]

use std::convert::Infallible;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rand_core::{TryCryptoRng, TryRng};
use stencil_crypto::link::{
    ANSWER_BYTES, Cookies, HELLO_MAX_BYTES, Hello, Initiator, Offer, Open, Opening, RESUMED_BYTES,
    Resume, Resuming, Resumption, respond,
};
use stencil_crypto::{Psk, Suite};

/// SplitMix64: the same draws each time.
struct Repeatable(u64);

impl TryRng for Repeatable {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.try_next_u64()? as u32)
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(z ^ (z >> 31))
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let draw = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&draw[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Repeatable {}

struct Scene {
    psk: Psk,
    cookies: Cookies,
    opening: Opening,
    hello: Vec<u8>,
    answer: Vec<u8>,
    kept: Resumption,
}

fn begin(scene: &Opening, cookies: &Cookies, psk: &Psk) -> (Initiator, Vec<u8>) {
    let open = Open::parse(scene.message()).expect("ours");
    let challenge = cookies
        .challenge(&open, Suite::DEFAULT, b"fuzz", 0)
        .expect("a short place");
    let mut hello = vec![0; HELLO_MAX_BYTES];
    let (initiator, length) = scene
        .hello(&challenge, psk, &mut Repeatable(2), &mut hello)
        .expect("ours");
    hello.truncate(length);
    (initiator, hello)
}

static SCENE: LazyLock<Scene> = LazyLock::new(|| {
    let psk = Psk::from_bytes([7; 32]).expect("a key");
    let cookies = Cookies::new(&mut Repeatable(1)).expect("draws");
    let offer = Offer::new(Suite::ALL, b"freezer-07");
    let opening = Opening::start(&offer, &mut Repeatable(3)).expect("an offer");
    let (_, hello) = begin(&opening, &cookies, &psk);
    let parsed = Hello::parse(&hello).expect("ours");
    let mut answer = vec![0; ANSWER_BYTES];
    let (gateway, _) = respond(&parsed, &psk, &mut Repeatable(4), &mut answer).expect("ours");
    Scene {
        kept: gateway.resumption,
        psk,
        cookies,
        opening,
        hello,
        answer,
    }
});

/// Alters bytes at places, cuts and appends as the input says.
fn altered(genuine: &[u8], script: &[u8]) -> Vec<u8> {
    let mut bytes = genuine.to_vec();
    for edit in script.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([edit[0], edit[1]]));
        match at {
            0xffff => bytes.push(edit[2]),
            0xfffe => bytes.truncate(usize::from(edit[2])),
            _ if !bytes.is_empty() => {
                let at = at % bytes.len();
                bytes[at] ^= edit[2];
            }
            _ => {}
        }
    }
    bytes
}

fuzz_target!(|bytes: &[u8]| {
    let Some((what, script)) = bytes.split_first() else {
        return;
    };
    let scene = &*SCENE;
    let offer = Offer::new(Suite::ALL, b"freezer-07");
    match what % 5 {
        0 => {
            if let Ok(open) = Open::parse(script) {
                let _ = open.choose(Suite::ALL);
            }
            let hostile = altered(scene.opening.message(), script);
            if let Ok(open) = Open::parse(&hostile) {
                let _ = open.choose(Suite::ALL);
            }
        }
        1 => {
            let hostile = altered(&scene.hello, script);
            if let Ok(hello) = Hello::parse(&hostile) {
                let mut out = [0; ANSWER_BYTES];
                let shown = scene.cookies.check(&hello, b"fuzz", 1).is_ok();
                let proved = respond(&hello, &scene.psk, &mut Repeatable(5), &mut out).is_ok();
                assert_eq!(proved, hostile == scene.hello);
                assert!(shown || !proved);
            }
        }
        2 => {
            let hostile = altered(&scene.answer, script);
            let (initiator, _) = begin(&scene.opening, &scene.cookies, &scene.psk);
            assert_eq!(initiator.finish(&hostile).is_ok(), hostile == scene.answer);
        }
        3 => {
            let resuming = Resuming::start(&offer, &scene.psk, &scene.kept, &mut Repeatable(6))
                .expect("generations are left");
            let hostile = altered(resuming.message(), script);
            let mut out = [0; RESUMED_BYTES];
            let taken = Resume::parse(&hostile).and_then(|resume| {
                resume.respond(&scene.psk, &scene.kept, &mut Repeatable(7), &mut out)
            });
            assert_eq!(taken.is_ok(), hostile == resuming.message());
        }
        _ => {
            let resuming = Resuming::start(&offer, &scene.psk, &scene.kept, &mut Repeatable(6))
                .expect("generations are left");
            let mut out = [0; RESUMED_BYTES];
            Resume::parse(resuming.message())
                .and_then(|resume| {
                    resume.respond(&scene.psk, &scene.kept, &mut Repeatable(7), &mut out)
                })
                .expect("ours");
            let hostile = altered(&out, script);
            let taken = resuming.finish(&hostile);
            assert_eq!(taken.is_ok(), hostile == out);
            // Records of the session, as strangers' bytes.
            let (mut session, _) = resuming.finish(&out).expect("ours");
            assert!(session.open(script, &mut [0; 2_048]).is_err());
        }
    }
});
