//! Tables in Markdown, and numbers in them.

/// A table; its first column is aligned to the left, the others to the right.
pub fn markdown(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let head = format!("| {} |\n|---|{}\n", head.join(" | "), "---:|".repeat(head.len() - 1));
    let rows = rows.into_iter().map(|row| format!("| {} |\n", row.join(" | ")));
    head + &rows.collect::<String>()
}

/// A whole number, not below zero, with commas.
pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(",")
}
