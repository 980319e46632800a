//! HTTP/2 through a real Envoy and through Ringway: the same file and cases, each on a stream of its own; what the client sees and
//! what the origin gets must be the same, but for a reviewed list.

mod case;
mod classes;
mod reviewed;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use self::case::{Case, Difference, Outcome, differences};
use self::classes::CLASSES;
use super::{Bench, verdict};
use crate::lab::chance::Chance;
use crate::lab::config::{Config, Http2, route_with_timeout};
use crate::lab::either::{self, Version};
use crate::lab::h2::frame::code_named;
use crate::lab::h2::origin::{Request, Response, value};
use crate::lab::h2::session::fields;
use crate::lab::origin::Origin;
use crate::lab::proxy::{Kind, Launch, Proxy};
use crate::setup;
use crate::step::Verdict;

/// Cases of one class at least: what issue 5 says.
const CLASS_CASES_MIN: usize = 20;
/// Cases side by side: some wait for silence.
const LANES: usize = 8;
const FRONT: &str = "http_protocol_options: {enable_trailers: true}, upgrade_configs: [{upgrade_type: websocket}], \
     http2_protocol_options: {allow_connect: true, override_stream_error_on_invalid_http_message: true},";
const BACK: &str = r#"
    typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {
      "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions,
      explicit_http_config: {http_protocol_options: {enable_trailers: true}}}}"#;

pub(super) fn run(bench: &Bench) -> Verdict {
    if !setup::envoy_path().is_file() {
        return Verdict::Missing(format!("Envoy {} (cargo xtask setup)", setup::ENVOY_VERSION));
    }
    verdict(judge(bench))
}

/// What each case's requests were when they came to an origin.
type Recorded = Arc<Mutex<BTreeMap<usize, Vec<Request>>>>;

/// A proxy and the origins behind it.
struct Side {
    proxy: Proxy,
    _origins: [Origin; 2],
    recorded: Recorded,
}

impl Side {
    fn start(bench: &Bench, kind: Kind, name: &str) -> Result<Side, String> {
        let recorded = Recorded::default();
        let origin = |version| {
            let recorded = Arc::clone(&recorded);
            either::origin(version, move |request| {
                if let Ok(number) = request.value("x-case").parse() {
                    recorded.lock().expect("no holder panics").entry(number).or_default().push(request.clone());
                }
                answer(request)
            })
        };
        let origins = [origin(Version::Http1)?, origin(Version::Http2)?];
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let hosts = |cluster: &str| {
            format!(
                "[{{name: all, domains: [\"*\"], routes: [{{match: {{prefix: \"/direct\"}}, direct_response: {{status: 201, body: \
                 {{inline_string: \"an answer of the proxy\"}}}}}}, {}]}}]",
                route_with_timeout("/", cluster, "1s")
            )
        };
        let options = Http2 { options: "allow_connect: true", ..Http2::default() };
        let config = Config::default()
            .listener_with_hosts("h1", any, &hosts("h1"), FRONT)
            .listener_with_hosts("h2", any, &hosts("h2"), FRONT)
            .cluster("h1", &[origins[0].address])
            .cluster_text(BACK)
            .cluster_http2("h2", &[origins[1].address], &options);
        let file = bench.folder.join(format!("{name}.yaml"));
        std::fs::write(&file, config.text()).map_err(|e| format!("cannot write: {e}"))?;
        let launch = Launch { kind, folder: &bench.folder, name, file: &file, concurrency: 1, arguments: &[] };
        Ok(Side { proxy: Proxy::start(&launch)?, _origins: origins, recorded })
    }

    /// Plays one more time, alone; what came of it.
    fn play_again(&self, number: usize, case: &Case) -> Result<(Outcome, Vec<Request>), String> {
        let recorded = || self.recorded.lock().expect("no holder panics").remove(&number).unwrap_or_default();
        let _late = recorded();
        let front = self.proxy.listener(if case.back == Version::Http1 { "h1" } else { "h2" })?;
        let outcome = case.play(front, number).map_err(|e| format!("{} {}, again: {e}", case.class, case.name))?;
        Ok((outcome, recorded()))
    }

