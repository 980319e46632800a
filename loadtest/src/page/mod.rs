//! `ringway-load report`: outcomes of `run`, `sweep` and `compare` as one HTML page that needs nothing else: tables, curves, and the figures
//! themselves; and the plots as files of their own.

mod compare;
mod runs;
mod style;
mod table;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::Value;

use crate::plot::escaped;
use crate::report::file::File;

/// What can be said.
pub(crate) fn command() -> Command {
    let path = |name: &'static str| Arg::new(name).long(name).value_parser(value_parser!(PathBuf));
    Command::new("report")
        .about("One HTML page of outcomes that run, sweep and compare have written as JSON")
        .arg(
            Arg::new("files")
                .required(true)
                .value_name("[NAME=]FILE")
                .action(ArgAction::Append)
                .num_args(1..)
                .help("JSON of run, sweep or compare, and how it is called on the page"),
        )
        .arg(path("out").short('o').value_name("FILE").default_value("report.html"))
        .arg(path("plots").value_name("DIR").help("Each plot as an SVG file, too"))
        .arg(Arg::new("title").long("title").value_name("TEXT").default_value("Load test"))
        .arg(
            Arg::new("note")
                .long("note")
                .value_name("TEXT")
                .action(ArgAction::Append)
                .help("What a reader should know"),
        )
}

/// One outcome.
#[derive(Debug)]
struct Source {
    name: String,
    json: Value,
}

/// What an outcome is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Run,
    Sweep,
    Compare,
}

impl Source {
    /// Nothing of ours has none.
    fn kind(&self) -> Option<Kind> {
        match &self.json {
            json if json["latency_us"].is_object() => Some(Kind::Run),
            json if json["steps"].is_array() => Some(Kind::Sweep),
            json if json["kind"] == "compare" && json["version"] == 1 => Some(Kind::Compare),
            _ => None,
        }
    }
}

/// The plots of a page, each with the name of its file.
#[derive(Debug, Default)]
struct Plots {
    drawn: Vec<(String, String)>,
    /// What the names of the next ones begin with, where captions come more than once.
    prefix: String,
}

impl Plots {
    /// A plot with a caption, as HTML. Its file is named after the caption.
    fn figure(&mut self, caption: &str, svg: String) -> String {
        let is_plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' };
        let plain: String = self.prefix.chars().chain([' ']).chain(caption.chars()).map(is_plain).collect();
        let name = plain.split_whitespace().collect::<Vec<_>>().join("-");
        let figure = format!("<figure><figcaption>{}</figcaption>{svg}</figure>\n", escaped(caption));
        self.drawn.push((name, svg));
        figure
    }

    /// A plot as a file of its own: with its namespace and the colours.
    fn alone(svg: &str) -> String {
        let opened = svg.replacen("<svg ", "<svg xmlns=\"http://www.w3.org/2000/svg\" ", 1);
        opened.replacen('>', &format!("><style>{}</style>", style::COLOURS), 1)
    }
}

/// Writes the page.
///
/// # Errors
/// A file that cannot be read or written, or is no outcome.
pub(crate) fn report(matches: &mut ArgMatches) -> Result<(), String> {
    const DEFAULTED: &str = "required or with a default";
    let files = matches.remove_many::<String>("files").expect(DEFAULTED);
    let sources = files.map(|file| read(&file)).collect::<Result<Vec<_>, _>>()?;
    let title: String = matches.remove_one("title").expect(DEFAULTED);
    let notes: Vec<String> = matches.remove_many("note").into_iter().flatten().collect();
    let out: PathBuf = matches.remove_one("out").expect(DEFAULTED);
    let folder: Option<PathBuf> = matches.remove_one("plots");
    if let Some(folder) = &folder {
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let out = File::create(&out)?;
    let (page, plots) = page(&title, &notes, &sources);
    if let Some(folder) = &folder {
        for (name, svg) in &plots.drawn {
            File::create(&folder.join(format!("{name}.svg")))?.write(&Plots::alone(svg))?;
        }
    }
    out.write(&page)
}

fn read(argument: &str) -> Result<Source, String> {
    let (name, path) = match argument.split_once('=') {
        Some((name, path)) => (name.to_owned(), Path::new(path)),
        None => {
            let path = Path::new(argument);
            (path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), path)
        }
    };
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let json: Value = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let source = Source { name, json };
    match source.kind() {
        Some(_) => Ok(source),
        None => Err(format!("{}: neither of run nor of sweep nor of compare", path.display())),
    }
}

