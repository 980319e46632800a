//! Connecting to a management server: the endpoints of a cluster of the bootstrap, one after the other.
//!
//! What of the cluster counts: its endpoints (addresses, unix sockets, names), `connect_timeout`, `tcp_keepalive`, its transport
//! socket. Balancing and health are for requests: here is one connection at a time, and the next attempt goes to the next endpoint.

use std::borrow::Borrow;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ringway_model::{Address, HealthStatus, Outgoing};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::secured::Secured;
use crate::api_source::Service;
use crate::dns::{Asker, Outcome, ResolverPlan};
use crate::grpc::{Call, Method};
use crate::translate::ClusterDraft;

/// A connection.
pub(super) struct Dialled {
    pub(super) io: Box<dyn Io>,
    /// Where it leads.
    pub(super) address: String,
}

/// What bytes go through.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// Whose turn it is.
#[derive(Default)]
pub(crate) struct Dialler {
    turn: usize,
    /// Who is asked for names; kept as long as the question is the same.
    asker: Option<(ResolverPlan, Asker)>,
}

impl Dialler {
    /// Connects to the next endpoint, for requests to this host.
    ///
    /// # Errors
    /// Why it could not be reached, with its address where there is one.
    pub(super) async fn dial(&mut self, draft: &ClusterDraft, authority: &str) -> Result<Dialled, String> {
        let cluster = &draft.cluster;
        let addresses = self.addresses(draft).await?;
        if addresses.is_empty() {
            return Err("it has no endpoint".to_owned());
        }
        let (address, hostname) = &addresses[self.turn % addresses.len()];
        self.turn = self.turn.wrapping_add(1);
        let text = address.to_string();
        let connect = async {
            let io = connect(address, cluster.outgoing.as_deref()).await?;
            // The cluster's own: one with `transport_socket_matches` leads to no management server.
            let secured: Box<dyn Io> = match &cluster.transports[0].tls {
                Some(tls) => Box::new(Secured::connect(io, tls, authority, hostname, &text).await?),
                None => io,
            };
            io::Result::Ok(secured)
        };
        let connected = timeout(cluster.connect_timeout, connect).await;
        let at = |why: String| format!("{address}: {why}");
        match connected {
            Ok(Ok(io)) => Ok(Dialled { io, address: text }),
            Ok(Err(error)) => Err(at(error.to_string())),
            Err(_) => Err(at(format!("no connection within {:?}", cluster.connect_timeout))),
        }
    }

    /// Begins a call of this method of the service, at the next endpoint of the service's cluster; with it the address that it leads to.
    ///
    /// # Errors
    /// Why it could not be begun.
    pub(crate) async fn call(
        &mut self,
        clusters: &[impl Borrow<ClusterDraft>],
        service: &Service,
        path: &'static str,
    ) -> Result<(Call, String), String> {
        let draft = clusters.iter().map(Borrow::borrow).find(|draft| draft.cluster.name == service.cluster);
        // It was there when the source was read; a later bootstrap has another.
        let draft = draft.ok_or_else(|| format!("there is no cluster {:?}", service.cluster))?;
        let Dialled { io, address } = self.dial(draft, &service.authority).await?;
        let method = Method {
            path,
            authority: &service.authority,
            metadata: &service.metadata,
            message_bytes_max: service.message_bytes_max,
            keepalive: draft.cluster.http2.connection_keepalive,
        };
        let limit = draft.cluster.connect_timeout;
        match timeout(limit, Call::begin(io, method)).await {
            Ok(Ok(call)) => Ok((call, address)),
            Ok(Err(ended)) => Err(format!("{address}: {ended}")),
            Err(_) => Err(format!("{address}: no HTTP/2 within {limit:?}")),
        }
    }

