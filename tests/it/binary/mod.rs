//! The real program, started and killed as an operator does; the sandbox in this process is its WeChat.

mod audit;
mod crash;
mod credentials;
mod first_start;
mod logs;
mod nodes;
mod postgres;
pub(crate) mod process;
mod rekey;
mod shutdown;
