//! What only a real redis-server can show of the scripts: keys that vanish alone, keys of another type, a full memory,
//! a replica, time to live, and what a call costs (R8, R24–R27).

#[path = "../agreement/cost.rs"]
mod cost;
#[path = "../agreement/server.rs"]
mod server;

mod bounds;
mod costs;
mod foreign;
mod refusing;
mod rig;
mod vanished;
