//! What a sentinel is asked, and what it says: where the primary is, and by the configuration of which epoch.
//!
//! A sentinel raises the epoch when it makes another server the primary, and whoever learns of it takes over both. So
//! of two words that differ the one of the higher epoch is the newer. The address comes from the question that clients
//! are meant to ask: during a failover it names the promoted server as soon as the epoch counts.

use std::collections::HashMap;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisResult, Value};

use crate::config::Node;
use crate::store::redis::reply::checked;

/// Where a sentinel says the primary is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) at: Node,
    /// `None` where asking for it isn't permitted.
    pub(super) epoch: Option<u64>,
}

/// Asks over a connection to a sentinel; `None` if it knows nobody of this name.
pub(super) async fn ask(connection: &mut MultiplexedConnection, name: &str) -> RedisResult<Option<Word>> {
    let mut questions = Pipeline::new();
    questions.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    questions.cmd("SENTINEL").arg("MASTER").arg(name);
    let replies = connection.send_packed_commands(&questions, 0, questions.len()).await?;
    read(replies)
}

fn read(replies: Vec<Value>) -> RedisResult<Option<Word>> {
    let mut replies = replies.into_iter().map(checked);
    let address = replies.next().unwrap_or(Ok(Value::Nil))?;
    let Some((host, port)) = redis::from_redis_value::<Option<(String, u16)>>(address)? else {
        return Ok(None);
    };
    let fields = replies
        .next()
        .and_then(|master| redis::from_redis_value::<HashMap<String, String>>(master.ok()?).ok());
    let epoch = fields.and_then(|fields| fields.get("config-epoch")?.parse().ok());
    Ok(Some(Word { at: Node { host, port }, epoch }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn address() -> Value {
        Value::Array(vec![text("10.0.0.1"), text("6379")])
    }

    fn word(epoch: Option<u64>) -> Option<Word> {
        Some(Word { at: Node { host: "10.0.0.1".into(), port: 6379 }, epoch })
    }

    #[test]
    fn the_epoch_is_read_in_both_protocols_and_may_be_missing() {
        let pairs = [("name", "m"), ("config-epoch", "7")].map(|(name, value)| (text(name), text(value)));
        let list = pairs.iter().flat_map(|(name, value)| [name.clone(), value.clone()]).collect();
        for master in [Value::Map(pairs.to_vec()), Value::Array(list)] {
            assert_eq!(read(vec![address(), master]).unwrap(), word(Some(7)));
        }
        for master in [Value::Okay, Value::Nil, Value::Array(vec![text("name"), text("m")])] {
            assert_eq!(read(vec![address(), master]).unwrap(), word(None));
        }
    }

    #[test]
    fn a_name_that_it_does_not_know_is_no_error() {
        assert_eq!(read(vec![Value::Nil, Value::Nil]).unwrap(), None);
        assert!(read(vec![Value::Okay, Value::Okay]).is_err());
    }
}
