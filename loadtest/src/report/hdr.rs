//! The latencies of each second as a log of HdrHistogram, in nanoseconds: what its own tools plot and merge.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;

use crate::tally::{Interval, histogram};

/// A log that is written as the run goes on.
pub(crate) struct Log {
    file: BufWriter<File>,
    serializer: V2DeflateSerializer,
    /// Seconds without any answer, of which it is not known whether others follow: as many as the run has.
    empty: Vec<Interval>,
}

impl Log {
    /// In a new file.
    ///
    /// # Errors
    /// Those of creating it.
    pub(crate) fn create(path: &Path) -> io::Result<Log> {
        let file = BufWriter::new(File::create(path)?);
        Ok(Log { file, serializer: V2DeflateSerializer::new(), empty: Vec::new() })
    }

    /// The run began then: what each second's times are from.
    ///
    /// # Errors
    /// Those of writing.
    pub(crate) fn begin(&mut self, began: SystemTime) -> io::Result<()> {
        let mut builder = IntervalLogWriterBuilder::new();
        builder.add_comment("ringway-load: latencies in nanoseconds").with_start_time(began);
        builder.begin_log_with(&mut self.file, &mut self.serializer).map(drop)
    }

    /// Adds a second.
    ///
    /// # Errors
    /// Those of writing.
    pub(crate) fn second(&mut self, interval: Interval, latency: &Histogram<u64>) -> io::Result<()> {
        if latency.is_empty() {
            self.empty.push(interval);
            return Ok(());
        }
        for empty in std::mem::take(&mut self.empty) {
            self.write(empty, &histogram())?;
        }
        self.write(interval, latency)
    }

    /// All is told: of a run that ended then, since its start.
    ///
    /// # Errors
    /// Those of writing.
    pub(crate) fn end(&mut self, ended: Duration) -> io::Result<()> {
        for empty in std::mem::take(&mut self.empty).into_iter().filter(|empty| empty.from < ended) {
            self.write(empty, &histogram())?;
        }
        self.file.flush()
    }

    fn write(&mut self, interval: Interval, latency: &Histogram<u64>) -> io::Result<()> {
        let mut log = IntervalLogWriterBuilder::new().begin_log_with(&mut self.file, &mut self.serializer)?;
        log.write_histogram(latency, interval.from, interval.length(), None)
            .map_err(|error| io::Error::other(format!("{error:?}")))
    }
}
