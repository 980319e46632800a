//! The thread that writes access logs: from the workers' rings into files.
//!
//! It is the only one that a full or slow disk can keep waiting; a worker then drops lines and counts them. Files are opened by the
//! control thread when a configuration is staged, so that one that cannot be opened is refused like any other mistake. A pipe is
//! never waited for: what it does not take is kept up to [`BUFFER_BYTES_MAX`] and then dropped and counted.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use ringway_engine::{LogReader, Logs};
use ringway_model::LogSink;
use ringway_observe::Registry;

use crate::STACK_SIZE;
use crate::log::Log;

/// Sinks of one process, over all its reloads: each keeps a file open and its number for good.
const SINKS_MAX: usize = 1024;
/// Bytes that wait for one sink that does not take them.
const BUFFER_BYTES_MAX: usize = 1 << 20;
/// How long a process that ends waits for its last lines to be written.
const END_WAIT: Duration = Duration::from_secs(2);

/// When what is buffered is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flush {
    /// `--file-flush-interval-msec`.
    pub(crate) interval: Duration,
    /// `--file-flush-min-size-kb`, in bytes: so much is written at once.
    pub(crate) bytes_min: usize,
}

/// What the thread is told.
enum News {
    Sink(u32, Sink),
    Ring(LogReader),
    Reopen,
    /// Write all there is, answer, end.
    End(SyncSender<()>),
}

/// How others speak to the thread.
#[derive(Clone)]
pub(crate) struct LogThread {
    news: Sender<News>,
    thread: Thread,
}

/// The engine's side of it, on the control thread.
pub(crate) struct Outlet {
    thread: LogThread,
    sinks: HashMap<LogSink, u32>,
}

impl LogThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn start(flush: Flush, registry: Arc<Registry>, log: Log) -> io::Result<LogThread> {
        let (news, inbox) = channel();
        let writer = Writer { flush, registry, log, inbox, rings: Vec::new(), sinks: Vec::new() };
        let thread =
            thread::Builder::new().name("access-log".into()).stack_size(STACK_SIZE).spawn(move || writer.run())?;
        Ok(LogThread { news, thread: thread.thread().clone() })
    }

    /// What the engine opens and attaches.
    pub(crate) fn outlet(&self) -> Outlet {
        Outlet { thread: self.clone(), sinks: HashMap::new() }
    }

    /// Opens every file anew: it was renamed, and lines are to go to one of the old name (SIGUSR1).
    pub(crate) fn reopen(&self) {
        self.tell(News::Reopen);
    }

    /// Writes what the workers have left. To be called when they have ended. A disk that does not take it in [`END_WAIT`] keeps
    /// nobody from ending.
    pub(crate) fn end(&self) {
        let (done, wait) = sync_channel(1);
        self.tell(News::End(done));
        let _late = wait.recv_timeout(END_WAIT);
    }

    fn tell(&self, news: News) {
        // Fails only when the thread has ended, and the process with it.
        let _ended = self.news.send(news);
        self.thread.unpark();
    }
}

impl Logs for Outlet {
    fn open(&mut self, sink: &LogSink) -> io::Result<u32> {
        if let Some(number) = self.sinks.get(sink) {
            return Ok(*number);
        }
        if self.sinks.len() >= SINKS_MAX {
            return Err(io::Error::other(format!("this process has had {SINKS_MAX} access logs already")));
        }
        let number = self.sinks.len() as u32;
        let file = open(sink)?;
        self.sinks.insert(sink.clone(), number);
        self.thread.tell(News::Sink(number, Sink::new(sink.clone(), file)));
        Ok(number)
    }

    fn attach(&mut self, ring: LogReader) {
        self.thread.tell(News::Ring(ring));
    }

    fn thread(&self) -> Thread {
        self.thread.thread.clone()
    }
}

