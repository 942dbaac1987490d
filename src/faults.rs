//! What tests break: defences that can be switched off, and places at which a process dies.
//!
//! A test of a defence proves something only if it fails without it (a *control run*). So each defence asks here whether
//! it holds, and each step between reading a batch and forgetting its signals says here that it was reached. In a build
//! without the feature `faults`, which is every build but those of tests, all of this is constant and vanishes.

/// A defence of exactly-once (design section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defence {
    /// An event whose id is known is a duplicate.
    Ids,
    /// Ids are forgotten by the low water of all partitions, and not by the clock.
    LowWater,
    /// What is older than the ids that are kept is not decided.
    Overtaken,
    /// Progress never goes back on a primary.
    Monotone,
    /// A refused commit costs the account everything that was held of it, ids included.
    DropRefused,
    /// Progress is written after what it covers.
    ProgressLast,
    /// Progress is refused under another fence than the one that positions were read with.
    Fence,
    /// A fence that moved with its slots holds only while the primaries of before are there, and no others.
    Lineages,
    /// Progress is deferred after a failover until no other failover can go back behind it.
    Deferral,
    /// Tags that do not fit together are read again.
    ReadAgain,
    /// The smallest progress of all primaries counts.
    SmallestProgress,
    /// Nothing that was held is believed after a rewind.
    DropAll,
    /// Signals that a crash left in the outbox are published.
    Outbox,
    /// Accounts are used only if they come from where positions were read.
    LoadFenced,
    /// Only those signals are forgotten that this worker saw acknowledged.
    ForgetOwn,
    /// Signals and dead letters are acknowledged before progress is written.
    Acknowledged,
    /// The pauses topic is read back and corrected.
    Readback,
    /// Functions that the server has lost are loaded again.
    Functions,
    /// A connection to Redis on which a call was not answered is replaced.
    Replace,
    /// A partition that gives nothing, although the broker holds more, is assigned anew.
    Silence,
    /// Usage waits for control records that have to be seen before it, also if they do not come.
    ControlFirst,
    /// A log that does not hold what comes next stops the process.
    LogBounds,
    /// An account that cannot be decided is parked, and the others go on.
    Quarantine,
    /// Who is refused an account again and again gets it to itself for a moment.
    Leases,
    /// A Redis that cannot write now is waited for.
    Waits,
    /// A process that is asked to stop finishes its batches and leaves its group.
    GoodOrder,
}

impl Defence {
    /// Every defence.
    pub const ALL: [Self; 26] = [
        Self::Ids,
        Self::LowWater,
        Self::Overtaken,
        Self::Monotone,
        Self::DropRefused,
        Self::ProgressLast,
        Self::Fence,
        Self::Lineages,
        Self::Deferral,
        Self::ReadAgain,
        Self::SmallestProgress,
        Self::DropAll,
        Self::Outbox,
        Self::LoadFenced,
        Self::ForgetOwn,
        Self::Acknowledged,
        Self::Readback,
        Self::Functions,
        Self::Replace,
        Self::Silence,
        Self::ControlFirst,
        Self::LogBounds,
        Self::Quarantine,
        Self::Leases,
        Self::Waits,
        Self::GoodOrder,
    ];
}

/// A step between reading and forgetting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Control records were read.
    ControlRead,
    /// A batch was taken.
    Taken,
    /// It was decoded.
    Decoded,
    /// Accounts were loaded.
    Loaded,
    /// Accounts have decided, and nothing of it is committed.
    Decided,
    /// The commits of some accounts are written.
    FlightWritten,
    /// All commits are written.
    Committed,
    /// Signals are acknowledged.
    SignalsSent,
    /// Dead letters are acknowledged.
    DeadLettersSent,
    /// Progress is about to be written.
    BeforeProgress,
    /// Progress is written.
    ProgressWritten,
    /// Offsets were given to Kafka.
    OffsetsCommitted,
    /// Signals are about to be forgotten.
    BeforeForgetting,
    /// Signals are forgotten.
    Forgotten,
    /// A due record is sent, and its entry still in the index.
    DueSent,
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 15] = [
        Self::ControlRead,
        Self::Taken,
        Self::Decoded,
        Self::Loaded,
        Self::Decided,
        Self::FlightWritten,
        Self::Committed,
        Self::SignalsSent,
        Self::DeadLettersSent,
        Self::BeforeProgress,
        Self::ProgressWritten,
        Self::OffsetsCommitted,
        Self::BeforeForgetting,
        Self::Forgotten,
        Self::DueSent,
    ];
}

/// What is left out, to measure what it costs (`bursar bench`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// Nothing: Bursar as it is.
    Nothing,
    /// The ids of events.
    Ids,
    /// All that only serves to count exactly once: ids, provenance, progress and outbox.
    Once,
}

#[cfg(not(feature = "faults"))]
mod what_is_set {
    use super::{Defence, LeftOut, Step};

    /// Leaves something out from now on. Returns whether this build can.
    pub const fn leave_out(what: LeftOut) -> bool {
        matches!(what, LeftOut::Nothing)
    }

    /// Always.
    #[inline(always)]
    pub const fn remembers_ids() -> bool {
        true
    }

    /// Always.
    #[inline(always)]
    pub const fn holds(_: Defence) -> bool {
        true
    }

    /// Always.
    #[inline(always)]
    pub const fn once() -> bool {
        true
    }

    /// Nothing happens.
    #[inline(always)]
    pub const fn reach(_: Step) {}

