//! What the gateway is made of.

use std::collections::BTreeSet;

/// The lock file has every crate of every target and feature.
#[test]
fn no_openssl_and_no_second_cryptography_is_in_the_lock() {
    let lock: toml::Table = std::fs::read_to_string("Cargo.lock").unwrap().parse().unwrap();
    let names: BTreeSet<&str> =
        lock["package"].as_array().unwrap().iter().map(|package| package["name"].as_str().unwrap()).collect();
    assert!(names.contains("rustls") && names.contains("ring"), "the test reads the right file");
    for banned in ["openssl", "openssl-sys", "native-tls", "tokio-native-tls", "aws-lc-rs", "aws-lc-sys", "boring"] {
        assert!(!names.contains(banned), "{banned}: `cargo tree --invert {banned} --target all` tells who wants it");
    }
}

#[test]
fn the_bans_are_those_of_the_page() {
    let deny: toml::Table = std::fs::read_to_string("deny.toml").unwrap().parse().unwrap();
    let banned: Vec<&str> =
        deny["bans"]["deny"].as_array().unwrap().iter().map(|ban| ban["crate"].as_str().unwrap()).collect();
    for needed in ["openssl", "openssl-sys", "native-tls", "aws-lc-sys"] {
        assert!(banned.contains(&needed), "{needed} is not banned in deny.toml");
    }
}
