//! From a file to all cores: reading, building, one cluster's endpoints changed, and the commit.
//! `cargo bench -p ringway-benches --bench config`; all but the commits are counted by `cargo xtask bench-compare`, too.
#![allow(clippy::print_stderr, reason = "a suite says what is wrong with its arguments")]

mod commit;
#[path = "../started/mod.rs"]
mod started;
mod texts;
#[path = "../timed/mod.rs"]
mod timed;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::hint::black_box;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use ringway_benches::case::{Case, Work};
use ringway_control_client::{
    Bootstrap, Builder, Built, Cache, Files, Moment, Outcome, ReadOptions, Source, TlsContexts, read_bootstrap_with,
};
use ringway_model::Endpoint;
use started::read;
use texts::{Endpoints, assignments, bootstrap};

/// Clusters of a configuration, and as many routes.
const COUNTS: [usize; 3] = [10, 1_000, 10_000];

fn main() -> ExitCode {
    let cases = COUNTS.into_iter().flat_map(|count| {
        let all = Work::Elements(count as u64);
        [
            case("read a file, clusters and routes", count, read_file).doing(all),
            case("build the first snapshot", count, build_first).doing(all),
            case("build a snapshot in which nothing changed", count, build_same).doing(all),
            case("rebuild for the endpoints of one cluster", count, rebuild_one),
            case("one assignment replaced, from file to snapshot", count, one_assignment),
        ]
    });
    timed::main(&cases.collect::<Vec<_>>(), commit::commits)
}

fn case(name: &str, count: usize, body: fn(usize) -> Box<dyn FnMut()>) -> Case {
    let case = Case::new("config", format!("{name}/{count}"), move || body(count));
    match count {
        0..1_000 => case.counted_over(20),
        // A round is as long as many, and the same each time.
        _ => case.counted_over(2).dear(),
    }
}

fn read_file(count: usize) -> Box<dyn FnMut()> {
    let text = bootstrap(count, Endpoints::Static(80));
    Box::new(move || _ = black_box(read(black_box(&text))))
}

fn build_first(count: usize) -> Box<dyn FnMut()> {
    let bootstrap = read(&bootstrap(count, Endpoints::Static(80)));
    Box::new(move || _ = black_box(Builder::new().build(black_box(&bootstrap))))
}

fn build_same(count: usize) -> Box<dyn FnMut()> {
    let bootstrap = read(&bootstrap(count, Endpoints::Static(80)));
    let mut builder = Builder::new();
    builder.build(&bootstrap);
    Box::new(move || assert!(matches!(builder.build(black_box(&bootstrap)), Built::Same(_)), "nothing changed"))
}

/// Endpoints of a cluster at a port, as a snapshot has them.
fn endpoints_at(port: u16) -> Vec<Endpoint> {
    let mut builder = Builder::new();
    let snapshot = builder.build(&read(&bootstrap(1, Endpoints::Static(port)))).snapshot().clone();
    snapshot.clusters.iter().next().expect("one cluster").endpoints.to_vec()
}

fn rebuild_one(count: usize) -> Box<dyn FnMut()> {
    let mut builder = Builder::new();
    builder.build(&read(&bootstrap(count, Endpoints::Static(80))));
    let mut versions = [81, 82].map(endpoints_at);
    let name = format!("c{}", count - 1);
    Box::new(move || {
        versions.swap(0, 1);
        let changed = BTreeMap::from([(name.clone(), versions[0].clone())]);
        assert!(matches!(builder.with_endpoints(changed), Built::New(_)), "they have changed");
    })
}

/// A folder of ours under that for temporary files, which goes with this.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let folder = std::env::temp_dir().join(format!("ringway-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for temporary files");
        Folder(folder)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        // Not cut to nothing first: for a file that was, ext4 waits for the disk, which is a hundred times what is to be measured.
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.expect("a place for temporary files");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is small, and in a folder for that.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What the command does when the file of one cluster's endpoints was replaced: it reads that one, and the next snapshot is the last but for
/// that cluster. All clusters have endpoints of their own that came so.
fn one_assignment(count: usize) -> Box<dyn FnMut()> {
    let folder = Folder::new();
    let all = folder.write(&format!("all-{count}.yaml"), &assignments(0..count - 1, 80));
    let last_name = format!("last-{count}.yaml");
    let versions = [80, 81].map(|port| assignments(count - 1..count, port));
    assert_eq!(versions[0].len(), versions[1].len(), "one takes the place of the other");
    let last = folder.write(&last_name, &versions[0]);
    let text = bootstrap(count, Endpoints::Files(&all.to_string_lossy(), &last.to_string_lossy()));
    let (mut cache, mut files, mut contexts) = (Cache::new(), Files::new(), TlsContexts::new());
    let source = Source { name: "bench.yaml", text: &text };
    let read = read_bootstrap_with(source, &ReadOptions::default(), &mut contexts);
    let Bootstrap { roots, .. } = read.unwrap_or_else(|problems| panic!("{}", problems[0]));
    cache.set_roots(roots.expect("endpoints have to come"), Moment::now());
    let mut bring = move |moved: Option<&BTreeSet<PathBuf>>| {
        let at = Moment::now();
        for brought in files.bring(&mut cache, &mut contexts, moved, at) {
            brought.outcome.unwrap_or_else(|failure| panic!("{}", failure.problems[0]));
        }
        let settled = cache.settle(at.instant);
        assert!(settled.waits.is_empty(), "all is there");
        files.settle(&cache);
        let resources = matches!(settled.outcome, Outcome::All).then(|| cache.resources());
        cache.caught_up();
        (settled.outcome, resources)
    };
    let (_, resources) = bring(None);
    let mut builder = Builder::new();
    let first = builder.build_resources(&resources.expect("all is new")).snapshot().clone();
    assert_eq!(first.clusters.iter().count(), count, "each has its endpoints");
    let moved = BTreeSet::from([last]);
    let mut turn = 0;
    Box::new(move || {
        turn ^= 1;
        folder.write(&last_name, &versions[turn]);
        let (Outcome::Clusters(parts), _) = bring(Some(&moved)) else { panic!("one cluster has changed") };
        // A copy, which counts once it is committed.
        let mut next = builder.clone();
        assert!(matches!(next.with_clusters(&parts), Built::New(_)), "it has changed");
        builder = next;
    })
}
