//! The latencies of each second as a log of HdrHistogram, in nanoseconds: what its own tools plot and merge.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;

/// A log that is written as the run goes on.
pub(crate) struct Log {
    file: BufWriter<File>,
    serializer: V2DeflateSerializer,
    has_begun: bool,
}

impl Log {
    /// In a new file.
    ///
    /// # Errors
    /// Those of creating it.
    pub(crate) fn create(path: &Path) -> io::Result<Log> {
        let file = BufWriter::new(File::create(path)?);
        Ok(Log { file, serializer: V2DeflateSerializer::new(), has_begun: false })
    }

    /// Adds the second of this number, since the start.
    ///
    /// # Errors
    /// Those of writing.
    pub(crate) fn second(&mut self, number: u32, latency: &Histogram<u64>) -> io::Result<()> {
        let mut builder = IntervalLogWriterBuilder::new();
        if !self.has_begun {
            builder.add_comment("ringway-load: latencies in nanoseconds").with_start_time(SystemTime::now());
            self.has_begun = true;
        }
        let mut log = builder.begin_log_with(&mut self.file, &mut self.serializer)?;
        log.write_histogram(latency, Duration::from_secs(number.into()), Duration::from_secs(1), None)
            .map_err(|error| io::Error::other(format!("{error:?}")))
    }
}
