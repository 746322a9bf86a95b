//! From a configuration to a draft: a policy whose texts are still in the configuration, and its items.
//!
//! A policy is a tree of fixed depth, so each of its tables is a function here, and nothing recurs. Each turn of a loop
//! reads at least one byte.

use crate::check::{self, PREFIX, WHOLE, has_entry};
use crate::fields::{Denial, denial_field, is_owned, may_repeat};
use crate::json::{Json, Step, Text, hexadecimal};
use crate::keys::{self, NONE};
use crate::limits;
use crate::policy::{
    BODY, CLIENT_HEADER, CLIENTS, CONTENT_TYPE, COUNT, DETAILS, ENFORCE, GRPC_HEADER,
    HAS_MISSING_DETAILS, HEADER, HEADERS, Item, METHODS, MISSING_DETAILS, OPTIONS, PATHS,
    PREFLIGHT, Policy, REMOVE,
};
use crate::reason::{Reason, Refusal, Table};

/// Bytes of a SHA-256.
const DIGEST: usize = 32;

pub(crate) struct Reader<'a> {
    pub json: Json<'a>,
    pub draft: Policy,
    pub items: &'a mut [Item; limits::ITEMS],
    /// The table and the key that are read.
    table: Table,
    key: u8,
    /// Where the next entry of a list is written: behind the others.
    end: usize,
}

