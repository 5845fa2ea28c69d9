//! What goes wrong around a gateway, and what it does about it.

mod host_clock;
mod host_disk;
mod host_files;
mod host_lock;
mod host_log;
mod host_panic;
mod host_poison;
mod host_restore;
mod host_retention;
mod host_signals;
