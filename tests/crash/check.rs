//! The count: what was promised to each person, against what the store says and what the phones showed.

use std::collections::{BTreeMap, HashMap, HashSet};

use wxgate::domain::attempt::HistoryEntry;
use wxgate::domain::event::of_state;

use crate::load::{Crowd, Visitor};
use crate::person::{Answer, Cancel, Kind, Person};
use crate::stay::Stay;
use crate::support::process::Caller;

/// What a cycle's count has come to. Every entry names its message, callback or person.
#[derive(Debug, Default)]
pub(crate) struct Count {
    /// Messages and callbacks that were answered with 2xx.
    pub(crate) acknowledged: u64,
    /// Acknowledged, and not there, not final, or never on the phone.
    pub(crate) lost: Vec<String>,
    /// Twice on one phone, twice under one key, or kept twice.
    pub(crate) doubled: Vec<String>,
    /// In doubt where doubt is right: on hold, or without any answer that can be read.
    pub(crate) unknown: u64,
    /// Anything else that must not be.
    pub(crate) faults: Vec<String>,
}

struct Row {
    id: String,
    state: String,
    reason: String,
    is_successor: bool,
    /// How often its history says that the process died with it, the last time left out.
    crashes: usize,
}

/// What WeChat has done with the receipt of a message.
#[derive(Clone, Copy)]
struct Receipts {
    /// It was never acknowledged, however often it came.
    lost: bool,
    /// Some say first this and then that.
    contradict: bool,
}

impl Count {
    pub(crate) fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.doubled.is_empty() && self.faults.is_empty()
    }
}

impl Stay {
    pub(crate) async fn count(
        &mut self,
        caller: &Caller,
        crowd: &Crowd,
        visitors: &[Visitor],
    ) -> Result<Count, String> {
        let mut count = Count::default();
        let rows = self.messages().await?;
        let shown = self.sandbox().deliveries();
        let lost_receipts: HashSet<String> = self.sandbox().lost_receipts().into_iter().collect();
        for person in &crowd.people {
            let rows = rows.get(&person.openid).map(Vec::as_slice).unwrap_or_default();
            let shown = shown.get(&person.openid).copied().unwrap_or(0);
            let receipts =
                Receipts { lost: lost_receipts.contains(&person.openid), contradict: self.receipts_contradict };
            count.person(person, rows, shown, receipts);
        }
        let doubled = shown.iter().filter(|(_, times)| **times > 1);
        count.doubled.extend(doubled.map(|(openid, times)| format!("{openid}: shown {times} times")));
        self.count_callbacks(visitors, &rows, &mut count).await?;
        self.count_keys(&crowd.people, &mut count).await?;
        self.count_events(&mut count).await?;
        self.count_webhook(&mut count).await?;
        self.count_earlier(&rows, &mut count);
        self.count_figures(caller, &mut count).await?;
        self.read_back(caller, &crowd.people, &mut count).await;
        Ok(count)
    }

    async fn messages(&self) -> Result<HashMap<String, Vec<Row>>, String> {
        let mut messages: HashMap<String, Vec<Row>> = HashMap::new();
        for row in self.books.rows("SELECT touser, id, state, state_reason, retry_of, history FROM messages").await? {
            let [touser, id, state, reason, retry_of, history] =
                <[String; 6]>::try_from(row).map_err(|_| "six columns")?;
            let crashes = history.matches("\"reason\":\"crash\"").count();
            let row = Row { id, state, reason, is_successor: !retry_of.is_empty(), crashes };
            messages.entry(touser).or_default().push(row);
        }
        Ok(messages)
    }

    /// A text is kept once, and so is the receipt of each message; none waits for a message.
    async fn count_callbacks(
        &self,
        visitors: &[Visitor],
        messages: &HashMap<String, Vec<Row>>,
        count: &mut Count,
    ) -> Result<(), String> {
        let mut kept = HashMap::new();
        for row in self.books.rows("SELECT openid, kind, count(*) FROM callbacks GROUP BY openid, kind").await? {
            let times = row[2].parse::<u64>().unwrap_or(0);
            let receipts = messages.get(&row[0]).map_or(0, Vec::len);
            if times > if row[1] == "text" { 1 } else { u64::try_from(receipts).unwrap_or(0) } {
                count.doubled.push(format!("{} of {} is kept {times} times", row[1], row[0]));
            }
            kept.insert((row[0].clone(), row[1].clone()), times);
        }
        self.count_told_callbacks(&kept, count).await?;
        let users: HashSet<String> = self.books.rows("SELECT openid FROM users").await?.into_iter().flatten().collect();
        for visitor in visitors.iter().filter(|visitor| visitor.is_acknowledged) {
            count.acknowledged += 1;
            let is_kept = kept.contains_key(&(visitor.openid.clone(), "text".to_owned()));
            if !is_kept || !users.contains(&visitor.openid) {
                count.lost.push(format!("{}: the text was acknowledged and is not kept", visitor.openid));
            }
        }
        let waiting = "SELECT openid, msgid FROM receipts WHERE message_id IS NULL AND status <> 'other'";
        let waiting = self.books.rows(waiting).await?;
        count.faults.extend(waiting.iter().map(|row| format!("{}: receipt of {} found no message", row[0], row[1])));
        Ok(())
    }

