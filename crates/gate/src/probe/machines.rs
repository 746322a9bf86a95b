//! Whether each worker has the plugin's virtual machine, by Envoy's admin API.

use anyhow::{Context, Result, ensure};
use header_gate_envoy::client::{Connection, Transport, addresses};
use header_gate_envoy::{ACTIVE, virtual_machines};
use serde_json::Value;

use super::target::Target;

/// Envoy's workers, and its virtual machines.
#[derive(Debug)]
pub struct Machines {
    workers: u64,
    active: u64,
}

impl Machines {
    /// Asks the admin API at `admin`.
    pub fn ask(admin: &Target) -> Result<Self> {
        let about =
            || format!("{} is not an admin API that counts virtual machines", admin.address);
        let peer = addresses(&admin.address)?[0];
        let mut connection = Connection::at(peer, admin.authority.as_str(), Transport::Http1)?;
        let mut get = |path: &str| {
            let answer = connection.send("GET", path, &[], b"")?;
            ensure!(answer.status == 200, "{path} is answered {}", answer.status);
            Ok(String::from_utf8_lossy(&answer.body).into_owned())
        };
        let info: Value =
            serde_json::from_str(&get("/server_info").with_context(about)?).with_context(about)?;
        let workers = info["command_line_options"]["concurrency"].as_u64().filter(|&n| n > 0);
        let workers = workers.context("/server_info has no concurrency").with_context(about)?;
        let stats = get(&format!("/stats?filter=^{ACTIVE}$")).with_context(about)?;
        // Envoy lists it only once there has been one.
        let active = stats.lines().find_map(|line| line.strip_prefix(ACTIVE)?.strip_prefix(": "));
        let active = active.unwrap_or("0").trim().parse().with_context(about)?;
        Ok(Self { workers, active })
    }

    /// Each plugin, and each listener that drains, has the same number of them.
    pub fn is_ok(&self) -> bool {
        self.active > 0 && self.active.is_multiple_of(virtual_machines(self.workers))
    }

    /// Its row of the table.
    pub fn row(&self) -> [String; 4] {
        [
            "virtual machines".to_owned(),
            format!(
                "{} (for {} workers), or a multiple",
                virtual_machines(self.workers),
                self.workers
            ),
            self.active.to_string(),
            if self.is_ok() { "ok" } else { "FAILED" }.to_owned(),
        ]
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
