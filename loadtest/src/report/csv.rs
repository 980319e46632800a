//! The series for spreadsheets: a line a second (RFC 4180).

use std::fmt::Write;

use crate::outcome::Point;

/// Writes it.
pub(crate) fn write(series: &[Point]) -> String {
    let mut out = String::from("second,answered,failed,bytes_received,p50_us,p99_us,p99.9_us,max_us,length_s\r\n");
    for point in series {
        let Point { interval, answered, failed, bytes_received, .. } = point;
        // Where nothing was answered there is nothing in the cell.
        let us = |ns: u64| if point.is_unanswered { String::new() } else { (ns as f64 / 1e3).to_string() };
        let [p50, p99, p999, max] = [point.p50, point.p99, point.p999, point.max].map(us);
        let (number, length) = (interval.from.as_secs(), interval.length().as_secs_f64());
        let _ = write!(out, "{number},{answered},{failed},{bytes_received},{p50},{p99},{p999},{max},{length}\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tally::Interval;

    #[test]
    fn a_line_a_second() {
        let point = Point {
            interval: Interval { from: Duration::from_millis(3250), until: Duration::from_secs(4) },
            answered: 7,
            failed: 1,
            bytes_received: 70,
            p50: 1500,
            p99: 2000,
            p999: 3000,
            max: 3001,
            is_unanswered: false,
        };
        let silent = Point { answered: 0, p50: 0, p99: 0, p999: 0, max: 0, is_unanswered: true, ..point.clone() };
        let written = write(&[point, silent]);
        assert_eq!(written.lines().nth(1), Some("3,7,1,70,1.5,2,3,3.001,0.75"));
        assert_eq!(written.lines().nth(2), Some("3,0,1,70,,,,,0.75"));
    }
}
