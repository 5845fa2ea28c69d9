//! A model of WeChat: `wxgate sandbox`, `wxgate dev` and the gateway's own wire tests use it.
//!
//! In: a [`SandboxConfig`] and a clock. Out: [`Sandbox`], to be served ([`Sandbox::serve`]) and driven, in process or over
//! HTTP. Only what `serve` answers can cut connections; [`Sandbox::router`] alone answers 502 there.
//!
//! # The WeChat side
//!
//! `GET /cgi-bin/token` · `POST /cgi-bin/stable_token` · `POST /cgi-bin/message/template/send` ·
//! `POST /cgi-bin/message/custom/send` · `POST /cgi-bin/openapi/quota/get` · `POST /cgi-bin/clear_quota` ·
//! `POST /cgi-bin/openapi/rid/get` · `GET /cgi-bin/getcallbackip` · `GET /cgi-bin/get_api_domain_ip` ·
//! `POST /cgi-bin/callback/check` · `GET /cgi-bin/template/get_all_private_template` · `GET /cgi-bin/user/info`
//!
//! # Recipients with a script
//!
//! | openid (a suffix such as `-2` is allowed) | what happens |
//! | --- | --- |
//! | `sim-ok` | taken, receipt `success` |
//! | `sim-user-block`, `sim-system-failed` | taken, never shown, receipt `failed:user block`, `failed: system failed` |
//! | `sim-not-subscribed`, `sim-invalid`, `sim-quota` | 43004, 40003, 45009 |
//! | `sim-busy` | -1 twice for each message, then as `sim-ok` |
//! | `sim-slow-8s` | taken at once, answered after 8 s |
//! | `sim-no-receipt` | taken and shown, no receipt |
//! | `sim-reset` | taken, then the connection is cut; the same `client_msg_id` again gets the answer to a duplicate |
//! | `sim-token-once` | 40001 once for each message: its token is superseded, a fresh one works |
//! | `sim-garbage` | HTML, nothing is taken |
//!
//! Anybody else is a follower.
//!
//! # The control API
//!
//! Bodies and answers are JSON; a bad request gets 400 and `{"error":"…"}`. `account` (an appid) may be left out.
//!
//! | route | what for |
//! | --- | --- |
//! | `GET /sandbox` | the page: a phone, faults, tokens |
//! | `GET /sandbox/messages?openid=&account=&limit=` | messages taken, newest last (limit 100) |
//! | `GET /sandbox/deliveries?openid=` | openid → how often the phone showed a push |
//! | `GET /sandbox/chat?openid=` | what the person and the account said |
//! | `GET /sandbox/users?account=` | persons somebody spoke of |
//! | `POST /sandbox/users` | `{"openid","action":"follow"\|"unfollow"\|"blacklist"\|"unblacklist"}` |
//! | `GET /sandbox/faults` | faults switched on |
//! | `POST /sandbox/faults` | a [`Fault`] → `{"id"}` |
//! | `DELETE /sandbox/faults`, `DELETE /sandbox/faults/{id}` | switches all or one off |
//! | `GET /sandbox/tokens` | how often tokens were asked for |
//! | `POST /sandbox/tokens/expire` | tokens so far give 42001 |
//! | `POST /sandbox/tokens/revoke` | tokens so far give 40001 |
//! | `POST /sandbox/tokens/refuse` | the same, and normal mode goes on returning the refused token |
//! | `GET /sandbox/settings`, `POST /sandbox/settings` | [`Settings`]; a POST changes the members that it names |
//! | `POST /sandbox/quota` | `{"used":N}`: template sends of today that count as used |
//! | `GET /sandbox/callback-target`, `POST /sandbox/callback-target` | where callbacks go: `{"url","token","encoding_aes_key","mode","format"}`; POST `null` for none |
//! | `POST /sandbox/callbacks` | a [`CallbackRequest`] → what the gateway answered |
//! | `POST /sandbox/receipts` | sends the receipts that wait (`receipts: manual`) |
//! | `GET /sandbox/info` | title, accounts, scripted recipients, templates |
//! | `POST /sandbox/reset` | as after the start; targets and settings stay |

mod api;
mod calendar;
mod call;
mod callback;
mod config;
mod control;
mod draft;
mod faults;
mod keywords;
mod memory;
mod model;
mod receipts;
mod recipients;
mod router;
mod send;
mod sender;
mod serve;
mod taken;
mod templates;
#[cfg(test)]
mod tests;
mod tokens;
mod wire;
mod world;

pub use callback::{Broken, CallbackRequest};
pub use config::{
    CallbackTarget, DEMO_APP_ID, DEMO_APP_SECRET, DEMO_ORIGINAL_ID, DuplicateAnswer, Receipts, SandboxAccount,
    SandboxConfig, Settings,
};
pub use faults::{ArmedFault, Fault, FaultKind};
pub use model::{Sandbox, UserChange};
pub use recipients::scripted_recipients;
pub use sender::CallbackResult;
pub use taken::{Channel, TakenMessage};
pub use tokens::TokenCalls;
pub use world::{ChatLine, Follower};
