//! `ringway explain`, asked of a running proxy.

use std::process::Output;

use crate::common::config::Config;
use crate::common::origin::Origin;
use crate::common::process::{Proxy, TempDir, run};

fn explain(proxy: &Proxy, arguments: &[&str]) -> Output {
    let admin = proxy.admin.to_string();
    run(&[&["explain", "--admin", &admin], arguments].concat())
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(if output.status.success() { &output.stdout } else { &output.stderr }).into_owned()
}

#[test]
fn a_running_proxy_says_what_it_does() {
    let origin = Origin::start("one");
    let config = Config::new()
        .configuration("validate_clusters: false")
        .to("/name", "origin")
        .to("/gone", "nobody")
        .cluster("origin", origin.address);
    let proxy = Proxy::start("poll", &config);
    let url = |path: &str| format!("http://{}{path}", proxy.address);
    // What is said is what is done.
    for (path, status, words) in [
        ("/name", 200, "=> forwarded\n"),
        ("/direct", 200, "=> answered 200: direct_response"),
        ("/gone", 503, "=> answered 503 NC: no such cluster\n"),
        ("/other", 404, "=> answered 404 NR: none of its 3 routes takes \"/other\"\n"),
    ] {
        assert_eq!(proxy.get(path).status(), status, "{path}");
        let output = explain(&proxy, &["GET", &url(path), "-H", "x-a: 1"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        assert!(text(&output).contains(words), "{path}: {}", text(&output));
    }
    let forwarded = text(&explain(&proxy, &[&url("/name")]));
    for step in [
        &*format!("GET {}/name, in generation 1\n", proxy.address),
        &format!("listener \"main\": it listens at {}", proxy.address),
        "virtual host \"all\": domain \"*\"",
        "prefix \"/name\"",
        &format!("cluster \"origin\": round robin; HTTP/1.1\n    endpoint {}: HEALTHY", origin.address),
    ] {
        assert!(forwarded.contains(step), "no {step:?} in {forwarded}");
    }
    let json = explain(&proxy, &["--json", &url("/gone")]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!((&json["end"]["status"], &json["clusters"][0]["name"]), (&503.into(), &"nobody".into()));
    // Nothing was sent, and nothing counted but what clients sent.
    assert_eq!(proxy.stat("http.main.downstream_rq_total"), 4);
}

#[test]
fn what_is_no_question_is_refused() {
    let proxy = Proxy::start("poll", &Config::new());
    for (arguments, words) in [
        (&["GET", "nowhere"][..], "400: url: \"nowhere\": a URL begins with http:// or https://"),
        (&["GET", "http://a/", "-H", "x"], "is not NAME: VALUE"),
        (&["GET", "http://a/", "--listener", "b"], "no listener \"b\" is in force"),
        (&["GET", "http://a/", "--source", "b"], "source: \"b\" is not IP or IP:PORT"),
    ] {
        let output = explain(&proxy, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output).contains(words), "{arguments:?}: {}", text(&output));
    }
    assert_eq!(proxy.admin("GET", "/explain").status(), 400);
    assert_eq!(proxy.admin("GET", "/explain?url=http://a/&colour=red").status(), 400);
    assert_eq!(proxy.admin("POST", "/explain?url=http://a/").status(), 405);
    let nobody = run(&["explain", "--admin", "127.0.0.1:1", "http://a/"]);
    assert_eq!(nobody.status.code(), Some(1));
}

#[test]
fn who_is_held_back_is_said() {
    let dir = TempDir::new();
    let file = |name: &str, text: &str| dir.rename_over(name, text).display().to_string();
    let cluster = |name: &str, fields: &str| {
        format!("- {{\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: {name}, {fields}}}\n")
    };
    let response = |resources: &str| format!("version_info: \"1\"\nresources:\n{resources}");
    let eds = file("eds.yaml", "version_info: \"1\"\nresources: []\n");
    let good = cluster("good", "connect_timeout: 1s");
    let cds = file("cds.yaml", &response(&good));
    let top = format!("dynamic_resources: {{cds_config: {{path_config_source: {{path: {cds}}}}}}}");
    let mut proxy = Proxy::start(
        "poll",
        &Config::new()
            .configuration("validate_clusters: false")
            .to("/slow", "slow")
            .to("/bad", "bad")
            .to("/good", "good")
            .top(&top),
    );
    let source = format!(
        "eds_cluster_config: {{eds_config: {{path_config_source: {{path: {eds}}}, initial_fetch_timeout: 0s}}}}"
    );
    let all = good + &cluster("slow", &format!("type: EDS, {source}")) + &cluster("bad", "no_such_field: 1");
    file("cds.yaml", &response(&all));
    proxy.line("cluster \"slow\" waits for assignment");
    for (path, end, held) in [
        ("/slow", "503 NC", "cluster \"slow\" (on the way of this request): waits for assignment \"slow\" of "),
        ("/bad", "503 NC", "cluster \"bad\" (on the way of this request): version \"1\" refused at "),
        ("/good", "503 UH", "cluster \"slow\": waits for "),
    ] {
        let said = text(&explain(&proxy, &[&format!("http://{}{path}", proxy.address)]));
        assert!(said.contains(end) && said.contains(held), "{path}: {said}");
    }
}
