//! wasmtime, which compiles modules to machine code.

use anyhow::{Context as _, Result};
use wasmtime::{
    AsContextMut, Config, Engine, Export, Extern, FuncType, Instance, Linker, Memory, Module,
    Store, Val, ValType,
};

use super::{Compiled, Guest};
use crate::imports::{self, State};

/// What a store holds.
#[derive(Default)]
struct Data {
    state: State,
    exports: Option<(Instance, Memory)>,
}

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
        let ty = FuncType::new(&engine, vec![ValType::I32; params], [ValType::I32]);
        linker.func_new("env", name, ty, move |caller, args, results| {
            let args: Vec<u32> = args.iter().map(|arg| arg.unwrap_i32().cast_unsigned()).collect();
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

/// A store, or a caller that borrows one.
struct Context<C>(C);

impl<C: AsContextMut<Data = Data>> Context<C> {
    fn exports(&self) -> (Instance, Memory) {
        self.0.as_context().data().exports.expect("an instance before it is called")
    }
}

impl<C: AsContextMut<Data = Data>> Guest for Context<C> {
    fn call(&mut self, name: &str, args: &[u32]) -> Result<Option<u32>> {
        let export = self.exports().0.get_export(&mut self.0, name);
        let Some(function) = export.and_then(Extern::into_func) else { return Ok(None) };
        let args: Vec<_> = args.iter().map(|arg| Val::I32(arg.cast_signed())).collect();
        let mut results = vec![Val::I32(0); function.ty(&self.0).results().len()];
        function.call(&mut self.0, &args, &mut results)?;
        Ok(Some(results.first().map_or(0, |result| result.unwrap_i32().cast_unsigned())))
    }

    fn memory(&mut self) -> &mut [u8] {
        self.exports().1.data_mut(&mut self.0)
    }

    fn fuel(&self) -> u64 {
        self.0.as_context().get_fuel().unwrap_or_default()
    }

    fn state(&mut self) -> &mut State {
        &mut self.exports().1.data_and_store_mut(&mut self.0).1.state
    }
}