    /// Where the cluster's endpoints are, and what they are called; the healthy ones of the first priorities first.
    async fn addresses(&mut self, draft: &ClusterDraft) -> Result<Vec<(Address, String)>, String> {
        if let Some(plan) = &draft.names {
            if self.asker.as_ref().is_none_or(|(of, asker)| *of != plan.resolver || !asker.is_current()) {
                self.asker = Some((plan.resolver.clone(), Asker::new(&plan.resolver)));
            }
            let (_, asker) = self.asker.as_ref().expect("just made");
            let (mut addresses, mut failure) = (Vec::new(), None);
            for name in &plan.names {
                match asker.look_up(&name.name, plan.family).await {
                    Outcome::Found { addresses: found, .. } => {
                        let found = found.into_iter().map(|ip| Address::Ip(SocketAddr::new(ip, name.port)));
                        addresses.extend(found.map(|address| (address, name.endpoint.hostname.clone())));
                    }
                    Outcome::Failed(why) => failure = Some(format!("{}: {why}", name.name)),
                }
            }
            return match failure {
                Some(why) if addresses.is_empty() => Err(why),
                _ => Ok(addresses),
            };
        }
        let mut endpoints: Vec<_> = draft.cluster.endpoints.iter().collect();
        let is_out =
            |health| matches!(health, HealthStatus::Unhealthy | HealthStatus::Timeout | HealthStatus::Draining);
        endpoints.sort_by_key(|endpoint| (is_out(endpoint.placement.health), endpoint.placement.priority));
        Ok(endpoints.into_iter().map(|endpoint| (endpoint.address.clone(), endpoint.hostname.clone())).collect())
    }
}

async fn connect(address: &Address, outgoing: Option<&Outgoing>) -> io::Result<Box<dyn Io>> {
    match address {
        Address::Ip(address) => {
            let stream = TcpStream::connect(address).await?;
            // An answer is not to wait for the next one.
            stream.set_nodelay(true)?;
            if let Some(keepalive) = outgoing.and_then(keepalive) {
                SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
            }
            Ok(Box::new(stream))
        }
        Address::Pipe(pipe) => {
            // unix(7): a name of the abstract namespace begins with a NUL.
            let stream = match pipe.path.strip_prefix('@') {
                Some(name) => UnixStream::connect(format!("\0{name}")).await?,
                None => UnixStream::connect(&*pipe.path).await?,
            };
            Ok(Box::new(stream))
        }
    }
}

/// What `tcp_keepalive` came to. A cluster with other options of sockets leads to no management server.
fn keepalive(outgoing: &Outgoing) -> Option<TcpKeepalive> {
    // Linux's numbers (linux/tcp.h), as the translation gives them.
    const SOL_TCP: i32 = 6;
    const TCP_KEEPIDLE: i32 = 4;
    const TCP_KEEPINTVL: i32 = 5;
    const TCP_KEEPCNT: i32 = 6;
    if outgoing.options.is_empty() {
        return None;
    }
    let numbers = outgoing.options.iter().filter(|option| option.level == SOL_TCP).filter_map(|option| {
        let value: [u8; 4] = option.value.as_slice().try_into().ok()?;
        Some((option.name, u32::from_ne_bytes(value)))
    });
    Some(numbers.fold(TcpKeepalive::new(), |keepalive, (name, value)| match name {
        TCP_KEEPIDLE => keepalive.with_time(Duration::from_secs(value.into())),
        TCP_KEEPINTVL => keepalive.with_interval(Duration::from_secs(value.into())),
        TCP_KEEPCNT => keepalive.with_retries(value),
        _ => keepalive,
    }))
}

#[cfg(test)]
mod tests {
    use ringway_model::{SocketOption, SocketState};

    use super::*;

    #[test]
    fn keep_alive_is_what_the_cluster_says() {
        let option = |level, name, value| SocketOption::number(level, name, value, SocketState::Prebind);
        let of = |options| keepalive(&Outgoing { sources: Vec::new(), options });
        assert!(of(Vec::new()).is_none());
        let all = of(vec![option(1, 9, 1), option(6, 6, 3), option(6, 4, 30), option(6, 5, 7)]).expect("it is on");
        let expect = TcpKeepalive::new()
            .with_time(Duration::from_secs(30))
            .with_interval(Duration::from_secs(7))
            .with_retries(3);
        assert_eq!(format!("{all:?}"), format!("{expect:?}"));
    }
}
