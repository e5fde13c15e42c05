//! Times and pages, as requests spell them.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::Offset;
use serde::de::{Deserialize, Deserializer, Error};

/// Reads a time (RFC 3339), or a date: the start of that day in UTC.
///
/// # Errors
/// How a time is written.
pub fn parse_time(text: &str) -> Result<Timestamp, &'static str> {
    let day = || {
        // A longer text has a time of day, but no offset.
        let date = text.parse::<Date>().ok().filter(|_| text.len() == "2026-11-21".len())?;
        Offset::UTC.to_timestamp(date.to_datetime(Time::midnight())).ok()
    };
    let read = text.parse().ok().or_else(day);
    read.ok_or("a time is written as 2026-11-21T05:46:00Z; a date alone is the start of that day in UTC")
}

/// The same of a request's field.
pub fn time<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(field)?;
    text.map(|text| parse_time(&text).map_err(D::Error::custom)).transpose()
}

/// Where a page begins: a number.
pub fn after<'de, D: Deserializer<'de>>(field: D) -> Result<Option<i64>, D::Error> {
    let text = Option::<String>::deserialize(field)?;
    let read = text.map(|text| text.parse().map_err(|_| "`after` is what the page before gave as `next`"));
    read.transpose().map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_alone_is_the_start_of_its_day() {
        for (text, read) in [
            ("2026-11-26", Some("2026-11-26T00:00:00Z")),
            ("2026-11-26T05:46:00Z", Some("2026-11-26T05:46:00Z")),
            ("2026-11-26T05:46:00+02:00", Some("2026-11-26T03:46:00Z")),
            ("2026-11-26T05:46:00", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(parse_time(text).ok().map(|time| time.to_string()).as_deref(), read, "{text}");
        }
    }
}
