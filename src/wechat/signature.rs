//! Signatures of callbacks (page "Message push"): token, timestamp, nonce (and `Encrypt`) in, yes or no out.
//!
//! Three parts make `signature`, which does not cover the body; a fourth, the cipher text, makes `msg_signature`.

use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

/// Lower-case hex SHA-1 over the bytewise-sorted, concatenated parts.
pub fn sign(parts: &[&str]) -> String {
    let mut sorted = parts.to_vec();
    sorted.sort_unstable();
    let mut hash = Sha1::new();
    for part in sorted {
        hash.update(part.as_bytes());
    }
    hex::encode(hash.finalize())
}

/// Constant time. `given` is what the request said.
pub fn verify(given: &str, parts: &[&str]) -> bool {
    sign(parts).as_bytes().ct_eq(given.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_parts_are_the_hash_of_nothing() {
        assert_eq!(sign(&[]), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    }

    #[test]
    fn only_the_exact_text_is_accepted() {
        let parts = ["token", "1700000000", "nonce"];
        let right = sign(&parts);
        assert!(verify(&right, &parts));
        for wrong in ["", &right[..39], &format!("{right}0"), &right.to_uppercase(), &"0".repeat(40)] {
            assert!(!verify(wrong, &parts), "{wrong:?}");
        }
    }

    #[test]
    fn parts_are_sorted_by_bytes() {
        assert_eq!(sign(&["b", "B", "1"]), sign(&["1B", "b"]));
        assert_eq!(sign(&["用", "z"]), sign(&["z用"]));
    }

    proptest! {
        #[test]
        fn the_order_of_the_parts_does_not_matter(parts in prop::collection::vec(".{0,20}", 0..6)) {
            let forward: Vec<&str> = parts.iter().map(String::as_str).collect();
            let backward: Vec<&str> = forward.iter().rev().copied().collect();
            prop_assert!(verify(&sign(&forward), &backward));
        }
    }
}
