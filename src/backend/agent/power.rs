//! A guest's life: freezing its file systems, its clock, a new boot, the end.

use std::time::{Duration, Instant};

use qapi::qga::{
    GuestFsfreezeStatus, guest_fsfreeze_freeze, guest_fsfreeze_status, guest_fsfreeze_thaw,
};

use super::request::ExecRequest;
use super::{Agent, AgentError};

/// How a machine was brought to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Asked through the agent, it shut down.
    Clean,
    /// Asked by the power button, it shut down.
    CleanByButton,
    /// It did not shut down in time; the plug was pulled. Its disk is as after a power cut.
    Forced,
}

impl Shutdown {
    /// Whether the guest ended by itself.
    pub fn is_clean(self) -> bool {
        self != Shutdown::Forced
    }
}

/// The kernel's name for this boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Works with and without logind, and returns before the agent goes away.
const POWER: &str = r#"
if command -v systemctl >/dev/null && [ -d /run/systemd/system ]; then
    exec systemctl --no-block "$1"
fi
case $1 in
reboot) exec shutdown -r now ;;
*) exec shutdown -h -P now ;;
esac
"#;
/// Waits for the end of start-up. systemd tells when that is, since version 240; before, the option
/// means nothing here or is unknown. To ask over and over costs an emulated machine time that its
/// services want.
const BOOTED: &str = r#"
[ -d /run/systemd/system ] || exit 0
wait=
case $(systemctl --help) in *--wait*) wait=--wait ;; esac
while state=$(systemctl is-system-running $wait 2>/dev/null || true)
      [[ $state =~ ^(initializing|starting|unknown|)$ ]]
do sleep 2; done
echo "$state"
"#;
const AUTHORIZED_KEYS: &str = r#"
home=$(getent passwd "$1" | cut -d: -f6)
if [[ -z $home ]]; then echo "there is no user $1 in the guest" >&2; exit 1; fi
group=$(id -g "$1")
install -d -m 700 -o "$1" -g "$group" "$home/.ssh"
keys=$home/.ssh/authorized_keys
cat >"$keys.labbuild"
chown "$1:$group" "$keys.labbuild"
chmod 600 "$keys.labbuild"
mv -f "$keys.labbuild" "$keys"
"#;

impl Agent {
    /// Freezes all file systems of the guest; says how many. Until [`thaw`](Self::thaw) the
    /// agent does little else.
    pub async fn freeze(&self) -> Result<u64, AgentError> {
        match self.call_within(guest_fsfreeze_freeze {}, Duration::from_secs(60)).await {
            Ok(count) => Ok(count.unsigned_abs()),
            Err(e) => {
                // Some may be frozen already: a frozen guest is worse than a failed freeze.
                let _ = self.call(guest_fsfreeze_thaw {}).await;
                Err(e)
            }
        }
    }

    /// Thaws all file systems; none frozen is fine.
    pub async fn thaw(&self) -> Result<u64, AgentError> {
        let count = self.call_within(guest_fsfreeze_thaw {}, Duration::from_secs(60)).await?;
        Ok(count.unsigned_abs())
    }

    /// Whether the guest's file systems are frozen.
    pub async fn is_frozen(&self) -> Result<bool, AgentError> {
        let status = self.call(guest_fsfreeze_status {}).await?;
        Ok(status == GuestFsfreezeStatus::frozen)
    }

