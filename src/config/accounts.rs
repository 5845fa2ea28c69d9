//! `[accounts.<name>]` and `[clients.<name>]`.
