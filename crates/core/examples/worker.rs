//! A worker that does jobs while at most three do so on all machines, and stops a job whose lease is lost.
//!
//! `REDIS_URL=redis://localhost cargo run --example worker`; start several of them.

use std::process::ExitCode;
use std::time::Duration;

use concurrency_limit::{Error, Lease, LimitConfig, Limiter, Loss, Options};

const JOBS: u32 = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Ok(url) = std::env::var("REDIS_URL") else {
        eprintln!("REDIS_URL names no Redis");
        return ExitCode::from(2);
    };
    match run(url).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(url: String) -> Result<(), Error> {
    let limiter =
        Limiter::with_options(&Options { client_name: Some("worker".into()), ..Options::new(url) })?;
    let config = LimitConfig {
        label: Some(format!("process {}", std::process::id())),
        limit_timeout: Some(Duration::from_secs(30)),
        ..LimitConfig::new("example:worker", 3)
    };
    for number in 1..=JOBS {
        let lease = limiter.acquire(&config).await?;
        match job(&lease).await {
            Ok(()) => {
                println!("job {number} is done in slot {}, token {:?}", lease.slot(), lease.fencing_token())
            }
            Err(loss) => println!("job {number} was stopped: {loss}"),
        }
        lease.release().await;
    }
    limiter.close().await;
    Ok(())
}

async fn job(lease: &Lease) -> Result<(), Loss> {
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(50)) => Ok(()), // the work
        loss = lease.lost() => Err(loss),
    }
}
