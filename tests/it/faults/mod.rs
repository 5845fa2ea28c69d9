//! What goes wrong around a gateway, and what it does about it.

mod host_clock;
mod host_disk;
mod host_lock;
mod host_panic;
mod host_poison;
