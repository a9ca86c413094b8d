//! The door into a lab's network: the lab's first process listens on a Unix socket, is told an
//! address, connects to it from inside, and passes bytes both ways. No uplink is needed, and
//! guests see the lab's own host address as their peer.

use std::net::SocketAddrV4;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::time::timeout;

use super::error::SandboxError;

/// How long a guest may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// The longest line that either side sends before the bytes of the connection itself.
const LINE: usize = 512;

/// Serves the door for ever (inside the lab).
pub(super) async fn serve(listener: UnixListener) {
    loop {
        match listener.accept().await {
            // A connection that breaks is its two ends' business.
            Ok((stream, _)) => drop(tokio::spawn(pass(stream))),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn pass(mut client: UnixStream) -> std::io::Result<()> {
    let line = read_line(&mut client).await?;
    match dial(&line).await {
        Ok(mut guest) => {
            client.write_all(b"ok\n").await?;
            copy_bidirectional(&mut client, &mut guest).await.map(drop)
        }
        Err(reason) => client.write_all(format!("{reason}\n").as_bytes()).await,
    }
}

async fn dial(address: &str) -> Result<TcpStream, String> {
    let address: SocketAddrV4 =
        address.parse().map_err(|_| format!("`{address}` is not an address and port"))?;
    match timeout(CONNECT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err(format!("no answer within {} s", CONNECT.as_secs())),
    }
}

/// Connects to an address in the lab's network through the door at `socket` (outside).
pub(super) async fn connect(
    socket: &Path,
    address: SocketAddrV4,
) -> Result<UnixStream, SandboxError> {
    let refused = |reason: String| SandboxError::Network {
        doing: format!("connect to {address} in the lab's network"),
        reason,
    };
    let mut stream = UnixStream::connect(socket).await.map_err(|e| refused(e.to_string()))?;
    let asked = stream.write_all(format!("{address}\n").as_bytes()).await;
    asked.map_err(|e| refused(e.to_string()))?;
    match read_line(&mut stream).await {
        Ok(line) if line == "ok" => Ok(stream),
        Ok(reason) => Err(refused(reason)),
        Err(e) => Err(refused(e.to_string())),
    }
}

/// One line, read byte by byte: what follows it belongs to the connection.
async fn read_line(stream: &mut UnixStream) -> std::io::Result<String> {
    let mut line = Vec::new();
    loop {
        match stream.read_u8().await? {
            b'\n' => return Ok(String::from_utf8_lossy(&line).into_owned()),
            _ if line.len() == LINE => return Err(std::io::ErrorKind::InvalidData.into()),
            byte => line.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::net::TcpListener;

    async fn door() -> (tempfile::TempDir, std::path::PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("relay.sock");
        tokio::spawn(serve(UnixListener::bind(&path).unwrap()));
        (temp, path)
    }

    fn v4(listener: &TcpListener) -> SocketAddrV4 {
        match listener.local_addr().unwrap() {
            std::net::SocketAddr::V4(address) => address,
            other => panic!("{other}"),
        }
    }

    #[tokio::test]
    async fn bytes_pass_both_ways_and_a_greeting_is_not_lost() {
        let (_temp, socket) = door().await;
        let guest = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = v4(&guest);
        tokio::spawn(async move {
            let (mut stream, _) = guest.accept().await.unwrap();
            stream.write_all(b"greeting\n").await.unwrap();
            let mut question = String::new();
            stream.read_to_string(&mut question).await.unwrap();
            stream.write_all(question.to_uppercase().as_bytes()).await.unwrap();
        });
        let mut stream = connect(&socket, address).await.unwrap();
        stream.write_all(b"question").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "greeting\nQUESTION");
    }

    #[tokio::test]
    async fn a_closed_port_is_an_error_with_the_address() {
        let (_temp, socket) = door().await;
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = v4(&closed);
        drop(closed);
        let error = connect(&socket, address).await.unwrap_err().to_string();
        assert!(error.contains(&address.to_string()) && error.contains("refused"), "{error}");
    }
}
