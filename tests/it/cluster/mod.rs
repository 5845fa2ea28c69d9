//! Several gateways, each the real program, with one account: the sandbox in this process is their WeChat.

mod bench;
mod limits;
mod tokens;
