//! Any JSON: no panic, no runaway, bounds kept.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wxgate_fuzz::read_body;
use wxgate_fuzz::wechat::tree::Format;

fuzz_target!(|inner: &str| {
    read_body(format!("{{{inner}}}").as_bytes(), Format::Json);
    read_body(format!("{{{inner}").as_bytes(), Format::Json);
});
