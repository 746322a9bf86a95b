//! README.zh-CN.md says what README.md says: block by block the same headings, code, tables, figures
//! and links.

use std::fs;
use std::path::Path;

const ENGLISH: &str = "README.md";
const CHINESE: &str = "README.zh-CN.md";

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// What a translation leaves alone, of one heading, fenced code, table row, list item or paragraph.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    /// `#` and the like for a heading, `- ` or `1. ` for an item, the number of cells of a row, or
    /// fenced code with all of its text.
    kind: String,
    /// Spans of code, sorted: another language has another order of words.
    code: Vec<String>,
    /// Targets of links and images, sorted. That to the other language is the same in both.
    links: Vec<String>,
    /// Numbers, sorted.
    figures: Vec<String>,
}

impl Block {
    fn new(text: &str) -> Self {
        if text.starts_with("```") {
            return Self { kind: text.to_owned(), code: vec![], links: vec![], figures: vec![] };
        }
        let marker = text.split_inclusive(' ').next().unwrap_or_default();
        let is_marker = |c: char| "#->.:|".contains(c) || c.is_ascii_digit() || c == ' ';
        let kind = if text.starts_with('|') {
            // The line below the head of a table tells how its columns are set.
            let rule = text.chars().all(|c| "|-:".contains(c));
            if rule { text.to_owned() } else { format!("{} cells", text.matches('|').count() - 1) }
        } else if marker.ends_with(' ') && marker.chars().all(is_marker) {
            marker.to_owned()
        } else {
            "paragraph".to_owned()
        };
        let code = text.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let neutral = |to: &str| to.replace(CHINESE, "README").replace(ENGLISH, "README");
        let figure = |c: char| !c.is_ascii_digit() && c != ',' && c != '.';
        let trimmed = |figure: &str| figure.trim_matches([',', '.']).to_owned();
        let figures = text.split(figure).map(trimmed).filter(|figure| !figure.is_empty());
        let (links, figures) = (targets.map(neutral).collect(), figures.collect());
        let mut block = Self { kind, code, links, figures };
        block.code.sort();
        block.links.sort();
        block.figures.sort();
        block
    }
}

fn blocks(markdown: &str) -> Vec<Block> {
    let (mut blocks, mut text, mut fenced) = (Vec::new(), String::new(), false);
    let mut end = |text: &mut String| {
        if !text.trim().is_empty() {
            blocks.push(Block::new(text.trim_end()));
        }
        text.clear();
    };
    for line in markdown.lines() {
        let fence = line.starts_with("```");
        let item = line.starts_with("- ")
            || line.split_once(". ").is_some_and(|(number, _)| {
                !number.is_empty() && number.chars().all(|c| c.is_ascii_digit())
            });
        let begins = fence || item || line.starts_with(['#', '|']) || line.is_empty();
        if begins && !fenced {
            end(&mut text);
        }
        text += line;
        text.push('\n');
        if fence && fenced {
            end(&mut text);
        }
        fenced ^= fence;
    }
    end(&mut text);
    blocks
}

/// The first block in which the two differ.
fn difference(english: &str, chinese: &str) -> Option<String> {
    let (english, chinese) = (blocks(english), blocks(chinese));
    let last = english.len().max(chinese.len());
    let differs = (0..last).find(|&i| english.get(i) != chinese.get(i))?;
    let (english, chinese) = (english.get(differs), chinese.get(differs));
    Some(format!("{ENGLISH}: {english:#?}\n{CHINESE}: {chinese:#?}"))
}

#[test]
fn the_translation_says_the_same() {
    let (english, chinese) = (read(ENGLISH), read(CHINESE));
    if let Some(difference) = difference(&english, &chinese) {
        panic!("{difference}");
    }
    assert_eq!(english.matches(&format!("]({CHINESE})")).count(), 1, "the link to {CHINESE}");
    assert_eq!(chinese.matches(&format!("]({ENGLISH})")).count(), 1, "the link to {ENGLISH}");
}

#[test]
fn what_only_one_of_them_has_is_noticed() {
    let english = read(ENGLISH);
    for (at, line) in english.lines().enumerate() {
        let without = |line: &str| english.replacen(&format!("{line}\n"), "", 1);
        // A line of text may hold nothing that a translation leaves alone.
        if line.starts_with(['#', '|', '-', '`']) {
            assert!(difference(&english, &without(line)).is_some(), "line {}: {line}", at + 1);
        }
        for (from, to) in
            [("0", "1"), ("](", "](../"), (" | `", " | `x"), ("## ", "### "), ("---:", "---")]
        {
            let other = line.replacen(from, to, 1);
            if other != line {
                let other = english.replacen(line, &other, 1);
                assert!(difference(&english, &other).is_some(), "line {}: {from}", at + 1);
            }
        }
    }
}
