//! Following a growing file in the guest by small reads, over restarts of the agent.

use qapi::qga::{
    GuestFileWhence, QGASeek, guest_file_close, guest_file_open, guest_file_read, guest_file_seek,
};

use super::{Agent, AgentError};

/// How much one read may bring; its reply must stay well under libvirt's 2 MiB.
pub(super) const CHUNK: usize = 256 * 1024;

/// A place in a file of the guest. The handle belongs to the agent and may be lost with it; the
/// offset is ours.
#[derive(Debug)]
pub(super) struct Tail {
    path: String,
    handle: Option<i64>,
    /// Whether the agent's position in the file is `offset`: a read whose reply was lost has
    /// moved it.
    sure: bool,
    offset: u64,
}

impl Tail {
    pub(super) fn new(path: String) -> Self {
        Tail { path, handle: None, sure: false, offset: 0 }
    }

    /// The next bytes; none means that this is all for now.
    pub(super) async fn read(&mut self, agent: &Agent) -> Result<Vec<u8>, AgentError> {
        let handle = self.open(agent).await?;
        self.sure = false;
        let read = guest_file_read { handle, count: Some(CHUNK as i64) };
        let part = agent.call(read).await?;
        self.sure = true;
        self.offset += part.buf_b64.len() as u64;
        Ok(part.buf_b64)
    }

    async fn open(&mut self, agent: &Agent) -> Result<i64, AgentError> {
        match self.handle {
            Some(handle) if self.sure => return Ok(handle),
            _ => self.close(agent).await,
        }
        let open = guest_file_open { path: self.path.clone(), mode: Some("r".to_owned()) };
        let handle = agent.call(open).await?;
        self.handle = Some(handle);
        if self.offset > 0 {
            let whence = GuestFileWhence::name(QGASeek::set);
            agent.call(guest_file_seek { handle, offset: self.offset as i64, whence }).await?;
        }
        Ok(handle)
    }

    /// The open handle, to be closed by whoever takes it.
    pub(super) fn take_handle(&mut self) -> Option<i64> {
        self.handle.take()
    }

    pub(super) async fn close(&mut self, agent: &Agent) {
        if let Some(handle) = self.take_handle() {
            // The agent closes what is left when it ends.
            let _ = agent.call(guest_file_close { handle }).await;
        }
    }
}
