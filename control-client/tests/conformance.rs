//! Files that other projects ship: each that Envoy accepts is accepted here, or refused only for what is not done yet;
//! and mutations of them never do worse than give problems.

use std::path::{Path, PathBuf};

use ringway_control_client::{Builder, Problem, ReadOptions, Source, read_bootstrap};

/// `$RINGWAY_CONFORMANCE`, or the folder beside the checkout.
fn folder(test: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance");
    let folder = std::env::var_os("RINGWAY_CONFORMANCE").map_or(beside, PathBuf::from);
    if folder.join("envoy-configs/INDEX.tsv").exists() {
        return Some(folder);
    }
    skip(test, "the conformance files are not there");
    None
}

#[allow(clippy::print_stderr)] // a skipped test must be seen
fn skip(name: &str, why: &str) {
    assert!(std::env::var("RINGWAY_REQUIRE_ALL").as_deref() != Ok("1"), "{name}: {why}");
    eprintln!("SKIP {name}: {why}");
}

fn read(name: &str, text: &str) -> Result<usize, Vec<Problem>> {
    let bootstrap = read_bootstrap(
        Source { name, text },
        &ReadOptions { allow_unknown_static_fields: true, ..ReadOptions::default() },
    )?;
    let json = bootstrap.dump.to_json();
    // A dump without its keys is no configuration.
    if !json.contains("[redacted]") {
        read_bootstrap(
            Source { name, text: &json },
            &ReadOptions { allow_unknown_static_fields: true, ..ReadOptions::default() },
        )?;
    }
    Ok(Builder::new().build(&bootstrap).snapshot().listeners.len())
}

/// Reads one file; what is wrong with the answer, if anything.
fn fault(name: &str, text: &str, envoy_accepts: bool) -> Option<String> {
    let problems = read(name, text).err().unwrap_or_default();
    let lines = text.lines().count();
    for problem in &problems {
        if problem.line < 1 || problem.line > lines + 1 || problem.column < 1 || problem.rule.is_empty() {
            return Some(format!("{problem}: no such place"));
        }
        if envoy_accepts && !problem.rule.contains("supported yet") {
            return Some(problem.to_string());
        }
    }
    None
}

#[test]
fn every_example_that_envoy_accepts_is_read() {
    let Some(folder) = folder("every_example_that_envoy_accepts_is_read") else { return };
    let index = std::fs::read_to_string(folder.join("envoy-configs/INDEX.tsv")).expect("the index is there");
    let mut faults = Vec::new();
    let mut count = 0;
    for line in index.lines().skip(1) {
        let mut columns = line.split('\t');
        let (file, verdict) = (columns.next().expect("a file"), columns.next().expect("a verdict"));
        let text =
            std::fs::read_to_string(folder.join("envoy-configs/examples").join(file)).expect("the file is there");
        faults.extend(fault(file, &text, verdict == "OK"));
        count += 1;
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count >= 60, "only {count} files");
}

#[test]
fn every_bootstrap_of_istio_is_read() {
    let Some(folder) = folder("every_bootstrap_of_istio_is_read") else { return };
    let mut faults = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(folder.join("istio-xds/bootstrap")).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("the file is there");
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        faults.extend(read(&name, &text).err().unwrap_or_default().iter().map(ToString::to_string));
        count += 1;
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count >= 30, "only {count} files");
}

/// A small generator of numbers (xorshift64*), so that a failure can be replayed from its seed.
struct Chance(u64);

