use super::{
    BASE, BOOT, DROPPED, Dropped, Error, FIRST, Header, LAST_GIVEN, MAX_BATCH_BYTES, MAX_DROPPED,
    MAX_NAMES, MAX_SAMPLES, PREVIOUS, PreviousBoot, SAMPLES,
};
use crate::cbor::{self, Reader, need, once};
use crate::id::{Boot, Seq};
use crate::sample::{self, Sample, Value};

/// A batch over the bytes that it was decoded from.
#[derive(Clone)]
pub struct Batch<'a> {
    header: Header,
    base_us: Option<i64>,
    count: u64,
    /// At the first sample.
    samples: Reader<'a>,
}

impl<'a> Batch<'a> {
    /// Reads the header and finds the samples; they are read one by one, by
    /// [`Batch::samples`]. What follows the samples is not needed and not read.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_BATCH_BYTES {
            return Err(cbor::Error::TooLong {
                field: "batch",
                max: MAX_BATCH_BYTES,
            }
            .into());
        }
        let mut r = Reader::new(bytes);
        let mut fields = Fields::default();
        let mut count = None;
        for _ in 0..r.map("a batch: a map")? {
            if fields.read(&mut r)? {
                let at = r.at();
                let listed = r.array("the list of samples")?;
                // A sample has at least one byte: a list that claims more than
                // could follow is not one.
                if listed > MAX_SAMPLES as u64 {
                    return Err(cbor::Error::TooLong {
                        field: "samples",
                        max: MAX_SAMPLES,
                    }
                    .into());
                }
                if listed > 0 && fields.base_us.is_none() {
                    return Err(cbor::Error::Unexpected {
                        at,
                        expected: "the base time before",
                    }
                    .into());
                }
                count = Some(listed);
                break;
            }
        }
        let count = need(count, "samples")?;
        let header = Header {
            boot: need(fields.boot, "boot")?,
            first: need(fields.first, "first")?,
            last_given: need(fields.last_given, "last_given")?,
            previous: fields.previous,
            dropped: fields.dropped.unwrap_or_default(),
        };
        header.check(count)?;
        Ok(Batch {
            header,
            base_us: fields.base_us,
            count,
            samples: r,
        })
    }

    /// What stands before the samples.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The bytes that it was decoded from.
    pub fn bytes(&self) -> &'a [u8] {
        self.samples.input()
    }

    /// How many samples there are, readable or not.
    pub fn len(&self) -> usize {
        // At most MAX_SAMPLES.
        usize::try_from(self.count).unwrap_or(MAX_SAMPLES)
    }

    /// Whether there is none: the batch only reports.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The samples with their numbers, in order, exactly [`Batch::len`] of them.
    pub fn samples(&self) -> Samples<'a> {
        Samples {
            reader: self.samples.clone(),
            names: heapless::Vec::new(),
            base_us: self.base_us.unwrap_or_default(),
            next: self.header.first.0,
            left: self.count,
            broken: None,
        }
    }
}

impl core::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Batch")
            .field("header", &self.header)
            .field("samples", &self.count)
            .finish()
    }
}

#[derive(Default)]
struct Fields {
    boot: Option<Boot>,
    first: Option<Seq>,
    last_given: Option<Seq>,
    previous: Option<PreviousBoot>,
    dropped: Option<heapless::Vec<Dropped, MAX_DROPPED>>,
    base_us: Option<i64>,
}

impl Fields {
    /// Reads one entry of the map; true at the samples, of which only the key
    /// is read.
    fn read(&mut self, r: &mut Reader<'_>) -> Result<bool, cbor::Error> {
        match r.key()? {
            Some(BOOT) => once(&mut self.boot, Boot(r.u32("a boot number")?), "boot")?,
            Some(FIRST) => once(&mut self.first, Seq(r.u64("the first number")?), "first")?,
            Some(LAST_GIVEN) => {
                once(
                    &mut self.last_given,
                    Seq(r.u64("the last number")?),
                    "last_given",
                )?;
            }
            Some(PREVIOUS) => once(&mut self.previous, read_previous(r)?, "previous")?,
            Some(DROPPED) => once(&mut self.dropped, read_dropped(r)?, "dropped")?,
            Some(BASE) => once(&mut self.base_us, r.i64("the base time")?, "base time")?,
            Some(SAMPLES) => return Ok(true),
            Some(_) | None => r.skip()?,
        }
        Ok(false)
    }
}

