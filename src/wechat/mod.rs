//! WeChat's protocol as values: bytes ⇄ values, no I/O.

pub mod answer;
pub mod crypt;
pub mod envelope;
pub mod errcode;
pub mod event;
pub mod inbound;
pub mod keyword;
pub mod message;
pub mod reply;
pub mod send;
pub mod signature;
pub mod told;
pub mod tree;
