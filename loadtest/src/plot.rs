//! Lines in a frame as SVG: two axes, each even or logarithmic, a legend, and colours that the page's style sets.

use std::fmt::Write;

/// How an axis is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    Even,
    Logarithmic,
}

/// One axis: its name, and the marks on it with their texts. What is drawn lies between the first and the last.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    pub(crate) name: &'static str,
    pub(crate) scale: Scale,
    pub(crate) marks: Vec<(f64, String)>,
}

/// A line, by its points.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
    /// Which of the page's colours.
    pub(crate) colour: usize,
    pub(crate) is_dashed: bool,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
/// Room for marks and names: left, right, above, below.
const ROOM: [f64; 4] = [64.0, 16.0, 12.0, 48.0];
/// Height of one row of the legend.
const LEGEND_ROW: f64 = 18.0;

impl Axis {
    /// One from 1, 2 or 5 times a power of ten to another, which hold all values between them. Values are above 0.
    pub(crate) fn logarithmic(name: &'static str, values: impl Iterator<Item = f64> + Clone) -> Axis {
        let (least, most) = (values.clone().fold(f64::INFINITY, f64::min), values.fold(0.0, f64::max));
        let (least, most) = if least <= most { (least.max(1e-3), most.max(1e-3)) } else { (1.0, 10.0) };
        let all = (-3..12).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)));
        let first = all.clone().rev().find(|mark| *mark <= least).unwrap_or(least);
        let last = all.clone().find(|mark| *mark > most).unwrap_or(most * 2.0);
        let marks = all.filter(|mark| (first..=last).contains(mark)).map(|mark| (mark, short(mark))).collect();
        Axis { name, scale: Scale::Logarithmic, marks }
    }

    /// One from 0 to the next round number beyond all values.
    pub(crate) fn even(name: &'static str, values: impl Iterator<Item = f64>) -> Axis {
        const MARKS: u32 = 5;
        let most = values.fold(0.0, f64::max).max(1e-9);
        let step = most / f64::from(MARKS);
        let power = 10_f64.powf(step.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|digit| digit * power).into_iter().find(|round| *round >= step);
        let step = step.unwrap_or(power * 10.0);
        let marks = (0..=MARKS).map(|mark| (f64::from(mark) * step, short(f64::from(mark) * step))).collect();
        Axis { name, scale: Scale::Even, marks }
    }

    /// Where a value lies, from 0 to 1.
    fn part(&self, value: f64) -> f64 {
        let (Some((first, _)), Some((last, _))) = (self.marks.first(), self.marks.last()) else { return 0.0 };
        let part = match self.scale {
            Scale::Even => (value - first) / (last - first),
            Scale::Logarithmic => (value / first).ln() / (last / first).ln(),
        };
        part.clamp(0.0, 1.0)
    }
}

/// A number in few characters.
pub(crate) fn short(number: f64) -> String {
    let (scaled, unit) = match number {
        n if n >= 1e6 => (n / 1e6, "M"),
        n if n >= 1e3 => (n / 1e3, "k"),
        n => (n, ""),
    };
    let text = if scaled >= 100.0 { format!("{scaled:.0}") } else { format!("{scaled:.2}") };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

/// A text within HTML or SVG.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Draws lines.
pub(crate) fn draw(title: &str, x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let [left, right, above, below] = ROOM;
    let (width, height) = (WIDTH - left - right, HEIGHT - above - below);
    let at_x = |value| left + width * x.part(value);
    let at_y = |value| above + height * (1.0 - y.part(value));
    let total = HEIGHT + LEGEND_ROW * lines.len() as f64;
    let title = escaped(title);
    let mut out =
        format!("<svg viewBox=\"0 0 {WIDTH} {total}\" role=\"img\" aria-label=\"{title}\"><title>{title}</title>");
    for (value, text) in &x.marks {
        let (at, bottom) = (at_x(*value), above + height);
        let _ = write!(out, "<path class=\"grid\" d=\"M{at:.1} {above}V{bottom}\"/>");
        let _ = write!(out, "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>", bottom + 16.0);
    }
    for (value, text) in &y.marks {
        let at = at_y(*value);
        let _ = write!(out, "<path class=\"grid\" d=\"M{left} {at:.1}H{:.1}\"/>", left + width);
        let _ = write!(out, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>", left - 6.0, at + 4.0);
    }
    let (middle, foot) = (left + width / 2.0, HEIGHT - 10.0);
    let _ = write!(out, "<text x=\"{middle:.1}\" y=\"{foot:.1}\" text-anchor=\"middle\">{}</text>", x.name);
    let side = above + height / 2.0;
    let _ = write!(
        out,
        "<text x=\"12\" y=\"{side:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 12 {side:.1})\">{}</text>",
        y.name
    );
    for (row, line) in lines.iter().enumerate() {
        let class = format!("c{}{}", line.colour % COLOURS, if line.is_dashed { " dashed" } else { "" });
        let points: Vec<String> = line.points.iter().map(|(a, b)| format!("{:.1},{:.1}", at_x(*a), at_y(*b))).collect();
        let _ = write!(out, "<polyline class=\"{class}\" points=\"{}\"/>", points.join(" "));
        let at = HEIGHT + LEGEND_ROW * row as f64 + 4.0;
        let _ = write!(out, "<path class=\"{class}\" d=\"M{left} {at:.1}h28\"/>");
        let _ = write!(out, "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", left + 36.0, at + 4.0, escaped(&line.name));
    }
    out.push_str("</svg>");
    out
}

/// Colours that the page's style has.
pub(crate) const COLOURS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_hold_what_is_drawn() {
        for values in [&[87.0, 1263.0][..], &[0.5], &[1.0, 1e6], &[]] {
            let axis = Axis::logarithmic("a", values.iter().copied());
            let (first, last) = (axis.marks[0].0, axis.marks[axis.marks.len() - 1].0);
            assert!(values.iter().all(|value| (first..=last).contains(value)) && first < last, "{values:?} {axis:?}");
        }
        let axis = Axis::even("a", [31_437.0].into_iter());
        assert_eq!(
            axis.marks.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(),
            ["0", "10k", "20k", "30k", "40k", "50k"]
        );
        assert_eq!((axis.part(25_000.0), axis.part(1e9)), (0.5, 1.0));
    }

    #[test]
    fn texts_are_escaped() {
        let line = Line { name: "<a & b>".into(), points: vec![(1.0, 2.0)], colour: 0, is_dashed: false };
        let [x, y] = [Axis::even("x", [1.0].into_iter()), Axis::logarithmic("y", [2.0].into_iter())];
        let drawn = draw("\"t\"", &x, &y, &[line]);
        assert!(drawn.contains("&lt;a &amp; b&gt;") && drawn.contains("&quot;t&quot;"), "{drawn}");
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
    }
}
