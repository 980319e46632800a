//! All four combinations of HTTP/1 and HTTP/2, client and origin: what is sent comes, byte for byte, and so do trailers,
//! interim heads and messages without content; a hundred streams at once; and h2load, with nothing failed.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use super::{Bench, verdict};
use crate::lab::chance::Chance;
use crate::lab::config::{Config, Http2, route};
use crate::lab::either::{self, Answer, Version};
use crate::lab::h2::origin::{Request, Response, value};
use crate::lab::h2::session::fields;
use crate::lab::proxy::{Launch, Proxy};
use crate::step::Verdict;
use crate::{command, setup};

/// Bodies at the edges of frames, of windows and of what a proxy reads at once.
const SIZES: [usize; 10] = [0, 1, 4_095, 16_383, 16_384, 16_385, 65_535, 65_536, 200_000, 1 << 20];
/// Streams at once on one connection, each with another size.
const STREAMS: usize = 100;
/// Requests at once for each of h2load's connections, over HTTP/2.
const LOAD_STREAMS: &str = "32";
const LOAD_CONNECTIONS: &str = "4";
const LOAD_LIMIT: Duration = Duration::from_secs(300);
/// Trailers over HTTP/1, which Envoy passes on only where it is told to.
const FRONT: &str = "http_protocol_options: {enable_trailers: true},";
const BACK: &str = r#"
    typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {
      "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions,
      explicit_http_config: {http_protocol_options: {enable_trailers: true}}}}"#;

pub(super) fn run(bench: &Bench) -> Verdict {
    if !setup::there_is("h2load") {
        return Verdict::Missing("h2load: `cargo xtask setup` as root installs it".to_owned());
    }
    verdict(judge(bench))
}

fn judge(bench: &Bench) -> Result<String, String> {
    let origins = [either::origin(Version::Http1, answer)?, either::origin(Version::Http2, answer)?];
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let hosts = |cluster: &str| format!("[{{name: all, domains: [\"*\"], routes: [{}]}}]", route("/", cluster));
    let config = Config::default()
        .listener_with_hosts("h1", any, &hosts("h1"), FRONT)
        .listener_with_hosts("h2", any, &hosts("h2"), FRONT)
        .cluster("h1", &[origins[0].address])
        .cluster_text(BACK)
        .cluster_http2("h2", &[origins[1].address], &Http2::default());
    let file = bench.folder.join("combinations.yaml");
    std::fs::write(&file, config.text()).map_err(|e| format!("cannot write: {e}"))?;
    let launch = Launch {
        kind: bench.kind,
        folder: &bench.folder,
        name: "combinations",
        file: &file,
        concurrency: 2,
        arguments: &[],
    };
    let proxy = Proxy::start(&launch)?;
    let mut wrong = Vec::new();
    let mut sums = Vec::new();
    for client in Version::ALL {
        for back in Version::ALL {
            let way = format!("{}->{}", client.name(), back.name());
            let front = proxy.listener(back.name())?;
            let (mut good, mut count) = (0, 0);
            for case in cases(bench.seed) {
                count += 1;
                match case.play(client, front) {
                    Ok(()) => good += 1,
                    Err(why) => {
                        println!("{way} {}: {why}", case.name);
                        wrong.push(format!("{way} {}", case.name));
                    }
                }
            }
            match load(client, front, bench.count) {
                Ok(line) => println!("{way}: {line}"),
                Err(why) => {
                    println!("{way}: {why}");
                    wrong.push(format!("{way} h2load"));
                }
            }
            sums.push(format!("{way} {good}/{count}"));
        }
    }
    let said = format!("{}, and {} requests of h2load each", sums.join(", "), bench.count);
    if wrong.is_empty() { Ok(said) } else { Err(format!("{said}; not: {}", wrong.join(", "))) }
}

/// Requests on one connection, and the answers that are due.
struct Case {
    name: String,
    requests: Vec<Request>,
    due: Vec<Answer>,
}

