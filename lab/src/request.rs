//! Random header blocks, from a grammar around the policy's header and values.

use std::fmt;
use std::ops::RangeInclusive;

use fastrand::Rng;
use header_gate_policy::Policy;

/// The longest value; the listeners' limit leaves room for the other fields.
const LONGEST: usize = 60_000;
/// Names that have nothing to do with the policy. Those with a meaning for the connection or for the
/// end of a body would turn one request into another.
const OTHERS: &str = "accept cookie user-agent referer authorization x-forwarded-for x-request-id \
                      content-type cache-control true x";

/// A version of HTTP. Over HTTP/2 the client sends lower-case names and no control bytes but the tab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// A GET with these fields, in order.
#[derive(Debug)]
pub struct Request {
    pub protocol: Protocol,
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Request {
    /// Request number `index` of `seed`.
    pub fn random(policy: &Policy, seed: u64, index: u64) -> Self {
        // One step of splitmix64 apart, so that no two runs share their requests.
        let mut rng = Rng::with_seed(seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let header = policy.header.as_bytes();
        let mut fields = Vec::new();
        for _ in 0..*pick(&mut rng, &[0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 3, 4]) {
            fields.push((cased(&mut rng, header), value(&mut rng, policy)));
        }
        for _ in 0..rng.usize(..3) {
            fields.push((near(&mut rng, header), value(&mut rng, policy)));
        }
        for _ in 0..rng.usize(..4) {
            let others: Vec<_> = OTHERS.split(' ').collect();
            let name = pick(&mut rng, &others).as_bytes();
            fields.push((cased(&mut rng, name), value(&mut rng, policy)));
        }
        if one_in(&mut rng, 100) {
            // Far from Envoy's limit: over HTTP/2 it joins some repeated headers before it counts.
            let many = if rng.bool() { rng.usize(..=60) } else { rng.usize(120..=200) };
            fields.extend((0..many).map(|i| (format!("x-{i}").into_bytes(), b"1".to_vec())));
        } else if one_in(&mut rng, 100) {
            // Not with too many fields: which of two refusals comes first is up to Envoy.
            let bad = pick(&mut rng, &[" ", "\t", "\0", "\u{7f}", "(", "\u{e9}"]).as_bytes();
            fields.push(([header, bad].concat(), value(&mut rng, policy)));
        }
        rng.shuffle(&mut fields);
        let mut request = Self { protocol: Protocol::Http1, fields };
        let http2 = rng.bool();
        if http2
            && !request.has(|b| b.is_ascii_control() && b != b'\t')
            && request.has_valid_names()
        {
            request.protocol = Protocol::Http2;
            request.fields.iter_mut().for_each(|(name, _)| name.make_ascii_lowercase());
        }
        request
    }

    /// The values of the field `name`, as they are sent.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let own = self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
        own.map(|(_, value)| value.as_slice())
    }

    /// Whether a value holds such a byte.
    pub fn has(&self, byte: fn(u8) -> bool) -> bool {
        self.fields.iter().any(|(_, value)| value.iter().any(|&b| byte(b)))
    }

    /// Whether HTTP permits every name.
    pub fn has_valid_names(&self) -> bool {
        let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
        self.fields.iter().all(|(name, _)| !name.is_empty() && name.iter().all(token))
    }

    /// The fields, as a client takes them.
    pub fn slices(&self) -> Vec<(&[u8], &[u8])> {
        self.fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect()
    }
}

/// The protocol, and a line for each field with unprintable bytes escaped; `{:#}` shortens nothing.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {} fields", self.protocol, self.fields.len())?;
        let [fields, bytes] = if f.alternate() { [usize::MAX; 2] } else { [20, 100] };
        for (name, value) in self.fields.iter().take(fields) {
            let shown = value[..value.len().min(bytes)].escape_ascii();
            write!(f, "\n  {}: \"{shown}\" ({} bytes)", name.escape_ascii(), value.len())?;
        }
        Ok(())
    }
}

fn pick<'a, T>(rng: &mut Rng, of: &'a [T]) -> &'a T {
    &of[rng.usize(..of.len())]
}

