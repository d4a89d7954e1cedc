//! How long things took, in buckets that are 1/32 wide.

/// Steps within a power of two.
const STEPS: u64 = 32;
/// Buckets up to 2^40 µs.
const BUCKETS: usize = 37 * 32;

/// Counts of times in µs.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    counts: Box<[u64]>,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS].into_boxed_slice(),
            max: 0,
        }
    }
}

impl Histogram {
    /// Counts `count` things that took `us`.
    pub(super) fn record(&mut self, us: u64, count: u64) {
        if let Some(bucket) = self.counts.get_mut(bucket(us)) {
            *bucket += count;
        }
        self.max = self.max.max(us);
    }

    /// Adds another one's counts.
    pub(super) fn add(&mut self, other: &Self) {
        for (own, other) in self.counts.iter_mut().zip(&other.counts) {
            *own += other;
        }
        self.max = self.max.max(other.max);
    }

    /// What the given share took at most; 0 when nothing was counted.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "fewer than 2^52 things"
    )]
    pub(super) fn quantile(&self, share: f64) -> u64 {
        let all: u64 = self.counts.iter().sum();
        let wanted = (all as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return upper(index as u64).min(self.max);
            }
        }
        0
    }

    pub(super) fn max(&self) -> u64 {
        self.max
    }
}

fn bucket(us: u64) -> usize {
    let index = if us < STEPS {
        us
    } else {
        let shift = u64::from(us.ilog2()) - 5;
        (shift + 1) * STEPS + ((us >> shift) - STEPS)
    };
    usize::try_from(index).map_or(BUCKETS - 1, |index| index.min(BUCKETS - 1))
}

/// The largest time of a bucket.
fn upper(index: u64) -> u64 {
    if index < STEPS {
        return index;
    }
    let (shift, step) = (index / STEPS - 1, index % STEPS);
    ((STEPS + step + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_it_says() {
        for us in (0..5_000).chain([1 << 20, (1 << 30) + 12_345]) {
            let top = upper(bucket(us) as u64);
            assert!(top >= us && top - us <= us / 32, "{us}: {top}");
            assert_eq!(bucket(top), bucket(us));
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn shares_of_what_was_counted() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), 0);
        histogram.record(10, 98);
        histogram.record(20, 1);
        let mut other = Histogram::default();
        other.record(30_000, 1);
        histogram.add(&other);
        assert_eq!(histogram.quantile(0.5), 10);
        assert_eq!(histogram.quantile(0.99), 20);
        assert_eq!((histogram.quantile(1.0), histogram.max()), (30_000, 30_000));
    }
}
