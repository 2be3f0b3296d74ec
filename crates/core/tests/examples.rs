//! The examples run as they are and end by themselves. `cargo test` builds them too; with `--test examples` it doesn't,
//! so `cargo build --examples` in the same profile goes before.

mod common;

use std::path::PathBuf;
use std::process::{Command, Output};

use common::server::RedisServer;

/// Runs an example with this Redis.
fn run(name: &str, redis_url: Option<&str>) -> Output {
    let test = std::env::current_exe().expect("this test's own place");
    let profile = test.ancestors().nth(2).expect("it lies in deps");
    let example: PathBuf =
        profile.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION);
    let mut command = Command::new(&example);
    command.env_remove("REDIS_URL").envs(redis_url.map(|url| ("REDIS_URL", url)));
    command.output().unwrap_or_else(|error| panic!("{}: {error}; cargo build --examples", example.display()))
}

fn lines(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn five_tasks_share_two_slots() {
    let mut told = lines(&run("embedded", None));
    assert!(told.iter().all(|line| line.ends_with("slot 1") || line.ends_with("slot 2")), "{told:?}");
    told.sort();
    assert_eq!(
        told.iter().map(|line| &line[..6]).collect::<Vec<_>>(),
        ["task 1", "task 2", "task 3", "task 4", "task 5"]
    );
}

#[test]
fn a_worker_does_its_jobs_on_redis() {
    let server = RedisServer::start(&[]);
    let told = lines(&run("worker", Some(&server.url(""))));
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|line| line.contains("is done in slot 1, token ")), "{told:?}");
}

#[test]
fn a_worker_without_a_redis_says_so() {
    let output = run("worker", None);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "REDIS_URL names no Redis\n");
}
