//! Tokio drivers, listeners, ready-made services and clients over the mailwright machines.
