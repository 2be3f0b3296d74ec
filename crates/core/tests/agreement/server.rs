//! A redis-server of the test's own: free loopback port, own directory, ended by its process id.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use concurrency_limit::store::redis::library::Way;

pub(crate) struct Server {
    child: Child,
    directory: PathBuf,
    pub(crate) connection: redis::Connection,
}

impl Server {
    pub(crate) fn start() -> Self {
        // Another test's server may take the free port first, and answer in its place.
        (0..10).map(|_| Self::start_once()).find_map(Self::if_own).expect("no redis-server could be started")
    }

    fn if_own(mut self) -> Option<Self> {
        let info: String = self.ask(&["INFO", "server"]);
        let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")).expect("a process id");
        (pid == self.child.id().to_string()).then_some(self)
    }

    fn start_once() -> Self {
        let program = std::env::var("REDIS_SERVER_BIN").unwrap_or_else(|_| "redis-server".to_owned());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        drop(listener);
        let directory = std::env::temp_dir().join(format!("agreement-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let child = Command::new(program)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(&directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        let connection = connect(port);
        Self { child, directory, connection }
    }

    /// The ways in which it runs the library, which is loaded by `load`: as functions only since 7.0.
    pub(crate) fn ways(&mut self, load: impl Fn(Way) -> Option<redis::Cmd>) -> Vec<Way> {
        let info: String = self.ask(&["INFO", "server"]);
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).expect("a version");
        let ways = if version.starts_with("6.") { &[Way::Script][..] } else { &[Way::Function, Way::Script] };
        for way in ways {
            load(*way).expect("something to load").exec(&mut self.connection).expect("loaded");
        }
        ways.to_vec()
    }

    /// The library is as it is on a server that has just started.
    #[allow(dead_code, reason = "only some of the tests go back")]
    pub(crate) fn forget_library(&mut self, way: Way, load: impl Fn(Way) -> Option<redis::Cmd>) {
        if way == Way::Function {
            self.ask::<redis::Value>(&["FUNCTION", "FLUSH"]);
            load(way).expect("something to load").exec(&mut self.connection).expect("loaded");
        }
    }

    pub(crate) fn ask<T: redis::FromRedisValue>(&mut self, words: &[&str]) -> T {
        let mut cmd = redis::Cmd::new();
        words.iter().for_each(|word| {
            cmd.arg(*word);
        });
        cmd.query(&mut self.connection).expect("an answer")
    }
}

fn connect(port: u16) -> redis::Connection {
    let client = redis::Client::open(("127.0.0.1", port)).expect("an address");
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match client.get_connection() {
            Ok(connection) => return connection,
            Err(error) => assert!(Instant::now() < until, "redis-server doesn't answer: {error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
