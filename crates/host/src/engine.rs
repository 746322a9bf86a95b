//! The engines that run modules, and what the host needs of them.

#[cfg(feature = "wasmi")]
mod wasmi;
mod wasmtime;

use anyhow::Result;

use crate::imports::State;

/// What runs modules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// wasmtime compiles a module; its code counts fuel.
    #[default]
    Wasmtime,
    /// The same without fuel, which is faster.
    WasmtimeWithoutFuel,
    /// wasmi interprets a module, and counts fuel in its own way.
    #[cfg(feature = "wasmi")]
    Wasmi,
}

/// A compiled module.
pub trait Compiled: Send + Sync {
    /// Starts a virtual machine, which traps after consuming this much fuel.
    fn start(&self, fuel: u64) -> Result<Box<dyn Guest>>;
}

/// Compiles `wasm`.
pub fn compile(engine: Engine, wasm: &[u8]) -> Result<Box<dyn Compiled>> {
    match engine {
        Engine::Wasmtime => wasmtime::compile(wasm, true),
        Engine::WasmtimeWithoutFuel => wasmtime::compile(wasm, false),
        #[cfg(feature = "wasmi")]
        Engine::Wasmi => wasmi::compile(wasm),
    }
}

/// A virtual machine, from outside or while it calls the host.
pub trait Guest {
    /// Whether a function of this name is exported.
    fn exports(&mut self, name: &str) -> bool;
    /// Calls an exported function of numbers. Returns its result, 0 if it has none, and `None` if there
    /// is no such export.
    fn call(&mut self, name: &str, args: &[u32]) -> Result<Option<u32>>;
    /// The exported memory.
    fn memory(&mut self) -> &mut [u8];
    /// The fuel that is left; 0 if the engine does not count it.
    fn fuel(&self) -> u64;
    /// The host's state.
    fn state(&mut self) -> &mut State;
}

/// Implements [`Guest`] for an engine: both have the same names.
macro_rules! guest {
    () => {
        /// What a store holds.
        #[derive(Default)]
        struct Data {
            state: State,
            exports: Option<(Instance, Memory)>,
        }

        /// A store, or a caller that borrows one.
        struct Context<C>(C);

        impl<C: AsContextMut<Data = Data>> Context<C> {
            fn instance(&self) -> (Instance, Memory) {
                self.0.as_context().data().exports.expect("an instance before it is called")
            }

            fn function(&mut self, name: &str) -> Option<Func> {
                self.instance().0.get_func(&mut self.0, name)
            }
        }

        impl<C: AsContextMut<Data = Data>> Guest for Context<C> {
            fn exports(&mut self, name: &str) -> bool {
                self.function(name).is_some()
            }

            fn call(&mut self, name: &str, args: &[u32]) -> Result<Option<u32>> {
                let Some(function) = self.function(name) else { return Ok(None) };
                let args: Vec<_> = args.iter().map(|arg| Val::I32(arg.cast_signed())).collect();
                let mut results = vec![Val::I32(0); function.ty(&self.0).results().len()];
                function.call(&mut self.0, &args, &mut results)?;
                Ok(Some(results.first().map_or(0, |result| number(result) as u32)))
            }

            fn memory(&mut self) -> &mut [u8] {
                self.instance().1.data_mut(&mut self.0)
            }

            fn fuel(&self) -> u64 {
                self.0.as_context().get_fuel().unwrap_or_default()
            }

            fn state(&mut self) -> &mut State {
                &mut self.instance().1.data_and_store_mut(&mut self.0).1.state
            }
        }

        /// A number of the ABI.
        fn number(value: &Val) -> u64 {
            let short = value.i32().map(|short| short.cast_unsigned().into());
            short.or(value.i64().map(i64::cast_unsigned)).expect("the ABI has integers only")
        }

        fn types(kinds: &str) -> Vec<ValType> {
            let ty = |kind| if kind == 'I' { ValType::I64 } else { ValType::I32 };
            kinds.chars().map(ty).collect()
        }
    };
}
use guest;