/// The keys of a table that were read, a bit each.
const fn has(seen: u32, key: u8) -> bool {
    seen & 1 << key != 0
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a mut [u8], items: &'a mut [Item; limits::ITEMS]) -> Self {
        Self {
            json: Json::new(text),
            draft: Policy { flags: ENFORCE, grpc_status: -1, ..Policy::NONE },
            items,
            table: Table::Policy,
            key: NONE,
            end: 0,
        }
    }

    /// The refusal for this reason at the place where the reader is.
    pub fn refusal(&self, reason: Reason) -> Refusal {
        Refusal { table: self.table, key: self.key, reason, at: self.json.at as u32 }
    }

    /// Fails with a key of the table.
    fn fail(&mut self, table: Table, key: u8, reason: Reason) -> Step {
        (self.table, self.key) = (table, key);
        Err(reason)
    }

    fn string(&self) -> &[u8] {
        self.json.string.of(self.json.text)
    }

    /// Reads the next member of a table.
    #[inline(never)]
    fn member(&mut self, table: Table, keys: &str, seen: &mut u32) -> Step {
        (self.table, self.key) = (table, NONE);
        self.json.member(keys, seen)?;
        self.key = self.json.member;
        Ok(())
    }

    /// Reads the next item of an array.
    fn next(&mut self) -> Step {
        self.json.next(b']')
    }

    /// Reads a whole configuration.
    pub fn read(&mut self) -> Step {
        let mut seen = 0;
        self.json.open(b'{')?;
        loop {
            self.member(Table::Policy, keys::POLICY, &mut seen)?;
            if !self.json.more {
                break;
            }
            match self.key {
                0 => self.name(HEADER)?,
                1 => self.values()?,
                2 => self.clients()?,
                3 => self.name(CLIENT_HEADER)?,
                4 => self.truth(0)?,
                5 => self.truth(REMOVE)?,
                6 => self.truth(COUNT)?,
                7 => self.truth(ENFORCE)?,
                8 => self.except()?,
                _ => self.deny()?,
            }
        }
        self.json.end()?;
        for required in [0, 9] {
            if !has(seen, required) {
                return self.fail(Table::Policy, required, Reason::Missing);
            }
        }
        self.relations()
    }

    /// Reads a truth that is kept as a flag.
    #[inline(never)]
    fn truth(&mut self, flag: u32) -> Step {
        self.json.truth()?;
        self.draft.set(flag, self.json.truth);
        Ok(())
    }

    /// Reads a field name of the request, which is kept in lower case.
    #[inline(never)]
    fn name(&mut self, text: usize) -> Step {
        self.json.string()?;
        let (start, size) = (self.json.string.at as usize, self.json.string.size as usize);
        for at in start..start + size {
            if let Some(byte) = self.json.text.get_mut(at) {
                *byte = byte.to_ascii_lowercase();
            }
        }
        check::token(self.string())?;
        if is_owned(self.string()) {
            return Err(Reason::Owned);
        }
        self.keep(text);
        Ok(())
    }

    /// Keeps the string that was read.
    fn keep(&mut self, text: usize) {
        if let Some(place) = self.draft.texts.get_mut(text) {
            *place = self.json.string;
        }
    }

    fn values(&mut self) -> Step {
        self.json.open(b'[')?;
        loop {
            self.next()?;
            if !self.json.more {
                return Ok(());
            }
            self.json.string()?;
            check::value(self.string(), limits::VALUES_SIZE)?;
            let value = self.json.string;
            self.push(Item { value, size: value.size, ..Item::NONE }, false)?;
        }
    }

    /// Keeps an item. There are only values, or only clients.
    fn push(&mut self, item: Item, is_client: bool) -> Step {
        if is_client {
            (self.table, self.key) = (Table::Policy, 2);
        }
        if self.draft.items > 0 && self.draft.is(CLIENTS) != is_client {
            return Err(Reason::Conflict);
        }
        self.draft.set(CLIENTS, is_client);
        let most = if is_client { limits::ITEMS } else { limits::VALUES };
        let number = self.draft.items as usize;
        match self.items.get_mut(number) {
            Some(place) if number < most => *place = item,
            _ => return Err(Reason::Many),
        }
        self.draft.items += 1;
        Ok(())
    }

    fn clients(&mut self) -> Step {
        self.json.open(b'[')?;
        loop {
            self.next()?;
            if !self.json.more {
                return Ok(());
            }
            self.client()?;
        }
    }

    fn client(&mut self) -> Step {
        let (mut item, mut seen) = (Item::NONE, 0);
        self.json.open(b'{')?;
        loop {
            self.member(Table::Client, keys::CLIENT, &mut seen)?;
            if !self.json.more {
                break;
            }
            if self.key == 3 {
                self.json.number()?;
                item.size = self.json.number;
                if item.size == 0 || item.size as usize > limits::CLIENT_VALUE {
                    return Err(Reason::Range);
                }
                continue;
            }
            self.json.string()?;
            match self.key {
                0 => {
                    check::value(self.string(), limits::ID)?;
                    item.id = self.json.string;
                }
                1 => {
                    check::value(self.string(), limits::CLIENT_VALUE)?;
                    item.value = self.json.string;
                }
                _ => {
                    self.digest()?;
                    (item.value, item.is_digest) = (self.json.string, true);
                }
            }
        }
        // Of a value and a digest there is one, and a size only beside a digest.
        let (reason, key) = match seen & 0b1110 {
            0b0010 | 0b0100 | 0b1100 if has(seen, 0) => {
                item.size = if item.is_digest { item.size } else { item.value.size };
                return self.push(item, true);
            }
            0b0010 | 0b0100 | 0b1100 => (Reason::Missing, 0),
            0b0000 | 0b1000 => (Reason::Missing, 1),
            _ => (Reason::Conflict, 1),
        };
        self.fail(Table::Client, key, reason)
    }

    /// Makes the bytes of a digest of its digits, in their place.
    fn digest(&mut self) -> Step {
        let Text { at, size } = self.json.string;
        if size as usize != 2 * DIGEST {
            return Err(Reason::Range);
        }
        let at = at as usize;
        for byte in 0..DIGEST {
            let digit =
                |at: usize| self.json.text.get(at).map_or(u8::MAX, |byte| hexadecimal(*byte));
            let (high, low) = (digit(at + 2 * byte), digit(at + 2 * byte + 1));
            if high | low > 15 {
                return Err(Reason::Range);
            }
            if let Some(place) = self.json.text.get_mut(at + byte) {
                *place = high << 4 | low;
            }
        }
        self.json.string.size = DIGEST as u32;
        Ok(())
    }

    /// Writes the string that was read, and the byte that ends it, behind the entries of a list. It fits: the string
    /// stood between two quotes.
    #[inline(never)]
    fn append(&mut self, ending: u8) -> Text {
        let start = self.end;
        let Text { at, size } = self.json.string;
        for from in at as usize..at as usize + size as usize {
            let byte = self.json.text.get(from).copied().unwrap_or_default();
            self.write(byte);
        }
        self.write(ending);
        Text::between(start, self.end)
    }

    fn write(&mut self, byte: u8) {
        if let Some(place) = self.json.text.get_mut(self.end) {
            *place = byte;
        }
        self.end += 1;
    }

    /// Opens a list, whose entries are written from its beginning on.
    fn list(&mut self) -> Result<usize, Reason> {
        self.json.open(b'[')?;
        self.end = self.json.at;
        Ok(self.json.at)
    }

    fn except(&mut self) -> Step {
        let mut seen = 0;
        self.json.open(b'{')?;
        loop {
            self.member(Table::Except, keys::EXCEPT, &mut seen)?;
            if !self.json.more {
                return Ok(());
            }
            match self.key {
                0 => self.truth(PREFLIGHT)?,
                1 => self.entries(METHODS)?,
                _ => self.entries(PATHS)?,
            }
        }
    }

    /// Reads the exempt methods, or the exempt paths.
    fn entries(&mut self, text: usize) -> Step {
        let (start, mut count, mut sizes) = (self.list()?, 0, 0);
        loop {
            self.next()?;
            if !self.json.more {
                break;
            }
            self.json.string()?;
            let string = self.string();
            (count, sizes) = (count + 1, sizes + string.len());
            if count > limits::EXCEPT {
                return Err(Reason::Many);
            }
            let mut ending = WHOLE;
            if text == METHODS {
                check::token(string)?;
                if string.len() > limits::METHOD {
                    return Err(Reason::Long);
                }
                if string == b"OPTIONS" {
                    self.draft.set(OPTIONS, true);
                }
            } else {
                if string.ends_with(b"/*") {
                    ending = PREFIX;
                    self.json.string.size -= 1;
                }
                check::path(self.string(), ending == PREFIX)?;
                if sizes > limits::PATHS {
                    return Err(Reason::Long);
                }
            }
            let before = Text::between(start, self.end);
            let entry = self.append(ending);
            if has_entry(before.of(self.json.text), entry.of(self.json.text), 1, false) {
                return Err(Reason::Duplicate);
            }
        }
        self.json.string = Text::between(start, self.end);
        self.keep(text);
        Ok(())
    }

    fn deny(&mut self) -> Step {
        let mut seen = 0;
        self.json.open(b'{')?;
        loop {
            self.member(Table::Deny, keys::DENY, &mut seen)?;
            if !self.json.more {
                break;
            }
            match self.key {
                0 => self.draft.status = self.number(200, 599)?,
                1 => self.headers()?,
                2 => {
                    self.json.string()?;
                    if self.string().len() > limits::BODY {
                        return Err(Reason::Long);
                    }
                    self.keep(BODY);
                }
                3 | 4 => {
                    self.json.string()?;
                    check::details(self.string())?;
                    let missing = self.key == 4;
                    self.keep(if missing { MISSING_DETAILS } else { DETAILS });
                    self.draft
                        .set(HAS_MISSING_DETAILS, missing || self.draft.is(HAS_MISSING_DETAILS));
                }
                _ => self.draft.grpc_status = self.number(1, 16)?.cast_signed(),
            }
        }
        if has(seen, 0) { Ok(()) } else { self.fail(Table::Deny, 0, Reason::Missing) }
    }

    fn number(&mut self, least: u32, most: u32) -> Result<u32, Reason> {
        self.json.number()?;
        let number = self.json.number;
        if (least..=most).contains(&number) { Ok(number) } else { Err(Reason::Range) }
    }

    /// Reads the headers of the denial: pairs, each as two entries of a list.
    fn headers(&mut self) -> Step {
        let (start, mut pairs) = (self.list()?, 0);
        loop {
            self.next()?;
            if !self.json.more {
                break;
            }
            self.json.open(b'[')?;
            let name = self.header_name(start)?;
            self.next()?;
            if !self.json.more {
                return Err(Reason::Type);
            }
            self.json.string()?;
            check::field_value(self.string())?;
            if matches!(name, Denial::GrpcStatus) && !check::is_grpc_error(self.string()) {
                return Err(Reason::Range);
            }
            self.append(WHOLE);
            self.next()?;
            pairs += 1;
            // Four bytes for the number of pairs, and for each size.
            if self.json.more || self.end - start + 4 + 8 * pairs > limits::HEADERS {
                return Err(if self.json.more { Reason::Type } else { Reason::Long });
            }
        }
        self.json.string = Text::between(start, self.end);
        self.keep(HEADERS);
        Ok(())
    }

    /// Reads the name of a header of the denial.
    fn header_name(&mut self, start: usize) -> Result<Denial, Reason> {
        self.next()?;
        if !self.json.more {
            return Err(Reason::Type);
        }
        self.json.string()?;
        check::token(self.string())?;
        let (name, repeats) = (denial_field(self.string()), may_repeat(self.string()));
        match name {
            Denial::Owned => return Err(Reason::Owned),
            Denial::ContentType => self.draft.set(CONTENT_TYPE, true),
            Denial::GrpcStatus => self.draft.set(GRPC_HEADER, true),
            Denial::Other => {}
        }
        let before = Text::between(start, self.end);
        let entry = self.append(WHOLE);
        if !repeats && has_entry(before.of(self.json.text), entry.of(self.json.text), 2, true) {
            return Err(Reason::Duplicate);
        }
        Ok(name)
    }

    /// Checks what concerns more than one key.
    fn relations(&mut self) -> Step {
        let draft = self.draft;
        let text = |text: usize| draft.texts[text].of(self.json.text);
        let (header, client_header) = (text(HEADER), text(CLIENT_HEADER));
        let is_host = |name: &[u8]| name == b"host";
        let has_body = !text(BODY).is_empty();
        let has_client_header = !client_header.is_empty();
        let wrong = [
            (draft.items == 0, Table::Policy, 1, Reason::Missing),
            (has_client_header && !draft.is(CLIENTS), Table::Policy, 3, Reason::Conflict),
            (header == client_header, Table::Policy, 3, Reason::Conflict),
            (is_host(client_header), Table::Policy, 3, Reason::Owned),
            (draft.is(REMOVE) && is_host(header), Table::Policy, 5, Reason::Conflict),
            (draft.is(PREFLIGHT) && draft.is(OPTIONS), Table::Except, 1, Reason::Conflict),
            (has_body && matches!(draft.status, 204 | 205 | 304), Table::Deny, 2, Reason::Conflict),
            (draft.is(CONTENT_TYPE) && !has_body, Table::Deny, 1, Reason::Conflict),
            (draft.is(GRPC_HEADER) && draft.grpc_status > 0, Table::Deny, 5, Reason::Conflict),
        ];
        for (is_wrong, table, key, reason) in wrong {
            if is_wrong {
                return self.fail(table, key, reason);
            }
        }
        Ok(())
    }
}
