//! The two calls that show a gate: what it answers, and what the policy says.

use std::io::{self, Write};

use anyhow::{Result, ensure};
use header_gate_envoy::client::{Connection, Response};
use header_gate_envoy::denial::difference;
use header_gate_policy::Policy;

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

    pub fn statuses(&self) -> (u16, u16) {
        (self.denied.status, self.passed.status)
    }

    /// Prints both calls as commands, with their answers.
    pub fn show(&self, out: &mut impl Write) -> io::Result<()> {
        let accepted = (self.policy.header.as_str(), self.policy.values[0].as_str());
        for (header, response) in [(None, &self.denied), (Some(accepted), &self.passed)] {
            let body = String::from_utf8_lossy(&response.body);
            let end = if body.ends_with('\n') { "" } else { "\n" };
            writeln!(
                out,
                "\n$ {}\n{body}{end}-> status {}",
                self.curl(PATH, header),
                response.status
            )?;
        }
        writeln!(out)
    }

    /// Compares the answers with the policy and with httpbin's teapot.
    pub fn check(&self) -> Result<()> {
        let Self { policy, denied, passed, .. } = self;
        let header = &policy.header;
        let wrong = difference(policy, denied).map(|wrong| format!("without `{header}`, {wrong}"));
        let mut wrong = Vec::from_iter(wrong);
        let (status, text) = TEAPOT;
        if passed.status != status || !String::from_utf8_lossy(&passed.body).contains(text) {
            wrong.push(format!("with an accepted `{header}`, {} is not the teapot", passed.status));
        }
        ensure!(wrong.is_empty(), "the gate contradicts policy.toml: {}", wrong.join("; "));
        Ok(())
    }

    /// Prints what to try next.
    pub fn suggest(&self, admin: u16, out: &mut impl Write) -> io::Result<()> {
        let (header, accepted) = (&*self.policy.header, &*self.policy.values[0]);
        let curl = |header: &str| self.curl("/headers", Some((header, accepted)));
        writeln!(
            out,
            "Up until Ctrl-C. To try next, in another terminal:\n\n  \
             # What the upstream sees.\n  {}\n\n  \
             # The case of the name does not count; that of the value does.\n  {}\n\n  \
             # A plugin that logs a line per request (after Ctrl-C).\n  \
             ./build.sh --features log --out log.wasm && deploy/try.sh --plugin log.wasm\n\n  \
             # All that Envoy itself logs about plugins.\n  \
             curl -X POST \"http://127.0.0.1:{admin}/logging?wasm=debug\"\n\nEnvoy's log:",
            curl(header),
            curl(&header.to_ascii_uppercase()),
        )?;
        out.flush()
    }

    fn curl(&self, path: &str, header: Option<(&str, &str)>) -> String {
        let header =
            header.map(|(name, value)| format!(" -H {}", quoted(&format!("{name}: {value}"))));
        format!("curl http://127.0.0.1:{}{path}{}", self.gate, header.unwrap_or_default())
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
