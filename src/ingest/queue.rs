//! One of librdkafka's queues, drained in batches: the batch call has no safe wrapper, and costs less than half of polling one
//! message at a time.

#![allow(unsafe_code, reason = "librdkafka's batch queue has no safe wrapper")]

use std::{ffi::CString, time::Duration};

use rdkafka::{
    bindings as native,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
};

use super::batch::Batch;

/// A queue, which must be dropped before its client.
pub struct Queue(*mut native::rd_kafka_queue_t);

impl Queue {
    /// A queue of its own.
    pub fn new<C: ConsumerContext>(client: &BaseConsumer<C>) -> Self {
        // SAFETY: the client lives.
        Self(unsafe { native::rd_kafka_queue_new(client.client().native_ptr()) })
    }

    /// That which the messages of a partition come by.
    pub fn of_partition<C: ConsumerContext>(client: &BaseConsumer<C>, topic: &str, partition: i32) -> Self {
        let topic = CString::new(topic).expect("Kafka's topic names have no zero byte");
        // SAFETY: the client lives, and the name is a C string.
        let queue =
            unsafe { native::rd_kafka_queue_get_partition(client.client().native_ptr(), topic.as_ptr(), partition) };
        assert!(!queue.is_null(), "a consumer has a queue for each partition");
        Self(queue)
    }

    /// Lets what comes by this queue come by `target`.
    pub fn forward_to(&self, target: &Self) {
        // SAFETY: both queues live.
        unsafe { native::rd_kafka_queue_forward(self.0, target.0) }
    }

    /// Adds up to `most` messages; an empty queue is waited on for `wait`. Returns whether anything was taken.
    pub fn take_into(&self, batch: &mut Batch, wait: Duration, most: usize) -> bool {
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue lives, there is room for `most` pointers, and librdkafka writes as many as it says.
        let taken =
            unsafe { batch.fetch(most, |room| native::rd_kafka_consume_batch_queue(self.0, wait_ms, room, most)) };
        taken > 0
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the queue was made by us and is given back once.
        unsafe { native::rd_kafka_queue_destroy(self.0) }
    }
}