fn open(sink: &LogSink) -> io::Result<File> {
    let own = |stream: io::Result<std::os::fd::OwnedFd>| stream.map(File::from);
    match sink {
        LogSink::Stdout => own(io::stdout().as_fd().try_clone_to_owned()),
        LogSink::Stderr => own(io::stderr().as_fd().try_clone_to_owned()),
        LogSink::File(path) => match open_path(path) {
            // A socket cannot be opened by its name in /dev; the descriptor is there all the same.
            Err(error) if path == "/dev/stdout" => open(&LogSink::Stdout).map_err(|_| error),
            Err(error) if path == "/dev/stderr" => open(&LogSink::Stderr).map_err(|_| error),
            opened => opened,
        },
    }
}

/// Opens a file for appending. A pipe is opened for both directions: then opening does not wait for a reader, and a reader that
/// comes and goes breaks nothing.
fn open_path(path: &str) -> io::Result<File> {
    let is_pipe = std::fs::metadata(path).is_ok_and(|file| file.file_type().is_fifo());
    let mut options = OpenOptions::new();
    options.append(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC);
    if is_pipe {
        options.read(true);
    } else {
        options.create(true);
    }
    options.open(path)
}

/// One file, and what waits for it.
struct Sink {
    sink: LogSink,
    file: File,
    buffer: Vec<u8>,
    /// Lines in the buffer, the first of which may be written in part.
    lines: u64,
    /// It did not take what it was given last.
    failing: bool,
    /// It took a part of a line whose rest was dropped: a line end belongs before the next one.
    torn: bool,
}

impl Sink {
    fn new(sink: LogSink, file: File) -> Self {
        Self { sink, file, buffer: Vec::new(), lines: 0, failing: false, torn: false }
    }
}

/// What became of a write.
enum Written {
    All,
    /// It is full for now.
    Stuck,
    Failed(io::Error),
}

struct Writer {
    flush: Flush,
    registry: Arc<Registry>,
    log: Log,
    inbox: Receiver<News>,
    rings: Vec<LogReader>,
    /// By number.
    sinks: Vec<Sink>,
}

impl Writer {
    fn run(mut self) {
        let mut flushed = Instant::now();
        loop {
            match flushed.checked_add(self.flush.interval) {
                // Nothing can come.
                _ if self.rings.is_empty() => thread::park(),
                None => thread::park(),
                Some(due) => thread::park_timeout(due.saturating_duration_since(Instant::now())),
            }
            let mut end = None;
            while let Ok(news) = self.inbox.try_recv() {
                match news {
                    News::Sink(number, sink) => {
                        assert_eq!(self.sinks.len(), number as usize, "sinks come in order");
                        self.sinks.push(sink);
                    }
                    News::Ring(ring) => self.rings.push(ring),
                    News::Reopen => {
                        self.collect();
                        self.write(0);
                        self.reopen();
                    }
                    News::End(done) => end = Some(done),
                }
            }
            self.collect();
            let is_due = flushed.elapsed() >= self.flush.interval;
            if is_due && self.sinks.iter().any(|sink| !sink.buffer.is_empty()) {
                self.registry.server.access_log_flushed.add(1);
            }
            self.write(if is_due || end.is_some() { 0 } else { self.flush.bytes_min });
            if is_due {
                flushed = Instant::now();
            }
            if let Some(done) = end {
                let _ended = done.try_send(());
                return;
            }
        }
    }

    /// Takes the lines out of the rings.
    fn collect(&mut self) {
        let server = &self.registry.server;
        let (mut dropped, mut read) = (0, 0);
        for ring in &mut self.rings {
            read += ring.read(|number, line| {
                let sink = &mut self.sinks[number as usize];
                if sink.buffer.len() + line.len() > BUFFER_BYTES_MAX {
                    write_out(sink, &self.registry, self.log);
                }
                if sink.buffer.len() + line.len() > BUFFER_BYTES_MAX {
                    dropped += 1;
                    return;
                }
                sink.buffer.extend_from_slice(line);
                sink.lines += 1;
                self.registry.server.access_log_buffered_writes.add(1);
                if sink.buffer.len() >= WRITE_BYTES && !sink.failing {
                    write_out(sink, &self.registry, self.log);
                }
            });
            dropped += ring.take_dropped();
        }
        server.access_log_lines.add(read);
        server.access_log_dropped.add(dropped);
    }

