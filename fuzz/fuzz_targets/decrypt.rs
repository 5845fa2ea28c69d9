//! Any cipher text: no panic. Whatever was sealed opens again, and with a byte changed it does not open to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wxgate_fuzz::wechat::crypt::{EncodingAesKey, decrypt, encrypt};

const APP_ID: &str = "wx0000000000000001";

fuzz_target!(|data: &[u8]| {
    let key = EncodingAesKey::parse("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG").expect("43 letters and digits");
    if let Ok(text) = str::from_utf8(data) {
        let _ = decrypt(&key, text, APP_ID);
    }
    let sealed = encrypt(&key, [7; 16], data, APP_ID);
    assert_eq!(decrypt(&key, &sealed, APP_ID).as_deref(), Ok(data));
    let place = data.first().map_or(0, |byte| usize::from(*byte)) % (sealed.len() - 4);
    let mut changed = sealed.into_bytes();
    changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).expect("still ASCII");
    assert_ne!(decrypt(&key, &changed, APP_ID).as_deref(), Ok(data));
});
