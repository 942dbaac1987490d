//! The windows of one row, in columns.
//!
//! Rows are many, their windows are few, and of the meters a window counts only some. So the heads of all windows lie side
//! by side, where one look finds the window that is wanted, and their counts in one table, which has columns only for
//! meters that the row has counted. A window costs 16 bytes and 8 for each of these meters, in place of 160.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::columns::{Amounts, Columns};
use crate::{
    domain::{
        meter::{Counters, Meter},
        time::Timestamp,
        window::{Counted, SESSION_MS, Window, WindowKind, session_from},
    },
    prefetch::prefetch,
};

pub use super::window_code::{WindowCode, WindowCounters};

/// Where the counters of a window are.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// In the row, at this position.
    Row(usize),
    /// Older than both windows that the row keeps of its kind: stored apart.
    Older,
    /// Nowhere yet.
    New,
}

/// The session of some usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its five hours.
    pub window: Window,
    /// It is one of its own that is over: nothing else is counted in it.
    pub is_over: bool,
}

/// The two newest windows of each kind that a scope was used in; what is older is stored apart.
#[derive(Clone, Default)]
pub struct Windows {
    heads: Vec<(WindowCode, Timestamp)>,
    columns: Columns,
    /// Row by row, in the order of `heads`.
    counts: Vec<i64>,
    /// By kind, where the window stands that was opened last: a guess that nearly every charge confirms.
    opened_last: [u8; WindowKind::ALL.len()],
    /// Whether some count has come so far that a few charges more might not fit.
    is_nearly_full: bool,
}

