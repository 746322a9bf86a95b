//! What is sent: good, bad and hostile requests, and hostile ends of connections.

use std::sync::LazyLock;

use fastrand::Rng;
use header_gate_policy::Policy;

use super::client::Answer;

/// The size of a value that is far too long.
const HUGE: usize = 50_000;

/// A header field.
type Field<'a> = (&'a [u8], &'a [u8]);

/// A kind of request.
pub struct Kind {
    /// Its name, in the data and in the table.
    pub name: &'static str,
    /// How many of it there are among [`TOTAL`] requests.
    often: u32,
    /// What has to come back.
    pub answer: Answer,
    /// Its header fields; the last two are random bytes above 0x7f, and a value that is far too long.
    pub fields: for<'a> fn(&'a Policy, &'a [u8], &'a [u8]) -> Vec<Field<'a>>,
}

/// Every kind of request that is answered on a connection that then goes on.
pub static KINDS: [Kind; 9] = [
    Kind {
        name: "an accepted value",
        often: 80,
        answer: Answer::Passed,
        fields: |policy, _, _| vec![accepted(policy)],
    },
    Kind {
        name: "repeated, the accepted value first",
        often: 10,
        answer: Answer::Passed,
        fields: |policy, bytes, _| vec![accepted(policy), with(policy, bytes)],
    },
    Kind {
        name: "an accepted value behind another header of 50,000 bytes",
        often: 1,
        answer: Answer::Passed,
        fields: |policy, _, huge| vec![(b"x-huge", huge), accepted(policy)],
    },
    Kind { name: "no header", often: 30, answer: Answer::Denied, fields: |_, _, _| Vec::new() },
    Kind {
        name: "a wrong value of some bytes",
        often: 30,
        answer: Answer::Denied,
        fields: |policy, _, huge| vec![with(policy, &huge[..longest(policy) + 1])],
    },
    Kind {
        name: "an empty value",
        often: 10,
        answer: Answer::Denied,
        fields: |policy, _, _| vec![with(policy, b"")],
    },
    Kind {
        name: "bytes that are not UTF-8",
        often: 30,
        answer: Answer::Denied,
        fields: |policy, bytes, _| vec![with(policy, bytes)],
    },
    Kind {
        name: "repeated, the accepted value last",
        often: 10,
        answer: Answer::Denied,
        fields: |policy, bytes, _| vec![with(policy, bytes), accepted(policy)],
    },
    Kind {
        name: "a value of 50,000 bytes",
        often: 1,
        answer: Answer::Denied,
        fields: |policy, _, huge| vec![with(policy, huge)],
    },
];

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// After the last answer.
    Closed,
    /// Reset instead.
    Reset,
    /// In the middle of a head.
    HalfClosed,
    /// Reset in the middle of a head.
    HalfReset,
    /// Reset in the middle of a body, when the answer is there.
    BodyReset,
    /// By Envoy, which refuses a header with a null byte.
    Refused,
}

impl End {
    pub const ALL: [Self; 6] = [
        Self::Closed,
        Self::Reset,
        Self::HalfClosed,
        Self::HalfReset,
        Self::BodyReset,
        Self::Refused,
    ];

    /// The name of what is sent at this end, in the data and in the table; none if nothing is.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Closed | Self::Reset => None,
            Self::HalfClosed => Some("half a head, then the end of the connection"),
            Self::HalfReset => Some("half a head, then a reset"),
            Self::BodyReset => Some("half a body, then a reset"),
            Self::Refused => Some("a null byte in a value"),
        }
    }

    /// What has to come back.
    pub fn answer(self) -> Answer {
        match self {
            Self::BodyReset => Answer::Denied,
            Self::Refused => Answer::Refused,
            _ => Answer::None,
        }
    }
}

/// How many requests bring [`Kind::often`] of each kind.
static TOTAL: LazyLock<u32> = LazyLock::new(|| KINDS.iter().map(|kind| kind.often).sum());

/// The number of some kind of request.
pub fn any(rng: &mut Rng) -> usize {
    let mut left = rng.u32(..*TOTAL);
    let drawn = KINDS.iter().position(|kind| {
        let here = left < kind.often;
        left = left.saturating_sub(kind.often);
        here
    });
    drawn.unwrap_or_default()
}

/// A value that is far too long: an accepted one again and again.
pub fn huge(policy: &Policy) -> Vec<u8> {
    policy.values[0].bytes().cycle().take(HUGE).collect()
}

/// The first accepted value.
pub fn accepted(policy: &Policy) -> Field<'_> {
    (policy.header.as_bytes(), policy.values[0].as_bytes())
}

fn with<'a>(policy: &'a Policy, value: &'a [u8]) -> Field<'a> {
    (policy.header.as_bytes(), value)
}

fn longest(policy: &Policy) -> usize {
    policy.values.iter().map(String::len).max().unwrap_or_default()
}
