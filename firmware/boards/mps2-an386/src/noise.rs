//! Noise that the host hands over.

use stencil_firmware::entropy;

use crate::host::{Error, File, Mode};

/// The source.
pub(crate) struct Noise(File);

impl Noise {
    pub(crate) fn open(path: &str) -> Result<Self, Error> {
        File::open(path, Mode::Read).map(Self)
    }
}

impl entropy::Noise for Noise {
    fn sample(&mut self, out: &mut [u8]) -> bool {
        self.0.read(out).is_ok()
    }
}
