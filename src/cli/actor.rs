//! Who runs a command, for the audit.

use nix::unistd::{Uid, User};

use crate::domain::audit::Actor;

/// `cli:` and the name of the system's user; its number when it has no name.
pub(super) fn of_command() -> Actor {
    let uid = Uid::effective();
    let name = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
    Actor::command(&name)
}
