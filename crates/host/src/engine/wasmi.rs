//! wasmi, which interprets modules.

use anyhow::{Context as _, Result};
use wasmi::{
    AsContextMut, Config, Engine, Func, FuncType, Instance, Linker, Memory, Module, Store, Val,
    ValType,
};

use super::{Compiled, Guest, guest};
use crate::imports::{self, State};

guest!();

struct Wasmi {
    module: Module,
    linker: Linker<Data>,
}

/// Compiles `wasm`, which may import the host's functions and no others.
pub fn compile(wasm: &[u8]) -> Result<Box<dyn Compiled>> {
    let mut config = Config::default();
    config.consume_fuel(true);
    let engine = Engine::new(&config);
    let module = Module::new(&engine, wasm)?;
    let mut linker = Linker::new(&engine);
    for (name, params) in imports::FUNCTIONS {
        let ty = FuncType::new(types(params), [ValType::I32]);
        linker.func_new("env", name, ty, move |caller, args, results| {
            let args: Vec<u64> = args.iter().map(number).collect();
            let status = imports::call(name, &mut Context(caller), &args);
            let status = status.map_err(|error| wasmi::Error::new(format!("{error:#}")))?;
            results[0] = Val::I32(status.cast_signed());
            Ok(())
        })?;
    }
    Ok(Box::new(Wasmi { module, linker }))
}

impl Compiled for Wasmi {
    fn start(&self, fuel: u64) -> Result<Box<dyn Guest>> {
        let mut store = Store::new(self.module.engine(), Data::default());
        store.set_fuel(fuel)?;
        let instance = self.linker.instantiate_and_start(&mut store, &self.module)?;
        let memory = instance.exports(&store).find_map(|export| export.into_extern().into_memory());
        let memory = memory.context("no memory is exported")?;
        store.data_mut().exports = Some((instance, memory));
        Ok(Box::new(Context(store)))
    }
}
