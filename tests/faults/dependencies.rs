//! E11, E15: Kafka and Redis are away, full, or not what they were.
