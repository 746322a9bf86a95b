//! What is asked on every connection, and what was seen.

use std::collections::BTreeMap;
use std::iter;

use anyhow::Result;
use header_gate_envoy::client::{Closed, Connection, Response};
use header_gate_envoy::denial::difference;
use header_gate_policy::Policy;

use super::report::{Row, Seen};

/// The answer of Envoy's RBAC filter, which docs/deploy.md recommends after the gate.
const FALLBACK: &str = "RBAC: access denied";
/// Most characters of a body that are shown.
const EXCERPT: usize = 60;
/// Most accepted values that are asked for.
const MOST: usize = 32;

/// Which answers count as passed, and which as denied.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    pub policy: &'a Policy,
    /// Statuses of what passed; if there are none, all of 2xx and 3xx. The denial's own never counts.
    pub expect: &'a [u16],
    /// The gateway rewrites the denial: only its status counts.
    pub status_only: bool,
}

impl Rules<'_> {
    fn is_passed(&self, status: u16) -> bool {
        let Self { policy, expect, .. } = self;
        let expected =
            if expect.is_empty() { (200..400).contains(&status) } else { expect.contains(&status) };
        expected && status != policy.deny.status
    }

    /// How the gate denied, or what `response` is instead.
    fn denial(&self, response: &Response) -> Result<&'static str, String> {
        let Self { policy, status_only, .. } = self;
        let deny = &policy.deny;
        let mut response = response.clone();
        // nginx ends a body that a plugin gives it with a line feed.
        let longer = response.body.strip_suffix(b"\n") == Some(deny.body.as_bytes());
        if longer {
            response.body.pop();
        }
        let status = response.status;
        match difference(policy, &response) {
            _ if *status_only && status == deny.status => Ok("denied (by its status)"),
            None if longer => Ok("denied (one line feed more)"),
            None => Ok("denied"),
            Some(header) if status == deny.status && response.body == deny.body.as_bytes() => {
                Err(header)
            }
            Some(_) if status >= 400 || status == deny.status => {
                Err(format!("{status}, not the gate's denial"))
            }
            Some(_) => Err(status.to_string()),
        }
    }

    /// As `denial`, of a gRPC call that has an answer in gRPC's form: Envoy makes one of a denial, with the body as the
    /// message. Clients see an answer with another `grpc-status`, 0 above all, as the service's.
    fn grpc_denial(&self, response: &Response) -> Option<Result<&'static str, String>> {
        let found = String::from_utf8_lossy(response.header("grpc-status")?);
        let expected = self.policy.grpc_response();
        let expected = |name: &str| {
            expected.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value.as_str())
        };
        let message = response.header("grpc-message").unwrap_or_default();
        // One line feed more is as good here as in a body.
        let same = [message, message.strip_suffix(b"%0A").unwrap_or(message)];
        let right = self.status_only || same.contains(&expected("grpc-message").as_bytes());
        Some(if found == expected("grpc-status") && right {
            Ok("denied (by its gRPC status)")
        } else {
            Err(format!("grpc-status {found}, not the gate's denial"))
        })
    }

    fn expected(&self, passes: bool) -> String {
        let Self { policy, expect, status_only } = self;
        let denial = policy.deny.status;
        match (passes, status_only) {
            (false, false) => format!("denied: {denial} as in the policy"),
            (false, true) => format!("denied: {denial}"),
            (true, _) if !expect.is_empty() => {
                let all: Vec<_> = expect.iter().map(u16::to_string).collect();
                format!("passed: {}", all.join(" or "))
            }
            (true, _) if (200..400).contains(&denial) => {
                format!("passed: 2xx or 3xx, not {denial}")
            }
            (true, _) => "passed: 2xx or 3xx".to_owned(),
        }
    }
}

pub struct Check {
    name: String,
    value: Option<Vec<u8>>,
    passes: bool,
    grpc: bool,
    /// How often the request has the header.
    times: usize,
    /// Whether the value, or most of it, is secret. What answers it may repeat it.
    secret: bool,
    /// Of each outcome, how often it was seen, and how the body of the first one begins.
    seen: BTreeMap<String, (u32, String)>,
    failed: bool,
}

impl Check {
    fn new(name: impl Into<String>, value: Option<&[u8]>, passes: bool, secret: bool) -> Self {
        let (name, value) = (name.into(), value.map(<[u8]>::to_vec));
        Self {
            name,
            value,
            passes,
            grpc: false,
            times: 1,
            secret,
            seen: BTreeMap::new(),
            failed: false,
        }
    }

