//! A Redis that is shared, and one that fails.

mod bench;
mod calm;
mod faults;
mod nodes;
