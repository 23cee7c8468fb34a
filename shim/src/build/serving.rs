//! Who looks after a namespace's name server while RUNs are in it.

use std::io::{self, PipeWriter};
use std::os::fd::AsFd;
use std::thread::{self, JoinHandle};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::{Error, Result};
use crate::net::Networking;

/// A namespace's networks, served by a thread of their own where there is something to serve.
pub(super) enum Serving {
    Quiet(Box<Networking>),
    Served { stop: PipeWriter, thread: JoinHandle<Networking> },
}

impl Serving {
    pub fn start(net: Networking) -> Result<Self> {
        if net.descriptors().next().is_none() {
            return Ok(Self::Quiet(Box::new(net)));
        }
        let fail = |e: io::Error| Error::engine(format!("serve a build's names: {e}"));
        let (stopped, stop) = io::pipe().map_err(fail)?;
        let serve = move || {
            let mut net = net;
            loop {
                let idle = net.idle_time().map(PollTimeout::try_from);
                let idle = idle.and_then(std::result::Result::ok).unwrap_or(PollTimeout::NONE);
                let mut fds = vec![PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
                fds.extend(net.descriptors().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
                let _ = poll(&mut fds, idle);
                if fds[0].any() == Some(true) {
                    drop(fds);
                    return net;
                }
                let came = fds.iter().any(|fd| fd.any() == Some(true));
                drop(fds);
                if came {
                    net.attend();
                } else {
                    net.tick();
                }
            }
        };
        let thread = thread::Builder::new().name("names".into()).spawn(serve).map_err(fail)?;
        Ok(Self::Served { stop, thread })
    }

    /// Ends the thread, and hands the networks back.
    pub fn end(self) -> Networking {
        match self {
            Self::Quiet(net) => *net,
            Self::Served { stop, thread } => {
                drop(stop);
                thread.join().unwrap_or_default()
            }
        }
    }
}
