//! All flags of `run` and `create` together: checked against each other, before
//! the image is known and before anything is touched.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::model::{Config, DeviceRequest, HostConfig, Mount, RestartPolicy, Wish};
use crate::options::{
    Files, Flags, Isolation, Pull, devices, dns, env, gpus, health, limits, mounts, networks,
    ports, rights, size,
};

const MIB: i64 = 1 << 20;

/// What the user wants, understood; the image has not been asked yet.
#[derive(Debug, Clone, Default)]
pub struct Intent {
    /// The user's half of the config; [`crate::making`] adds the image's.
    pub config: Config,
    /// The host's business, all of it but mounts' sources.
    pub host_config: HostConfig,
    /// `--pull`, understood.
    pub pull: Pull,
    /// `-v`, understood.
    pub volumes: Vec<mounts::Volume>,
    /// Networks as they were named, by name or id.
    pub networks: Vec<Wish>,
    /// `--entrypoint` was given: the image's command falls away with the image's entrypoint.
    pub entrypoint_given: bool,
}

/// Flags and arguments → intent. `detached` is `run -d`.
pub fn intend(flags: &Flags, image: &str, command: &[String], detached: bool) -> Result<Intent> {
    if let Some(name) = &flags.name {
        crate::store::check_container_name(name)?;
    }
    let pull = flags.pull.parse()?;
    if let Some(text) = flags.platform.as_deref().filter(|t| !t.is_empty())
        && text.parse::<dhow_image::platform::Platform>().is_err()
    {
        return Err(Error::conflict(format!(
            "error parsing specified platform: \"{text}\": cannot parse platform specifier: \
             invalid argument; write it as linux/arm64"
        )));
    }
    let cwd = std::env::current_dir().unwrap_or_else(|_| Path::new("/").to_owned());
    let mut intent = Intent {
        config: config(flags, image, command, detached)?,
        pull,
        entrypoint_given: flags.entrypoint.is_some(),
        ..Intent::default()
    };
    for (n, text) in flags.files.volume.iter().enumerate() {
        // As docker: the same words twice are one volume.
        if !flags.files.volume[..n].contains(text) {
            intent.volumes.push(mounts::volume(text, &cwd)?);
        }
    }
    (intent.host_config, intent.networks) = host_config(flags, &cwd)?;
    served(flags, &mut intent)?;
    targets_differ(&intent)?;
    Ok(intent)
}

fn config(flags: &Flags, image: &str, command: &[String], detached: bool) -> Result<Config> {
    let caller = |key: &str| std::env::var(key).ok();
    let (stdin, stdout, stderr) = attached(flags, detached)?;
    if let Some(text) = &flags.stop_signal {
        rights::signal(text)?;
    }
    let isolation = &flags.isolation;
    let hostname = isolation.hostname.as_deref().unwrap_or_default();
    let entrypoint = flags.entrypoint.as_ref().filter(|e| !e.is_empty());
    Ok(Config {
        hostname: rights::hostname("--hostname", hostname)?,
        domainname: rights::hostname(
            "--domainname",
            isolation.domainname.as_deref().unwrap_or_default(),
        )?,
        user: flags.user.clone().unwrap_or_default(),
        attach_stdin: stdin,
        attach_stdout: stdout,
        attach_stderr: stderr,
        tty: flags.tty,
        open_stdin: flags.interactive,
        stdin_once: flags.interactive && stdin,
        env: env::collect(&flags.env_file, &flags.env, caller)?,
        cmd: (!command.is_empty()).then(|| command.to_vec()),
        image: image.to_owned(),
        working_dir: workdir(flags.workdir.as_deref())?,
        entrypoint: entrypoint.map(|e| vec![e.clone()]),
        labels: env::labels(&flags.label_file, &flags.label)?,
        stop_signal: flags.stop_signal.clone().unwrap_or_default(),
        stop_timeout: flags.stop_timeout,
        healthcheck: health::check(&flags.health)?,
        ..Config::default()
    })
}

fn attached(flags: &Flags, detached: bool) -> Result<(bool, bool, bool)> {
    if detached {
        return Ok((false, false, false));
    }
    if flags.attach.is_empty() {
        return Ok((flags.interactive, true, true));
    }
    let mut streams = (false, false, false);
    for name in &flags.attach {
        match name.to_ascii_lowercase().as_str() {
            "stdin" => streams.0 = true,
            "stdout" => streams.1 = true,
            "stderr" => streams.2 = true,
            other => {
                let why = "valid streams are STDIN, STDOUT and STDERR";
                return Err(Error::argument("-a, --attach", other, why));
            }
        }
    }
    Ok(streams)
}