    /// Each callback that is kept was told, and none twice, however often WeChat repeated it.
    async fn count_told_callbacks(
        &self,
        kept: &HashMap<(String, String), u64>,
        count: &mut Count,
    ) -> Result<(), String> {
        let mut told: HashMap<(String, String), u64> = HashMap::new();
        let mut seen = HashSet::new();
        for row in self.books.rows("SELECT type, data FROM events WHERE type LIKE 'callback.%'").await? {
            let data: serde_json::Value = serde_json::from_str(&row[1]).map_err(|error| error.to_string())?;
            let openid = data["openid"].as_str().unwrap_or_default().to_owned();
            let id = data["msg_id"].as_str().or(data["content"]["msgid"].as_str()).unwrap_or_default().to_owned();
            let kind = row[0].strip_prefix("callback.").unwrap_or_default().to_owned();
            if !seen.insert((kind.clone(), openid.clone(), id)) {
                count.doubled.push(format!("{kind} of {openid} is told twice"));
            }
            *told.entry((openid, kind)).or_default() += 1;
        }
        for ((openid, kind), times) in kept {
            let events = told.get(&(openid.clone(), kind.clone())).copied().unwrap_or(0);
            // What is older than its retention is gone, and its events may still be there.
            if events < *times {
                count.lost.push(format!("{kind} of {openid} is kept {times} times and told {events} times"));
            }
        }
        Ok(())
    }

    async fn count_keys(&self, people: &[Person], count: &mut Count) -> Result<(), String> {
        let rows = self.books.rows("SELECT key, message_id FROM idempotency").await?;
        let keys: HashMap<String, String> = rows.into_iter().map(|mut row| (row.remove(0), row.remove(0))).collect();
        for person in people.iter().filter(|person| person.key.is_some()) {
            if let Answer::Kept(id) = &person.answer
                && keys.get(&person.key_text()) != Some(id)
            {
                count.faults.push(format!("{}: its key does not stand for {id}", person.openid));
            }
        }
        Ok(())
    }

    /// Each line of a message's history that has a type of event was told once, in its order, and nothing else was.
    async fn count_events(&self, count: &mut Count) -> Result<(), String> {
        let mut told: HashMap<String, Vec<String>> = HashMap::new();
        let events = "SELECT message_id, type FROM events WHERE type LIKE 'message.%' ORDER BY seq";
        for row in self.books.rows(events).await? {
            told.entry(row[0].clone()).or_default().push(row[1].clone());
        }
        for row in self.books.rows("SELECT id, history FROM messages").await? {
            let lines = row[1].lines().map(serde_json::from_str::<HistoryEntry>);
            let history: Vec<_> = lines.filter_map(Result::ok).filter_map(|line| of_state(line.state)).collect();
            let told = told.remove(&row[0]).unwrap_or_default();
            if told != history {
                count.faults.push(format!("{}: its history is {history:?}, told was {told:?}", row[0]));
            }
        }
        // What is older than its retention is gone, and its events may still be there.
        Ok(())
    }

    /// The webhook was told of every event, in the order of each message's; a repeat only where a crash came between.
    async fn count_webhook(&self, count: &mut Count) -> Result<(), String> {
        let told = self.subscriber.told();
        let mut last: HashMap<String, (usize, String)> = HashMap::new();
        for row in self.books.rows("SELECT id, message_id FROM events ORDER BY seq").await? {
            let (id, message) = (&row[0], &row[1]);
            let Some((place, _)) = told.get(id) else {
                count.lost.push(format!("{id} of {message}: the webhook was never told"));
                continue;
            };
            if let Some((earlier, other)) =
                last.get(message).filter(|(earlier, _)| !message.is_empty() && earlier > place)
            {
                count
                    .faults
                    .push(format!("{message}: {id} was told at {place}, and {other}, which came first, at {earlier}"));
            }
            last.insert(message.clone(), (*place, id.clone()));
        }
        let twice = "SELECT event_id FROM deliveries GROUP BY event_id HAVING count(*) > 1";
        let twice = self.books.rows(twice).await?;
        count.doubled.extend(twice.iter().map(|row| format!("{}: two deliveries of one event", row[0])));
        Ok(())
    }

    /// What was over before this cycle is there, and as it was.
    fn count_earlier(&mut self, rows: &HashMap<String, Vec<Row>>, count: &mut Count) {
        let now: HashMap<&str, &str> =
            rows.values().flatten().map(|row| (row.id.as_str(), row.state.as_str())).collect();
        for (id, state) in &self.settled {
            match now.get(id.as_str()) {
                Some(now) if now == state => {}
                Some(now) => count.faults.push(format!("{id} was {state} before this crash and is {now} now")),
                None => count.lost.push(format!("{id} was {state} before this crash and is gone")),
            }
        }
        let is_over = |state: &str| !matches!(state, "unknown" | "sent");
        let over = now.into_iter().filter(|(_, state)| is_over(state));
        self.settled.extend(over.map(|(id, state)| (id.to_owned(), state.to_owned())));
    }

