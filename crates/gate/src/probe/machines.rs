//! Whether each worker has the plugin's virtual machine, as Envoy's admin API tells it.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::url::Url;
use header_gate_envoy::ACTIVE;
use header_gate_envoy::http1::Connection;

/// Envoy's workers, and its virtual machines.
#[derive(Debug, PartialEq, Eq)]
pub struct Machines {
    workers: u64,
    active: u64,
}

impl Machines {
    /// Asks the admin API at `admin`.
    pub fn ask(admin: &Url) -> Result<Self> {
        let told =
            || format!("the admin API at {} does not tell the virtual machines", admin.address);
        let info: Value = serde_json::from_str(&get(admin, "/server_info").with_context(told)?)
            .with_context(|| format!("/server_info of {} is not Envoy's", admin.address))?;
        let workers = info["command_line_options"]["concurrency"].as_u64().filter(|&n| n > 0);
        let workers = workers
            .with_context(|| format!("/server_info of {} has no concurrency", admin.address))?;
        let stats = get(admin, &format!("/stats?filter=^{ACTIVE}$")).with_context(told)?;
        // Envoy lists it only once there has been one.
        let active = stats.lines().find_map(|line| line.strip_prefix(ACTIVE)?.strip_prefix(": "));
        let active = active.unwrap_or("0").trim().parse().with_context(told)?;
        Ok(Self { workers, active })
    }

    /// One for each worker, one for the main thread and one that these are cloned from; so for each
    /// plugin that there is, and for a listener that drains.
    fn each(&self) -> u64 {
        self.workers + 2
    }

    pub fn is_ok(&self) -> bool {
        self.active > 0 && self.active.is_multiple_of(self.each())
    }

    /// Its row of the table.
    pub fn row(&self) -> [String; 4] {
        [
            "virtual machines".to_owned(),
            format!("{} workers + 2 = {}, or a multiple", self.workers, self.each()),
            self.active.to_string(),
            if self.is_ok() { "ok" } else { "FAILED" }.to_owned(),
        ]
    }
}

fn get(admin: &Url, path: &str) -> Result<String> {
    let answer = Connection::to(&admin.address, &admin.authority)?.send("GET", path, &[], b"")?;
    if answer.status != 200 {
        bail!("{path} is answered {}", answer.status);
    }
    Ok(String::from_utf8_lossy(&answer.body).into_owned())
}

#[cfg(test)]
mod tests {
    use super::Machines;

    #[test]
    fn each_plugin_has_a_machine_for_each_worker_and_two_more() {
        let ok = |workers, active| Machines { workers, active }.is_ok();
        assert!(ok(2, 4) && ok(2, 8) && ok(8, 10));
        assert!(!ok(2, 0) && !ok(2, 3) && !ok(8, 9) && !ok(8, 19));
    }
}
