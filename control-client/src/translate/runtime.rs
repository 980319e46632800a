//! `envoy.config.bootstrap.v3.LayeredRuntime`, what came for its layers, and who asked for which value.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::config_source::{SourceUse, config_source};
use super::{Around, Context};
use crate::cache::ConfigSource;
use crate::compatibility::refuse_unsupported;
use crate::message::{Json, Message, Value};
use crate::problem::Report;
use crate::runtime::{InvalidKey, LayerValues, Parts, Runtime, RuntimeValue};

/// An `rtds_layer` or a `disk_layer`: what it says comes of a source.
#[derive(Clone, Debug)]
pub(crate) struct LayerUse {
    /// Its place among all layers, the lowest being 0.
    at: usize,
    /// `rtds_config`, or the directory.
    pub(crate) source: SourceUse,
    /// `rtds_layer.name`: of the resource, not of the layer. Of a `disk_layer` the layer's.
    pub(crate) name: String,
}

/// What a resource took from a runtime that may change.
#[derive(Debug)]
pub(crate) struct RuntimeUses {
    /// By key, what held when the resource was translated.
    values: Asked,
    /// Of the bootstrap's own: the resource, for translating it again. Those that came by themselves are kept with their version.
    pub(crate) text: Option<Arc<str>>,
}

/// Values that were asked for, by key.
pub(super) type Asked = BTreeMap<String, Option<RuntimeValue>>;

impl RuntimeUses {
    /// What is kept of them; `None` where there are none.
    pub(super) fn kept(values: Asked) -> Option<Box<RuntimeUses>> {
        (!values.is_empty()).then(|| Box::new(RuntimeUses { values, text: None }))
    }

    /// Whether one of the values is another here.
    pub(crate) fn is_stale(&self, around: &Around) -> bool {
        self.values.iter().any(|(key, value)| around.runtime.value(key) != value.as_ref())
    }
}

impl Around {
    /// The layers whose values come of sources.
    pub(crate) fn layers(&self) -> &[LayerUse] {
        &self.layers
    }

    /// What is taken from now on.
    pub(crate) fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    /// Takes what came for each layer of a source; `None`: nothing, so that the layer is empty.
    pub(crate) fn fill_layers(&mut self, came: impl Fn(&LayerUse) -> Option<Arc<LayerValues>>) {
        let mut runtime = (*self.runtime).clone();
        self.layers.iter().for_each(|layer| runtime.put(layer.at, came(layer).unwrap_or_default()));
        self.runtime = Arc::new(runtime);
    }
}

/// Values of the runtime, each noted as asked for where it may change.
impl Context<'_> {
    fn ask(&mut self, key: &str) {
        if !self.around.layers.is_empty() && !key.is_empty() {
            self.asked.insert(key.to_owned(), self.around.runtime.value(key).cloned());
        }
    }

    pub(super) fn runtime_double(&mut self, key: &str) -> Option<f64> {
        self.ask(key);
        self.around.runtime.double(key)
    }

    pub(super) fn runtime_uint(&mut self, key: &str) -> Option<u32> {
        self.ask(key);
        self.around.runtime.uint(key)
    }

    pub(super) fn runtime_boolean(&mut self, key: &str) -> Option<bool> {
        self.ask(key);
        self.around.runtime.boolean(key)
    }

    pub(super) fn runtime_fraction(&mut self, key: &str) -> Option<Parts> {
        self.ask(key);
        self.around.runtime.fraction(key)
    }
}

/// `Bootstrap.layered_runtime`, and which of its layers come of sources.
pub(super) fn of_bootstrap(context: &mut Context<'_>, message: &Message) -> (Runtime, Vec<LayerUse>) {
    context.inside(message, "layered_runtime", |context, message| Some(layers(context, message))).unwrap_or_default()
}

/// `envoy.service.runtime.v3.Runtime`: what a layer says.
pub(crate) fn layer(message: &Message, report: &mut Report) -> Option<LayerValues> {
    refuse_unsupported(message, report);
    say_missed(report, message, "layer");
    match LayerValues::of(members(message, "layer")) {
        Ok(values) => Some(values),
        Err(InvalidKey(key)) => {
            // Envoy's words.
            report.problem_in("layer", message.place_of("layer"), format!("Invalid runtime entry value for {key}"));
            None
        }
    }
}

