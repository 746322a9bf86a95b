//! The conformance table, `tests/conformance.toml`: what a gate with the committed policy answers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::{Gateway, Headers};

/// One row of the table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What the case shows.
    pub name: String,
    /// The method of the request.
    #[serde(default = "get")]
    pub method: String,
    /// The protocol of the request.
    #[serde(default)]
    pub protocol: Protocol,
    /// Names and values of the request's headers, in order.
    #[serde(default, deserialize_with = "headers")]
    pub headers: Headers,
    /// The body of the request.
    #[serde(default, deserialize_with = "bytes")]
    pub body: Vec<u8>,
    /// How often each header's value is repeated.
    #[serde(default = "once")]
    repeat: usize,
    /// Whether the request passes.
    pub passes: bool,
}

/// How a case is sent.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1
    #[default]
    Http1,
    /// HTTP/2 with prior knowledge
    Http2,
    /// A gRPC call over HTTP/2
    Grpc,
}

impl Case {
    /// What a gateway returns for the header `name`: the first one, without whitespace around it.
    #[must_use]
    pub fn value(&self, name: &str, gateway: Gateway) -> Option<&[u8]> {
        let wanted = |(n, _): &&(Vec<u8>, Vec<u8>)| n.eq_ignore_ascii_case(name.as_bytes());
        self.headers.iter().find(wanted).map(|(_, value)| gateway.strip(value))
    }
}

/// Reads the table in `file`.
pub fn read(file: &Path) -> Result<Vec<Case>> {
    let place = || file.display().to_string();
    let text = fs::read_to_string(file).with_context(place)?;
    let mut table: BTreeMap<String, Vec<Case>> = toml::from_str(&text).with_context(place)?;
    let mut cases = table.remove("case").with_context(place)?;
    ensure!(table.is_empty(), "{}: other tables than [[case]]", place());
    for case in &mut cases {
        case.headers.iter_mut().for_each(|(_, value)| *value = value.repeat(case.repeat));
    }
    Ok(cases)
}

fn get() -> String {
    "GET".to_owned()
}

fn once() -> usize {
    1
}

fn bytes<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<u8>, D::Error> {
    String::deserialize(input).map(String::into_bytes)
}

/// Pairs of name and value. A value may be any bytes: `\xNN` in TOML is the character U+00NN, and
/// stands for that byte.
fn headers<'de, D: Deserializer<'de>>(input: D) -> Result<Headers, D::Error> {
    let header = |pair: Vec<String>| {
        let [name, value] = <[String; 2]>::try_from(pair).map_err(|_| "a header is not a pair")?;
        let value: Result<_, _> = value.chars().map(u8::try_from).collect();
        Ok((name.into_bytes(), value.map_err(|_| "a value has a character beyond U+00FF")?))
    };
    let headers: Result<_, &str> = Vec::deserialize(input)?.into_iter().map(header).collect();
    headers.map_err(D::Error::custom)
}
