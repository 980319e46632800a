//! The stream of reports: connecting, reporting, and doing so again for as long as the thread lives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{sleep, sleep_until};

use super::LoadReportEvent;
use super::period::{Period, Read};
use crate::api_source::{ApiSource, Service};
use crate::chance::Chance;
use crate::discovery::Backoff;
use crate::grpc::{Call, Ended, Event};
use crate::race::{First, race};
use crate::translate::ClusterDraft;
use crate::xds::Dialler;

const METHOD: &str = "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats";

/// See the module.
pub(super) struct Task {
    api: Arc<ApiSource>,
    servers: watch::Receiver<Arc<[ClusterDraft]>>,
    period: Period,
    read: Box<Read>,
    tell: Box<dyn Fn(LoadReportEvent) + Send>,
}

impl Task {
    pub(super) fn new(
        api: Arc<ApiSource>,
        node: Arc<[u8]>,
        servers: watch::Receiver<Arc<[ClusterDraft]>>,
        read: Box<Read>,
        tell: Box<dyn Fn(LoadReportEvent) + Send>,
    ) -> Self {
        Self { api, servers, period: Period::new(node), read, tell }
    }

    /// Without end.
    pub(super) async fn run(mut self) {
        let backoff = |service: &Service| Backoff::new(service.backoff_base, service.backoff_max);
        let mut backoffs: Vec<Backoff> = self.api.services.iter().map(backoff).collect();
        let (mut dialler, mut chance) = (Dialler::default(), Chance::new());
        for turn in (0..backoffs.len()).cycle() {
            let service = self.api.services[turn].clone();
            let servers = self.servers.borrow().clone();
            let (why, is_error) = match dialler.call(&servers, &service, METHOD).await {
                Ok((call, address)) => {
                    self.period.open(Instant::now());
                    let (ended, is_heard) = self.talk(call, &address).await;
                    self.period.close();
                    if is_heard {
                        backoffs[turn].reset();
                    }
                    (format!("{address}: {}", ended.why), ended.is_error)
                }
                Err(why) => (why, true),
            };
            (self.tell)(LoadReportEvent::Lost { why, is_error });
            let wait: Duration = backoffs[turn].next(chance.next());
            sleep(wait).await;
            (self.tell)(LoadReportEvent::Retry);
        }
    }

    /// Reports until the call is over: why it is, and whether the server said anything.
    async fn talk(&mut self, mut call: Call, address: &str) -> (Over, bool) {
        let mut is_heard = false;
        loop {
            // A report that the server takes its time to read is followed by one of all that happened meanwhile.
            let due = self.period.due().filter(|_| call.has_room());
            let wait = async {
                match due {
                    Some(due) => sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            match race(call.next(), wait).await {
                First::One(Ok(Event::Room)) => {}
                First::One(Ok(Event::Message(message))) => {
                    if let Err(why) = self.period.hear(&message, Instant::now(), &*self.read) {
                        return (Over { why, is_error: true }, is_heard);
                    }
                    if !std::mem::replace(&mut is_heard, true) {
                        (self.tell)(LoadReportEvent::Connected(address.to_owned()));
                    }
                    (self.tell)(LoadReportEvent::Response);
                }
                First::One(Err(ended)) => {
                    let is_error = !matches!(ended, Ended::Status(0, _));
                    return (Over { why: ended.to_string(), is_error }, is_heard);
                }
                First::Other(()) => {
                    let report = self.period.report(Instant::now(), &*self.read);
                    call.send(&report);
                    (self.tell)(LoadReportEvent::Report);
                }
            }
        }
    }
}

/// How a call ended.
struct Over {
    why: String,
    is_error: bool,
}
