//! wasmtime, which compiles modules to machine code.

use anyhow::{Context as _, Result};
use wasmtime::{
    AsContextMut, Config, Engine, Export, Func, FuncType, Instance, Linker, Memory, Module, Store,
    Val, ValType,
};

use super::{Compiled, Guest, guest};
use crate::imports::{self, State};

guest!();

struct Wasmtime {
    module: Module,
    linker: Linker<Data>,
}

/// Compiles `wasm`, to code that counts fuel or not.
pub fn compile(wasm: &[u8], fuel: bool) -> Result<Box<dyn Compiled>> {
    let mut config = Config::new();
    config.consume_fuel(fuel);
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, wasm)?;
    let mut linker = Linker::new(&engine);
    for (name, params) in imports::FUNCTIONS {
        let ty = FuncType::new(&engine, types(params), [ValType::I32]);
        linker.func_new("env", name, ty, move |caller, args, results| {
            let args: Vec<u64> = args.iter().map(number).collect();
            let status = imports::call(name, &mut Context(caller), &args);
            results[0] = Val::I32(status.map_err(wasmtime::Error::from_anyhow)?.cast_signed());
            Ok(())
        })?;
    }
    // Calling any other import traps.
    linker.define_unknown_imports_as_traps(&module)?;
    Ok(Box::new(Wasmtime { module, linker }))
}

impl Compiled for Wasmtime {
    fn start(&self, fuel: u64) -> Result<Box<dyn Guest>> {
        let mut store = Store::new(self.module.engine(), Data::default());
        // Fails if the engine does not count fuel.
        let _ = store.set_fuel(fuel);
        let instance = self.linker.instantiate(&mut store, &self.module)?;
        let memory = instance.exports(&mut store).find_map(Export::into_memory);
        let memory = memory.context("no memory is exported")?;
        store.data_mut().exports = Some((instance, memory));
        Ok(Box::new(Context(store)))
    }
}
