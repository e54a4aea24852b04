//! Days and weeks where the customer lives.

use jiff::Timestamp;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;

use crate::store::{Millis, Stretch};

const QUARTER_SECS: i64 = 900;
const EPOCH: Date = date(1970, 1, 1);

/// The days of a time zone.
#[derive(Debug, Clone)]
pub(super) struct Calendar(TimeZone);

impl Calendar {
    /// Days of UTC.
    pub(super) const UTC: Self = Self(TimeZone::UTC);

    /// The zone of an IANA name, if there is one.
    pub(super) fn named(name: &str) -> Option<Self> {
        TimeZone::get(name).ok().map(Self)
    }

    /// The day in which a moment lies.
    pub(super) fn day_of(&self, at: Millis) -> Date {
        let moment = Timestamp::from_millisecond(at.0).unwrap_or_default();
        self.0.to_datetime(moment).date()
    }

    /// The Monday of a day's week.
    pub(super) fn monday_of(day: Date) -> Date {
        earlier(day, day.weekday().to_monday_zero_offset().into())
    }

    /// From the first moment of `first` to the end of `last`, split where the zone's distance from
    /// UTC changes: a day of 23 or 25 hours lies in two stretches.
    pub(super) fn stretches(&self, first: Date, last: Date) -> Vec<Stretch> {
        let (begin, end) = (self.begin(first), self.begin(earlier(last, -1)));
        let changes = self.0.following(begin).map(|change| change.timestamp());
        let mut cuts: Vec<_> = changes.take_while(|at| *at < end).collect();
        cuts.push(end);
        let mut from = begin;
        let mut stretches = Vec::with_capacity(cuts.len());
        for to in cuts {
            let offset = i64::from(self.0.to_offset(from).seconds()).div_euclid(QUARTER_SECS);
            stretches.push(Stretch { from: quarter(from), to: quarter(to), offset });
            from = to;
        }
        stretches
    }

    /// A day's first moment, which is not midnight where a clock is put forward at midnight.
    fn begin(&self, day: Date) -> Timestamp {
        self.0
            .to_zoned_datetime(day.at(0, 0, 0, 0))
            .and_then(|midnight| midnight.start_of_day())
            .map_or(Timestamp::UNIX_EPOCH, |start| start.timestamp())
    }
}

fn quarter(at: Timestamp) -> i64 {
    at.as_second().div_euclid(QUARTER_SECS)
}

/// The day so many days before.
pub(super) fn earlier(day: Date, days: i64) -> Date {
    jiff::Span::new().try_days(-days).and_then(|span| day.checked_add(span)).unwrap_or(day)
}

/// Days from 1970-01-01.
pub(super) fn number_of(day: Date) -> i64 {
    day.since(EPOCH).map_or(0, |span| span.get_days().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 4;

    fn at(text: &str) -> Millis {
        Millis(text.parse::<Timestamp>().unwrap().as_millisecond())
    }

    #[test]
    fn a_day_is_the_zone_s_own() {
        let late = at("2026-02-17T23:30:00Z");
        assert_eq!(Calendar::UTC.day_of(late), date(2026, 2, 17));
        assert_eq!(Calendar::named("Asia/Kathmandu").unwrap().day_of(late), date(2026, 2, 18));
        assert_eq!(Calendar::named("America/New_York").unwrap().day_of(late), date(2026, 2, 17));
        assert!(Calendar::named("Mars/Olympus").is_none());
        assert!(Calendar::named("").is_none());
    }

    #[test]
    fn weeks_begin_on_monday() {
        // 2026-02-17 is a Tuesday.
        assert_eq!(Calendar::monday_of(date(2026, 2, 17)), date(2026, 2, 16));
        assert_eq!(Calendar::monday_of(date(2026, 2, 16)), date(2026, 2, 16));
        assert_eq!(Calendar::monday_of(date(2026, 2, 22)), date(2026, 2, 16));
        assert_eq!(number_of(date(1970, 1, 2)), 1);
        assert_eq!(earlier(date(2026, 3, 1), 1), date(2026, 2, 28));
    }

    #[test]
    fn days_of_23_and_25_hours_are_two_stretches() {
        let berlin = Calendar::named("Europe/Berlin").unwrap();
        let hours = |stretches: &[Stretch]| stretches.iter().map(|it| it.to - it.from).sum::<i64>();
        // Clocks go forward at 01:00 UTC on 29 March 2026, back at 01:00 UTC on 25 October.
        let spring = berlin.stretches(date(2026, 3, 29), date(2026, 3, 29));
        assert_eq!(hours(&spring), 23 * HOUR);
        assert_eq!(spring.iter().map(|it| it.offset).collect::<Vec<_>>(), [HOUR, 2 * HOUR]);
        let autumn = berlin.stretches(date(2026, 10, 25), date(2026, 10, 25));
        assert_eq!(hours(&autumn), 25 * HOUR);
        assert_eq!(autumn.iter().map(|it| it.offset).collect::<Vec<_>>(), [2 * HOUR, HOUR]);
        // Each quarter falls on its day.
        for stretch in spring.iter().chain(&autumn) {
            let day = |quarter: i64| (quarter + stretch.offset) / 96;
            assert_eq!(day(stretch.from), day(stretch.to - 1));
        }
        assert_eq!(day_number(&spring), number_of(date(2026, 3, 29)));
        assert_eq!(day_number(&autumn), number_of(date(2026, 10, 25)));
    }

    fn day_number(stretches: &[Stretch]) -> i64 {
        (stretches[0].from + stretches[0].offset) / 96
    }

    #[test]
    fn every_zone_changes_at_a_quarter_hour() {
        let (first, last) = (date(2024, 1, 1), date(2027, 12, 31));
        let mut zones = 0;
        for name in jiff::tz::db().available() {
            let calendar = Calendar::named(name.as_str()).unwrap();
            zones += 1;
            for change in calendar.0.following(calendar.begin(first)) {
                if change.timestamp() > calendar.begin(last) {
                    break;
                }
                assert_eq!(change.timestamp().as_second() % QUARTER_SECS, 0, "{name}");
                assert_eq!(i64::from(change.offset().seconds()) % QUARTER_SECS, 0, "{name}");
            }
        }
        assert!(zones > 400, "{zones}");
    }
}
