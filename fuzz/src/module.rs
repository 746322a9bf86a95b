//! The finished module during the life of one VM, with a host that answers anything.
//!
//! A model computes from what the host did whether a request has to pass, and what memory holds after
//! it. The module itself only clears its result cells, and writes the number of a context in front of a
//! log line.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use anyhow::{Context as _, Result};
use arbitrary::Arbitrary;
use header_gate_cli::build;
use header_gate_cli::build::variant::Variant;
use header_gate_host::{
    CONTINUE, FIRST_REQUEST, LocalResponse, OK, Place, Plugin, Reply, Step, Vm,
};
use header_gate_policy::Policy;

use crate::decision::Bytes;
use crate::root;

/// `Action::Pause` of the specification.
const PAUSE: u32 = 1;
/// The address that refuses an allocation.
const REFUSED: u32 = 0x7fff_0000;
/// From here on the page is unused, for each of the gates.
const UNUSED: u32 = 32 * 1024;

#[derive(Arbitrary)]
enum Moment {
    /// The host acts outside a request.
    Between(Act),
    /// A request. The host answers honestly, but leaves out some steps and inserts others.
    Request(Request),
}

#[derive(Arbitrary)]
enum Act {
    /// Calls the allocator.
    Allocate(Size),
    Write(Address, Bytes),
    /// Writes the address of the value.
    Data(Address),
    /// Writes the size of the value.
    Size(Size),
}

#[derive(Arbitrary)]
struct Request {
    value: Option<Bytes>,
    left_out: u8,
    inserted: Vec<(u8, Act)>,
    status: Option<u32>,
    later: Vec<Size>,
    other_status: u32,
}

#[derive(Arbitrary)]
enum Size {
    /// The size of the n-th accepted value, plus a difference.
    Accepted(u8, i8),
    Any(u32),
}

#[derive(Arbitrary)]
enum Address {
    /// In the lent image, or in the address behind it.
    Lent(u8),
    /// In the unused part of memory, or outside memory.
    Unused(u32),
}

/// A gate, and where it keeps what it writes.
struct Gate {
    plugin: Plugin,
    policy: Policy,
    /// Address of the lent image.
    lent: u32,
    /// Where the host puts the address of a value: right behind the image, whose last four bytes are
    /// the size.
    data: u32,
    /// With feature `log`, the line of each request and the line of a denied one: the text and its
    /// address. The context's number ends there.
    lines: Vec<(String, usize)>,
}

/// The number of gates: three policies, each without and with feature `log`, and one with clients.
pub const COUNT: usize = 7;

static GATES: LazyLock<[Gate; COUNT]> = LazyLock::new(|| {
    let [own, key, several] = ["policy.toml", "policies/api-key.toml", "fuzz/several.toml"];
    let plain = [own, key, several].map(|file| (file, false));
    let log = [own, key, several].map(|file| (file, true));
    let all = [&plain[..], &log, &[("fuzz/clients.toml", false)]].concat();
    std::array::from_fn(|i| {
        let (file, log) = all[i];
        Gate::build(&root().join(file), log).unwrap_or_else(|error| panic!("{error:#}"))
    })
});

/// Runs one life, if `input` decodes to one; returns the number of the gate, and whether each request
/// passed.
pub fn live(input: &[u8]) -> Option<(usize, Vec<bool>)> {
    let (gate, moments): (u8, Vec<Moment>) = crate::parse(input)?;
    let number = usize::from(gate) % COUNT;
    let gate = &GATES[number];
    let (mut vm, mut context) = (gate.plugin.start().expect("it starts"), FIRST_REQUEST);
    let decisions = moments.iter().filter_map(|moment| gate.live(&mut vm, &mut context, moment));
    Some((number, decisions.collect()))
}

impl Gate {
    fn build(file: &Path, log: bool) -> Result<Self> {
        let variant = if log { Variant::log() } else { Variant::default() };
        let variant = variant.with_policy(file).normalized(root());
        let plugin = Plugin::new(&fs::read(build::artifact(root(), &variant)?)?)?;
        let policy = Policy::read(file)?;
        let mut vm = plugin.start()?;
        let lent = vm.allocate(u32::try_from(policy.longest())?)?;
        let mut lines = Vec::new();
        for text in ["on_http_request_headers", &policy.denial()].into_iter().filter(|_| log) {
            let text = format!(" wasm-rust: {text}");
            let at = vm.memory().windows(text.len()).position(|bytes| bytes == text.as_bytes());
            lines.push((text, at.context("a line is not in the module")?));
        }
        let data = lent + u32::try_from(8 * policy.words())?;
        Ok(Self { plugin, policy, lent, data, lines })
    }

    /// Returns whether the request passed, if the moment is one.
    fn live(&self, vm: &mut Vm, context: &mut u32, moment: &Moment) -> Option<bool> {
        let mut memory = vm.memory().to_vec();
        let decision = match moment {
            Moment::Between(act) => {
                let step = self.step(act);
                if let Step::Allocate(size) = step {
                    assert_eq!(vm.allocate(size).expect("no trap"), self.room(size), "{size}");
                } else {
                    self.apply(&step, &mut memory);
                    vm.memory().copy_from_slice(&memory);
                }
                None
            }
            Moment::Request(request) => {
                let reply = self.reply(request);
                let passes = self.model(&mut memory, &reply);
                let log = self.log(&mut memory, *context, passes);
                self.request(vm, reply, passes, &log);
                *context += 1;
                Some(passes)
            }
        };
        let differs = memory.iter().zip(vm.memory()).position(|(a, b)| a != b);
        assert_eq!((differs, vm.memory().len()), (None, memory.len()), "memory differs at");
        decision
    }

