//! HTTP filters whose configuration comes by itself (ECDS): `config_discovery`.
//!
//! A filter that has nothing to go by is not passed over: it may be one that decides who may pass. Its connection manager answers 500 to
//! each request until a configuration has come, as in Envoy.

use std::sync::Arc;

use super::config_source::{SourceUse, config_source};
use super::http_filter::{HttpFilters, ROUTER, SUPPORTED};
use super::{Context, extension};
use crate::compatibility::{is_ignored_in, refuse_unsupported};
use crate::message::{Message, Value};

/// Where a filter's own configuration would stand.
const HOLDER: &str = "HttpFilter";

/// The configurations of sources that a listener's filters name.
#[derive(Debug, Default)]
pub(crate) struct ExtensionUses {
    /// In the order of the file; one may stand there twice.
    pub(crate) uses: Vec<ExtensionUse>,
    /// Of the bootstrap's own: the resource, for translating it again with what comes.
    pub(crate) text: Option<Arc<str>>,
}

/// The `config_discovery` of one filter.
#[derive(Debug)]
pub(crate) struct ExtensionUse {
    /// `config_source`.
    pub(crate) source: SourceUse,
    /// Of the filter, and of the resource.
    pub(crate) name: String,
    /// The listener waits for it: not with `apply_default_config_without_warming`.
    pub(crate) warms: bool,
    /// What it was made with.
    pub(crate) given: Given,
}

/// What became of the configuration that had come for a filter.
#[derive(Debug)]
pub(crate) enum Given {
    /// None had come.
    Nothing,
    /// The filter goes by it.
    Used,
    /// Why it is not for this filter; the filter does without.
    Misfit(String),
}

impl ExtensionUse {
    /// Why what came is not for this filter, where it is not.
    pub(crate) fn misfit(&self) -> Option<&str> {
        match &self.given {
            Given::Misfit(rule) => Some(rule),
            Given::Nothing | Given::Used => None,
        }
    }
}

impl ExtensionUses {
    /// What is kept of them; `None` where there are none.
    pub(super) fn kept(self) -> Option<Box<ExtensionUses>> {
        (!self.uses.is_empty()).then(|| Box::new(self))
    }

    /// The names of those that came and are not for their filter.
    pub(crate) fn misfits(&self) -> impl Iterator<Item = &str> {
        self.uses.iter().filter(|used| used.misfit().is_some()).map(|used| &*used.name)
    }
}

/// A filter with a `config_discovery`: by what came, else by its default, else by nothing. `false`: it has a problem.
pub(super) fn filter(context: &mut Context<'_>, message: &Message, is_last: bool, filters: &mut HttpFilters) -> bool {
    let name = message.text("name");
    let problems = context.report.problems.len();
    context.inside(message, "config_discovery", |context, discovery| {
        refuse_unsupported(discovery, context.report);
        type_urls(context, discovery);
        let place = Place { types: discovery.texts("type_urls").map(type_name).collect(), is_last };
        let mut by_default = filters.clone();
        let has_default = discovery.any("default_config").is_some();
        if has_default {
            if let Err(rule) = place.fits(extension::type_of(discovery, "default_config")) {
                context.problem(discovery, "default_config", rule);
            } else {
                read(context, discovery, "default_config", &mut by_default);
            }
        } else {
            by_default.is_lacking = true;
        }
        let warms = !discovery.boolean("apply_default_config_without_warming").unwrap_or(false);
        if !warms && !has_default {
            // Envoy's words.
            let rule = format!("filter config {name} applied without warming but has no default config");
            context.problem(discovery, "apply_default_config_without_warming", rule);
        }
        discovery.get("config_source")?; // the rules say so
        let source = context.inside(discovery, "config_source", config_source)?;
        let came = context.around.extensions.get(&(source.source.clone(), name.to_owned())).cloned();
        let fits = came.as_deref().map(|came| place.fits(extension::type_of(came, "typed_config")));
        *filters = match (&came, &fits) {
            (Some(came), Some(Ok(()))) => {
                let mut by_what_came = filters.clone();
                read(context, came, "typed_config", &mut by_what_came);
                by_what_came
            }
            _ => by_default,
        };
        let given = match fits {
            None => Given::Nothing,
            Some(Ok(())) => Given::Used,
            Some(Err(rule)) => Given::Misfit(rule),
        };
        context.extensions.uses.push(ExtensionUse { source, name: name.to_owned(), warms, given });
        Some(())
    });
    context.report.problems.len() == problems
}

/// A `TypedExtensionConfig`, by itself: whether it is a filter that may stand in a chain.
pub(super) fn check(context: &mut Context<'_>, message: &Message) {
    refuse_unsupported(message, context.report);
    read(context, message, "typed_config", &mut HttpFilters::default());
}

fn read(context: &mut Context<'_>, message: &Message, field: &str, filters: &mut HttpFilters) {
    if is_ignored_in(extension::type_of(message, field), HOLDER) {
        return;
    }
    extension::in_field(context, message, field, &SUPPORTED, |context, config| {
        filters.read(context, config);
        Some(())
    });
}

/// Each has to be of a filter that may come.
fn type_urls(context: &mut Context<'_>, discovery: &Message) {
    context.field("type_urls", |context| {
        for (at, item) in discovery.items("type_urls").iter().enumerate() {
            let Value::Text(url) = &item.value else { unreachable!("the list holds texts") };
            let name = type_name(url);
            if SUPPORTED.contains(&name) || is_ignored_in(name, HOLDER) {
                continue;
            }
            let size = context.report.enter_item(at);
            context.report.problem(item.place, format!("{name} is not supported yet"));
            context.report.leave(size);
        }
    });
}

/// As Envoy reads it: what stands behind the host, if there is one.
fn type_name(url: &str) -> &str {
    url.rsplit_once('/').map_or(url, |(_, name)| name)
}

/// What may come for a filter.
struct Place<'m> {
    types: Vec<&'m str>,
    /// It is the last of its chain, which is the router.
    is_last: bool,
}

impl Place<'_> {
    fn fits(&self, name: &str) -> Result<(), String> {
        if !self.types.contains(&name) {
            // Envoy's words.
            return Err(format!("filter config has type URL {name} but expect {}", self.types.join(", ")));
        }
        match (name == ROUTER, self.is_last) {
            (true, false) => Err("the router must be the last filter of its chain, and this one is not".to_owned()),
            (false, true) => Err("the last filter of a chain must be the router".to_owned()),
            _ => Ok(()),
        }
    }
}
