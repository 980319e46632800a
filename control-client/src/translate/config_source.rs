//! `envoy.config.core.v3.ConfigSource`: where resources come from.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Context, api_source};
use crate::cache::ConfigSource;
use crate::compatibility::refuse_unsupported;
use crate::message::Message;

/// `initial_fetch_timeout` where the file says nothing.
const FETCH_TIMEOUT: Duration = Duration::from_secs(15);

/// A source, and how long its user waits for it.
#[derive(Clone, Debug)]
pub(crate) struct SourceUse {
    pub(crate) source: Arc<ConfigSource>,
    /// `initial_fetch_timeout`; `None`: without end, which is what 0 means.
    pub(crate) timeout: Option<Duration>,
}

pub(super) fn config_source(context: &mut Context<'_>, message: &Message) -> Option<SourceUse> {
    refuse_unsupported(message, context.report);
    let timeout = super::timeout::unless_zero(message.duration("initial_fetch_timeout").unwrap_or(FETCH_TIMEOUT));
    let is_set = |name: &str| message.get(name).is_some();
    let source = if is_set("path") {
        check_exists(context, message);
        ConfigSource::Path { path: message.text("path").into(), watched_directory: None }
    } else if is_set("ads") {
        if !context.around.has_ads {
            // Envoy's words.
            context.problem(message, "ads", "ADS must be configured to support an ADS config source");
            return None;
        }
        ConfigSource::Ads
    } else if is_set("api_config_source") {
        let api = context.inside(message, "api_config_source", api_source::api_source)?;
        ConfigSource::Api(Arc::new(api))
    } else {
        context.inside(message, "path_config_source", path_source)?
    };
    Some(SourceUse { source: Arc::new(source), timeout })
}

fn path_source(context: &mut Context<'_>, message: &Message) -> Option<ConfigSource> {
    refuse_unsupported(message, context.report);
    check_exists(context, message);
    let watched_directory = context.inside(message, "watched_directory", |context, message| {
        refuse_unsupported(message, context.report);
        if message.boolean("watch_modify").unwrap_or(false) {
            context.problem(message, "watch_modify", "only moves are followed: not supported yet");
        }
        let path = PathBuf::from(message.text("path"));
        if !path.is_dir() && !context.report.is_again {
            context.problem(message, "path", format!("{} is no directory", path.display()));
        }
        Some(path)
    });
    Some(ConfigSource::Path { path: message.text("path").into(), watched_directory })
}

/// A file that is not there yet could not be told from one whose name is wrong.
fn check_exists(context: &mut Context<'_>, message: &Message) {
    let path = message.text("path");
    if !path.is_empty() && !context.report.is_again && !Path::new(path).exists() {
        // Envoy's words.
        let rule = format!("paths must refer to an existing path in the system: '{path}' does not exist");
        context.problem(message, "path", rule);
    }
}