fn one_in(rng: &mut Rng, n: u32) -> bool {
    rng.u32(..n) == 0
}

/// `name` in some case.
fn cased(rng: &mut Rng, name: &[u8]) -> Vec<u8> {
    let mut name = name.to_vec();
    match rng.u8(..4) {
        0 => name.make_ascii_uppercase(),
        1 => name.iter_mut().filter(|_| rng.bool()).for_each(|b| b.make_ascii_uppercase()),
        _ => {}
    }
    name
}

/// A name that is almost `name`.
fn near(rng: &mut Rng, name: &[u8]) -> Vec<u8> {
    let mut near = cased(rng, name);
    let at = rng.usize(..near.len());
    match rng.u8(..6) {
        0 => near.insert(at, rng.lowercase() as u8),
        1 => near.push(*pick(rng, b"-_.s1")),
        2 => near.splice(0..0, *b"x-").for_each(drop),
        // A header of one letter has no shorter name.
        3 if near.len() > 1 => drop(near.remove(at)),
        4 => near.extend_from_slice(name),
        _ => near[at] = *pick(rng, b"-_!~0"),
    }
    near
}

/// A value: accepted, almost accepted, or far from it; in one of four, whitespace is around it.
fn value(rng: &mut Rng, policy: &Policy) -> Vec<u8> {
    let mut value = match rng.u8(..20) {
        0..=7 => accepted(rng, policy),
        8..=11 => mutated(rng, policy),
        12..=13 => {
            let mut list = accepted(rng, policy);
            for _ in 0..rng.usize(1..3) {
                list.extend_from_slice(pick(rng, &[",", ", ", " ,", ";"]).as_bytes());
                let next = if rng.bool() { accepted(rng, policy) } else { mutated(rng, policy) };
                list.extend(next);
            }
            list
        }
        14 => Vec::new(),
        15..=16 => bytes(rng, 1..=8, 0x80..=0xff),
        17 => bytes(rng, 1..=64, 0x20..=0x7e),
        18 if one_in(rng, 4) => {
            // A control byte, but not the one that ends a line.
            let mut value = accepted(rng, policy);
            let controls: Vec<u8> = (0..0x20).chain([0x7f]).filter(|&b| b != b'\n').collect();
            let control = if one_in(rng, 4) { b'\r' } else { *pick(rng, &controls) };
            value.insert(rng.usize(..=value.len()), control);
            value
        }
        19 if one_in(rng, 10) => {
            let most = *pick(rng, &[300, 5_000, LONGEST]);
            let size = rng.usize(1..=most);
            accepted(rng, policy).into_iter().cycle().take(size).collect()
        }
        _ => bytes(rng, 1..=8, 0x20..=0xff),
    };
    if one_in(rng, 4) {
        let blanks = |rng: &mut Rng| (0..rng.usize(..4)).map(|_| *pick(rng, b" \t")).collect();
        let (before, after): (Vec<u8>, Vec<u8>) = (blanks(rng), blanks(rng));
        value = [before, value, after].concat();
    }
    value
}

fn accepted(rng: &mut Rng, policy: &Policy) -> Vec<u8> {
    pick(rng, &policy.accepted()).as_bytes().to_vec()
}

/// An accepted value with a change.
fn mutated(rng: &mut Rng, policy: &Policy) -> Vec<u8> {
    let mut value = accepted(rng, policy);
    let at = rng.usize(..value.len());
    match rng.u8(..8) {
        0 => value.make_ascii_uppercase(),
        1 => value[at] ^= 0x20,
        2 => value[at] ^= 0x80,
        3 => drop(value.remove(at)),
        4 => value.insert(at, rng.u8(0x20..=0x7e)),
        5 => value.extend_from_within(..),
        6 => value = [b"\"", value.as_slice(), b"\""].concat(),
        _ => value[at] = rng.u8(0x20..),
    }
    value
}

fn bytes(rng: &mut Rng, size: RangeInclusive<usize>, of: RangeInclusive<u8>) -> Vec<u8> {
    (0..rng.usize(size)).map(|_| rng.u8(of.clone())).collect()
}
