//! Signatures of callbacks.

/// Lower-case hex SHA-1 over the bytewise-sorted, concatenated parts.
pub fn sign(_parts: &[&str]) -> String {
    todo!()
}

/// Constant time. `given` is what the request said.
pub fn verify(_given: &str, _parts: &[&str]) -> bool {
    todo!()
}
