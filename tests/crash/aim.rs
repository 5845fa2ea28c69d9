//! What a cycle aims at, and the lives of the process that lead there.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use wxgate::failpoint::Point;

/// How the process is to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Aim {
    /// By its own hand at this point.
    Point(Point),
    /// A part of it panics at this point; what is left goes on, and is killed a moment later.
    Panic(Point),
    /// From outside, while WeChat has taken messages and has not answered yet.
    Unanswered,
    /// From outside, at any moment.
    AnyMoment,
}

/// One life of the process, in the order in which things happen.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    /// What is done while it is down.
    pub(crate) before: Option<Deed>,
    pub(crate) armed: Option<Armed>,
    pub(crate) is_loaded: bool,
    /// Messages that wait for the next day's quota are among the load.
    pub(crate) has_quota_met: bool,
    pub(crate) shares_tokens: bool,
    pub(crate) end: End,
}

/// What `WXGATE_FAILPOINT` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Armed {
    pub(crate) point: Point,
    /// Which time it is reached.
    pub(crate) times: u64,
    pub(crate) panics: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It dies at the point that it is armed with.
    AtPoint,
    /// SIGKILL this long after it has panicked there.
    KilledAfterPanic(Duration),
    /// SIGKILL after this long.
    KilledAfter(Duration),
    /// SIGKILL when WeChat, which is slow to answer, has taken so many messages more.
    KilledWhenTaken(u64),
    /// SIGKILL when messages wait for their quota.
    KilledWhenParked,
    /// SIGTERM after this long; then it dies at its point.
    StoppedAfter(Duration),
}

/// What happens to the world between two lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// The time of everything that waits for its quota is over.
    Expire,
    /// Everything that is over is very old.
    Age,
    /// WeChat refuses every token so far and gives another one.
    RevokeTokens,
    /// WeChat refuses every token so far, and gives the refused one again until it is forced.
    RefuseTokens,
}

/// Where on the road a point lies, as far as reaching it goes.
enum Way {
    /// Somewhere under load, among the first so many times.
    Load(u64),
    /// The same, after something has happened to the tokens.
    Tokens(Deed),
    /// At a start after a crash.
    Start(Option<Deed>),
    /// At a stop in good order.
    Stop,
}

const fn way(point: Point) -> Way {
    match point {
        Point::StartMigrated | Point::StartOpened | Point::RescueWritten | Point::RescueKept => Way::Start(None),
        Point::ExpireWritten | Point::ExpireKept => Way::Start(Some(Deed::Expire)),
        Point::ForgetWritten | Point::ForgetKept => Way::Start(Some(Deed::Age)),
        Point::EventsWritten | Point::CommitBefore | Point::CommitAfter => Way::Load(40),
        Point::RequestRead
        | Point::AcceptWritten
        | Point::AcceptKept
        | Point::AnswerReady
        | Point::DispatchBegun
        | Point::DispatchToken
        | Point::CallReady
        | Point::CallHead
        | Point::DispatchAnswered
        | Point::SettleWritten
        | Point::SettleKept => Way::Load(20),
        Point::LeaseWritten
        | Point::LeaseKept
        | Point::CallbackKept
        | Point::CallbackAnswered
        | Point::ReceiptWritten
        | Point::ReceiptKept => Way::Load(8),
        Point::AcceptReplayed | Point::CallbackWritten | Point::ChangeWritten => Way::Load(3),
        Point::CancelKept => Way::Load(2),
        Point::ResolveKept | Point::RetryKept => Way::Load(1),
        Point::TokenFetched | Point::TokenKept | Point::TokenPublished => Way::Tokens(Deed::RevokeTokens),
        Point::TokenMarked => Way::Tokens(Deed::RefuseTokens),
        Point::ClaimWritten
        | Point::ClaimKept
        | Point::DeliveryTried
        | Point::DeliverySettleWritten
        | Point::DeliverySettleKept => Way::Load(8),
        Point::DrainBegun | Point::DrainEnded | Point::DrainClosed => Way::Stop,
    }
}

