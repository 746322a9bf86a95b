//! Measures the gate and its rivals, and tries to break it.

pub mod anatomy;
pub mod chart;
pub mod cost;
pub mod differ;
pub mod draw;
pub mod filter;
pub mod request;
pub mod rule;
pub mod samples;
pub mod soak;
pub mod table;
