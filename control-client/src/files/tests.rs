//! Files as they are read, in Envoy's several spellings.

use std::path::PathBuf;
use std::sync::Arc;

use super::read_response;
use crate::cache::{Change, ConfigSource, Kind};
use crate::reader::Unknown;

/// `version; name version problems, ...` of a response of clusters, or its problems.
fn read(text: &str) -> String {
    let source = Arc::new(ConfigSource::Path { path: PathBuf::from("f"), watched_directory: None });
    match read_response("f", text, &source, Kind::Cluster, Unknown::Refused) {
        Err(problems) => problems.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | "),
        Ok(update) => {
            let Change::World(received) = update.change else { panic!("a file holds all there is") };
            let resources = received.into_iter().map(|one| {
                let problems: Vec<String> = one.report.problems.iter().map(ToString::to_string).collect();
                format!("; {:?} {:?} {}", one.name, one.version, problems.join(" | "))
            });
            format!("{:?}{}", update.version, resources.collect::<String>())
        }
    }
}

const CLUSTER: &str = "\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: c";

#[test]
fn responses_in_their_spellings() {
    let wrapped = "\"@type\": type.googleapis.com/envoy.service.discovery.v3.Resource, name: w, version: \"7\"";
    let url = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
    for (text, expect) in [
        ("{version_info: \"1\", resources: []}".to_owned(), r#""1""#),
        ("{versionInfo: \"1\"}".to_owned(), r#""1""#),
        (format!("{{resources: {{{CLUSTER}}}}}"), r#"""; "c" "" "#),
        (
            format!("{{type_url: {url}, nonce: n, resources: [{{{CLUSTER}}}, [{{{CLUSTER}}}]]}}"),
            r#"""; "c" "" ; "c" "" "#,
        ),
        (format!("{{resources: [{{{wrapped}, resource: {{{CLUSTER}}}}}]}}"), r#"""; "w" "7" "#),
        (format!("{{resources: [{{{wrapped}}}]}}"), r#"""; "w" "7" f:1:14: resources[0].resource: value is required"#),
        (
            format!("{{resources: [{{{wrapped}, resource: {{{CLUSTER}, type: 99x}}}}]}}"),
            r#"""; "w" "7" f:1:192: resources[0].resource.type: "99x" is none of STATIC, STRICT_DNS, LOGICAL_DNS, EDS, ORIGINAL_DST"#,
        ),
        ("{version_info: 1}".to_owned(), "f:1:16: version_info: expected a string, found a number: put it in quotes"),
        (
            "{version: \"1\"}".to_owned(),
            "f:1:2: version: no such field in envoy.service.discovery.v3.DiscoveryResponse",
        ),
        (
            "{type_url: t/envoy.config.listener.v3.Listener}".to_owned(),
            "f:1:12: type_url: \"t/envoy.config.listener.v3.Listener\" is not the type that is asked for, envoy.config.cluster.v3.Cluster",
        ),
        ("[]".to_owned(), "f:1:1: expected an object (envoy.service.discovery.v3.DiscoveryResponse), found a list"),
        (
            "{resources: [{name: d}]}".to_owned(),
            r#"""; "d" "" f:1:14: resources[0]: an object of any type needs "@type""#,
        ),
    ] {
        assert_eq!(read(&text), expect, "{text}");
    }
}

/// A directory of keys behind a link: each version is one commit, one that is wrong leaves the last, and none is an empty layer.
#[test]
fn a_layer_of_files_follows_its_link() {
    use std::collections::BTreeSet;
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::Files;
    use crate::bootstrap::{ReadOptions, Source, read_bootstrap};
    use crate::cache::{Cache, Moment};
    use crate::tls::TlsContexts;

    let home = std::env::temp_dir().join(format!("ringway-layer-of-files-{}", std::process::id()));
    let _ = fs::remove_dir_all(&home);
    let link = home.join("current");
    let version = |name: &str, files: &[(&str, &str)]| {
        for (file, text) in files {
            let path = home.join(name).join(file);
            fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
            fs::write(path, text).expect("a file");
        }
        symlink(name, home.join("next")).expect("a link");
        fs::rename(home.join("next"), &link).expect("a move");
    };
    version("1", &[("e/w/c", "7"), ("e/shop/w/d", "9"), ("e/overload.x", "1")]);
    let layer = |name: &str, more: &str| {
        format!("{{name: {name}, disk_layer: {{symlink_root: {}, subdirectory: e{more}}}}}", link.display())
    };
    let text = format!(
        "node: {{id: i, cluster: shop}}\nlayered_runtime: {{layers: [{{name: s, static_layer: {{w.c: 1, w.d: 2}}}}, {}, {}]}}\n",
        layer("a", ""),
        layer("b", ", append_service_cluster: true"),
    );
    let read = read_bootstrap(Source { name: "b", text: &text }, &ReadOptions::default()).expect("it is right");
    let (mut cache, mut files, mut contexts) = (Cache::new(), Files::new(), TlsContexts::new());
    cache.set_roots(read.roots.expect("more has to come"), Moment::now());
    let mut bring = |cache: &mut Cache, moved: &[&PathBuf]| {
        let moved: BTreeSet<PathBuf> = moved.iter().map(|path| (*path).clone()).collect();
        let brought = files.bring(cache, &mut contexts, Some(&moved), Moment::now());
        assert!(brought.iter().all(|one| one.scopes.is_empty()), "nobody counts it as a resource");
        let refused = brought.iter().filter_map(|one| one.outcome.as_ref().err());
        let refused: Vec<String> = refused.map(|failure| failure.problems[0].rule.clone()).collect();
        cache.take_up_layers(&mut contexts, Moment::now());
        let waits = cache.settle(Moment::now().instant).waits;
        assert!(waits.is_empty(), "{waits:?}");
        files.settle(cache);
        let runtime = cache.runtime().expect("there are layers of sources").clone();
        let values = ["w.c", "w.d"].map(|key| runtime.uint(key).map_or("none".to_owned(), |value| value.to_string()));
        (values.join(" "), refused.join(" | "), runtime.entries().len())
    };
    let good = |values: &str, count| (values.to_owned(), String::new(), count);
    assert_eq!(bring(&mut cache, &[]), good("7 9", 4));
    let warning =
        format!("{}: overload.x has no effect: Envoy reads it where no field names it", link.join("e").display());
    assert_eq!(cache.layer_warnings(), [warning]);
    assert!(cache.shown().is_empty(), "it is no resource");
    // In place, and a move onto something else.
    fs::write(home.join("1/e/w/c"), "8").expect("a file");
    assert_eq!(bring(&mut cache, &[]), good("7 9", 4));
    assert_eq!(bring(&mut cache, &[&link]), good("8 9", 4));
    version("2", &[("e/w/c", "10"), ("e/shop/w/d", "11"), ("e/w/d", "12")]);
    assert_eq!(bring(&mut cache, &[&link]), good("10 11", 3));
    version("3", &[("e/w/c", "13"), ("e/bad", "a: b: c: [")]);
    let (values, refused, _) = bring(&mut cache, &[&link]);
    assert_eq!(values, "10 12", "what is wrong leaves the last one, and the other one is gone");
    assert!(refused.contains("e/bad:1:"), "{refused}");
    version("4", &[("x", "1")]);
    assert_eq!(bring(&mut cache, &[&link]), good("1 2", 2));
    fs::remove_dir_all(home).expect("removed");
}

/// A volume whose directories were looked at for one source, and which is swapped before the layer of another one is read.
#[test]
fn a_layer_of_a_version_that_is_gone_is_read_of_the_one_that_took_its_place() {
    use std::collections::BTreeSet;
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::Files;
    use crate::bootstrap::{ReadOptions, Source, read_bootstrap};
    use crate::cache::{Cache, Moment};
    use crate::tls::TlsContexts;

    let home = std::env::temp_dir().join(format!("ringway-layer-of-a-volume-{}", std::process::id()));
    let _ = fs::remove_dir_all(&home);
    let swap = |from: &str, to: &str| {
        fs::create_dir_all(home.join(to).join("e")).expect("a directory");
        fs::write(home.join(to).join("e/key"), to.trim_start_matches('.')).expect("a file");
        fs::write(home.join(to).join("r.yaml"), "resources: []\n").expect("a file");
        symlink(to, home.join("next")).expect("a link");
        fs::rename(home.join("next"), home.join("..data")).expect("a move");
        let _ = fs::remove_dir_all(home.join(from));
    };
    swap("..none", "..1");
    symlink("..data/r.yaml", home.join("r.yaml")).expect("a link");
    symlink("..data/e", home.join("link")).expect("a link");
    let one = format!(
        "{{name: one, rtds_layer: {{name: one, rtds_config: {{path_config_source: {{path: {0}/r.yaml}}}}}}}}",
        home.display()
    );
    let disk = format!(", {{name: disk, disk_layer: {{symlink_root: {0}/link}}}}", home.display());
    let (mut cache, mut files, mut contexts) = (Cache::new(), Files::new(), TlsContexts::new());
    let load = |cache: &mut Cache, more: &str| {
        let text = format!("layered_runtime: {{layers: [{one}{more}]}}\n");
        let read = read_bootstrap(Source { name: "b", text: &text }, &ReadOptions::default()).expect("it is right");
        cache.set_roots(read.roots.expect("more has to come"), Moment::now());
    };
    let value = |cache: &mut Cache, contexts: &mut TlsContexts| {
        cache.take_up_layers(contexts, Moment::now());
        cache.runtime().and_then(|runtime| runtime.uint("key"))
    };
    let nothing = BTreeSet::new();
    load(&mut cache, "");
    files.bring(&mut cache, &mut contexts, Some(&nothing), Moment::now());
    assert_eq!(value(&mut cache, &mut contexts), None);
    // Nobody has told of the move yet.
    swap("..1", "..2");
    load(&mut cache, &disk);
    let brought = files.bring(&mut cache, &mut contexts, Some(&nothing), Moment::now());
    assert!(brought.iter().all(|one| one.outcome.is_ok()), "{brought:?}");
    assert_eq!(value(&mut cache, &mut contexts), Some(2));
    // Where no version stays until it is read, the last one does, and that is said.
    swap("..2", "..3");
    let moved = BTreeSet::from([home.join("link")]);
    let mut brought = Vec::new();
    files.bring_once(&mut cache, &mut contexts, Some(&moved), Moment::now(), false, &mut brought);
    let said = brought.iter().filter_map(|one| one.outcome.as_ref().err());
    let said: Vec<&str> = said.map(|failure| failure.problems[0].rule.as_str()).collect();
    assert_eq!(said, ["it was replaced while it was read"]);
    assert_eq!(value(&mut cache, &mut contexts), Some(2));
    files.bring(&mut cache, &mut contexts, Some(&moved), Moment::now());
    assert_eq!(value(&mut cache, &mut contexts), Some(3));
    fs::remove_dir_all(home).expect("removed");
}
