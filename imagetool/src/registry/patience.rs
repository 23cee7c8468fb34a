//! A stream that has to get on: one that brings a byte now and then would keep us for ever.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ureq::Body;
use ureq::http::Response;

use super::request::network;
use super::{Client, Settings};
use crate::error::{Error, Result};

/// So much has to come in the time that a connection may be silent.
pub(super) const LEAST: u64 = 16 << 10;

/// A reader that ends with an error when it is too slow, or is stopped. Each single read is bounded by the
/// connection's own time limit.
pub(super) struct Patient<R> {
    inner: R,
    idle: Duration,
    stopped: Option<Arc<AtomicBool>>,
    since: Instant,
    got: u64,
}

impl<R: Read> Patient<R> {
    pub(super) fn new(inner: R, settings: &Settings) -> Self {
        let (idle, stopped) = (settings.idle(), settings.stopped.clone());
        Self { inner, idle, stopped, since: Instant::now(), got: 0 }
    }
}

impl<R: Read> Read for Patient<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.stopped.as_ref().is_some_and(|stopped| stopped.load(Ordering::SeqCst)) {
            // Not as interrupted: that would be tried again.
            return Err(io::Error::other("canceled"));
        }
        let n = self.inner.read(buf)?;
        self.got += n as u64;
        let passed = self.since.elapsed();
        if n == 0 || passed < self.idle {
            return Ok(n);
        }
        if self.got < LEAST {
            let why = format!("only {} bytes came in {} s", self.got, passed.as_secs_f32().round());
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        (self.since, self.got) = (Instant::now(), 0);
        Ok(n)
    }
}

impl Client {
    /// The body of an answer, if it is no longer than `limit`.
    pub(super) fn body(
        &self,
        answer: &mut Response<Body>,
        limit: u64,
        title: &str,
    ) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let body = Patient::new(answer.body_mut().as_reader(), &self.settings);
        let read = body.take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|e| network(title, &ureq::Error::Io(e)))?;
        if bytes.len() as u64 > limit {
            let why = format!("it is over {limit} bytes");
            return Err(Error::invalid(format!("answer to {title}"), why));
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A byte a while.
    struct Drip;

    impl Read for Drip {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            std::thread::sleep(Duration::from_millis(2));
            buf[..1].fill(b'x');
            Ok(1)
        }
    }

    #[test]
    fn a_drip_ends_and_a_stream_does_not() {
        let settings = Settings { idle: Some(Duration::from_millis(20)), ..Settings::default() };
        let e = Patient::new(Drip, &settings).read_to_end(&mut Vec::new()).unwrap_err();
        assert!(e.to_string().contains("bytes came in"), "{e}");
        let mut all = Vec::new();
        let stream = io::repeat(1).take(10 << 20);
        Patient::new(stream, &settings).read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), 10 << 20);
    }

    #[test]
    fn what_is_stopped_ends_and_is_not_tried_again() {
        let stopped = Arc::new(AtomicBool::new(false));
        let settings = Settings { stopped: Some(stopped.clone()), ..Settings::default() };
        let mut stream = Patient::new(io::repeat(1), &settings);
        let mut some = [0; 8];
        stream.read_exact(&mut some).unwrap();
        assert!(settings.pause(1).is_some());
        stopped.store(true, Ordering::SeqCst);
        let e = stream.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(e.to_string(), "canceled");
        assert!(settings.pause(1).is_none());
    }
}
