//! What the documentation points to is there: files, headings, tests.

mod support;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use support::root;

/// What is checked of a document.
#[derive(Default)]
struct Document {
    /// As GitHub names them.
    anchors: HashSet<String>,
    links: Vec<String>,
    code: Vec<String>,
}

impl Document {
    fn read(file: &Path) -> Self {
        let text = fs::read_to_string(file).unwrap();
        let mut document = Self::default();
        let (mut heading, mut seen) = (None, HashMap::<String, u32>::new());
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES | Options::ENABLE_GFM) {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    document.links.push(dest_url.into_string());
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let anchor = anchor(&heading.take().unwrap_or_default());
                    let again = seen.entry(anchor.clone()).or_default();
                    document.anchors.insert(match *again {
                        0 => anchor,
                        n => format!("{anchor}-{n}"),
                    });
                    *again += 1;
                }
                Event::Code(code) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&code);
                    }
                    document.code.push(code.into_string());
                }
                Event::Text(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                _ => {}
            }
        }
        document
    }
}

/// What GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|&c| c.is_alphanumeric() || " -_".contains(c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The files below `folder` whose names end like that, but for what builds leave behind.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut files = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            files.extend(self::files(&path, end));
        } else if name.ends_with(end) {
            files.push(path);
        }
    }
    files
}

/// Links of `file` that lead nowhere.
fn broken(file: &Path) -> Vec<String> {
    let document = Document::read(file);
    let leads = |link: &str| {
        let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
        let target = if path.is_empty() { file.to_owned() } else { file.with_file_name(path) };
        let known = || fragment.is_empty() || Document::read(&target).anchors.contains(fragment);
        target.exists() && known()
    };
    let inside = document.links.into_iter().filter(|link| !link.contains("://"));
    inside.filter(|link| !leads(link)).collect()
}

#[test]
fn every_link_within_the_repository_leads_somewhere() {
    let documents = files(root(), ".md");
    assert!(documents.len() > 5, "{documents:?}");
    for file in documents {
        assert!(broken(&file).is_empty(), "{}: {:?}", file.display(), broken(&file));
    }
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("a.md");
    let text = "# `One`, two\n# One two\n[a](a.md#one-two) [b](#one-two-1) [c](b.md) [d](#One) \
                [e](a.md#two) ![f](f.svg) [g](https://example.com/#x)\n```\n[h](h.md)\n```\n";
    fs::write(&file, text).unwrap();
    assert_eq!(broken(&file), ["b.md", "#One", "a.md#two", "f.svg"]);
}

/// The names of all tests.
fn tests() -> HashSet<String> {
    let mut names = HashSet::new();
    for file in files(root(), ".rs") {
        let text = fs::read_to_string(file).unwrap();
        let mut lines = text.lines().map(str::trim);
        while let Some(line) = lines.next() {
            if line == "#[test]"
                && let Some(name) = lines.next().and_then(|line| line.strip_prefix("fn "))
            {
                names.insert(name.split('(').next().unwrap_or_default().to_owned());
            }
        }
    }
    names
}

#[test]
fn every_test_that_a_document_names_exists() {
    let tests = tests();
    for (name, least) in [("SECURITY.md", 15), ("docs/faults.md", 15)] {
        let document = Document::read(&root().join(name));
        // Nothing else that has a name has one so long, but for the functions of the ABI.
        let is_sentence = |code: &&String| {
            code.matches('_').count() > 3
                && !code.starts_with("proxy_")
                && code.chars().all(|c| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit())
        };
        let named: Vec<_> = document.code.iter().filter(is_sentence).collect();
        assert!(named.len() >= least, "{name}: {named:?}");
        let missing: Vec<_> = named.into_iter().filter(|&name| !tests.contains(name)).collect();
        assert!(missing.is_empty(), "{name}: no test is called {missing:?}");
    }
}
