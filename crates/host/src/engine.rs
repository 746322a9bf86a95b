//! The engine that runs modules, wasmtime, and what the host needs of it.

use anyhow::{Context as _, Result};
use wasmtime::{
    AsContextMut, Config, Engine, Export, Func, FuncType, Instance, Linker, Memory, Module, Store,
    Val, ValType,
};

use crate::guest::{Guest, State};
use crate::imports;

/// What a store holds.
#[derive(Default)]
struct Data {
    state: State,
    exports: Option<(Instance, Memory)>,
}

/// A compiled module.
pub struct Compiled {
    module: Module,
    linker: Linker<Data>,
}

impl Compiled {
    /// Compiles `wasm`, to code that counts fuel or not.
    pub fn new(wasm: &[u8], fuel: bool) -> Result<Self> {
        let mut config = Config::new();
        config.consume_fuel(fuel);
        let engine = Engine::new(&config)?;
        let module = Module::new(&engine, wasm)?;
        let mut linker = Linker::new(&engine);
        for (name, params) in imports::FUNCTIONS {
            let params = params.chars().map(|c| if c == 'I' { ValType::I64 } else { ValType::I32 });
            let ty = FuncType::new(&engine, params, [ValType::I32]);
            linker.func_new("env", name, ty, move |mut caller, args, results| {
                let args: Vec<u64> = args.iter().map(number).collect();
                let status = imports::call(name, &mut caller, &args);
                results[0] = Val::I32(status.map_err(wasmtime::Error::from_anyhow)?.cast_signed());
                Ok(())
            })?;
        }
        // Calling any other import traps.
        linker.define_unknown_imports_as_traps(&module)?;
        Ok(Self { module, linker })
    }

    /// Starts a virtual machine, which traps after consuming this much fuel.
    pub fn start(&self, fuel: u64) -> Result<Box<dyn Guest>> {
        let mut store = Store::new(self.module.engine(), Data::default());
        // Fails if the engine does not count fuel.
        let _ = store.set_fuel(fuel);
        let instance = self.linker.instantiate(&mut store, &self.module)?;
        let memory = instance.exports(&mut store).find_map(Export::into_memory);
        let memory = memory.context("no memory is exported")?;
        store.data_mut().exports = Some((instance, memory));
        Ok(Box::new(store))
    }
}

impl<C: AsContextMut<Data = Data>> Guest for C {
    fn exports(&mut self, name: &str) -> bool {
        function(self, name).is_some()
    }

    fn call(&mut self, name: &str, args: &[u32]) -> Result<Option<u32>> {
        let Some(function) = function(self, name) else { return Ok(None) };
        let args: Vec<_> = args.iter().map(|arg| Val::I32(arg.cast_signed())).collect();
        let mut results = vec![Val::I32(0); function.ty(&*self).results().len()];
        function.call(&mut *self, &args, &mut results)?;
        Ok(Some(results.first().map_or(0, |result| number(result) as u32)))
    }

    fn memory(&mut self) -> &mut [u8] {
        instance(self).1.data_mut(self)
    }

    fn fuel(&self) -> u64 {
        self.as_context().get_fuel().unwrap_or_default()
    }

    fn state(&mut self) -> &mut State {
        &mut instance(self).1.data_and_store_mut(self).1.state
    }
}

fn instance(store: &impl AsContextMut<Data = Data>) -> (Instance, Memory) {
    store.as_context().data().exports.expect("an instance before it is called")
}

fn function(store: &mut impl AsContextMut<Data = Data>, name: &str) -> Option<Func> {
    instance(store).0.get_func(store, name)
}

/// A number of the ABI.
fn number(value: &Val) -> u64 {
    let short = value.i32().map(|short| short.cast_unsigned().into());
    short.or(value.i64().map(i64::cast_unsigned)).expect("the ABI has integers only")
}
