//! Whether each worker has the plugin's virtual machine, by Envoy's admin API.

use anyhow::{Context, Result, ensure};
use header_gate_envoy::client::{Connection, Transport, addresses};
use header_gate_envoy::{ACTIVE_PATH, active, virtual_machines};
use serde_json::Value;

use super::report::{Row, Seen};
use super::target::Target;

#[derive(Debug)]
pub struct Machines {
    workers: u64,
    active: u64,
}

impl Machines {
    pub fn ask(admin: &Target, transport: Transport) -> Result<Self> {
        let peer = addresses(&admin.address)?[0];
        let connection = Connection::at(peer, admin.authority.as_str(), transport)?;
        Self::count(connection).with_context(|| {
            format!("{} is not an admin API that counts virtual machines", admin.address)
        })
    }

    fn count(mut connection: Connection) -> Result<Self> {
        let mut get = |path: &str| {
            let answer = connection.send("GET", path, &[], b"")?;
            ensure!(answer.status == 200, "{path} is answered {}", answer.status);
            Ok(String::from_utf8_lossy(&answer.body).into_owned())
        };
        let info: Value = serde_json::from_str(&get("/server_info")?)?;
        let workers = info["command_line_options"]["concurrency"].as_u64().filter(|&n| n > 0);
        let workers = workers.context("/server_info has no concurrency")?;
        Ok(Self { workers, active: active(&get(ACTIVE_PATH)?) })
    }

    /// Each plugin, and each listener that drains, has the same number of them.
    fn is_ok(&self) -> bool {
        self.active > 0 && self.active.is_multiple_of(virtual_machines(self.workers))
    }

    pub fn row(&self) -> Row {
        let Self { workers, active } = self;
        let needed = virtual_machines(*workers);
        Row {
            check: "virtual machines".to_owned(),
            expected: format!("{needed} (for {workers} workers), or a multiple"),
            seen: vec![Seen { count: *active, answer: "active".to_owned() }],
            ok: self.is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Machines;

    #[test]
    fn each_plugin_has_a_virtual_machine_for_each_worker_and_two_more() {
        let ok = |workers, active| Machines { workers, active }.is_ok();
        assert!(ok(2, 4) && ok(2, 8) && ok(8, 10));
        assert!(!ok(2, 0) && !ok(2, 3) && !ok(8, 9) && !ok(8, 19));
    }
}