impl Chance {
    fn next(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

/// What is put in at random: pieces that mean something to YAML or to the reader.
const PIECES: [&str; 24] = [
    "{", "}", "[", "]", ": ", "- ", "\n", "  ", "&a ", "*a", "!ignore ", "! ", "null", "~", "'", "\"", "-1", "1e400",
    "0x", "\\ud83d", "@type", "|\n", "\u{feff}", "# ",
];

fn mutate(text: &str, chance: &mut Chance) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..1 + chance.next(6) {
        let at = chance.next(chars.len().max(1)).min(chars.len());
        match chance.next(4) {
            0 => {
                let end = (at + 1 + chance.next(40)).min(chars.len());
                chars.drain(at..end);
            }
            1 => {
                let piece = PIECES[chance.next(PIECES.len())];
                chars.splice(at..at, piece.chars());
            }
            2 => {
                let end = (at + 1 + chance.next(200)).min(chars.len());
                let copy: Vec<char> = chars[at..end].to_vec();
                let to = chance.next(chars.len().max(1));
                chars.splice(to..to, copy);
            }
            _ => {
                if let Some(place) = chars.get_mut(at) {
                    *place = char::from(b' ' + chance.next(95) as u8);
                }
            }
        }
    }
    chars.into_iter().collect()
}

/// The body of the fuzz target: any text gives a bootstrap or problems with a place, and never panics.
fn fuzz(seed: u64, text: &str) {
    let mut chance = Chance(seed);
    let mutant = mutate(text, &mut chance);
    assert_eq!(fault("fuzz", &mutant, false), None, "seed {seed}:\n{mutant}");
}

const GOOD: &str = "\
node: {id: a, locality: {zone: z}, metadata: {x: [1, 2]}}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}}
static_resources:
  clusters:
  - &c
    name: a
    connect_timeout: 0.25s
    circuit_breakers: {thresholds: [{max_requests: 5}]}
    load_assignment: {cluster_name: a, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: '::1', port_value: 80}}}}]}]}
  listeners:
  - name: l
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: s
          max_request_headers_kb: 60
          route_config:
            virtual_hosts:
            - name: v
              domains: ['*', 'a.*']
              routes:
              - match: {prefix: /x}
                direct_response: {status: 200, body: {inline_string: hello}}
              - match: {path: /}
                route: {weighted_clusters: {clusters: [{name: a, weight: 1}]}, timeout: 0s}
          http_filters:
          - name: r
            typed_config: {'@type': t/udpa.type.v1.TypedStruct, type_url: t/envoy.extensions.filters.http.router.v3.Router}
";

#[test]
fn the_file_that_is_mutated_is_right() {
    assert_eq!(read("good", GOOD).expect("no problem"), 1);
}

#[test]
fn mutations_give_problems_and_never_panic() {
    for seed in 1..=5_000 {
        fuzz(seed, GOOD);
    }
}

/// Mutants of the largest files, as many as take a second.
#[test]
fn mutations_of_examples_never_panic() {
    let Some(folder) = folder("mutations_of_examples_never_panic") else { return };
    for entry in std::fs::read_dir(folder.join("envoy-configs/examples")).expect("the folder is there") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("the file is there");
        for seed in 1..=10 {
            fuzz(seed, &text);
        }
    }
}

/// Guards the threads of the command, whose stacks are 1 MiB: reading, dumping and dropping recurse once a level.
#[test]
fn the_deepest_text_fits_a_small_stack() {
    let matchers = format!("{}{}", "on_no_match: {matcher: {".repeat(47), "}}".repeat(47));
    let texts = [
        format!("node: {{metadata: {{a: {}1{}}}}}", "[".repeat(96), "]".repeat(96)),
        format!("node: {{metadata: {}1{}}}", "{a: ".repeat(97), "}".repeat(97)),
        format!("static_resources: {{listeners: [{{filter_chain_matcher: {{{matchers}}}}}]}}"),
    ];
    let read = move || texts.iter().flat_map(|text| read("deep", text).err().unwrap_or_default()).collect::<Vec<_>>();
    let thread = std::thread::Builder::new().stack_size(512 << 10).spawn(read).expect("a thread");
    let problems = thread.join().expect("no overflow");
    assert!(!problems.iter().any(|problem| problem.rule.contains("nested")), "{problems:?}");
}
