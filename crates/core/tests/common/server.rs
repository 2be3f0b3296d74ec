//! A `redis-server` of a test's own: free port, own directory, nothing kept, ended when dropped.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;
use std::{env, fs, process, thread};

use super::BOUND;

/// A running server.
pub struct RedisServer {
    child: Child,
    port: u16,
    directory: PathBuf,
    options: Vec<String>,
}

impl RedisServer {
    /// Starts one and waits until it answers; `options` are those of its command line.
    pub fn start(options: &[&str]) -> Self {
        // Somebody else may take the free port first: then the server ends, and another port is tried.
        (0..10).find_map(|_| Self::start_on(free_port(), options)).expect("no redis-server could be started")
    }

    /// Starts one on this port; `None` if somebody else has it.
    pub fn start_on(port: u16, options: &[&str]) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = env::temp_dir().join(format!("concurrency-limit-{}-{number}", process::id()));
        fs::create_dir_all(&directory).expect("the temporary directory can't be written");
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let child = spawn(port, &directory, &options);
        let mut server = Self { child, port, directory, options };
        server.answers().then_some(server)
    }

    /// Ends it as a crash would and starts it again, with what it left on its disk.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(self.port, &self.directory, &self.options);
        assert!(self.answers(), "it doesn't start again");
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn answers(&mut self) -> bool {
        let started = Instant::now();
        while started.elapsed() < BOUND {
            if self.child.try_wait().expect("the server's state").is_some() {
                return false;
            }
            // Any answer will do: a server that wants a password or is loading answers with an error.
            let answer = TcpStream::connect(("127.0.0.1", self.port)).and_then(|mut stream| {
                stream.set_read_timeout(Some(BOUND))?;
                stream.write_all(b"PING\r\n")?;
                stream.read(&mut [0; 1])
            });
            if matches!(answer, Ok(1)) {
                return true;
            }
            thread::yield_now();
        }
        false
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it keeps its files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its address, with `credentials` such as `user:password@` or none.
    pub fn url(&self, credentials: &str) -> String {
        format!("redis://{credentials}127.0.0.1:{}", self.port)
    }

    /// Runs one command on a connection of its own, as the default user.
    pub fn run<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let client = redis::Client::open(self.url("")).expect("the server's address");
        let mut connection = client.get_connection().expect("a connection for the test itself");
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query(&mut connection).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn spawn(port: u16, directory: &Path, options: &[String]) -> Child {
    let fixed = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
    Command::new(env::var_os("REDIS_SERVER_BIN").unwrap_or_else(|| "redis-server".into()))
        .args(["--port", &port.to_string()])
        .args(fixed)
        .arg("--dir")
        .arg(directory)
        .args(options)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server isn't installed")
}

/// A loopback port that nobody listens on.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Whether it runs libraries of functions: since Redis 7.0.
pub fn has_functions(server: &RedisServer) -> bool {
    let client = redis::Client::open(server.url("")).expect("the server's address");
    let mut connection = client.get_connection().expect("a connection for the test itself");
    redis::cmd("FUNCTION").arg("LIST").exec(&mut connection).is_ok()
}

/// Makes it forget the library, in whichever way it runs it.
pub fn forget_library(server: &RedisServer) {
    let _: String = server.run(&["SCRIPT", "FLUSH"]);
    if has_functions(server) {
        let _: String = server.run(&["FUNCTION", "FLUSH"]);
    }
}

/// How many commands have run the library, or asked for it.
pub fn library_commands(server: &RedisServer) -> u64 {
    let stats: String = server.run(&["INFO", "commandstats"]);
    let calls = |line: &str| {
        let names = ["cmdstat_fcall:calls=", "cmdstat_evalsha:calls="];
        names.iter().find_map(|name| line.strip_prefix(name))?.split(',').next()?.parse::<u64>().ok()
    };
    stats.lines().filter_map(calls).sum()
}
