//! `ringway check`, and Envoy's `--mode validate`: reads a configuration and says all that is wrong with it.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::args::Source;
use crate::load::Loader;

/// Each problem on a line of its own on stderr, `FILE:LINE:COLUMN: path: rule`, and exit code 1; or the one line that
/// Envoy prints for a good file.
pub(crate) fn check(source: Source) -> ExitCode {
    let mut loader = Loader::new(source);
    match loader.load() {
        Ok(loaded) => {
            for warning in loaded.file.iter().flat_map(|file| &file.warnings) {
                let _ = writeln!(io::stderr(), "warning: {warning}");
            }
            if !loaded.news.refusals.is_empty() {
                for refusal in &loaded.news.refusals {
                    let _ = writeln!(io::stderr(), "{refusal}");
                }
                return ExitCode::FAILURE;
            }
            for wait in loader.waits() {
                let _ = writeln!(io::stderr(), "warning: {} waits for {}", wait.who, wait.what);
            }
            let _ = writeln!(io::stdout(), "configuration '{}' OK", loader.name());
            ExitCode::SUCCESS
        }
        Err(problems) => {
            for problem in problems {
                let _ = writeln!(io::stderr(), "{problem}");
            }
            ExitCode::FAILURE
        }
    }
}
