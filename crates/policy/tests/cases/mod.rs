//! The table of what is refused, warned of and fine, `cases.toml`.

use serde::Deserialize;

/// A valid policy.
pub const GOOD: &str = r#"
header = "Allow"
values = ["true", "yes"]
[deny]
status = 403
headers = [["Content-Type", "text/plain"], ["x-empty", ""]]
body = "no\n"
details = "gate"
"#;

/// `GOOD` with `replace` replaced by `by`, and what the error or warning has to say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    replace: String,
    by: String,
    #[serde(default = "once")]
    each: Vec<String>,
    #[serde(default)]
    line: String,
}

fn once() -> Vec<String> {
    vec![String::new()]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cases {
    pub refused: Vec<Case>,
    pub warned: Vec<Case>,
    pub fine: Vec<Case>,
}

/// Reads the table.
pub fn read() -> Cases {
    toml::from_str(include_str!("../cases.toml")).unwrap()
}

impl Case {
    /// What the case makes of `GOOD`, and the expected line.
    pub fn texts(&self) -> Vec<(String, String)> {
        let Self { replace, by, each, line } = self;
        let text = |item: &String| {
            let text = GOOD.replacen(replace, &by.replace("{}", item), 1);
            assert_ne!(text, GOOD, "{replace} is not in the valid policy");
            (text, line.replace("{}", item))
        };
        each.iter().map(text).collect()
    }
}
