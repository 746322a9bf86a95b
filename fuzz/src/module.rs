//! The finished module, through the life of one virtual machine, with a host that answers anything.
//!
//! What may be in the module's memory after each call is worked out beside it from what the host did:
//! the module itself only clears its result cells, and writes the number of a context before the text of
//! a log line. From the same account it follows whether the request had to pass.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use anyhow::{Context as _, Result};
use arbitrary::Arbitrary;
use header_gate_cli::build::variant::Variant;
use header_gate_cli::{build, root};
use header_gate_host::{
    CONTINUE, FIRST_REQUEST, INVALID_MEMORY_ACCESS, LocalResponse, OK, Place, Plugin, Reply,
    Script, Step, Vm,
};
use header_gate_policy::Policy;

use crate::decision::Bytes;

/// `Action::Pause` of the specification.
const PAUSE: i32 = 1;
/// From here on nothing is in the page, whichever gate it is.
const FREE: u32 = 32 * 1024;
/// Bytes of the page.
const PAGE: u32 = 64 * 1024;

/// What the target takes: which gate, and what happens to it.
#[derive(Arbitrary, Debug)]
pub struct Life {
    gate: u8,
    moments: Vec<Moment>,
}

#[derive(Arbitrary, Debug)]
enum Moment {
    /// The host calls the allocator out of turn.
    Allocate(Size),
    /// It writes, while the module does not run.
    Write(Target, Bytes),
    /// A request, answered honestly but for what is left out and what is done besides.
    Request { value: Option<Bytes>, left_out: u8, besides: Vec<(u8, Act)>, end: End },
}

/// What a host may do while it is asked for the header.
#[derive(Arbitrary, Debug)]
enum Act {
    Allocate(Size),
    Write(Target, Bytes),
    Data(Target),
    Size(Size),
}

/// How it ends.
#[derive(Arbitrary, Debug)]
struct End {
    status: Option<u32>,
    later: Vec<Size>,
    other_status: u32,
}

#[derive(Arbitrary, Debug)]
enum Size {
    /// That of an accepted value, and a little more or less.
    Accepted(u8, i8),
    Any(u32),
}

#[derive(Arbitrary, Debug)]
enum Target {
    /// What the allocator returned.
    Allocated(u8),
    /// In or near the lent buffer.
    Lent(u8),
    /// In the free part of memory, or outside.
    Free(u32),
}

/// A gate, and what it is held to.
struct Gate {
    plugin: Plugin,
    policy: Policy,
    denial: LocalResponse,
    /// Where its buffer is; its results stand behind.
    lent: u32,
    /// Bytes of the image: the longest value, padding, and its size in the last four.
    image: u32,
    /// The lines of feature `log`, in order; none without it.
    lines: Vec<Line>,
}

/// A line of the log, behind the number of a context.
struct Line {
    text: String,
    /// Where the text is; the number is written right before it.
    at: usize,
    /// Whether only a denied request writes it.
    of_denial: bool,
}

/// How many gates there are.
pub const COUNT: usize = 6;

static GATES: LazyLock<[Gate; COUNT]> = LazyLock::new(|| {
    let several = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/several.toml"));
    let keys = root().join("policies/api-key.toml");
    let own = root().join("policy.toml");
    let policies = [own, keys, several];
    std::array::from_fn(|i| {
        let (policy, log) = (&policies[i % policies.len()], i >= policies.len());
        Gate::build(policy, log).unwrap_or_else(|error| panic!("{error:#}"))
    })
});

/// What came of a life.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The number of the gate.
    pub gate: usize,
    /// Whether a request passed.
    pub passed: bool,
    /// Whether one was denied.
    pub denied: bool,
}

/// Lives one life.
///
/// # Panics
/// As for [`live`].
pub fn fuzz(input: &[u8]) {
    let _ = live(input);
}

/// Lives one life, if `input` is one.
///
/// # Panics
/// The module traps, writes where it must not, answers wrongly, or decides otherwise than the policy.
#[must_use]
pub fn live(input: &[u8]) -> Option<Seen> {
    let life = crate::parse::<Life>(input)?;
    let number = usize::from(life.gate) % COUNT;
    let gate = &GATES[number];
    let mut vm = gate.plugin.start().expect("it starts");
    let (mut context, mut seen) =
        (FIRST_REQUEST, Seen { gate: number, passed: false, denied: false });
    for moment in life.moments {
        match gate.live(&mut vm, &mut context, moment) {
            Some(true) => seen.passed = true,
            Some(false) => seen.denied = true,
            None => {}
        }
    }
    Some(seen)
}

