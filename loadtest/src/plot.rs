//! Lines in a frame, and bars, as SVG: axes are even or logarithmic, and colours are what the page's style sets.

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

/// As wide as a phone's screen, so that texts are there as large as they are meant.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 300.0;
/// Room for marks and names: left, right, above, below.
const ROOM: [f64; 4] = [58.0, 16.0, 12.0, 48.0];
/// Height of one row of the legend, and of bars.
const LEGEND_ROW: f64 = 18.0;
/// The legend has two columns from so many lines on.
const LEGEND_COLUMNS_FROM: usize = 4;
/// A digit's width, about: of 13 px, as wide as any sans-serif has it.
const DIGIT: f64 = 7.8;
/// A text's height, with a little air.
const TEXT: f64 = 16.0;

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

    /// One from 0 to the next mark beyond all values.
    pub(crate) fn even(name: &'static str, values: impl Iterator<Item = f64>) -> Axis {
        const MARKS: u32 = 5;
        let most = values.fold(0.0, f64::max).max(1e-9);
        let step = most / f64::from(MARKS);
        let power = 10_f64.powf(step.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|digit| digit * power).into_iter().find(|round| *round >= step);
        let step = step.unwrap_or(power * 10.0);
        let count = ((most / step).ceil() as u32).clamp(1, MARKS);
        let marks = (0..=count).map(|mark| (f64::from(mark) * step, short(f64::from(mark) * step))).collect();
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

/// Which of some texts are written, each with the place where it lies from and to: the round ones first, and none upon another.
fn apart(spans: &[(f64, f64)], is_round: impl Fn(usize) -> bool) -> Vec<bool> {
    let mut taken: Vec<(f64, f64)> = Vec::new();
    let mut written = vec![false; spans.len()];
    for round in [true, false] {
        for (at, (from, to)) in spans.iter().enumerate().filter(|(at, _)| is_round(*at) == round) {
            if taken.iter().all(|(other_from, other_to)| to <= other_from || from >= other_to) {
                taken.push((*from, *to));
                written[at] = true;
            }
        }
    }
    written
}

impl Axis {
    /// The ends of an even axis, and the powers of ten of a logarithmic one.
    fn is_round(&self, at: usize) -> bool {
        match self.scale {
            Scale::Even => at == 0 || at + 1 == self.marks.len(),
            Scale::Logarithmic => (self.marks[at].0.log10() - self.marks[at].0.log10().round()).abs() < 1e-9,
        }
    }
}

fn open(title: &str, height: f64) -> String {
    let title = escaped(title);
    format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\"><title>{title}</title>")
}

/// Draws lines.
pub(crate) fn draw(title: &str, x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let [left, right, above, below] = ROOM;
    let (width, height) = (WIDTH - left - right, HEIGHT - above - below);
    let at_x = |value| left + width * x.part(value);
    let at_y = |value| above + height * (1.0 - y.part(value));
    let columns = if lines.len() >= LEGEND_COLUMNS_FROM { 2 } else { 1 };
    let mut out = open(title, HEIGHT + LEGEND_ROW * lines.len().div_ceil(columns) as f64);
    // A text is in the middle below its mark, as far as there is room.
    let middle = |at: usize| {
        let half = x.marks[at].1.chars().count() as f64 * DIGIT / 2.0;
        (at_x(x.marks[at].0).min(WIDTH - half), half)
    };
    let spans: Vec<(f64, f64)> =
        (0..x.marks.len()).map(&middle).map(|(middle, half)| (middle - half - 3.0, middle + half + 3.0)).collect();
    let written = apart(&spans, |at| x.is_round(at));
    for (number, (value, text)) in x.marks.iter().enumerate() {
        let (at, bottom) = (at_x(*value), above + height);
        let _ = write!(out, "<path class=\"grid\" d=\"M{at:.1} {above}V{bottom}\"/>");
        if written[number] {
            let (at, _) = middle(number);
            let _ = write!(out, "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>", bottom + 16.0);
        }
    }
    let spans: Vec<(f64, f64)> =
        y.marks.iter().map(|(value, _)| at_y(*value)).map(|at| (at - TEXT / 2.0, at + TEXT / 2.0)).collect();
    let written = apart(&spans, |at| y.is_round(at));
    for (number, (value, text)) in y.marks.iter().enumerate() {
        let at = at_y(*value);
        let _ = write!(out, "<path class=\"grid\" d=\"M{left} {at:.1}H{:.1}\"/>", left + width);
        if written[number] {
            let (x, y) = (left - 6.0, at + 4.0);
            let _ = write!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{text}</text>");
        }
    }
    let (middle, foot) = (left + width / 2.0, HEIGHT - 12.0);
    let _ = write!(out, "<text x=\"{middle:.1}\" y=\"{foot:.1}\" text-anchor=\"middle\">{}</text>", x.name);
    let side = above + height / 2.0;
    let _ = write!(
        out,
        "<text x=\"12\" y=\"{side:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 12 {side:.1})\">{}</text>",
        y.name
    );
    for (number, line) in lines.iter().enumerate() {
        let class = format!("c{}{}", line.colour % COLOURS, if line.is_dashed { " dashed" } else { "" });
        let points: Vec<String> = line.points.iter().map(|(a, b)| format!("{:.1},{:.1}", at_x(*a), at_y(*b))).collect();
        let _ = write!(out, "<polyline class=\"{class}\" points=\"{}\"/>", points.join(" "));
        let at = HEIGHT + LEGEND_ROW * (number / columns) as f64 + 4.0;
        let start = 16.0 + (WIDTH - 16.0) / columns as f64 * (number % columns) as f64;
        let _ = write!(out, "<path class=\"{class}\" d=\"M{start} {at:.1}h28\"/>");
        let _ = write!(out, "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", start + 36.0, at + 4.0, escaped(&line.name));
    }
    out.push_str("</svg>");
    out
}