/// Does the process go on when something panics there, and can it keep its word? A panic between a commit and its answer is
/// told as 500, which would be a lie; nothing of ours can panic there.
const fn outlives_panic(point: Point) -> bool {
    matches!(
        point,
        Point::RequestRead
            | Point::AcceptWritten
            | Point::AcceptKept
            | Point::EventsWritten
            | Point::CommitBefore
            | Point::LeaseWritten
            | Point::DispatchBegun
            | Point::DispatchToken
            | Point::CallReady
            | Point::CallHead
            | Point::DispatchAnswered
            | Point::SettleWritten
            | Point::SettleKept
            | Point::TokenFetched
            | Point::TokenKept
            | Point::CallbackWritten
            | Point::CallbackKept
            | Point::CallbackAnswered
            | Point::ReceiptWritten
            | Point::ReceiptKept
            | Point::ClaimWritten
            | Point::ClaimKept
            | Point::DeliveryTried
            | Point::DeliverySettleWritten
            | Point::DeliverySettleKept
    )
}

impl Armed {
    /// As `WXGATE_FAILPOINT` has it.
    pub(crate) fn text(self) -> String {
        let Self { point, times, panics } = self;
        format!("{}@{times}{}", point.as_str(), if panics { "=panic" } else { "" })
    }
}

impl Aim {
    /// Every point, and both ways from outside.
    pub(crate) fn all() -> Vec<Self> {
        let points = Point::ALL.iter().copied();
        let panics = points.clone().filter(|point| outlives_panic(*point)).map(Self::Panic);
        points.map(Self::Point).chain(panics).chain([Self::Unanswered, Self::AnyMoment]).collect()
    }

    pub(crate) fn name(self) -> String {
        match self {
            Self::Point(point) => point.as_str().to_owned(),
            Self::Panic(point) => format!("{} (panic)", point.as_str()),
            Self::Unanswered => "(kill, answer outstanding)".to_owned(),
            Self::AnyMoment => "(kill, any moment)".to_owned(),
        }
    }

    /// What has to happen before the clean start: how long WeChat gives a refused token is its affair, not the crash's.
    pub(crate) fn afterwards(self) -> Option<Deed> {
        (self == Self::Point(Point::TokenMarked)).then_some(Deed::RevokeTokens)
    }

    /// The lives that lead there; a clean one follows on them.
    pub(crate) fn lives(self, rng: &mut StdRng) -> Vec<Life> {
        let unanswered = Life::under_load(End::KilledWhenTaken(rng.random_range(3..=8)));
        match self {
            Self::Unanswered => vec![unanswered],
            Self::AnyMoment => {
                let kills = rng.random_range(1..=3);
                let life = |_| {
                    // Without load it is killed while it starts.
                    let is_loaded = rng.random_bool(0.8);
                    let longest = if is_loaded { 250 } else { 60 };
                    Life { is_loaded, ..Life::under_load(End::KilledAfter(millis(rng, 0..longest))) }
                };
                (0..kills).map(life).collect()
            }
            Self::Point(point) | Self::Panic(point) => {
                let panics = self == Self::Panic(point);
                let end = if panics { End::KilledAfterPanic(millis(rng, 0..100)) } else { End::AtPoint };
                let armed = |times: u64| {
                    let armed = Some(Armed { point, times, panics });
                    Life { armed, ..Life::under_load(end) }
                };
                match way(point) {
                    Way::Load(times) => vec![armed(rng.random_range(1..=times))],
                    Way::Tokens(deed) => {
                        let shares_tokens = point == Point::TokenPublished;
                        vec![unanswered, Life { before: Some(deed), shares_tokens, ..armed(1) }]
                    }
                    Way::Start(deed) => {
                        let parked = Life { has_quota_met: true, ..Life::under_load(End::KilledWhenParked) };
                        let first = if deed == Some(Deed::Expire) { parked } else { unanswered };
                        vec![first, Life { before: deed, is_loaded: false, ..armed(1) }]
                    }
                    Way::Stop => vec![Life { end: End::StoppedAfter(millis(rng, 20..150)), ..armed(1) }],
                }
            }
        }
    }
}

impl Life {
    const fn under_load(end: End) -> Self {
        Self { before: None, armed: None, is_loaded: true, has_quota_met: false, shares_tokens: false, end }
    }
}

fn millis(rng: &mut StdRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.random_range(range))
}
