//! What of a connection is let through to the library: frames of sound sizes, and an answer to the
//! opening of a secure channel only if it is secured as the mapping says, by the pinned server.
//!
//! The library verifies such an answer (`OPN`) by the certificate that is in it, or not at all
//! where it says that it is not secured, and takes any message in it, at any time: somebody on the
//! line could put values of their own between the server's. So it is shown only those that name our
//! policy and the pinned certificate; then its signature is the server's, or it is refused.
//!
//! Frames are those of Part 6, sections 6.7.2 and 7.1.2.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

use super::files::fingerprint;
use crate::Fault;

/// The largest frame, which the library announces to servers.
pub(super) const MAX_FRAME: usize = 65_535;
/// Type, kind and size.
const HEADER: usize = 8;
/// With the id of the secure channel.
const CHANNEL: usize = HEADER + 4;
/// With the id of the token, where encryption begins.
const TOKEN: usize = CHANNEL + 4;
/// The sequence number and the id of the request.
const SEQUENCE: usize = 8;
/// The signature of a frame, HMAC-SHA256, and the block of its encryption, AES.
const SIGNATURE: usize = 32;
const BLOCK: usize = 16;
/// The URI of no security.
const NONE: &[u8] = b"http://opcfoundation.org/UA/SecurityPolicy#None";

/// What a frame has to be.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// Policy and certificate; none where nothing is secured.
    pub(super) secured: Option<(&'static str, Arc<[u8]>)>,
    /// Why the last one was refused.
    pub(super) refused: Refused,
}

/// Why a connection was refused, for who tells of it: the library has only a status for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Refused(Arc<Mutex<Option<Fault>>>);

impl Refused {
    pub(super) fn set(&self, why: Fault) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    pub(super) fn take(&self) -> Option<Fault> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A connection whose frames are looked at.
#[derive(Debug)]
pub(super) struct Guarded<R> {
    inner: R,
    rules: Rules,
    /// At most one frame, and what came with it.
    held: Vec<u8>,
    /// How much of it may pass, and has.
    good: usize,
    given: usize,
}

impl<R> Guarded<R> {
    pub(super) fn new(inner: R, rules: Rules) -> Self {
        Self {
            inner,
            rules,
            held: Vec::new(),
            good: 0,
            given: 0,
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Guarded<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let passing = this.held.get(this.given..this.good).unwrap_or_default();
            if !passing.is_empty() {
                let taken = passing.len().min(buffer.remaining());
                buffer.put_slice(passing.get(..taken).unwrap_or_default());
                this.given += taken;
                if this.given == this.good {
                    this.held.drain(..this.good);
                    (this.good, this.given) = (0, 0);
                }
                return Poll::Ready(Ok(()));
            }
            match this.rules.look(&this.held) {
                Ok(Some(size)) => {
                    this.good = size;
                    continue;
                }
                Ok(None) => {}
                Err(why) => {
                    this.rules.refused.set(why.clone());
                    let error = io::Error::new(io::ErrorKind::InvalidData, why.to_string());
                    return Poll::Ready(Err(error));
                }
            }
            let mut space = [0_u8; 4_096];
            let mut read = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                // The end: half a frame is none.
                return Poll::Ready(Ok(()));
            }
            this.held.extend_from_slice(read.filled());
        }
    }
}

impl Rules {
    /// The size of the first frame, when it is there as a whole and may pass.
    fn look(&self, held: &[u8]) -> Result<Option<usize>, Fault> {
        let Some((head, _)) = held.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let [kind @ .., _, a, b, c, d] = head;
        let size = usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX);
        let least = match kind {
            // What the library reads of a frame before it knows that it is too short.
            b"MSG" | b"CLO" if self.secured.is_some() => TOKEN + SEQUENCE + SIGNATURE,
            b"MSG" | b"CLO" => TOKEN + SEQUENCE,
            b"OPN" => CHANNEL,
            b"ACK" | b"ERR" => HEADER,
            _ => return Err(Fault::Nonsense("it is not OPC UA over TCP".to_owned())),
        };
        if size < least || size > MAX_FRAME {
            return Err(Fault::Nonsense(format!(
                "a frame of {size} bytes, where {least} to {MAX_FRAME} are allowed"
            )));
        }
        let is_padded = (size - least.min(TOKEN)).is_multiple_of(BLOCK);
        if self.secured.is_some() && matches!(kind, b"MSG" | b"CLO") && !is_padded {
            return Err(Fault::Nonsense("a frame that is not encrypted".to_owned()));
        }
        let Some(frame) = held.get(..size) else {
            return Ok(None);
        };
        if kind == b"OPN" {
            let opening = frame.get(CHANNEL..).unwrap_or_default();
            self.opening(opening).map_err(Fault::Refused)?;
        }
        Ok(Some(size))
    }

    fn opening(&self, rest: &[u8]) -> Result<(), String> {
        let cut = || "the server's answer to the opening of a secure channel is cut off".to_owned();
        let (policy, rest) = field(rest).ok_or_else(cut)?;
        let (certificate, _) = field(rest).ok_or_else(cut)?;
        let Some((wanted, pinned)) = &self.secured else {
            return if policy == NONE {
                Ok(())
            } else {
                Err("the server secures what was not asked to be secured".to_owned())
            };
        };
        if policy != wanted.as_bytes() {
            return Err(
                "the answer is secured in another way than was asked for, or not at all: it is not \
                 by the server"
                    .to_owned(),
            );
        }
        if certificate != &**pinned {
            return Err(format!(
                "the server has another certificate than the one in `server-certificate`: its \
                 SHA-256 is {}",
                fingerprint(certificate)
            ));
        }
        Ok(())
    }
}

