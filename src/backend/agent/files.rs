//! Files of the guest: read, written whole or not at all, in pieces that fit an agent call.

use qapi::qga::{guest_file_close, guest_file_open, guest_file_write};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::request::ExecRequest;
use super::tail::Tail;
use super::{Agent, AgentError, nonce};

/// How much one write may carry: a request of more than about 256 KiB never gets an answer.
pub(super) const WRITE_CHUNK: usize = 64 * 1024;

const PLACE: &str = include_str!("place.sh");

/// Whom a written file belongs to and who may do what with it. What is not given stays as it
/// was; a new file is root's, 0644.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileMeta {
    /// Octal mode.
    pub mode: Option<u32>,
    /// `user[:group]`.
    pub owner: Option<String>,
}

impl Agent {
    /// A whole file, `limit` bytes at most; `None` if there is no such file.
    pub async fn read_file(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, AgentError> {
        let mut tail = Tail::new(path.to_owned());
        let read = self.read_all(&mut tail, path, limit).await;
        tail.close(self).await;
        match read {
            Ok(bytes) => Ok(Some(bytes)),
            // The agent's words depend on its language; the file system's answer does not.
            Err(e @ AgentError::Refused { .. }) => match self.exists(path).await? {
                true => Err(e),
                false => Ok(None),
            },
            Err(e) => Err(e),
        }
    }

    async fn read_all(
        &self,
        tail: &mut Tail,
        path: &str,
        limit: u64,
    ) -> Result<Vec<u8>, AgentError> {
        let mut all = Vec::new();
        loop {
            let part = tail.read(self).await?;
            if part.is_empty() {
                return Ok(all);
            }
            all.extend_from_slice(&part);
            if all.len() as u64 > limit {
                return Err(self.bad_file(path, format!("longer than {limit} bytes")));
            }
        }
    }

    /// Whether there is anything at `path` (after symbolic links).
    pub async fn exists(&self, path: &str) -> Result<bool, AgentError> {
        let result = self.exec(ExecRequest::argv(["test", "-e", path]), |_, _| {}).await?;
        Ok(result.success())
    }

    /// Makes `bytes` the content of a file, by a temporary file beside it and a rename. Missing
    /// folders are made; of a symbolic link the target is written; a file that is already so is
    /// left alone. Says whether anything changed.
    pub async fn write_file(
        &self,
        path: &str,
        bytes: &[u8],
        meta: &FileMeta,
    ) -> Result<bool, AgentError> {
        self.write_from(path, bytes, meta).await
    }

    /// As [`write_file`](Self::write_file), from a reader, so that memory does not bound it.
    pub async fn write_from(
        &self,
        path: &str,
        mut bytes: impl AsyncRead + Unpin + Send,
        meta: &FileMeta,
    ) -> Result<bool, AgentError> {
        let suffix = format!(".labbuild-{}", nonce());
        let first = read_chunk(&mut bytes).await.map_err(|e| self.bad_file(path, e.to_string()))?;
        let small = first.len() < WRITE_CHUNK;
        let (verb, stdin) = if small { ("all", first.clone()) } else { ("begin", Vec::new()) };
        let done = self.place(verb, path, &suffix, meta, stdin).await?;
        if small {
            return Ok(done == "changed");
        }
        let temporary = done;
        let sent = self.send(&temporary, first, &mut bytes).await;
        let verb = if sent.is_ok() { "end" } else { "drop" };
        let done = self.place(verb, path, &suffix, meta, Vec::new()).await;
        sent?;
        Ok(done? == "changed")
    }

    /// Appends the first chunk and all others to `temporary`.
    async fn send(
        &self,
        temporary: &str,
        first: Vec<u8>,
        rest: &mut (impl AsyncRead + Unpin + Send),
    ) -> Result<(), AgentError> {
        let handle = self.open_for_writing(temporary, "a").await?;
        let sent = self.send_chunks(temporary, handle, first, rest).await;
        let closed = self.call(guest_file_close { handle }).await;
        sent?;
        closed.map(drop)
    }

    async fn send_chunks(
        &self,
        path: &str,
        handle: i64,
        mut chunk: Vec<u8>,
        rest: &mut (impl AsyncRead + Unpin + Send),
    ) -> Result<(), AgentError> {
        loop {
            if !chunk.is_empty() {
                self.write_chunk(path, handle, chunk).await?;
            }
            chunk = read_chunk(rest).await.map_err(|e| self.bad_file(path, e.to_string()))?;
            if chunk.is_empty() {
                return Ok(());
            }
        }
    }

    /// Puts a large script or input where its runner will find it.
    pub(super) async fn upload(&self, path: &str, bytes: &[u8]) -> Result<(), AgentError> {
        let script = r#"umask 077; mkdir -p /run/labbuild; chmod 711 /run/labbuild; : >"$1""#;
        let request = ExecRequest::script_with(script, [path]);
        // Small itself: this goes no deeper.
        Box::pin(self.helper(request)).await?;
        self.send(path, Vec::new(), &mut &bytes[..]).await
    }

    async fn open_for_writing(&self, path: &str, mode: &str) -> Result<i64, AgentError> {
        let open = guest_file_open { path: path.to_owned(), mode: Some(mode.to_owned()) };
        self.call(open).await
    }

    async fn write_chunk(&self, path: &str, handle: i64, chunk: Vec<u8>) -> Result<(), AgentError> {
        let wanted = chunk.len() as i64;
        let written = self.call(guest_file_write { handle, buf_b64: chunk, count: None }).await?;
        if written.count == wanted {
            return Ok(());
        }
        Err(self.bad_file(path, format!("only {} of {wanted} bytes written", written.count)))
    }

    /// One step of `place.sh`; gives back the one line it prints.
    async fn place(
        &self,
        verb: &str,
        path: &str,
        suffix: &str,
        meta: &FileMeta,
        stdin: Vec<u8>,
    ) -> Result<String, AgentError> {
        let mode = meta.mode.map(|m| format!("{m:04o}")).unwrap_or_default();
        let owner = meta.owner.clone().unwrap_or_default();
        let args = [verb, path, suffix, &mode, &owner];
        let request = ExecRequest::script_with(PLACE, args).stdin(stdin).cwd("/");
        match self.helper(request.timeout(super::CALL * 10)).await {
            Ok(line) => Ok(line.trim_end().to_owned()),
            Err(AgentError::NotStarted { reason, .. }) => Err(self.bad_file(path, reason)),
            Err(e) => Err(e),
        }
    }

    pub(super) fn bad_file(&self, path: &str, reason: String) -> AgentError {
        AgentError::File { machine: self.name(), path: path.to_owned(), reason }
    }
}

/// The next chunk, full unless the end has come.
async fn read_chunk(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut chunk = Vec::with_capacity(WRITE_CHUNK);
    from.take(WRITE_CHUNK as u64).read_to_end(&mut chunk).await?;
    Ok(chunk)
}
