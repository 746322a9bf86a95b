//! An embedded Proxy-Wasm host: it calls the exports of a finished module, counts what a request
//! costs, and answers the module honestly or with whatever a test tells it to.
//!
//! It makes the calls of Envoy's host (proxy-wasm-cpp-host) in the same order: only the callbacks that
//! the module exports, `malloc` in preference to `proxy_on_memory_allocate`, and the allocator only for
//! a value that is not empty. Like Envoy's, it uses the exported memory whatever its name.

pub mod combinations;
pub mod conformance;
mod engine;
pub mod gate;
mod gateway;
mod guest;
mod imports;
mod reply;

use anyhow::{Context as _, Result, ensure};

use crate::engine::Compiled;
pub use crate::gateway::Gateway;
use crate::guest::Guest;
pub use crate::guest::{Asked, Headers, LocalResponse, Replaced};
pub use crate::imports::pairs;
pub use crate::reply::{INVALID_MEMORY_ACCESS, OK, Place, Reply, Status, Step};

/// `Action::Continue`, what a callback returns for a request that passes.
pub const CONTINUE: u32 = 0;

/// The root context.
pub const ROOT: u32 = 1;

/// The context of a virtual machine's first request; later ones count up from it.
pub const FIRST_REQUEST: u32 = ROOT + 1;

/// Fuel of a virtual machine, more than any test consumes.
const FUEL: u64 = u64::MAX / 2;

/// A compiled module.
pub struct Plugin(Compiled);

/// A virtual machine. A gateway has one for each worker.
pub struct Vm {
    guest: Box<dyn Guest>,
    gateway: Gateway,
    next_context: u32,
}

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the callback returned.
    pub action: u32,
    /// The headers that it asked the host for, in order.
    pub asked: Vec<Asked>,
    /// The headers that it removed.
    pub removed: Vec<Asked>,
    /// The headers that it wrote.
    pub replaced: Vec<Replaced>,
    /// The local response that the module sent, if it did.
    pub response: Option<LocalResponse>,
    /// The lines that it logged.
    pub log: Vec<String>,
    /// What the request cost.
    pub cost: Cost,
}

impl Outcome {
    /// Whether a gateway would let the request through.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.action == CONTINUE && self.response.is_none()
    }
}

/// The cost of a request, in counts that repeat exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Callbacks of the module that the host called.
    pub callbacks: u32,
    /// Calls of the module's allocator.
    pub allocations: u32,
    /// Functions of the host that the module called.
    pub host_calls: u32,
    /// The engine's fuel: about one for each WebAssembly instruction.
    pub fuel: u64,
}

impl Plugin {
    /// Compiles a module. An error means that it is invalid, or that an import has the wrong type.
    pub fn new(wasm: &[u8]) -> Result<Self> {
        Ok(Self(Compiled::new(wasm, true)?))
    }

    /// As [`Plugin::new`], without fuel, which is faster.
    pub fn without_fuel(wasm: &[u8]) -> Result<Self> {
        Ok(Self(Compiled::new(wasm, false)?))
    }

    /// Starts a virtual machine, as Envoy does for each worker.
    pub fn start(&self) -> Result<Vm> {
        self.start_in(Gateway::Envoy)
    }

    /// Starts a virtual machine as another gateway does; an error means that the gateway refuses the module.
    pub fn start_in(&self, gateway: Gateway) -> Result<Vm> {
        self.start_with(gateway, Reply::default(), FUEL)
    }

    /// Starts a virtual machine in Envoy. The host answers the calls that the module makes meanwhile by `reply`.
    pub fn start_with_reply(&self, reply: Reply) -> Result<Vm> {
        self.start_with(Gateway::Envoy, reply, FUEL)
    }

    /// Starts a virtual machine of a plugin with this configuration; an error if the plugin refuses it.
    pub fn start_configured(&self, configuration: &[u8]) -> Result<Vm> {
        let mut vm = self.start()?;
        vm.take(configuration)?;
        Ok(vm)
    }

