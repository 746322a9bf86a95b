//! Lines over what was done so far, as an SVG that reads well on light and dark pages.

use std::fmt::Write as _;

use crate::chart::{Scale, head, text, thousands, ticks};

/// What is drawn.
#[derive(Clone, Debug)]
pub struct Plot {
    /// What it shows.
    pub title: &'static str,
    /// What is to the right.
    pub below: &'static str,
    /// Two lines, the one that matters first: a name, and points to the right and up, both from 0.
    pub lines: [(&'static str, Vec<(f64, f64)>); 2],
    /// Where the part ends that does not count, and its name.
    pub before: (f64, &'static str),
}

const WIDTH: f64 = 820.0;
const HEIGHT: f64 = 300.0;
/// Where the lines may be.
const LEFT: f64 = 76.0;
const RIGHT: f64 = 780.0;
const TOP: f64 = 52.0;
const BOTTOM: f64 = 244.0;

impl Plot {
    /// The SVG.
    pub fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|(_, points)| points);
        let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(1.0, f64::max);
        let (wide, high) = (most(|point| point.0), most(|point| point.1));
        let x = |value: f64| LEFT + value / wide * (RIGHT - LEFT);
        // The lines stay below the edge.
        let y = |value: f64| BOTTOM - value / (high * 1.1) * (BOTTOM - TOP);
        let mut svg = head(self.title, WIDTH, HEIGHT);
        let (until, name) = self.before;
        let width = x(until) - LEFT;
        let _ = writeln!(
            svg,
            "<style>.l0,.l1{{fill:none;stroke:#d0472f;stroke-width:2;stroke-linejoin:round}}\
             .l1{{stroke:#66717d}}.w{{fill:#59636e;opacity:.1}}@media(prefers-color-scheme:dark)\
             {{.l0{{stroke:#ff8a70}}.l1{{stroke:#9aa7b5}}.w{{fill:#9198a1}}}}</style>\n\
             <rect class=\"w\" x=\"{LEFT}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{:.1}\"/>",
            BOTTOM - TOP
        );
        for tick in ticks(Scale::Linear, high) {
            let at = y(tick);
            let _ = writeln!(
                svg,
                "<line class=\"g\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>"
            );
            text(&mut svg, "e", LEFT - 8.0, at + 4.0, &thousands(tick));
        }
        for tick in ticks(Scale::Linear, wide) {
            text(&mut svg, "a", x(tick), BOTTOM + 20.0, &thousands(tick));
        }
        text(&mut svg, "a", f64::midpoint(LEFT, RIGHT), BOTTOM + 42.0, self.below);
        text(&mut svg, "a", f64::midpoint(LEFT, x(until)), BOTTOM - 10.0, name);
        for (i, (name, points)) in self.lines.iter().enumerate() {
            let places: Vec<_> =
                points.iter().map(|p| format!("{:.1},{:.1}", x(p.0), y(p.1))).collect();
            let _ = writeln!(svg, "<polyline class=\"l{i}\" points=\"{}\"/>", places.join(" "));
            // The first above its line, the second below.
            let away = if i == 0 { -8.0 } else { 18.0 };
            let last = points.last().map_or(0.0, |point| point.1);
            text(&mut svg, "e", RIGHT, y(last) + away, name);
        }
        svg + "</svg>\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_from_0_to_the_last_point() {
        let (title, below, before) = ("t", "requests", (50.0, "warm-up"));
        let lines = [("a", vec![(0.0, 0.0), (100.0, 10.0)]), ("b", Vec::new())];
        let svg = Plot { title, below, before, lines }.svg();
        assert!(svg.contains("points=\"76.0,244.0 780.0,69.5\""), "{svg}");
        assert!(svg.contains("class=\"w\" x=\"76\" y=\"52\" width=\"352.0\""), "{svg}");
    }
}
