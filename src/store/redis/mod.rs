//! Redis: what nodes share. SQL stays the truth; whatever is here may be flushed at any moment.
//!
//! `link`: what every door asks through, and how Redis stands · `line`: its connection · `fault`: what can be wrong ·
//! `probe`: who looks whether it is over · `script`: how scripts are run · `tokens`, `limits`, `nonces`: doors. A door more is a file
//! more: it holds a clone of the link, asks by `Link::run` with the allowance of the request, and goes on without when that fails.

mod fault;
mod limits;
mod line;
mod link;
mod nonces;
mod probe;
mod script;
mod tokens;

pub use limits::RedisLimits;
pub use link::{Link, LinkState};
pub use nonces::RedisNonces;
pub use tokens::RedisTokens;
