//! Messages as they come in batches, from librdkafka or from memory, and what one of them says.

#![allow(unsafe_code, reason = "librdkafka's batch queue has no safe wrapper")]

use std::{ffi::CStr, slice, sync::Arc};

use rdkafka::bindings as native;

use crate::{
    domain::{event::EVENT_TIMES_MS, time::Timestamp},
    prefetch::prefetch,
};

/// So many messages ahead the processor is asked for the next one.
const AHEAD: usize = 8;

/// Messages taken from a source, given back when dropped.
pub struct Batch {
    /// Those that librdkafka fetched.
    fetched: Vec<*mut native::rd_kafka_message_t>,
    /// Those that a source in memory made.
    made: Vec<Made>,
    /// How many may be taken at once.
    pub capacity: usize,
}

/// A message that no broker sent: of a source in memory.
#[derive(Clone, Debug)]
pub struct Made {
    /// Its topic. Messages of one topic share the text.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// When the broker would have got it.
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value; `None`: the partition was read up to its end, which is the offset.
    pub payload: Option<Vec<u8>>,
}

impl Batch {
    /// Room for up to `capacity` messages per take.
    pub fn new(capacity: usize) -> Self {
        Self { fetched: Vec::new(), made: Vec::new(), capacity }
    }

    /// How many messages it holds.
    pub fn len(&self) -> usize {
        self.fetched.len() + self.made.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a message that was made.
    pub fn push(&mut self, made: Made) {
        self.made.push(made);
    }

    /// The messages, in the order of their partitions.
    pub fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        let fetched = self.fetched.iter().enumerate().map(|(nth, message)| {
            if let Some(soon) = self.fetched.get(nth + AHEAD) {
                // SAFETY: as below.
                prefetch(unsafe { &**soon });
            }
            // SAFETY: librdkafka filled in the pointers, and they live until they are given back.
            Message::Fetched(unsafe { &**message })
        });
        fetched.chain(self.made.iter().map(Message::Made))
    }

    /// Has librdkafka add up to `most` messages: `take` is given the place for their pointers and returns how many it
    /// wrote there. Returns that number.
    ///
    /// # Safety
    /// `take` must write as many valid pointers as it returns, at most `most`, each to be given back once.
    pub unsafe fn fetch(
        &mut self,
        most: usize,
        take: impl FnOnce(*mut *mut native::rd_kafka_message_t) -> isize,
    ) -> usize {
        let before = self.fetched.len();
        self.fetched.reserve(most);
        let taken = usize::try_from(take(self.fetched.spare_capacity_mut().as_mut_ptr().cast())).unwrap_or(0);
        // SAFETY: `take` has written that many pointers behind those that were there.
        unsafe { self.fetched.set_len(before + taken) };
        taken
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        for (nth, message) in self.fetched.iter().enumerate() {
            if let Some(soon) = self.fetched.get(nth + AHEAD) {
                // SAFETY: it is given back after this one.
                prefetch(unsafe { &**soon });
            }
            // SAFETY: each was taken once and is given back once.
            unsafe { native::rd_kafka_message_destroy(*message) }
        }
    }
}

/// A message, or an error of its partition.
#[derive(Clone, Copy)]
pub enum Message<'a> {
    /// From a broker.
    Fetched(&'a native::rd_kafka_message_t),
    /// From memory.
    Made(&'a Made),
}

impl<'a> Message<'a> {
    /// The error that stands here instead of a message.
    pub fn error(&self) -> Option<String> {
        match self {
            Self::Fetched(message) if message.err != native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {
                // SAFETY: librdkafka returns a C string for every error.
                let text = unsafe { CStr::from_ptr(native::rd_kafka_message_errstr(*message)) };
                Some(text.to_string_lossy().into_owned())
            }
            _ => None,
        }
    }

    /// Whether this is no message, but the news that a partition was read up to its end.
    pub fn is_end_of_partition(&self) -> bool {
        match self {
            Self::Fetched(message) => message.err == native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF,
            Self::Made(message) => message.payload.is_none(),
        }
    }

    /// Whether the error says that the position is outside of the log.
    pub fn is_out_of_range(&self) -> bool {
        use native::rd_kafka_resp_err_t as code;
        let codes = [code::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, code::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE];
        matches!(self, Self::Fetched(message) if codes.contains(&message.err))
    }

    /// Tells topics apart without comparing names; valid as long as the batch.
    pub fn topic_handle(&self) -> usize {
        match self {
            Self::Fetched(message) => message.rkt as usize,
            Self::Made(message) => message.topic.as_ptr() as usize,
        }
    }

    /// The topic's name.
    pub fn topic(&self) -> &'a str {
        match self {
            Self::Fetched(message) if message.rkt.is_null() => "",
            // SAFETY: the topic lives as long as the message, and its name is a C string.
            Self::Fetched(message) => {
                unsafe { CStr::from_ptr(native::rd_kafka_topic_name(message.rkt)) }.to_str().unwrap_or("")
            }
            Self::Made(message) => &message.topic,
        }
    }

    /// The partition.
    pub fn partition(&self) -> i32 {
        match self {
            Self::Fetched(message) => message.partition,
            Self::Made(message) => message.partition,
        }
    }

    /// The offset.
    pub fn offset(&self) -> i64 {
        match self {
            Self::Fetched(message) => message.offset,
            Self::Made(message) => message.offset,
        }
    }

    /// Kafka's timestamp; the epoch if the broker gave none.
    pub fn timestamp(&self) -> Timestamp {
        let ms = match self {
            Self::Fetched(message) => {
                let mut kind = native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
                // SAFETY: the message lives, and the kind is ours to write to.
                unsafe { native::rd_kafka_message_timestamp(*message, &mut kind) }
            }
            Self::Made(message) => message.timestamp.ms(),
        };
        // Senders may say any number; the calendar ends with the year 9999.
        Timestamp::from_ms(ms.clamp(EVENT_TIMES_MS.start, EVENT_TIMES_MS.end - 1))
    }

    /// The value; empty for a tombstone.
    pub fn payload(&self) -> &'a [u8] {
        match self {
            Self::Fetched(message) => bytes(message.payload, message.len),
            Self::Made(message) => message.payload.as_deref().unwrap_or_default(),
        }
    }

    /// The key; empty if there is none.
    pub fn key(&self) -> &'a [u8] {
        match self {
            Self::Fetched(message) => bytes(message.key, message.key_len),
            Self::Made(message) => &message.key,
        }
    }
}

fn bytes<'a>(start: *mut std::ffi::c_void, length: usize) -> &'a [u8] {
    if start.is_null() {
        return &[];
    }
    // SAFETY: librdkafka says that there are `length` bytes, which live as long as the message.
    unsafe { slice::from_raw_parts(start.cast::<u8>(), length) }
}
