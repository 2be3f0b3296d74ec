//! Five tasks of one process share two slots of the embedded store; no Redis is needed.
//!
//! `cargo run --example embedded`

use concurrency_limit::{Error, LimitConfig, Limiter};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let limiter = Limiter::new("memory:")?;
    let tasks = (1..=5).map(|number| tokio::spawn(work(limiter.clone(), number))).collect::<Vec<_>>();
    for task in tasks {
        task.await.expect("a task that doesn't panic")?;
    }
    limiter.close().await;
    Ok(())
}

async fn work(limiter: Limiter, number: u32) -> Result<(), Error> {
    let lease = limiter.acquire(&LimitConfig::new("example:embedded", 2)).await?;
    println!("task {number} has slot {}", lease.slot());
    tokio::task::yield_now().await; // the work
    lease.release().await;
    Ok(())
}