    /// The figures are those of the rows, and nothing is unaccounted for.
    async fn count_figures(&self, caller: &Caller, count: &mut Count) -> Result<(), String> {
        let mut rows = BTreeMap::new();
        for row in self.books.rows("SELECT state, count(*) FROM messages GROUP BY state").await? {
            rows.insert(row[0].clone(), row[1].parse::<u64>().unwrap_or(0));
        }
        // What was deleted for its age is still counted.
        for (state, deleted) in &self.aged {
            *rows.entry(state.clone()).or_default() += deleted;
        }
        let request = caller.request(reqwest::Method::GET, "/metrics").send().await;
        let text = request.map_err(|error| error.to_string())?.text().await.map_err(|error| error.to_string())?;
        if !text.contains("\nwxgate_messages_unaccounted 0\n") {
            count.faults.push("wxgate_messages_unaccounted is not 0".to_owned());
        }
        let mut figures = BTreeMap::new();
        for line in text.lines() {
            let Some(rest) = line.strip_prefix("wxgate_messages_total{account=\"shop\",state=\"") else { continue };
            let (state, number) = rest.split_once("\"} ").ok_or("a figure without a number")?;
            figures.insert(state.to_owned(), number.parse::<u64>().unwrap_or(0));
        }
        figures.retain(|_, number| *number > 0);
        if figures != rows {
            count.faults.push(format!("the figures are {figures:?}, the rows {rows:?}"));
        }
        Ok(())
    }

    /// Whoever was given an id can read it.
    async fn read_back(&self, caller: &Caller, people: &[Person], count: &mut Count) {
        for id in people.iter().filter_map(Person::id) {
            if !caller.answers(&format!("/v1/messages/{id}")).await {
                count.lost.push(format!("{id} was acknowledged and cannot be read"));
            }
        }
    }
}

impl Count {
    fn person(&mut self, person: &Person, rows: &[Row], shown: u64, receipts: Receipts) {
        let openid = &person.openid;
        let own = rows.iter().filter(|row| !row.is_successor).count();
        if own > 1 || rows.len() - own > 1 {
            self.doubled.push(format!("{openid}: {} messages for one request", rows.len()));
        }
        for id in person.id().into_iter().chain(person.successor.as_deref()) {
            self.acknowledged += 1;
            if !rows.iter().any(|row| row.id == id) {
                self.lost.push(format!("{openid}: {id} was acknowledged and is gone"));
            }
        }
        if rows.is_empty() && shown > 0 {
            self.faults.push(format!("{openid}: shown, and the store knows nothing of it"));
        }
        if let Answer::Refused(status) = person.answer
            && shown > 0
        {
            self.faults.push(format!("{openid}: refused with {status}, and then shown"));
        }
        if person.cancel == Cancel::Done && shown > 0 {
            self.faults.push(format!("{openid}: canceled, and then shown"));
        }
        for row in rows {
            self.unknown += u64::from(row.state == "unknown");
            if let Err(wrong) = fits(person, row, shown, receipts) {
                let Row { id, state, reason, .. } = row;
                self.lost.push(format!("{openid}: {id} is {state} ({reason}), shown {shown} times: {wrong}"));
            }
        }
    }
}

/// May a message for this person end so?
fn fits(person: &Person, row: &Row, shown: u64, receipts: Receipts) -> Result<(), &'static str> {
    let expect = |holds: bool, wrong: &'static str| if holds { Ok(()) } else { Err(wrong) };
    let is_shown = expect(shown > 0, "the phone never showed it");
    let is_hidden = expect(shown == 0, "the phone has shown it");
    match row.state.as_str() {
        "delivered" => is_shown,
        "sent" => {
            expect(person.kind == Kind::NoReceipt || receipts.lost, "its receipt was acknowledged")?;
            if person.kind == Kind::Failed { is_hidden } else { is_shown }
        }
        // The crash may have put the second of two contradicting receipts before the first.
        "undelivered" if receipts.contradict && row.reason == "system_failed" => Ok(()),
        "undelivered" => expect(person.kind == Kind::Failed, "it was to arrive").and(is_hidden),
        "rejected" => expect(person.kind == Kind::NotSubscribed, "nobody refused it").and(is_hidden),
        "canceled" => expect(person.cancel != Cancel::No, "nobody canceled it").and(is_hidden),
        "expired" => expect(person.kind == Kind::Quota, "its time was not over").and(is_hidden),
        "failed" => expect(person.kind == Kind::Garbage, "nothing has failed").and(is_hidden),
        // Three deaths with the same message in hand: it may be what kills.
        "unknown" if row.reason == "quarantined" => expect(row.crashes >= 2, "it was given up too early"),
        "unknown" if person.is_resolved => Err("an operator had settled it"),
        "unknown" => expect(
            person.is_held || matches!(person.kind, Kind::Garbage | Kind::Quota) || person.cancel != Cancel::No,
            "it should have been repeated",
        ),
        _ => Err("it is not at its end"),
    }
}
