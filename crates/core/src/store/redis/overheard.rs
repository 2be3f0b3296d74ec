//! A socket that remembers how the other end began: whoever has no room for one more client says so in a line and hangs
//! up, and the client library only notices that it was hung up on.
//!
//! Reads no reply: it looks only whether the first line is an error.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use redis::{ErrorKind, RedisError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::address::Socket;
use crate::sync::lock;

/// So much of the first line is kept.
const MOST: usize = 256;

/// What stands before the words of a server that hung up.
pub(super) const HUNG_UP: &str = "the server hung up and said ";

/// How a server begins that speaks TLS with one who doesn't, and what is said then.
const TLS_ALERT: [u8; 2] = [0x15, 0x03];
pub(super) const SPEAKS_TLS: &str = "the server speaks TLS: write rediss: or tls: true";
const MAY_SPEAK_TLS: &str = "the server hung up without a word; if it speaks TLS, write rediss: or tls: true";

/// The first line that came, as far as it has come.
#[derive(Clone, Default)]
pub(super) struct FirstLine(Arc<Mutex<Vec<u8>>>);

impl FirstLine {
    /// The error of a connection that stood and was dropped, with the words of the server if it began with an error.
    pub(super) fn explain(&self, error: RedisError, is_secure: bool) -> RedisError {
        let line = self.bytes();
        if line.starts_with(&TLS_ALERT) {
            return io::Error::new(io::ErrorKind::InvalidData, SPEAKS_TLS).into();
        }
        let refused = error.kind() == ErrorKind::AuthenticationFailed;
        if !error.is_connection_dropped() && !refused {
            return error;
        }
        let words = line.strip_prefix(b"-").and_then(|line| line.split(|byte| *byte == b'\r').next());
        match words {
            // The library drops them. Behind these come the command's own words, which may be the password.
            Some(words) if refused => {
                let text = String::from_utf8_lossy(words);
                let text = text.split(", with args").next().unwrap_or_default().to_owned();
                (ErrorKind::AuthenticationFailed, "refused", text).into()
            }
            Some(words) => {
                let text = format!("{HUNG_UP}{}", String::from_utf8_lossy(words));
                io::Error::new(io::ErrorKind::ConnectionReset, text).into()
            }
            None if line.is_empty() && !is_secure && !refused => {
                io::Error::new(io::ErrorKind::ConnectionReset, MAY_SPEAK_TLS).into()
            }
            None => error,
        }
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        lock(&self.0)
    }
}

/// The socket.
pub(super) struct Overheard {
    socket: Socket,
    first: FirstLine,
    /// The line is whole, or can't be an error.
    done: bool,
    deaf: bool,
}

impl Overheard {
    pub(super) fn new(socket: Socket, first: FirstLine) -> Self {
        Self { socket, first, done: false, deaf: false }
    }

    fn hear(&mut self, bytes: &[u8]) {
        let mut line = self.first.bytes();
        let room = MOST.saturating_sub(line.len());
        line.extend(&bytes[..bytes.len().min(room)]);
        self.done =
            line.first().is_some_and(|first| *first != b'-') || line.contains(&b'\n') || line.len() >= MOST;
    }

    /// The other end takes nothing more. What it said before that is still to be read, and its end after it.
    fn written(&mut self, result: Poll<io::Result<usize>>, all: usize) -> Poll<io::Result<usize>> {
        result.map(|result| {
            self.deaf |= result.is_err();
            Ok(result.unwrap_or(all))
        })
    }
}

impl AsyncRead for Overheard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.socket).poll_read(context, buffer);
        if !self.done && buffer.filled().len() > before {
            let bytes = buffer.filled()[before..].to_vec();
            self.hear(&bytes);
        }
        result
    }
}

impl AsyncWrite for Overheard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.deaf {
            return Poll::Ready(Ok(bytes.len()));
        }
        let result = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.written(result, bytes.len())
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.deaf {
            return Poll::Ready(Ok(()));
        }
        let result = Pin::new(&mut self.socket).poll_flush(context);
        self.written(result.map_ok(|()| 0), 0).map_ok(drop)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
