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

impl<T> Page<T> {
    /// Of up to `limit` + 1 rows: when there is one too many, there is a next page.
    pub fn cut(mut items: Vec<T>, limit: u32, key: impl FnOnce(&T) -> String) -> Self {
        let limit = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next = if has_more { items.last().map(key) } else { None };
        Self { items, next }
    }
}
