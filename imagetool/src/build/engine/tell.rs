//! What is told of steps.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::build::progress::{Event, StepId, Watcher};
use crate::progress::Progress;

/// A step that is going on.
pub(crate) struct Told<'a> {
    watcher: &'a dyn Watcher,
    /// When it began.
    pub since: Instant,
    /// Its number.
    pub id: StepId,
}

impl<'a> Told<'a> {
    /// A step begins.
    pub fn begin(watcher: &'a dyn Watcher, count: &AtomicUsize, name: &str) -> Self {
        let id = count.fetch_add(1, Ordering::SeqCst) + 1;
        watcher.tell(Event::Began(id, name));
        Self { watcher, since: Instant::now(), id }
    }

    /// A step that was begun elsewhere goes on.
    pub fn again(watcher: &'a dyn Watcher, id: StepId, since: Instant) -> Self {
        Self { watcher, since, id }
    }

    /// Something of it.
    pub fn tell(&self, event: Event<'_>) {
        self.watcher.tell(event);
    }

    /// An earlier result holds.
    pub fn cached(self) {
        self.watcher.tell(Event::Cached(self.id));
    }

    /// It is done.
    pub fn done(self) {
        self.watcher.tell(Event::Done(self.id, self.since.elapsed()));
    }

    /// It went as it went.
    pub fn ended<T>(self, how: &crate::Result<T>, canceled: bool) {
        match how {
            Ok(_) => self.done(),
            Err(_) if canceled => self.watcher.tell(Event::Canceled(self.id)),
            Err(e) => {
                let text = e.to_string();
                let first = text.lines().next().unwrap_or_default();
                self.watcher.tell(Event::Failed(self.id, first));
            }
        }
    }
}

/// A pull within a step.
pub(crate) struct Pulling<'a> {
    told: &'a Told<'a>,
    parts: Mutex<HashMap<String, (u64, Option<u64>)>>,
}

impl<'a> Pulling<'a> {
    /// Of this step.
    pub fn of(told: &'a Told<'a>) -> Self {
        Self { told, parts: Mutex::default() }
    }
}

impl Progress for Pulling<'_> {
    fn start(&self, id: &str, _what: &str, total: Option<u64>) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.insert(id.to_owned(), (0, total));
        self.told.tell(Event::Moved(self.told.id, id, 0, total));
    }

    fn advance(&self, id: &str, n: u64) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((done, total)) = parts.get_mut(id) else { return };
        *done += n;
        // The end is told by `done`.
        if total.is_none_or(|total| *done < total) {
            self.told.tell(Event::Moved(self.told.id, id, *done, *total));
        }
    }

    fn done(&self, id: &str, _how: &str) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let (done, total) = parts.remove(id).unwrap_or_default();
        let all = total.unwrap_or(done);
        self.told.tell(Event::Moved(self.told.id, id, all, Some(all)));
    }

    fn message(&self, text: &str) {
        self.told.tell(Event::Warning("Pull", text, 0));
    }
}
