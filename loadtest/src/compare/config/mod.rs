//! One description of listeners, written in each proxy's own format.

mod haproxy;
mod nginx;
mod v3;

use std::net::SocketAddr;
use std::path::PathBuf;

use super::scenario::Way;

/// Routes of the sidecar's listener, and the clusters that they lead to.
pub(crate) const SIDECAR_ROUTES: u32 = 200;
const SIDECAR_CLUSTERS: u32 = 100;
/// Connections of clients that a proxy has to hold: 7,000 of the largest scenario, and room. Both sides want 18,000 descriptors.
const CONNECTIONS_MAX: u32 = 9_000;
/// Connections that wait to be accepted: what a load of as many brings at once.
const BACKLOG: u32 = 4096;
/// An idle connection stays as long as any scenario lasts.
const IDLE_TIMEOUT_S: u32 = 600;
/// Connections to the origin that are kept for the next request.
const KEPT_MAX: u32 = 512;

/// What a proxy is to do.
#[derive(Clone, Debug)]
pub(crate) struct Wiring {
    /// The proxy's name: that of its files.
    pub(crate) name: String,
    /// Where its files are.
    pub(crate) folder: PathBuf,
    /// A listener for each of these, on this port of 127.0.0.1.
    pub(crate) listeners: Vec<(Way, u16)>,
    /// The admin server's port, of proxies that have one.
    pub(crate) admin: u16,
    pub(crate) origins: Origins,
    pub(crate) workers: usize,
}

/// Where requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origins {
    /// Answers of 1 KiB, in HTTP/1 and in HTTP/2 by prior knowledge.
    pub(crate) small: SocketAddr,
    /// Answers of 1 MiB.
    pub(crate) bulk: SocketAddr,
}

impl Origins {
    pub(crate) fn of(self, way: Way) -> SocketAddr {
        if way.is_bulk() { self.bulk } else { self.small }
    }
}

/// The certificate that all proxies show: PEM of it, of its key, and of both.
pub(crate) const CERTIFICATE: [&str; 3] = ["certificate.pem", "key.pem", "both.pem"];

/// The format of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Envoy's, version 3.
    V3,
    Haproxy,
    Nginx,
}

impl Format {
    /// Why a proxy with this format cannot serve a way, if it cannot.
    pub(crate) fn cannot(self, way: Way) -> Option<&'static str> {
        match (self, way) {
            (Format::Nginx, Way::Http2) => Some("it does not multiplex HTTP/2 towards an origin"),
            (Format::Nginx | Format::Haproxy, Way::Sidecar) => {
                Some("the same configuration cannot be said in its format")
            }
            _ => None,
        }
    }

    /// The name of its file.
    pub(crate) fn file(self, name: &str) -> String {
        match self {
            Format::V3 => format!("{name}.json"),
            Format::Haproxy => format!("{name}.cfg"),
            Format::Nginx => format!("{name}.conf"),
        }
    }

    /// The configuration.
    pub(crate) fn write(self, wiring: &Wiring) -> String {
        match self {
            Format::V3 => v3::write(wiring),
            Format::Haproxy => haproxy::write(wiring),
            Format::Nginx => nginx::write(wiring),
        }
    }
}

impl Wiring {
    /// A file of the folder, as text.
    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// The address of a listener, if there is one.
    pub(crate) fn address(&self, way: Way) -> Option<SocketAddr> {
        let (_, port) = self.listeners.iter().find(|(of, _)| *of == way)?;
        Some(SocketAddr::from(([127, 0, 0, 1], *port)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wiring() -> Wiring {
        Wiring {
            name: "p".into(),
            folder: "/f".into(),
            listeners: Way::ALL.iter().enumerate().map(|(at, way)| (*way, 7000 + at as u16)).collect(),
            admin: 7999,
            origins: Origins { small: "127.0.0.1:1".parse().unwrap(), bulk: "127.0.0.1:2".parse().unwrap() },
            workers: 2,
        }
    }

    /// Each listener that a proxy can serve stands in its file, and none that it cannot.
    #[test]
    fn every_way_is_configured_or_cannot_be() {
        let wiring = wiring();
        for format in [Format::V3, Format::Haproxy, Format::Nginx] {
            let text = format.write(&wiring);
            for (way, port) in &wiring.listeners {
                let is_there = text.contains(&port.to_string());
                assert_eq!(is_there, format.cannot(*way).is_none(), "{format:?} {way:?}\n{text}");
            }
            // Proxies that take the number on their command line are given it there.
            let workers = match format {
                Format::V3 => None,
                Format::Haproxy => Some("nbthread 2\n"),
                Format::Nginx => Some("worker_processes 2;"),
            };
            assert!(workers.is_none_or(|said| text.contains(said)), "all have as many workers: {text}");
            assert!(text.contains("/f/"), "its files are in the folder: {text}");
        }
    }

    #[test]
    fn a_file_of_version_3_is_json_with_a_cluster_for_each_route() {
        let json: serde_json::Value = serde_json::from_str(&Format::V3.write(&wiring())).unwrap();
        let listeners = json["static_resources"]["listeners"].as_array().unwrap();
        let clusters = json["static_resources"]["clusters"].as_array().unwrap();
        assert_eq!(listeners.len(), Way::ALL.len());
        let names: Vec<&str> = clusters.iter().map(|cluster| cluster["name"].as_str().unwrap()).collect();
        let sidecar = listeners.iter().find(|listener| listener["name"] == "sidecar").unwrap();
        let routes = sidecar
            .pointer("/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes")
            .and_then(serde_json::Value::as_array)
            .unwrap();
        assert_eq!(routes.len(), SIDECAR_ROUTES as usize);
        for route in routes {
            assert!(names.contains(&route["route"]["cluster"].as_str().unwrap()), "{route}");
        }
    }

    #[test]
    fn only_what_is_needed_is_configured() {
        let wiring = Wiring { listeners: vec![(Way::Http1, 7000)], ..wiring() };
        for (format, absent) in [(Format::V3, "sidecar"), (Format::Haproxy, "ssl"), (Format::Nginx, "stream {")] {
            assert!(!format.write(&wiring).contains(absent), "{format:?}");
        }
    }
}
