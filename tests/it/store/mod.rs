//! The contract of each door, once for every backend.
