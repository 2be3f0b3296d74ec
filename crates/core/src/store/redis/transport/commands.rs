//! Redis commands as a client transport takes them, and its answers.

use redis::{Arg, Cmd, ErrorKind, RedisError, RedisResult, Value};
use tokio::sync::mpsc::UnboundedSender;

use crate::store::LinkEvent;
use crate::transport::{Destination, RedisCommand};

/// A link without a receiver is dropped next, so its events may be lost.
pub(super) fn tell(events: &UnboundedSender<LinkEvent>, event: LinkEvent) {
    let _ = events.send(event);
}

pub(super) fn command(number: u64, to: Destination, cmd: &Cmd) -> RedisCommand {
    let words = cmd.args_iter().filter_map(|word| match word {
        Arg::Simple(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    });
    RedisCommand { number, to, words: words.collect() }
}

/// The numbers of commands and their answers.
pub(super) fn read(bytes: &[u8]) -> RedisResult<Vec<(u64, Value)>> {
    let garbled = || RedisError::from((ErrorKind::Parse, "the client's answers cannot be read"));
    let Value::Array(values) = redis::parse_redis_value(bytes)? else { return Err(garbled()) };
    let mut answers = Vec::with_capacity(values.len() / 2);
    let mut values = values.into_iter();
    while let Some(number) = values.next() {
        let (Value::Int(number), Some(value)) = (number, values.next()) else { return Err(garbled()) };
        answers.push((u64::try_from(number).map_err(|_| garbled())?, value));
    }
    Ok(answers)
}
