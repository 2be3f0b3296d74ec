//! Follows a switch of the primary while the old one still answers: ends a link when the sentinels name another server.
//!
//! Each sentinel has a task beside the link, with one connection: subscribed to its switches where that can be had, and
//! asked about once a second, or at once when there is reason to. What they say is judged together (`belief`). Decides
//! nothing but that the link leads elsewhere: the session connects anew and reconciles its groups there.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::aio::{MultiplexedConnection, SendError};
use redis::{AsyncConnectionConfig, Pipeline, PushInfo, PushKind, RedisResult};
use tokio::net::lookup_host;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Sentinels;
use super::word::{self, Word};
use crate::config::Node;
use crate::moment::Moment;
use crate::store::redis::doubt::Doubt;
use crate::store::redis::link::Flow;
use crate::store::redis::login::Speech;
use crate::store::redis::task::Task;
use crate::sync::lock;

/// What a sentinel tells its switches on.
const SWITCHES: &str = "+switch-master";

/// The longest time from one question to the next, and the shortest, however much reason there is to ask.
const LOOK: Duration = Duration::from_millis(900);
const SHORTEST: Duration = Duration::from_millis(50);

/// How long an open connection may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// The shortest time from the end of a connection to the next.
const PAUSE: Duration = Duration::from_millis(250);

/// For how long a word counts that isn't said again.
const FRESH: Duration = Duration::from_secs(3);

/// How many of the sentinels are named that say something else.
const NAMED: usize = 3;

/// The sentinels beside one link.
struct Watch {
    sentinels: Arc<Sentinels>,
    doubt: Doubt,
    flow: Arc<Flow>,
    /// Where the link leads.
    at: Node,
    state: Mutex<State>,
}

struct State {
    /// What each sentinel said last, and when.
    words: Vec<Option<(Word, Moment)>>,
    /// Other names of the link's server.
    aliases: Vec<Node>,
}

/// Watches the link that leads to the server at this address, as long as the tasks live.
pub(in crate::store::redis) fn start(
    sentinels: &Arc<Sentinels>,
    doubt: &Doubt,
    at: &Node,
    flow: &Arc<Flow>,
) -> Vec<Task> {
    let many = sentinels.nodes.len();
    let watch = Arc::new(Watch {
        sentinels: Arc::clone(sentinels),
        doubt: doubt.clone(),
        flow: Arc::clone(flow),
        at: at.clone(),
        state: Mutex::new(State { words: vec![None; many], aliases: Vec::new() }),
    });
    (0..many).map(|sentinel| Task::spawn(attend(Arc::clone(&watch), sentinel))).collect()
}

/// Asks one sentinel repeatedly. Its connection is opened again when it ends.
async fn attend(watch: Arc<Watch>, sentinel: usize) {
    loop {
        // Why there is none doesn't matter: the others are asked, and this one is tried again.
        let Err(_) = watch.listen(sentinel).await;
        watch.note(sentinel, None);
        let (ended_at, mut doubts) = (Instant::now(), watch.doubt.doubts());
        tokio::select! {
            () = sleep(jittered(LOOK)) => {}
            _ = doubts.changed() => sleep_until(ended_at + jittered(PAUSE)).await,
        }
    }
}

/// Not at the same time as other processes that watch the same primary.
fn jittered(longest: Duration) -> Duration {
    let share = f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX);
    longest.mul_f64(0.75 + 0.25 * share)
}

impl Watch {
    async fn listen(&self, sentinel: usize) -> RedisResult<Infallible> {
        let mut doubts = self.doubt.doubts();
        let (mut connection, _driver) = self.connect(sentinel).await?;
        loop {
            let asked_at = Instant::now();
            doubts.mark_unchanged();
            let question = word::ask(&mut connection, &self.sentinels.name);
            let word = timeout(PATIENCE, question).await.map_err(|_| silent())??;
            self.note(sentinel, word);
            self.judge().await;
            tokio::select! {
                () = sleep(jittered(LOOK)) => {}
                _ = doubts.changed() => sleep_until(asked_at + SHORTEST).await,
            }
        }
    }