impl Case {
    fn play(&self, client: Version, front: SocketAddr) -> Result<(), String> {
        let answers = either::ask(client, front, &self.requests).map_err(|e| e.to_string())?;
        if answers.len() != self.due.len() {
            return Err(format!("{} answers of {}", answers.len(), self.due.len()));
        }
        for (at, (answer, due)) in answers.iter().zip(&self.due).enumerate() {
            let got = [&answer.status, answer.broken.as_deref().unwrap_or("whole"), &answer.interim.join(",")];
            let want = [&due.status, "whole", &due.interim.join(",")];
            if got != want {
                return Err(format!("answer {at}: {got:?} instead of {want:?}"));
            }
            if answer.body != due.body {
                let same = answer.body.iter().zip(&due.body).take_while(|(got, due)| got == due).count();
                let (got, due) = (answer.body.len(), due.body.len());
                return Err(format!("answer {at}: {got} bytes instead of {due}, the same up to {same}"));
            }
            if answer.trailers != due.trailers {
                return Err(format!("answer {at}: trailers {:?} instead of {:?}", answer.trailers, due.trailers));
            }
            for (name, text) in &due.fields {
                if value(&answer.fields, name) != text {
                    return Err(format!("answer {at}: {name} is not {text:?}: {:?}", answer.fields));
                }
            }
        }
        Ok(())
    }
}

fn request(method: &str, path: &str, more: &[(&str, &str)], body: Vec<u8>) -> Request {
    let mut of = fields(&[(":method", method), (":path", path), (":authority", "combinations.test")]);
    of.extend(fields(more));
    Request { fields: of, body, trailers: Vec::new() }
}

fn due(status: &str, body: Vec<u8>) -> Answer {
    Answer { status: status.to_owned(), body, ..Answer::default() }
}

/// Content of the origin's own.
fn content(size: usize) -> Vec<u8> {
    Chance::new(size as u64).bytes(size)
}

/// What the origins answer, by the path.
fn answer(request: &Request) -> Response {
    let path = request.value(":path");
    let (kind, argument) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
    let number = || argument.parse().unwrap_or(0);
    match kind {
        "size" if request.value(":method") == "HEAD" => {
            let mut response = Response::plain(200, b"");
            response.fields.push(("content-length".to_owned(), argument.to_owned()));
            response
        }
        "size" => Response::plain(200, &content(number())),
        "status" => Response::plain(number() as u16, b""),
        "echo" => Response { trailers: some(request.trailers.clone()), ..Response::plain(200, &request.body) },
        "trailers" => Response {
            trailers: Some(fields(&[("x-sum", "42"), ("x-more", argument)])),
            ..Response::plain(200, &content(number()))
        },
        "early" => {
            let interim = vec![fields(&[(":status", "103"), ("link", "</style.css>; rel=preload")])];
            Response { interim, ..Response::plain(200, b"late") }
        }
        "fields" => {
            let mut response = Response::plain(200, b"");
            let value = "v".repeat(number());
            response.fields.push(("x-long".to_owned(), value));
            response.fields.push(("x-came".to_owned(), request.value("x-long").len().to_string()));
            response.fields.push(("x-cookie".to_owned(), request.value("cookie").to_owned()));
            response.fields.push(("x-path".to_owned(), path.to_owned()));
            response
        }
        _ => Response::plain(404, b""),
    }
}

fn some<T>(fields: Vec<T>) -> Option<Vec<T>> {
    if fields.is_empty() { None } else { Some(fields) }
}

