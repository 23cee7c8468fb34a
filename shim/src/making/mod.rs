//! Making a container: intent and image → a record in the store. `run` and
//! `create` do the same until here.

mod cidfile;
mod groupless;
mod image;
mod mounts;
mod naming;
mod networks;
pub mod platform;
pub mod pull;
mod support;

use std::path::{Path, PathBuf};
use std::time::Instant;

use dhow_image::config::RunConfig;
use dhow_image::store::Stored;

use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::model::{Healthcheck, HostConfig, ImageRef, Record};
use crate::options::{Flags, Intent, env, health, ports, rights};
use crate::output::Output;

pub use image::{HELLO, find as find_image, local, name_of, of_image, reference};
pub use naming::id as new_id;

/// How long each step took, in microseconds.
pub type Steps = Vec<(&'static str, u64)>;

/// What was asked for.
pub struct Request<'a> {
    /// As typed.
    pub flags: &'a Flags,
    /// As typed.
    pub image: &'a str,
    /// After the image.
    pub command: &'a [String],
    /// Flags, understood.
    pub intent: Intent,
    /// It is to be started at once: what a start would lack is told before anything is made.
    pub now: bool,
}

/// Makes the container and keeps its record; on failure nothing is left.
pub fn make(
    host: &Host,
    mut request: Request,
    out: &mut Output,
    steps: &mut Steps,
) -> Result<Record> {
    let flags = request.flags;
    let cidfile = flags.cidfile.as_deref().filter(|path| !path.is_empty());
    let cidfile = cidfile.map(|path| cidfile::CidFile::create(Path::new(path))).transpose()?;
    if let Some(name) = &flags.name {
        host.containers.free_name(name)?;
    }
    support::remapped(host, &request.intent.host_config)?;
    for line in support::discard(&mut request.intent.host_config)? {
        out.note(&format!("WARNING: {line}"));
    }
    let began = Instant::now();
    let found = pull::find_or_pull(host, request.image, (flags, request.intent.pull), out)?;
    let chain = image::layers(host, &found)?;
    let config = found.config(host.images()?).map_err(of_image)?;
    lap(steps, "image", began);
    let began = Instant::now();
    let mut volumes = Vec::new();
    let made = record(host, request, &found, config.config, chain, &mut volumes)
        .and_then(|record| keep(host, record, flags.name.is_none()))
        .and_then(|record| {
            if let Some(file) = cidfile {
                file.keep(&record.id).inspect_err(|_| {
                    let _ = host.containers.remove(&record);
                })?;
            }
            Ok(record)
        });
    if made.is_err() {
        for name in volumes {
            let _ = host.volumes.remove(&name);
        }
    }
    lap(steps, "record", began);
    made
}

/// Notes how long a step took.
pub fn lap(steps: &mut Steps, name: &'static str, began: Instant) {
    steps.push((name, began.elapsed().as_micros() as u64));
}

/// Creates the record; a made-up name that is taken is made up again.
fn keep(host: &Host, mut record: Record, made_up: bool) -> Result<Record> {
    for again in 1.. {
        match host.containers.create(&record) {
            Err(e) if made_up && e.kind == Kind::Conflict && again < 100 => {
                record.name = naming::name(again)?;
            }
            other => return other.map(|()| record),
        }
    }
    Ok(record)
}

