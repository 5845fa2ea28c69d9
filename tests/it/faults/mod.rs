//! What goes wrong around the gateway, on purpose: WeChat, clients, callbacks, the machine.

mod host_clock;
mod host_disk;
mod host_files;
mod host_lock;
mod host_log;
mod host_panic;
mod host_poison;
mod host_restore;
mod host_signals;
mod hostile_bodies;
mod hostile_cipher;
mod hostile_http;
mod hostile_letter;
mod hostile_receipts;
mod hostile_replay;
mod upstream_bodies;
mod upstream_codes;
mod upstream_outage;
mod upstream_reuse;
mod upstream_send;
mod upstream_tally;
mod upstream_token;
mod upstream_unsent;
mod upstream_wechat;