impl Gate {
    fn build(file: &Path, log: bool) -> Result<Self> {
        let variant = if log { Variant::log() } else { Variant::default() };
        let variant = variant.with_policy(file).normalized(&root());
        let plugin = Plugin::new(&fs::read(build::artifact(&root(), &variant)?)?)?;
        let policy = Policy::read(file)?;
        let longest = policy.values.iter().map(String::len).max().unwrap_or_default();
        let longest = u32::try_from(longest)?;
        let denial = LocalResponse::of(&policy);
        let mut vm = plugin.start()?;
        let lent = vm.allocate(longest)?;
        let texts = [("on_http_request_headers", false), (&policy.denial(), true)];
        let mut lines = Vec::new();
        for (text, of_denial) in texts.into_iter().filter(|_| log) {
            let text = format!(" wasm-rust: {text}");
            let mut places = vm.memory().windows(text.len());
            let at = places.position(|bytes| bytes == text.as_bytes());
            lines.push(Line { at: at.context("a line is not in the module")?, text, of_denial });
        }
        let image = (longest + 4).next_multiple_of(8);
        Ok(Self { plugin, policy, denial, lent, image, lines })
    }

    /// Whether a request passed, if there was one.
    fn live(&self, vm: &mut Vm, context: &mut u32, moment: Moment) -> Option<bool> {
        let mut decision = None;
        let mut memory = vm.memory().to_vec();
        match moment {
            Moment::Allocate(size) => {
                let size = self.size(&size);
                assert_eq!(vm.allocate(size).expect("no trap"), self.room(size), "{size}");
            }
            Moment::Write(target, bytes) => {
                if let Place::At(at) = self.place(&target) {
                    let mut bytes = bytes.of(&self.policy.values);
                    bytes.truncate(self.spared(at));
                    if write(&mut memory, at, &bytes).is_some() {
                        vm.memory_mut().copy_from_slice(&memory);
                    }
                }
            }
            Moment::Request { value, left_out, besides, end } => {
                let script = self.script(value.as_ref(), left_out, &besides, &end);
                let passes = self.account(&mut memory, &script);
                decision = Some(passes);
                let log = self.log(&mut memory, *context, passes);
                *context += 1;
                let refused = script.other_status != OK;
                let outcome = vm.request_with(script.clone()).expect("no trap");
                let action = if passes { CONTINUE } else { PAUSE };
                assert_eq!(outcome.action, action, "{script:?}");
                let answer = (!passes && !refused).then_some(&self.denial);
                assert_eq!(outcome.response.as_ref(), answer, "{script:?}");
                assert_eq!(outcome.log, log, "{script:?}");
                let asked: Vec<_> = outcome.asked.iter().map(|a| (a.map, &a.key[..])).collect();
                assert_eq!(asked, [(0, self.policy.header.as_bytes())]);
            }
        }
        let differs = memory.iter().zip(vm.memory()).position(|(a, b)| a != b);
        assert_eq!((differs, vm.memory().len()), (None, memory.len()), "memory differs at");
        decision
    }

    /// What the memory is after the call in which the host carries `script` out, and whether the
    /// request has to pass.
    fn account(&self, memory: &mut [u8], script: &Script) -> bool {
        let (lent, data) = (self.lent as usize, self.data() as usize);
        memory[lent..data + 4].fill(0);
        let (mut allocated, mut status) = (Vec::new(), script.status);
        for step in &script.steps {
            let address = |place: &Place| match *place {
                Place::Allocated(n) => allocated.get(n).copied().unwrap_or_default(),
                Place::At(address) => address,
            };
            let done = match step {
                Step::Allocate(size) => {
                    allocated.push(self.room(*size));
                    Some(())
                }
                Step::Write(place, bytes) => write(memory, address(place), bytes),
                Step::Data(place) => write(memory, self.data(), &address(place).to_le_bytes()),
                Step::Size(size) => write(memory, self.data() - 4, &size.to_le_bytes()),
            };
            if done.is_none() {
                status = INVALID_MEMORY_ACCESS;
                break;
            }
        }
        let (value, size) = memory[lent..data].split_at(data - 4 - lent);
        let exact = |accepted: &&String| {
            let accepted = accepted.as_bytes();
            let (value, padding) = value.split_at(accepted.len());
            value == accepted
                && padding.iter().all(|&byte| byte == 0)
                && u32::from_le_bytes(size.try_into().expect("four bytes")) as usize == value.len()
        };
        let address = u32::from_le_bytes(memory[data..data + 4].try_into().expect("four bytes"));
        status == OK && address == self.lent && self.policy.values.iter().find(exact).is_some()
    }

