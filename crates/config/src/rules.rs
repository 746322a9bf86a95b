//! What concerns more than one key of a policy, or of a client.

use crate::field::{BODILESS, HAS_BODY, SAME_NAME, named, seen, truth};
use crate::fields::{CONTENT_TYPE, GRPC_STATUS, HOST, OPTIONS};
use crate::keys::{
    self, BODY, CLIENT, CLIENT_HEADER, HEADER, HEADERS, ID, METHOD, METHODS, NAME, OWN_CLIENT,
    OWN_VALUE, PREFLIGHT, REMOVE, SHA256, SIZE, STATUS, VALUE, VALUES,
};
use crate::reason::Reason;
use crate::store::Store;
use crate::text::Text;

/// What a policy must not have: two things, one without another, or neither of two. Each thing is a bit of the draft; the
/// last argument is the key that is named.
static RULES: [u32; 16] = [
    // Of each client.
    missing(seen(ID), seen(ID), ID),
    missing(seen(VALUE), seen(SHA256), VALUE),
    conflict(seen(VALUE), seen(SHA256), VALUE),
    conflict(seen(VALUE), seen(SIZE), VALUE),
    // Of the policy.
    missing(seen(HEADER), seen(HEADER), HEADER),
    missing(seen(STATUS), seen(STATUS), STATUS),
    missing(seen(OWN_VALUE), seen(OWN_CLIENT), VALUES),
    conflict(seen(OWN_VALUE), seen(OWN_CLIENT), CLIENT),
    without(seen(CLIENT_HEADER), seen(OWN_CLIENT), CLIENT_HEADER),
    conflict(seen(CLIENT_HEADER), named(CLIENT_HEADER, HOST), CLIENT_HEADER),
    conflict(seen(CLIENT_HEADER), SAME_NAME, CLIENT_HEADER),
    conflict(truth(REMOVE), named(HEADER, HOST), REMOVE),
    conflict(truth(PREFLIGHT), named(METHOD, OPTIONS), METHODS),
    conflict(HAS_BODY, BODILESS, BODY),
    without(named(NAME, CONTENT_TYPE), HAS_BODY, HEADERS),
    conflict(seen(keys::GRPC_STATUS), named(NAME, GRPC_STATUS), keys::GRPC_STATUS),
];

/// The first rules are those of a client.
const CLIENT_RULES: usize = 4;

/// A bit of the draft, by its place.
const BIT: u32 = 0xfff;

const fn conflict(a: u32, b: u32, key: u32) -> u32 {
    a | b << 12 | key << 24
}

/// One without another.
const fn without(a: u32, b: u32, key: u32) -> u32 {
    conflict(a, b, key) | 1 << 30
}

/// Neither.
const fn missing(a: u32, b: u32, key: u32) -> u32 {
    without(a, b, key) | 1 << 29
}

impl Store {
    /// Checks what concerns more than one key.
    pub(crate) fn relations(&mut self) {
        self.blanks();
        let is_end = self.reader.at == self.reader.end;
        self.fail_unless(is_end, Reason::Syntax);
        if self.is_same(Text(self.get(HEADER)), Text(self.get(CLIENT_HEADER)), false) {
            self.set_bit(SAME_NAME);
        }
        if matches!(self.get(STATUS), 204 | 205 | 304) {
            self.set_bit(BODILESS);
        }
        if Text(self.get(BODY)).size() > 0 {
            self.set_bit(HAS_BODY);
        }
        self.hold_rules(CLIENT_RULES, RULES.len());
    }

    /// Checks the rules of a client.
    pub(crate) fn hold_client_rules(&mut self) {
        self.hold_rules(0, CLIENT_RULES);
    }

    /// Fails with the first of these rules that is broken.
    #[inline(never)]
    fn hold_rules(&mut self, mut from: usize, to: usize) {
        while from < to {
            let rule = RULES[from % RULES.len()];
            let is_broken = self.has_bit(rule & BIT) ^ rule >> 29;
            let is_broken = is_broken & (self.has_bit(rule >> 12 & BIT) ^ rule >> 30);
            let reason = if rule >> 29 & 1 == 0 { Reason::Conflict } else { Reason::Missing };
            self.relate(is_broken & 1 == 0, rule >> 24 & 31, reason);
            from += 1;
        }
    }

    /// Fails with a key unless this holds.
    #[inline(never)]
    pub(crate) fn relate(&mut self, holds: bool, key: u32, reason: Reason) {
        if self.reader.reason == 0 {
            self.reader.key = key;
        }
        self.fail_unless(holds, reason);
    }
}
