//! Any answer of WeChat's API: no panic, and nothing secret in its debug form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wxgate_fuzz::wechat::answer::Answer;
use wxgate_fuzz::wechat::errcode;

fuzz_target!(|data: &[u8]| {
    if let Ok(answer) = Answer::parse(data) {
        let _ = (errcode::class(answer.errcode), errcode::class_on_token_call(answer.errcode));
        let _ = errcode::ip_in(&answer.errmsg);
        assert!(answer.access_token.is_none() || format!("{answer:?}").contains("***"));
    }
});