/// A field with its length before it, none as −1.
fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    match i32::from_le_bytes(*length) {
        -1 => Some((&[], rest)),
        length => rest.split_at_checked(usize::try_from(length).ok()?),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    const POLICY: &str = "http://opcfoundation.org/UA/SecurityPolicy#Basic256Sha256";
    const PINNED: &[u8] = b"the pinned certificate";

    fn rules(is_secured: bool) -> Rules {
        Rules {
            secured: is_secured.then(|| (POLICY, PINNED.into())),
            refused: Refused::default(),
        }
    }

    fn frame(kind: &[u8; 3], body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(HEADER + body.len()).unwrap();
        [kind.as_slice(), b"F", &size.to_le_bytes(), body].concat()
    }

    fn opening(policy: &[u8], certificate: &[u8]) -> Vec<u8> {
        let length = |bytes: &[u8]| i32::try_from(bytes.len()).unwrap().to_le_bytes();
        frame(
            b"OPN",
            &[
                &[1, 0, 0, 0],
                length(policy).as_slice(),
                policy,
                &length(certificate),
                certificate,
                &[0; 60],
            ]
            .concat(),
        )
    }

    async fn passed(bytes: &[u8], is_secured: bool) -> Result<Vec<u8>, String> {
        let mut guarded = Guarded::new(bytes, rules(is_secured));
        let mut out = Vec::new();
        match guarded.read_to_end(&mut out).await {
            Ok(_) => Ok(out),
            Err(_) => Err(guarded.rules.refused.take().unwrap().to_string()),
        }
    }

    #[tokio::test]
    async fn what_the_pinned_server_says_passes() {
        let message = frame(b"MSG", &[7; TOKEN - HEADER + 64]);
        let bytes = [
            frame(b"ACK", &[0; 20]),
            opening(POLICY.as_bytes(), PINNED),
            message.clone(),
            message,
        ]
        .concat();
        assert_eq!(passed(&bytes, true).await.unwrap(), bytes);
        let plain = [opening(NONE, b""), frame(b"MSG", &[0; 33])].concat();
        assert_eq!(passed(&plain, false).await.unwrap(), plain);
    }

    #[tokio::test]
    async fn an_opening_by_somebody_else_does_not() {
        for (bytes, is_secured, says) in [
            (opening(NONE, b""), true, "another way"),
            (
                opening(
                    b"http://opcfoundation.org/UA/SecurityPolicy#Basic128Rsa15",
                    PINNED,
                ),
                true,
                "another way",
            ),
            (
                opening(POLICY.as_bytes(), b"another"),
                true,
                "another certificate",
            ),
            (
                opening(POLICY.as_bytes(), &[PINNED, b"!"].concat()),
                true,
                "another certificate",
            ),
            (opening(POLICY.as_bytes(), b""), true, "another certificate"),
            (opening(POLICY.as_bytes(), PINNED), false, "not asked"),
            (frame(b"OPN", &[0; 6]), true, "cut off"),
            (frame(b"OPN", &[255; 40]), true, "another way"),
            (frame(b"MSG", &[0; 40]), true, "48 bytes"),
            (frame(b"MSG", &[0; 73]), true, "not encrypted"),
            (frame(b"MSG", &[0; 10]), false, "18 bytes"),
            (b"HTTP/1.1 400 Bad".to_vec(), true, "not OPC UA"),
            (
                vec![b'M', b'S', b'G', b'F', 255, 255, 255, 255],
                true,
                "4294967295",
            ),
        ] {
            let why = passed(&bytes, is_secured).await.unwrap_err();
            assert!(why.contains(says), "{why}");
        }
    }

    proptest! {
        /// However it is cut into pieces, and whatever comes: what passes is a prefix of what came,
        /// in whole frames, and no opening but the pinned server's is among them.
        #[test]
        fn whatever_comes(
            frames in prop::collection::vec(
                prop_oneof![
                    Just(opening(POLICY.as_bytes(), PINNED)),
                    Just(opening(NONE, b"")),
                    Just(frame(b"MSG", &[7; TOKEN - HEADER + 64])),
                    prop::collection::vec(any::<u8>(), 0..40),
                    prop::collection::vec(any::<u8>(), 0..40).prop_map(|body| frame(b"OPN", &body)),
                ],
                0..6,
            ),
            piece in 1_usize..50,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let bytes = frames.concat();
            let out = runtime.block_on(async {
                let mut guarded = Guarded::new(bytes.as_slice(), rules(true));
                let mut out = Vec::new();
                let mut space = vec![0; piece];
                while let Ok(read) = guarded.read(&mut space).await {
                    if read == 0 {
                        break;
                    }
                    out.extend_from_slice(&space[..read]);
                }
                out
            });
            prop_assert!(bytes.starts_with(&out));
            let hidden = opening(NONE, b"");
            prop_assert!(!out.windows(hidden.len()).any(|part| part == hidden));
        }
    }
}
