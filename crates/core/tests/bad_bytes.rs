//! A server that answers anything at all: the limiter says so within its time-outs, and neither hangs nor grows.
//!
//! The hostile server is a listener of the test's own, or a door in front of a real one that lies after the greeting.
//! What single values and texts make of the parsers is tested beside them.

mod common;

use std::time::{Duration, Instant};

use common::BOUND;
use common::server::RedisServer;
use concurrency_limit::config::{LimitConfig, Options};
use concurrency_limit::error::Error;
use concurrency_limit::limiter::Limiter;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What it says, whatever it's asked.
fn lies() -> Vec<Vec<u8>> {
    let texts: &[&[u8]] = &[
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0\xff\xfe\r\n\r\n\0",
        b"\r\n\r\n\r\n",
        b"+OK\r\n",
        b":1\r\n",
        b"_\r\n",
        b"-ERR no\r\n",
        b"-\r\n",
        b"$-5\r\n",
        b"$5\r\nab",
        b"$x\r\n",
        b"$9223372036854775807\r\n",
        b"$536870911\r\nab",
        b"*-7\r\n",
        b"*3\r\n$2\r\nok\r\n",
        b"*1\r\n$2\r\nok\r\n",
        b"*2\r\n$2\r\nok\r\n:99999999999999999999999\r\n",
        b"*2147483647\r\n",
        b"*9223372036854775807\r\n",
        b"%4611686018427387904\r\n",
        b"~1000000000\r\n:1\r\n",
        b">1000000000\r\n",
        b">3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$3\r\n???\r\n",
        b"=15\r\n",
        b",nan\r\n",
        b"(123456789012345678901234567890\r\n",
        b"#x\r\n",
    ];
    let mut lies: Vec<Vec<u8>> = texts.iter().map(|text| text.to_vec()).collect();
    lies.push(b"*1\r\n".repeat(50_000));
    lies.push(b"+OK\r\n".repeat(10_000));
    lies.push(vec![b'a'; 1 << 20]);
    lies
}

/// What it does after a lie.
#[derive(Debug, Clone, Copy)]
enum Then {
    Waits,
    HangsUp,
}

/// A server that lies; behind the greeting if there is a real one to give it.
struct Liar {
    port: u16,
    _tasks: JoinSet<()>,
}

impl Liar {
    async fn start(lie: Vec<u8>, then: Then, honest_at_first: Option<u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut talks = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let lie = lie.clone();
                talks.spawn(async move {
                    // Either side may end the talk at any time.
                    let _ = talk(client, &lie, then, honest_at_first).await;
                });
            }
        });
        Self { port, _tasks: tasks }
    }
}

async fn talk(client: TcpStream, lie: &[u8], then: Then, honest: Option<u16>) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut asked, mut said) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut server = match honest {
        Some(port) => Some(TcpStream::connect(("127.0.0.1", port)).await?.into_split()),
        None => None,
    };
    loop {
        let heard = async {
            match &mut server {
                Some((from_server, _)) => from_server.read(&mut said).await,
                None => std::future::pending().await,
            }
        };
        let many = tokio::select! {
            many = heard => {
                to_client.write_all(&said[..many?]).await?;
                continue;
            }
            many = from_client.read(&mut asked) => many?,
        };
        if many == 0 {
            return Ok(());
        }
        // A call is what follows the greeting.
        let call = asked[..many].windows(7).any(|word| word == b"acquire");
        match &mut server {
            Some((_, to_server)) if !call => to_server.write_all(&asked[..many]).await?,
            _ => {
                to_client.write_all(lie).await?;
                if matches!(then, Then::HangsUp) {
                    return Ok(());
                }
            }
        }
    }
}

/// How much memory this process has, in MiB, where that is easily said.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1_024
}

async fn asks_a_liar(lie: Vec<u8>, then: Then, honest: Option<u16>) -> Error {
    let shown = String::from_utf8_lossy(&lie[..lie.len().min(40)]).into_owned();
    let liar = Liar::start(lie, then, honest).await;
    let options = Options {
        connect_timeout: Duration::from_millis(400),
        command_timeout: Duration::from_millis(200),
        settle: Duration::ZERO,
        ..Options::new(format!("redis://127.0.0.1:{}", liar.port))
    };
    let limiter = Limiter::with_options(&options).expect("good options");
    let config = LimitConfig { limit_timeout: Some(Duration::from_millis(800)), ..LimitConfig::new("k", 1) };
    let started = Instant::now();
    let answer = tokio::time::timeout(BOUND, limiter.acquire(&config)).await;
    let answer = answer.unwrap_or_else(|_| panic!("no answer to {shown:?}, {then:?}"));
    let error = answer.err().unwrap_or_else(|| panic!("granted by {shown:?}"));
    let expected = matches!(error, Error::Unavailable { .. } | Error::Protocol { .. });
    assert!(expected, "{error:?} from {shown:?}, {then:?}");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?} for {shown:?}, {then:?}", started.elapsed());
    tokio::time::timeout(BOUND, limiter.close()).await.expect("closing is bounded");
    error
}

async fn meets_every_lie(honest: Option<u16>) -> Vec<Error> {
    let before = resident_mib();
    let mut talks = JoinSet::new();
    for lie in lies() {
        for then in [Then::Waits, Then::HangsUp] {
            talks.spawn(asks_a_liar(lie.clone(), then, honest));
        }
    }
    let errors = talks.join_all().await;
    let grown = resident_mib().saturating_sub(before);
    assert!(grown < 256, "{grown} MiB more than before");
    errors
}

#[tokio::test]
async fn a_server_that_is_none_gives_an_error_in_time() {
    meets_every_lie(None).await;
}

#[tokio::test]
async fn a_server_that_lies_after_the_greeting_gives_an_error_in_time() {
    let server = RedisServer::start(&[]);
    // It has the scripts already, so the greeting is short.
    let honest = Limiter::with_options(&Options::new(server.url(""))).expect("good options");
    honest.status("k").await.expect("an answer");
    let errors = meets_every_lie(Some(server.port())).await;
    let understood = errors.iter().filter(|error| matches!(error, Error::Protocol { .. })).count();
    assert!(understood > 5, "the lies came before the first call: {errors:?}");
}
