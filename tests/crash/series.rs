//! A series of cycles in one place, so that each crash also happens over the history of those before.

use rand::RngExt;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::aim::Aim;
use crate::books::Kind;
use crate::cycle::Outcome;
use crate::stay::Stay;

pub(crate) struct Series {
    pub(crate) kind: Kind,
    pub(crate) seed: u64,
    /// Seed and number give the same plan again: aims, counts, load. (The moments are the machine's.)
    pub(crate) number: usize,
    pub(crate) aims: Vec<Aim>,
}

impl Series {
    /// Ends with the first cycle that is not clean; → what was wrong with it. Its folder stays then.
    pub(crate) async fn run(&self, mut each: impl FnMut(Aim, &Outcome)) -> Option<String> {
        let number = u64::try_from(self.number).unwrap_or(u64::MAX);
        let mut rng = StdRng::seed_from_u64(self.seed.wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        let mut stay = Stay::begin(self.kind, &mut rng).await;
        for (cycle, aim) in self.aims.iter().enumerate() {
            let outcome = stay.cycle(*aim, rng.random()).await;
            each(*aim, &outcome);
            if !outcome.count.is_clean() {
                let folder = stay.place.folder.path().to_owned();
                let problem = describe(&outcome);
                stay.end(true).await;
                let Self { seed, number, .. } = self;
                let aim = aim.name();
                return Some(format!(
                    "seed {seed}, series {number}, cycle {cycle}, aim {aim}, folder {}\n{problem}",
                    folder.display()
                ));
            }
        }
        stay.end(false).await;
        None
    }
}

fn describe(outcome: &Outcome) -> String {
    let count = &outcome.count;
    let lines = [("lost", &count.lost), ("doubled", &count.doubled), ("fault", &count.faults)];
    let lines = lines.into_iter().flat_map(|(what, which)| which.iter().map(move |line| format!("  {what}: {line}")));
    lines.collect::<Vec<_>>().join("\n")
}
