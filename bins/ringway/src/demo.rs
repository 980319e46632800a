//! `ringway demo`: two origins and the proxy before them, all in one process, without a file.
//!
//! The origins are listeners that answer by themselves (`direct_response`). They are committed first, the proxy second,
//! once it is known where they are: the same path as any other change of configuration.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::mpsc::{SyncSender, channel};
use std::thread;
use std::time::Duration;

use crate::STACK_SIZE;
use crate::args::{Demo, Source};
use crate::command::Command;
use crate::load::Loader;
use crate::log::{Level, Log};
use crate::run::{Process, forward, serve_admin};
use crate::signals::Signals;

/// The routes that are shown: path, what a correct answer contains, what it shows.
const ROUTES: &[(&str, &[&str], &str)] = &[
    ("/blue/", &["200", "blue origin"], "a prefix, to the blue origin"),
    ("/green/", &["200", "green origin"], "a prefix, to the green origin"),
    ("/", &["200", " origin"], "3 of 4 to blue, 1 of 4 to green"),
    ("/hello", &["200", "hello from the proxy"], "an answer of the proxy's own"),
    ("/nowhere/", &["503"], "a cluster that nobody answers for"),
];

/// Runs the demo until Ctrl-C, or, with `--self-test`, until each route was asked once.
pub(crate) fn demo(options: Demo) -> ExitCode {
    match serve(&options) {
        Ok(code) => code,
        Err(problems) => {
            for problem in problems {
                let _ = writeln!(io::stderr(), "{problem}");
            }
            ExitCode::FAILURE
        }
    }
}

fn serve(options: &Demo) -> Result<ExitCode, Vec<String>> {
    let text = |error: io::Error| vec![error.to_string()];
    let signals = Signals::install().map_err(text)?;
    let port = |n: u16| if options.port == 0 { 0 } else { options.port + n };
    let mut loader = Loader::new(in_memory(origins(port(1), port(2))));
    let origins_only = loader.load()?;
    let Process { mut control, commands, inbox } =
        Process::start(&options.engine, Log::from_level(Level::Warning), loader, serde_json::json!({}))?;
    control.begin(origins_only, &inbox)?;
    let bound = |control: &crate::control::Control, name: &str| {
        let listeners = control.engine.listeners();
        let listener = listeners.into_iter().find(|listener| listener.0 == name).expect("committed under this name");
        listener.1[0].ip().expect("the demo listens on TCP")
    };
    let (blue, green) = (bound(&control, "blue"), bound(&control, "green"));
    let yaml = origins(port(1), port(2)) + &proxy(port(0), blue, green);
    control.loader.replace(in_memory(yaml));
    let whole = control.loader.load()?;
    control.begin(whole, &inbox)?;
    let proxy = bound(&control, "proxy");
    serve_admin(&control, &commands, &(Ipv4Addr::LOCALHOST, port(3)).into(), None)?;
    forward(signals, &control.state, &commands).map_err(text)?;
    if options.self_test {
        let (verdict, judged) = channel();
        thread::Builder::new()
            .name("self-test".into())
            .stack_size(STACK_SIZE)
            .spawn(move || {
                let _ = verdict.send(self_test(proxy, &commands));
            })
            .map_err(text)?;
        control.serve(&inbox);
        let passed = judged.recv().unwrap_or(false);
        return Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let _ = io::stdout().write_all(welcome(proxy).as_bytes());
    Ok(control.serve(&inbox))
}

fn in_memory(yaml: String) -> Source {
    Source { yaml: Some(yaml), ..Source::default() }
}

fn welcome(proxy: SocketAddr) -> String {
    let mut text = format!("The proxy listens at {proxy}. Try:\n\n");
    for (path, _, what) in ROUTES {
        let _ = writeln!(text, "  curl -i http://{proxy}{path:<12} # {what}");
    }
    text + "\nCtrl-C ends it.\n"
}

/// Asks each route once, prints the answers, ends the process. Whether all were right.
fn self_test(proxy: SocketAddr, commands: &SyncSender<Command>) -> bool {
    let mut passed = true;
    for (path, expect, what) in ROUTES {
        let answer = ask(proxy, path).unwrap_or_else(|error| format!("no answer: {error}"));
        let right = expect.iter().all(|part| answer.contains(part));
        passed &= right;
        let status = answer.lines().next().unwrap_or_default();
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body.trim());
        let verdict = if right { "ok" } else { "WRONG" };
        let _ = writeln!(io::stdout(), "{verdict}: GET {path} ({what}): {status}: {body}");
    }
    let _ = commands.send(Command::Stop);
    passed
}

fn ask(proxy: SocketAddr, path: &str) -> io::Result<String> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let mut stream = TcpStream::connect_timeout(&proxy, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {proxy}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The two origins; the text is open at its end for more listeners.
fn origins(blue: u16, green: u16) -> String {
    let origin = |name: &str, port: u16| {
        let answer = format!("direct_response: {{status: 200, body: {{inline_string: \"the {name} origin\\n\"}}}}");
        listener(name, port, &[("/", &answer)])
    };
    format!("static_resources:\n  listeners:\n{}{}", origin("blue", blue), origin("green", green))
}

/// The proxy, and the clusters behind it.
fn proxy(port: u16, blue: SocketAddr, green: SocketAddr) -> String {
    let weighted = "route: {weighted_clusters: {clusters: [{name: blue, weight: 3}, {name: green, weight: 1}]}}";
    let routes = [
        ("/blue/", "route: {cluster: blue}"),
        ("/green/", "route: {cluster: green}"),
        ("/nowhere/", "route: {cluster: nowhere}"),
        ("/hello", "direct_response: {status: 200, body: {inline_string: \"hello from the proxy\\n\"}}"),
        ("/", weighted),
    ];
    // Port 1 (tcpmux) of the loopback: nobody listens there.
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let clusters = [("blue", blue), ("green", green), ("nowhere", nowhere)].map(|(name, at)| cluster(name, at));
    format!("{}  clusters:\n{}", listener("proxy", port, &routes), clusters.concat())
}

fn listener(name: &str, port: u16, routes: &[(&str, &str)]) -> String {
    const HCM: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";
    let routes: String = routes
        .iter()
        .map(|(prefix, action)| format!("              - match: {{prefix: {prefix}}}\n                {action}\n"))
        .collect();
    format!(
        r#"  - name: {name}
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/{HCM}
          stat_prefix: {name}
          generate_request_id: false
          route_config:
            name: {name}
            virtual_hosts:
            - name: {name}
              domains: ["*"]
              routes:
{routes}          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/{ROUTER}}}
"#
    )
}

fn cluster(name: &str, endpoint: SocketAddr) -> String {
    format!(
        r"  - name: {name}
    type: STATIC
    connect_timeout: 1s
    load_assignment:
      cluster_name: {name}
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: {}, port_value: {}}}}}}}
",
        endpoint.ip(),
        endpoint.port()
    )
}
