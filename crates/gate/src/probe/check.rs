//! What is asked on every connection, and what was seen.

use std::collections::BTreeMap;

use anyhow::Result;
use header_gate_policy::Policy;

use header_gate_envoy::denial::difference;
use header_gate_envoy::http1::{Closed, Connection, Response};

/// One thing to ask on every connection.
pub struct Check {
    name: String,
    value: Option<Vec<u8>>,
    passes: bool,
    /// How often each outcome was seen.
    seen: BTreeMap<String, u32>,
    failed: bool,
}

impl Check {
    fn new(name: impl Into<String>, value: Option<&[u8]>, passes: bool) -> Self {
        let value = value.map(<[u8]>::to_vec);
        Self { name: name.into(), value, passes, seen: BTreeMap::new(), failed: false }
    }

    /// What is asked on a connection, in order: what `policy` says, and that `withdrawn` values are
    /// denied. No name tells a value: they may be secret.
    pub fn all(policy: &Policy, withdrawn: &[String]) -> Vec<Self> {
        let values = policy.values.iter().map(String::as_bytes);
        let numbered =
            |what: &str, i: usize, all: &[String]| format!("{what} {} of {}", i + 1, all.len());
        let value = |i| numbered("value", i, &policy.values);
        let mut all: Vec<_> = values
            .clone()
            .enumerate()
            .map(|(i, bytes)| Self::new(value(i), Some(bytes), true))
            .collect();
        let longest = values.clone().max_by_key(|value| value.len()).unwrap_or_default();
        all.extend([
            Self::new("no header", None, false),
            Self::new("an empty value", Some(b""), false),
            // Longer than every accepted one.
            Self::new("a wrong value", Some(&[longest, b"x"].concat()), false),
        ]);
        for (i, bytes) in values.clone().enumerate() {
            if let Some(other) = altered(bytes).filter(|other| !values.clone().any(|v| v == other))
            {
                all.push(Self::new(format!("{}, altered", value(i)), Some(&other), false));
            }
        }
        for (i, bytes) in withdrawn.iter().map(String::as_bytes).enumerate() {
            all.push(Self::new(numbered("--denied", i, withdrawn), Some(bytes), false));
        }
        all.extend([
            Self::new("a byte that is not UTF-8", Some(b"\xff"), false),
            Self::new("value 1, afterwards", values.clone().next(), true),
        ]);
        all
    }

    /// Asks on `connection`, and counts the answer, or that there was none; `place` is added to what
    /// is wrong.
    pub fn ask(
        &mut self,
        policy: &Policy,
        path: &str,
        connection: &mut Connection,
        place: &str,
    ) -> Result<()> {
        let header = self.value.as_deref().map(|value| (policy.header.as_bytes(), value));
        let send = |connection: &mut Connection| {
            // What passes may be a stream without an end. Of a denial, the body counts.
            let wanted = |head: &Response| head.status == policy.deny.status;
            connection.send_for("GET", path, header.as_slice(), b"", wanted)
        };
        let mut answer = send(connection);
        // A gateway may close what it has kept open between two requests; it has decided nothing.
        if connection.is_kept() && answer.as_ref().is_err_and(|error| error.is::<Closed>()) {
            answer = connection.reopen().and_then(|()| send(connection));
        }
        let (outcome, right) = match &answer {
            Ok(response) => match difference(policy, response) {
                None => ("denied".to_owned(), !self.passes),
                Some(difference) => (difference, self.passes && response.status < 500),
            },
            Err(_) => ("no answer".to_owned(), false),
        };
        let outcome = if right { outcome } else { outcome + place };
        *self.seen.entry(outcome).or_default() += 1;
        self.failed |= !right;
        answer.map(drop)
    }

    /// Whether every answer was right, and there was one.
    pub fn is_ok(&self) -> bool {
        !self.failed && !self.seen.is_empty()
    }

    /// Its row of the table.
    pub fn row(&self, policy: &Policy) -> [String; 4] {
        let expected = if self.passes {
            "passed: below 500, not denied".to_owned()
        } else {
            format!("denied: {} as in the policy", policy.deny.status)
        };
        let seen: Vec<_> = self.seen.iter().map(|(what, n)| format!("{n} x {what}")).collect();
        let seen = if seen.is_empty() { "not asked".to_owned() } else { seen.join(", ") };
        let verdict = if self.is_ok() { "ok" } else { "FAILED" };
        [self.name.clone(), expected, seen, verdict.to_owned()]
    }
}

/// `value` with another last byte.
fn altered(value: &[u8]) -> Option<Vec<u8>> {
    let (last, rest) = value.split_last()?;
    Some([rest, if *last == b'x' { b"y" } else { b"x" }].concat())
}
