//! Redis: tokens shared between nodes. SQL stays the truth; whatever is here may be flushed at any moment.

mod link;
mod tokens;

pub use tokens::RedisTokens;
