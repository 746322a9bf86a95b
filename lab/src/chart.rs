//! Horizontal bars, stacked, as an SVG that reads well on light and dark pages.

use std::fmt::Write as _;

/// How long a bar of some value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// In proportion.
    Linear,
    /// In proportion to the logarithm, where bars have but one part.
    Log,
}

/// A bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What stands before it.
    pub label: String,
    /// What stands behind it.
    pub note: String,
    /// Its parts, in the order of the chart's series.
    pub parts: Vec<f64>,
    /// Whether its texts are bold.
    pub ours: bool,
}

/// A chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What it shows.
    pub title: &'static str,
    /// The names of the parts; none if there is only one.
    pub series: Vec<&'static str>,
    /// How long bars are.
    pub scale: Scale,
    /// Headings, and the bars below each.
    pub groups: Vec<(String, Vec<Bar>)>,
}

const WIDTH: f64 = 820.0;
/// Where bars begin, and where the longest one ends.
const LEFT: f64 = 220.0;
const RIGHT: f64 = 720.0;
const ROW: f64 = 22.0;
/// Room for the marks below the bars.
const FOOT: f64 = 34.0;
/// Fill of each part; light page, dark page.
const COLOURS: [(&str, &str); 4] = [
    ("#9aa7b5", "#66717d"),
    ("#4c86c6", "#5b96d8"),
    ("#d0472f", "#ff8a70"),
    ("#7a9a5a", "#86ab62"),
];

impl Chart {
    /// The SVG.
    pub fn svg(&self) -> String {
        let most = self.bars().map(|bar| bar.parts.iter().sum()).fold(1.0, f64::max);
        let ticks = ticks(self.scale, most);
        let length = |value: f64| match self.scale {
            Scale::Linear => value / most * (RIGHT - LEFT),
            Scale::Log => (value / ticks[0]).ln() / (most / ticks[0]).ln() * (RIGHT - LEFT),
        };
        let mut top = if self.series.is_empty() { 48.0 } else { 72.0 };
        let first = top;
        let mut rows = String::new();
        for (heading, bars) in &self.groups {
            if !heading.is_empty() {
                top += ROW + 6.0;
                text(&mut rows, "h", 16.0, top - 8.0, heading);
            }
            for bar in bars {
                let class = if bar.ours { " b" } else { "" };
                text(&mut rows, &format!("e{class}"), LEFT - 10.0, top + 15.0, &bar.label);
                let mut x = LEFT;
                for (i, &part) in bar.parts.iter().enumerate().filter(|(_, part)| **part > 0.0) {
                    // A part that is there can be seen.
                    let width = length(part).max(1.0);
                    let y = top + 3.0;
                    let _ = writeln!(
                        rows,
                        "<rect class=\"c{i}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"16\"/>"
                    );
                    x += width;
                }
                text(&mut rows, &format!("n{class}"), x + 7.0, top + 15.0, &bar.note);
                top += ROW;
            }
        }
        let marks: Vec<_> = ticks.iter().map(|&tick| (length(tick), thousands(tick))).collect();
        self.page(&rows, first, top, &marks)
    }

    fn bars(&self) -> impl Iterator<Item = &Bar> {
        self.groups.iter().flat_map(|(_, bars)| bars)
    }

    fn page(&self, rows: &str, first: f64, end: f64, marks: &[(f64, String)]) -> String {
        let mut svg = head(self.title, WIDTH, end + FOOT);
        let mut x = 16.0;
        for (i, name) in self.series.iter().enumerate() {
            let _ = writeln!(
                svg,
                "<rect class=\"c{i}\" x=\"{x:.1}\" y=\"44\" width=\"12\" height=\"12\"/>"
            );
            text(&mut svg, "n", x + 18.0, 55.0, name);
            // A letter takes about this much.
            x += 46.0 + 7.2 * name.chars().count() as f64;
        }
        for (at, mark) in marks {
            let x = LEFT + at;
            let _ = writeln!(
                svg,
                "<line class=\"g\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{first:.1}\" y2=\"{:.1}\"/>",
                end + 4.0
            );
            text(&mut svg, "a", x, end + 20.0, mark);
        }
        svg + rows + "</svg>\n"
    }
}