fn workdir(text: Option<&str>) -> Result<String> {
    match text {
        None | Some("") => Ok(String::new()),
        Some(path) if path.starts_with('/') => Ok(mounts::clean(path)),
        Some(path) => Err(Error::conflict(format!(
            "the working directory '{path}' is invalid, it needs to be an absolute path"
        ))),
    }
}

fn host_config(flags: &Flags, cwd: &Path) -> Result<(HostConfig, Vec<Wish>)> {
    let mut host = HostConfig {
        log_config: limits::log(flags.log_driver.as_deref(), &flags.log_opt)?,
        restart_policy: match &flags.restart {
            Some(text) => limits::restart(text, flags.rm)?,
            None => RestartPolicy::default(),
        },
        auto_remove: flags.rm,
        init: flags.init,
        container_id_file: flags.cidfile.clone().unwrap_or_default(),
        annotations: annotations(&flags.annotation)?,
        group_add: some(flags.group_add.clone()),
        ..HostConfig::default()
    };
    limits::apply(&flags.limits, &mut host)?;
    let nets = networks::nets(&flags.net)?;
    host.network_mode = nets.mode;
    host.links = nets.links;
    dns::apply(&flags.net.dns, &flags.net.dns_search, &flags.net.dns_option, &mut host)?;
    networks::fights(&flags.net, &host)?;
    isolate(&flags.isolation, &mut host)?;
    files(flags, cwd, &mut host)?;
    Ok((host, nets.wishes))
}

/// What is published is exposed, too.
fn served(flags: &Flags, intent: &mut Intent) -> Result<()> {
    let (bindings, mut exposed) = ports::publish(&flags.ports.publish)?;
    exposed.extend(ports::expose(&flags.ports.expose)?);
    let unit = || serde_json::Value::Object(serde_json::Map::new());
    let all = exposed.into_iter().map(|port| (port, unit()));
    intent.config.exposed_ports =
        Some(all.collect()).filter(|all: &BTreeMap<_, _>| !all.is_empty());
    intent.host_config.port_bindings = bindings;
    intent.host_config.publish_all_ports = flags.ports.publish_all;
    ports::check(&intent.host_config, intent.config.exposed_ports.is_some())
}

fn annotations(entries: &[String]) -> Result<BTreeMap<String, String>> {
    if entries.iter().any(|e| e.is_empty() || e.starts_with('=')) {
        return Err(Error::conflict(
            "invalid Annotations: the empty string is not permitted as an annotation key",
        ));
    }
    env::pairs("--annotation", entries)
}

fn isolate(flags: &Isolation, host: &mut HostConfig) -> Result<()> {
    let mode = |typed: &Option<String>, plain: &[&str], shared, words| {
        rights::namespace(typed.as_deref(), plain, shared, words)
    };
    let own_or_host = &["private", "host"];
    host.pid_mode = mode(&flags.pid, own_or_host, true, "--pid: invalid PID mode")?;
    let ipc = &["none", "private", "shareable", "host"];
    // The only one of them that docker leaves to its daemon.
    host.ipc_mode =
        mode(&flags.ipc, ipc, true, "invalid IPC mode").map_err(|e| Error::conflict(e.message))?;
    host.uts_mode = mode(&flags.uts, own_or_host, false, "--uts: invalid UTS mode")?;
    let userns = "--userns: invalid USER mode";
    host.userns_mode = mode(&flags.userns, &["host"], false, userns)?;
    let cgroupns = "--cgroupns: invalid CGROUP mode";
    host.cgroupns_mode = mode(&flags.cgroupns, own_or_host, false, cgroupns)?;
    if host.pid_mode == "private" {
        host.pid_mode.clear();
    }
    if let Some(other) = flags.isolation.as_deref().filter(|i| !matches!(*i, "" | "default")) {
        return Err(Error::conflict(format!(
            "invalid isolation ({other}): linux only supports 'default'"
        )));
    }
    let conflict = |what| Err(Error::conflict(format!("conflicting options: {what}")));
    if host.uts_mode == "host" && flags.hostname.is_some() {
        return conflict("hostname and the UTS mode");
    }
    let joined = host.network_mode.starts_with("container:");
    if joined && flags.hostname.is_some() {
        return conflict("hostname and the network mode");
    }
    if joined && !flags.add_host.is_empty() {
        return conflict("custom host-to-IP mapping and the network mode");
    }
    let caps = |flag, list: &[String]| -> Result<Option<Vec<String>>> {
        let all: Result<Vec<String>> = list.iter().map(|c| rights::capability(flag, c)).collect();
        Ok(some(all?))
    };
    host.cap_add = caps("--cap-add", &flags.cap_add)?;
    host.cap_drop = caps("--cap-drop", &flags.cap_drop)?;
    host.privileged = flags.privileged;
    host.security_opt = some(rights::settle(&flags.security_opt)?);
    let hosts: Result<Vec<String>> = flags.add_host.iter().map(|h| dns::extra_host(h)).collect();
    host.extra_hosts = some(hosts?);
    host.sysctls = rights::sysctls(&flags.sysctl, &host.network_mode, &host.ipc_mode)?;
    Ok(())
}