fn record(
    host: &Host,
    request: Request,
    found: &Stored,
    image: RunConfig,
    layers: Vec<String>,
    volumes: &mut Vec<String>,
) -> Result<Record> {
    let flags = request.flags;
    let intent = request.intent;
    let id = naming::id()?;
    let image_volumes: Vec<String> = image.volumes.iter().cloned().collect();
    let mut config = merged(&intent, image, request.image)?;
    let mut host_config = intent.host_config.clone();
    joined(host, &mut host_config)?;
    let networks = networks::settle(host, &intent.networks, &mut host_config)?;
    let cdi_dirs = devices(host, &host_config, request.now)?;
    host_config.binds = binds(&intent.volumes);
    let daemon = host.settings.daemon()?;
    host_config.log_config = crate::logging::settle(host_config.log_config, daemon)?;
    let narrowed = std::env::var("DHOW_PUBLISH_DEFAULT").ok();
    let publish_ip = ports::usual(narrowed.as_deref(), &daemon.ip)?;
    if host_config.init.is_none() && host.settings.daemon()?.init {
        host_config.init = Some(true);
    }
    let runtime = host.runtime_for(flags.runtime.as_deref())?;
    host_config.runtime = runtime.path.display().to_string();
    config.hostname = hostname(host, &config.hostname, &host_config, &id)?;
    let argv = [config.entrypoint.clone(), config.cmd.clone()];
    let mut argv = argv.into_iter().flatten().flatten();
    let path = argv.next().ok_or_else(|| {
        Error::usage(format!(
            "no command specified: the image {} has none; give one after it",
            request.image
        ))
    })?;
    let typed = image::reference(request.image).ok();
    let typed = found.names.iter().find(|name| typed.as_ref() == Some(name));
    let reference = typed.or_else(|| found.names.first());
    let reference = reference.map_or_else(|| found.id().to_string(), ToString::to_string);
    // Last of what can fail: a volume made here is a volume to remove.
    let points = mounts::settle(host, &intent, &image_volumes, volumes)?;
    Ok(Record {
        version: Record::VERSION,
        name: match &flags.name {
            Some(name) => name.clone(),
            None => naming::name(0)?,
        },
        id,
        created: jiff::Timestamp::now(),
        image: ImageRef {
            reference,
            id: found.id().to_string(),
            manifest: found.manifest.digest.to_string(),
        },
        layers,
        path,
        args: argv.collect(),
        config,
        host_config,
        mounts: points,
        cdi_dirs,
        runtime_args: runtime.arguments,
        detach_keys: flags.detach_keys.clone(),
        networks,
        publish_ip,
        resolver: crate::options::dns::of_machine(daemon)?,
        sdnotify: flags.sdnotify,
        typed: std::env::args_os()
            .skip(1)
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        directory: std::env::current_dir().map(|dir| dir.display().to_string()).unwrap_or_default(),
    })
}

/// Containers whose namespaces are joined, by id: a name may be another's by the next start.
fn joined(host: &Host, config: &mut HostConfig) -> Result<()> {
    for mode in [&mut config.network_mode, &mut config.pid_mode, &mut config.ipc_mode] {
        if let Some(name) = mode.strip_prefix("container:") {
            *mode = format!("container:{}", host.containers.find(name)?.record.id);
        }
    }
    Ok(())
}

/// Where the files of CDI devices lie, when some are asked for.
fn devices(host: &Host, config: &HostConfig, now: bool) -> Result<Vec<PathBuf>> {
    let Some(requests) = config.device_requests.as_deref() else { return Ok(Vec::new()) };
    let mut directories = host.settings.daemon()?.cdi_spec_dirs.clone();
    if directories.is_empty() {
        directories = crate::bundle::cdi::DIRECTORIES.map(PathBuf::from).into();
    }
    if now {
        crate::bundle::cdi::check(&directories, requests)?;
    }
    Ok(directories)
}

