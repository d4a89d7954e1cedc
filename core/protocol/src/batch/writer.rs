use super::{
    BASE, BOOT, DROPPED, Error, FIRST, Header, LAST_GIVEN, MAX_NAMES, MAX_SAMPLES, PREVIOUS,
    SAMPLES,
};
use crate::cbor::{self, Reader, written};
use crate::sample::{self, Sample};

/// Bytes of the list header of the samples: always the two-byte length, so
/// that it can be filled in at the end.
const LIST_HEADER: usize = 3;

/// Writes a batch into a caller's buffer, sample by sample.
///
/// ```
/// # use stencil_protocol::{batch::{Batch, Header, Writer}, id::{Boot, Seq}};
/// # use stencil_protocol::sample::{Sample, Value};
/// let header = Header {
///     boot: Boot(1), first: Seq(7), last_given: Seq(7), previous: None, dropped: Default::default(),
/// };
/// let mut buffer = [0u8; 256];
/// let mut writer = Writer::new(&mut buffer, &header)?;
/// let value = Value::Number(-18.5);
/// writer.push(&Sample { name: "temperature", value, unit: Some("degC"), time_us: 1_000_000 })?;
/// let length = writer.finish()?;
/// let batch = Batch::decode(&buffer[..length])?;
/// let (seq, sample) = batch.samples().next().unwrap();
/// assert_eq!((seq, sample?.value), (Seq(7), value));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Writer<'b> {
    out: &'b mut [u8],
    header: Header,
    /// Bytes written so far.
    used: usize,
    /// Where the list header of the samples stands, once there is one.
    list_at: usize,
    /// The time of the first sample.
    base_us: i64,
    count: usize,
    /// Where the samples that defined a name and unit start.
    names: heapless::Vec<usize, MAX_NAMES>,
}

/// Why a sample was not added. The batch stays as it was and can be finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// No room in the buffer.
    #[error("the batch's buffer is full")]
    Bytes,
    /// [`MAX_SAMPLES`] are in.
    #[error("the batch has the most samples that it may have")]
    Samples,
    /// Its number would be beyond the header's last given number.
    #[error("the sample's number would be beyond the last given number of the header")]
    Number,
    /// The sample breaks a limit and fits into no batch.
    #[error(transparent)]
    Sample(#[from] sample::Error),
}

impl<'b> Writer<'b> {
    /// Starts a batch: writes the header. [`Error::Cbor`] with
    /// [`cbor::Error::Space`] if not even that fits.
    pub fn new(out: &'b mut [u8], header: &Header) -> Result<Self, Error> {
        header.check(0)?;
        let mut w = cbor::writer(out);
        let fields =
            4 + u64::from(header.previous.is_some()) + u64::from(!header.dropped.is_empty());
        w.map(fields).map_err(cbor::Error::from)?;
        write_header(&mut w, header)?;
        let used = written(&w);
        if out.len() < used + 1 + LIST_HEADER {
            return Err(cbor::Error::Space.into());
        }
        Ok(Writer {
            out,
            header: header.clone(),
            used,
            list_at: 0,
            base_us: 0,
            count: 0,
            names: heapless::Vec::new(),
        })
    }

    /// Adds a sample; it gets the next number.
    pub fn push(&mut self, sample: &Sample<'_>) -> Result<(), Full> {
        sample.check()?;
        if self.count >= MAX_SAMPLES {
            return Err(Full::Samples);
        }
        // MAX_SAMPLES fits in any integer.
        let number = self.header.first.0.saturating_add(self.count as u64);
        if number == 0 || number > self.header.last_given.0 {
            return Err(Full::Number);
        }
        let opened = if self.count == 0 {
            self.open_list(sample.time_us)?
        } else {
            self.used
        };
        let base_us = if self.count == 0 {
            sample.time_us
        } else {
            self.base_us
        };
        let delta_us = sample
            .time_us
            .checked_sub(base_us)
            .ok_or(sample::Error::Time)?;
        let known = self.known(sample);
        let room = self.out.get_mut(opened..).ok_or(Full::Bytes)?;
        let length = write_sample(room, sample, delta_us, known).map_err(|_| Full::Bytes)?;
        // Only now: a sample that does not fit leaves the batch as it was.
        if self.count == 0 {
            self.list_at = opened - LIST_HEADER;
        }
        self.base_us = base_us;
        self.used = opened + length;
        self.count += 1;
        if known.is_none() {
            // Beyond MAX_NAMES definitions are not remembered, on either side.
            let _ = self.names.push(opened);
        }
        Ok(())
    }