impl Windows {
    /// How many there are.
    pub const fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Every window, in the order in which they were opened.
    pub fn iter(&self) -> impl Iterator<Item = WindowCounters> + '_ {
        let window = |position| {
            let (kind, start): (WindowCode, Timestamp) = self.heads[position];
            WindowCounters { kind, start, counters: self.counters(position) }
        };
        (0..self.len()).map(window)
    }

    /// The starts of the windows of a kind.
    pub fn starts(&self, kind: WindowKind) -> impl Iterator<Item = Timestamp> + '_ {
        self.heads.iter().filter(move |(code, _)| code.0 == kind).map(|(_, start)| *start)
    }

    /// Asks the processor for all windows.
    pub fn prefetch(&self) {
        prefetch(&self.heads[..]);
        prefetch(&self.counts[..]);
    }

    /// Where the window of `kind` that begins at `start` is kept.
    #[inline]
    pub fn place(&self, kind: WindowKind, start: Timestamp) -> Place {
        let guess = usize::from(self.opened_last[kind as usize]);
        match self.heads.get(guess) {
            Some(head) if *head == (WindowCode(kind), start) => Place::Row(guess),
            _ => self.search(kind, start),
        }
    }

    fn search(&self, kind: WindowKind, start: Timestamp) -> Place {
        let mut newer = 0;
        for (position, (code, known)) in self.heads.iter().enumerate() {
            if code.0 == kind {
                if *known == start {
                    return Place::Row(position);
                }
                newer += usize::from(*known > start);
            }
        }
        if newer >= 2 { Place::Older } else { Place::New }
    }

    /// Opens a window and returns its position, and the window that had to leave for it.
    pub fn open(&mut self, kind: WindowKind, start: Timestamp) -> (usize, Option<WindowCounters>) {
        let of_kind = || (0..self.len()).filter(|position| self.heads[*position].0.0 == kind);
        let oldest = of_kind().min_by_key(|position| self.heads[*position].1).filter(|_| of_kind().count() >= 2);
        let Some(oldest) = oldest else {
            let width = self.width();
            // The first event opens the windows that every event is counted in; where others are used, or when those end,
            // there will be two of a kind.
            let expected = if self.is_empty() { Counted::KINDS.len() } else { 2 };
            if self.heads.len() == self.heads.capacity() {
                self.heads.reserve_exact(expected);
                self.counts.reserve_exact(expected * width);
            }
            self.heads.push((WindowCode(kind), start));
            self.counts.resize(self.counts.len() + width, 0);
            self.guess(kind, self.len() - 1);
            return (self.len() - 1, None);
        };
        self.guess(kind, oldest);
        let (code, left) = std::mem::replace(&mut self.heads[oldest], (WindowCode(kind), start));
        let counters = self.counters(oldest);
        self.counts_mut(oldest).fill(0);
        (oldest, Some(WindowCounters { kind: code, start: left, counters }))
    }

    /// Sets all counts of a window.
    pub fn set(&mut self, position: usize, counters: &Counters) {
        self.counts_mut(position).fill(0);
        let amounts = self.amounts(counters, counters.mask());
        self.add(position, &amounts);
    }

    /// Drops the windows of a kind.
    pub fn drop_kind(&mut self, kind: WindowKind) {
        if self.starts(kind).next().is_some() {
            *self = self.iter().filter(|window| window.kind.0 != kind).collect();
        }
    }

    /// Kind and start of a window.
    pub fn head(&self, position: usize) -> (WindowCode, Timestamp) {
        self.heads[position]
    }

    /// All counts of a window.
    pub fn counters(&self, position: usize) -> Counters {
        let mut counters = Counters::ZERO;
        let counts = &self.counts[position * self.width()..];
        for (meter, count) in self.columns.meters().zip(counts) {
            counters.set(Meter::ALL[meter], *count);
        }
        counters
    }

    /// One count of a window.
    pub fn count(&self, position: usize, meter: Meter) -> i64 {
        meter.of(|stored| self.columns.column(stored).map_or(0, |column| self.counts[position * self.width() + column]))
    }

    /// All counts of the window of `kind` that begins at `start`, if it is kept here.
    pub fn counters_of(&self, kind: WindowKind, start: Timestamp) -> Option<Counters> {
        match self.place(kind, start) {
            Place::Row(position) => Some(self.counters(position)),
            Place::Older | Place::New => None,
        }
    }

    /// One count of the window of `kind` that begins at `start`, if it is kept here.
    pub fn count_of(&self, kind: WindowKind, start: Timestamp, meter: Meter) -> Option<i64> {
        match self.place(kind, start) {
            Place::Row(position) => Some(self.count(position, meter)),
            Place::Older | Place::New => None,
        }
    }

    /// A charge of the meters in `mask` ([`Counters::mask`]), as it is added to windows of this row. Gives each of them a
    /// column.
    #[inline]
    pub fn amounts<'a>(&mut self, charge: &'a Counters, mask: u32) -> Amounts<'a> {
        let mut amounts = Amounts::new(charge, self.columns);
        self.lay_out(&mut amounts, mask);
        amounts
    }

    /// Lays a charge of the meters in `mask` out as it is added to windows of this row, unless it is so already: rows that
    /// an event is charged to mostly have the same columns.
    #[inline]
    pub fn lay_out(&mut self, amounts: &mut Amounts<'_>, mask: u32) {
        if mask & !self.columns.mask() != 0 {
            self.widen(mask);
        }
        if amounts.columns != self.columns {
            *amounts = Amounts::new(amounts.charge, self.columns);
        }
    }

    /// Adds a charge to a window. It was checked before that it fits every window of its scopes (see [`Windows::fits`]).
    ///
    /// # Panics
    /// If the row got more columns since the charge was laid out.
    pub fn add(&mut self, position: usize, amounts: &Amounts<'_>) {
        assert_eq!(amounts.columns, self.columns, "a charge is laid out as the columns of its row");
        let mut high = 0;
        for (count, amount) in self.counts_mut(position).iter_mut().zip(amounts.as_slice()) {
            // Half the instructions of an addition that saturates.
            *count = count.checked_add(*amount).unwrap_or_else(|| saturated(*count, *amount));
            high |= *count;
        }
        self.is_nearly_full |= high >= NEARLY_FULL;
    }

    /// Whether a charge might not fit: then [`Windows::fits`] has to be asked.
    pub const fn is_nearly_full(&self) -> bool {
        self.is_nearly_full
    }

    /// Whether every count of a window takes what a charge has of it (invariant U-2).
    pub fn fits(&self, position: usize, charge: &Counters) -> bool {
        let counts = &self.counts[position * self.width()..];
        self.columns.meters().zip(counts).all(|(meter, count)| count.checked_add(charge.at(meter)).is_some())
    }

    /// The session that usage at `time` belongs to: the kept one that contains it; after all of them, the next; else the
    /// first one that begins less than five hours later; else one of its own that is over.
    pub fn session(&self, time: Timestamp) -> Session {
        let kept = || self.starts(WindowKind::Session);
        let of = |start: Timestamp| Window { start, end: start.plus_ms(SESSION_MS) };
        // The first one that ends after `time` either contains it or begins later.
        match kept().filter(|start| time < start.plus_ms(SESSION_MS)).min() {
            None => Session { window: session_from(time), is_over: false },
            Some(start) if start.since_ms(time) < SESSION_MS => Session { window: of(start), is_over: false },
            Some(_) => Session { window: session_from(time), is_over: true },
        }
    }

    fn guess(&mut self, kind: WindowKind, position: usize) {
        self.opened_last[kind as usize] = u8::try_from(position).unwrap_or(u8::MAX);
    }

    /// How many meters have a column.
    pub const fn width(&self) -> usize {
        self.columns.width()
    }

    fn counts_mut(&mut self, position: usize) -> &mut [i64] {
        let width = self.width();
        &mut self.counts[position * width..(position + 1) * width]
    }

    /// Gives more meters a column.
    fn widen(&mut self, more: u32) {
        let before = self.clone();
        self.columns = Columns::of(before.columns.mask() | more);
        self.counts = vec![0; self.len() * self.width()];
        for position in 0..self.len() {
            let counters = before.counters(position);
            self.add(position, &Amounts::new(&counters, self.columns));
        }
    }
}

/// From here on counts are looked at before anything is added: a charge is below 2^53, and an adjustment as well.
const NEARLY_FULL: i64 = 1 << 61;

#[cold]
fn saturated(count: i64, amount: i64) -> i64 {
    count.saturating_add(amount)
}

