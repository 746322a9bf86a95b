//! Whether each worker has the plugin's virtual machine, by Envoy's admin API.

use anyhow::{Context, Result, ensure};
use header_gate_envoy::client::{Connection, Transport, addresses};
use header_gate_envoy::{ACTIVE, virtual_machines};
use serde_json::Value;

use super::target::Target;

#[derive(Debug)]
pub struct Machines {
    workers: u64,
    active: u64,
}

impl Machines {
    pub fn ask(admin: &Target) -> Result<Self> {
        let peer = addresses(&admin.address)?[0];
        let connection = Connection::at(peer, admin.authority.as_str(), Transport::Http1)?;
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
        let stats = get(&format!("/stats?filter=^{ACTIVE}$"))?;
        // Envoy lists it only once there has been one.
        let active = stats.lines().find_map(|line| line.strip_prefix(ACTIVE)?.strip_prefix(": "));
        let workers = workers.context("/server_info has no concurrency")?;
        Ok(Self { workers, active: active.unwrap_or("0").trim().parse()? })
    }

    /// Each plugin, and each listener that drains, has the same number of them.
    pub fn is_ok(&self) -> bool {
        self.active > 0 && self.active.is_multiple_of(virtual_machines(self.workers))
    }

    pub fn row(&self) -> [String; 4] {
        let Self { workers, active } = self;
        let expected =
            format!("{} (for {workers} workers), or a multiple", virtual_machines(*workers));
        let verdict = if self.is_ok() { "ok" } else { "FAILED" };
        ["virtual machines", &expected, &active.to_string(), verdict].map(str::to_owned)
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
