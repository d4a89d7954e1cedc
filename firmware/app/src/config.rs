//! How a device behaves.

use stencil_crypto::psk::Psk;
use stencil_crypto::suite::Suite;
use stencil_protocol::id::DeviceId;

/// The settings of one device. Times are in microseconds.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name under which the device is enrolled.
    pub device: DeviceId,
    /// The secret it shares with its gateway.
    pub psk: Psk,
    /// The cipher suite of the link.
    pub suite: Suite,
    /// How often it measures. 0: at each poll, as fast as there is room.
    pub sample_interval_us: u64,
    /// Measure only while there is room, rather than drop the oldest samples.
    /// For sources that wait: a recording, a logger's memory.
    pub lossless: bool,
    /// The most values that one measurement gives; lossless sources are asked
    /// only when so many fit.
    pub readings_per_measure: usize,
    /// The most samples of a batch, 1 to 256. A batch is closed at 1,024 bytes
    /// in any case.
    pub batch_samples: u16,
    /// How long samples may gather after a batch went out before the next one.
    /// A lone sample does not wait.
    pub batch_delay_us: u64,
    /// What the gateway has not acknowledged after this long is sent again.
    pub resend_us: u64,
    /// After so many sends in a row without an answer the handshake is made
    /// anew; after so many handshakes without an answer the link is given up.
    pub attempts: u8,
    /// How long to wait for the answer to a handshake, for the time after it,
    /// and for a link that takes no bytes.
    pub handshake_us: u64,
    /// A quiet link is kept open by a message this often.
    pub keep_alive_us: u64,
    /// The most bytes of a handshake message in one frame, 42 to 256: the fewer, the
    /// more gets through a poor line, and the more is sent beside them.
    pub fragment_bytes: u16,
    /// How long to wait for an answer within a handshake before something is sent
    /// again, at first; then twice as long each time.
    pub answer_us: u64,
    /// How many sessions are resumed without fresh keys being agreed on. 0: none.
    pub max_resumptions: u32,
    /// Fresh keys are agreed on this often, also on a link that lasts. The gateway
    /// has its own bound, and the shorter one holds.
    pub fresh_keys_us: u64,
}

impl Config {
    /// The settings of an ordinary device: measures once a second, sends at
    /// most five batches a second.
    pub fn new(device: DeviceId, psk: Psk) -> Self {
        Self {
            device,
            psk,
            suite: Suite::DEFAULT,
            sample_interval_us: 1_000_000,
            lossless: false,
            readings_per_measure: 4,
            batch_samples: 256,
            batch_delay_us: 200_000,
            resend_us: 3_000_000,
            attempts: 4,
            handshake_us: 5_000_000,
            keep_alive_us: 20_000_000,
            fragment_bytes: 128,
            answer_us: 250_000,
            max_resumptions: 96,
            fresh_keys_us: 24 * 3_600 * 1_000_000,
        }
    }
}