    /// As [`Plugin::start`]; the virtual machine traps after consuming this much fuel.
    fn start_with(&self, gateway: Gateway, reply: Reply, fuel: u64) -> Result<Vm> {
        let mut vm = Vm { guest: self.0.start(fuel)?, gateway, next_context: FIRST_REQUEST };
        vm.guest.state().reply = reply;
        vm.guest.state().roots.insert(ROOT);
        gateway.accept(&mut *vm.guest)?;
        if vm.guest.exports("_initialize") {
            vm.call("_initialize", &[])?;
        }
        vm.call("proxy_on_context_create", &[ROOT, 0])?;
        vm.call("proxy_on_vm_start", &[ROOT, 0])?;
        vm.call("proxy_on_configure", &[ROOT, 0])?;
        Ok(vm)
    }
}

/// Calls fail if the module traps. A gateway discards the virtual machine then.
impl Vm {
    /// A whole request. The header that the module asks for has this value.
    pub fn request(&mut self, value: Option<&[u8]>) -> Result<Outcome> {
        self.request_with(self.gateway.reply(value))
    }

    /// A whole request with these headers, and with no others.
    pub fn request_of(&mut self, headers: &[(&str, &[u8])]) -> Result<Outcome> {
        self.request_refused(headers, OK)
    }

    /// As [`Vm::request_of`]; the host returns `status` to every call but the questions for headers.
    pub fn request_refused(
        &mut self,
        headers: &[(&str, &[u8])],
        status: Status,
    ) -> Result<Outcome> {
        let replies: Vec<_> =
            headers.iter().map(|&(name, value)| (name, self.gateway.reply(Some(value)))).collect();
        self.answered(&replies, Reply { other_status: status, ..self.gateway.reply(None) })
    }

    /// A whole request for which the host answers questions for these headers by a [`Reply`]. There are no others.
    pub fn request_answered(&mut self, replies: &[(&str, Reply)]) -> Result<Outcome> {
        self.answered(replies, self.gateway.reply(None))
    }

    fn answered(&mut self, replies: &[(&str, Reply)], other: Reply) -> Result<Outcome> {
        let replies = replies.iter().map(|(name, reply)| (name.as_bytes().to_vec(), reply.clone()));
        self.guest.state().replies = replies.collect();
        let outcome = self.request_with(other);
        self.guest.state().replies.clear();
        outcome
    }

    /// A whole request for which the host answers every question by a [`Reply`].
    pub fn request_with(&mut self, reply: Reply) -> Result<Outcome> {
        self.request_to(ROOT, reply)
    }

    fn request_to(&mut self, root: u32, reply: Reply) -> Result<Outcome> {
        let context = self.open_in(root)?;
        let outcome = self.headers(context, reply)?;
        self.close(context)?;
        Ok(Outcome { cost: self.guest.state().cost, ..outcome })
    }

    /// Opens the context of a request, and returns it.
    pub fn open(&mut self) -> Result<u32> {
        self.open_in(ROOT)
    }

    /// Opens the context of a request to the plugin with this root context.
    pub fn open_in(&mut self, root: u32) -> Result<u32> {
        let context = self.next_context;
        self.next_context += 1;
        self.guest.state().cost = Cost::default();
        self.call("proxy_on_context_create", &[context, root])?;
        Ok(context)
    }

    /// A whole request to the plugin with this root context.
    pub fn request_in(&mut self, root: u32, value: Option<&[u8]>) -> Result<Outcome> {
        self.request_to(root, self.gateway.reply(value))
    }

    /// Opens a root context, and returns it.
    pub fn open_root(&mut self) -> Result<u32> {
        let root = self.open_in(0)?;
        self.guest.state().roots.insert(root);
        Ok(root)
    }

