//! The picture: a strip of all bytes in proportion, and a table of them.

use std::ops::Range;

use super::Row;

const WIDTH: usize = 1000;
const MARGIN: usize = 16;
/// Where the columns begin: the section, its bytes, its items, and the words.
const BYTES: usize = 96;
const ITEMS: usize = 356;
const WORDS: usize = 640;
/// How many bytes, and how many characters of items and words, fit into a line.
const LINE: [usize; 3] = [12, 38, 50];
const LINE_HEIGHT: usize = 16;
const GAP: usize = 5;
/// The top of the strip, its height, and the top of the table.
const STRIP: usize = 64;
const STRIP_HEIGHT: usize = 26;
const TABLE: usize = 156;

const HEADINGS: [(usize, &str, &str); 4] = [
    (BYTES, "g", "bytes"),
    (ITEMS, "g", "what they are"),
    (WORDS, "g", "what they are for"),
    (WORDS + 130, "p", "and what that guarantees"),
];
/// [`super::items::read`] fails for a module that has one of them.
const ABSENT: &str = "No table, global, start function, element or custom section: no indirect call, no stack in memory, no start-up.";

/// A style for each section, `s0` to `s7`, of a colour that can be read on white and on black.
const SECTIONS: [(&str, &str); 8] = [
    ("header", "#768390"),
    ("types", "#4c86c6"),
    ("imports", "#d0472f"),
    ("functions", "#9a7ad0"),
    ("memory", "#b8860b"),
    ("exports", "#c2608a"),
    ("code", "#2b9a8b"),
    ("data", "#5f8a2f"),
];

/// Follows the reader's colour scheme; the background is its own, so a page of the other scheme does no harm.
const STYLE: &str = "\
text{font:13px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1f2328}
.m{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre}
.t{font-size:20px;font-weight:600}.b{font-weight:600}
.g{fill:#59636e}.p{fill:#0a6b2d}.bg{fill:#fff}.l{stroke:#d1d9e0}
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.g{fill:#9198a1}.p{fill:#56d364}.bg{fill:#0d1117}.l{stroke:#3d444d}}
";

pub fn draw(wasm: &[u8], digest: &str, rows: &[Row]) -> String {
    let mut table = String::new();
    let mut top = TABLE;
    for (n, row) in rows.iter().enumerate() {
        let section = row.items[0].section;
        let is_first = n == 0 || rows[n - 1].items[0].section != section;
        if is_first {
            if n > 0 {
                line(&mut table, top);
                top += GAP + 3;
            }
            text(&mut table, MARGIN, top, &format!("b {}", style(section)), section);
        }
        top += draw_row(&mut table, wasm, row, top) * LINE_HEIGHT + GAP;
    }
    line(&mut table, top);
    let height = top + LINE_HEIGHT + MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" aria-label=\"Every byte of plugin.wasm\">\n<style>\n{STYLE}"
    );
    for (n, (_, colour)) in SECTIONS.iter().enumerate() {
        svg += &format!(".s{n}{{fill:{colour}}}\n");
    }
    svg +=
        &format!("</style>\n<rect class=\"bg\" width=\"{WIDTH}\" height=\"{height}\" rx=\"6\"/>\n");
    text(&mut svg, MARGIN, 30, "t", &format!("plugin.wasm: {} bytes, all of them", wasm.len()));
    text(&mut svg, MARGIN, 50, "m g", &format!("sha256 {digest}"));
    strip(&mut svg, wasm.len(), rows);
    for (x, class, heading) in HEADINGS {
        text(&mut svg, x, TABLE - LINE_HEIGHT - GAP, class, heading);
    }
    text(&mut svg, MARGIN, height - MARGIN, "g", ABSENT);
    svg + &table + "</svg>\n"
}

/// Draws a row at `top`, and returns how many lines it has.
fn draw_row(svg: &mut String, wasm: &[u8], row: &Row, top: usize) -> usize {
    let class = format!("m {}", style(row.items[0].section));
    let mut bytes = Vec::new();
    let all = row.items[0].bytes.start..row.items[row.items.len() - 1].bytes.end;
    for line in wasm[all].chunks(LINE[0]) {
        bytes.push(line.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "));
    }
    let mut names: Vec<_> = row.items.iter().map(|item| item.text(wasm) + ";").collect();
    names.last_mut().map(String::pop);
    let items = wrap(names.iter().flat_map(|name| pieces(name)), LINE[1]);
    let mut words = Vec::new();
    for (class, text) in [("", Some(&row.words.says)), ("p", row.words.guarantee.as_ref())] {
        let wrapped = text.map(|text| wrap(text.split(' '), LINE[2])).unwrap_or_default();
        words.extend(wrapped.into_iter().map(|line| (class, line)));
    }
    let bytes = bytes.iter().map(|line| (&*class, line)).collect();
    let items = items.iter().map(|line| ("m g", line)).collect();
    let words = words.iter().map(|(class, line)| (*class, line)).collect();
    let columns: [(usize, Vec<(&str, &String)>); 3] =
        [(BYTES, bytes), (ITEMS, items), (WORDS, words)];
    for (x, lines) in &columns {
        for (n, (class, line)) in lines.iter().enumerate() {
            text(svg, *x, top + n * LINE_HEIGHT, class, line);
        }
    }
    columns.iter().map(|(_, lines)| lines.len()).max().unwrap_or_default()
}

/// All bytes in proportion, with the names of the sections that have room for it.
fn strip(svg: &mut String, size: usize, rows: &[Row]) {
    let x = |offset: usize| MARGIN + offset * (WIDTH - 2 * MARGIN) / size;
    for (n, (section, _)) in SECTIONS.iter().enumerate() {
        let Range { start, end } = extent(rows, section);
        let (left, right) = (x(start), x(end));
        let width = (right - left).saturating_sub(1);
        *svg += &format!(
            "<rect class=\"s{n}\" x=\"{left}\" y=\"{STRIP}\" width=\"{width}\" height=\"{STRIP_HEIGHT}\"/>\n"
        );
        if right - left > 60 {
            text(svg, left, STRIP + STRIP_HEIGHT + 16, "g", &format!("{section} {}", end - start));
        }
    }
}

/// The bytes of a section.
fn extent(rows: &[Row], section: &str) -> Range<usize> {
    let mut items = rows.iter().flat_map(|row| &row.items).filter(|item| item.section == section);
    let first = items.next().map_or(0..0, |item| item.bytes.clone());
    first.start..items.next_back().map_or(first.end, |item| item.bytes.end)
}

fn style(section: &str) -> String {
    let index = SECTIONS.iter().position(|(name, _)| *name == section);
    index.map(|index| format!("s{index}")).unwrap_or_default()
}

/// An item is broken only if it does not fit into a line.
fn pieces(name: &str) -> Vec<&str> {
    if name.chars().count() > LINE[1] { name.split(' ').collect() } else { vec![name] }
}

/// Lines of at most `width` characters.
fn wrap<'a>(pieces: impl Iterator<Item = &'a str>, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for piece in pieces {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + piece.chars().count() <= width => {
                line.push(' ');
                line.push_str(piece);
            }
            _ => lines.push(piece.to_owned()),
        }
    }
    lines
}

fn text(svg: &mut String, x: usize, y: usize, class: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    *svg += &format!("<text x=\"{x}\" y=\"{y}\" class=\"{class}\">{text}</text>\n");
}

fn line(svg: &mut String, y: usize) {
    let (right, y) = (WIDTH - MARGIN, y - LINE_HEIGHT + 6);
    *svg += &format!("<path class=\"l\" d=\"M{MARGIN} {y}H{right}\"/>\n");
}
