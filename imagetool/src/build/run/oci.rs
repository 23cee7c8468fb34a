//! An OCI runtime as a [`Runner`].

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::place::{self, Called, Place};
use super::spec::{self, Around, Source};
use super::stubs::Stubs;
use super::{Container, End, Joined, Mounted, Networks, Runner, cgroup, last_error, places, sweep};
use crate::build::child::{Child, code};
use crate::build::progress::Stream;
use crate::bundle::user;
use crate::error::{Error, Result};

/// For a runtime that looks for programs of its own.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs containers by an OCI runtime's command line: `RUNTIME run`, and nothing else in good times.
#[derive(Debug)]
pub struct Oci<N> {
    program: PathBuf,
    arguments: Vec<String>,
    home: PathBuf,
    networks: N,
}

impl<N: Networks> Oci<N> {
    /// `program` with `arguments` before its verbs; what is of one container stands in `home`/ID,
    /// which is RUN/build. Sweeps what killed builds left there.
    ///
    /// # Errors
    ///
    /// When `home` can't be read.
    pub fn new(
        program: PathBuf,
        arguments: Vec<String>,
        home: PathBuf,
        networks: N,
    ) -> Result<Self> {
        sweep(&home)?;
        Ok(Self { program, arguments, home, networks })
    }

    /// Who makes networks.
    pub fn networks(&self) -> &N {
        &self.networks
    }
}

impl<N: Networks> Runner for Oci<N> {
    fn run(&self, container: &Container<'_>, wrote: &mut dyn FnMut(Stream, &[u8])) -> Result<End> {
        if container.cancel.is_stopped() {
            return Ok(End::Canceled);
        }
        let cgroup = cgroup::path(&container.limits.cgroup_parent, container.id)?;
        let called = Called {
            program: self.program.clone(),
            arguments: self.arguments.clone(),
            cgroup: cgroup.clone(),
        };
        let mut place = Place::make(&self.home, container.id, &called)?;
        let joined = self.networks.join(container)?;
        let around = around(container, &mut place, cgroup, &joined)?;
        let config = place.path("config.json");
        let spec = spec::spec(container, &around)?;
        let json = serde_json::to_vec(&spec).map_err(|e| Error::invalid("config.json", e))?;
        fs::write(&config, json).map_err(Error::at("write", &config))?;
        let stubs = Stubs::before(container.root, &places(container));
        let dir = place.path("");
        let call = Call { called: &called, dir: &dir, id: container.id };
        let mut command = start(container, &place, &call)?;
        let child = command.spawn().map_err(|e| call.cannot(&e))?;
        drop(command); // our copies of its streams
        let mut child = Child::new(child, "the runtime", container.cancel)
            .inspect_err(|_| place::delete(&dir, container.id, &called))?;
        let ended = child.run(wrote);
        let answer = match ended {
            Ok(Some(end)) if end.success() => Ok(End::Code(0)),
            Ok(Some(end)) => call.judge(code(end)),
            Ok(None) => {
                if !child.stop(&mut || call.quietly(&["kill"], &["KILL"])) {
                    child.kill();
                    place::delete(&dir, container.id, &called);
                }
                Ok(End::Canceled)
            }
            Err(error) => {
                child.kill();
                Err(error)
            }
        };
        if answer.is_err() || dir.join("state").join(container.id).exists() {
            place::delete(&dir, container.id, &called);
        }
        stubs.clear();
        answer
    }
}

/// What a container has beside what the build says of it: its files and mounts, in its place.
fn around(
    container: &Container<'_>,
    place: &mut Place,
    cgroup: String,
    joined: &Joined,
) -> Result<Around> {
    let user = user::resolve(container.root, &container.user)?;
    make_cwd(container)?;
    let mut files = vec![(place.show("hosts", &hosts(container, joined)?)?, "/etc/hosts")];
    if !joined.resolv_conf.is_empty() {
        let path = place.show("resolv.conf", &joined.resolv_conf)?;
        files.push((path, "/etc/resolv.conf"));
    }
    let mut sources = Vec::new();
    for mount in &container.mounts {
        sources.push(match &mount.what {
            Mounted::Bind(what) => place.bind(what)?,
            Mounted::Tmpfs(bytes) => Source::Memory(*bytes),
        });
    }
    Ok(Around { user, namespace: joined.namespace.clone(), cgroup, files, sources })
}

/// Its /etc/hosts, with what `--add-host` says.
fn hosts(container: &Container<'_>, joined: &Joined) -> Result<Vec<u8>> {
    let mut hosts = joined.hosts.clone();
    for (name, address) in container.hosts {
        if address != "host-gateway" {
            hosts.extend(format!("{address}\t{name}\n").bytes());
            continue;
        }
        if joined.gateways.is_empty() {
            let typed = format!("{name}:{address}");
            return Err(Error::usage(
                "add-host",
                typed,
                "from this network the host isn't reached",
            ));
        }
        for address in &joined.gateways {
            hosts.extend(format!("{address}\t{name}\n").bytes());
        }
    }
    Ok(hosts)
}

/// The call that runs it.
fn start(container: &Container<'_>, place: &Place, call: &Call<'_>) -> Result<Command> {
    let mut command = call.verb("run", &["--bundle"]);
    command.arg(place.path("")).arg(container.id);
    let stdin = match &container.stdin {
        None => Stdio::null(),
        Some(bytes) => {
            let path = place.write("stdin", bytes)?;
            fs::File::open(&path).map_err(Error::at("open", &path))?.into()
        }
    };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

/// Its working directory, made if it isn't there.
fn make_cwd(container: &Container<'_>) -> Result<()> {
    let cwd = if container.cwd.is_empty() { "/" } else { &container.cwd };
    container
        .root
        .make_dirs(cwd.as_bytes())
        .map_err(|e| container.root.error("make the working directory", cwd.as_bytes(), e))
}

/// How a container's runtime is called.
pub(super) struct Call<'a> {
    pub called: &'a Called,
    /// RUN/build/ID
    pub dir: &'a Path,
    pub id: &'a str,
}

impl Call<'_> {
    fn verb(&self, verb: &str, words: &[&str]) -> Command {
        let mut command = Command::new(&self.called.program);
        // Nothing of the build's own environment is a container's business, nor a runtime's.
        command.env_clear().env("PATH", PATH);
        command.args(&self.called.arguments).arg("--root").arg(self.dir.join("state"));
        command.arg("--log").arg(self.dir.join("log")).args(["--log-format", "json", verb]);
        command.args(words);
        command
    }

    /// Calls it for something that may fail; whether it didn't.
    pub fn quietly(&self, before: &[&str], after: &[&str]) -> bool {
        let Some((verb, words)) = before.split_first() else { return false };
        let mut command = self.verb(verb, words);
        command.arg(self.id).args(after);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    fn cannot(&self, cause: &std::io::Error) -> Error {
        let name = self.called.program.display();
        Error::Conflict(format!("cannot run {name}: {cause}; name another runtime with --runtime"))
    }

    /// A command's own end, unless the runtime says that it couldn't be run.
    fn judge(&self, code: i32) -> Result<End> {
        let name = self.called.program.file_name().unwrap_or_default().to_string_lossy();
        match last_error(&self.dir.join("log")) {
            None => Ok(End::Code(code)),
            Some(why) => Err(Error::Conflict(format!("{name}: {why}"))),
        }
    }
}
