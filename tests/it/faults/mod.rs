//! What goes wrong around the gateway, on purpose: WeChat, clients, callbacks.

mod hostile_bodies;
mod hostile_cipher;
mod hostile_crowd;
mod hostile_http;
mod hostile_letter;
mod hostile_overload;
mod hostile_receipts;
mod hostile_replay;
mod hostile_storm;
mod upstream_backlog;
mod upstream_bodies;
mod upstream_codes;
mod upstream_outage;
mod upstream_reuse;
mod upstream_send;
mod upstream_tally;
mod upstream_token;
mod upstream_unsent;
mod upstream_wechat;
