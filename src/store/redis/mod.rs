//! Redis: tokens and used nonces shared between nodes. SQL stays the truth; whatever is here may be flushed at any moment.

mod link;
mod nonces;
mod tokens;

pub use nonces::RedisNonces;
pub use tokens::RedisTokens;