/// What a field of type Struct holds.
fn members<'m>(message: &'m Message, name: &str) -> &'m [(String, Json)] {
    match message.get(name).map(|set| &set.value) {
        Some(Value::Json(Json::Map(members))) => members,
        _ => &[],
    }
}

/// Keys that Envoy reads by itself, and that decide who may connect or where traffic goes: no field names them, so that none is translated.
const MISSED: [&str; 5] = [
    "envoy.resource_limits.",
    "overload.",
    "upstream.maintenance_mode.",
    "circuit_breakers.",
    "upstream.healthy_panic_threshold",
];
/// Of those what bounds connections: nothing is missed where it says that there is no bound.
const CONNECTIONS: [&str; 2] = ["envoy.resource_limits.listener.", "overload.global_downstream_max_connections"];
/// What stands where no limit is meant (Istio's bootstrap).
const UNLIMITED: f64 = 2_147_483_647.0;

/// Those of a layer's keys that have no effect.
pub(crate) fn missed(values: &LayerValues) -> impl Iterator<Item = &str> {
    values.keys().filter(|key| MISSED.iter().any(|missed| key.starts_with(missed)))
}

/// Says which of them have no effect.
fn say_missed(report: &mut Report, message: &Message, field: &str) {
    let members = members(message, field);
    for (key, value) in members.iter().filter(|(key, _)| MISSED.iter().any(|missed| key.starts_with(missed))) {
        let is_unlimited = match value {
            Json::Number(number) => *number >= UNLIMITED,
            Json::Text(text) => text.trim().parse::<f64>().is_ok_and(|number| number >= UNLIMITED),
            _ => false,
        };
        if !(is_unlimited && CONNECTIONS.iter().any(|bound| key.starts_with(bound))) {
            let rule = format!("{key} has no effect: Envoy reads it where no field names it");
            report.warning(message.place_of(field), rule);
        }
    }
}

/// Its layers, the lowest first.
fn layers(context: &mut Context<'_>, message: &Message) -> (Runtime, Vec<LayerUse>) {
    refuse_unsupported(message, context.report);
    let (mut runtime, mut uses) = (Runtime::default(), Vec::new());
    context.each(message, "layers", |context, message| {
        refuse_unsupported(message, context.report);
        let name = message.text("name");
        if runtime.has(name) {
            // Envoy's words.
            context.problem(message, "name", format!("Duplicate layer name: {name}"));
        }
        let at = runtime.layers().count();
        let layer = context.inside(message, "rtds_layer", |context, message| rtds(context, message, at));
        uses.extend(layer);
        let layer = context.inside(message, "disk_layer", |context, message| {
            refuse_unsupported(message, context.report);
            // Joined by slashes, as in Envoy: each is below the one before, whatever it begins with.
            let below = match message.boolean("append_service_cluster").unwrap_or(false) {
                true => format!("{}/{}", message.text("subdirectory"), context.around.node.cluster),
                false => message.text("subdirectory").to_owned(),
            };
            let below = Path::new(below.trim_start_matches('/')).to_owned();
            let source = Arc::new(ConfigSource::Directory { link: message.text("symlink_root").into(), below });
            Some(LayerUse { at, source: SourceUse { source, timeout: None }, name: name.to_owned() })
        });
        uses.extend(layer);
        let members = members(message, "static_layer");
        say_missed(context.report, message, "static_layer");
        if let Err(InvalidKey(key)) = runtime.push(name, members) {
            // Envoy's words.
            context.problem(message, "static_layer", format!("Invalid runtime entry value for {key}"));
        }
    });
    (runtime, uses)
}

/// `RuntimeLayer.RtdsLayer`.
fn rtds(context: &mut Context<'_>, message: &Message, at: usize) -> Option<LayerUse> {
    refuse_unsupported(message, context.report);
    let name = message.text("name").to_owned();
    if name.is_empty() {
        // Envoy asks for a resource without a name, which there cannot be.
        context.problem(message, "name", "value is required");
    }
    if message.get("rtds_config").is_none() {
        context.problem(message, "rtds_config", "value is required");
    }
    let source = context.inside(message, "rtds_config", config_source)?;
    Some(LayerUse { at, source, name })
}
