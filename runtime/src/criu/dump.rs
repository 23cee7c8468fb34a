//! A running container into a directory of images.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use super::options::{Directories, Dump, config_file};
use super::rpc::{Features, Kind, Notify, Options, Request};
use super::swrk::{Criu, Failed, Listener, Program, Seat};
use super::{descriptors, external, log, spaces, version};
use crate::error::{Error, Result};
use crate::plan::{Pivot, Plan};
use crate::state::Record;
use crate::validate::mount::Ids;

const LOG: &str = "dump.log";
/// What criu writes beside its log, and would write through a link.
const WRITTEN: [&str; 2] = [LOG, "stats-dump"];

/// What is dumped.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Its record.
    pub record: &'a Record,
    /// What its config asked for.
    pub plan: &'a Plan,
    /// Its config's annotations.
    pub annotations: &'a BTreeMap<String, String>,
}

/// Dumps it; unless it is left running, its processes are gone then.
pub fn dump(program: &Program, source: &Source<'_>, asked: &Dump) -> Result<()> {
    let plan = source.plan;
    savable(plan)?;
    let criu = version::ask(program)?;
    if asked.pre_dump {
        version::check(program, Features { mem_track: true, lazy_pages: false })?;
    }
    if asked.common.lazy_pages {
        version::check(program, Features { mem_track: false, lazy_pages: true })?;
    }
    if let Some(fd) = asked.status_fd {
        version::at_least(criu, version::STATUS_READY, "--status-fd")?;
        writable(fd)?;
    }
    let dirs = asked.common.open(true)?;
    dirs.unlinked(&WRITTEN)?;
    let options = options(source, asked, &dirs, criu)?;
    if !asked.pre_dump {
        let pids = source.record.cgroup.pids()?;
        let standard = descriptors::of(source.record.process.pid, &pids);
        descriptors::write(&dirs.images, &standard)?;
    }
    let kind = if asked.pre_dump { Kind::PreDump } else { Kind::Dump };
    let mut watch = Watch { status: adopted(asked.status_fd)? };
    let seat = Seat { keep: dirs.numbers(), ..Seat::default() };
    let criu = Criu::start(program, seat)?;
    perform(criu, &Request::Perform(kind, Box::new(options)), &mut watch)
        .map_err(|failed| log::explain(failed, &dirs, LOG))
}

fn perform(criu: Criu, request: &Request, watch: &mut Watch) -> std::result::Result<(), Failed> {
    criu.ask(request, watch)?;
    let code = criu.end()?;
    // As runc: after a pre-dump it waits for the next one, and calls our leaving a failure.
    if code == 0 || request.kind() == Kind::PreDump {
        return Ok(());
    }
    let what = format!("criu failed: {}: exit status {code}", request.kind().word());
    Err(Failed::Criu { what, said: String::new() })
}

/// What criu has no way of carrying is refused, of a dump and of a restore alike.
pub fn savable(plan: &Plan) -> Result<()> {
    if plan.pivot == Pivot::Chroot {
        let why = "a container without a mount namespace has no mounts of its own to save";
        return Err(Error::unsupported("checkpoint and restore", why));
    }
    match plan.mounts.iter().find(|m| m.ids != Ids::Same) {
        Some(m) => {
            let what = format!("/mounts/{}: checkpoint and restore of an idmapped mount", m.index);
            Err(Error::unsupported(what, "criu binds the source again, and knows no map of ids"))
        }
        None => Ok(()),
    }
}

fn options(source: &Source<'_>, asked: &Dump, dirs: &Directories, criu: i32) -> Result<Options> {
    let (record, plan) = (source.record, source.plan);
    let pid = record.process.pid;
    let mut out = Options {
        pid: Some(pid),
        log_file: LOG.to_owned(),
        root: record.rootfs.clone(),
        leave_running: asked.leave_running,
        tcp_skip_in_flight: asked.tcp_skip_in_flight,
        link_remap: asked.link_remap,
        page_server: asked.page_server.clone(),
        config_file: config_file(source.annotations)?,
        external: spaces::on_dump(&plan.spaces, pid, criu)?,
        ..Options::default()
    };
    asked.common.write(dirs, &mut out);
    if let Some((dir, unified)) = record.cgroup.freezer()
        && (!unified || criu >= version::FREEZER_V2)
    {
        out.freeze_cgroup = Some(dir.to_owned());
    }
    if let Some(parent) = &asked.parent_path {
        out.parent_img = Some(parent.to_string_lossy().into_owned());
        out.track_mem = true;
    }
    // A pre-dump is of memory alone.
    if !asked.pre_dump {
        out.ext_mnt = external::on_dump(plan, &record.rootfs, pid)?;
    }
    Ok(out)
}

/// `--status-fd` must be open, and for writing.
fn writable(fd: i32) -> Result<()> {
    let wrong = |why: &str| Error::rule(format!("invalid --status-fd argument {fd}: {why}"));
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))
        .map_err(|_| wrong("it is not open"))?;
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    let mode = flags.and_then(|text| i32::from_str_radix(text.trim(), 8).ok()).unwrap_or(0);
    if mode & libc::O_ACCMODE == libc::O_RDONLY {
        return Err(wrong("it is not open for writing"));
    }
    Ok(())
}

fn adopted(fd: Option<i32>) -> Result<Option<OwnedFd>> {
    fd.map(dhow_kernel::fd::adopt)
        .transpose()
        .map_err(|e| Error::system("take", "the descriptor of --status-fd", e))
}

/// Passes on that the page server is ready.
struct Watch {
    status: Option<OwnedFd>,
}

impl Listener for Watch {
    fn hear(&mut self, notify: &Notify, _: Option<OwnedFd>) -> Result<()> {
        if notify.script == "status-ready"
            && let Some(fd) = self.status.take()
        {
            // Whoever waits has left: that is no failure of the dump.
            let _ = nix::unistd::write(&fd, &[0]);
        }
        Ok(())
    }
}
