use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use async_trait::async_trait;
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::*;
use crate::domain::audit::Origin;
use crate::domain::clock::Timestamp;
use crate::domain::event::NewEvent;

/// Events 1, 2, 3 … up to `newest`.
#[derive(Default)]
struct Kept {
    newest: AtomicI64,
    panics: AtomicBool,
    bell: watch::Sender<()>,
}

impl Kept {
    fn keep_one(&self) {
        self.newest.fetch_add(1, Ordering::SeqCst);
        self.bell.send_replace(());
    }
}

#[async_trait]
impl store::Raise for Kept {
    async fn raise(&self, _event: NewEvent) -> Result<(), store::Error> {
        self.keep_one();
        Ok(())
    }
}

#[async_trait]
impl store::Events for Kept {
    async fn read(&self, _filter: EventFilter, after: Position, _limit: usize) -> Result<Stretch, store::Error> {
        assert!(!self.panics.swap(false, Ordering::SeqCst), "as it was told to");
        let newest = self.newest.load(Ordering::SeqCst);
        let events: Vec<_> = (after.seq + 1..=newest).map(event).collect();
        Ok(Stretch { next: events.last().map(|event| event.position), events, is_full: false, is_waiting: false })
    }

    async fn position_of(&self, _id: EventId) -> Result<Position, store::Error> {
        Ok(Position::default())
    }

    async fn newest(&self) -> Result<Position, store::Error> {
        Ok(Position { horizon: 0, seq: self.newest.load(Ordering::SeqCst) })
    }

    async fn forget(&self, _before: Timestamp, _limit: usize) -> Result<usize, store::Error> {
        Ok(0)
    }

    fn ring(&self) -> store::Ring {
        store::Ring::of(&self.bell)
    }
}

fn event(seq: i64) -> Event {
    let at = Timestamp::from_seconds(1);
    Event {
        position: Position { horizon: 0, seq },
        id: EventId::generate(at),
        kind: "quota.low".to_owned(),
        account: None,
        message_id: None,
        batch_id: None,
        client: None,
        at,
        data: RawValue::from_string("{}".to_owned()).unwrap(),
    }
}

fn caller() -> Caller {
    Caller {
        client: "crm".to_owned(),
        key_id: "crm".to_owned(),
        scopes: Vec::new(),
        accounts: None,
        templates: None,
        valid_until: None,
        origin: Origin::default(),
        waited: Duration::ZERO,
    }
}

#[tokio::test]
async fn a_reader_that_panics_lets_everybody_go_and_the_next_listener_starts_another() {
    let kept = Arc::new(Kept::default());
    let feed = Feed::new(kept.clone(), CancellationToken::new());
    let who = caller();
    let listen = || feed.listen(&who, EventFilter::default(), None);
    let (mut one, mut two) = (listen().await.unwrap(), listen().await.unwrap());
    kept.keep_one();
    for listening in [&mut one, &mut two] {
        assert_eq!(listening.next().await.unwrap().position.seq, 1);
    }
    kept.panics.store(true, Ordering::SeqCst);
    kept.keep_one();
    // It is the reader that reads now: nobody is behind.
    assert!(one.next().await.is_none() && !one.is_stopping());
    // Two has not noticed yet when somebody comes and starts the next reader, which begins behind the gap.
    let mut three = listen().await.unwrap();
    kept.keep_one();
    assert_eq!(three.next().await.unwrap().position.seq, 3);
    assert!(two.next().await.is_none(), "it would never hear of the second");
    assert!(listen().await.is_ok());
}