/// The beginning of a picture: how everything looks, and its title.
pub fn head(title: &str, width: f64, height: f64) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" role=\"img\">\n<title>{}</title>\n<style>\n",
        escape(title)
    );
    svg += "text{font:13px system-ui,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1f2328}\n\
            .t{font-size:16px;font-weight:600}.h,.b{font-weight:600}.e{text-anchor:end}\n\
            .a{font-size:12px;text-anchor:middle;fill:#59636e}.n{fill:#59636e}.b{fill:#1f2328}\n\
            .p{fill:#fff}.g{stroke:#d1d9e0}\n\
            .n{paint-order:stroke;stroke:#fff;stroke-width:5px;stroke-linejoin:round}\n";
    let (mut light, mut dark) = (String::new(), String::new());
    for (i, (on_light, on_dark)) in COLOURS.iter().enumerate() {
        let _ = write!(light, ".c{i}{{fill:{on_light}}}");
        let _ = write!(dark, ".c{i}{{fill:{on_dark}}}");
    }
    let _ = write!(
        svg,
        "{light}\n@media(prefers-color-scheme:dark){{text{{fill:#f0f6fc}}.a,.n{{fill:#9198a1}}\
         .b{{fill:#f0f6fc}}.p{{fill:#0d1117}}.g{{stroke:#3d444d}}.n{{stroke:#0d1117}}{dark}}}\n</style>\n\
         <rect class=\"p\" width=\"100%\" height=\"100%\" rx=\"6\"/>\n"
    );
    text(&mut svg, "t", 16.0, 28.0, title);
    svg
}

/// A text at some place.
pub fn text(svg: &mut String, class: &str, x: f64, y: f64, text: &str) {
    let _ =
        writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escape(text));
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Where marks stand: a few round numbers, or powers of ten.
pub fn ticks(scale: Scale, most: f64) -> Vec<f64> {
    match scale {
        Scale::Linear => {
            let power = 10_f64.powf(most.log10().floor());
            let steps = [power / 5.0, power / 2.0, power, power * 2.0];
            let step = steps.into_iter().find(|step| most / step <= 6.0).unwrap_or(power * 5.0);
            (0..).map(|i| f64::from(i) * step).take_while(|&tick| tick <= most).collect()
        }
        Scale::Log => (2..).map(|i| 10_f64.powi(i)).take_while(|&tick| tick <= most).collect(),
    }
}

/// A whole number with commas.
pub fn thousands(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = if number < 0.0 && digits != "0" { "-".to_owned() } else { String::new() };
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas() {
        let numbers = [0.0, -0.2, 7.0, 999.6, 12_345.0, -1_234_567.0];
        let texts = ["0", "0", "7", "1,000", "12,345", "-1,234,567"];
        assert_eq!(numbers.map(thousands), texts);
    }

    #[test]
    fn marks_are_round_and_few() {
        assert_eq!(ticks(Scale::Linear, 43_000.0), [0.0, 10e3, 20e3, 30e3, 40e3]);
        assert_eq!(ticks(Scale::Linear, 9.0), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(ticks(Scale::Log, 72_000.0), [100.0, 1000.0, 10_000.0]);
    }

    #[test]
    fn a_bar_is_as_long_as_its_parts() {
        let bar =
            Bar { label: "a < b".into(), note: "4".into(), parts: vec![3.0, 1.0], ours: true };
        let groups = vec![(String::new(), vec![bar])];
        let svg = Chart { title: "t", series: vec!["x", "y"], scale: Scale::Linear, groups }.svg();
        assert!(svg.contains("x=\"220.0\" y=\"75.0\" width=\"375.0\""), "{svg}");
        assert!(svg.contains("x=\"595.0\" y=\"75.0\" width=\"125.0\""), "{svg}");
        assert!(svg.contains("a &lt; b"), "{svg}");
    }
}
