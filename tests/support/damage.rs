//! What becomes of a damaged module, by many requests in the embedded host.

use header_gate_host::{CONTINUE, Headers, LocalResponse, Outcome, Plugin, Vm, conformance};
use header_gate_policy::Policy;
use header_gate_tools::probe::questions;
use header_gate_tools::variant::Variant;
use http::{HeaderName, HeaderValue};
use wasmtime::{Config, Engine, ExternType, OptLevel, Trap};

use crate::support::{denial, policy, root};

/// What becomes of a module: the first that applies, and a request that shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// No gateway loads it.
    Refused,
    /// Envoy does not survive it.
    Crashes,
    /// It has something of WebAssembly in it that the embedded host was not built for.
    Foreign,
    /// It has no callback that a gateway calls, so every request passes.
    Absent,
    /// It lets a request pass that the gate denies.
    Opens(Headers),
    /// It does not come to an end.
    Hangs(Headers),
    /// It denies, or traps on, what the gate lets pass.
    Denies(Headers),
    /// It decides like the gate, but does not answer what the policy says.
    Misspeaks(Headers),
    /// Whatever is asked here, it does like the gate.
    Unchanged,
}

/// What becomes of a module, and whether the probe's requests tell it from the gate.
#[derive(Clone, Debug)]
pub struct Finding {
    pub fate: Fate,
    pub probed: bool,
}

const CALLBACK: &str = "proxy_on_request_headers";
const IMPORTS: [&str; 2] = ["proxy_get_header_map_value", "proxy_send_local_response"];
/// The versions of the ABI that are a bit apart, and known to gateways.
const ABI: [&str; 2] = ["proxy_abi_version_0_2_1", "proxy_abi_version_0_2_0"];
/// Envoy's `ContinueAndEndStream`, which goes on to the upstream too.
const CONTINUE_AND_END: i32 = 2;
/// Far more than any request of the undamaged module burns.
const FUEL: u64 = 100_000;

pub struct Examiner {
    engine: Engine,
    policy: Policy,
    denial: LocalResponse,
    /// What the gate lets pass, and what it denies: the conformance table, and all near misses.
    good: Vec<Headers>,
    bad: Vec<Headers>,
}

impl Examiner {
    pub fn new() -> Self {
        let mut config = Config::new();
        config.consume_fuel(true).cranelift_opt_level(OptLevel::None);
        let variant = Variant::default();
        let (policy, denial) = (policy(&variant), denial(&variant));
        let engine = Engine::new(&config).unwrap();
        let (mut good, mut bad) = (vec![], vec![]);
        for case in conformance::read(&root().join("tests/conformance.toml")).unwrap() {
            // As every host strips them.
            let headers = case.headers.into_iter().map(|(n, v)| (n, v.trim_ascii().to_vec()));
            if case.passes { &mut good } else { &mut bad }.push(headers.collect());
        }
        let mut examiner = Self { engine, policy, denial, good, bad };
        let name = examiner.policy.header.as_bytes();
        let others = flips(name).filter(|other| !other.eq_ignore_ascii_case(name));
        let others: Vec<Headers> = others.map(|other| vec![(other, examiner.value())]).collect();
        examiner.bad.extend(others.into_iter().chain(examiner.near_misses(name)));
        examiner
    }

    fn value(&self) -> Vec<u8> {
        self.policy.values[0].clone().into()
    }

    /// Wrong values of the header `name`: with a bit flipped, and of many lengths.
    fn near_misses(&self, name: &[u8]) -> Vec<Headers> {
        let value = self.value();
        let lengths = (0..64).filter(|&length| length != value.len());
        let cut = lengths.map(|length| value.iter().copied().cycle().take(length).collect());
        flips(&value).chain(cut).map(|value| vec![(name.to_vec(), value)]).collect()
    }

    /// What the probe asks, and whether it is to pass.
    fn probe(&self) -> impl Iterator<Item = (Headers, bool)> {
        let name = self.policy.header.as_bytes();
        let headers = |value: Option<Vec<u8>>| value.map(|value| (name.to_vec(), value));
        questions(&self.policy)
            .into_iter()
            .map(move |(value, passes)| (headers(value).into_iter().collect(), passes))
    }

    pub fn examine(&self, wasm: &[u8]) -> Finding {
        let refused = Finding { fate: Fate::Refused, probed: true };
        let plugin = match Plugin::with_engine(&self.engine, wasm) {
            Ok(plugin) => plugin,
            Err(error) if format!("{error:#}").contains(" must be enabled") => {
                return Finding { fate: Fate::Foreign, probed: true };
            }
            Err(_) => return refused,
        };
        if crashes(&plugin) {
            return Finding { fate: Fate::Crashes, probed: true };
        }
        if !loads(&plugin) {
            return refused;
        }
        let Ok(vm) = plugin.start() else { return refused };
        if plugin.module().get_export(CALLBACK).is_none() {
            return Finding { fate: Fate::Absent, probed: true };
        }
        let mut subject = Subject { plugin, vm, asked: vec![] };
        let probed = self.probe().any(|(headers, passes)| {
            let answer = subject.ask(&headers);
            answer != if passes { Answer::Passed } else { Answer::Denied(self.denial.clone()) }
        });
        Finding { fate: self.fate(&mut subject), probed }
    }

