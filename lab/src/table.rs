//! Tables in Markdown, and numbers in them.

/// A table; its first column is aligned to the left, the others to the right.
pub fn markdown(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let head = format!("| {} |\n|---|{}\n", head.join(" | "), "---:|".repeat(head.len() - 1));
    let rows = rows.into_iter().map(|row| format!("| {} |\n", row.join(" | ")));
    head + &rows.collect::<String>()
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
    fn whole_numbers_have_commas() {
        let numbers = [0.0, -0.2, 7.0, 999.6, 12_345.0, -1_234_567.0];
        let texts = ["0", "0", "7", "1,000", "12,345", "-1,234,567"];
        assert_eq!(numbers.map(thousands), texts);
    }
}