/// All cases.
fn cases(seed: u64) -> Vec<Case> {
    let mut chance = Chance::new(seed);
    let mut cases = Vec::new();
    let mut add = |name: String, requests: Vec<Request>, due: Vec<Answer>| cases.push(Case { name, requests, due });
    for size in SIZES {
        let path = format!("/size/{size}");
        add(format!("GET {size}"), vec![request("GET", &path, &[], Vec::new())], vec![due("200", content(size))]);
        let length = size.to_string();
        let known = fields(&[("content-length", &length)]);
        let head = Answer { fields: known, ..due("200", Vec::new()) };
        add(format!("HEAD {size}"), vec![request("HEAD", &path, &[], Vec::new())], vec![head]);
        let body = chance.bytes(size);
        let known = [("content-length", length.as_str())];
        add(
            format!("POST {size}"),
            vec![request("POST", "/echo", &known, body.clone())],
            vec![due("200", body.clone())],
        );
        add(
            format!("POST {size}, no length"),
            vec![request("POST", "/echo", &[], body.clone())],
            vec![due("200", body)],
        );
        let path = format!("/trailers/{size}");
        let trailers = fields(&[("x-sum", "42"), ("x-more", &size.to_string())]);
        let answer = Answer { trailers, ..due("200", content(size)) };
        add(
            format!("trailers after {size}"),
            vec![request("GET", &path, &[("te", "trailers")], Vec::new())],
            vec![answer],
        );
    }
    for status in ["200", "201", "204", "206", "304", "400", "404", "418", "500", "503"] {
        let path = format!("/status/{status}");
        add(format!("status {status}"), vec![request("GET", &path, &[], Vec::new())], vec![due(status, Vec::new())]);
    }
    let trailers = fields(&[("x-checksum", "abc"), ("x-last", "1")]);
    let mut sent = request("POST", "/echo", &[("te", "trailers")], content(20_000));
    sent.trailers = trailers.clone();
    add("trailers of a request".to_owned(), vec![sent], vec![Answer { trailers, ..due("200", content(20_000)) }]);
    let early = Answer { interim: vec!["103".to_owned()], ..due("200", b"late".to_vec()) };
    add("103 before 200".to_owned(), vec![request("GET", "/early", &[], Vec::new())], vec![early]);
    let long = "v".repeat(8_000);
    let more = [("x-long", long.as_str()), ("cookie", "a=1; b=2")];
    let path = "/fields/9000?q=1&x=%20;#";
    let path = path.trim_end_matches('#');
    let came = fields(&[("x-came", "8000"), ("x-cookie", "a=1; b=2"), ("x-path", path)]);
    add(
        "long fields".to_owned(),
        vec![request("GET", path, &more, Vec::new())],
        vec![Answer { fields: came, ..due("200", Vec::new()) }],
    );
    let sizes: Vec<usize> = (0..STREAMS).map(|_| chance.below(60_000)).collect();
    let requests = sizes.iter().map(|size| request("GET", &format!("/size/{size}"), &[], Vec::new())).collect();
    let answers = sizes.iter().map(|size| due("200", content(*size))).collect();
    add(format!("{STREAMS} downloads"), requests, answers);
    let bodies: Vec<Vec<u8>> = sizes.iter().map(|size| chance.bytes(*size)).collect();
    let requests = bodies.iter().map(|body| request("POST", "/echo", &[], body.clone())).collect();
    let answers = bodies.iter().map(|body| due("200", body.clone())).collect();
    add(format!("{STREAMS} uploads"), requests, answers);
    cases
}

/// h2load's verdict in a line; an error if anything failed.
fn load(client: Version, front: SocketAddr, requests: u64) -> Result<String, String> {
    let mut command = Command::new("h2load");
    command.args(["-n", &requests.to_string(), "-c", LOAD_CONNECTIONS]);
    match client {
        Version::Http1 => command.arg("--h1"),
        Version::Http2 => command.args(["-m", LOAD_STREAMS]),
    };
    command.arg(format!("http://{front}/size/1000"));
    let outcome = command::run(command, LOAD_LIMIT, command::Echo::Nothing)?;
    let line = outcome.lines.iter().find(|line| line.starts_with("requests: ")).cloned().unwrap_or_default();
    let whole = format!("{requests} succeeded, 0 failed, 0 errored, 0 timeout");
    if line.contains(&whole) { Ok(line) } else { Err(format!("h2load: {line:?}")) }
}