    /// What is written to the log of a request with this context, and into memory for that.
    fn log(&self, memory: &mut [u8], context: u32, passes: bool) -> Vec<String> {
        let number = format!("#{context}");
        let lines = self.lines.iter().filter(|line| !passes || !line.of_denial);
        let write = |Line { text, at, .. }: &Line| {
            memory[at - number.len()..*at].copy_from_slice(number.as_bytes());
            format!("{number}{text}")
        };
        lines.map(write).collect()
    }

    fn script(
        &self,
        value: Option<&Bytes>,
        left_out: u8,
        besides: &[(u8, Act)],
        end: &End,
    ) -> Script {
        let value = value.map(|value| value.of(&self.policy.values));
        let honest = Script::from(Reply::honest(value.as_deref()));
        let kept = |(i, step)| ((left_out >> i) & 1 == 0).then_some(step);
        let mut steps: Vec<_> = honest.steps.into_iter().enumerate().filter_map(kept).collect();
        for (at, act) in besides {
            let step = match act {
                Act::Allocate(size) => Step::Allocate(self.size(size)),
                Act::Write(target, bytes) => {
                    Step::Write(self.place(target), bytes.of(&self.policy.values))
                }
                Act::Data(target) => Step::Data(self.place(target)),
                Act::Size(size) => Step::Size(self.size(size)),
            };
            steps.insert(usize::from(*at) % (steps.len() + 1), step);
        }
        self.spare_constants(&mut steps);
        Script {
            steps,
            status: end.status.unwrap_or(honest.status),
            later: end.later.iter().map(|size| self.size(size)).collect(),
            other_status: end.other_status,
        }
    }

    /// Keeps writes off the module's constants: what a host destroys there, it destroys.
    fn spare_constants(&self, steps: &mut [Step]) {
        let mut allocated = Vec::new();
        for step in steps {
            match step {
                Step::Allocate(size) => allocated.push(self.room(*size)),
                Step::Write(place, bytes) => {
                    if matches!(place, Place::Allocated(n) if *n >= allocated.len()) {
                        *place = Place::At(self.lent);
                    }
                    bytes.truncate(self.spared(match *place {
                        Place::Allocated(n) => allocated[n],
                        Place::At(at) => at,
                    }));
                }
                Step::Data(_) | Step::Size(_) => {}
            }
        }
    }

    /// How many bytes may be written at this address.
    fn spared(&self, at: u32) -> usize {
        if at < FREE { (self.data() + 4 - at) as usize } else { usize::MAX }
    }

    /// Where the host puts the address: right behind the image.
    fn data(&self) -> u32 {
        self.lent + self.image
    }

    /// Where there is room for a value of `size` bytes.
    fn room(&self, size: u32) -> u32 {
        let accepted = self.policy.values.iter().any(|value| value.len() == size as usize);
        if accepted { self.lent } else { PAGE }
    }

    fn size(&self, size: &Size) -> u32 {
        match *size {
            Size::Accepted(n, more) => {
                let value = &self.policy.values[usize::from(n) % self.policy.values.len()];
                u32::try_from(value.len()).expect("short").wrapping_add_signed(more.into())
            }
            Size::Any(size) => size,
        }
    }

    fn place(&self, target: &Target) -> Place {
        match *target {
            Target::Allocated(n) => Place::Allocated(usize::from(n)),
            Target::Lent(offset) => Place::At(self.lent + u32::from(offset) % (self.image + 4)),
            Target::Free(at) => Place::At(at.max(FREE)),
        }
    }
}

/// None if that is outside `memory`.
fn write(memory: &mut [u8], at: u32, bytes: &[u8]) -> Option<()> {
    let at = at as usize;
    memory.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
    Some(())
}
