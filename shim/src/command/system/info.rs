//! `dhow info`.

use clap::Args;
use serde_json::{Value, json};

use crate::command::system::version::{arch, kernel};
use crate::error::Result;
use crate::exit::Exit;
use crate::host::Host;
use crate::making::of_image;
use crate::model::Status;
use crate::output::{Output, Template, human};

/// Show what dhow finds on this machine
#[derive(Debug, Args)]
pub struct Info {
    /// A Go template, or json
    #[arg(short, long, value_name = "TEMPLATE")]
    pub format: Option<String>,
}

impl Info {
    /// docker's keys, those that mean something here.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.text(host).map(|text| out.line(&text));
        out.end(result)
    }

    fn text(&self, host: &Host) -> Result<String> {
        let value = value(host)?;
        match self.format.as_deref() {
            Some("json") => Ok(value.to_string()),
            Some(template) => Template::parse(template)?.render(&value),
            None => Ok(plain(&value)),
        }
    }
}

fn value(host: &Host) -> Result<Value> {
    let mut counts = [0_u64; 3];
    for found in host.containers.list()? {
        let state = crate::monitor::state(host, &found.record)?;
        counts[match state.status {
            Status::Running | Status::Restarting => 0,
            Status::Paused => 1,
            _ => 2,
        }] += 1;
    }
    let images = host.images()?.images().map_err(of_image)?.len();
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let memory = read("/proc/meminfo");
    let memory = memory.lines().find_map(|l| l.strip_prefix("MemTotal:")).unwrap_or_default();
    let memory: u64 =
        memory.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() * 1024;
    let os = read("/etc/os-release");
    let os = os.lines().find_map(|l| l.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux");
    let unified = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let name = nix::unistd::gethostname().unwrap_or_default();
    Ok(json!({
        "Containers": counts.iter().sum::<u64>(),
        "ContainersRunning": counts[0],
        "ContainersPaused": counts[1],
        "ContainersStopped": counts[2],
        "Images": images,
        "Driver": "overlay2",
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": if unified { "2" } else { "1" },
        "KernelVersion": kernel(),
        "OperatingSystem": os.trim_matches('"'),
        "OSType": "linux",
        "Architecture": arch_of_uname(),
        "NCPU": cpus,
        "MemTotal": memory,
        "Name": name.to_string_lossy(),
        "DockerRootDir": host.paths.root.display().to_string(),
        "RunDir": host.paths.run.display().to_string(),
        "DefaultRuntime": host.default_runtime().display().to_string(),
        "SecurityOptions": ["name=seccomp,profile=builtin"],
        "ServerVersion": env!("CARGO_PKG_VERSION"),
    }))
}

fn arch_of_uname() -> String {
    let name = nix::sys::utsname::uname();
    name.map_or_else(|_| arch().to_owned(), |u| u.machine().to_string_lossy().into_owned())
}

fn plain(value: &Value) -> String {
    let text = |key: &str| crate::output::text(&value[key]);
    let memory = human::memory(value["MemTotal"].as_u64().unwrap_or_default());
    let rows = [
        ("Containers", text("Containers")),
        (" Running", text("ContainersRunning")),
        (" Paused", text("ContainersPaused")),
        (" Stopped", text("ContainersStopped")),
        ("Images", text("Images")),
        ("Version", text("ServerVersion")),
        ("Default Runtime", text("DefaultRuntime")),
        ("Logging Driver", text("LoggingDriver")),
        ("Cgroup Version", text("CgroupVersion")),
        ("Kernel Version", text("KernelVersion")),
        ("Operating System", text("OperatingSystem")),
        ("Architecture", text("Architecture")),
        ("CPUs", text("NCPU")),
        ("Total Memory", memory),
        ("Name", text("Name")),
        ("Root Dir", text("DockerRootDir")),
        ("Run Dir", text("RunDir")),
    ];
    let lines: Vec<String> = rows.iter().map(|(name, text)| format!("{name}: {text}")).collect();
    lines.join("\n")
}
