//! The client of a case: does its steps on one connection and keeps what comes back.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::case::{Case, Step};
use crate::lab::http::{Head, read_body_into};
use crate::lab::pace::pause;

/// After this a client gives up on an answer. The longest route timeout of the file is a fifth of it, so that nothing of
/// one case is still open long after it.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// Interim responses before one answer.
const INTERIM_MAX: usize = 20;

/// One response at the client.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The interim responses before it.
    pub(super) interim: Vec<u16>,
    pub(super) framing: &'static str,
    /// What follows a 101 or the 2xx of a CONNECT is the tunnel's, to its end.
    pub(super) body: Vec<u8>,
    /// The body did not come to its end.
    pub(super) cut: bool,
    pub(super) fields: BTreeMap<String, Vec<String>>,
    /// Whether it says that it is the last on its connection.
    pub(super) ends: bool,
}

/// Plays a case against a proxy. An error after some answers ends them; which came is what is compared.
pub(super) fn play(front: SocketAddr, case: &Case) -> Vec<Answer> {
    let mut answers = Vec::new();
    if let Ok(mut client) = Client::connect(front, case) {
        let _ended = client.play(&mut answers);
    }
    answers
}

struct Client<'a> {
    case: &'a Case,
    stream: TcpStream,
    from: BufReader<TcpStream>,
    interim: Vec<u16>,
    /// A head that a step has read ahead of its body.
    held: Option<Head>,
}

/// Whether the connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goes {
    On,
    Ends,
}

impl Client<'_> {
    fn connect(front: SocketAddr, case: &Case) -> io::Result<Client<'_>> {
        let stream = TcpStream::connect(front)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.set_write_timeout(Some(ANSWER_LIMIT))?;
        let from = BufReader::new(stream.try_clone()?);
        Ok(Client { case, stream, from, interim: Vec::new(), held: None })
    }

    fn play(&mut self, answers: &mut Vec<Answer>) -> io::Result<()> {
        let mut refused = false;
        for step in &self.case.steps {
            match step {
                // A proxy may refuse and close before all is sent.
                Step::Send(bytes) => refused = refused || self.stream.write_all(bytes).is_err(),
                Step::Head => match self.read_head(true)? {
                    Some(head) => self.held = Some(head),
                    None if self.interim.is_empty() => return Ok(()),
                    None => {}
                },
                Step::Answer => {
                    if self.read_answer(answers)? == Goes::Ends {
                        return Ok(());
                    }
                }
                Step::HalfClose => self.stream.shutdown(Shutdown::Write)?,
                Step::Pause(time) => pause(*time),
            }
        }
        while answers.len() < self.case.methods.len() {
            if self.read_answer(answers)? == Goes::Ends {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The next head that is no interim one; with `one` none at all where the next is an interim one.
    fn read_head(&mut self, one: bool) -> io::Result<Option<Head>> {
        if let Some(held) = self.held.take() {
            return Ok(Some(held));
        }
        loop {
            let Some(head) = Head::read(&mut self.from)? else { return Ok(None) };
            if !(100..200).contains(&head.status()) || head.status() == 101 {
                return Ok(Some(head));
            }
            self.interim.push(head.status());
            if one || self.interim.len() > INTERIM_MAX {
                return Ok(None);
            }
        }
    }

    fn read_answer(&mut self, answers: &mut Vec<Answer>) -> io::Result<Goes> {
        let method = self.case.methods.get(answers.len()).copied().unwrap_or("GET");
        let Some(head) = self.read_head(false)? else { return Ok(Goes::Ends) };
        let status = head.status();
        let mut answer =
            Answer { status, ends: head.closes(), interim: std::mem::take(&mut self.interim), ..Answer::default() };
        answer.fields = end_to_end(&head);
        if status == 101 || (method == "CONNECT" && (200..300).contains(&status)) {
            answer.framing = "tunnel";
            let _refused = self.stream.write_all(&self.case.tunnel);
            answer.body.resize(self.case.tunnel_back, 0);
            if let Err(error) = self.from.read_exact(&mut answer.body) {
                answer.body = error.to_string().into_bytes();
            }
            let _ended = self.stream.shutdown(Shutdown::Write);
            answer.cut = self.from.read_to_end(&mut answer.body).is_err();
            answers.push(answer);
            return Ok(Goes::Ends);
        }
        let framing = head.response_framing(method)?;
        answer.framing = framing.class();
        match read_body_into(&mut self.from, framing, &mut answer.body) {
            Ok(trailers) => {
                for (name, value) in trailers {
                    answer.fields.entry(format!("{name} (trailer)")).or_default().push(value);
                }
            }
            Err(_) => answer.cut = true,
        }
        let goes = if answer.cut || answer.ends { Goes::Ends } else { Goes::On };
        answers.push(answer);
        Ok(goes)
    }
}

/// Fields by their names in lower case, without those that only say how this hop frames its messages.
pub(super) fn end_to_end(head: &Head) -> BTreeMap<String, Vec<String>> {
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in &head.fields {
        let name = name.to_ascii_lowercase();
        if matches!(name.as_str(), "transfer-encoding" | "content-length") {
            continue;
        }
        // "close" is compared as the end of the connection, "keep-alive" is the default; other words are end to end errors.
        if name == "connection" && matches!(value.to_ascii_lowercase().as_str(), "close" | "keep-alive") {
            continue;
        }
        let value = steady(&name, value);
        fields.entry(name).or_default().push(value);
    }
    fields
}

/// What each run makes anew, by its form: that the field is there and well formed is compared, not what it says.
fn steady(name: &str, value: &str) -> String {
    let is_id = || {
        value.len() == 36
            && value.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                14 => byte == b'4',
                _ => byte.is_ascii_hexdigit(),
            })
    };
    match name {
        "x-request-id" if is_id() => "(a version 4 UUID)".to_owned(),
        "date" if value.len() == 29 && value.ends_with(" GMT") => "(a date)".to_owned(),
        "x-envoy-upstream-service-time" if value.parse::<u32>().is_ok() => "(milliseconds)".to_owned(),
        _ => value.to_owned(),
    }
}
