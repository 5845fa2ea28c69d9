//! What is known of one account's quota of one day.

use std::time::Duration;

use crate::domain::clock::Timestamp;

/// What WeChat's figures may be off by: one in so many (field reports).
const VAGUE: u64 = 100;
/// Little is left: one in so many.
const LOW: u64 = 10;

/// Figures of a day, which is named by its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Book {
    day: Option<Timestamp>,
    reading: Option<Reading>,
    /// Messages that WeChat took from us since the reading, or since the day began here.
    counted: u64,
    told: Option<Told>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    limit: u64,
    used: u64,
    at: Timestamp,
}

/// What an operator was told today.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Told {
    Low,
    Exhausted,
}

impl Book {
    /// WeChat took one more.
    pub(super) fn count(&mut self, day: Timestamp) {
        self.turn_to(day);
        self.counted += 1;
    }

    pub(super) fn read(&mut self, limit: u64, used: u64, at: Timestamp, day: Timestamp) {
        self.turn_to(day);
        self.reading = Some(Reading { limit, used, at });
        self.counted = 0;
    }

    pub(super) fn is_read_within(&self, now: Timestamp, span: Duration) -> bool {
        self.reading.is_some_and(|reading| now >= reading.at && now.since(reading.at) < span)
    }

    /// WeChat itself has just said that there is more than it could be wrong by.
    pub(super) fn has_surely_some(&self, now: Timestamp, span: Duration) -> bool {
        let is_some = |reading: &Reading| {
            let used = reading.used.saturating_add(self.counted);
            reading.limit.saturating_sub(used) > reading.limit / VAGUE
        };
        self.is_read_within(now, span) && self.reading.as_ref().is_some_and(is_some)
    }

    /// The smaller of the operator's and WeChat's.
    pub(super) fn limit(&self, own: Option<u64>, day: Timestamp) -> Option<u64> {
        let theirs = self.reading.filter(|_| self.day == Some(day)).map(|reading| reading.limit);
        own.into_iter().chain(theirs).min()
    }

    pub(super) fn remaining(&self, own: Option<u64>, day: Timestamp) -> Option<u64> {
        Some(self.limit(own, day)?.saturating_sub(self.used(day)))
    }

    /// What the operator allows is used up. WeChat's own figure is too vague to stop by.
    pub(super) fn is_own_spent(&self, own: Option<u64>, day: Timestamp) -> bool {
        own.is_some_and(|own| self.used(day) >= own)
    }

    /// What to tell now, if it was not told today.
    pub(super) fn tell(&mut self, remaining: Option<u64>, limit: Option<u64>, day: Timestamp) -> Option<Told> {
        self.turn_to(day);
        let news = match (remaining?, limit) {
            (0, _) => Told::Exhausted,
            (remaining, Some(limit)) if remaining.saturating_mul(LOW) <= limit => Told::Low,
            _ => return None,
        };
        if self.told >= Some(news) {
            return None;
        }
        self.told = Some(news);
        Some(news)
    }

    fn used(&self, day: Timestamp) -> u64 {
        match self.day == Some(day) {
            true => self.reading.map_or(0, |reading| reading.used).saturating_add(self.counted),
            false => 0,
        }
    }

    fn turn_to(&mut self, day: Timestamp) {
        if self.day != Some(day) {
            *self = Self { day: Some(day), ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY: Timestamp = Timestamp::from_seconds(1_700_000_000);
    const TOMORROW: Timestamp = Timestamp::from_seconds(1_700_086_400);

    #[test]
    fn counting_goes_on_from_a_reading_and_anew_each_day() {
        let mut book = Book::default();
        assert_eq!(book.remaining(None, TODAY), None);
        book.count(TODAY);
        assert_eq!((book.remaining(None, TODAY), book.remaining(Some(5), TODAY)), (None, Some(4)));
        book.read(100, 90, TODAY, TODAY);
        book.count(TODAY);
        assert_eq!((book.remaining(None, TODAY), book.remaining(Some(95), TODAY)), (Some(9), Some(4)));
        assert!(!book.is_own_spent(Some(92), TODAY) && book.is_own_spent(Some(91), TODAY));
        assert_eq!((book.remaining(None, TOMORROW), book.remaining(Some(7), TOMORROW)), (None, Some(7)));
    }

    #[test]
    fn a_refusal_is_doubted_only_while_there_is_more_than_the_figures_may_be_off_by() {
        let mut book = Book::default();
        let within = Duration::from_secs(10);
        assert!(!book.has_surely_some(TODAY, within));
        for (used, is_left) in [(0, true), (989, true), (990, false), (1_000, false), (2_000, false)] {
            book.read(1_000, used, TODAY, TODAY);
            assert_eq!(book.has_surely_some(TODAY, within), is_left, "{used}");
        }
        book.read(1_000, 0, TODAY, TODAY);
        assert!(!book.has_surely_some(TODAY.plus(within), within), "an old reading says nothing");
    }

    #[test]
    fn low_and_exhausted_are_told_once_a_day() {
        let mut book = Book::default();
        let mut tell = |remaining, day| book.tell(Some(remaining), Some(100), day);
        let told = [11, 10, 9, 0, 0, 5].map(|remaining| tell(remaining, TODAY));
        assert_eq!(told, [None, Some(Told::Low), None, Some(Told::Exhausted), None, None]);
        assert_eq!(tell(0, TOMORROW), Some(Told::Exhausted));
        assert_eq!(book.tell(None, None, TOMORROW), None);
    }
}
