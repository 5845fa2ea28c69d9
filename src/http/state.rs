//! What the handlers are built from.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRef;

use super::body::BodyLimits;
use crate::config::http::{ApiConfig, CallbackConfig, ServerConfig};
use crate::domain::clock::Clock;
use crate::services::accept::Accept;
use crate::services::access::Access;
use crate::services::accounts::Register;
use crate::services::audits::Audits;
use crate::services::batches::Batches;
use crate::services::feed::Feed;
use crate::services::health::Health;
use crate::services::receive::Receive;
use crate::services::reports::Reports;
use crate::services::suppressions::Suppressions;
use crate::services::tokens::Tokens;
use crate::services::users::Users;
use crate::services::verify::Verify;
use crate::services::webhooks::admin::WebhookAdmin;
use crate::telemetry::metrics::Metrics;

/// What the faces need. A clone is one count: every request makes several.
#[derive(Clone)]
pub struct HttpState(Arc<HttpParts>);

/// Services, and the sections of the configuration.
pub struct HttpParts {
    pub access: Access,
    pub accept: Accept,
    pub batches: Batches,
    pub reports: Reports,
    pub register: Register,
    pub audits: Audits,
    pub verify: Verify,
    pub receive: Receive,
    pub tokens: Tokens,
    pub users: Users,
    pub feed: Feed,
    pub suppressions: Suppressions,
    pub webhooks: WebhookAdmin,
    pub health: Health,
    pub metrics: Metrics,
    pub clock: Arc<dyn Clock>,
    pub server: Arc<ServerConfig>,
    pub api: Arc<ApiConfig>,
    pub callback: Arc<CallbackConfig>,
}

impl HttpState {
    pub fn new(parts: HttpParts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for HttpState {
    type Target = HttpParts;

    fn deref(&self) -> &HttpParts {
        &self.0
    }
}

macro_rules! parts {
    ($($part:ty => $field:ident),* $(,)?) => {
        $(
            impl FromRef<HttpState> for $part {
                fn from_ref(state: &HttpState) -> Self {
                    state.$field.clone()
                }
            }
        )*
    };
}

parts! {
    Access => access,
    Accept => accept,
    Batches => batches,
    Reports => reports,
    Register => register,
    Audits => audits,
    Tokens => tokens,
    Users => users,
    Feed => feed,
    Suppressions => suppressions,
    WebhookAdmin => webhooks,
    Health => health,
    Metrics => metrics,
    Arc<dyn Clock> => clock,
    Arc<ApiConfig> => api,
}

impl FromRef<HttpState> for BodyLimits {
    fn from_ref(state: &HttpState) -> Self {
        Self {
            bytes: state.server.body_limit_bytes,
            time: state.server.body_timeout,
            stopping: state.accept.stopping.clone(),
        }
    }
}
