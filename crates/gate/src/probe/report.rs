//! What a probe found: a table, JSON, or metrics for Prometheus.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde::Serialize;

/// A probe and its checks.
#[derive(Serialize)]
pub struct Report {
    pub ok: bool,
    /// Host and port that were connected to.
    pub gate: String,
    /// The host that was asked for.
    pub host: String,
    pub policy: String,
    pub connections: u32,
    /// The version of HTTP, and whether over TLS; none before there was a connection.
    pub protocol: Option<String>,
    pub checks: Vec<Row>,
    pub error: Option<String>,
}

/// One check.
#[derive(Serialize)]
pub struct Row {
    pub check: String,
    pub expected: String,
    pub seen: Vec<Seen>,
    pub ok: bool,
}

#[derive(Serialize)]
pub struct Seen {
    pub count: u64,
    pub answer: String,
}

impl Report {
    /// The table, and whether all is well, if anything was asked.
    pub fn text(&self) -> String {
        let mut text = if self.checks.is_empty() { String::new() } else { self.table() };
        if let (true, Some(protocol)) = (self.ok, &self.protocol) {
            let Self { gate, policy, connections, .. } = self;
            text += &format!(
                "ok: {gate} does what {policy} says, on {connections} connections ({protocol})\n"
            );
        }
        text
    }

    pub fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    pub fn table(&self) -> String {
        let mut rows = vec![["check", "expected", "seen", "verdict"].map(str::to_owned)];
        for Row { check, expected, seen, ok } in &self.checks {
            let seen: Vec<_> = seen.iter().map(|s| format!("{} x {}", s.count, s.answer)).collect();
            let seen = if seen.is_empty() { "not asked".to_owned() } else { seen.join(", ") };
            let verdict = if *ok { "ok" } else { "FAILED" };
            rows.push([check.clone(), expected.clone(), seen, verdict.to_owned()]);
        }
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let [first, second, third] = [0, 1, 2].map(|column| width(column).unwrap_or_default());
        let line = |[check, expected, seen, verdict]: &[String; 4]| {
            format!("{check:first$}  {expected:second$}  {seen:third$}  {verdict}\n")
        };
        rows.iter().map(line).collect()
    }

    /// The text exposition format.
    pub fn metrics(&self) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let pairs = [("gate", &self.gate), ("host", &self.host), ("policy", &self.policy)];
        let labels = pairs.map(|(name, value)| format!("{name}=\"{}\"", label(value))).join(",");
        let mut text = String::new();
        let mut metric = |name: &str, help: &str, samples: &[(String, u64)]| {
            let name = format!("header_gate_probe_{name}");
            writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge")?;
            samples
                .iter()
                .try_for_each(|(labels, value)| writeln!(text, "{name}{{{labels}}} {value}"))
        };
        let help = "1 if the gate did what its policy says, else 0.";
        metric("success", help, &[(labels.clone(), self.ok.into())])?;
        let checks = self.checks.iter();
        let checks =
            checks.map(|row| (format!("{labels},check=\"{}\"", label(&row.check)), row.ok.into()));
        metric("check_success", "The same for each check.", &checks.collect::<Vec<_>>())?;
        metric("timestamp_seconds", "When the probe ended.", &[(labels.clone(), now)])?;
        Ok(text)
    }
}

/// The value of a label, escaped.
fn label(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', "\\n")
}
