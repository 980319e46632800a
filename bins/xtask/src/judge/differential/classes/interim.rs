//! 1xx: which interim responses pass, and who answers Expect.

use std::io::{self, Write};
use std::net::TcpStream;

use super::{Class, Front};
use crate::judge::differential::case::{Case, Step, Tag};
use crate::judge::differential::origin::{Ask, Next};
use crate::lab::chance::Chance;

pub(super) const CLASS: Class = Class {
    name: "1xx",
    fronts: &[
        Front { name: "interim", ..Front::PLAIN },
        Front { name: "interim-passed", manager: "proxy_100_continue: true,", ..Front::PLAIN },
    ],
    cases,
    origin,
    ..Class::PLAIN
};

fn cases(chance: &mut Chance, count: usize) -> Vec<Case> {
    (0..count)
        .map(|at| {
            let front = ["interim", "interim-passed"][at % 2];
            let path = PATHS[(at / 2) % PATHS.len()];
            let method = *chance.pick(&["GET", "HEAD", "POST", "PUT"]);
            let body = if matches!(method, "POST" | "PUT") { &"some content"[..chance.below(13)] } else { "" };
            let expects = !body.is_empty() && chance.once_in(2);
            let mut text = format!("{method} {path} HTTP/1.1\r\nHost: a.test\r\n");
            if !body.is_empty() {
                text += &format!("Content-Length: {}\r\n", body.len());
            }
            if expects {
                text += *chance.pick(&["Expect: 100-continue\r\n", "expect: 100-Continue\r\n"]);
            }
            let case = Case::of(chance, "", method, &format!("{text}\r\n")).on(front);
            // Who asks waits for the word, or does not.
            let case = if expects && chance.once_in(2) { case.step(Step::Head) } else { case };
            let case = if body.is_empty() { case } else { case.step(Step::Send(body.as_bytes().to_vec())) };
            if path.ends_with("/x") || path.ends_with("-100") { case } else { case.tag(Tag::Interim) }
        })
        .collect()
}

/// The number is the status of the interim response that the origin sends first; `interims` sends several.
const PATHS: &[&str] = &["/a/interim-100", "/a/interim-102", "/b/interim-103", "/a/interims", "/a/x", "/b/interim-199"];

fn origin(ask: &Ask, mut stream: &TcpStream) -> io::Result<Next> {
    let statuses: &[usize] = match ask.kind {
        "interim" => &[ask.number],
        "interims" => &[102, 103, 103],
        _ => return Ok(Next::Unknown),
    };
    let mut text = String::new();
    for status in statuses {
        text += &format!("HTTP/1.1 {status} Interim\r\nX-Interim: {status}\r\nLink: </x>; rel=preload\r\n\r\n");
    }
    text += &format!("HTTP/1.1 200 OK\r\nX-Origin: {}\r\nContent-Length: 2\r\n\r\n", ask.origin);
    if !ask.head.line.starts_with("HEAD ") {
        text += "ab";
    }
    stream.write_all(text.as_bytes())?;
    Ok(Next::Keep)
}
