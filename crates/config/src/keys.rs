//! What a policy consists of: each of its keys, and each kind of item of its lists, is an element with a number.
//!
//! A key is the only one of its name, so one list has all names. The value of an element is the field with its number.

use crate::limits;

/// The lists of keys, and one of all words: the keys, then those of the language and of a refusal.
macro_rules! words {
    ($($(#[$doc:meta])* $table:ident = $keys:literal;)* $($more:literal)*) => {
        $($(#[$doc])* pub const $table: &str = $keys;)*
        /// Each is followed by a line.
        pub(crate) const WORDS: &str = concat!($($keys, "|",)* $($more,)*);
    };
}

words! {
    /// The keys of the policy itself.
    POLICY = "header|values|client|client_header|secret|remove|count|enforce|except|deny";
    /// Of a client.
    CLIENT_KEYS = "id|value|sha256|size";
    /// Of what passes without the header.
    EXCEPT_KEYS = "preflight|methods|paths";
    /// Of the answer to every other request.
    DENY_KEYS = "status|headers|body|details|missing_details|grpc_status";
    "policy|false|true|"
    "invalid JSON|wrong type|unknown key|duplicate|missing|empty|too long|too many items|not allowed|"
    "owned by gateways|out of range|excluded by another key|no room|not delivered|"
    "header-gate: configuration refused at byte |: |"
}

pub(crate) const HEADER: u32 = 0;
pub(crate) const VALUES: u32 = 1;
pub(crate) const CLIENT: u32 = 2;
pub(crate) const CLIENT_HEADER: u32 = 3;
pub(crate) const REMOVE: u32 = 5;
pub(crate) const COUNT: u32 = 6;
pub(crate) const ENFORCE: u32 = 7;
pub(crate) const EXCEPT: u32 = 8;
pub(crate) const DENY: u32 = 9;
pub(crate) const ID: u32 = 10;
pub(crate) const VALUE: u32 = 11;
pub(crate) const SHA256: u32 = 12;
pub(crate) const SIZE: u32 = 13;
pub(crate) const PREFLIGHT: u32 = 14;
pub(crate) const METHODS: u32 = 15;
pub(crate) const PATHS: u32 = 16;
pub(crate) const STATUS: u32 = 17;
pub(crate) const HEADERS: u32 = 18;
pub(crate) const BODY: u32 = 19;
pub(crate) const DETAILS: u32 = 20;
pub(crate) const MISSING_DETAILS: u32 = 21;
pub(crate) const GRPC_STATUS: u32 = 22;
/// The whole policy: the first element that has no key.
pub(crate) const ROOT: u32 = 23;
/// An item of `values`, `client`, `methods`, `paths` and `headers`.
pub(crate) const OWN_VALUE: u32 = 24;
pub(crate) const OWN_CLIENT: u32 = 25;
pub(crate) const METHOD: u32 = 26;
pub(crate) const PATH: u32 = 27;
pub(crate) const PAIR: u32 = 28;
/// The items of a pair.
pub(crate) const NAME: u32 = 29;
pub(crate) const CONTENT: u32 = 30;

/// The words behind the keys: the first of two truths, the first reason less one, the beginning of a line, and what
/// separates its parts.
pub(crate) const FALSE: u32 = 24;
pub(crate) const REASONS: u32 = 25;
pub(crate) const LINE: u32 = 40;
pub(crate) const SEPARATOR: u32 = 41;

/// What an element is.
#[derive(Clone, Copy)]
pub(crate) struct Element(u32);

/// The kinds of elements: objects and lists are known by what opens them.
pub(crate) const TABLE: u8 = b'{';
pub(crate) const LIST: u8 = b'[';
/// Texts, by the kinds of their characters: a bit for each.
pub(crate) const TOKEN: u8 = 1;
pub(crate) const PLAIN: u8 = 2;
pub(crate) const VISIBLE: u8 = 4;
pub(crate) const BEYOND: u8 = 8;
pub(crate) const BLANK: u8 = 16;
const CONTENTS: u8 = VISIBLE | BEYOND | BLANK;
/// A text of all characters.
pub(crate) const ANY: u8 = 32;
pub(crate) const TRUTH: u8 = 64;
pub(crate) const NUMBER: u8 = 65;

impl Element {
    const fn new(owner: u32, kind: u8, detail: u32, most: u32) -> Self {
        Self(owner | (kind as u32) << 5 | detail << 12 | most << 20)
    }

    /// A truth, or an object.
    const fn of(owner: u32, kind: u8) -> Self {
        Self::new(owner, kind, 0, 0)
    }

    /// A list of this element.
    const fn list(owner: u32, of: u32) -> Self {
        Self::new(owner, LIST, of, 0)
    }

    /// A text with one of these numbers of bytes; of a list, so many at most.
    const fn text(owner: u32, kind: u8, least: u32, most: usize, kept: usize) -> Self {
        assert!(most.is_power_of_two());
        Self::new(owner, kind, least << 4 | most.ilog2(), kept as u32)
    }

    /// The object or list that it is in.
    pub const fn owner(self) -> u32 {
        self.0 & 31
    }

    pub const fn kind(self) -> u8 {
        (self.0 >> 5 & 127) as u8
    }

    /// The items of a list, or the least number.
    pub const fn detail(self) -> u32 {
        self.0 >> 12 & 255
    }

    /// The least and the most bytes of a text.
    pub const fn least(self) -> u32 {
        self.0 >> 16 & 1
    }

    pub const fn longest(self) -> u32 {
        1 << (self.0 >> 12 & 15)
    }

    /// The most of its kind, or the greatest number.
    pub const fn most(self) -> u32 {
        self.0 >> 20
    }
}

/// The elements, by number.
pub(crate) static ELEMENTS: [Element; 32] = [
    Element::text(ROOT, TOKEN, 1, limits::NAME, 0),
    Element::list(ROOT, OWN_VALUE),
    Element::list(ROOT, OWN_CLIENT),
    Element::text(ROOT, TOKEN, 1, limits::NAME, 0),
    Element::of(ROOT, TRUTH),
    Element::of(ROOT, TRUTH),
    Element::of(ROOT, TRUTH),
    Element::of(ROOT, TRUTH),
    Element::of(ROOT, TABLE),
    Element::of(ROOT, TABLE),
    Element::text(OWN_CLIENT, CONTENTS, 1, limits::ID, limits::ITEMS),
    Element::text(OWN_CLIENT, CONTENTS, 1, limits::CLIENT_VALUE, 0),
    Element::text(OWN_CLIENT, ANY, 0, 64, 0),
    Element::new(OWN_CLIENT, NUMBER, 1, limits::CLIENT_VALUE as u32),
    Element::of(EXCEPT, TRUTH),
    Element::list(EXCEPT, METHOD),
    Element::list(EXCEPT, PATH),
    Element::new(DENY, NUMBER, 200, 599),
    Element::list(DENY, PAIR),
    Element::text(DENY, ANY, 0, limits::BODY, 0),
    Element::text(DENY, VISIBLE, 0, limits::NAME, 0),
    Element::text(DENY, VISIBLE, 0, limits::NAME, 0),
    Element::new(DENY, NUMBER, 1, 16),
    Element::of(ROOT, TABLE),
    Element::text(VALUES, CONTENTS, 1, limits::VALUES_SIZE, limits::VALUES),
    Element::of(CLIENT, TABLE),
    Element::text(METHODS, TOKEN, 1, limits::METHOD, limits::EXCEPT),
    Element::text(PATHS, PLAIN, 1, limits::PATHS, limits::EXCEPT),
    Element::list(HEADERS, NAME),
    Element::text(PAIR, TOKEN, 1, limits::NAME, PAIRS),
    Element::text(PAIR, CONTENTS, 0, limits::HEADERS, PAIRS),
    // Nothing is this one.
    Element::of(ROOT, TRUTH),
];

/// More pairs than the serialized form has room for.
const PAIRS: usize = 1 + (limits::HEADERS - 4) / 11;
/// What is not in the list.
pub(crate) const NONE: u32 = u32::MAX;
