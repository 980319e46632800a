//! Where things are: the checkout, the outside data beside it, the built command, the cache.

use std::path::{Path, PathBuf};

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).expect("bins/xtask is two folders below the root").to_path_buf()
}

/// The folder of outside judges' data, if it is there: `$RINGWAY_CONFORMANCE`, else `../shared/conformance`.
pub(crate) fn conformance() -> Option<PathBuf> {
    let folder = match std::env::var_os("RINGWAY_CONFORMANCE") {
        Some(named) => PathBuf::from(named),
        None => root().join("../shared/conformance"),
    };
    folder.is_dir().then_some(folder)
}

/// Where Cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The command under judgement: `$RINGWAY_BIN`, else as the release build leaves it.
pub(crate) fn ringway() -> PathBuf {
    std::env::var_os("RINGWAY_BIN").map_or_else(|| target().join("release/ringway"), PathBuf::from)
}

/// A fresh folder for one judge's files and logs. They stay after the run, to be read when it failed.
pub(crate) fn scratch(name: &str) -> Result<PathBuf, String> {
    let folder = target().join("judges").join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(|e| format!("cannot empty {}: {e}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    Ok(folder)
}

/// What was installed stays here between runs: `$RINGWAY_CACHE`, else `~/.cache/ringway`, else under the target folder.
pub(crate) fn cache() -> PathBuf {
    if let Some(named) = std::env::var_os("RINGWAY_CACHE") {
        return PathBuf::from(named);
    }
    std::env::var_os("HOME").map_or_else(|| target().join("cache"), |home| PathBuf::from(home).join(".cache/ringway"))
}

/// Whether a missing judge or missing data is a failure (in CI) or a skip that is listed (elsewhere).
pub(crate) fn require_all() -> bool {
    std::env::var_os("RINGWAY_REQUIRE_ALL").is_some_and(|value| value == "1")
}
