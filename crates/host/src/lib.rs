//! An embedded Proxy-Wasm host: it calls the exports of a finished module, counts what a request
//! costs, and answers the module honestly or with whatever a test tells it to.
//!
//! It makes the calls of Envoy's host (proxy-wasm-cpp-host) in the same order: only the callbacks that
//! the module exports, `malloc` in preference to `proxy_on_memory_allocate`, and the allocator only for
//! a value that is not empty. Like Envoy's, it uses the exported memory whatever its name.

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

/// The root context.
const ROOT: u32 = 1;

/// The context of a virtual machine's first request; later ones count up from it.
pub const FIRST_REQUEST: u32 = ROOT + 1;

/// Fuel of a virtual machine, more than any test consumes.
const FUEL: u64 = u64::MAX / 2;

/// A compiled module.
pub struct Plugin {
    module: Module,
    linker: Linker<State>,
}

/// A virtual machine. A gateway has one for each worker.
pub struct Vm {
    store: Store<State>,
    instance: Instance,
    memory: Memory,
    next_context: u32,
}

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the callback returned.
    pub action: i32,
    /// The headers that it asked the host for, in order.
    pub asked: Vec<Asked>,
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
    /// wasmtime's fuel: about one for each WebAssembly instruction.
    pub fuel: u64,
}

impl Plugin {
    /// Compiles a module.
    ///
    /// # Errors
    /// The bytes are not a valid module, or an import has the wrong type.
    pub fn new(wasm: &[u8]) -> Result<Self> {
        let mut config = Config::new();
        config.consume_fuel(true);
        Self::with_engine(&Engine::new(&config)?, wasm)
    }

    /// Compiles a module with the caller's engine, which may count fuel or not.
    ///
    /// # Errors
    /// As for [`Plugin::new`].
    pub fn with_engine(engine: &Engine, wasm: &[u8]) -> Result<Self> {
        let module = Module::new(engine, wasm)?;
        let mut linker = Linker::new(engine);
        imports::define(&mut linker, &module)?;
        Ok(Self { module, linker })
    }

    /// Starts a virtual machine, as a gateway does for each worker.
    ///
    /// # Errors
    /// The module traps while it starts.
    pub fn start(&self) -> Result<Vm> {
        self.start_with(FUEL)
    }

    /// As [`Plugin::start`]; the virtual machine traps after consuming this much fuel.
    fn start_with(&self, fuel: u64) -> Result<Vm> {
        let mut store = Store::new(self.module.engine(), State::default());
        // Fails if the engine does not count fuel.
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
    /// A whole request. The header that the module asks for has this value.
    ///
    /// # Errors
    /// The module traps. A gateway discards the virtual machine then.
    pub fn request(&mut self, value: Option<&[u8]>) -> Result<Outcome> {
        self.request_with(Reply::honest(value))
    }

    /// A whole request for which the host answers by a [`Reply`] or a [`Script`].
    ///
    /// # Errors
    /// As for [`Vm::request`].
    pub fn request_with(&mut self, reply: impl Into<Script>) -> Result<Outcome> {
        let context = self.open()?;
        let outcome = self.headers(context, reply)?;
        self.close(context)?;
        Ok(Outcome { cost: self.store.data().cost, ..outcome })
    }

    /// Opens the context of a request, and returns it.
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

    /// Calls the module for the headers of an open request.
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

    /// Makes the calls that follow the request's headers, and deletes the context.
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

    /// Calls the module's allocator outside of a request.
    ///
    /// # Errors
    /// The module traps or has no allocator.
    pub fn allocate(&mut self, size: u32) -> Result<u32> {
        let allocator = self.store.data().allocator.clone().context("no allocator is exported")?;
        Ok(allocator.call(&mut self.store, size)?)
    }

    /// The module's whole memory.
    #[must_use]
    pub fn memory(&self) -> &[u8] {
        self.memory.data(&self.store)
    }

    /// The module's whole memory, writable.
    #[must_use]
    pub fn memory_mut(&mut self) -> &mut [u8] {
        self.memory.data_mut(&mut self.store)
    }

    /// Calls a callback if the module exports it, adds up its cost, and returns its result if any.
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
