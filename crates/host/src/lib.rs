//! A Proxy-Wasm host in a process of ours: it drives a finished module through its real exports,
//! counts what a request costs, and answers with whatever a test wants a host to say.
//!
//! It calls what Envoy's host (proxy-wasm-cpp-host) calls, in that order: only the callbacks that a
//! module exports, `malloc` before `proxy_on_memory_allocate`, the allocator only for a value that
//! is not empty. Like Envoy's it takes the memory that a module exports by any name.

pub mod conformance;
pub mod gate;
mod imports;
mod reply;

use anyhow::{Context as _, Result};
use wasmtime::{
    Config, Engine, Export, Extern, Instance, Linker, Memory, Module, Store, TypedFunc, Val,
};

use crate::imports::State;
pub use crate::imports::{Asked, Headers, LocalResponse, pairs};
pub use crate::reply::{INVALID_MEMORY_ACCESS, OK, Place, Reply, Script, Status, Step};

/// `Action::Continue`, what a callback returns for a request that passes.
pub const CONTINUE: i32 = 0;

/// The root context's number.
const ROOT: u32 = 1;

/// The number of a virtual machine's first request; the others follow.
pub const FIRST_REQUEST: u32 = ROOT + 1;

/// Fuel of a virtual machine, more than any test burns.
const FUEL: u64 = u64::MAX / 2;

/// A compiled module.
pub struct Plugin {
    module: Module,
    linker: Linker<State>,
}

/// A virtual machine: what a gateway has one of in each worker.
pub struct Vm {
    store: Store<State>,
    instance: Instance,
    memory: Memory,
    next_context: u32,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the callback returned.
    pub action: i32,
    /// What it asked the host for, in order.
    pub asked: Vec<Asked>,
    /// The answer that the module sent in the upstream's place.
    pub response: Option<LocalResponse>,
    /// The lines that it logged.
    pub log: Vec<String>,
    /// What it took.
    pub cost: Cost,
}

impl Outcome {
    /// Whether a gateway would let the request through.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.action == CONTINUE && self.response.is_none()
    }
}

/// What a request took, in counts that repeat exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Callbacks of the module that the host called.
    pub callbacks: u32,
    /// Calls of the module's allocator.
    pub allocations: u32,
    /// Functions of the host that the module called.
    pub host_calls: u32,
    /// Fuel that wasmtime counted: about one for each WebAssembly instruction.
    pub fuel: u64,
}

impl Plugin {
    /// Compiles a module.
    ///
    /// # Errors
    /// The bytes are no module, or it imports what no host has.
    pub fn new(wasm: &[u8]) -> Result<Self> {
        let mut config = Config::new();
        config.consume_fuel(true);
        Self::with_engine(&Engine::new(&config)?, wasm)
    }

    /// Compiles a module with an engine of the caller's, which may count fuel or not.
    ///
    /// # Errors
    /// As for [`Plugin::new`].
    pub fn with_engine(engine: &Engine, wasm: &[u8]) -> Result<Self> {
        let module = Module::new(engine, wasm)?;
        let mut linker = Linker::new(engine);
        imports::define(&mut linker, &module)?;
        Ok(Self { module, linker })
    }

    /// The compiled module.
    #[must_use]
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Starts a virtual machine, as a gateway does for each worker.
    ///
    /// # Errors
    /// The module traps while it starts.
    pub fn start(&self) -> Result<Vm> {
        self.start_with(FUEL)
    }

    /// As [`Plugin::start`]; the virtual machine traps when it has burnt so much fuel.
    fn start_with(&self, fuel: u64) -> Result<Vm> {
        let mut store = Store::new(self.module.engine(), State::default());
        // An engine that does not count fuel has none to set.
        let _ = store.set_fuel(fuel);
        let instance = self.linker.instantiate(&mut store, &self.module)?;
        let memory = instance.exports(&mut store).find_map(Export::into_memory);
        let memory = memory.context("no memory is exported")?;
        store.data_mut().allocator = ["malloc", "proxy_on_memory_allocate"]
            .iter()
            .find_map(|name| instance.get_typed_func(&mut store, name).ok());
        store.data_mut().memory = Some(memory);
        let mut vm = Vm { store, instance, memory, next_context: FIRST_REQUEST };
        vm.call("_initialize", &[])?;
        vm.call("proxy_on_context_create", &[ROOT, 0])?;
        vm.call("proxy_on_vm_start", &[ROOT, 0])?;
        vm.call("proxy_on_configure", &[ROOT, 0])?;
        vm.store.data_mut().cost = Cost::default();
        Ok(vm)
    }
}

impl Vm {
    /// One whole request whose header the host finds to be `value`.
    ///
    /// # Errors
    /// The module traps; the virtual machine is lost then, as it is in a gateway.
    pub fn request(&mut self, value: Option<&[u8]>) -> Result<Outcome> {
        self.request_with(Reply::honest(value))
    }

