//! Tables, and figures in few characters.

use std::fmt::Write;

use serde_json::Value;

use crate::plot::escaped;

pub(super) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

/// A table of cells that are HTML.
pub(super) fn table<T: AsRef<str>>(head: &[T], rows: &[Vec<String>]) -> String {
    table_of("wide", head, rows)
}

/// One with a column for each of several that are compared: it is to be seen whole, on a phone, too.
pub(super) fn compared_table(names: &[String], rows: &[Vec<String>]) -> String {
    let mut head = vec![String::new()];
    head.extend_from_slice(names);
    table_of("wide compared", &head, rows)
}

fn table_of<T: AsRef<str>>(class: &str, head: &[T], rows: &[Vec<String>]) -> String {
    let mut out = format!("<div class=\"{class}\"><table><thead><tr>");
    head.iter().for_each(|cell| _ = write!(out, "<th scope=\"col\">{}</th>", cell.as_ref()));
    out.push_str("</tr></thead><tbody>");
    for row in rows {
        out.push_str("<tr>");
        row.iter().for_each(|cell| _ = write!(out, "<td>{cell}</td>"));
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>\n");
    out
}

/// A table of names and what they stand for, both of them HTML.
pub(super) fn facts(rows: &[(String, String)]) -> String {
    let mut out = String::from("<div class=\"wide\"><table class=\"facts\"><tbody>");
    for (name, value) in rows {
        let _ = write!(out, "<tr><td>{name}</td><td>{value}</td></tr>");
    }
    out.push_str("</tbody></table></div>\n");
    out
}

/// What is known of a host, as rows of [`facts`].
pub(super) fn host_rows(host: &Value) -> Vec<(String, String)> {
    let rows = [
        ("kernel", known(&host["kernel"])),
        ("CPU", known(&host["cpu"])),
        ("CPUs", known(&host["cpus"])),
        ("governor", known(&host["governor"])),
        ("CPU quota", if host["cpu_quota"].is_null() { "none".to_owned() } else { known(&host["cpu_quota"]) }),
        ("virtualised", if host["virtualised"] == true { "yes".to_owned() } else { "not that it says".to_owned() }),
        ("memory", format!("{:.1} GiB", number(&host["memory_bytes"]) / f64::from(1 << 30))),
        ("load before it began", known(&host["load_before"])),
    ];
    rows.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

/// A member as HTML, whatever it is.
pub(super) fn known(value: &Value) -> String {
    match value {
        Value::Null => "unknown".to_owned(),
        Value::String(text) => escaped(text),
        other => escaped(&other.to_string()),
    }
}

/// A figure to three digits, and to one where it is large.
pub(super) fn digits(figure: f64) -> String {
    match figure.abs() {
        size if size >= 1000.0 => grouped(figure),
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

/// Thousands apart from each other: 12,345.
fn grouped(figure: f64) -> String {
    let text = format!("{figure:.0}");
    let (sign, text) = text.strip_prefix('-').map_or(("", text.as_str()), |text| ("-", text));
    let mut out = String::from(sign);
    for (at, digit) in text.chars().enumerate() {
        if at > 0 && (text.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        for (figure, text) in
            [(0.123, "0.12"), (12.34, "12.3"), (123.4, "123"), (1234.5, "1,234"), (-1_234_567.0, "-1,234,567")]
        {
            assert_eq!(digits(figure), text);
        }
    }
}