    /// Plays all cases; what came of each.
    fn play(&self, cases: &[Case]) -> Result<Vec<(Outcome, Vec<Request>)>, String> {
        let fronts = [self.proxy.listener("h1")?, self.proxy.listener("h2")?];
        // What a pool has to learn of its origin, it has learnt.
        for back in Version::ALL {
            let first = Case { back, ..Case::get("", "the first", "/") };
            first.play(fronts[back as usize], cases.len()).map_err(|e| format!("the first request: {e}"))?;
        }
        let outcomes = Mutex::new(BTreeMap::new());
        let play = |number: usize, case: &Case| {
            let outcome = case.play(fronts[case.back as usize], number);
            let error =
                |e: std::io::Error| Outcome { end: "error".to_owned(), how: e.to_string(), ..Outcome::default() };
            outcomes.lock().expect("no lane panics").insert(number, outcome.unwrap_or_else(error));
        };
        // A connection of an origin that goes away is everybody's: those cases come alone.
        let numbered = || cases.iter().enumerate();
        let (alone, others): (Vec<_>, Vec<_>) = numbered().partition(|(_, case)| case.class == classes::ALONE);
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..LANES {
                scope.spawn(|| {
                    while let Some((number, case)) = others.get(next.fetch_add(1, Ordering::Relaxed)) {
                        play(*number, case);
                    }
                });
            }
        });
        alone.into_iter().for_each(|(number, case)| play(number, case));
        let outcomes = outcomes.into_inner().map_err(|e| format!("a lane panicked: {e}"))?;
        let mut recorded = std::mem::take(&mut *self.recorded.lock().expect("no holder panics"));
        Ok(outcomes
            .into_iter()
            .map(|(number, outcome)| (outcome, recorded.remove(&number).unwrap_or_default()))
            .collect())
    }
}

/// Cases that are played again: more of them than this are no accidents.
const REPLAYS_MAX: usize = LANES;

fn judge(bench: &Bench) -> Result<String, String> {
    let cases = generate(bench.seed, bench.count as usize);
    let sides = [Side::start(bench, Kind::Envoy, "their")?, Side::start(bench, bench.kind, "own")?];
    let (mut theirs, mut own) = (sides[0].play(&cases)?, sides[1].play(&cases)?);
    // What a machine that stood still for a moment made differ does not differ again.
    let mut left = REPLAYS_MAX;
    for (number, case) in cases.iter().enumerate() {
        let is_reviewed = |difference: &Difference| reviewed::EXCEPTIONS.iter().any(|row| row.holds(case, difference));
        let is_expected = breach(case, &own[number]).is_none() || bench.kind == Kind::Envoy;
        if left > 0 && (!is_expected || !differences(&theirs[number], &own[number]).iter().all(is_reviewed)) {
            left -= 1;
            println!("played again: {} {}", case.class, case.name);
            theirs[number] = sides[0].play_again(number, case)?;
            own[number] = sides[1].play_again(number, case)?;
        }
    }
    let mut found: Vec<(&Case, Vec<Difference>)> = Vec::new();
    let mut used = vec![0_usize; reviewed::EXCEPTIONS.len()];
    let mut same = 0;
    for ((case, theirs), own) in cases.iter().zip(&theirs).zip(&own) {
        let mut differing = differences(theirs, own);
        differing.retain(|difference| {
            let row = reviewed::EXCEPTIONS.iter().position(|row| row.holds(case, difference));
            row.inspect(|row| used[*row] += 1).is_none()
        });
        // Envoy against itself is judged for the judge's sake: what is ours does not matter there.
        if bench.kind != Kind::Envoy {
            differing.extend(breach(case, own));
        }
        if differing.is_empty() {
            same += 1;
        } else {
            for difference in &differing {
                println!(
                    "{} {}->{} {}: {}: Envoy {}, Ringway {} ({} / {})",
                    case.class,
                    case.client.name(),
                    case.back.name(),
                    case.name,
                    difference.aspect,
                    difference.theirs,
                    difference.own,
                    theirs.0.how,
                    own.0.how
                );
            }
            found.push((case, differing));
        }
    }
    for (row, count) in reviewed::EXCEPTIONS.iter().zip(&used) {
        println!("reviewed, {count} times: {}", row.reason);
    }
    let unused = used.iter().filter(|count| **count == 0 && bench.kind != Kind::Envoy).count();
    let said = format!(
        "{same} of {} cases of {} classes the same, {} played again, seed {}",
        cases.len(),
        CLASSES.len(),
        REPLAYS_MAX - left,
        bench.seed
    );
    match (found.first(), unused) {
        (None, 0) => Ok(said),
        (None, _) => Err(format!("{said}; {unused} reviewed rows that no case needs")),
        (Some((case, _)), _) => Err(format!("{said}; {} differ, the first: {} {}", found.len(), case.class, case.name)),
    }
}