    /// Deletes a root context.
    pub fn close_root(&mut self, root: u32) {
        self.guest.state().roots.remove(&root);
    }

    /// Configures the plugin; an error if it refuses.
    fn take(&mut self, configuration: &[u8]) -> Result<()> {
        let is_taken = self.configure(ROOT, configuration)?;
        ensure!(is_taken, "the plugin refuses its configuration: {}", self.log().join("; "));
        Ok(())
    }

    /// Configures a root context: whether the module takes the configuration. One without the callback does.
    pub fn configure(&mut self, root: u32, configuration: &[u8]) -> Result<bool> {
        self.configure_by(root, configuration, None)
    }

    /// As [`Vm::configure`]; the host answers the question for the configuration by `delivery`.
    pub fn configure_by(
        &mut self,
        root: u32,
        configuration: &[u8],
        delivery: Option<Reply>,
    ) -> Result<bool> {
        let state = self.guest.state();
        (state.configuration, state.delivery) = (configuration.to_vec(), delivery);
        state.log.clear();
        let size = u32::try_from(configuration.len())?;
        Ok(self.call("proxy_on_configure", &[root, size])? != Some(0))
    }

    /// The lines that the module logged in its last callback.
    pub fn log(&mut self) -> &[String] {
        &self.guest.state().log
    }

    /// The results of callbacks that replies have called.
    pub fn called(&mut self) -> Vec<Option<u32>> {
        std::mem::take(&mut self.guest.state().called)
    }

    /// Fuel that all callbacks since the last request was opened have consumed.
    pub fn fuel(&mut self) -> u64 {
        self.guest.state().cost.fuel
    }

    /// Calls the module for the headers of an open request.
    pub fn headers(&mut self, context: u32, reply: Reply) -> Result<Outcome> {
        let state = self.guest.state();
        (state.reply, state.response) = (reply, None);
        state.asked.clear();
        state.removed.clear();
        state.replaced.clear();
        state.log.clear();
        let action = self
            .call("proxy_on_request_headers", &[context, 3, 1])?
            .context("proxy_on_request_headers is not exported")?;
        let state = self.guest.state();
        Ok(Outcome {
            action,
            asked: state.asked.clone(),
            removed: state.removed.clone(),
            replaced: state.replaced.clone(),
            response: state.response.take().map(|response| LocalResponse {
                body: self.gateway.body(response.body),
                ..response
            }),
            log: std::mem::take(&mut state.log),
            cost: state.cost,
        })
    }

    /// Makes the calls that follow the request's headers, and deletes the context.
    pub fn close(&mut self, context: u32) -> Result<()> {
        self.call("proxy_on_response_headers", &[context, 3, 0])?;
        self.call("proxy_on_response_body", &[context, 43, 1])?;
        for name in self.gateway.end() {
            self.call(name, &[context])?;
        }
        Ok(())
    }

    /// The metrics that the module defined, and what it added to them.
    pub fn metrics(&mut self) -> &[(String, u64)] {
        &self.guest.state().metrics
    }

    /// Calls the module's allocator outside of a request.
    pub fn allocate(&mut self, size: u32) -> Result<u32> {
        imports::allocate(&mut *self.guest, size)?.context("no allocator is exported")
    }

    /// The module's whole memory.
    pub fn memory(&mut self) -> &mut [u8] {
        self.guest.memory()
    }

    /// Calls a callback if the gateway knows it and the module exports it, and adds up its cost.
    fn call(&mut self, name: &str, args: &[u32]) -> Result<Option<u32>> {
        if !self.gateway.calls(name) {
            return Ok(None);
        }
        let before = self.guest.fuel();
        let result = self.guest.call(name, args)?;
        let spent = before - self.guest.fuel();
        let cost = &mut self.guest.state().cost;
        cost.callbacks += u32::from(result.is_some());
        cost.fuel += spent;
        self.gateway.check(name, result)?;
        Ok(result)
    }
}
