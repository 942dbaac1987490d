//! What one worker has of a figure that is of the whole process.

use prometheus::IntGauge;

/// One worker's share of a gauge that all workers of the process add to. Taken away when it is dropped.
pub struct Share {
    gauge: IntGauge,
    told: i64,
}

impl Share {
    /// A share of nothing yet.
    pub fn of(gauge: &IntGauge) -> Self {
        Self { gauge: gauge.clone(), told: 0 }
    }

    /// The same share, of this now.
    pub fn with(mut self, value: usize) -> Self {
        self.set(value);
        self
    }

    /// Says how much it is now.
    pub fn set(&mut self, value: usize) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.gauge.add(value - std::mem::replace(&mut self.told, value));
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.gauge.sub(self.told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_is_the_sum_of_what_workers_have() {
        let gauge = IntGauge::new("held", "What is held").expect("a valid gauge");
        let (mut one, other) = (Share::of(&gauge).with(5), Share::of(&gauge).with(7));
        assert_eq!(gauge.get(), 12);
        one.set(2);
        assert_eq!(gauge.get(), 9);
        drop(other);
        assert_eq!(gauge.get(), 2);
    }
}