    /// Samples so far.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no sample yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Ends the batch; says how many bytes of the buffer it has.
    pub fn finish(self) -> Result<usize, Error> {
        if self.count == 0 {
            // No base time: the header's four fields end in the empty list.
            let room = self.out.get_mut(self.used..).ok_or(cbor::Error::Space)?;
            let mut w = cbor::writer(room);
            w.u64(SAMPLES)
                .and_then(|w| w.array(0))
                .map_err(cbor::Error::from)?;
            return Ok(self.used + written(&w));
        }
        let count = u16::try_from(self.count).map_err(|_| cbor::Error::Space)?;
        let [high, low] = count.to_be_bytes();
        if let Some(list) = self.out.get_mut(self.list_at..self.list_at + LIST_HEADER) {
            list.copy_from_slice(&[0x99, high, low]);
        }
        // One field more than announced: the base time. A map header of at
        // most seven fields is one byte.
        if let Some(map) = self.out.first_mut() {
            *map += 1;
        }
        Ok(self.used)
    }

    /// Writes the base time and keeps room for the list's header; says where
    /// the first sample goes.
    fn open_list(&mut self, base_us: i64) -> Result<usize, Full> {
        let room = self.out.get_mut(self.used..).ok_or(Full::Bytes)?;
        let mut w = cbor::writer(room);
        w.u64(BASE)
            .and_then(|w| w.i64(base_us))
            .and_then(|w| w.u64(SAMPLES))
            .map_err(|_| Full::Bytes)?;
        Ok(self.used + written(&w) + LIST_HEADER)
    }

    fn known(&self, sample: &Sample<'_>) -> Option<u64> {
        for (index, &start) in (0u64..).zip(&self.names) {
            let defined = self.out.get(start..self.used).map(definition)?;
            if defined == Some((sample.name, sample.unit)) {
                return Some(index);
            }
        }
        None
    }
}

fn write_header(w: &mut cbor::Writer<'_>, header: &Header) -> Result<(), cbor::Error> {
    w.u64(BOOT)?.u32(header.boot.0)?;
    w.u64(FIRST)?.u64(header.first.0)?;
    w.u64(LAST_GIVEN)?.u64(header.last_given.0)?;
    if let Some(previous) = header.previous {
        w.u64(PREVIOUS)?.array(3)?;
        w.u32(previous.boot.0)?
            .u64(previous.last.0)?
            .u64(previous.acked.0)?;
    }
    if !header.dropped.is_empty() {
        w.u64(DROPPED)?.array(header.dropped.len() as u64)?;
        for dropped in &header.dropped {
            dropped.write(w)?;
        }
    }
    Ok(())
}

fn write_sample(
    out: &mut [u8],
    sample: &Sample<'_>,
    delta_us: i64,
    known: Option<u64>,
) -> Result<usize, cbor::Error> {
    let mut w = cbor::writer(out);
    match known {
        Some(index) => {
            w.array(3)?.u64(index)?.i64(delta_us)?;
            sample.value.write(&mut w)?;
        }
        None => {
            w.array(3 + u64::from(sample.unit.is_some()))?
                .str(sample.name)?
                .i64(delta_us)?;
            sample.value.write(&mut w)?;
            if let Some(unit) = sample.unit {
                w.str(unit)?;
            }
        }
    }
    Ok(written(&w))
}

/// Name and unit of a sample that was written with both.
fn definition(bytes: &[u8]) -> Option<(&str, Option<&str>)> {
    let mut r = Reader::new(bytes);
    let fields = r.array("a sample").ok()?;
    let name = r.str("name", usize::MAX).ok()?;
    r.skip().ok()?;
    r.skip().ok()?;
    let unit = if fields > 3 {
        Some(r.str("unit", usize::MAX).ok()?)
    } else {
        None
    };
    Some((name, unit))
}