/// Bars that are compared with each other.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) bars: Vec<Bar>,
    /// A mark through all bars.
    pub(crate) floor: Option<f64>,
}

/// A bar, and what is written behind it.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) text: String,
    /// Which of the page's colours.
    pub(crate) colour: usize,
}

/// Room for what is written behind the longest bar.
const BAR_RIGHT: f64 = 96.0;
/// Names of bars have as much room as the longest takes, within this.
const NAMES_MAX: f64 = 180.0;

fn names_width(groups: &[Group]) -> f64 {
    let names = groups.iter().flat_map(|group| &group.bars).map(|bar| bar.name.chars().count());
    (names.max().unwrap_or(0) as f64 * DIGIT + 12.0).min(NAMES_MAX)
}

/// Draws groups of bars below each other; the longest of each group is as long as the others' longest.
pub(crate) fn bars(title: &str, groups: &[Group]) -> String {
    const HEAD: f64 = 26.0;
    let rows: usize = groups.iter().map(|group| group.bars.len()).sum();
    let mut out = open(title, HEAD * groups.len() as f64 + LEGEND_ROW * rows as f64 + 8.0);
    let left = names_width(groups);
    let mut y = 0.0;
    for group in groups {
        let _ = write!(out, "<text class=\"head\" x=\"0\" y=\"{:.1}\">{}</text>", y + 18.0, escaped(&group.name));
        y += HEAD;
        let most = group.bars.iter().map(|bar| bar.value).fold(1e-9, f64::max);
        let scale = (WIDTH - left - BAR_RIGHT) / most;
        let top = y;
        // Behind all bars, so that the floor's line is not upon them.
        let mut texts = String::new();
        for bar in &group.bars {
            let (width, foot) = ((bar.value * scale).max(1.0), y + 13.0);
            let _ = write!(
                out,
                "<text x=\"{:.1}\" y=\"{foot:.1}\" text-anchor=\"end\">{}</text>\
                 <rect class=\"f{}\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"12\"/>",
                left - 8.0,
                escaped(&bar.name),
                bar.colour % COLOURS,
                y + 2.0
            );
            let (at, text) = (left + width + 6.0, escaped(&bar.text));
            let _ = write!(texts, "<text class=\"over\" x=\"{at:.1}\" y=\"{foot:.1}\">{text}</text>");
            y += LEGEND_ROW;
        }
        if let Some(floor) = group.floor.filter(|floor| *floor <= most) {
            let _ = write!(out, "<path class=\"floor\" d=\"M{:.1} {top:.1}V{y:.1}\"/>", left + floor * scale);
        }
        out.push_str(&texts);
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
            ["0", "10k", "20k", "30k", "40k"]
        );
        assert_eq!((axis.part(20_000.0), axis.part(1e9)), (0.5, 1.0));
    }

    #[test]
    fn texts_do_not_lie_upon_each_other_and_the_round_ones_are_there() {
        let axis = Axis::logarithmic("a", [3.0, 40_000.0].into_iter());
        let spans: Vec<(f64, f64)> =
            axis.marks.iter().map(|(value, _)| (60.0 * value.log10(), 60.0 * value.log10() + 50.0)).collect();
        let written = apart(&spans, |at| axis.is_round(at));
        let texts: Vec<&str> =
            axis.marks.iter().zip(written).filter(|(_, is)| *is).map(|((_, text), _)| text.as_str()).collect();
        assert_eq!(texts, ["10", "100", "1k", "10k"]);
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let bar = |value| Bar { name: "a<b".into(), value, text: "t".into(), colour: 0 };
        let group = Group { name: "g".into(), bars: vec![bar(50.0), bar(100.0)], floor: Some(25.0) };
        let drawn = bars("t", &[group]);
        let left = 3.0 * DIGIT + 12.0;
        let length = WIDTH - left - BAR_RIGHT;
        for part in [format!("width=\"{:.1}\"", length / 2.0), format!("width=\"{length:.1}\""), "a&lt;b".to_owned()] {
            assert!(drawn.contains(&part), "{part} in {drawn}");
        }
        assert!(drawn.contains(&format!("M{:.1} 26.0V62.0", left + length / 4.0)), "{drawn}");
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
