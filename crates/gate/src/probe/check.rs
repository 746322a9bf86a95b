//! What is asked on every connection, and what was seen.

use std::collections::BTreeMap;

use anyhow::Result;
use header_gate_envoy::client::{Closed, Connection, Response};
use header_gate_envoy::denial::difference;
use header_gate_policy::Policy;

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

    /// What is asked on a connection, in order: what `policy` says, and that `withdrawn` values are denied. No
    /// name shows a value: they may be secret.
    pub fn all(policy: &Policy, withdrawn: &[String]) -> Vec<Self> {
        let values: Vec<_> = policy.values.iter().map(String::as_bytes).collect();
        let numbered = |i: usize| format!("value {} of {}", i + 1, values.len());
        let accepted = values.iter().enumerate();
        let mut all: Vec<_> =
            accepted.clone().map(|(i, value)| Self::new(numbered(i), Some(value), true)).collect();
        let longest = values.iter().copied().max_by_key(|value| value.len()).unwrap_or_default();
        all.extend([
            Self::new("no header", None, false),
            Self::new("an empty value", Some(b""), false),
            // Longer than every accepted one.
            Self::new("a wrong value", Some(&[longest, b"x"].concat()), false),
        ]);
        for (i, value) in accepted {
            let name = format!("{}, altered", numbered(i));
            let other = altered(value).filter(|other| !values.contains(&other.as_slice()));
            all.extend(other.map(|other| Self::new(name, Some(&other), false)));
        }
        for (i, value) in withdrawn.iter().enumerate() {
            let name = format!("--denied {} of {}", i + 1, withdrawn.len());
            all.push(Self::new(name, Some(value.as_bytes()), false));
        }
        all.extend([
            Self::new("a byte that is not UTF-8", Some(b"\xff"), false),
            Self::new("value 1, afterwards", values.first().copied(), true),
        ]);
        all
    }

    /// Asks on `connection`, and counts the answer, or that there was none; `place` is added to a wrong outcome.
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
        // A gateway may close a kept connection between two requests; it has decided nothing.
        if connection.is_used() && answer.as_ref().is_err_and(|error| error.is::<Closed>()) {
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
