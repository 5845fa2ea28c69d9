//! Hours of the day in which people are left alone.

use chrono::{DateTime, Days, NaiveTime, TimeDelta, TimeZone, Timelike};
use chrono_tz::Tz;

use super::clock::Timestamp;

/// The reason of what waits for their end.
pub const QUIET_HOURS: &str = "quiet_hours";
/// WeChat's own.
pub const DEFAULT_ZONE: Tz = Tz::Asia__Shanghai;
const MINUTES_OF_A_DAY: u32 = 24 * 60;

/// From one minute of the day to another, by the clock of a zone; past midnight when it ends before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuietHours {
    from: u32,
    to: u32,
    zone: Tz,
}

impl QuietHours {
    /// `"22:00-08:00"` and a name such as `Asia/Shanghai`. An error says what is wrong with the hours.
    pub fn new(hours: &str, zone: Tz) -> Result<Self, &'static str> {
        let form = "has to be two times of the day such as \"22:00-08:00\"";
        let (from, to) = hours.split_once('-').ok_or(form)?;
        let (from, to) = (minute(from.trim()).ok_or(form)?, minute(to.trim()).ok_or(form)?);
        if from == to {
            return Err("begins when it ends: nothing would ever be sent");
        }
        Ok(Self { from, to, zone })
    }

    /// As they are written; without a zone, WeChat's own.
    pub fn read(hours: &str, zone: Option<&str>) -> Result<Self, &'static str> {
        let zone = zone.map_or(Some(DEFAULT_ZONE), Self::zone).ok_or("has a zone that is none")?;
        Self::new(hours, zone)
    }

    /// `None`: no such zone.
    pub fn zone(name: &str) -> Option<Tz> {
        name.parse().ok()
    }

    /// `"22:00-08:00"`
    pub fn hours(&self) -> String {
        let clock = |minutes: u32| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        format!("{}-{}", clock(self.from), clock(self.to))
    }

    /// `"Asia/Shanghai"`
    pub fn zone_name(&self) -> &'static str {
        self.zone.name()
    }

    /// When the quiet hours end that this moment lies in; `None`: it lies in none.
    pub fn end(&self, at: Timestamp) -> Option<Timestamp> {
        let local = DateTime::from_timestamp_millis(at.as_millis())?.with_timezone(&self.zone);
        let now = local.hour() * 60 + local.minute();
        let is_past_midnight = self.from > self.to;
        let is_quiet =
            if is_past_midnight { now >= self.from || now < self.to } else { (self.from..self.to).contains(&now) };
        if !is_quiet {
            return None;
        }
        let days = u64::from(is_past_midnight && now >= self.from);
        let day = local.date_naive().checked_add_days(Days::new(days))?;
        let end = NaiveTime::from_hms_opt(self.to / 60, self.to % 60, 0)?;
        let end = self.zone.from_local_datetime(&day.and_time(end)).earliest();
        // Where a clock is set, a time of the day may come twice or never: then by the length of the hours.
        let left = (MINUTES_OF_A_DAY + self.to - now) % MINUTES_OF_A_DAY;
        let by_length = local + TimeDelta::minutes(i64::from(left));
        let end = end.filter(|end| *end > local).unwrap_or(by_length);
        Some(Timestamp::from_millis(end.timestamp_millis()))
    }
}

/// `"08:30"` → minutes since midnight.
fn minute(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str, below: u32| {
        let is_number = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u32>().ok().filter(|number| is_number && *number < below)
    };
    Some(number(hours, 24)? * 60 + number(minutes, 60)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(hours: &str, zone: &str) -> QuietHours {
        QuietHours::new(hours, QuietHours::zone(zone).unwrap()).unwrap()
    }

    fn end(hours: &QuietHours, at: &str) -> Option<String> {
        hours.end(Timestamp::parse(at).unwrap()).map(|end| end.to_string())
    }

    #[test]
    fn a_night_goes_past_midnight() {
        let night = quiet("22:00-08:00", "Asia/Shanghai");
        for (at, expected) in [
            ("2026-01-31T21:59:59.999+08:00", None),
            ("2026-01-31T22:00:00+08:00", Some("2026-02-01T00:00:00.000Z")),
            ("2026-01-31T23:59:59+08:00", Some("2026-02-01T00:00:00.000Z")),
            ("2026-02-01T00:00:00+08:00", Some("2026-02-01T00:00:00.000Z")),
            ("2026-02-01T07:59:59.999+08:00", Some("2026-02-01T00:00:00.000Z")),
            ("2026-02-01T08:00:00+08:00", None),
            ("2026-12-31T23:00:00+08:00", Some("2027-01-01T00:00:00.000Z")),
        ] {
            assert_eq!(end(&night, at).as_deref(), expected, "{at}");
        }
    }

    #[test]
    fn a_rest_at_noon_stays_within_its_day() {
        let noon = quiet("12:00-13:30", "Asia/Shanghai");
        assert_eq!(end(&noon, "2026-01-31T11:59:00+08:00"), None);
        assert_eq!(end(&noon, "2026-01-31T12:00:00+08:00").as_deref(), Some("2026-01-31T05:30:00.000Z"));
        assert_eq!(end(&noon, "2026-01-31T13:30:00+08:00"), None);
    }

    #[test]
    fn it_ends_also_where_the_clock_is_set() {
        // On 29 March 2026, 02:30 does not exist in Berlin; on 25 October it comes twice.
        let early = quiet("23:00-02:30", "Europe/Berlin");
        assert_eq!(end(&early, "2026-03-28T23:30:00+01:00").as_deref(), Some("2026-03-29T01:30:00.000Z"));
        assert_eq!(end(&early, "2026-10-25T02:10:00+02:00").as_deref(), Some("2026-10-25T00:30:00.000Z"));
        assert_eq!(end(&early, "2026-10-25T02:10:00+01:00").as_deref(), Some("2026-10-25T01:30:00.000Z"));
        let night = quiet("22:00-08:00", "Europe/Berlin");
        assert_eq!(end(&night, "2026-03-28T22:00:00+01:00").as_deref(), Some("2026-03-29T06:00:00.000Z"));
        assert_eq!(end(&night, "2026-10-24T22:00:00+02:00").as_deref(), Some("2026-10-25T07:00:00.000Z"));
    }

    #[test]
    fn what_is_no_stretch_of_the_day_is_refused() {
        let zone = QuietHours::zone("Asia/Shanghai").unwrap();
        for wrong in
            ["", "22:00", "22-8", "22:00-24:00", "22:60-08:00", "8:00-09:00", "+2:00-08:00", "a-b", "08:00-08:00"]
        {
            assert!(QuietHours::new(wrong, zone).is_err(), "{wrong:?}");
        }
        assert_eq!(QuietHours::zone("Asia/Beijing"), None);
    }
}
