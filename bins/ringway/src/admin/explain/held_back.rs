//! Who waits for what, and whose last version was refused: what a request cannot take yet, or takes as it was before.

use ringway_control_client::{Kind, ShownResource};
use ringway_engine::Explanation;

use crate::command::DynamicView;
use crate::log::timestamp;
use crate::state::Rejection;

/// Somebody who is held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeldBack {
    /// Who: `cluster "c"`.
    pub(super) who: String,
    /// Why, in words.
    pub(super) why: String,
    /// The request comes by.
    pub(super) is_on_way: bool,
}

/// All of them, those on the way first.
pub(super) fn of(dynamic: &DynamicView, rejection: Option<&Rejection>, explanation: &Explanation) -> Vec<HeldBack> {
    let met = |kind: &str, name: &str| {
        explanation.steps.iter().any(|step| step.noun == kind && step.name == name)
            || explanation
                .clusters
                .iter()
                .any(|cluster| matches!(kind, "cluster" | "assignment") && cluster.name == name)
    };
    let kinds = Kind::ALL.map(|kind| kind.to_string());
    let waits = dynamic.waits.iter().map(|wait| {
        // `cluster "c"`, as the cache says it.
        let named = kinds.iter().find_map(|kind| Some((kind, wait.who.strip_prefix(kind.as_str())?.trim_start())));
        let is_on_way = named.is_some_and(|(kind, name)| met(kind, name.trim_matches('"')));
        HeldBack { who: wait.who.clone(), why: format!("waits for {}", wait.what), is_on_way }
    });
    let refused = dynamic.resources.iter().filter_map(|resource| {
        let ShownResource { kind, name, .. } = resource;
        let why = refusal(resource)?;
        Some(HeldBack { who: format!("{kind} {name:?}"), why, is_on_way: met(&kind.to_string(), name) })
    });
    let file = rejection.map(|rejection| HeldBack {
        who: "the configuration file".into(),
        why: format!("refused at {}: {}", timestamp(rejection.at), first(&rejection.problems)),
        is_on_way: false,
    });
    let mut held: Vec<_> = waits.chain(refused).chain(file).collect();
    held.sort_by_key(|held| !held.is_on_way);
    held
}

fn refusal(resource: &ShownResource) -> Option<String> {
    let error = resource.error.as_ref()?;
    let stays = match &resource.active {
        Some(active) => format!("version {:?} stays in force", active.version),
        None => "no version of it is in force".into(),
    };
    let at = timestamp(error.at);
    Some(format!("version {:?} refused at {at}: {}; {stays}", error.version, first(&error.problems)))
}

/// The first problem, and how many there are.
fn first(problems: &[String]) -> String {
    match problems {
        [] => "no reason is known".into(),
        [only] => only.clone(),
        [first, others @ ..] => format!("{first} (and {} more problems)", others.len()),
    }
}