    /// Writes the buffers that hold at least so much.
    fn write(&mut self, bytes_min: usize) {
        for sink in &mut self.sinks {
            if !sink.buffer.is_empty() && sink.buffer.len() >= bytes_min {
                write_out(sink, &self.registry, self.log);
            }
        }
        self.registry.server.access_log_buffered.set(self.sinks.iter().map(|sink| sink.buffer.len() as u64).sum());
    }

    fn reopen(&mut self) {
        for sink in &mut self.sinks {
            if !matches!(sink.sink, LogSink::File(_)) {
                continue;
            }
            match open(&sink.sink) {
                Ok(file) => (sink.file, sink.torn) = (file, false),
                Err(error) => {
                    self.registry.server.access_log_reopen_failed.add(1);
                    self.log.error(format_args!(
                        "access log {}: cannot be reopened, the old file is used: {error}",
                        sink.sink
                    ));
                }
            }
        }
    }
}

/// A buffer of this size is written before more is read: larger writes gain nothing.
const WRITE_BYTES: usize = 256 << 10;

/// Writes a buffer, as far as the file takes it.
fn write_out(sink: &mut Sink, registry: &Registry, log: Log) {
    let server = &registry.server;
    if sink.torn {
        // Where there is no room for it, there is none for what follows.
        sink.torn = !matches!(sink.file.write(b"\n"), Ok(1));
    }
    let mut at = 0;
    let written = loop {
        match sink.file.write(&sink.buffer[at..]) {
            Ok(0) => break Written::Stuck,
            Ok(size) => {
                at += size;
                server.access_log_writes.add(1);
                if at == sink.buffer.len() {
                    break Written::All;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break Written::Stuck,
            Err(error) => break Written::Failed(error),
        }
    };
    if at > 0 && !matches!(written, Written::All) {
        sink.lines -= lines_in(&sink.buffer, at, sink.lines);
        sink.torn = matches!(written, Written::Failed(_)) && sink.buffer[at - 1] != b'\n';
    }
    sink.buffer.drain(..at);
    let was_failing = std::mem::replace(&mut sink.failing, !matches!(written, Written::All));
    match written {
        Written::All => {
            sink.lines = 0;
            if was_failing {
                log.info(format_args!("access log {}: it is written again", sink.sink));
            }
        }
        Written::Stuck => {
            if !was_failing {
                log.warning(format_args!(
                    "access log {}: nobody reads the pipe; lines wait, then are dropped",
                    sink.sink
                ));
            }
        }
        Written::Failed(error) => {
            server.access_log_write_failed.add(1);
            server.access_log_dropped.add(std::mem::take(&mut sink.lines));
            sink.buffer.clear();
            if !was_failing {
                log.error(format_args!("access log {}: {error}; lines are dropped until it takes them", sink.sink));
            }
        }
    }
}

/// How many of the `lines` in a buffer end within its first `size` bytes. Where they have another number of line ends than one each, it
/// is estimated by their size.
#[cold]
fn lines_in(buffer: &[u8], size: usize, lines: u64) -> u64 {
    let ends = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
    if ends(buffer) == lines { ends(&buffer[..size]) } else { lines * size as u64 / buffer.len().max(1) as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_went_before_the_disk_was_full_are_not_dropped_ones() {
        for (buffer, size, lines, expect) in [
            ("a\nbc\nd\n", 0, 3, 0),
            ("a\nbc\nd\n", 2, 3, 1),
            ("a\nbc\nd\n", 4, 3, 1),
            ("a\nbc\nd\n", 5, 3, 2),
            // The end of one that went in part before.
            ("c\nd\n", 3, 2, 1),
            // Without line ends, and with two each.
            ("abcd", 2, 4, 2),
            ("a\nb\nc\nd\n", 4, 2, 1),
        ] {
            assert_eq!(lines_in(buffer.as_bytes(), size, lines), expect, "{buffer:?} {size}");
        }
    }
}
