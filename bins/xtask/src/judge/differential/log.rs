//! Access logs: the same requests, and the same line of each on both sides, as text and as JSON. Only what does not change from one run to
//! the next stands in the formats.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use crate::lab::interrupted::uninterrupted;
use crate::lab::pace::wait_for;

/// A listener's field of the HTTP connection manager: two logs of one file, text and JSON.
pub(super) fn field(path: &Path) -> String {
    const FILE: &str = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
    const TEXT: &str = "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% \
        %RESPONSE_FLAGS_LONG% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% %UPSTREAM_TRANSPORT_FAILURE_REASON% \
        rx %BYTES_RECEIVED% tx %BYTES_SENT% attempts %UPSTREAM_REQUEST_ATTEMPT_COUNT% cluster %UPSTREAM_CLUSTER% route \
        %ROUTE_NAME% to %UPSTREAM_PROTOCOL% query %QUERY_PARAM(q)% %QUERY_PARAMS% path %PATH(NQ)% xff \
        %REQ(X-FORWARDED-FOR)% proto %REQ(x-forwarded-proto)% agent %REQ(USER-AGENT):6% scheme %REQ(:scheme)% host \
        %REQ(:authority)% from %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT% \
        grpc %GRPC_STATUS% %GRPC_STATUS_NUMBER% server %RESP(SERVER)% type %RESP(content-type)% length \
        %RESP(content-length)% log %ACCESS_LOG_TYPE% body [%LOCAL_REPLY_BODY%] none %TRACE_ID%%DYNAMIC_METADATA(a:b)%\\n";
    let log = |format: &str| {
        format!(
            "{{name: f, typed_config: {{\"@type\": {FILE}, path: \"{}\", log_format: {{{format}}}}}}}",
            path.display()
        )
    };
    let text = log(&format!("text_format_source: {{inline_string: \"{TEXT}\"}}"));
    let members = "code: '%RESPONSE_CODE%', details: '%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%', flags: '%RESPONSE_FLAGS%', \
                   agent: '%REQ(user-agent)%', mixed: '<%REQ(user-agent)%|%BYTES_SENT%>', sent: '%BYTES_SENT%', \
                   list: ['%REQ(nope)%', '%PROTOCOL%'], inner: {none: '%REQ(nope)%', no: '%TRACE_ID%'}, is: true, at: null";
    let whole = log(&format!("json_format: {{{members}}}"));
    let short = log(&format!("json_format: {{{members}}}, omit_empty_values: true"));
    format!("access_log: [{text}, {whole}, {short}],")
}

/// The requests, each on a connection of its own. Their routes are those of the judge's file.
const REQUESTS: &[&str] = &[
    "GET /a/x?q=%41b&r HTTP/1.1\r\nHost: h.test\r\nUser-Agent: a longer one\r\n\r\n",
    "GET /exact HTTP/1.1\r\nHost: h.test\r\nUser-Agent: \"quoted\\\"\t\r\n\r\n",
    "GET /exact HTTP/1.1\r\nHost: h\r\nUser-Agent: é€\"\r\n\r\n",
    "POST /a/x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
    "POST /a/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\nyou\r\n0\r\n\r\n",
    "HEAD /a/x HTTP/1.1\r\nHost: h\r\n\r\n",
    "OPTIONS /b/x HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /direct HTTP/1.1\r\nHost: h\r\n\r\n",
    "HEAD /direct HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /empty HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /dead HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /a/x HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.2.3.4, 5.6.7.8\r\n\r\n",
    "GET /a/x HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: ::1\r\nX-Forwarded-Proto: https\r\n\r\n",
    "GET /a/x HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: nonsense\r\n\r\n",
    "POST /a/x HTTP/1.1\r\nHost: h\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: second.test\r\n\r\n",
    "GET /a/%20%zz?%20 HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /a/x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "GET /b/status-426 HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "GET /a/x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n",
    "NONSENSE\r\n\r\n",
    "GET /a/x HTTP/1.0\r\n\r\n",
    "GET /a/x HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
    "GET /a/x HTTP/1.1\r\nHost: h\r\nbad header: y\r\n\r\n",
    "GET /5xx/steps HTTP/1.1\r\nHost: tries.test\r\nX-Steps: 503\r\n\r\n",
    "GET /5xx/steps HTTP/1.1\r\nHost: tries.test\r\nX-Steps: garbage\r\n\r\n",
    "POST /gateway/steps HTTP/1.1\r\nHost: tries.test\r\nX-Steps: 500\r\nContent-Length: 4\r\n\r\nbody",
    "GET /dead/steps HTTP/1.1\r\nHost: tries.test\r\n\r\n",
    "GET /quick/steps HTTP/1.1\r\nHost: tries.test\r\nX-Steps: silent\r\n\r\n",
    "GET /idle/steps HTTP/1.1\r\nHost: tries.test\r\nX-Steps: silent\r\n\r\n",
];

/// An answer begins within this.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// Envoy takes a moment to end a connection that it refuses; one that is kept is left so long after its answer.
const READ_LIMIT: Duration = Duration::from_millis(150);
const LOG_LIMIT: Duration = Duration::from_secs(10);

/// Plays the requests on one side; the lines that its file holds then.
pub(super) fn play(front: SocketAddr, path: &Path) -> Result<Vec<String>, String> {
    for request in REQUESTS {
        let ask = || -> std::io::Result<()> {
            let mut stream = TcpStream::connect(front)?;
            stream.set_read_timeout(Some(ANSWER_LIMIT))?;
            stream.write_all(request.as_bytes())?;
            // An end or the limit: what was answered the other scripts compare.
            let begun = uninterrupted(|| stream.read(&mut [0]));
            stream.set_read_timeout(Some(READ_LIMIT))?;
            if begun.is_ok_and(|size| size > 0) {
                let _end = stream.read_to_end(&mut Vec::new());
            }
            Ok(())
        };
        ask().map_err(|error| format!("{front}: {error}"))?;
    }
    let lines = || std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    wait_for("the lines of the access logs", LOG_LIMIT, || (lines().len() >= 3 * REQUESTS.len()).then(lines))
}

/// Each line in which the sides differ: which request, and both lines.
pub(super) fn differences(theirs: &[String], own: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    if theirs.len() != own.len() {
        found.push(format!("Envoy wrote {} lines, Ringway {}", theirs.len(), own.len()));
    }
    for (at, (theirs, own)) in theirs.iter().zip(own).enumerate().filter(|(_, (theirs, own))| theirs != own) {
        found.push(format!("{:?}: Envoy {theirs}, Ringway {own}", REQUESTS.get(at / 3).unwrap_or(&"?")));
    }
    found
}
