//! Values and rules of the gateway: no I/O, no async, no clock but the one handed in.

pub mod account;
pub mod attempt;
pub mod audit;
pub mod batch;
pub mod callback;
pub mod caller;
pub mod clock;
pub mod event;
pub mod ids;
pub mod jwt;
pub mod limit;
pub mod message;
pub mod page;
pub mod quiet;
pub mod receipt;
pub mod retry;
pub mod seal;
pub mod secret;
pub mod settlement;
pub mod signed;
pub mod state;
pub mod suppression;
pub mod token;
pub mod trouble;
pub mod user;
pub mod webhook;
