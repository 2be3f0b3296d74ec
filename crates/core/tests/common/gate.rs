//! A door between a link and its server: shut, it holds back what the server says and lets it through in one piece
//! later.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

/// A proxy for one connection at a time; ends with its drop.
pub struct Gate {
    port: u16,
    open: watch::Sender<bool>,
    reset: Arc<Notify>,
    _tasks: JoinSet<()>,
}

impl Gate {
    /// An open gate in front of the server on this port.
    pub async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let (open, is_open) = watch::channel(true);
        let reset = Arc::new(Notify::new());
        let is_reset = Arc::clone(&reset);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server =
                    TcpStream::connect(("127.0.0.1", server)).await.expect("the server behind the gate");
                carry(client, server, is_open.clone(), &is_reset).await;
            }
        });
        Self { port, open, reset, _tasks: tasks }
    }

    /// The address of the gate.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Has the server forget who is at the other end of the connection, which nothing may be under way on.
    pub fn reset(&self) {
        self.reset.notify_one();
    }

    /// From now on the server's words are held back.
    pub fn shut(&self) {
        self.open.send_replace(false);
    }

    /// Lets through what was held back, and what follows.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

/// What the server says when it's told to forget who is there.
const RESET_REPLY: &[u8] = b"+RESET\r\n";

/// Carries bytes both ways until either side ends.
async fn carry(client: TcpStream, server: TcpStream, mut is_open: watch::Receiver<bool>, reset: &Notify) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let ended = Arc::new(Notify::new());
    let upwards = async {
        let mut said = Vec::new();
        loop {
            tokio::select! {
                read = from_client.read_buf(&mut said) => if read.unwrap_or(0) == 0 { break },
                _ = reset.notified() => said.extend(b"*1\r\n$5\r\nRESET\r\n"),
            }
            // Either end closing is how a test ends.
            if to_server.write_all(&said).await.is_err() {
                break;
            }
            said.clear();
        }
        ended.notify_one();
    };
    let downwards = async {
        let mut held = Vec::new();
        loop {
            tokio::select! {
                read = from_server.read_buf(&mut held) => if read.unwrap_or(0) == 0 { return },
                _ = is_open.changed() => {}
                _ = ended.notified() => return,
            }
            // The client has no part in it.
            if held.starts_with(RESET_REPLY) {
                held.drain(..RESET_REPLY.len());
            }
            if *is_open.borrow() && !held.is_empty() {
                if to_client.write_all(&held).await.is_err() {
                    return;
                }
                held.clear();
            }
        }
    };
    tokio::join!(upwards, downwards);
}
