//! `dhow info` for people, laid out as docker's.

use serde_json::Value;

use crate::host::Host;
use crate::output::{human, text};

/// docker's lines, those that mean something here.
pub fn page(value: &Value, host: &Host) -> String {
    let of = |key: &str| text(&value[key]);
    let join = |list: &Value| {
        let all: Vec<String> = list.as_array().into_iter().flatten().map(text).collect();
        all.join(" ")
    };
    let mut lines = vec![
        "Client:".to_owned(),
        format!(" Version:    {}", of("ServerVersion")),
        " Context:    default".to_owned(),
        " Debug Mode: false".to_owned(),
        String::new(),
        "Server: dhow, no daemon".to_owned(),
    ];
    let mut say = |name: &str, text: String| lines.push(format!(" {name}: {text}"));
    say("Containers", of("Containers"));
    for state in ["Running", "Paused", "Stopped"] {
        say(&format!(" {state}"), of(&format!("Containers{state}")));
    }
    say("Images", of("Images"));
    say("Server Version", of("ServerVersion"));
    say("Storage Driver", of("Driver"));
    for pair in value["DriverStatus"].as_array().into_iter().flatten() {
        say(&format!(" {}", text(&pair[0])), text(&pair[1]));
    }
    say("Logging Driver", of("LoggingDriver"));
    say("Cgroup Driver", of("CgroupDriver"));
    say("Cgroup Version", of("CgroupVersion"));
    lines.push(" Plugins:".to_owned());
    for kind in ["Volume", "Network", "Log"] {
        lines.push(format!("  {kind}: {}", join(&value["Plugins"][kind])));
    }
    lines.push(" CDI spec directories:".to_owned());
    lines.extend(
        value["CDISpecDirs"].as_array().into_iter().flatten().map(|d| format!("  {}", text(d))),
    );
    let mut say = |name: &str, text: String| lines.push(format!(" {name}: {text}"));
    say("Swarm", "inactive".to_owned());
    let runtimes: Vec<&str> = value["Runtimes"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    say("Runtimes", runtimes.join(" "));
    say("Default Runtime", of("DefaultRuntime"));
    say("Init Binary", of("InitBinary"));
    lines.push(" Security Options:".to_owned());
    for option in value["SecurityOptions"].as_array().into_iter().flatten() {
        lines.extend(security(&text(option)));
    }
    lines.extend(machine(value, host));
    lines.join("\n")
}

/// The machine's part, and the registries'.
fn machine(value: &Value, host: &Host) -> Vec<String> {
    let of = |key: &str| text(&value[key]);
    let mut lines = Vec::new();
    let mut say = |name: &str, text: String| lines.push(format!(" {name}: {text}"));
    say("Kernel Version", of("KernelVersion"));
    say("Operating System", of("OperatingSystem"));
    say("OSType", of("OSType"));
    say("Architecture", of("Architecture"));
    say("CPUs", of("NCPU"));
    say("Total Memory", human::memory(value["MemTotal"].as_u64().unwrap_or_default()));
    say("Name", of("Name"));
    say("ID", of("ID"));
    say("Docker Root Dir", of("DockerRootDir"));
    say("Run Dir", host.paths.run.display().to_string());
    say("Debug Mode", "false".to_owned());
    for (name, key) in
        [("HTTP Proxy", "HttpProxy"), ("HTTPS Proxy", "HttpsProxy"), ("No Proxy", "NoProxy")]
    {
        if !of(key).is_empty() {
            say(name, of(key));
        }
    }
    say("Experimental", "false".to_owned());
    lines.extend(list("Labels", &value["Labels"]));
    lines.push(" Insecure Registries:".to_owned());
    let indexes = value["RegistryConfig"]["IndexConfigs"].as_object().into_iter().flatten();
    lines
        .extend(indexes.filter(|(_, i)| i["Secure"] == false).map(|(name, _)| format!("  {name}")));
    let nets = value["RegistryConfig"]["InsecureRegistryCIDRs"].as_array().into_iter().flatten();
    lines.extend(nets.map(|net| format!("  {}", text(net))));
    lines.extend(list("Registry Mirrors", &value["RegistryConfig"]["Mirrors"]));
    lines.push(" Live Restore Enabled: true".to_owned());
    lines
}

/// A heading and what is under it; nothing when there is nothing.
fn list(heading: &str, values: &Value) -> Vec<String> {
    let all: Vec<String> =
        values.as_array().into_iter().flatten().map(|v| format!("  {}", text(v))).collect();
    if all.is_empty() { all } else { [vec![format!(" {heading}:")], all].concat() }
}

/// `name=seccomp,profile=builtin` over two lines.
fn security(option: &str) -> Vec<String> {
    let pairs = option.split(',').filter_map(|pair| pair.split_once('='));
    let line = |(key, value): (&str, &str)| match key {
        "name" => format!("  {value}"),
        "profile" => format!("   Profile: {value}"),
        other => format!("   {other}: {value}"),
    };
    pairs.map(line).collect()
}