    /// One whole request for which the host answers with a [`Reply`], or a [`Script`].
    ///
    /// # Errors
    /// As for [`Vm::request`].
    pub fn request_with(&mut self, reply: impl Into<Script>) -> Result<Outcome> {
        let context = self.open()?;
        let outcome = self.headers(context, reply)?;
        self.close(context)?;
        Ok(Outcome { cost: self.store.data().cost, ..outcome })
    }

    /// One whole request with these headers, in which the host looks up whatever the module asks for.
    ///
    /// # Errors
    /// As for [`Vm::request`].
    pub fn request_of(&mut self, headers: Headers) -> Result<Outcome> {
        self.store.data_mut().headers = Some(headers);
        let outcome = self.request_with(Reply::default());
        self.store.data_mut().headers = None;
        outcome
    }

    /// The name of the header that the module asked for last.
    #[must_use]
    pub fn asked(&self) -> &[u8] {
        self.store.data().asked.last().map_or(&[], |asked| &asked.key)
    }

    /// Lets the virtual machine burn no more than that from now on: a module that never ends traps.
    ///
    /// # Errors
    /// Its engine does not count fuel.
    pub fn limit(&mut self, fuel: u64) -> Result<()> {
        Ok(self.store.set_fuel(fuel)?)
    }

    /// Opens the context of a request and returns its number.
    ///
    /// # Errors
    /// As for [`Vm::request`].
    pub fn open(&mut self) -> Result<u32> {
        let context = self.next_context;
        self.next_context += 1;
        self.store.data_mut().cost = Cost::default();
        self.call("proxy_on_context_create", &[context, ROOT])?;
        Ok(context)
    }

    /// Hands an opened request's headers to the module.
    ///
    /// # Errors
    /// As for [`Vm::request`].
    pub fn headers(&mut self, context: u32, reply: impl Into<Script>) -> Result<Outcome> {
        let state = self.store.data_mut();
        (state.script, state.response) = (reply.into(), None);
        state.asked.clear();
        state.log.clear();
        let action = self
            .call("proxy_on_request_headers", &[context, 3, 1])?
            .context("proxy_on_request_headers is not exported")?;
        let state = self.store.data_mut();
        Ok(Outcome {
            action,
            asked: state.asked.clone(),
            response: state.response.take(),
            log: std::mem::take(&mut state.log),
            cost: state.cost,
        })
    }

    /// What happens to a request after its headers, until its context is gone.
    ///
    /// # Errors
    /// As for [`Vm::request`].
    pub fn close(&mut self, context: u32) -> Result<()> {
        self.call("proxy_on_response_headers", &[context, 3, 0])?;
        self.call("proxy_on_response_body", &[context, 43, 1])?;
        self.call("proxy_on_log", &[context])?;
        self.call("proxy_on_done", &[context])?;
        self.call("proxy_on_delete", &[context])?;
        Ok(())
    }

    /// Calls the module's allocator outside of any request, as a host may.
    ///
    /// # Errors
    /// The module traps or has no allocator.
    pub fn allocate(&mut self, size: u32) -> Result<u32> {
        let allocator = self.store.data().allocator.clone().context("no allocator is exported")?;
        Ok(allocator.call(&mut self.store, size)?)
    }

    /// Allocations on the module's heap so far, if it counts them (`tools/counted`).
    ///
    /// # Errors
    /// It does not count them.
    pub fn heap_allocations(&mut self) -> Result<u32> {
        let counter = self.call("heap_allocations", &[])?;
        Ok(counter.context("heap_allocations is not exported")?.cast_unsigned())
    }

    /// The module's whole memory.
    #[must_use]
    pub fn memory(&self) -> &[u8] {
        self.memory.data(&self.store)
    }

    /// The module's whole memory, to write what no honest host would.
    #[must_use]
    pub fn memory_mut(&mut self) -> &mut [u8] {
        self.memory.data_mut(&mut self.store)
    }

    /// Calls a callback if it is exported; its result if it has one. Fuel is counted.
    fn call(&mut self, name: &str, args: &[u32]) -> Result<Option<i32>> {
        let Some(Extern::Func(callback)) = self.instance.get_export(&mut self.store, name) else {
            return Ok(None);
        };
        let before = self.store.get_fuel().unwrap_or_default();
        let args: Vec<Val> = args.iter().map(|&arg| Val::I32(arg.cast_signed())).collect();
        let mut results = vec![Val::I32(0); callback.ty(&self.store).results().len()];
        callback.call(&mut self.store, &args, &mut results)?;
        let spent = before - self.store.get_fuel().unwrap_or_default();
        let cost = &mut self.store.data_mut().cost;
        cost.callbacks += 1;
        cost.fuel += spent;
        Ok(results.first().map(Val::unwrap_i32))
    }
}

type Allocator = TypedFunc<u32, u32>;
