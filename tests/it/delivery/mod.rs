//! Accept → WeChat → settled, and what happens when that goes wrong.

mod account_faults;
mod doubt;
mod nodes;
mod pace;
mod quiet;
mod quota;
mod recipients;
mod restart;
mod schedule;
mod tokens;
