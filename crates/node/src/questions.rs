//! Functions of JavaScript that give a value when it is needed: credentials, translated addresses. A question goes to
//! JavaScript with one wake, its answer comes back with the question's number.
//!
//! It knows no function and reads no answer: `lib/questions.js` is the other side. The asker bounds the time; a
//! question without a waiting asker is removed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use concurrency_limit::config::Asked;
use napi::Status;
use napi::bindgen_prelude::{FnArgs, Function, Result};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use tokio::sync::oneshot;

use crate::sync::lock;

/// What JavaScript gets: the function, the question's number and its subject.
pub(crate) type Question = FnArgs<(u32, u32, String)>;

type Ask = ThreadsafeFunction<Question, (), Question, Status, false, true>;
type Told = oneshot::Sender<std::result::Result<String, String>>;

/// The questions of one environment.
pub(crate) struct Questions {
    /// None after the port's end.
    ask: Mutex<Option<Ask>>,
    open: Mutex<HashMap<u32, Told>>,
    last: AtomicU32,
}

impl Questions {
    /// Calls `ask` for each question. It never keeps the process alive.
    pub(crate) fn new(ask: Function<'_, Question, ()>) -> Result<Arc<Self>> {
        let ask = ask.build_threadsafe_function().weak::<true>().build()?;
        Ok(Arc::new(Self { ask: Mutex::new(Some(ask)), open: Mutex::default(), last: AtomicU32::new(0) }))
    }

    /// The function of this number, as the core calls it.
    pub(crate) fn function(self: &Arc<Self>, number: u32) -> Asked {
        let questions = Arc::clone(self);
        Asked::new(move |about| {
            let questions = Arc::clone(&questions);
            async move { questions.ask(number, about).await }
        })
    }

    /// An answer from JavaScript: the text, or the reason why there is none.
    pub(crate) fn answer(&self, question: u32, is_known: bool, text: String) {
        if let Some(told) = self.open().remove(&question) {
            // The asker may have given up.
            let _ = told.send(if is_known { Ok(text) } else { Err(text) });
        }
    }

    /// The port has no client any more: JavaScript isn't called again, and open questions fail.
    pub(crate) fn end(&self) {
        lock(&self.ask).take();
        self.open().clear();
    }

    async fn ask(&self, function: u32, about: String) -> std::result::Result<String, String> {
        let question = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (told, answer) = oneshot::channel();
        self.open().insert(question, told);
        let _forgotten = Forgotten { question, questions: self };
        let question = (function, question, about).into();
        let ended = || "the thread that has the function has ended".to_owned();
        let status =
            lock(&self.ask).as_ref().map(|ask| ask.call(question, ThreadsafeFunctionCallMode::NonBlocking));
        match status {
            Some(Status::Ok) => answer.await.unwrap_or_else(|_| Err(ended())),
            _ => Err(ended()),
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u32, Told>> {
        lock(&self.open)
    }
}

/// Removes the question when it is dropped.
struct Forgotten<'a> {
    question: u32,
    questions: &'a Questions,
}

impl Drop for Forgotten<'_> {
    fn drop(&mut self) {
        self.questions.open().remove(&self.question);
    }
}