/// By what they hold, whichever meters have a column.
impl PartialEq for Windows {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Windows {}

impl std::fmt::Debug for Windows {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

impl FromIterator<WindowCounters> for Windows {
    /// Takes no more memory than they need: most rows are loaded and never grow.
    fn from_iter<T: IntoIterator<Item = WindowCounters>>(windows: T) -> Self {
        let windows: Vec<WindowCounters> = windows.into_iter().collect();
        let mask = windows.iter().fold(0, |mask, window| mask | window.counters.mask());
        let mut all = Self { columns: Columns::of(mask), ..Self::default() };
        all.heads.reserve_exact(windows.len());
        all.counts = vec![0; windows.len() * all.width()];
        for (position, window) in windows.iter().enumerate() {
            all.guess(window.kind.0, position);
            all.heads.push((window.kind, window.start));
            all.add(position, &Amounts::new(&window.counters, all.columns));
        }
        all
    }
}

impl Serialize for Windows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Windows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<WindowCounters>::deserialize(deserializer).map(Self::from_iter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_newest_windows_of_a_kind_are_kept() {
        let hour = |n: i64| Timestamp::from_ms(n * 3_600_000);
        let mut windows = Windows::default();
        assert_eq!(windows.place(WindowKind::Hour, hour(5)), Place::New);
        assert_eq!(windows.open(WindowKind::Hour, hour(5)), (0, None));
        assert_eq!(windows.open(WindowKind::Day, hour(0)), (1, None));
        assert_eq!(windows.place(WindowKind::Hour, hour(3)), Place::New);
        assert_eq!(windows.open(WindowKind::Hour, hour(6)), (2, None));
        assert_eq!(windows.place(WindowKind::Hour, hour(5)), Place::Row(0));
        assert_eq!(windows.place(WindowKind::Hour, hour(4)), Place::Older);
        let (position, left) = windows.open(WindowKind::Hour, hour(7));
        assert_eq!((position, left.map(|window| window.start)), (0, Some(hour(5))));
    }

    /// Columns come as meters do, in any order, and a window that leaves takes its counts along.
    #[test]
    fn u_2_every_window_keeps_its_own_counts() {
        let at = |n: i64| Timestamp::from_ms(n * 3_600_000);
        let charge = |counts: &[(Meter, i64)]| {
            let mut charge = Counters::ZERO;
            counts.iter().for_each(|(meter, count)| charge.set(*meter, *count));
            charge
        };
        let mut windows = Windows::default();
        for (position, counts) in [
            (0, vec![(Meter::CreditsMicro, 7)]),
            (1, vec![(Meter::InputTokens, 3), (Meter::Builders, 1)]),
            (0, vec![(Meter::InputTokens, 2), (Meter::PrepaidCreditsMicro, 4)]),
            (1, vec![(Meter::PostpaidCreditsMicro, i64::MAX)]),
        ] {
            if position == windows.len() {
                windows.open(WindowKind::Hour, at(position as i64));
            }
            let charge = charge(&counts);
            let amounts = windows.amounts(&charge, charge.mask());
            windows.add(position, &amounts);
        }
        let first = charge(&[(Meter::CreditsMicro, 7), (Meter::InputTokens, 2), (Meter::PrepaidCreditsMicro, 4)]);
        assert_eq!(windows.counters(0), first);
        for meter in Meter::ALL {
            assert_eq!(windows.count(0, meter), first.get(meter), "{}", meter.name());
        }
        let more = charge(&[(Meter::PostpaidCreditsMicro, 1)]);
        assert!(windows.fits(0, &more) && !windows.fits(1, &more));
        let packed = rmp_serde::to_vec(&windows).expect("windows pack");
        assert_eq!(rmp_serde::from_slice::<Windows>(&packed).expect("windows unpack"), windows);
        let (position, left) = windows.open(WindowKind::Hour, at(2));
        assert_eq!((position, left.map(|window| window.counters)), (0, Some(first)));
        assert_eq!(windows.counters(0), Counters::ZERO);
    }

    /// An older event falls into the session that follows it; no session moves.
    #[test]
    fn b1_sessions_open_with_an_event_outside_of_one_and_never_move() {
        let at = |hours: i64| Timestamp::from_ms(hours * 3_600_000);
        let mut windows = Windows::default();
        let check = |windows: &Windows, time: i64, start: i64, is_over: bool| {
            let session = windows.session(at(time));
            assert_eq!((session.window.start, session.is_over), (at(start), is_over), "{time}");
        };
        check(&windows, 10, 10, false);
        windows.open(WindowKind::Session, at(10));
        for (time, start) in [(10, 10), (14, 10), (9, 10), (6, 10), (15, 15)] {
            check(&windows, time, start, false);
        }
        check(&windows, 5, 5, true);
        windows.open(WindowKind::Session, at(25));
        for (time, start, is_over) in [(21, 25, false), (20, 20, true), (14, 10, false), (30, 30, false)] {
            check(&windows, time, start, is_over);
        }
    }
}
