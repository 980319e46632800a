//! The classes of cases, one file each: what they add to the proxies' file and to the origins, and their cases.
//!
//! A class brings fronts (listeners with virtual hosts and fields of the connection manager), clusters beside the common
//! ones, kinds of answers of the origins, and its cases: first the ones with a name, which every run plays, then as many drawn
//! by chance as are asked for.

mod addresses;
mod any;
mod balancing;
mod framing;
mod headers;
mod interim;
mod local_replies;
mod methods;
mod pipelining;
mod preparation;
mod redirects;
mod resets;
mod retries;
mod rewrites;
mod routing;
mod sizes;
mod timeouts;
mod upgrades;

pub(super) use retries::HOSTS as RETRIES;

use std::io;
use std::net::TcpStream;

use super::case::{Case, Tag};
use super::origin::{Ask, Next};
use crate::lab::chance::Chance;

/// A kind of cases.
pub(super) struct Class {
    /// As issue 4 has it.
    pub(super) name: &'static str,
    /// Its listeners. A case connects to the first, if it names no other.
    pub(super) fronts: &'static [Front],
    /// Clusters beside the common `a`, `b`, `dead` and `named`: items of the YAML list of clusters, indented by two, each with
    /// a line end before it. `{a}` and `{b}` stand for the ports of the origins on 127.0.0.1.
    pub(super) clusters: &'static str,
    /// Its cases: those with a name, and drawn ones until there are `count`.
    pub(super) cases: fn(&mut Chance, usize) -> Vec<Case>,
    /// Answers of the origins beside the common ones, by [`Ask::kind`].
    pub(super) origin: fn(&Ask, &TcpStream) -> io::Result<Next>,
}

impl Class {
    /// Nothing: for a class to begin from.
    const PLAIN: Class =
        Class { name: "", fronts: &[], clusters: "", cases: |_, _| Vec::new(), origin: |_, _| Ok(Next::Unknown) };
}

/// A listener of both proxies.
pub(super) struct Front {
    /// Unlike all others.
    pub(super) name: &'static str,
    /// The address that it listens on.
    pub(super) address: &'static str,
    /// Virtual hosts beside the common ones: items of a YAML flow sequence, no comma at their end.
    pub(super) hosts: &'static str,
    /// Beside the virtual hosts in the route configuration: members of a YAML flow mapping, each with a comma before it.
    pub(super) configuration: &'static str,
    /// Fields of the connection manager: members of a YAML flow mapping, each with a comma after it.
    pub(super) manager: &'static str,
}

impl Front {
    /// The common virtual hosts only, for a front to begin from.
    pub(super) const PLAIN: Front = Front { name: "", address: "127.0.0.1", hosts: "", configuration: "", manager: "" };
}

/// All of them: those of issue 4 in its order, then others.
pub(super) const CLASSES: &[Class] = &[
    methods::CLASS,
    framing::CLASS,
    headers::CLASS,
    sizes::CLASS,
    routing::CLASS,
    rewrites::CLASS,
    redirects::CLASS,
    timeouts::CLASS,
    retries::CLASS,
    resets::CLASS,
    upgrades::CLASS,
    interim::CLASS,
    pipelining::CLASS,
    addresses::CLASS,
    local_replies::CLASS,
    balancing::CLASS,
    preparation::CLASS,
];

/// What the requests of a class are drawn from.
struct Draw {
    hosts: &'static [&'static str],
    paths: &'static [&'static str],
    fields: &'static [&'static str],
}

impl Draw {
    /// One request.
    fn case(&self, chance: &mut Chance) -> Case {
        let method = *chance.pick(&["GET", "GET", "GET", "HEAD", "POST", "OPTIONS"]);
        let mut text =
            format!("{method} {} HTTP/1.1\r\nHost: {}\r\n", chance.pick(self.paths), chance.pick(self.hosts));
        for _ in 0..chance.below(5) {
            text += *chance.pick(self.fields);
            text += "\r\n";
        }
        text += if method == "POST" { "Content-Length: 4\r\n\r\nbody" } else { "\r\n" };
        let case = Case::of(chance, "", method, &text);
        // Where no origin is, and the body was not asked for.
        if method == "POST" && text.contains(" /dead") { case.tag(Tag::Unsent) } else { case }
    }
}