    fn fate(&self, subject: &mut Subject) -> Fate {
        let (mut hangs, mut denies, mut misspeaks) = (None, None, None);
        for headers in &self.good {
            match subject.ask(headers) {
                Answer::Passed => {}
                Answer::Hung => hangs = Some(headers.clone()),
                Answer::Denied(_) | Answer::Stopped => denies = Some(headers.clone()),
            }
        }
        let mut bad = self.bad.clone();
        let asked = subject.asked.clone();
        if !asked.eq_ignore_ascii_case(self.policy.header.as_bytes()) {
            bad.push(vec![(asked.clone(), self.value())]);
            bad.extend(self.near_misses(&asked));
        }
        for headers in bad.into_iter().filter(can_be_sent) {
            // Whatever an accepted request leaves behind is there.
            subject.ask(&self.good[0]);
            match subject.ask(&headers) {
                Answer::Passed => return Fate::Opens(headers),
                Answer::Hung => hangs = Some(headers),
                Answer::Denied(answer) if answer == self.denial => {}
                Answer::Denied(_) | Answer::Stopped => misspeaks = Some(headers),
            }
        }
        let fates =
            [hangs.map(Fate::Hangs), denies.map(Fate::Denies), misspeaks.map(Fate::Misspeaks)];
        fates.into_iter().flatten().next().unwrap_or(Fate::Unchanged)
    }
}

/// What comes of a request.
#[derive(PartialEq, Eq)]
enum Answer {
    Passed,
    Denied(LocalResponse),
    /// Neither: it waits for ever, or the virtual machine is lost.
    Stopped,
    Hung,
}

struct Subject {
    plugin: Plugin,
    vm: Vm,
    /// The header that it asked for last.
    asked: Vec<u8>,
}

impl Subject {
    /// Asks the virtual machine, or a new one if it has trapped.
    fn ask(&mut self, headers: &Headers) -> Answer {
        self.vm.limit(FUEL).unwrap();
        let outcome = self.vm.request_of(headers.clone());
        self.asked = self.vm.asked().to_vec();
        match outcome {
            Ok(Outcome { response: Some(response), .. }) => Answer::Denied(response),
            Ok(Outcome { action: CONTINUE | CONTINUE_AND_END, .. }) => Answer::Passed,
            Ok(_) => Answer::Stopped,
            Err(error) => {
                self.vm = self.plugin.start().unwrap();
                let hung = error.downcast_ref() == Some(&Trap::OutOfFuel);
                if hung { Answer::Hung } else { Answer::Stopped }
            }
        }
    }
}

/// Whether a gateway finds in the module what it needs, and has what the module needs.
fn loads(plugin: &Plugin) -> bool {
    let export = |name: &str| plugin.module().get_export(name);
    let function = |name: &str, parameters: usize| match export(name) {
        Some(ExternType::Func(f)) => {
            (f.params().len(), f.results().len()) == (parameters, 1)
                && f.params().chain(f.results()).all(|value| value.is_i32())
        }
        _ => false,
    };
    plugin.module().imports().all(|i| i.module() == "env" && IMPORTS.contains(&i.name()))
        && ABI.iter().any(|abi| export(abi).is_some())
        && function("malloc", 1)
        && (export(CALLBACK).is_none() || function(CALLBACK, 3))
}

/// Whether Envoy aborts when it loads the module, over a vector among a function's parameters or
/// results, or dies of the first request, without a memory to look into.
fn crashes(plugin: &Plugin) -> bool {
    let module = plugin.module();
    let vector = |function: ExternType| {
        function.func().is_some_and(|f| f.params().chain(f.results()).any(|value| value.is_v128()))
    };
    let mut types = module.imports().map(|i| i.ty()).chain(module.exports().map(|e| e.ty()));
    let memory = module.exports().any(|export| export.ty().memory().is_some());
    types.any(vector) || (loads(plugin) && !memory)
}

/// Whether HTTP can carry them.
fn can_be_sent(headers: &Headers) -> bool {
    headers.iter().all(|(name, value)| {
        HeaderName::from_bytes(name).is_ok() && HeaderValue::from_bytes(value).is_ok()
    })
}

/// `bytes` with each of its bits flipped in turn.
pub fn flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len() * 8).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    })
}
