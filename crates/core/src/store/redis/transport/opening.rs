//! Opens a link over a client transport: waits until the client is ready, looks for the library and the uptime on every
//! server, subscribes.
//!
//! It doesn't retry: the session does. The subscription and the right to INFO may be missing: that is no error (R22,
//! R30).

use std::time::Duration;

use redis::{Pipeline, RedisError, RedisResult, Value};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::timeout;

use super::StoreLink;
use super::commands::{command, read};
use super::completions::Completions;
use crate::config::Options;
use crate::lease::SessionId;
use crate::moment::Moment;
use crate::store::redis::about::{About, Loading};
use crate::store::redis::library::{Found, Layout};
use crate::store::redis::names::Names;
use crate::store::redis::{connection, keys, reply};
use crate::store::{ConnectError, LinkEvent, LinkInfo};
use crate::transport::{
    Destination, EventSender, RedisCommand, SharedTransport, TransportEvent, TransportLink,
};

/// Opens a link within the options' connect time-out, and one command time-out more for the subscription.
pub(super) async fn open(
    transport: &SharedTransport,
    options: &Options,
    loading: &Loading,
    session: SessionId,
    events: UnboundedSender<LinkEvent>,
) -> Result<(StoreLink, LinkInfo), ConnectError> {
    let address = transport.address();
    let unusable = |why: String, fatal| {
        let message = format!("cannot use {address}: {why}");
        ConnectError { fatal, ..ConnectError::silent(message) }
    };
    let seed = getrandom::u64().map_err(|error| unusable(error.to_string(), false))?;
    let (sender, reports) = EventSender::new();
    let mut opening = Opening { link: transport.open(sender), reports, asked: 0 };
    let limit = options.connect_timeout;
    let greeting = match timeout(limit, opening.greet()).await {
        Ok(greeting) => greeting.map_err(|error| match error {
            Unready::Ended(why) => unusable(why, true),
            Unready::Down(why) => unusable(why, false),
            Unready::Refused(error) => {
                loading.note(&error);
                connection::refusal(&address, &error)
            }
        })?,
        Err(_) => return Err(unusable(format!("the client was not ready within {limit:?}"), false)),
    };
    let channel = keys::channel(&options.key_prefix, session);
    // With a bound: when a client neither subscribes nor fails, the session polls.
    let listens = timeout(options.command_timeout, opening.listen(channel)).await.unwrap_or(Ok(false));
    let listens = listens.map_err(|why| unusable(why, false))?;
    let layout = Layout { prefix: options.key_prefix.clone(), cluster: transport.is_cluster() };
    let uptime = loading.bound(Moment::now(), greeting.uptime);
    let info = LinkInfo { listens, uptime, warnings: greeting.warnings };
    let mut names = Names::new(layout, seed);
    names.found(greeting.library);
    let completions = Completions::new(names, greeting.servers, opening.asked);
    Ok((StoreLink::start(opening.link, opening.reports, completions, listens, events), info))
}

/// A link before the session has it.
struct Opening {
    link: Box<dyn TransportLink>,
    reports: UnboundedReceiver<TransportEvent>,
    asked: u64,
}

/// Why there is no link.
enum Unready {
    Ended(String),
    Down(String),
    Refused(RedisError),
}

struct Greeting {
    servers: usize,
    library: Found,
    uptime: Option<Duration>,
    warnings: Vec<String>,
}

impl Opening {
    async fn greet(&mut self) -> Result<Greeting, Unready> {
        while self.next().await? != TransportEvent::Ready {}
        let mut questions = Pipeline::new();
        Found::ask(&mut questions);
        About::ask(&mut questions);
        let answers = self.ask(&questions).await?;
        let (servers, mut library) = (answers.first().map_or(0, Vec::len), None);
        let mut answers = answers.into_iter();
        for found in each_server(answers.by_ref().take(Found::QUESTIONS), servers) {
            let found = Found::read(found).map_err(Unready::Refused)?;
            library = Some(library.map_or(found, |others: Found| others.both(found)));
        }
        let mut library = library.ok_or_else(|| Unready::Down("the client knows no server".into()))?;
        let (mut uptime, mut warnings) = (None, Vec::new());
        for about in each_server(answers, servers) {
            let about = About::read(about).map_err(|old| Unready::Refused(connection::unfit(old)))?;
            // The youngest of a cluster's servers is the one that may know nothing of those who hold (R30).
            uptime = uptime.into_iter().chain(about.uptime).min();
            warnings.extend(about.warnings);
        }
        warnings.dedup();
        while let Some((way, load)) = library.load() {
            let mut scripts = Pipeline::new();
            scripts.add_command(load);
            let answers = self.ask(&scripts).await?.into_iter().flatten();
            // Where one server refuses it, no other is asked in this way either.
            let loaded: RedisResult<Vec<Value>> = answers.collect();
            library.answered(way, loaded.map(Value::Array)).map_err(Unready::Refused)?;
        }
        Ok(Greeting { servers, library, uptime, warnings })
    }

    /// Asks every server; what each of them answered to each question.
    async fn ask(&mut self, questions: &Pipeline) -> Result<Vec<Vec<RedisResult<Value>>>, Unready> {
        let first = self.asked;
        let commands =
            questions.cmd_iter().zip(first..).map(|(cmd, number)| command(number, Destination::All, cmd));
        let commands: Vec<RedisCommand> = commands.collect();
        self.asked += commands.len() as u64;
        let mut answers: Vec<Option<Vec<RedisResult<Value>>>> = vec![None; commands.len()];
        self.link.send(commands);
        while answers.iter().any(Option::is_none) {
            let TransportEvent::Answers(bytes) = self.next().await? else { continue };
            for (number, value) in read(&bytes).map_err(Unready::Refused)? {
                let each = if let Value::Array(each) = value { each } else { vec![value] };
                if let Some(place) = number.checked_sub(first).and_then(|at| answers.get_mut(at as usize)) {
                    *place = Some(each.into_iter().map(reply::checked).collect());
                }
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// Whether pushes come; an error when the link went down meanwhile.
    async fn listen(&mut self, channel: String) -> Result<bool, String> {
        self.link.subscribe(channel);
        loop {
            match self.next().await {
                Ok(TransportEvent::Subscribed) => return Ok(true),
                Ok(TransportEvent::NotSubscribed(_)) => return Ok(false),
                Ok(_) => {}
                Err(Unready::Down(why) | Unready::Ended(why)) => return Err(why),
                Err(Unready::Refused(error)) => return Err(error.to_string()),
            }
        }
    }

    async fn next(&mut self) -> Result<TransportEvent, Unready> {
        match self.reports.recv().await {
            Some(TransportEvent::Ended(why)) => Err(Unready::Ended(why)),
            Some(TransportEvent::Down(why)) => Err(Unready::Down(why)),
            Some(event) => Ok(event),
            None => Err(Unready::Ended("the client's thread has ended".into())),
        }
    }
}

/// The answers to several questions, by the server that gave them.
fn each_server(
    answers: impl Iterator<Item = Vec<RedisResult<Value>>>,
    servers: usize,
) -> impl Iterator<Item = impl Iterator<Item = RedisResult<Value>>> {
    let mut answers: Vec<_> = answers.map(Vec::into_iter).collect();
    (0..servers).map(move |_| answers.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>().into_iter())
}