    /// Nothing happens.
    #[inline(always)]
    pub const fn taste(_: &str) {}

    /// Never.
    #[inline(always)]
    pub const fn sticks(_: &str, _: i32) -> bool {
        false
    }
}

#[cfg(feature = "faults")]
mod what_is_set {
    use std::{
        cell::Cell,
        sync::{
            LazyLock,
            atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
        },
    };

    use super::{Defence, LeftOut, Step};

    /// `BURSAR_FAULTS_OFF=Fence,LoadFenced`: defences that do not hold in this process.
    static OFF: LazyLock<Vec<Defence>> = LazyLock::new(|| {
        let names = std::env::var("BURSAR_FAULTS_OFF").unwrap_or_default();
        let find = |name: &str| Defence::ALL.into_iter().find(|defence| format!("{defence:?}") == name);
        let names = names.split(',').filter(|name| !name.is_empty());
        names.map(|name| find(name).unwrap_or_else(|| panic!("BURSAR_FAULTS_OFF: {name} is no defence"))).collect()
    });

    /// `BURSAR_FAULTS_POISON=acme`: deciding for this organization panics.
    static POISON: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("BURSAR_FAULTS_POISON").ok());

    /// `BURSAR_FAULTS_STICKS=usage/0`: this partition is not fetched after its first assignment; `group/0`: one
    /// client does not find the group.
    static STICKS: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("BURSAR_FAULTS_STICKS").ok());
    static HAS_STUCK: AtomicBool = AtomicBool::new(false);

    /// A step, and at which time it is reached something happens: `Committed:3` is the third.
    struct Place {
        step: Step,
        nth: u32,
        reached: AtomicU32,
    }

    /// `BURSAR_FAULTS_DIE_AT=Committed:3`: the process dies there.
    static DIE_AT: LazyLock<Option<Place>> = LazyLock::new(|| Place::of("BURSAR_FAULTS_DIE_AT"));

    /// `BURSAR_FAULTS_STOP_AT=Decided:3`: the process stops there as by SIGSTOP, until somebody wakes it.
    static STOP_AT: LazyLock<Option<Place>> = LazyLock::new(|| Place::of("BURSAR_FAULTS_STOP_AT"));

    impl Place {
        fn of(variable: &str) -> Option<Self> {
            let text = std::env::var(variable).ok()?;
            let (name, nth) = text.split_once(':').unwrap_or((&text, "1"));
            let step = Step::ALL.into_iter().find(|step| format!("{step:?}") == name);
            let step = step.unwrap_or_else(|| panic!("{variable}={text} names no step"));
            let nth = nth.parse().unwrap_or_else(|_| panic!("{variable}={text} has no number"));
            Some(Self { step, nth, reached: AtomicU32::new(0) })
        }

        fn is_reached(&self, step: Step) -> bool {
            self.step == step && self.reached.fetch_add(1, Ordering::SeqCst) + 1 == self.nth
        }
    }

    thread_local! {
        static OFF_HERE: Cell<Option<Defence>> = const { Cell::new(None) };
    }

    /// Switches a defence off in this thread, or all of them on again: for simulations, which have one thread each.
    pub fn switch_off(defence: Option<Defence>) {
        OFF_HERE.set(defence);
    }

    static LEFT_OUT: AtomicU8 = AtomicU8::new(LeftOut::Nothing as u8);

    /// Leaves something out in the whole process, from now on. Returns whether this build can, which this one does.
    pub fn leave_out(what: LeftOut) -> bool {
        LEFT_OUT.store(what as u8, Ordering::Relaxed);
        true
    }

    /// Whether everything is counted exactly once.
    pub fn once() -> bool {
        LEFT_OUT.load(Ordering::Relaxed) != LeftOut::Once as u8
    }

    /// Whether events have ids.
    pub fn remembers_ids() -> bool {
        LEFT_OUT.load(Ordering::Relaxed) == LeftOut::Nothing as u8
    }

    /// Whether a defence holds.
    pub fn holds(defence: Defence) -> bool {
        OFF_HERE.get() != Some(defence) && !OFF.contains(&defence)
    }

    /// Panics, if the organization is the poisoned one.
    pub fn taste(organization_id: &str) {
        assert!(POISON.as_deref() != Some(organization_id), "poisoned, as BURSAR_FAULTS_POISON says");
    }

    /// Whether a partition is not to be fetched, or the group not to be found, this time.
    pub fn sticks(topic: &str, partition: i32) -> bool {
        STICKS.as_ref().is_some_and(|place| *place == format!("{topic}/{partition}"))
            && !HAS_STUCK.swap(true, Ordering::SeqCst)
    }

    /// Dies or stops, if this is the place.
    pub fn reach(step: Step) {
        if DIE_AT.as_ref().is_some_and(|place| place.is_reached(step)) {
            eprintln!("dying at {step:?}, as BURSAR_FAULTS_DIE_AT says");
            std::process::abort();
        }
        if STOP_AT.as_ref().is_some_and(|place| place.is_reached(step)) {
            eprintln!("stopping at {step:?}, as BURSAR_FAULTS_STOP_AT says");
            let itself = std::process::id().to_string();
            let sent = std::process::Command::new("kill").args(["-s", "STOP", &itself]).status();
            assert!(sent.is_ok_and(|sent| sent.success()), "it cannot stop itself");
        }
    }
}

pub use what_is_set::*;
