//! Whole configurations in the shapes of real control planes (`tests/goldens/`): what ADS brings, in its wire form, and what is said of
//! each resource. `expected.txt` holds the answers; `RINGWAY_WRITE_EXPECTED=1` writes it anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;

use super::secrets::{Pair, certificate, pair, trust};
use super::*;
use crate::fuzz;

/// More rounds than listeners, routes, clusters, endpoints and secrets need to be asked for one after the other.
const ROUNDS_MAX: usize = 8;

/// Certificates stand in a golden as `@CERTIFICATE@`, `@KEY@` and `@AUTHORITY@`.
fn read(folder: &Path, file: &str, pair: &Pair) -> Option<String> {
    let text = fs::read_to_string(folder.join(file)).ok()?;
    let put = |text: &str, mark: &str, pem: &str| text.replace(mark, &format!("{pem:?}"));
    let text = put(&text, "@CERTIFICATE@", &pair.chain);
    Some(put(&put(&text, "@KEY@", &pair.key), "@AUTHORITY@", &pair.chain))
}

fn file_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Cluster => "clusters.yaml",
        Kind::Assignment => "endpoints.yaml",
        Kind::Listener => "listeners.yaml",
        Kind::Routes => "routes.yaml",
        Kind::Secret => "secrets.yaml",
        Kind::Runtime => "runtime.yaml",
        Kind::Extension => "extensions.yaml",
    }
}

/// The resources of a file, by name, in their wire form.
fn resources(kind: Kind, text: &str) -> BTreeMap<String, Bytes> {
    fuzz::resources(kind, text).into_iter().map(|(name, bytes)| (name, bytes.into())).collect()
}

/// What is wanted of a server's resources, by delta.
fn answer(wanted: &Subscription, known: &BTreeMap<String, Bytes>) -> Update {
    let is_wanted = |name: &str| match &wanted.names {
        Names::All => true,
        Names::These(names) => names.contains(name),
    };
    let changed = known.iter().filter(|(name, _)| is_wanted(name));
    let changed = changed.map(|(name, bytes)| Received {
        name: name.clone(),
        version: "1".to_owned(),
        body: Unread::Wire(bytes.clone()),
        report: Report::new(name),
    });
    let change = Change::Delta { changed: changed.collect(), removed: Vec::new() };
    Update { source: wanted.source.clone(), kind: wanted.kind, version: "1".to_owned(), change }
}

/// All that is said, a line each.
fn run(folder: &Path) -> String {
    let pair = pair();
    let text = read(folder, "bootstrap.yaml", &pair).expect("there is a bootstrap");
    let read_text = |kind| read(folder, file_of(kind), &pair).unwrap_or_else(|| "resources: []".to_owned());
    let mut known: BTreeMap<Kind, BTreeMap<String, Bytes>> =
        Kind::ALL.into_iter().map(|kind| (kind, resources(kind, &read_text(kind)))).collect();
    let given = [certificate("default", &pair, &pair), trust("ROOTCA", &pair)];
    let given: String = given.iter().map(|secret| format!("- {secret}\n")).collect();
    let given = resources(Kind::Secret, &format!("resources:\n{given}"));
    known.get_mut(&Kind::Secret).expect("all kinds are there").extend(given);

    let bootstrap = read_bootstrap(Source { name: "bootstrap.yaml", text: &text }, &ReadOptions::default());
    let bootstrap = bootstrap.unwrap_or_else(|problems| panic!("{}", said(&problems)));
    let mut lines = vec!["bootstrap ACK".to_owned()];
    lines.extend(bootstrap.warnings.iter().map(|warning| format!("  warning {}: {}", warning.path, warning.rule)));
    let mut world =
        World { cache: Cache::new(), contexts: TlsContexts::new(), builder: Builder::new(), now: Instant::now() };
    let at = world.at();
    world.cache.set_roots(bootstrap.roots.expect("more has to come"), at);
    let mut asked = Vec::new();
    let mut verdicts = BTreeMap::new();
    for _ in 0..ROUNDS_MAX {
        let wanted: Vec<Subscription> = world.cache.wanted().into_iter().filter(|one| !asked.contains(one)).collect();
        if wanted.is_empty() {
            break;
        }
        for subscription in wanted {
            let update = answer(&subscription, &known[&subscription.kind]);
            let Change::Delta { changed, .. } = &update.change else { unreachable!("made so") };
            for received in changed {
                verdicts.insert((subscription.kind, received.name.clone()), "ACK".to_owned());
            }
            let at = world.at();
            let verdict = world.cache.apply(update, &mut world.contexts, at);
            for refused in verdict.refused {
                verdicts.insert((subscription.kind, refused.name), format!("NACK {}", said(&refused.problems)));
            }
            asked.push(subscription);
        }
        lines.truncate(1 + bootstrap.warnings.len());
        let settled = world.settle();
        // Whoever looks names up has done it.
        let names = world.cache.awaited_names().clone();
        let settled = if world.cache.know_names(names) { world.settle() } else { settled };
        lines.push(format!("then {settled}"));
    }
    let settled = lines.pop().expect("something was settled");
    let unasked = known.iter().flat_map(|(kind, known)| known.keys().map(|name| (*kind, name.clone())));
    for key in unasked {
        let is_given = key.0 == Kind::Secret;
        if !is_given {
            verdicts.entry(key).or_insert_with(|| "is not asked for".to_owned());
        }
    }
    lines.extend(verdicts.into_iter().map(|((kind, name), verdict)| format!("{kind} {name:?} {verdict}")));
    lines.push(settled);
    lines.join("\n") + "\n"
}

fn said(problems: &[crate::Problem]) -> String {
    let each = problems.iter().map(|problem| format!("{}: {}", problem.path, problem.rule));
    each.collect::<Vec<_>>().join(" | ")
}

#[track_caller]
fn check(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name);
    let found = run(&folder);
    let path = folder.join("expected.txt");
    if std::env::var_os("RINGWAY_WRITE_EXPECTED").is_some() {
        fs::write(&path, &found).expect("the answers can be written");
    }
    assert_eq!(found, fs::read_to_string(&path).unwrap_or_default(), "{name}");
}

#[test]
fn a_sidecar_of_istio() {
    check("istio-sidecar");
}

/// Rules of HTTP that nobody enforces here: none of the listeners that have them may open.
#[test]
fn a_sidecar_of_istio_with_authorization() {
    check("istio-authorization");
}

#[test]
fn a_proxy_of_envoy_gateway() {
    check("envoy-gateway");
}

#[test]
fn a_sidecar_of_consul() {
    check("consul");
}

#[test]
fn a_sidecar_of_kuma() {
    check("kuma");
}
