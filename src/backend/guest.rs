//! One running domain, through libvirt.

use std::path::Path;
use std::time::Duration;

use virt::domain::Domain;
use virt::error::{Error, ErrorNumber};
use virt::sys;

use super::libvirt::{call, is};
use super::{BackendError, Guest, xml};

/// Asks the agent to power the guest off.
const POWER_DOWN: &str = r#"{"execute":"guest-shutdown","arguments":{"mode":"powerdown"}}"#;

/// The same where that is refused: an agent calls `shutdown +0`, which wants a logind.
const POWER_DOWN_BY_SYSTEMD: &str =
    r#"{"execute":"guest-exec","arguments":{"path":"systemctl","arg":["poweroff"]}}"#;

/// Seconds in which an agent would have refused. One that obeys does not answer.
const AGENT_OBEYS: i32 = 5;

/// A domain that labbuild started.
pub(super) struct LibvirtGuest {
    domain: Domain,
    machine: String,
}

impl LibvirtGuest {
    pub fn new(domain: Domain, machine: &str) -> Self {
        LibvirtGuest { domain, machine: machine.to_owned() }
    }

    fn call(&self, doing: &str) -> impl FnOnce(Error) -> BackendError {
        let doing = format!("{doing} {}", self.machine);
        call(move || doing)
    }

    /// Asks through the agent, because small guests have nobody who listens to the power button.
    /// Not by libvirt's own way through the agent, which waits for a minute.
    fn ask_to_power_off(&self) {
        for command in [POWER_DOWN, POWER_DOWN_BY_SYSTEMD] {
            match self.domain.qemu_agent_command(command, AGENT_OBEYS, 0) {
                Err(e) if refused(&e) => {}
                _ => return,
            }
        }
    }

    /// Whether the guest's clock is at most a minute past `epoch`.
    fn shows(&self, epoch: i64) -> bool {
        self.domain.time(0).is_ok_and(|(now, _)| (epoch..epoch.saturating_add(60)).contains(&now))
    }

    fn agent_failed(&self, command: &str, error: &Error) -> BackendError {
        let (machine, reason) = (self.machine.clone(), error.message().to_owned());
        match refused(error) {
            true => BackendError::AgentRefused { machine, command: name_of(command), reason },
            false => BackendError::AgentAbsent { machine, reason },
        }
    }
}

/// The agent answered, and the answer is no. Everything else means that no answer came.
fn refused(error: &Error) -> bool {
    let answered = is(error, ErrorNumber::AgentCommandFailed)
        || is(error, ErrorNumber::InternalError)
        || is(error, ErrorNumber::OperationFailed);
    answered && error.message().contains("unable to execute QEMU agent command")
}

/// The name of an agent command.
fn name_of(command: &str) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_str(command).ok();
    let name = parsed.as_ref().and_then(|value| value.get("execute")?.as_str());
    name.unwrap_or("a command that is not JSON").to_owned()
}

/// Whole seconds, as libvirt counts: at least one, because 0 means not to wait at all.
fn seconds(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis().div_ceil(1000)).unwrap_or(i32::MAX).max(1)
}

/// A domain that has ended is transient and gone.
fn gone(error: &Error) -> bool {
    is(error, ErrorNumber::NoDomain) || is(error, ErrorNumber::OperationInvalid)
}

impl Guest for LibvirtGuest {
    fn machine(&self) -> &str {
        &self.machine
    }

    fn is_running(&self) -> Result<bool, BackendError> {
        match self.domain.is_active() {
            Err(e) if is(&e, ErrorNumber::NoDomain) => Ok(false),
            other => other.map_err(self.call("look at machine")),
        }
    }

    fn agent(&self, command: &str, timeout: Duration) -> Result<String, BackendError> {
        self.domain
            .qemu_agent_command(command, seconds(timeout), 0)
            .map_err(|e| self.agent_failed(command, &e))
    }

    fn request_shutdown(&self) -> Result<(), BackendError> {
        self.ask_to_power_off();
        let flags = sys::VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN;
        match self.domain.shutdown_flags(flags) {
            Err(e) if gone(&e) => Ok(()),
            other => other.map(drop).map_err(self.call("shut down machine")),
        }
    }

    fn destroy(&self) -> Result<(), BackendError> {
        match self.domain.destroy() {
            Err(e) if gone(&e) => Ok(()),
            other => other.map(drop).map_err(self.call("stop machine")),
        }
    }

    fn snapshot_disk(&self, overlay: &Path) -> Result<(), BackendError> {
        let xml = xml::disk_snapshot(overlay)?;
        let flags = sys::VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
            | sys::VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
            | sys::VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA;
        let snapshot = self.domain.create_snapshot_xml(&xml, flags);
        snapshot.map(drop).map_err(self.call("snapshot the disk of machine"))
    }

    fn set_time(&self, epoch: u64) -> Result<(), BackendError> {
        let epoch = i64::try_from(epoch)
            .map_err(|_| BackendError::Invalid(format!("{epoch} is not a time")))?;
        match self.domain.set_time(epoch, 0, 0) {
            Ok(_) => Ok(()),
            // Agents also write the guest's hardware clock, for which a small guest has no
            // program; what counts is the time the guest has now.
            Err(_) if self.shows(epoch) => Ok(()),
            Err(e) => Err(self.call("set the clock of machine")(e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_never_zero() {
        assert_eq!(seconds(Duration::ZERO), 1);
        assert_eq!(seconds(Duration::from_millis(1500)), 2);
        assert_eq!(seconds(Duration::MAX), i32::MAX);
    }

    #[test]
    fn a_command_is_named_in_messages() {
        assert_eq!(name_of(r#"{"execute":"guest-exec","arguments":{}}"#), "guest-exec");
        assert_eq!(name_of("x"), "a command that is not JSON");
    }
}
