//! Asking a living keeper for something: one line of JSON each way over its socket. The keeper
//! owns the forwarded ports, so that they outlive the command that asked for them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::error::SandboxError;
use super::relay;

/// How long whoever asks may take to say what.
const PATIENCE: Duration = Duration::from_secs(1);

/// What can be asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Request {
    /// Forward a port of the host's loopback address into the lab; port 0: any free one.
    Forward { host_port: u16, to: SocketAddrV4 },
    /// Forward this port no longer. Connections that are open stay.
    End { host_port: u16 },
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Reply {
    /// The port on the host.
    Forwarded(u16),
    /// It is not forwarded any more; perhaps it never was.
    Ended,
    /// Why not.
    Refused(String),
}

impl Reply {
    /// Why this is not what was asked for.
    fn reason(self) -> String {
        match self {
            Reply::Refused(reason) => reason,
            other => format!("the keeper answers something else: {other:?}"),
        }
    }
}

/// The ports a keeper forwards.
pub(super) struct Control {
    relay: PathBuf,
    ports: BTreeMap<u16, Port>,
}

/// A forwarded port. Dropping it closes the port.
struct Port {
    to: SocketAddrV4,
    listener: JoinHandle<()>,
}

impl Drop for Port {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Control {
    /// Nothing forwarded yet; connections go through the door at `relay`.
    pub fn new(relay: PathBuf) -> Self {
        Control { relay, ports: BTreeMap::new() }
    }

    /// Serves requests for ever, one after the other: each takes no time.
    pub async fn serve(mut self, listener: UnixListener) {
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                // Who asks and does not wait for the answer does not want it.
                let _ = self.answer(stream).await;
            }
        }
    }

    async fn answer(&mut self, mut stream: UnixStream) -> std::io::Result<()> {
        let mut text = Vec::new();
        let mut bounded = (&mut stream).take(4096);
        timeout(PATIENCE, bounded.read_to_end(&mut text)).await??;
        let reply = match serde_json::from_slice(&text) {
            Ok(Request::Forward { host_port, to }) => self.forward(host_port, to).await,
            Ok(Request::End { host_port }) => self.end(host_port).await,
            Err(e) => Reply::Refused(format!("the request cannot be understood: {e}")),
        };
        stream.write_all(&serde_json::to_vec(&reply)?).await
    }

    async fn forward(&mut self, host_port: u16, to: SocketAddrV4) -> Reply {
        if let Some(other) = self.ports.get(&host_port) {
            return match other.to == to {
                true => Reply::Forwarded(host_port),
                false => Reply::Refused(format!("the port is already forwarded to {}", other.to)),
            };
        }
        match self.listen(host_port, to).await {
            Ok(port) => Reply::Forwarded(port),
            Err(e) => Reply::Refused(e.to_string()),
        }
    }

    async fn listen(&mut self, host_port: u16, to: SocketAddrV4) -> std::io::Result<u16> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, host_port)).await?;
        let port = listener.local_addr()?.port();
        let listener = tokio::spawn(pass_on(listener, self.relay.clone(), to));
        self.ports.insert(port, Port { to, listener });
        Ok(port)
    }

    /// Answers when the port is free.
    async fn end(&mut self, host_port: u16) -> Reply {
        if let Some(mut port) = self.ports.remove(&host_port) {
            port.listener.abort();
            let _ = (&mut port.listener).await;
        }
        Reply::Ended
    }
}

async fn pass_on(listener: TcpListener, relay: PathBuf, to: SocketAddrV4) {
    loop {
        let Ok((mut client, _)) = listener.accept().await else { continue };
        let relay = relay.clone();
        tokio::spawn(async move {
            if let Ok(mut guest) = relay::connect(&relay, to).await {
                let _ = copy_bidirectional(&mut client, &mut guest).await;
            }
        });
    }
}

/// Asks the keeper at `socket` to forward a port; gives the port on the host.
pub(super) async fn forward(
    socket: &Path,
    host_port: u16,
    to: SocketAddrV4,
) -> Result<u16, SandboxError> {
    let refused = |reason: String| SandboxError::Network {
        doing: format!("forward port {host_port} of 127.0.0.1 to {to}"),
        reason,
    };
    match ask(socket, &Request::Forward { host_port, to }).await {
        Ok(Reply::Forwarded(port)) => Ok(port),
        Ok(other) => Err(refused(other.reason())),
        Err(e) => Err(refused(e.to_string())),
    }
}

/// Asks the keeper at `socket` to forward a port no longer.
pub(super) async fn end(socket: &Path, host_port: u16) -> Result<(), SandboxError> {
    let refused = |reason: String| SandboxError::Network {
        doing: format!("forward port {host_port} of 127.0.0.1 no longer"),
        reason,
    };
    match ask(socket, &Request::End { host_port }).await {
        Ok(Reply::Ended) => Ok(()),
        Ok(other) => Err(refused(other.reason())),
        Err(e) => Err(refused(e.to_string())),
    }
}

async fn ask(socket: &Path, request: &Request) -> std::io::Result<Reply> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(&serde_json::to_vec(request)?).await?;
    stream.shutdown().await?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await?;
    Ok(serde_json::from_slice(&text)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_port_is_forwarded_once_and_only_to_one_place() {
        let temp = tempfile::tempdir().unwrap();
        let socket = temp.path().join("keeper.sock");
        let control = Control::new(temp.path().join("relay.sock"));
        tokio::spawn(control.serve(UnixListener::bind(&socket).unwrap()));
        let ssh = "172.16.251.11:22".parse().unwrap();
        let port = forward(&socket, 0, ssh).await.unwrap();
        assert_ne!(port, 0);
        assert_eq!(forward(&socket, port, ssh).await.unwrap(), port);
        let other = "172.16.251.12:22".parse().unwrap();
        let error = forward(&socket, port, other).await.unwrap_err().to_string();
        assert!(error.contains("already forwarded to 172.16.251.11:22"), "{error}");
    }

    #[tokio::test]
    async fn a_port_that_is_forwarded_no_longer_is_free() {
        let temp = tempfile::tempdir().unwrap();
        let socket = temp.path().join("keeper.sock");
        let control = Control::new(temp.path().join("relay.sock"));
        tokio::spawn(control.serve(UnixListener::bind(&socket).unwrap()));
        let port = forward(&socket, 0, "172.16.251.11:22".parse().unwrap()).await.unwrap();
        let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap_err();
        assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
        for _ in 0..2 {
            end(&socket, port).await.unwrap();
            std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
        let other = "172.16.251.12:22".parse().unwrap();
        assert_eq!(forward(&socket, port, other).await.unwrap(), port);
    }
}
