//! What gateways do differently with the same module.

use anyhow::{Context as _, Result, ensure};

use crate::guest::Guest;
use crate::reply::{Place, Reply, Step};

/// The host whose calls a virtual machine gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gateway {
    /// Envoy's proxy-wasm-cpp-host. It calls the callbacks that a module exports, and no others.
    #[default]
    Envoy,
    /// nginx with ngx_wasm_module, as tagged prerelease-0.6.0 (`src/common/proxy_wasm`, `src/http`).
    ///
    /// It refuses a module without three of the callbacks, and calls all other callbacks without looking whether they
    /// exist. It asks for memory for empty values too, appends a line feed to the body of a local response, and
    /// like all of nginx strips blanks around a value, but no tabs.
    Nginx,
    /// APISIX with wasm-nginx-module, as tagged 0.7.0 (`src/http`, `src/vm`).
    ///
    /// A missing callback counts as one that returned 0: for `proxy_on_configure` that the plugin is not used, for
    /// `proxy_on_done` an error of each request. It does not call `proxy_on_vm_start` and `proxy_on_log`, and
    /// returns a value's size before the value.
    Apisix,
}

/// The callbacks without which nginx refuses a module.
const REQUIRED: [&str; 3] = ["proxy_on_context_create", "proxy_on_vm_start", "proxy_on_configure"];

impl Gateway {
    /// The value of a header, as the module gets it.
    #[must_use]
    pub fn strip(self, value: &[u8]) -> &[u8] {
        if self == Self::Envoy {
            return value.trim_ascii();
        }
        let is_blank = |byte: &u8| *byte == b' ';
        let start = value.iter().take_while(|byte| is_blank(byte)).count();
        let end = value[start..].iter().rev().take_while(|byte| is_blank(byte)).count();
        &value[start..value.len() - end]
    }

    /// The body of a local response, as the client gets it.
    #[must_use]
    pub fn body(self, mut body: Vec<u8>) -> Vec<u8> {
        if self == Self::Nginx && !body.is_empty() {
            body.push(b'\n');
        }
        body
    }

    /// The callbacks at the end of a request.
    pub(crate) fn end(self) -> &'static [&'static str] {
        match self {
            Self::Envoy => &["proxy_on_log", "proxy_on_done", "proxy_on_delete"],
            Self::Nginx => &["proxy_on_done", "proxy_on_log", "proxy_on_delete"],
            Self::Apisix => &["proxy_on_done", "proxy_on_delete"],
        }
    }

    /// Whether a module may be used at all.
    pub(crate) fn accept(self, guest: &mut dyn Guest) -> Result<()> {
        let missing = REQUIRED.iter().find(|name| !guest.exports(name));
        match missing {
            Some(name) if self == Self::Nginx => {
                anyhow::bail!("filter missing one of {} ({name})", REQUIRED.join(", "))
            }
            _ => Ok(()),
        }
    }

    /// What becomes of a callback's result.
    pub(crate) fn check(self, name: &str, result: Option<u32>) -> Result<()> {
        match self {
            Self::Envoy => {}
            Self::Nginx => {
                let result = result.with_context(|| format!("a call of {name}, which is null"))?;
                let starts = ["proxy_on_vm_start", "proxy_on_configure"].contains(&name);
                ensure!(result > 0 || !starts, "{name} returns 0");
            }
            Self::Apisix => {
                let checked = ["proxy_on_configure", "proxy_on_done"].contains(&name);
                let positive = result.is_some_and(|result| result.cast_signed() > 0);
                ensure!(positive || !checked, "{name} returns no number above 0");
            }
        }
        Ok(())
    }

    /// Whether the gateway knows the callback.
    pub(crate) fn calls(self, name: &str) -> bool {
        self != Self::Apisix || name != "proxy_on_vm_start"
    }

    /// The answer to the module's question for a header with this value.
    pub(crate) fn reply(self, value: Option<&[u8]>) -> Reply {
        let mut reply = Reply::honest(value);
        match (self, value) {
            (Self::Nginx, Some([])) => {
                let room = [Step::Allocate(0), Step::Write(Place::Allocated(0), Vec::new())];
                reply.steps.splice(..0, room);
            }
            (Self::Apisix, Some(_)) => reply.steps.rotate_right(1),
            _ => {}
        }
        reply
    }
}
