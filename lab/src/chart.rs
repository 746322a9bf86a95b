//! Pictures as SVG, drawn by plotters: stacked bars, and lines.

use anyhow::Result;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::table::thousands;

const GREY: RGBColor = RGBColor(0x9a, 0xa7, 0xb5);
const BLUE: RGBColor = RGBColor(0x4c, 0x86, 0xc6);
const RED: RGBColor = RGBColor(0xd0, 0x47, 0x2f);
const GREEN: RGBColor = RGBColor(0x7a, 0x9a, 0x5a);
const TITLE: (&str, i32) = ("sans-serif", 20);
const LABEL: (&str, i32) = ("sans-serif", 16);
const WIDTH: u32 = 820;
/// Height of a row of a bar chart, and of what is above and below all rows.
const ROW: u32 = 22;
const FRAME: u32 = 84;

/// A label, and the parts of a bar in the order of the series; a label without parts is a heading.
pub type Bar = (String, Vec<f64>);
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// A chart of horizontal bars. `series` names their parts; the label `bold` is bold.
pub fn bars(title: &str, series: &[&str], bars: &[Bar], bold: &str) -> Result<String> {
    let most = bars.iter().map(|(_, parts)| parts.iter().sum()).fold(1.0, f64::max);
    let mut svg = String::new();
    {
        let size = (WIDTH, bars.len() as u32 * ROW + FRAME);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .margin(12)
            .caption(title, TITLE)
            .x_label_area_size(28)
            .y_label_area_size(190)
            .build_cartesian_2d(0.0..most * 1.12, bars.len() as f64..0.0)?;
        let mut mesh = chart.configure_mesh();
        mesh.disable_y_mesh().disable_y_axis().light_line_style(TRANSPARENT).label_style(LABEL);
        mesh.x_labels(6).x_label_formatter(&|value| thousands(*value)).draw()?;
        for (i, (name, colour)) in series.iter().zip([GREY, BLUE, RED, GREEN]).enumerate() {
            let parts = bars.iter().enumerate().filter_map(|(row, (_, parts))| {
                let (start, y) = (parts.get(..i)?.iter().sum::<f64>(), row as f64);
                let corners = [(start, y + 0.15), (start + parts.get(i)?, y + 0.85)];
                Some(Rectangle::new(corners, colour.filled()))
            });
            let swatch =
                move |(x, y)| Rectangle::new([(x, y - 6), (x + 12, y + 6)], colour.filled());
            chart.draw_series(parts)?.label(*name).legend(swatch);
        }
        texts(&mut chart, bars, bold)?;
        let mut legend = chart.configure_series_labels();
        legend.position(SeriesLabelPosition::UpperRight).background_style(WHITE);
        legend.label_font(LABEL).draw()?;
        root.present()?;
    }
    Ok(svg)
}

/// The label before each bar, and its sum behind it.
fn texts(chart: &mut Chart<'_, '_>, bars: &[Bar], bold: &str) -> Result<()> {
    let at = |x, y, text, (offset, side), style| {
        let anchor = Pos::new(side, VPos::Center);
        let font = FontDesc::from(LABEL).style(style).color(&BLACK).pos(anchor);
        EmptyElement::at((x, y)) + Text::new(text, (offset, 0), font)
    };
    let texts = bars.iter().enumerate().flat_map(|(row, (label, parts))| {
        let strong = parts.is_empty() || label == bold;
        let style = if strong { FontStyle::Bold } else { FontStyle::Normal };
        let (y, sum) = (row as f64 + 0.5, parts.iter().sum());
        let note = if parts.is_empty() { String::new() } else { thousands(sum) };
        [
            at(0.0, y, label.clone(), (-8, HPos::Right), style),
            at(sum, y, note, (6, HPos::Left), style),
        ]
    });
    chart.draw_series(texts)?;
    Ok(())
}

/// A label, and points with positive coordinates, at least one.
pub type Line = (String, Vec<(f64, f64)>);

/// Lines on logarithmic axes from 1 on, each with its label at its end.
pub fn lines(title: &str, axis: &str, lines: &[Line]) -> Result<String> {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let right = points().map(|(x, _)| *x).fold(1.0, f64::max);
    let top = points().map(|(_, y)| *y).fold(1.0, f64::max);
    let bottom = points().map(|(_, y)| *y).fold(top, f64::min);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, 420)).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .margin(12)
            .caption(title, TITLE)
            .x_label_area_size(44)
            .y_label_area_size(90)
            .build_cartesian_2d(
                (1.0..right * 40.0).log_scale(),
                (bottom / 2.0..top * 2.0).log_scale(),
            )?;
        let mut mesh = chart.configure_mesh();
        mesh.light_line_style(TRANSPARENT).label_style(LABEL).x_desc(axis);
        let number = |value: &f64| thousands(*value);
        mesh.x_label_formatter(&number).y_label_formatter(&number).draw()?;
        for ((label, points), colour) in lines.iter().zip([RED, BLACK, GREEN, GREY, BLUE]) {
            chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(3)))?;
            let end = points.last().copied().unwrap_or((1.0, bottom));
            let anchor = Pos::new(HPos::Left, VPos::Center);
            let font = FontDesc::from(LABEL).color(&colour).pos(anchor);
            let text = EmptyElement::at(end) + Text::new(label.clone(), (8, 0), font);
            chart.draw_series([text])?;
        }
        root.present()?;
    }
    Ok(svg)
}