    /// What is asked on a connection, in order: what `policy` says, and that `withdrawn` values are denied. No
    /// name shows a value.
    pub fn all(policy: &Policy, withdrawn: &[String]) -> Vec<Self> {
        let values = policy.accepted();
        let new = |name: String, value: &[u8], passes| {
            Self::new(name, Some(value), passes, policy.is_secret())
        };
        let numbered = |i: usize| format!("value {} of {}", i + 1, values.len());
        let accepted = values.iter().map(|value| value.as_bytes()).take(MOST).enumerate();
        let mut all: Vec<_> =
            accepted.clone().map(|(i, value)| new(numbered(i), value, true)).collect();
        all.extend([
            Self::new("no header", None, false, false),
            Self { grpc: true, ..Self::new("no header, gRPC", None, false, false) },
            Self::new("an empty value", Some(b""), false, false),
            // Longer than every accepted one.
            new("a wrong value".to_owned(), &vec![b'x'; policy.longest() + 1], false),
        ]);
        for (i, value) in accepted {
            let name = format!("{}, altered", numbered(i));
            let other = altered(value).filter(|other| !policy.accepts(other));
            all.extend(other.map(|other| new(name, &other, false)));
        }
        for (i, value) in withdrawn.iter().enumerate() {
            let name = format!("denied value {} of {}", i + 1, withdrawn.len());
            all.push(Self::new(name, Some(value.as_bytes()), false, true));
        }
        all.push(Self::new("a byte that is not UTF-8", Some(b"\xff"), false, false));
        let first = values.first().map(|value| value.as_bytes());
        if let (Some(value), Some(_)) = (first, policy.repeated) {
            all.push(Self { times: 2, ..new("value 1, twice".to_owned(), value, false) });
        }
        all.extend(first.map(|value| new("value 1, afterwards".to_owned(), value, true)));
        // A dry run lets everything pass.
        all.iter_mut().for_each(|check| check.passes |= !policy.enforce);
        all
    }

    /// Asks on `connection`, and counts the answer, or that there was none; `place` is added to a wrong outcome.
    pub fn ask(
        &mut self,
        rules: &Rules,
        path: &str,
        connection: &mut Connection,
        place: &str,
    ) -> Result<()> {
        let policy = rules.policy;
        let header = self.value.as_deref().map(|value| (policy.header.as_bytes(), value));
        let grpc: (&[u8], &[u8]) = (b"content-type", b"application/grpc");
        let header = header.into_iter().flat_map(|header| iter::repeat_n(header, self.times));
        let fields: Vec<_> = header.chain(self.grpc.then_some(grpc)).collect();
        let method = if self.grpc { "POST" } else { "GET" };
        let send = |connection: &mut Connection| {
            // What passes may be a stream without an end. Of a refusal, the body counts.
            let wanted = |head: &Response| head.status >= 400 || head.status == policy.deny.status;
            connection.send_for(method, path, &fields, b"", wanted)
        };
        let mut answer = send(connection);
        // A gateway may close a kept connection between two requests; it has decided nothing.
        if connection.is_used() && answer.as_ref().is_err_and(|error| error.is::<Closed>()) {
            answer = connection.reopen().and_then(|()| send(connection));
        }
        let (outcome, right, body) = match &answer {
            Ok(response) if self.passes && rules.is_passed(response.status) => {
                (response.status.to_string(), true, None)
            }
            Ok(response) => match self.denial(rules, response) {
                Ok(denied) => (denied.to_owned(), !self.passes, None),
                Err(other) => {
                    let unknown = response.body != policy.deny.body.as_bytes();
                    (other, false, unknown.then_some(response.body.as_slice()))
                }
            },
            Err(_) => ("no answer".to_owned(), false, None),
        };
        let outcome = if right { outcome } else { outcome + place };
        let excerpt = || body.map(|body| excerpt(body, self.secret)).unwrap_or_default();
        self.seen.entry(outcome).or_insert_with(|| (0, excerpt())).0 += 1;
        self.failed |= !right;
        answer.map(drop)
    }

    fn denial(&self, rules: &Rules, response: &Response) -> Result<&'static str, String> {
        let grpc = self.grpc.then(|| rules.grpc_denial(response)).flatten();
        grpc.unwrap_or_else(|| rules.denial(response))
    }

    pub fn row(&self, rules: &Rules) -> Row {
        let seen = self.seen.iter().map(|(outcome, (count, excerpt))| Seen {
            count: (*count).into(),
            answer: format!("{outcome}{excerpt}"),
        });
        Row {
            check: self.name.clone(),
            expected: rules.expected(self.passes),
            seen: seen.collect(),
            ok: !self.failed && !self.seen.is_empty(),
        }
    }
}

/// `value` with another last byte.
fn altered(value: &[u8]) -> Option<Vec<u8>> {
    let (last, rest) = value.split_last()?;
    Some([rest, if *last == b'x' { b"y" } else { b"x" }].concat())
}

/// How `body` begins. The answer to a secret value may repeat it, in any form: then only a known text is shown.
fn excerpt(body: &[u8], secret: bool) -> String {
    let body = String::from_utf8_lossy(body);
    let line = body.trim().lines().next().unwrap_or_default();
    if line.is_empty() || secret && line != FALLBACK {
        return String::new();
    }
    format!(" {:?}", line.chars().take(EXCERPT).collect::<String>())
}
