//! Functions that JS brings for what is known only when it's needed: credentials, translated addresses. A question goes
//! up with one wake, its answer comes down by the question's number.
//!
//! Knows no function and reads no answer: `lib/questions.js` is the other side. Whoever asks bounds the time; a
//! question that nobody waits for any more is forgotten.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use concurrency_limit::config::Asked;
use napi::Status;
use napi::bindgen_prelude::{FnArgs, Function, Result};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use tokio::sync::oneshot;

/// What JS is told: the function, the question and what it's about.
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

    /// The function of this number, as the core asks it.
    pub(crate) fn function(self: &Arc<Self>, number: u32) -> Asked {
        let questions = Arc::clone(self);
        Asked::new(move |about| {
            let questions = Arc::clone(&questions);
            async move { questions.ask(number, about).await }
        })
    }

    /// An answer from JS: the text asked for, or in words for people why there is none.
    pub(crate) fn answer(&self, question: u32, is_known: bool, text: String) {
        if let Some(told) = self.open().remove(&question) {
            // Whoever asked may have given up.
            let _ = told.send(if is_known { Ok(text) } else { Err(text) });
        }
    }

    /// The port has no client any more: JS isn't called again, and who still asks hears that there is no answer.
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

/// A panic elsewhere leaves these whole: each is changed by single calls.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A question that is forgotten when this is dropped.
struct Forgotten<'a> {
    question: u32,
    questions: &'a Questions,
}

impl Drop for Forgotten<'_> {
    fn drop(&mut self) {
        self.questions.open().remove(&self.question);
    }
}