    /// The kernel's name for the present boot.
    pub async fn boot_id(&self) -> Result<String, AgentError> {
        let bytes = self.read_file(BOOT_ID, 4096).await?;
        let bytes = bytes.ok_or_else(|| self.bad_file(BOOT_ID, "is missing".to_owned()))?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// Reboots; comes back when a new kernel runs and its agent answers.
    pub async fn reboot_and_wait(&self, timeout: Duration) -> Result<(), AgentError> {
        let start = Instant::now();
        let before = self.boot_id().await?;
        self.power("reboot").await?;
        while start.elapsed() < timeout {
            tokio::time::sleep(Duration::from_millis(500)).await;
            match self.boot_id_soon().await {
                Ok(now) if now != before => return Ok(()),
                // Still going down, or not up yet.
                Ok(_) | Err(AgentError::Silent { .. } | AgentError::Refused { .. }) => {}
                Err(AgentError::Garbage { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        let what = "did not reboot".to_owned();
        Err(AgentError::Late { machine: self.name(), what, after: timeout })
    }

    /// As [`boot_id`](Self::boot_id), without patience: the agent is about to vanish.
    async fn boot_id_soon(&self) -> Result<String, AgentError> {
        self.ping(Duration::from_secs(2)).await?;
        self.boot_id().await
    }

    /// Waits until start-up is over; says in which state (`running`, `degraded`, …).
    pub async fn wait_booted(&self, timeout: Duration) -> Result<String, AgentError> {
        let state = self.helper(ExecRequest::script(BOOTED).timeout(timeout)).await;
        match state {
            Ok(state) => Ok(state.trim().to_owned()),
            Err(AgentError::NotStarted { machine, .. }) => {
                let what = "did not finish starting its services".to_owned();
                Err(AgentError::Late { machine, what, after: timeout })
            }
            Err(e) => Err(e),
        }
    }

    /// Shuts down: through the agent, then by the power button (after half of `timeout`), then
    /// by pulling the plug. An agent that does not answer is no error here.
    pub async fn shutdown_and_wait(&self, timeout: Duration) -> Result<Shutdown, AgentError> {
        let start = Instant::now();
        match self.power("poweroff").await {
            Err(AgentError::Gone { .. }) => return Ok(Shutdown::Clean),
            Ok(()) if self.stops_within(timeout / 2).await? => return Ok(Shutdown::Clean),
            _ => {}
        }
        // A guest without a hand on the button refuses by ignoring it.
        let _ = self.blocking(|guest| guest.request_shutdown()).await;
        if self.stops_within(timeout.saturating_sub(start.elapsed())).await? {
            return Ok(Shutdown::CleanByButton);
        }
        self.blocking(|guest| guest.destroy()).await?;
        Ok(Shutdown::Forced)
    }

    async fn power(&self, verb: &str) -> Result<(), AgentError> {
        self.ping(Duration::from_secs(10)).await?;
        self.fire(POWER, &[verb]).await.map(drop)
    }

    async fn stops_within(&self, timeout: Duration) -> Result<bool, AgentError> {
        let start = Instant::now();
        while self.is_running().await? {
            if start.elapsed() >= timeout {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(true)
    }

    /// Sets the guest's clock (seconds since 1970).
    ///
    /// Not by the agent's own command: that one fails after setting the clock where the guest
    /// has no `hwclock`.
    pub async fn set_time(&self, epoch: u64) -> Result<(), AgentError> {
        let words = ["date".to_owned(), "-u".to_owned(), "-s".to_owned(), format!("@{epoch}")];
        self.helper(ExecRequest::argv(words)).await.map(drop)
    }

    /// The guest's clock, in seconds since 1970.
    pub async fn time(&self) -> Result<u64, AgentError> {
        let words = ["date".to_owned(), "-u".to_owned(), "+%s".to_owned()];
        let text = self.helper(ExecRequest::argv(words)).await?;
        text.trim().parse().map_err(|_| AgentError::Garbage {
            machine: self.machine().to_owned(),
            command: "date +%s".to_owned(),
            reason: format!("`{}` is no number of seconds", text.trim()),
        })
    }

    /// Makes `keys` (one per line) all that may log in as `user` by key.
    pub async fn ssh_authorized_keys(&self, user: &str, keys: &[String]) -> Result<(), AgentError> {
        let text: String = keys.iter().map(|key| format!("{}\n", key.trim())).collect();
        let request = ExecRequest::script_with(AUTHORIZED_KEYS, [user]).stdin(text);
        self.helper(request).await.map(drop)
    }
}
