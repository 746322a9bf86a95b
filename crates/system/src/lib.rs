//! What the other crates need of this machine: programs are installed where they are missing, run
//! for a limited time, and never left behind.

pub mod command;
pub mod install;
pub mod process;