/// The image's config under the user's, by docker's rules. The image is hostile input.
fn merged(intent: &Intent, image: RunConfig, typed: &str) -> Result<crate::model::Config> {
    let mut config = intent.config.clone();
    typed.clone_into(&mut config.image);
    config.env = env::merge(config.env, &image.env);
    if !intent.entrypoint_given {
        if config.cmd.is_none() {
            config.cmd = image.cmd;
        }
        config.entrypoint = image.entrypoint.filter(|e| !e.is_empty());
    }
    let or = |mine: &mut String, theirs: String| {
        if mine.is_empty() {
            *mine = theirs;
        }
    };
    or(&mut config.user, image.user);
    if config.working_dir.is_empty() && !image.working_dir.is_empty() {
        // A relative one counts from the root.
        config.working_dir = crate::options::mounts::clean(&image.working_dir);
    }
    or(&mut config.stop_signal, image.stop_signal);
    if !config.stop_signal.is_empty() && rights::signal(&config.stop_signal).is_err() {
        return Err(Error::usage(format!(
            "the image's stop signal \"{}\" is none; give --stop-signal",
            config.stop_signal
        )));
    }
    config.stop_timeout = config.stop_timeout.or(image.stop_timeout);
    for (key, value) in image.labels {
        config.labels.entry(key).or_insert(value);
    }
    let unit = || serde_json::Value::Object(serde_json::Map::new());
    let mut exposed = config.exposed_ports.take().unwrap_or_default();
    exposed.extend(image.exposed_ports.into_iter().map(|p| (p, unit())));
    config.exposed_ports = (!exposed.is_empty()).then_some(exposed);
    // docker counts `-v /path` among them, so that an image committed from it has it too.
    let own = intent.volumes.iter().filter(|v| v.source.is_none()).map(|v| v.target.clone());
    let volumes: std::collections::BTreeMap<_, _> =
        image.volumes.into_iter().chain(own).map(|p| (p, unit())).collect();
    config.volumes = (!volumes.is_empty()).then_some(volumes);
    let check = image.healthcheck.map(|h| Healthcheck {
        test: h.test,
        interval: h.interval,
        timeout: h.timeout,
        start_period: h.start_period,
        start_interval: h.start_interval,
        retries: h.retries,
    });
    config.healthcheck = health::merge(config.healthcheck, check)?;
    config.shell = image.shell;
    Ok(config)
}

fn hostname(
    host: &Host,
    typed: &str,
    config: &crate::model::HostConfig,
    id: &str,
) -> Result<String> {
    if !typed.is_empty() {
        return Ok(typed.to_owned());
    }
    if let Some(other) = config.network_mode.strip_prefix("container:") {
        return Ok(host.containers.find(other)?.record.config.hostname);
    }
    if config.network_mode == "host" || config.uts_mode == "host" {
        let name = nix::unistd::gethostname().unwrap_or_default();
        return Ok(name.to_string_lossy().into_owned());
    }
    Ok(id[..12].to_owned())
}

fn binds(volumes: &[crate::options::mounts::Volume]) -> Option<Vec<String>> {
    let of = |v: &crate::options::mounts::Volume| {
        let source = v.source.as_ref()?;
        let mode = if v.mode.is_empty() { String::new() } else { format!(":{}", v.mode) };
        Some(format!("{source}:{}{mode}", v.target))
    };
    let all: Vec<String> = volumes.iter().filter_map(of).collect();
    (!all.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Config;

    fn image() -> RunConfig {
        RunConfig {
            env: vec!["PATH=/bin".into(), "HOSTILE".into()],
            cmd: Some(vec!["sh".into()]),
            entrypoint: Some(vec!["/entry".into()]),
            working_dir: "srv/../app".into(),
            labels: [("a".to_owned(), "image".to_owned())].into(),
            ..RunConfig::default()
        }
    }

    #[test]
    fn the_image_fills_what_the_user_left_open() {
        let config = merged(&Intent::default(), image(), "x").unwrap();
        assert_eq!(config.env, ["PATH=/bin"]);
        assert_eq!(config.entrypoint.unwrap(), ["/entry"]);
        assert_eq!(config.cmd.unwrap(), ["sh"]);
        assert_eq!(config.working_dir, "/app");
    }

    #[test]
    fn an_entrypoint_takes_the_images_command_away() {
        let intent = Intent {
            entrypoint_given: true,
            config: Config { entrypoint: Some(vec!["/mine".into()]), ..Config::default() },
            ..Intent::default()
        };
        let config = merged(&intent, image(), "x").unwrap();
        assert_eq!(config.entrypoint.unwrap(), ["/mine"]);
        assert_eq!(config.cmd, None);
    }

    #[test]
    fn a_hostile_stop_signal_is_told() {
        let image = RunConfig { stop_signal: "rm -rf".into(), ..image() };
        assert!(merged(&Intent::default(), image, "x").is_err());
    }
}