fn read_previous(r: &mut Reader<'_>) -> Result<PreviousBoot, cbor::Error> {
    let at = r.at();
    let length = r.array("the boot before: boot, last and acknowledged number")?;
    if length < 3 {
        return Err(cbor::Error::Unexpected {
            at,
            expected: "boot, last and acknowledged number",
        });
    }
    let previous = PreviousBoot {
        boot: Boot(r.u32("a boot number")?),
        last: Seq(r.u64("its last number")?),
        acked: Seq(r.u64("its acknowledged number")?),
    };
    for _ in 3..length {
        r.skip()?;
    }
    Ok(previous)
}

fn read_dropped(r: &mut Reader<'_>) -> Result<heapless::Vec<Dropped, MAX_DROPPED>, cbor::Error> {
    let mut list = heapless::Vec::new();
    for _ in 0..r.array("the list of dropped runs")? {
        let dropped = Dropped::read(r)?;
        list.push(dropped).map_err(|_| cbor::Error::TooLong {
            field: "dropped",
            max: MAX_DROPPED,
        })?;
    }
    Ok(list)
}

/// The samples of a batch with their numbers.
#[derive(Clone)]
pub struct Samples<'a> {
    reader: Reader<'a>,
    names: heapless::Vec<(&'a str, Option<&'a str>), MAX_NAMES>,
    base_us: i64,
    next: u64,
    left: u64,
    broken: Option<cbor::Error>,
}

impl<'a> Iterator for Samples<'a> {
    type Item = (Seq, Result<Sample<'a>, sample::Error>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let seq = Seq(self.next);
        self.next = self.next.saturating_add(1);
        if let Some(error) = self.broken {
            return Some((seq, Err(sample::Error::Broken(error))));
        }
        let read = self.read().unwrap_or_else(|error| {
            self.broken = Some(error);
            Err(sample::Error::Broken(error))
        });
        Some((seq, read))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.left).unwrap_or(MAX_SAMPLES);
        (left, Some(left))
    }
}

impl<'a> Samples<'a> {
    /// The outer error: the bytes are broken. The inner one: this sample is not
    /// one, but its end is known. The sample is stepped over first, so that no
    /// error inside of it moves the place where the next one starts.
    fn read(&mut self) -> Result<Result<Sample<'a>, sample::Error>, cbor::Error> {
        let mut r = self.reader.clone();
        self.reader.skip()?;
        Ok(self.read_one(&mut r))
    }

    fn read_one(&mut self, r: &mut Reader<'a>) -> Result<Sample<'a>, sample::Error> {
        let shape = |_| sample::Error::Shape;
        let fields = r.array("a sample").map_err(shape)?;
        if fields < 3 {
            return Err(sample::Error::Shape);
        }
        let defined = if r.is_text().map_err(shape)? {
            Ok(r.str("name", usize::MAX).map_err(shape)?)
        } else {
            Err(r.u64("a name or its index").map_err(shape)?)
        };
        let delta = r.i64("microseconds since the base time");
        if delta.is_err() {
            r.skip().map_err(shape)?;
        }
        let value = Value::read(r).map_err(shape)?;
        let (name, unit) = match defined {
            Ok(name) => {
                let unit = if fields > 3 && !r.null().map_err(shape)? {
                    Some(r.str("unit", usize::MAX).map_err(shape)?)
                } else {
                    None
                };
                // Also when the sample itself breaks a limit: the writer counts
                // its definition.
                let _ = self.names.push((name, unit));
                (name, unit)
            }
            Err(index) => usize::try_from(index)
                .ok()
                .and_then(|i| self.names.get(i).copied())
                .ok_or(sample::Error::UnknownName { index })?,
        };
        let time_us = delta
            .ok()
            .and_then(|delta| self.base_us.checked_add(delta))
            .ok_or(sample::Error::Time)?;
        let sample = Sample {
            name,
            value: value?,
            unit,
            time_us,
        };
        sample.check()?;
        Ok(sample)
    }
}
