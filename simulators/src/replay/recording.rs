//! Recordings: a CSV file of time and value.

use std::path::Path;

use crate::Error;

/// A real machine's temperature: 22,695 values at 5-minute steps.
const BUILT_IN: &str = include_str!("../../data/machine_temperature_system_failure.csv");
const BUILT_IN_NAME: &str = "machine_temperature_system_failure.csv";
const HEADER: &str = "timestamp,value";

/// One value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When, in microseconds since the Unix epoch.
    pub time_us: i64,
    /// What.
    pub value: f64,
}

/// All values of a recording, in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    points: Vec<Point>,
}

impl Recording {
    /// Reads a CSV file; the recording that comes with the simulator for an
    /// empty path.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Recording`] with the first wrong line.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if path.as_os_str().is_empty() {
            return Self::parse(BUILT_IN_NAME, BUILT_IN);
        }
        let text = std::fs::read_to_string(path).map_err(|source| Error::File {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Reads the text of a CSV file called `name`.
    ///
    /// # Errors
    /// [`Error::Recording`] with the first wrong line.
    pub fn parse(name: &str, text: &str) -> Result<Self, Error> {
        let wrong = |line, why| Error::Recording {
            recording: name.to_owned(),
            line,
            why,
        };
        let mut lines = text.lines().enumerate();
        if lines.next().map(|(_, header)| header.trim()) != Some(HEADER) {
            return Err(wrong(1, "is the header `timestamp,value`"));
        }
        let mut points = Vec::new();
        for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let (time, value) = line
                .split_once(',')
                .ok_or_else(|| wrong(index + 1, "is a timestamp, a comma and a value"))?;
            let time_us = timestamp_us(time.trim()).ok_or_else(|| {
                wrong(
                    index + 1,
                    "has a timestamp in UTC such as `2013-12-02 21:15:00`",
                )
            })?;
            let value = value
                .trim()
                .parse()
                .ok()
                .filter(|value: &f64| value.is_finite())
                .ok_or_else(|| wrong(index + 1, "has a finite number as its value"))?;
            points.push(Point { time_us, value });
        }
        Ok(Self { points })
    }

    /// The values in order.
    pub fn points(&self) -> &[Point] {
        &self.points
    }
}

/// `2013-12-02 21:15:00` (or with a `T` between) in UTC.
fn timestamp_us(text: &str) -> Option<i64> {
    let (date, time) = text.split_once([' ', 'T'])?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days since the epoch (Hinnant, chrono-compatible low-level date
    // algorithms): the year begins in March, so that leap days come last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000)
}

/// Three numbers of exactly these lengths.
fn numbers(text: &str, between: char, lengths: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(between);
    let mut numbers = [0; 3];
    for (number, length) in numbers.iter_mut().zip(lengths) {
        let part = parts.next()?;
        let digits = part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = digits.then(|| part.parse().ok())??;
    }
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_built_in_recording_is_whole() {
        let recording = Recording::open(Path::new("")).unwrap();
        let points = recording.points();
        assert_eq!(points.len(), 22_695);
        assert_eq!(
            points[0],
            Point {
                time_us: 1_386_018_900_000_000,
                value: 73.967_322_07
            }
        );
        // As published: one hour comes twice (2014-01-07 02:00).
        let times: BTreeSet<i64> = points.iter().map(|point| point.time_us).collect();
        assert_eq!(times.len(), 22_683);
    }

    #[test]
    fn days_are_counted_like_everyone_does() {
        for (text, seconds) in [
            ("1970-01-01 00:00:00", 0),
            ("2000-02-29T23:59:59", 951_868_799),
            ("2024-03-01 00:00:00", 1_709_251_200),
            ("1969-12-31 23:59:59", -1),
        ] {
            assert_eq!(timestamp_us(text), Some(seconds * 1_000_000), "{text}");
        }
        for text in [
            "2023-02-29 00:00:00",
            "2023-13-01 00:00:00",
            "2023-1-01 00:00:00",
            "x",
            "",
        ] {
            assert_eq!(timestamp_us(text), None, "{text}");
        }
    }

    #[test]
    fn a_wrong_line_is_named() {
        let line = |text: &str| Recording::parse("r.csv", text).unwrap_err().to_string();
        assert!(line("time,temp\n").contains("r.csv, line 1: is the header"));
        let good = "timestamp,value\n2013-12-02 21:15:00,1\n\n";
        assert!(line(&format!("{good}2013-12-02 21:15:00;2\n")).contains("line 4"));
        assert!(line(&format!("{good}2013-12-02 21:15,2\n")).contains("timestamp"));
        assert!(line(&format!("{good}2013-12-02 21:15:00,NaN\n")).contains("finite"));
    }
}
