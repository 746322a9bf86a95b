//! Programs of this machine: installed where they are missing, run, and never left behind.

pub mod command;
pub mod pip;
pub mod process;
