//! A control plane of ADS: a process of the scripted server that the judge of xDS has, which makes each version of the bytes of another.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::resources::{CERTIFICATES, Common, Kind, Naming, endpoint, source, text};

/// Templates have numbers that no other version has, and that name the same certificate and turn.
const TEMPLATE: u64 = 90_000;
const _: () = assert!(TEMPLATE.is_multiple_of(CERTIFICATES) && TEMPLATE.is_multiple_of(2));
/// Versions of what has names of its version that stay: what refers to one may be in force until the next report.
const KEPT: u64 = 64;
const SCRIPTS: [(&str, &str); 2] =
    [("ads.py", include_str!("ads.py")), ("control_plane.py", include_str!("../xds/control_plane.py"))];

/// A running server; ends when dropped.
#[derive(Debug)]
pub(super) struct Ads {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    port: u16,
    is_delta: bool,
    naming: Naming,
}

impl Ads {
    /// Starts it, with all that it has to know.
    pub(super) fn start(python: &Path, folder: &Path, common: &Common, is_delta: bool) -> Result<Ads, String> {
        std::fs::create_dir_all(folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
        for (name, text) in SCRIPTS {
            std::fs::write(folder.join(name), text).map_err(|e| format!("cannot write {name}: {e}"))?;
        }
        let log = std::fs::File::create(folder.join("ads.log")).map_err(|e| format!("cannot write: {e}"))?;
        let mut command = Command::new(python);
        command.current_dir(folder).env("PYTHONDONTWRITEBYTECODE", "1").arg("ads.py");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().map_err(|e| format!("cannot start the server: {e}"))?;
        let (to, from) = (child.stdin.take().expect("piped above"), child.stdout.take().expect("piped above"));
        let mut ads = Ads { child, to, from: BufReader::new(from), port: 0, is_delta, naming: common.naming };
        let port = ads.line()?;
        ads.port = port.parse().map_err(|_| format!("the server did not say its port, but {port:?}"))?;
        for key in 0..CERTIFICATES {
            let of = |kind| common.resources(kind, TEMPLATE + key, &|_| source_of());
            let endpoints: Vec<Value> = (0..3).flat_map(|at| of(Kind::Endpoints(at))).collect();
            let world = json!({
                "cds": of(Kind::Cluster), "eds": endpoints, "lds": of(Kind::Listener), "rds": of(Kind::Routes),
            });
            ads.ask(&json!({"template": key, "world": world}))?;
        }
        Ok(ads)
    }

    /// Says a version to whoever asked. How many responses were refused so far.
    pub(super) fn put(&mut self, version: u64) -> Result<u64, String> {
        let key = version % CERTIFICATES;
        let of = |version: u64| [text(version), endpoint(version), source(version)];
        let replace: Vec<Value> =
            of(TEMPLATE + key).into_iter().zip(of(version)).map(|(old, new)| json!([old, new])).collect();
        let is_common = self.naming != Naming::ByVersion;
        let kept = if is_common { 1 } else { KEPT };
        let flip = json!({
            "flip": text(version), "template": key, "replace": replace, "common": is_common, "kept": kept,
        });
        self.ask(&flip)
    }

    /// The bootstrap's part.
    pub(super) fn bootstrap(&self) -> Value {
        let options = json!({
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        });
        let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": self.port}});
        let cluster = json!({
            "name": "xds",
            "type": "STATIC",
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
            "load_assignment": {
                "cluster_name": "xds", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
            },
        });
        json!({
            "dynamic_resources": {
                "ads_config": {
                    "api_type": if self.is_delta { "DELTA_GRPC" } else { "GRPC" },
                    "transport_api_version": "V3",
                    "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
                },
                "cds_config": source_of(),
                "lds_config": source_of(),
            },
            "static_resources": {"clusters": [cluster]},
        })
    }

    fn ask(&mut self, said: &Value) -> Result<u64, String> {
        writeln!(self.to, "{said}").map_err(|e| format!("the server does not hear: {e}"))?;
        let line = self.line()?;
        let refused = line.strip_prefix("ok ").and_then(|count| count.parse().ok());
        refused.ok_or_else(|| format!("the server said {line:?}"))
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.from.read_line(&mut line).map_err(|e| format!("the server does not answer: {e}"))?;
        Ok(line.trim().to_owned())
    }
}

impl Drop for Ads {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

fn source_of() -> Value {
    json!({"ads": {}, "resource_api_version": "V3"})
}
