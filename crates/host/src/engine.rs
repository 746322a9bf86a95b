//! What the host needs of an engine.

pub mod wasmtime;

use anyhow::Result;

use crate::imports::State;

/// A compiled module.
pub trait Compiled: Send + Sync {
    /// Starts a virtual machine, which traps after consuming this much fuel.
    fn start(&self, fuel: u64) -> Result<Box<dyn Guest>>;
}

/// A virtual machine, from outside or while it calls the host.
pub trait Guest {
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