/// What holds on our side whatever Envoy does: what we refuse for its form reaches no origin.
fn breach(case: &Case, own: &(Outcome, Vec<Request>)) -> Option<Difference> {
    let formal = ["pseudo-fields", "fields", "lengths", "authority", "connect"].contains(&case.class);
    (formal && own.0.is_refused() && !own.1.is_empty()).then(|| Difference {
        aspect: "refused, yet it came to the origin".to_owned(),
        theirs: String::new(),
        own: format!("{:?}", own.1),
    })
}

/// The cases of all classes: `count` in all, as evenly as the classes have them; each to both origins, where it says none.
fn generate(seed: u64, count: usize) -> Vec<Case> {
    let each = (count / CLASSES.len()).max(CLASS_CASES_MIN);
    let mut cases = Vec::new();
    for (at, class) in CLASSES.iter().enumerate() {
        // A sequence for each class, so that a new case moves no other class's.
        let mut chance = Chance::new(seed ^ (at as u64) << 32);
        let mut of_class = (class.named)();
        while of_class.len() < each {
            of_class.push((class.drawn)(&mut chance));
        }
        for case in of_class {
            for back in Version::ALL {
                cases.push(Case { class: class.name, back, ..case.clone() });
            }
        }
    }
    cases
}

/// What the origins answer, by `x-kind`.
fn answer(request: &Request) -> Response {
    let (kind, argument) = request.value("x-kind").split_once('=').unwrap_or((request.value("x-kind"), ""));
    let bodiless = request.value(":method") == "HEAD";
    let plain = |status: u16, body: &[u8]| Response::plain(status, if bodiless { b"" } else { body });
    match kind {
        "echo" => plain(200, &request.body),
        "status" => plain(argument.parse().unwrap_or(200), b""),
        "size" => plain(200, &vec![b's'; argument.parse().unwrap_or(0)]),
        "trailers" => {
            Response { trailers: Some(fields(&[("x-sum", "1"), ("x-arg", argument)])), ..plain(200, b"content") }
        }
        "interim" => Response {
            interim: argument.split('+').map(|status| fields(&[(":status", status), ("x-early", "1")])).collect(),
            ..plain(200, b"late")
        },
        "reset" => Response { reset: Some(code_named(argument)), ..Response::default() },
        "late" => Response { reset: Some(code_named(argument)), ..plain(200, b"part") },
        "silent" => Response { silent: true, ..Response::default() },
        "goaway" => Response { go_away: true, ..plain(200, b"last") },
        "field" => {
            let mut response = plain(200, b"");
            let (name, text) = argument.split_once(':').unwrap_or((argument, ""));
            response.fields.push((name.to_owned(), text.to_owned()));
            response
        }
        _ if value(&request.fields, ":method") == "POST" => plain(200, &request.body),
        _ => plain(200, b"an answer"),
    }
}
