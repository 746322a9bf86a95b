//! Regular expressions (RE2's syntax) that match whole values.

use std::collections::BTreeMap;

/// What matches every text but these, which are ASCII.
pub fn complement(texts: &[&str]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| text.as_bytes()).collect();
    format!("(?s){}", others(&texts))
}

/// What matches every text that is none of `texts`: by the first character of each.
fn others(texts: &[&[u8]]) -> String {
    let mut heads = BTreeMap::<_, Vec<_>>::new();
    for (head, rest) in texts.iter().filter_map(|text| text.split_first()) {
        heads.entry(*head).or_default().push(rest);
    }
    let known: String = heads.keys().map(|&head| literal(head)).collect();
    let mut parts = vec![if known.is_empty() { ".+".to_owned() } else { format!("[^{known}].*") }];
    parts.extend(
        heads.iter().map(|(&head, rests)| format!("{}(?:{})", literal(head), others(rests))),
    );
    if !texts.contains(&&b""[..]) {
        parts.push(String::new());
    }
    parts.join("|")
}

/// A character that stands for itself, also in brackets.
pub fn literal(byte: u8) -> String {
    let character = char::from(byte);
    if character.is_ascii_alphanumeric() { character.to_string() } else { format!("\\x{byte:02x}") }
}

#[cfg(test)]
mod tests {
    use super::complement;

    #[test]
    fn the_complement_branches_where_the_texts_do() {
        assert_eq!(complement(&["a"]), "(?s)[^a].*|a(?:.+)|");
        assert_eq!(complement(&["ab", "a-"]), r"(?s)[^a].*|a(?:[^\x2db].*|\x2d(?:.+)|b(?:.+)|)|");
    }
}
