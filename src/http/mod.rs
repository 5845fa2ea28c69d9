//! The REST face and WeChat's door.
pub mod api;
mod body;
pub mod code;
mod connection;
pub mod context;
pub mod error;
pub mod extract;
pub mod front;
pub mod server;
pub mod shed;
pub mod state;

use axum::Router;
use error::{ApiError, Code};

/// Unknown paths and wrong methods in our shape (axum adds `Allow`).
fn with_fallbacks<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    let not_found = || async { ApiError::new(Code::NotFound, "there is no such path") };
    let not_allowed =
        || async { ApiError::new(Code::MethodNotAllowed, "this path does not know the method: see Allow") };
    router.fallback(not_found).method_not_allowed_fallback(not_allowed)
}
