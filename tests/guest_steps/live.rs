//! The guest under test, over plain libvirt.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use labbuild::backend::agent::{Agent, ExecRequest, ExecResult};
use labbuild::backend::{BackendError, Guest};
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::ErrorNumber;

use crate::support::ground;
use crate::support::mini::Mini;

/// The least that a guest is: one domain over one connection.
pub struct LiveGuest {
    pub domain: Domain,
}

impl LiveGuest {
    fn call<T>(
        &self,
        doing: &str,
        result: Result<T, virt::error::Error>,
    ) -> Result<T, BackendError> {
        result.map_err(|e| BackendError::Call { doing: doing.into(), reason: e.message().into() })
    }
}

impl Guest for LiveGuest {
    fn machine(&self) -> &str {
        "guest"
    }

    fn is_running(&self) -> Result<bool, BackendError> {
        match self.domain.is_active() {
            Err(e) if e.code() == virt::enumutil::Enum::Known(ErrorNumber::NoDomain) => Ok(false),
            result => self.call("ask for the domain", result),
        }
    }

    fn agent(&self, command: &str, timeout: Duration) -> Result<String, BackendError> {
        let seconds = timeout.as_secs().max(1) as i32;
        self.domain.qemu_agent_command(command, seconds, 0).map_err(|e| {
            let (machine, reason) = ("guest".to_owned(), e.message().to_owned());
            match e.code() {
                virt::enumutil::Enum::Known(ErrorNumber::AgentCommandFailed) => {
                    BackendError::AgentRefused { machine, command: String::new(), reason }
                }
                _ => BackendError::AgentAbsent { machine, reason },
            }
        })
    }

    fn request_shutdown(&self) -> Result<(), BackendError> {
        let button = virt::sys::VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN;
        self.call("press the button", self.domain.shutdown_flags(button))
    }

    fn destroy(&self) -> Result<(), BackendError> {
        self.call("pull the plug", self.domain.destroy())
    }

    fn snapshot_disk(&self, _: &Path) -> Result<(), BackendError> {
        Err(BackendError::Conflict("no snapshots in this test".into()))
    }

    fn set_time(&self, epoch: u64) -> Result<(), BackendError> {
        self.call("set the clock", self.domain.set_time(epoch as i64, 0, 0))
    }
}

/// URI of a running lab of one machine; the first test starts it, and so does the first after
/// one that ended it. `scripts/test` ends it at last.
fn uri() -> String {
    let mini = Mini::kept("steps");
    mini.labbuild.ok(&["up", &mini.recipe(), "--name", "steps"]);
    mini.labbuild.ok(&["uri", "--name", "steps"]).trim().to_owned()
}

pub fn connect() -> Connect {
    virt::error::clear_error_callback();
    Connect::open(Some(&uri())).unwrap()
}

/// The domain, shared or alone among the processes of this suite; the file is the lock.
pub struct Turn {
    pub agent: Agent,
    _lock: File,
}

pub fn lock(alone: bool) -> File {
    let file = File::create(ground().join("steps.lock")).unwrap();
    if alone {
        file.lock().unwrap()
    } else {
        file.lock_shared().unwrap()
    }
    file
}

pub async fn guest(alone: bool) -> Turn {
    let _lock = tokio::task::spawn_blocking(move || lock(alone)).await.unwrap();
    let domain = connect().lookup_domain_by_name("one").unwrap();
    let agent = Agent::new(Arc::new(LiveGuest { domain }));
    agent.wait_ready(Duration::from_secs(180)).await.unwrap();
    // A disk without an fstab boots read-only.
    output(&agent, "[[ -w /var/tmp ]] || mount -o remount,rw /").await;
    Turn { agent, _lock }
}

pub async fn run(agent: &Agent, script: &str) -> ExecResult {
    agent.exec(ExecRequest::script(script), |_, _| {}).await.unwrap()
}

pub async fn output(agent: &Agent, script: &str) -> String {
    let result = run(agent, script).await;
    assert!(result.success(), "{script}: {result:?}");
    result.stdout.text().trim_end().to_owned()
}

pub async fn wait_for(agent: &Agent, script: &str, wanted: &str) -> String {
    let start = Instant::now();
    loop {
        let got = output(agent, script).await;
        if got == wanted || start.elapsed() > Duration::from_secs(60) {
            return got;
        }
    }
}