fn files(flags: &Flags, cwd: &Path, host: &mut HostConfig) -> Result<()> {
    let files = &flags.files;
    host.shm_size = match &files.shm_size {
        Some(text) => size::bytes("--shm-size", text)?,
        None => 64 * MIB,
    };
    host.readonly_rootfs = files.read_only;
    let mounts: Result<Vec<Mount>> = files.mount.iter().map(|m| mounts::mount(m, cwd)).collect();
    host.mounts = mounts?;
    for text in &files.tmpfs {
        let (path, options) = mounts::tmpfs(text)?;
        host.tmpfs.insert(path, options);
    }
    host.volume_driver = files.volume_driver.clone().unwrap_or_default();
    mounts::local_driver("--volume-driver", &host.volume_driver)?;
    host.volumes_from = some(files.volumes_from.clone());
    host.storage_opt = mounts::storage(&files.storage_opt)?;
    given_devices(files, host)
}

fn given_devices(files: &Files, host: &mut HostConfig) -> Result<()> {
    let (named, paths): (Vec<&String>, Vec<&String>) =
        files.device.iter().partition(|d| gpus::cdi_name(d).is_some());
    let paths: Result<Vec<_>> = paths.into_iter().map(|d| devices::device(d)).collect();
    host.devices = some(paths?);
    let rules: Result<Vec<_>> = files.device_cgroup_rule.iter().map(|r| devices::rule(r)).collect();
    host.device_cgroup_rules = some(rules?);
    let requests: Result<Vec<_>> = files.gpus.iter().map(|g| gpus::gpus(g)).collect();
    let mut requests = requests?;
    if !named.is_empty() {
        requests.push(DeviceRequest {
            driver: gpus::CDI.to_owned(),
            device_ids: Some(named.into_iter().cloned().collect()),
            ..DeviceRequest::default()
        });
    }
    host.device_requests = some(requests);
    Ok(())
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    if list.is_empty() { None } else { Some(list) }
}

fn targets_differ(intent: &Intent) -> Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    let volumes = intent.volumes.iter().map(|v| &v.target);
    let mounts = intent.host_config.mounts.iter().map(|m| &m.target);
    for target in volumes.chain(mounts).chain(intent.host_config.tmpfs.keys()) {
        if !seen.insert(target) {
            return Err(Error::conflict(format!("Duplicate mount point: {target}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(args: &[&str]) -> Result<Intent> {
        #[derive(clap::Parser)]
        #[command(disable_help_flag = true)]
        struct Line {
            #[command(flatten)]
            flags: Flags,
        }
        let line = <Line as clap::Parser>::try_parse_from([&["x"], args].concat())
            .map_err(|e| Error::usage(e.to_string()))?;
        intend(&line.flags, "image", &[], false)
    }

    #[test]
    fn flags_that_fight_are_refused_before_anything_is_touched() {
        for bad in [
            &["--rm", "--restart=always"][..],
            &["-v", "/a:/x", "--tmpfs", "/x"],
            &["--uts=host", "--hostname=x"],
            &["--network=a", "--network=bridge"],
            &["-w", "relative"],
            &["--name", "-bad"],
            &["--stop-signal", "WHAT"],
            &["-a", "nothing"],
        ] {
            assert!(from(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn lists_repeat_and_the_last_single_wins() {
        let got = from(&["-e", "A=1", "-e", "B=2", "--cap-add", "sys_time", "-it"]).unwrap();
        assert_eq!(got.config.env, ["A=1", "B=2"]);
        assert_eq!(got.host_config.cap_add.unwrap(), ["CAP_SYS_TIME"]);
        assert!(got.config.tty && got.config.stdin_once && got.config.attach_stdin);
        assert_eq!(got.host_config.network_mode, "bridge");
        assert_eq!(got.host_config.shm_size, 64 << 20);
    }
}
