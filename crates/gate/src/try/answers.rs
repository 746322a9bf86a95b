//! The article's two calls: what they answer, and what the policy says that they should.

use std::io::{self, Write};

use anyhow::{Result, bail};
use header_gate_policy::Policy;

use header_gate_envoy::denial::difference;
use header_gate_envoy::http1::{Connection, Response};

/// httpbin's path for the teapot, and what its answer shows.
const PATH: &str = "/status/418";
const TEAPOT: (u16, &str) = (418, "-=[ teapot ]=-");

pub struct Answers<'a> {
    policy: &'a Policy,
    gate: u16,
    denied: Response,
    passed: Response,
}

impl<'a> Answers<'a> {
    /// Asks the gate on port `gate` without the policy's header, then with an accepted value.
    pub fn ask(policy: &'a Policy, gate: u16) -> Result<Self> {
        let accepted = (policy.header.as_bytes(), policy.values[0].as_bytes());
        let denied = Connection::open(gate)?.send("GET", PATH, &[], b"")?;
        let passed = Connection::open(gate)?.send("GET", PATH, &[accepted], b"")?;
        Ok(Self { policy, gate, denied, passed })
    }

    /// Both statuses.
    pub fn statuses(&self) -> (u16, u16) {
        (self.denied.status, self.passed.status)
    }

    /// Prints both calls as commands, with the answers that came.
    pub fn show(&self, out: &mut impl Write) -> io::Result<()> {
        let Policy { header, values, .. } = self.policy;
        let calls = [
            (self.curl(PATH, None), &self.denied),
            (self.curl(PATH, Some((header, &values[0]))), &self.passed),
        ];
        for (command, response) in calls {
            writeln!(out, "\n$ {command}")?;
            out.write_all(&response.body)?;
            if !response.body.ends_with(b"\n") {
                writeln!(out)?;
            }
            writeln!(out, "-> status {}", response.status)?;
        }
        writeln!(out)
    }

    /// Compares the answers with the policy and with httpbin's teapot.
    pub fn check(&self) -> Result<()> {
        let Self { policy, denied, passed, .. } = self;
        let wrong = difference(policy, denied);
        let wrong = wrong.map(|wrong| format!("without `{}`, {wrong}", policy.header));
        let mut wrong = Vec::from_iter(wrong);
        let (status, text) = TEAPOT;
        if passed.status != status || !String::from_utf8_lossy(&passed.body).contains(text) {
            let header = &policy.header;
            wrong.push(format!("with an accepted `{header}`, {} is not the teapot", passed.status));
        }
        if wrong.is_empty() {
            return Ok(());
        }
        bail!("the gate does not answer as policy.toml says: {}", wrong.join("; "))
    }

    /// Prints what to try next.
    pub fn suggest(&self, admin: u16, out: &mut impl Write) -> io::Result<()> {
        let header = &self.policy.header;
        let accepted = self.policy.values[0].as_str();
        let calls = [
            (self.curl("/headers", Some((header, accepted))), "What the upstream sees."),
            (
                self.curl("/headers", Some((&header.to_ascii_uppercase(), accepted))),
                "The case of the name does not count.",
            ),
            (self.curl("/headers", Some((header, &self.near_miss()))), "That of the value does."),
            (
                "./build.sh --features log --out log.wasm && deploy/try.sh --plugin log.wasm"
                    .into(),
                "A plugin that writes a line per request to Envoy's log (after Ctrl-C).",
            ),
            (
                format!("curl -X POST \"http://127.0.0.1:{admin}/logging?wasm=debug\""),
                "All that Envoy itself logs of plugins; `info` is what it starts with here.",
            ),
        ];
        writeln!(out, "Up until Ctrl-C. To try next, in another terminal:")?;
        for (command, why) in calls {
            writeln!(out, "\n  # {why}\n  {command}")?;
        }
        writeln!(out, "\nEnvoy's log:")?;
        out.flush()
    }

    /// A value that is almost accepted.
    fn near_miss(&self) -> String {
        let accepted = &self.policy.values[0];
        [accepted.to_ascii_uppercase(), accepted.to_ascii_lowercase()]
            .into_iter()
            .find(|value| !self.policy.values.contains(value))
            .unwrap_or_else(|| accepted.repeat(self.policy.values.len() + 1))
    }

    fn curl(&self, path: &str, header: Option<(&str, &str)>) -> String {
        let header = header.map(|(name, value)| quoted(&format!("{name}: {value}")));
        let header = header.map(|text| format!(" -H {text}")).unwrap_or_default();
        format!("curl http://127.0.0.1:{}{path}{header}", self.gate)
    }
}

/// `text` as one word of a shell.
fn quoted(text: &str) -> String {
    if text.contains(['"', '$', '`', '\\', '!']) {
        format!("'{}'", text.replace('\'', r"'\''"))
    } else {
        format!("\"{text}\"")
    }
}
