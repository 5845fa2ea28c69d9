//! Keyset pages: a limit, and the key to go on after.

/// What part of a list is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// 1–200.
    pub limit: u32,
    /// The last id of the page before.
    pub after: Option<String>,
}

/// A part of a list; `next` is the key of its last row when there is more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}
