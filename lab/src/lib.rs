//! Measures the gate and its rivals, and tries to break it.

pub mod chart;
pub mod cost;
pub mod data;
pub mod differ;
pub mod filter;
pub mod plot;
pub mod report;
pub mod soak;
pub mod tools;