    /// A connection, subscribed to the switches where that can be had.
    async fn connect(&self, sentinel: usize) -> RedisResult<(MultiplexedConnection, Task)> {
        let begin = |_| {
            let (sentinels, doubt) = (Arc::clone(&self.sentinels), self.doubt.clone());
            async move { subscribed(&sentinels, &sentinels.nodes[sentinel], doubt).await }
        };
        let first = self.sentinels.attempts.first(self.sentinels.share, 1, begin).await;
        first.map(|(_, connected)| connected).map_err(|error| error.unwrap_or_else(silent))
    }

    fn note(&self, sentinel: usize, word: Option<Word>) {
        self.state().words[sentinel] = word.map(|word| (word, Moment::now()));
    }

    /// Ends the link if it's believed to lead to a server that isn't the primary any more.
    async fn judge(&self) {
        let now = Moment::now();
        let words: Vec<Word> = {
            let state = self.state();
            let fresh = state.words.iter().flatten().filter(|(_, said_at)| now < *said_at + FRESH);
            fresh.map(|(word, _)| word.clone()).collect()
        };
        let Some(word) = self.sentinels.belief().judge(now, &words) else { return };
        if word.at == self.at || self.state().aliases.contains(&word.at) {
            return;
        }
        if are_one(&word.at, &self.at).await {
            self.state().aliases.push(word.at);
            return;
        }
        self.flow.down(&self.reason(&word));
    }

    fn reason(&self, word: &Word) -> String {
        let state = self.state();
        let said = state.words.iter().map(|said| said.as_ref().is_some_and(|(said, _)| said.at == word.at));
        let who = self.sentinels.nodes.iter().zip(said).filter(|(_, said)| *said);
        let who: Vec<String> = who.map(|(node, _)| node.to_string()).collect();
        let more = who.len().saturating_sub(NAMED);
        let names = who.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
        let names = if more > 0 { format!("{names} and {more} more") } else { names };
        let epoch = word.epoch.map(|epoch| format!(" since epoch {epoch}")).unwrap_or_default();
        format!("the primary is {}{epoch} and not {}, by the sentinels {names}", word.at, self.at)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn silent() -> redis::RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

async fn subscribed(
    sentinels: &Sentinels,
    node: &Node,
    doubt: Doubt,
) -> RedisResult<(MultiplexedConnection, Task)> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let hearing = config.clone().set_push_sender(move |info: PushInfo| {
        if matches!(info.kind, PushKind::Message | PushKind::Disconnection) {
            doubt.raise();
        }
        Ok::<_, SendError>(())
    });
    let login = sentinels.login().await?;
    let hears = sentinels.connect(node, &login, Speech::Resp3, hearing).await;
    let (mut connection, driver) = match hears {
        Ok(connected) => connected,
        // Without RESP3, or without the right to it, it is only asked.
        Err(_) => return sentinels.connect(node, &login, Speech::Resp2, config).await,
    };
    let mut subscription = Pipeline::new();
    subscription.cmd("SUBSCRIBE").arg(SWITCHES);
    // Where it's refused, asking goes on alone.
    connection.send_packed_commands(&subscription, 0, 1).await?;
    Ok((connection, driver))
}

/// Whether two names lead to the same server: sentinels may say its host as a name or as an address.
async fn are_one(one: &Node, other: &Node) -> bool {
    if one.port != other.port {
        return false;
    }
    let addresses = async |node: &Node| -> Vec<SocketAddr> {
        let found = timeout(LOOK / 3, lookup_host((node.host.as_str(), node.port))).await;
        found.ok().and_then(Result::ok).map(Iterator::collect).unwrap_or_default()
    };
    let (one, other) = (addresses(one).await, addresses(other).await);
    one.iter().any(|address| other.contains(address))
}
