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
    _tasks: JoinSet<()>,
}

impl Gate {
    /// An open gate in front of the server on this port.
    pub async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let (open, is_open) = watch::channel(true);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server =
                    TcpStream::connect(("127.0.0.1", server)).await.expect("the server behind the gate");
                carry(client, server, is_open.clone()).await;
            }
        });
        Self { port, open, _tasks: tasks }
    }

    /// The address of the gate.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
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

/// Carries bytes both ways until either side ends.
async fn carry(client: TcpStream, server: TcpStream, mut is_open: watch::Receiver<bool>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let ended = Arc::new(Notify::new());
    let upwards = async {
        // Either end closing is how a test ends.
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
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
