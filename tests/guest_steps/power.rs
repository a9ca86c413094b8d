//! A guest's life: frozen, rebooted, shut down, silent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use labbuild::backend::agent::{Agent, AgentError, ExecRequest, Shutdown};

use super::live::{LiveGuest, connect, guest, output};

#[tokio::test]
async fn freeze_and_thaw() {
    let turn = guest(true).await;
    let agent = &turn.agent;
    assert!(agent.freeze().await.unwrap() >= 1);
    assert!(agent.is_frozen().await.unwrap());
    let refused = agent.exec(ExecRequest::argv(["true"]), |_, _| {}).await.unwrap_err();
    agent.thaw().await.unwrap();
    assert!(matches!(refused, AgentError::Refused { .. }), "{refused}");
    assert!(!agent.is_frozen().await.unwrap());
    assert_eq!(output(agent, "echo warm").await, "warm");
}

#[tokio::test]
async fn the_clock_and_the_keys_are_set() {
    let turn = guest(true).await;
    let agent = &turn.agent;
    agent.set_time(1_700_000_000).await.unwrap();
    let now: u64 = output(agent, "date +%s").await.parse().unwrap();
    assert!((1_700_000_000..1_700_000_060).contains(&now), "{now}");
    let host = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    agent.set_time(host.as_secs()).await.unwrap();
    agent.ssh_authorized_keys("root", &["ssh-ed25519 AAAA test@lab".into()]).await.unwrap();
    let script = "cat ~/.ssh/authorized_keys; stat -c %a ~/.ssh ~/.ssh/authorized_keys";
    assert_eq!(output(agent, script).await, "ssh-ed25519 AAAA test@lab\n700\n600");
}

#[tokio::test]
async fn a_reboot_is_a_new_boot() {
    let turn = guest(true).await;
    let agent = &turn.agent;
    let before = agent.boot_id().await.unwrap();
    output(agent, "touch /run/of-this-boot").await;
    let start = Instant::now();
    agent.reboot_and_wait(Duration::from_secs(240)).await.unwrap();
    eprintln!("agent again after {:?}", start.elapsed());
    assert_ne!(agent.boot_id().await.unwrap(), before);
    let state = agent.wait_booted(Duration::from_secs(240)).await.unwrap();
    eprintln!("{state} after {:?}", start.elapsed());
    assert_eq!(
        output(agent, "ls /run/of-this-boot 2>&1 || true").await,
        "ls: cannot access '/run/of-this-boot': No such file or directory"
    );
}

#[tokio::test]
async fn a_command_lost_in_a_reboot_is_an_error() {
    let turn = guest(true).await;
    let request = ExecRequest::script("echo going; systemctl --no-block reboot; sleep 900");
    let start = Instant::now();
    let error = turn.agent.exec(request.timeout(Duration::from_secs(300)), |_, _| {}).await;
    eprintln!("{error:?} after {:?}", start.elapsed());
    match error {
        // A guest that takes long to come back is given up before it can say so.
        Err(AgentError::Lost { .. } | AgentError::Silent { .. }) => {}
        // The guest may have time to end the script and tell.
        Ok(result) => assert!(!result.success()),
        other => panic!("{other:?}"),
    }
    turn.agent.wait_ready(Duration::from_secs(240)).await.unwrap();
}

/// Ends the domain, and starts it again for the tests that follow.
async fn with_new_domain<T>(end: impl AsyncFnOnce(&Agent) -> T) -> T {
    let turn = guest(true).await;
    let connection = connect();
    let name = "one";
    let domain = connection.lookup_domain_by_name(name).unwrap();
    let xml = domain.xml_desc(virt::sys::VIR_DOMAIN_XML_SECURE).unwrap();
    turn.agent.wait_booted(Duration::from_secs(240)).await.unwrap();
    let result = end(&turn.agent).await;
    let _ = domain.destroy();
    connection.create_domain_xml(&xml, 0).unwrap();
    guest_again(name).await;
    result
}

async fn guest_again(name: &str) {
    let domain = connect().lookup_domain_by_name(name).unwrap();
    let agent = Agent::new(Arc::new(LiveGuest { domain }));
    agent.wait_ready(Duration::from_secs(240)).await.unwrap();
}

#[tokio::test]
async fn a_shutdown_is_clean_and_a_command_notices() {
    with_new_domain(async |agent: &Agent| {
        let other = agent.clone();
        let running = tokio::spawn(async move {
            other
                .exec(ExecRequest::script("sleep 500").timeout(Duration::from_secs(600)), |_, _| {})
                .await
        });
        tokio::time::sleep(Duration::from_secs(2)).await;
        let start = Instant::now();
        let how = agent.shutdown_and_wait(Duration::from_secs(180)).await.unwrap();
        eprintln!("{how:?} after {:?}", start.elapsed());
        assert_eq!(how, Shutdown::Clean);
        let error = running.await.unwrap();
        eprintln!("the command that ran: {error:?}");
        assert!(!matches!(&error, Ok(result) if result.success()));
        let error = agent.wait_ready(Duration::from_secs(60)).await.unwrap_err();
        assert_eq!(error.to_string(), "guest is no longer running");
    })
    .await;
}

#[tokio::test]
async fn an_unwilling_guest_is_forced_and_that_is_said() {
    with_new_domain(async |agent: &Agent| {
        // No agent, no hand on the button: the button's event handler and systemd are stopped.
        output(agent, "systemctl mask --runtime poweroff.target systemd-logind.service; systemctl stop systemd-logind || true").await;
        let start = Instant::now();
        let how = agent.shutdown_and_wait(Duration::from_secs(16)).await.unwrap();
        eprintln!("{how:?} after {:?}", start.elapsed());
        assert_eq!(how, Shutdown::Forced);
        assert!(!how.is_clean());
    })
    .await;
}

#[tokio::test]
async fn a_silent_agent_is_not_a_gone_machine() {
    let turn = guest(true).await;
    let stop = "(sleep 1; systemctl stop qemu-guest-agent; sleep 12; systemctl start qemu-guest-agent) >/dev/null 2>&1 </dev/null";
    // In a unit of its own: stopping the agent's unit ends what runs in it.
    output(&turn.agent, &format!("systemd-run --quiet bash -c '{stop}'")).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let error = turn.agent.wait_ready(Duration::from_secs(3)).await.unwrap_err();
    eprintln!("{error}");
    assert!(matches!(error, AgentError::Silent { .. }), "{error:?}");
    turn.agent.wait_ready(Duration::from_secs(60)).await.unwrap();
}