    /// Runs a request, and compares what the module does with what it has to do.
    fn request(&self, vm: &mut Vm, reply: Reply, passes: bool, log: &[String]) {
        let answered = !passes && reply.other_status == OK;
        let case = format!("{reply:?}");
        let outcome = vm.request_with(reply).expect("no trap");
        assert_eq!(outcome.action, if passes { CONTINUE } else { PAUSE }, "{case}");
        let response = answered.then(|| LocalResponse::of(&self.policy, None));
        assert_eq!(outcome.response, response, "{case}");
        assert_eq!(outcome.log, log, "{case}");
        assert_eq!(outcome.asked, [(0, self.policy.header.clone().into())]);
    }

    /// Updates `memory` to what it is after the call in which the host gives `reply`; returns whether
    /// the request has to pass.
    fn model(&self, memory: &mut [u8], reply: &Reply) -> bool {
        let (lent, data) = (self.lent as usize, self.data as usize);
        memory[lent..data + 4].fill(0);
        // The host stops at the first step outside memory, and returns InvalidMemoryAccess.
        let inside = reply.steps.iter().all(|step| self.apply(step, memory).is_some());
        let number = |at: usize| u32::from_le_bytes(memory[at..at + 4].try_into().expect("four"));
        let (value, size, address) = (&memory[lent..data - 4], number(data - 4), number(data));
        let exact = |accepted: &&str| {
            let (start, padding) = value.split_at(accepted.len());
            start == accepted.as_bytes()
                && padding.iter().all(|&byte| byte == 0)
                && size as usize == accepted.len()
        };
        let accepted = self.policy.accepted().iter().any(exact);
        inside && reply.status == OK && address == self.lent && accepted
    }

    /// The log of a request in this context, which is also written to `memory`.
    fn log(&self, memory: &mut [u8], context: u32, passes: bool) -> Vec<String> {
        let number = format!("#{context}");
        let line = |(text, at): &(String, usize)| {
            memory[at - number.len()..*at].copy_from_slice(number.as_bytes());
            format!("{number}{text}")
        };
        self.lines.iter().take(if passes { 1 } else { 2 }).map(line).collect()
    }

    fn reply(&self, request: &Request) -> Reply {
        let Request { value, left_out, inserted, status, later, other_status } = request;
        let value = value.as_ref().map(|value| value.resolve(&self.policy.accepted()));
        let mut reply = Reply::honest(value.as_deref());
        let room = self.room(value.map_or(0, |value| value.len() as u32));
        let mut i = 0..;
        reply.steps.retain_mut(|step| {
            if let Step::Write(at @ Place::Allocated(_), _) | Step::Data(at @ Place::Allocated(_)) =
                step
            {
                *at = Place::At(room);
            }
            i.next().is_some_and(|i| (left_out >> i) & 1 == 0)
        });
        for (at, act) in inserted {
            reply.steps.insert(usize::from(*at) % (reply.steps.len() + 1), self.step(act));
        }
        Reply {
            status: status.unwrap_or(reply.status),
            later: later.iter().map(|size| self.size(size)).collect(),
            other_status: *other_status,
            ..reply
        }
    }

    fn step(&self, act: &Act) -> Step {
        match act {
            Act::Allocate(size) => Step::Allocate(self.size(size)),
            Act::Write(address, bytes) => {
                let (at, mut bytes) =
                    (self.address(address), bytes.resolve(&self.policy.accepted()));
                if at < UNUSED {
                    // Not the constants behind: the module cannot protect them from its host.
                    bytes.truncate((self.data + 4 - at) as usize);
                }
                Step::Write(Place::At(at), bytes)
            }
            Act::Data(address) => Step::Data(Place::At(self.address(address))),
            Act::Size(size) => Step::Size(self.size(size)),
        }
    }

    /// Does to `memory` what the host does; returns None if that is outside.
    fn apply(&self, step: &Step, memory: &mut [u8]) -> Option<()> {
        let (at, bytes) = match step {
            Step::Allocate(_) => return Some(()),
            Step::Write(Place::At(at), bytes) => (*at, &bytes[..]),
            Step::Data(Place::At(address)) => (self.data, &address.to_le_bytes()[..]),
            Step::Size(size) => (self.data - 4, &size.to_le_bytes()[..]),
            Step::Write(..) | Step::Data(_) | Step::Call(..) => {
                unreachable!("`reply` and `step` name addresses")
            }
        };
        memory.get_mut(at as usize..at as usize + bytes.len())?.copy_from_slice(bytes);
        Some(())
    }

    /// What the allocator returns for `size`.
    fn room(&self, size: u32) -> u32 {
        let accepted = self.policy.accepted().iter().any(|value| value.len() == size as usize);
        if accepted { self.lent } else { REFUSED }
    }

    fn size(&self, size: &Size) -> u32 {
        match *size {
            Size::Accepted(n, more) => {
                let values = self.policy.accepted();
                let size = values[usize::from(n) % values.len()].len() as u32;
                size.wrapping_add_signed(more.into())
            }
            Size::Any(size) => size,
        }
    }

    fn address(&self, address: &Address) -> u32 {
        match *address {
            Address::Lent(at) => self.lent + u32::from(at) % (self.data + 4 - self.lent),
            Address::Unused(at) => at.max(UNUSED),
        }
    }
}
