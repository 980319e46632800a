//! The filter `grpc_stats`: by which names calls are counted.

use ringway_model::{CountedMethods, GrpcStatsRules, METHOD_BYTES_MAX, METHODS_MAX, MethodList};

use super::Context;
use crate::compatibility::refuse_unsupported;
use crate::message::{Message, Value};

/// `envoy.extensions.filters.http.grpc_stats.v3.FilterConfig`
pub(super) fn rules(context: &mut Context<'_>, config: &Message) -> GrpcStatsRules {
    let is_set = |name| config.boolean(name).unwrap_or(false);
    let listed = context.inside(config, "individual_method_stats_allowlist", |context, list| {
        refuse_unsupported(list, context.report);
        let services = context.each(list, "services", service);
        let listed = MethodList::new(services.into_iter().flatten());
        if listed.count() > METHODS_MAX {
            let rule = format!("{} methods are listed; at most {METHODS_MAX} are counted apart", listed.count());
            context.problem(list, "services", rule);
        }
        Some(listed)
    });
    let methods = match listed {
        Some(list) => CountedMethods::Listed(list),
        // Envoy replaces no dots of what is listed.
        None if is_set("stats_for_all_methods") => {
            CountedMethods::All { replaces_dots: is_set("replace_dots_in_grpc_service_name") }
        }
        None => CountedMethods::None,
    };
    GrpcStatsRules { methods, times: is_set("enable_upstream_stats") }
}

/// `GrpcMethodList.Service`: its methods, each with its name.
fn service(context: &mut Context<'_>, message: &Message) -> Vec<(Box<str>, Box<str>)> {
    refuse_unsupported(message, context.report);
    let name = message.text("name");
    let methods = message.items("method_names").iter().filter_map(|item| match &item.value {
        Value::Text(method) => Some((Box::from(name), Box::from(method.as_str()))),
        _ => None,
    });
    let methods: Vec<(Box<str>, Box<str>)> = methods.collect();
    if methods.iter().any(|(service, method)| service.len() + method.len() > METHOD_BYTES_MAX) {
        let rule = format!("names of a service and a method together are at most {METHOD_BYTES_MAX} bytes here");
        context.problem(message, "method_names", rule);
    }
    methods
}
