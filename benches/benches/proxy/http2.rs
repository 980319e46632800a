//! One connection of HTTP/2, as a client, over our own codec.

use std::cell::Cell;

use ringway_protocols::hpack::{Field, FieldList};
use ringway_protocols::http2::{Connection, Event, Limits, Role};
use ringway_runtime::{Core, Stream};

use crate::load::take;
use crate::origin::Answer;

/// Requests of a connection that are under way at a time.
pub(crate) const STREAMS: usize = 8;

/// The connection.
pub(crate) struct Http2Client {
    stream: Stream,
    codec: Connection,
    fields: FieldList,
    block: Vec<u8>,
    /// What came and is a part of a frame.
    input: Vec<u8>,
    out: Vec<u8>,
    under_way: usize,
    content: usize,
}

impl Http2Client {
    pub(crate) fn new(stream: Stream) -> Http2Client {
        let mut codec = Connection::new(Role::Client, &Limits::default(), 0);
        let mut out = Vec::new();
        codec.begin(&mut out);
        let (fields, block, input) = (FieldList::new(), Vec::new(), Vec::new());
        Http2Client { stream, codec, fields, block, input, out, under_way: 0, content: 0 }
    }

    /// Asks as long as there is something left to ask for, and waits for the answers.
    pub(crate) async fn exchange(&mut self, core: &Core, answer: Answer, left: &Cell<u64>) {
        let mut asked = 0;
        self.content = 0;
        loop {
            while self.under_way < STREAMS && take(left) {
                self.ask(answer);
                asked += 1;
            }
            if !self.out.is_empty() {
                self.stream.send(core.chunk(&self.out));
                self.out.clear();
            }
            if self.under_way == 0 {
                break;
            }
            let chunk = self.stream.recv().await.expect("the connection lives").expect("answers, not the end");
            self.codec.unsent(self.stream.unsent());
            if self.input.is_empty() {
                let read = self.read(&chunk);
                self.input.extend_from_slice(&chunk[read..]);
            } else {
                let mut input = std::mem::take(&mut self.input);
                input.extend_from_slice(&chunk);
                let read = self.read(&input);
                input.drain(..read);
                self.input = input;
            }
        }
        assert_eq!(self.content, asked * answer.size(), "as much as was asked for");
    }

    fn ask(&mut self, answer: Answer) {
        let field = |name: &'static [u8], value: &'static [u8]| Field { name, value, never_indexed: false };
        let key = self.codec.send_request(true, &mut self.block, &mut self.out, |fields| {
            fields.put(field(b":method", b"GET"));
            fields.put(field(b":scheme", b"http"));
            fields.put(field(b":authority", b"bench.example.org"));
            fields.put(field(b":path", answer.path().as_bytes()));
        });
        key.expect("the proxy allows more");
        self.under_way += 1;
    }

    /// Reads what is whole; how much that was.
    fn read(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            let step = self.codec.receive(&bytes[at..], 0, &mut self.fields, &mut self.out);
            at += step.consumed;
            match step.event {
                Event::NeedMore => break,
                Event::Head { ends, .. } => {
                    let status = self.fields.iter().next().expect("a status comes first");
                    assert_eq!(
                        (status.name, status.value, ends),
                        (&b":status"[..], &b"200"[..], false),
                        "content follows"
                    );
                }
                Event::Data { key, range, ends } => {
                    self.content += range.len();
                    self.under_way -= usize::from(ends);
                    self.codec.consumed(key, range.len(), &mut self.out);
                }
                Event::Reset { code, .. } => panic!("reset: {code:?}"),
                Event::Failed(error) => panic!("{error}"),
                _ => {}
            }
        }
        at
    }
}
