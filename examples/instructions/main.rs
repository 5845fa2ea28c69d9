//! Does one case so many times, for `scripts/instructions` to count what that takes. Without a name: the names.
#![expect(clippy::expect_used, reason = "a measurement that cannot be made has nothing to say")]

#[path = "../../benches/cases/mod.rs"]
mod cases;

use std::io::Write;

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(wanted) = arguments.next() else {
        let names: Vec<_> = cases::all().into_iter().map(|(name, _)| name).collect();
        return Ok(writeln!(std::io::stdout(), "{}", names.join("\n"))?);
    };
    let times: usize = arguments.next().context("how often?")?.parse()?;
    let found = cases::all().into_iter().find(|(name, _)| *name == wanted);
    let (_, mut case) = found.with_context(|| format!("there is no case {wanted}"))?;
    (0..times).for_each(|_| case());
    Ok(())
}
