//! Ports that the host offers, on a lab that is up already: opened, kept, moved and closed without a
//! step.

use std::net::{SocketAddr, TcpListener};

use super::live::{guest, output};
use super::support::field;
use super::support::mini::{Mini, OWN_ADDRESS, banner};

/// The recipe that other tests find afterwards.
struct AsBefore(Mini);

impl Drop for AsBefore {
    fn drop(&mut self) {
        self.0.expose(&[]);
    }
}

#[tokio::test]
async fn exposed_ports_follow_the_recipe() {
    let turn = guest(true).await;
    output(&turn.agent, OWN_ADDRESS).await;
    let AsBefore(mini) = &AsBefore(Mini::kept("steps"));
    let up = ["up", &mini.recipe(), "--name", "steps"];
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();

    mini.expose(&[("login", "")]);
    mini.labbuild.ok(&up);
    let login = mini.exposed("login");
    assert!(banner(login).unwrap().starts_with("SSH-2.0-"));
    // It stays where it is, whatever else comes.
    mini.expose(&[("web", &format!("host-port: {}, path: /x", free.port())), ("login", "")]);
    let events = mini.labbuild.json(&up);
    assert_eq!(field(&events, "step-started", "step"), Vec::<String>::new());
    assert_eq!(mini.exposed("login"), login);
    let status = mini.labbuild.ok(&["status"]);
    assert!(status.contains(&format!("\nweb: http://{free}/x\n")), "{status}");
    assert!(banner(free).unwrap().starts_with("SSH-2.0-"));
    // Another port is wanted for the one, the other is not exposed any more.
    let other = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    mini.expose(&[("web", &format!("host-port: {}", other.port()))]);
    mini.labbuild.ok(&up);
    assert_eq!(mini.exposed("web"), other);
    assert!(banner(other).unwrap().starts_with("SSH-2.0-"));
    for closed in [login, free] {
        assert!(banner(closed).is_err(), "{closed} is still open");
    }
    close_all(mini, &up, other);
}

fn close_all(mini: &Mini, up: &[&str], last: SocketAddr) {
    mini.expose(&[]);
    mini.labbuild.ok(up);
    assert!(banner(last).is_err());
    assert!(!mini.labbuild.ok(&["status"]).contains("127.0.0.1"));
}
