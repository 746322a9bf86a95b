//! The rule: whether the value that a host delivered is an accepted one, and whether a path is plain ([`path`]). Pure and
//! safe; it knows no host.
//!
//! A value is compared as an image ([`Value`]): its bytes, zero padding, its size. There are three rules, with the
//! same methods; the policy decides which one a gate has:
//!
//! | rule | for | compares |
//! |---|---|---|
//! | [`Rule`] | `values` | each image, without a branch |
//! | [`Clients`] | clients with a value | one image, which a perfect hash picks |
//! | [`Digests`] | clients with a SHA-256 | one digest, picked likewise |
//!
//! The time of a comparison depends on the length of a value at most: not on where it differs, nor on which accepted
//! value matches.

#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::pedantic)]
#![allow(clippy::cast_possible_truncation, reason = "sizes have 32 bits where the plugin runs")]
#![allow(clippy::trivially_copy_pass_by_ref, reason = "the policy decides how large a value is")]

#[cfg(test)]
extern crate std;

#[macro_use]
mod unroll;

mod clients;
pub mod hash;
pub mod path;
mod rule;
pub mod sha256;
mod value;

pub use clients::{Clients, Digests};
pub use rule::Rule;
pub use value::{Value, partial, write_image};

/// Its examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
