//! Each limit holds: one within it passes, one past it is refused, and early, before its bytes would have to be kept.

use ringway_protocols::script::{Outcome, Side, Stop, play};
use ringway_protocols::{Limits, Rule};

fn limits() -> Limits {
    Limits {
        head_bytes_max: 200,
        headers_max: 4,
        target_bytes_max: 40,
        connection_options_max: 3,
        chunk_extension_bytes_max: 10,
        trailer_bytes_max: 30,
        glitches_max: 4,
    }
}

/// Whole and byte by byte.
#[track_caller]
fn stop(wire: &str, expect: Stop) {
    let whole: Outcome = play(Side::Request, wire.as_bytes(), &limits(), |_| wire.len());
    let bytewise = play(Side::Request, wire.as_bytes(), &limits(), |_| 1);
    assert_eq!(whole.stop, expect, "{wire:?}");
    assert_eq!(bytewise.stop, expect, "byte by byte {wire:?}");
}

fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

fn post(body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

#[test]
fn a_head_of_exactly_the_limit_passes() {
    let empty = get("/", "X: \r\n").len();
    stop(&get("/", &format!("X: {}\r\n", "v".repeat(200 - empty))), Stop::Clean);
    stop(&get("/", &format!("X: {}\r\n", "v".repeat(201 - empty))), Stop::Refused(Rule::HeadTooLarge));
    stop(&format!("GET / HTTP/1.1\r\nX: {}", "v".repeat(500)), Stop::Refused(Rule::HeadTooLarge));
}

#[test]
fn targets_and_methods_have_a_length() {
    stop(&get(&format!("/{}", "a".repeat(39)), ""), Stop::Clean);
    stop(&get(&format!("/{}", "a".repeat(40)), ""), Stop::Refused(Rule::TargetTooLong));
    stop(&format!("GET /{}", "a".repeat(400)), Stop::Refused(Rule::TargetTooLong));
    stop(&"A".repeat(40), Stop::Refused(Rule::MethodTooLong));
}

#[test]
fn fields_and_options_are_counted() {
    stop(&get("/", &"X: y\r\n".repeat(3)), Stop::Clean);
    stop(&get("/", &"X: y\r\n".repeat(4)), Stop::Refused(Rule::TooManyFields));
    stop(&get("/", "Connection: a,b,,c\r\n"), Stop::Clean);
    stop(&get("/", "Connection: a,b\r\nConnection: c,d\r\n"), Stop::Refused(Rule::TooManyConnectionOptions));
}

#[test]
fn chunk_extensions_are_bounded_over_the_whole_body() {
    stop(&post("1;aaaa\r\nx\r\n0;aa\r\n\r\n"), Stop::Clean);
    stop(&post("1;aaaaaaaaaaaaaaaaaaa"), Stop::Refused(Rule::ChunkExtensionTooLarge));
    stop(&post(&"1;aaaa\r\nx\r\n".repeat(3)), Stop::Refused(Rule::ChunkExtensionTooLarge));
    stop(&post(&format!("{}0\r\n\r\n", "001\r\nx\r\n".repeat(2))), Stop::Clean);
    stop(&post(&"001\r\nx\r\n".repeat(9)), Stop::Refused(Rule::TooManyGlitches));
}

#[test]
fn trailers_are_bounded_in_bytes_and_number() {
    stop(&post("0\r\nX: aaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n"), Stop::Clean);
    stop(&post("0\r\nX: aaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n"), Stop::Refused(Rule::TrailersTooLarge));
    stop(&post(&format!("0\r\nX: {}", "a".repeat(90))), Stop::Refused(Rule::TrailersTooLarge));
    stop(&post(&format!("0\r\n{}\r\n", "X:y\r\n".repeat(4))), Stop::Clean);
    stop(&post(&format!("0\r\n{}\r\n", "X:y\r\n".repeat(5))), Stop::Refused(Rule::TrailersTooLarge));
}

#[test]
fn the_defaults_take_what_the_rfc_asks_for() {
    let long = get(&format!("/{}", "a".repeat(8_000)), "");
    let outcome = play(Side::Request, long.as_bytes(), &Limits::default(), |_| 1);
    assert_eq!(outcome.stop, Stop::Clean);
    let longer = get(&format!("/{}", "a".repeat(100_000)), "");
    let outcome = play(Side::Request, longer.as_bytes(), &Limits::default(), |_| 1);
    assert_eq!(outcome.stop, Stop::Refused(Rule::TargetTooLong));
    let many = get("/", &"X: y\r\n".repeat(99));
    assert_eq!(play(Side::Request, many.as_bytes(), &Limits::default(), |_| 7).stop, Stop::Clean);
}