fn page(title: &str, notes: &[String], sources: &[Source]) -> (String, Plots) {
    let mut plots = Plots::default();
    let title = escaped(title);
    // The icon is said to be none, or browsers ask the server for one.
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, \
         initial-scale=1\"><link rel=\"icon\" href=\"data:,\"><title>{title}</title><style>{}{}</style></head><body>\n<main><h1>{title}</h1>\n",
        style::COLOURS,
        style::STYLE
    );
    notes.iter().for_each(|note| _ = writeln!(out, "<p>{}</p>", escaped(note)));
    let of = |kind| sources.iter().filter(move |source| source.kind() == Some(kind));
    for source in of(Kind::Compare) {
        if sources.len() > 1 {
            let _ = writeln!(out, "<h2>{}</h2>", escaped(&source.name));
            plots.prefix.clone_from(&source.name);
        }
        out.push_str(&compare::part(source, &mut plots));
    }
    plots.prefix.clear();
    let runs: Vec<&Source> = of(Kind::Run).collect();
    if !runs.is_empty() {
        out.push_str("<h2>Runs</h2>\n");
        out.push_str(&runs::part(&runs, &mut plots));
    }
    for sweep in of(Kind::Sweep) {
        let _ = write!(out, "<h2>{}</h2>\n{}", escaped(&sweep.name), runs::sweep_part(sweep, &mut plots));
    }
    out.push_str("<h2>The figures</h2>\n");
    for source in sources {
        let _ = writeln!(
            out,
            "<details><summary>{}</summary><pre>{}</pre></details>",
            escaped(&source.name),
            escaped(&format!("{:#}", source.json))
        );
    }
    out.push_str("</main></body></html>\n");
    (out, plots)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_has_what_was_measured_and_needs_nothing_else() {
        let run = json!({
            "rate": 1000.0, "failed": 0, "verdict": "good", "plan": {"protocol": "HTTP/2", "rate": 1000.0, "headers": ["a: <b>"]},
            "command": "ringway-load run 'x & y'", "host": {"kernel": "6.1 <x>"},
            "series": [{"second": 0, "length_s": 1.0, "answered": 990, "p50_us": 80.0}, {"second": 1, "length_s": 0.5, "answered": 505}],
            "latency_us": {"p50": 90.0, "p99": 400.0, "p99.9": 900.0, "max": 1000.0}, "generator": {"late_us": {"p99": 60}},
        });
        let step =
            |at| json!({"at": at, "rate": at, "failed": 0, "latency_us": {"p50": 90.0, "p99": at}, "past": "<slow>"});
        let sweep = json!({"axis": "rate", "knee": 100.0, "steps": [step(100.0), step(2000.0)]});
        let sources = [("a<b", run), ("grows", sweep)].map(|(name, json)| Source { name: name.into(), json });
        let (page, plots) = page("T & t", &["it <was> noisy".to_owned()], &sources);
        for part in [
            "T &amp; t",
            "a&lt;b",
            "1000</td>",
            "&lt;slow&gt;",
            "The knee is at 100.",
            "viewport",
            "dark",
            "&lt;was&gt;",
            "<pre class=\"wrapped\">ringway-load run 'x &amp; y'</pre>",
            "6.1 &lt;x&gt;",
            "<td>headers</td><td>[&quot;a: &lt;b&gt;&quot;]</td>",
            "a&lt;b: latency by second",
            "a&lt;b: answers by second",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert_eq!((page.matches("<svg").count(), plots.drawn.len()), (4, 4));
        for outside in ["http://", "https://", "<script", "NaN", "url("] {
            assert!(!page.contains(outside), "{outside} in {page}");
        }
    }

    #[test]
    fn a_plot_stands_alone() {
        let mut plots = Plots::default();
        let figure = plots.figure("HTTP/1, p99 < 5", "<svg viewBox=\"0 0 1 1\"><text>a</text></svg>".into());
        assert!(figure.contains("p99 &lt; 5</figcaption>"));
        assert_eq!(plots.drawn[0].0, "http-1-p99-5");
        let alone = Plots::alone(&plots.drawn[0].1);
        assert!(
            alone.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1 1\"><style>")
                && alone.contains("--ink")
        );
    }

    #[test]
    fn what_is_nothing_of_ours_is_refused() {
        let source = |json| Source { name: "x".into(), json };
        assert_eq!(source(json!({"kind": "compare", "version": 1})).kind(), Some(Kind::Compare));
        for wrong in [json!({}), json!([]), json!({"kind": "compare", "version": 2}), json!({"steps": 3})] {
            assert_eq!(source(wrong).kind(), None);
        }
    }
}
