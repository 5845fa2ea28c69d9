//! The real program, started and killed as an operator does; the sandbox in this process is its WeChat.

mod crash;
mod credentials;
mod logs;
mod nodes;
mod postgres;
pub(crate) mod process;
mod rekey;
mod shutdown;
