//! The protocol's rules, a test each: what a server sends, what it is told, what the cache gets.

mod peer;

use std::time::{Duration, Instant};

use super::*;
use crate::wire::Writer;
use peer::{ALL, CDS, EDS, LDS, Peer, any, delta, deltas, resource, short, sotw, world};

#[test]
fn the_first_request_of_a_stream_has_the_node_and_no_other_has() {
    for mut peer in [sotw(&ALL), deltas(&ALL)] {
        peer.want(CDS, Interest::all());
        peer.want(LDS, Interest::all());
        peer.asks(&["CDS [] node N", "LDS []"]);
        peer.reconnects();
        peer.asks(&["CDS [] node N", "LDS []"]);
    }
}

#[test]
fn an_ack_has_the_new_version_and_the_nonce() {
    let mut peer = sotw(&[CDS]);
    peer.want(CDS, Interest::all());
    peer.asks(&["CDS [] node N"]);
    peer.gets(world(CDS, "v1", "n1", &["a"]), &[], r#"CDS ["a"]"#);
    peer.asks(&["CDS [] version v1 nonce n1"]);
    // One answer each, and nothing without a reason.
    peer.asks(&[]);
}

#[test]
fn a_nack_has_the_old_version_the_new_nonce_and_the_reason() {
    let mut peer = sotw(&[CDS]);
    peer.want(CDS, Interest::all());
    peer.asks(&["CDS [] node N"]);
    // Before anything was accepted there is no version.
    peer.gets(world(CDS, "v1", "n1", &["a"]), &["a"], r#"CDS ["a"]"#);
    peer.asks(&[r#"CDS [] nonce n1 NACK 3:"a": bad"#]);
    peer.gets(world(CDS, "v2", "n2", &["a"]), &[], r#"CDS ["a"]"#);
    peer.asks(&["CDS [] version v2 nonce n2"]);
    peer.gets(world(CDS, "v3", "n3", &["a"]), &["a"], r#"CDS ["a"]"#);
    peer.asks(&[r#"CDS [] version v2 nonce n3 NACK 3:"a": bad"#]);
}

#[test]
fn a_nack_names_each_bad_resource_and_the_others_are_taken() {
    let mut peer = deltas(&[CDS]);
    peer.want(CDS, Interest::all());
    peer.asks(&["CDS [] node N"]);
    peer.gets(delta(CDS, "n1", &["a:1", "b:1", "c:1"], &[]), &[], r#"CDS ["a", "b", "c"]"#);
    peer.asks(&["CDS [] nonce n1"]);
    peer.gets(delta(CDS, "n2", &["a:2", "b:2", "c:2"], &[]), &["a", "c"], r#"CDS ["a", "b", "c"]"#);
    peer.asks(&["CDS [] nonce n2 NACK 3:\"a\": bad\n\"c\": bad"]);
    // Of the bad ones the version before is held.
    peer.reconnects();
    peer.asks(&["CDS [] held[a:1 b:2 c:1] node N"]);
}

#[test]
fn a_nack_has_a_limit() {
    let mut peer = deltas(&[CDS]);
    peer.want(CDS, Interest::all());
    peer.asks(&["CDS [] node N"]);
    let names: Vec<String> = (0..1_000).map(|at| format!("cluster-{at}:1")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut out = Writer::default();
    delta(CDS, "n1", &names, &[])(&mut out);
    assert!(matches!(peer.stream.receive(&out.bytes, peer.now), Ok(Received::Update(_))));
    let reason = "ü".repeat(100);
    peer.stream.answer((0..1_000).map(|at| Refusal { name: at.to_string(), reason: reason.clone() }).collect());
    let size = peer.stream.request().expect("an answer").len();
    assert!((8_192..8_300).contains(&size), "{size}");
}

#[test]
fn what_is_wanted_changes_with_the_same_version_and_the_last_nonce() {
    let mut peer = sotw(&[EDS]);
    peer.want(EDS, Interest::these(["a"]));
    peer.asks(&["EDS [a] node N"]);
    // Before the first response there is no nonce.
    peer.want(EDS, Interest::these(["a", "b"]));
    peer.asks(&["EDS [a b]"]);
    peer.gets(world(EDS, "v1", "n1", &["a", "b"]), &[], r#"EDS ["a", "b"]"#);
    peer.asks(&["EDS [a b] version v1 nonce n1"]);
    peer.want(EDS, Interest::these(["b", "c"]));
    peer.asks(&["EDS [b c] version v1 nonce n1"]);
    // As it was: nothing to say.
    peer.want(EDS, Interest::these(["c", "b"]));
    peer.asks(&[]);
}

#[test]
fn what_changes_while_a_response_is_judged_goes_with_its_answer_or_behind_it() {
    let mut peer = sotw(&[EDS]);
    peer.want(EDS, Interest::these(["a"]));
    peer.asks(&["EDS [a] node N"]);
    let mut out = Writer::default();
    world(EDS, "v1", "n1", &["a"])(&mut out);
    assert!(matches!(peer.stream.receive(&out.bytes, peer.now), Ok(Received::Update(_))));
    peer.want(EDS, Interest::these(["b"]));
    // Nothing is said before the answer that would take its nonce.
    peer.asks(&["EDS [b]"]);
    peer.stream.answer(Vec::new());
    peer.asks(&["EDS [b] version v1 nonce n1"]);

    // In delta an answer never changes what is wanted: a server may pass over all that is in an answer that came late.
    let mut peer = deltas(&[EDS]);
    peer.want(EDS, Interest::these(["a"]));
    peer.asks(&["EDS [a] node N"]);
    peer.gets(delta(EDS, "n1", &["a:1"], &[]), &[], r#"EDS ["a"]"#);
    peer.want(EDS, Interest::these(["b"]));
    peer.asks(&["EDS [] nonce n1", "EDS [b] less[a]"]);
}

#[test]
fn a_response_that_crossed_a_change_is_taken_as_far_as_it_is_wanted() {
    for variant in [Variant::StateOfTheWorld, Variant::Delta] {
        let mut peer = Peer::new(variant, &[EDS]);
        peer.want(EDS, Interest::these(["a", "b"]));
        peer.asks(&["EDS [a b] node N"]);
        peer.want(EDS, Interest::these(["b"]));
        let crossed = |out: &mut Writer| match variant {
            Variant::StateOfTheWorld => world(EDS, "v1", "n1", &["a", "b", "z"])(out),
            Variant::Delta => delta(EDS, "n1", &["a:1", "b:1", "z:1"], &[])(out),
        };
        peer.gets(crossed, &[], r#"EDS ["b"] unwanted 2"#);
        match variant {
            Variant::StateOfTheWorld => peer.asks(&["EDS [b] version v1 nonce n1"]),
            Variant::Delta => peer.asks(&["EDS [] nonce n1", "EDS [] less[a]"]),
        }
    }
}

#[test]
fn what_was_passed_over_and_is_wanted_again_is_asked_for_again() {
    let mut peer = sotw(&[EDS]);
    peer.want(EDS, Interest::these(["a", "b"]));
    peer.asks(&["EDS [a b] node N"]);
    peer.want(EDS, Interest::these(["b"]));
    peer.asks(&["EDS [b]"]);
    // It crossed that request, which has the nonce of none, so that the server passes over it.
    peer.gets(world(EDS, "v1", "n1", &["a", "b"]), &[], r#"EDS ["b"] unwanted 1"#);
    peer.want(EDS, Interest::these(["a", "b"]));
    peer.asks(&["EDS [b] version v1 nonce n1", "EDS [a b] version v1 nonce n1"]);
}

#[test]
fn changes_before_there_is_room_to_send_are_one_request() {
    let mut peer = deltas(&[EDS]);
    peer.want(EDS, Interest::these(["a"]));
    peer.asks(&["EDS [a] node N"]);
    for names in [["a", "b"], ["b", "c"], ["c", "d"]] {
        peer.want(EDS, Interest::these(names));
    }
    peer.asks(&["EDS [c d] less[a]"]);
}

#[test]
fn what_was_given_up_and_is_wanted_again_is_asked_for_again() {
    // Nothing of it is held, and a server that hears of neither has no reason to send it once more.
    let mut peer = deltas(&[EDS]);
    peer.want(EDS, Interest::these(["a", "b"]));
    peer.asks(&["EDS [a b] node N"]);
    peer.gets(delta(EDS, "n1", &["a:1", "b:1"], &[]), &[], r#"EDS ["a", "b"]"#);
    peer.want(EDS, Interest::these(["b"]));
    peer.want(EDS, Interest::these(["a", "b"]));
    peer.asks(&["EDS [] nonce n1", "EDS [] less[a]", "EDS [a]"]);
    // Also as one of all.
    peer.want(EDS, Interest::default());
    peer.want(EDS, Interest::all());
    peer.asks(&["EDS [] less[a b]", "EDS [*]"]);
    let mut peer = sotw(&[EDS]);
    peer.want(EDS, Interest::these(["a", "b"]));
    peer.asks(&["EDS [a b] node N"]);
    peer.gets(world(EDS, "v1", "n1", &["a", "b"]), &[], r#"EDS ["a", "b"]"#);
    peer.want(EDS, Interest::these(["b"]));
    peer.want(EDS, Interest::these(["a", "b"]));
    peer.asks(&["EDS [b] version v1 nonce n1", "EDS [a b] version v1 nonce n1"]);
}

#[test]
fn a_change_in_delta_has_no_nonce() {
    let mut peer = deltas(&[EDS]);
    peer.want(EDS, Interest::these(["a"]));
    peer.asks(&["EDS [a] node N"]);
    peer.gets(delta(EDS, "n1", &["a:1"], &[]), &[], r#"EDS ["a"]"#);
    peer.asks(&["EDS [] nonce n1"]);
    peer.want(EDS, Interest::these(["a", "b"]));
    peer.asks(&["EDS [b]"]);
    peer.want(EDS, Interest::these(["b"]));
    peer.asks(&["EDS [] less[a]"]);
}

#[test]
fn nonces_end_with_their_stream_and_versions_do_not() {
    let mut peer = sotw(&ALL);
    peer.want(CDS, Interest::all());
    peer.want(EDS, Interest::these(["a"]));
    peer.asks(&["CDS [] node N", "EDS [a]"]);
    peer.gets(world(CDS, "v1", "n1", &["a"]), &[], r#"CDS ["a"]"#);
    peer.asks(&["CDS [] version v1 nonce n1"]);
    peer.gets(world(EDS, "v7", "n2", &["a"]), &[], r#"EDS ["a"]"#);
    peer.asks(&["EDS [a] version v7 nonce n2"]);
    // Versions and nonces are each type's own.
    peer.gets(world(CDS, "v2", "n3", &["a"]), &["a"], r#"CDS ["a"]"#);
    peer.asks(&[r#"CDS [] version v1 nonce n3 NACK 3:"a": bad"#]);
    peer.reconnects();
    peer.asks(&["CDS [] version v1 node N", "EDS [a] version v7"]);
}

#[test]
fn an_answer_that_was_owed_is_not_owed_to_the_next_stream() {
    let mut peer = sotw(&[CDS]);
    peer.want(CDS, Interest::all());
    peer.asks(&["CDS [] node N"]);
    peer.gets(world(CDS, "v1", "n1", &["a"]), &[], r#"CDS ["a"]"#);
    // Accepted, though nobody could be told.
    peer.reconnects();
    peer.asks(&["CDS [] version v1 node N"]);
    peer.asks(&[]);
}

#[test]
fn a_version_is_not_claimed_for_names_that_are_not_held() {
    let mut peer = sotw(&[EDS]);
    peer.want(EDS, Interest::these(["a"]));
    peer.asks(&["EDS [a] node N"]);
    peer.gets(world(EDS, "v1", "n1", &["a"]), &[], r#"EDS ["a"]"#);
    peer.stream.close();
    peer.want(EDS, Interest::these(["a", "b"]));
    peer.stream.open();
    peer.asks(&["EDS [a b] node N"]);
}

#[test]
fn the_first_delta_request_of_a_stream_says_what_is_held_and_all_that_is_wanted() {
    let mut peer = deltas(&ALL);
    peer.want(CDS, Interest::all());
    peer.want(EDS, Interest::these(["a", "b"]));
    peer.asks(&["CDS [] node N", "EDS [a b]"]);
    peer.gets(delta(CDS, "n1", &["a:1", "b:1"], &[]), &[], r#"CDS ["a", "b"]"#);
    peer.asks(&["CDS [] nonce n1"]);
    peer.gets(delta(EDS, "n2", &["a:5"], &[]), &[], r#"EDS ["a"]"#);
    peer.asks(&["EDS [] nonce n2"]);
    peer.gets(delta(CDS, "n3", &["b:2"], &["a"]), &[], r#"CDS ["b"] removed ["a"]"#);
    peer.asks(&["CDS [] nonce n3"]);
    // Names of the wildcard are never listed.
    peer.reconnects();
    peer.asks(&["CDS [] held[b:2] node N", "EDS [a b] held[a:5]"]);
    // A server that cares for none of that and sends all again is heard all the same.
    peer.gets(delta(CDS, "n1", &["b:2"], &["gone"]), &[], r#"CDS ["b"] removed ["gone"]"#);
    peer.asks(&["CDS [] nonce n1"]);
}

#[test]
fn versions_of_what_is_not_wanted_any_more_are_not_held() {
    let mut peer = deltas(&[EDS]);
    peer.want(EDS, Interest::these(["a", "b"]));
    peer.asks(&["EDS [a b] node N"]);
    peer.gets(delta(EDS, "n1", &["a:1", "b:1"], &[]), &[], r#"EDS ["a", "b"]"#);
    peer.asks(&["EDS [] nonce n1"]);
    peer.want(EDS, Interest::these(["b"]));
    peer.want(EDS, Interest::these(["a", "b"]));
    peer.reconnects();
    // So that the server sends it again.
    peer.asks(&["EDS [a b] held[b:1] node N"]);
}

#[test]
fn the_wildcard_is_an_empty_list_until_a_name_was_said() {
    let mut peer = sotw(&[CDS]);
    peer.want(CDS, Interest::all());
    peer.asks(&["CDS [] node N"]);
    peer.want(CDS, Interest { is_wildcard: true, ..Interest::these(["x"]) });
    peer.asks(&["CDS [* x]"]);
    peer.want(CDS, Interest::all());
    peer.asks(&["CDS [*]"]);
    // On a new stream nothing was said yet.
    peer.reconnects();
    peer.asks(&["CDS [] node N"]);
}

#[test]
fn an_empty_list_unsubscribes_from_all_once_a_name_was_said() {
    let mut peer = sotw(&ALL);
    peer.want(EDS, Interest::these(["a"]));
    peer.asks(&["EDS [a] node N"]);
    peer.gets(world(EDS, "v1", "n1", &["a"]), &[], r#"EDS ["a"]"#);
    peer.asks(&["EDS [a] version v1 nonce n1"]);
    peer.want(EDS, Interest::default());
    peer.asks(&["EDS [] version v1 nonce n1"]);
    // What was on its way is answered, and asks for nothing.
    peer.gets(world(EDS, "v2", "n2", &["a"]), &[], "EDS [] unwanted 1");
    peer.asks(&["EDS [] version v2 nonce n2"]);
    // On a new stream, where an empty list would ask for all, nothing is said.
    peer.reconnects();
    peer.asks(&[]);
}

#[test]
fn the_wildcard_and_names_mix_in_delta() {
    let mut peer = deltas(&[CDS]);
    peer.want(CDS, Interest { is_wildcard: true, ..Interest::these(["x"]) });
    peer.asks(&["CDS [* x] node N"]);
    peer.gets(delta(CDS, "n1", &["a:1", "x:1"], &[]), &[], r#"CDS ["a", "x"]"#);
    peer.asks(&["CDS [] nonce n1"]);
    // The wildcard may have it, too: the server says so, or removes it (xDS, "Unsubscribing from Resources").
    peer.want(CDS, Interest::all());
    peer.asks(&["CDS [] less[x]"]);
    peer.gets(delta(CDS, "n2", &[], &["x"]), &[], r#"CDS [] removed ["x"]"#);
    peer.asks(&["CDS [] nonce n2"]);
    peer.want(CDS, Interest::these(["a"]));
    peer.asks(&["CDS [a] less[*]"]);
    peer.want(CDS, Interest::default());
    peer.asks(&["CDS [] less[a]"]);
}

/// A new stream knows of no name and no wildcard: both are said again.
#[test]
fn the_wildcard_and_names_are_both_said_on_a_new_stream() {
    let mut peer = sotw(&[CDS]);
    peer.want(CDS, Interest { is_wildcard: true, ..Interest::these(["x"]) });
    peer.asks(&["CDS [* x] node N"]);
    peer.gets(world(CDS, "v1", "n1", &["a", "x"]), &[], r#"CDS ["a", "x"]"#);
    peer.asks(&["CDS [* x] version v1 nonce n1"]);
    peer.reconnects();
    peer.asks(&["CDS [* x] version v1 node N"]);
    // Without the wildcard what it alone had is not wanted any more.
    peer.want(CDS, Interest::these(["x"]));
    peer.asks(&["CDS [x] version v1"]);
    peer.gets(world(CDS, "v2", "n2", &["a", "x"]), &[], r#"CDS ["x"] unwanted 1"#);
    peer.asks(&["CDS [x] version v2 nonce n2"]);
    let mut peer = deltas(&[CDS]);
    peer.want(CDS, Interest { is_wildcard: true, ..Interest::these(["x"]) });
    peer.asks(&["CDS [* x] node N"]);
    peer.gets(delta(CDS, "n1", &["a:1", "x:1"], &[]), &[], r#"CDS ["a", "x"]"#);
    peer.asks(&["CDS [] nonce n1"]);
    peer.reconnects();
    peer.asks(&["CDS [* x] held[a:1 x:1] node N"]);
}

/// xDS, "Unsubscribing from Resources": a name goes, and the wildcard still has it.
#[test]
fn what_the_wildcard_has_as_well_is_held_when_its_name_is_given_up() {
    let mut peer = deltas(&[CDS]);
    peer.want(CDS, Interest { is_wildcard: true, ..Interest::these(["x", "y"]) });
    peer.asks(&["CDS [* x y] node N"]);
    peer.gets(delta(CDS, "n1", &["a:1", "x:1", "y:1"], &[]), &[], r#"CDS ["a", "x", "y"]"#);
    peer.asks(&["CDS [] nonce n1"]);
    peer.want(CDS, Interest::all());
    peer.asks(&["CDS [] less[x y]"]);
    // It sends again what the wildcard has, and removes what it has not.
    peer.gets(delta(CDS, "n2", &["x:1"], &["y"]), &[], r#"CDS ["x"] removed ["y"]"#);
    peer.asks(&["CDS [] nonce n2"]);
    peer.reconnects();
    peer.asks(&["CDS [] held[a:1 x:1] node N"]);
}

#[test]
fn resources_that_nobody_asked_for_are_passed_over_and_acknowledged() {
    let mut peer = sotw(&[EDS]);
    peer.want(EDS, Interest::these(["a"]));
    peer.asks(&["EDS [a] node N"]);
    peer.gets(world(EDS, "v1", "n1", &["a", "b"]), &[], r#"EDS ["a"] unwanted 1"#);
    peer.asks(&["EDS [a] version v1 nonce n1"]);
}

#[test]
fn responses_that_nobody_waited_for_are_taken() {
    for variant in [Variant::StateOfTheWorld, Variant::Delta] {
        let mut peer = Peer::new(variant, &ALL);
        peer.want(EDS, Interest::these(["a"]));
        peer.asks(&["EDS [a] node N"]);
        for nonce in ["n1", "n2", "n3"] {
            match variant {
                Variant::StateOfTheWorld => {
                    peer.gets(world(EDS, nonce, nonce, &["a"]), &[], r#"EDS ["a"]"#);
                    peer.asks(&[&format!("EDS [a] version {nonce} nonce {nonce}")]);
                }
                Variant::Delta => {
                    peer.gets(delta(EDS, nonce, &["a:1"], &[]), &[], r#"EDS ["a"]"#);
                    peer.asks(&[&format!("EDS [] nonce {nonce}")]);
                }
            }
        }
    }
}

#[test]
fn a_type_that_was_not_asked_for_is_not_answered() {
    for variant in [Variant::StateOfTheWorld, Variant::Delta] {
        let mut peer = Peer::new(variant, &ALL);
        peer.want(CDS, Interest::all());
        peer.asks(&["CDS [] node N"]);
        // An answer would be a request: of a type with a wildcard, for all of it.
        peer.gets(world(LDS, "v1", "n1", &[]), &[], "unasked");
        let other = ResourceType { name: "envoy.config.route.v3.RouteConfiguration", is_whole: false };
        peer.gets(world(other, "v1", "n1", &[]), &[], "unasked");
        peer.asks(&[]);
    }
}

#[test]
fn a_stream_of_one_type_refuses_another_and_needs_no_name_of_its_own() {
    let mut peer = sotw(&[CDS]);
    peer.want(CDS, Interest::all());
    peer.asks(&["CDS [] node N"]);
    let wrong = "refused: envoy.config.cluster.v3.Cluster is served here, not \
                 \"type.googleapis.com/envoy.config.listener.v3.Listener\"";
    peer.gets(world(LDS, "v1", "n1", &["a"]), &[], wrong);
    peer.asks(&[&format!("CDS [] nonce n1 NACK 3:{}", &wrong[9..])]);
    let unnamed = |out: &mut Writer| {
        out.text(1, "v2");
        any(out, 2, CDS, "a");
        out.text(5, "n2");
    };
    peer.gets(unnamed, &[], r#"CDS ["a"]"#);
    peer.asks(&["CDS [] version v2 nonce n2"]);
}

#[test]
fn a_resource_of_another_type_is_refused_and_the_others_are_taken() {
    let mut peer = sotw(&[CDS]);
    peer.want(CDS, Interest::all());
    peer.asks(&["CDS [] node N"]);
    let mixed = |out: &mut Writer| {
        world(CDS, "v1", "n1", &["a"])(out);
        any(out, 2, LDS, "l");
    };
    peer.gets(mixed, &[], r#"CDS ["a"]"#);
    peer.asks(&["CDS [] nonce n1 NACK 3:\"l\": \"type.googleapis.com/envoy.config.listener.v3.Listener\" among \
                 resources of type envoy.config.cluster.v3.Cluster"]);
}

#[test]
fn a_response_with_a_resource_of_another_type_deletes_nothing() {
    let mut peer = sotw(&[CDS]);
    peer.want(CDS, Interest::all());
    peer.asks(&["CDS [] node N"]);
    peer.gets(world(CDS, "v1", "n1", &["a", "b"]), &[], r#"CDS ["a", "b"]"#);
    peer.asks(&["CDS [] version v1 nonce n1"]);
    let mixed = |out: &mut Writer| {
        world(CDS, "v2", "n2", &["a"])(out);
        any(out, 2, LDS, "l");
    };
    peer.gets(mixed, &[], r#"CDS ["a"]"#);
    peer.asks(&[
        "CDS [] version v1 nonce n2 NACK 3:\"l\": \"type.googleapis.com/envoy.config.listener.v3.Listener\" among \
                 resources of type envoy.config.cluster.v3.Cluster",
    ]);
    // The next one that is right does.
    peer.gets(world(CDS, "v3", "n3", &["a"]), &[], r#"CDS ["a"] removed ["b"]"#);
}

#[test]
fn a_response_with_a_name_twice_is_refused() {
    let mut peer = sotw(&[CDS]);
    peer.want(CDS, Interest::all());
    peer.asks(&["CDS [] node N"]);
    peer.gets(world(CDS, "v1", "n1", &["a", "b", "a"]), &[], r#"refused: "a" is there twice"#);
    peer.asks(&[r#"CDS [] nonce n1 NACK 3:"a" is there twice"#]);
    let mut peer = deltas(&[CDS]);
    peer.want(CDS, Interest::all());
    peer.asks(&["CDS [] node N"]);
    peer.gets(delta(CDS, "n1", &["a:1", "a:2"], &[]), &[], r#"refused: "a" is there twice"#);
    peer.asks(&[r#"CDS [] nonce n1 NACK 3:"a" is there twice"#]);
}

#[test]
fn a_response_with_a_resource_that_has_no_name_is_refused() {
    // It might be one of those that are held, which must not be deleted for that.
    let mut peer = sotw(&[CDS]);
    peer.want(CDS, Interest::all());
    peer.asks(&["CDS [] node N"]);
    peer.gets(world(CDS, "v1", "n1", &["a", ""]), &[], "refused: a resource without a name");
    peer.asks(&["CDS [] nonce n1 NACK 3:a resource without a name"]);
}

#[test]
fn listeners_and_clusters_that_are_left_out_are_deleted() {
    let mut peer = sotw(&[CDS]);
    peer.want(CDS, Interest::all());
    peer.asks(&["CDS [] node N"]);
    peer.gets(world(CDS, "v1", "n1", &["a", "b"]), &[], r#"CDS ["a", "b"]"#);
    peer.asks(&["CDS [] version v1 nonce n1"]);
    peer.gets(world(CDS, "v2", "n2", &["b", "c"]), &[], r#"CDS ["b", "c"] removed ["a"]"#);
    peer.asks(&["CDS [] version v2 nonce n2"]);
    // One that is refused is not left out.
    peer.gets(world(CDS, "v3", "n3", &["b", "c"]), &["b"], r#"CDS ["b", "c"]"#);
    peer.asks(&[r#"CDS [] version v2 nonce n3 NACK 3:"b": bad"#]);
    peer.gets(world(CDS, "v4", "n4", &[]), &[], r#"CDS [] removed ["b", "c"]"#);
    peer.asks(&["CDS [] version v4 nonce n4"]);
}

#[test]
fn what_was_deleted_while_the_server_was_away_is_deleted_afterwards() {
    let mut peer = sotw(&[CDS]);
    peer.want(CDS, Interest::all());
    peer.asks(&["CDS [] node N"]);
    peer.gets(world(CDS, "v1", "n1", &["a", "b"]), &[], r#"CDS ["a", "b"]"#);
    peer.reconnects();
    peer.asks(&["CDS [] version v1 node N"]);
    peer.gets(world(CDS, "v2", "n1", &["b"]), &[], r#"CDS ["b"] removed ["a"]"#);
}

#[test]
fn assignments_that_are_left_out_are_not_deleted() {
    let mut peer = sotw(&[EDS]);
    peer.want(EDS, Interest::these(["a", "b"]));
    peer.asks(&["EDS [a b] node N"]);
    peer.gets(world(EDS, "v1", "n1", &["a", "b"]), &[], r#"EDS ["a", "b"]"#);
    peer.asks(&["EDS [a b] version v1 nonce n1"]);
    peer.gets(world(EDS, "v2", "n2", &["b"]), &[], r#"EDS ["b"]"#);
    peer.asks(&["EDS [a b] version v2 nonce n2"]);
    peer.gets(world(EDS, "v3", "n3", &[]), &[], "EDS []");
}

#[test]
fn removed_resources_may_be_unknown_and_named_in_two_ways() {
    let mut peer = deltas(&[CDS]);
    peer.want(CDS, Interest::all());
    peer.asks(&["CDS [] node N"]);
    peer.gets(delta(CDS, "n1", &["a:1", "b:1"], &["nobody"]), &[], r#"CDS ["a", "b"] removed ["nobody"]"#);
    peer.asks(&["CDS [] nonce n1"]);
    let named = |out: &mut Writer| {
        delta(CDS, "n2", &[], &["a"])(out);
        out.message(8, |out| out.text(1, "b"));
    };
    peer.gets(named, &[], r#"CDS [] removed ["a", "b"]"#);
    peer.asks(&["CDS [] nonce n2"]);
    peer.reconnects();
    peer.asks(&["CDS [] node N"]);
}

#[test]
fn errors_of_resources_remove_what_does_not_exist_and_nothing_else() {
    let error = |out: &mut Writer, number, name: &str, code| {
        out.message(number, |out| {
            out.message(1, |out| out.text(1, name));
            out.message(2, |out| (out.number(1, code), out.text(2, "why")).1);
        });
    };
    let mut peer = deltas(&[CDS]);
    peer.want(CDS, Interest::all());
    peer.asks(&["CDS [] node N"]);
    peer.gets(delta(CDS, "n1", &["a:1", "b:1"], &[]), &[], r#"CDS ["a", "b"]"#);
    peer.asks(&["CDS [] nonce n1"]);
    let errors = |out: &mut Writer| {
        delta(CDS, "n2", &[], &[])(out);
        error(out, 9, "a", 5);
        error(out, 9, "b", 14);
    };
    peer.gets(errors, &[], r#"CDS [] failed 1 removed ["a"]"#);
    peer.asks(&["CDS [] nonce n2"]);
    // In state of the world, one that could not be given is not left out.
    let mut peer = sotw(&[CDS]);
    peer.want(CDS, Interest::all());
    peer.asks(&["CDS [] node N"]);
    peer.gets(world(CDS, "v1", "n1", &["a", "b", "c"]), &[], r#"CDS ["a", "b", "c"]"#);
    peer.asks(&["CDS [] version v1 nonce n1"]);
    let errors = |out: &mut Writer| {
        world(CDS, "v2", "n2", &["c"])(out);
        error(out, 7, "b", 14);
    };
    peer.gets(errors, &[], r#"CDS ["c"] failed 1 removed ["a"]"#);
}

#[test]
fn a_ttl_removes_a_resource_and_a_heartbeat_keeps_it() {
    let mut peer = deltas(&[EDS]);
    peer.want(EDS, Interest::these(["a", "b"]));
    peer.asks(&["EDS [a b] node N"]);
    let with_ttl = |nonce: &'static str, body: Option<ResourceType>, ttl: Option<u64>| {
        move |out: &mut Writer| {
            ["a", "b"].iter().for_each(|name| resource(out, 2, name, "1", body, ttl));
            out.text(4, &EDS.url());
            out.text(5, nonce);
        }
    };
    peer.gets(with_ttl("n1", Some(EDS), Some(10)), &[], r#"EDS ["a", "b"]"#);
    peer.asks(&["EDS [] nonce n1"]);
    assert_eq!(peer.stream.deadline(), Some(peer.now + Duration::from_secs(10)));
    peer.now += Duration::from_secs(9);
    let beat = |out: &mut Writer| {
        resource(out, 2, "a", "1", None, Some(10));
        out.text(4, &EDS.url());
        out.text(5, "n2");
    };
    // It changes nothing, and is answered like any other.
    peer.gets(beat, &[], "EDS []");
    peer.asks(&["EDS [] nonce n2"]);
    assert_eq!(peer.stream.expire(peer.now), []);
    // Whether the server is there or not.
    peer.stream.close();
    peer.now += Duration::from_secs(1);
    assert_eq!(peer.stream.expire(peer.now), [(EDS, "b".to_owned())]);
    peer.stream.open();
    peer.asks(&["EDS [a b] held[a:1] node N"]);
    // Without a TTL, a heartbeat ends the timer.
    let last = |out: &mut Writer| {
        resource(out, 2, "a", "1", None, None);
        out.text(4, &EDS.url());
        out.text(5, "n3");
    };
    peer.gets(last, &[], "EDS []");
    assert_eq!(peer.stream.deadline(), None);
}

#[test]
fn a_heartbeat_of_what_is_not_held_is_refused() {
    let mut peer = deltas(&[EDS]);
    peer.want(EDS, Interest::these(["a", "b"]));
    peer.asks(&["EDS [a b] node N"]);
    peer.gets(delta(EDS, "n1", &["a:1"], &[]), &[], r#"EDS ["a"]"#);
    peer.asks(&["EDS [] nonce n1"]);
    let beats = |out: &mut Writer| {
        [("a", "2"), ("b", "1")].iter().for_each(|(name, version)| resource(out, 2, name, version, None, Some(1)));
        out.text(4, &EDS.url());
        out.text(5, "n2");
    };
    peer.gets(beats, &[], "EDS []");
    let reason = "a heartbeat of a resource or a version that is not held";
    peer.asks(&[&format!("EDS [] nonce n2 NACK 3:\"a\": {reason}\n\"b\": {reason}")]);
}

#[test]
fn a_ttl_in_state_of_the_world_comes_in_a_wrapper() {
    let wrapped = |version: &'static str, nonce: &'static str, bodies: [Option<ResourceType>; 2]| {
        move |out: &mut Writer| {
            out.text(1, version);
            for (name, body) in ["a", "b"].iter().zip(bodies) {
                out.message(2, |out| {
                    out.text(1, "type.googleapis.com/envoy.service.discovery.v3.Resource");
                    resource(out, 2, name, "", body, Some(10));
                });
            }
            out.text(4, &CDS.url());
            out.text(5, nonce);
        }
    };
    let mut peer = sotw(&[CDS]);
    peer.want(CDS, Interest::all());
    peer.asks(&["CDS [] node N"]);
    peer.gets(wrapped("v1", "n1", [Some(CDS), Some(CDS)]), &[], r#"CDS ["a", "b"]"#);
    peer.asks(&["CDS [] version v1 nonce n1"]);
    peer.now += Duration::from_secs(5);
    peer.gets(wrapped("v1", "n2", [None, None]), &[], "CDS []");
    peer.asks(&["CDS [] version v1 nonce n2"]);
    assert_eq!(peer.stream.deadline(), Some(peer.now + Duration::from_secs(10)));
    // A heartbeat among others stands for the resource: it is not left out.
    peer.gets(wrapped("v1", "n3", [Some(CDS), None]), &[], r#"CDS ["a"]"#);
    peer.asks(&["CDS [] version v1 nonce n3"]);
    // Heartbeats alone are no state of the world: what they leave out stays.
    let one = |out: &mut Writer| {
        out.text(1, "v1");
        out.message(2, |out| {
            out.text(1, "type.googleapis.com/envoy.service.discovery.v3.Resource");
            resource(out, 2, "a", "", None, Some(99));
        });
        out.text(4, &CDS.url());
        out.text(5, "n4");
    };
    peer.gets(one, &[], "CDS []");
    peer.now += Duration::from_secs(11);
    assert_eq!(peer.stream.expire(peer.now), [(CDS, "b".to_owned())]);
}

#[test]
fn what_cannot_be_read_is_not_answered() {
    let mut peer = sotw(&[CDS]);
    peer.want(CDS, Interest::all());
    peer.asks(&["CDS [] node N"]);
    let head = "malformed: the server's message is no discovery response: ";
    peer.gets(|out| out.bytes.extend(b"<html>"), &[], &format!("{head}a group, which proto3 does not have"));
    peer.gets(|out| out.text(1, "v1"), &[], &format!("{head}it has no nonce"));
    peer.gets(|out| out.number(5, 1), &[], &format!("{head}field 5 is of another wire type"));
    peer.gets(|out| out.len(5, b"\xff"), &[], &format!("{head}field 5 is not UTF-8"));
    peer.gets(|out| out.text(5, &"n".repeat(16_385)), &[], &format!("{head}field 5 is longer than 16384 bytes"));
    let many = |out: &mut Writer| (0..=256 << 10).for_each(|_| out.len(2, b""));
    peer.gets(many, &[], &format!("{head}it has more than 262144 resources"));
    peer.asks(&[]);
}

#[test]
fn fields_that_are_not_known_are_passed_over() {
    let mut peer = sotw(&[CDS]);
    peer.want(CDS, Interest::all());
    peer.asks(&["CDS [] node N"]);
    let odd = |out: &mut Writer| {
        out.number(99, 1);
        world(CDS, "v1", "n1", &["a"])(out);
        out.message(6, |out| (out.text(1, "istiod"), out.number(9, 9)).1);
    };
    peer.gets(odd, &[], r#"CDS ["a"]"#);
    peer.asks(&["CDS [] version v1 nonce n1"]);
}

#[test]
fn what_is_held_has_a_limit() {
    let mut subscription = subscription::Subscription::new(CDS);
    subscription.want(Interest::all());
    let now = Instant::now();
    (0..subscription::HELD_MAX).for_each(|at| subscription.hold(at.to_string(), String::new(), None, now));
    let mut peer = deltas(&[CDS]);
    peer.stream.replace(subscription);
    assert!(peer.stream.request().is_some());
    peer.gets(delta(CDS, "n1", &["7:2", "new:1"], &[]), &[], r#"CDS ["7"]"#);
    peer.asks(&[r#"CDS [] nonce n1 NACK 3:"new": more than 262144 resources"#]);
}

#[test]
fn what_came_before_the_stream_did_is_told_without_versions() {
    let mut peer = deltas(&[CDS, EDS]);
    peer.want(CDS, Interest::all());
    peer.want(EDS, Interest::these(["a"]));
    let now = peer.now;
    peer.stream.inherit(CDS, ["a", "b"].map(str::to_owned), now);
    // What is not wanted is not held.
    peer.stream.inherit(EDS, ["a", "z"].map(str::to_owned), now);
    peer.asks(&["CDS [] held[a b] node N", "EDS [a] held[a]"]);
    peer.gets(delta(CDS, "n1", &["a:1"], &["b"]), &[], r#"CDS ["a"] removed ["b"]"#);
    peer.asks(&["CDS [] nonce n1"]);
    peer.reconnects();
    peer.asks(&["CDS [] held[a:1] node N", "EDS [a] held[a]"]);
}

#[test]
fn the_node_is_said_each_time_where_that_is_asked_for() {
    let mut peer = sotw(&[CDS, EDS]);
    peer.stream.say_node_each_time();
    peer.want(CDS, Interest::all());
    peer.want(EDS, Interest::these(["a"]));
    peer.asks(&["CDS [] node N", "EDS [a] node N"]);
    peer.gets(world(CDS, "v1", "n1", &["a"]), &[], r#"CDS ["a"]"#);
    peer.asks(&["CDS [] version v1 nonce n1 node N"]);
    // Delta has it in the first request of a connection alone, as in Envoy.
    let mut peer = deltas(&[CDS, EDS]);
    peer.stream.say_node_each_time();
    peer.want(CDS, Interest::all());
    peer.want(EDS, Interest::these(["a"]));
    peer.asks(&["CDS [] node N", "EDS [a]"]);
}

#[test]
fn only_a_response_that_leaves_nothing_open_is_the_whole_world() {
    let is_world = |kind: ResourceType, write: Box<dyn FnOnce(&mut Writer)>| {
        let mut peer = sotw(&[kind]);
        peer.want(kind, if kind.is_whole { Interest::all() } else { Interest::these(["a"]) });
        peer.asks(&[&format!("{} [{}] node N", short(&kind.url()), if kind.is_whole { "" } else { "a" })]);
        let mut out = Writer::default();
        write(&mut out);
        match peer.stream.receive(&out.bytes, peer.now) {
            Ok(Received::Update(update)) => update.is_world,
            other => panic!("{other:?}"),
        }
    };
    assert!(is_world(CDS, Box::new(world(CDS, "v1", "n1", &["a"]))));
    assert!(is_world(CDS, Box::new(world(CDS, "v1", "n1", &[]))));
    assert!(!is_world(EDS, Box::new(world(EDS, "v1", "n1", &["a"]))));
    // One that is of another type may be of a name that is held.
    let mixed = |out: &mut Writer| {
        world(CDS, "v1", "n1", &["a"])(out);
        any(out, 2, LDS, "b");
    };
    assert!(!is_world(CDS, Box::new(mixed)));
}
